"""BackupAndRestore: a fit that was interrupted goes on as if it had not been."""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from rekur._model_files import read_model
from rekur._own import check_options
from rekur._settings import Setting
from rekur._validate import Floats, as_path, boolean, show
from rekur.callbacks.base import Callback, Logs
from rekur.callbacks.checkpoint import Batches, frequency
from rekur.training.truncated import BY_EPOCHS

_KEY = "rekur.backup"  # of the file's metadata
_NAME = "latest.safetensors"
_PREVIOUS = "previous.safetensors"


def _folder(value: object, what: str) -> str:
    if value is None or value == "":
        raise ValueError("Empty `backup_dir` argument passed")
    return as_path(value, what)


def _frequency(value: object, what: str) -> str | int:
    if value is False:
        raise ValueError(f"{what}: False is for machines that announce their end; give 'epoch' or a number of batches")
    return frequency(value, what)


class BackupAndRestore(Callback):
    """Keep what a fit needs to go on, so that one that was interrupted is resumed by calling ``fit`` again.

    The next ``fit`` with the same folder, of a model that was made and compiled by the same code, takes over weights,
    the optimizer with its state and learning rate, the seed, the states of stateful layers, the sums of the epoch's
    metrics and the states of the other callbacks (:meth:`Callback.get_state`), and goes on behind the last backup. It
    ends with the weights, to the bit, that an uninterrupted fit would have ended with, also after Ctrl-C or a kill.

    Parameters
    ----------
    backup_dir : str or path
        A folder of its own, made when it is missing. The backup is one file, which is complete at any time.
    save_freq : "epoch" or int
        A number counts batches: a fit is resumed within an epoch then. With ``fit(tbptt=…)`` only "epoch".
    double_checkpoint : bool
        Whether the backup before the last one stays, to be read where the last cannot be.
    delete_checkpoint : bool
        Whether the backups are removed when the fit ends by itself.

    Raises
    ------
    ValueError
        From fit, if the backup is that of another model, optimizer or other callbacks.
    OSError
        From fit, if the folder cannot be written or the backup cannot be read.

    Notes
    -----
    It acts after all other callbacks, wherever it stands among them. Arrays, data sets read by index and iterables that
    can be begun anew are read from where the fit stood; an iterator or generator is taken as it comes. The History of a
    resumed fit begins with the epoch that it goes on with, as in Keras. Callbacks hear once more of the beginning of an
    epoch that is resumed within.
    """

    _last = True
    backup_dir = Setting(_folder)
    save_freq = Setting(_frequency)
    double_checkpoint = Setting(boolean)
    delete_checkpoint = Setting(boolean)

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        **options: NoReturn,
    ) -> None:
        check_options("callback", type(self), options)
        self.backup_dir = backup_dir
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._batches, self._epoch = Batches(), 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.save_freq != "epoch" and self.model._trainer().stand_in is not None:
            raise ValueError(f"BackupAndRestore: save_freq={self.save_freq!r} with tbptt: {BY_EPOCHS}")
        os.makedirs(self.backup_dir, exist_ok=True)
        self._batches = Batches()
        latest, previous = (os.path.join(self.backup_dir, name) for name in (_NAME, _PREVIOUS))
        try:
            if os.path.exists(latest):
                self._restore(latest)
            elif os.path.exists(previous):
                self._restore(previous)
        except OSError:
            if not os.path.exists(previous):
                raise
            self._restore(previous)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._batches.due(self.save_freq):
            self._save(self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.delete_checkpoint and self._writes():
            for name in (_NAME, _PREVIOUS):
                if os.path.exists(path := os.path.join(self.backup_dir, name)):
                    os.remove(path)
            if not os.listdir(self.backup_dir):
                os.rmdir(self.backup_dir)

    def _others(self) -> list[tuple[str, Callback, dict[str, Any]]]:
        """The callbacks that have a state, by the names of their classes."""
        found = [(type(c).__name__, c, dict(c.get_state())) for c in self._beside if isinstance(c, Callback)]
        return [(name, callback, state) for name, callback, state in found if state]

    def _carried(self) -> list[Any]:
        """The stateful layers whose states go from batch to batch."""
        return [entry.layer for entry in self.model._flat().states]

    def _save(self, epoch: int, batches: int) -> None:
        if not self._writes():
            return
        model = self.model
        bound, totals = model._trainer(), model._totals
        arrays: dict[str, Floats] = {}
        state = {
            "epoch": epoch,
            "batches": batches,
            "totals": totals.state() if batches and totals is not None else None,
            "iterations": bound.trainer.iterations,
            "first": model._first,
            "epochs": bound.epochs - (1 if batches else 0),  # an epoch's order of rows follows it
            "seed": bound.seed,
            "optimizer": bound.optimizer.config(),
            "stopped": model.stop_training,
            "callbacks": [[name, kept] for name, _, kept in self._others()],
            "carried": [layer._states for layer in self._carried()],
        }
        text = json.dumps(_packed(state, arrays))
        latest = os.path.join(self.backup_dir, _NAME)
        if self.double_checkpoint and os.path.exists(latest):
            os.replace(latest, os.path.join(self.backup_dir, _PREVIOUS))
        model._engine().save(os.fsencode(latest), {**bound.state(), **arrays}, {_KEY: text})

    def _restore(self, path: str) -> None:
        from rekur.training.trainable import Resumed  # which imports this package

        model, bound = self.model, self.model._trainer()
        engine = model._engine()
        core, tensors, metadata = read_model(path)
        if _KEY not in metadata:
            raise ValueError(f"BackupAndRestore: '{path}' is a model, but no backup; give a folder of its own")
        arrays = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_PREFIX)}
        state = _unpacked(json.loads(metadata[_KEY]), arrays)
        here, there = ({name: tuple(shape) for name, shape, _ in c.parameters} for c in (engine, core))
        if here != there:
            name = next(name for name in {**here, **there} if here.get(name) != there.get(name))
            shapes = [show(found[name]) if name in found else "none" for found in (there, here)]
            self._refuse(path, f"its '{name}' is of shape {shapes[0]}, the model's {shapes[1]}")
        optimizer = bound.optimizer
        if state["optimizer"]["name"] != optimizer.name:
            self._refuse(path, f"its optimizer is '{state['optimizer']['name']}', the model's '{optimizer.name}'")
        others = self._others()
        names = [[name for name, *_ in entries] for entries in (state["callbacks"], others)]
        if names[0] != names[1]:
            self._refuse(path, f"it was made beside the callbacks {names[0]}, this fit has {names[1]}")
        engine.set_weights(core.get_weights())
        for key, value in state["optimizer"].items():
            follows = key == "learning_rate" and optimizer._schedule is not None
            if key != "name" and not follows and getattr(optimizer, key) != value:
                setattr(optimizer, key, value)
        bound.set_state(tensors, state["iterations"], state["epochs"], state["seed"])
        for (_, callback, _), (_, kept) in zip(others, state["callbacks"], strict=True):
            callback.set_state(kept)
        for layer, states in zip(self._carried(), state["carried"], strict=True):
            layer._states = states
        epoch = self.params["epochs"] if state["stopped"] else state["epoch"]
        model._resumed = Resumed(epoch, state["first"], 0 if state["stopped"] else state["batches"], state["totals"])
        model._first = state["first"]

    def _refuse(self, path: str, why: str) -> NoReturn:
        raise ValueError(f"BackupAndRestore: '{path}' is the backup of another fit: {why}; remove it to begin anew")


# A state as JSON: float32 arrays stand beside it, others in base64. What is no data (a metric's function) is left out.

_PREFIX = "backup/"
_LEFT_OUT = object()


def _packed(value: Any, arrays: dict[str, Floats]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if isinstance(value, np.ndarray) and array.dtype == np.float32:
            name = f"{_PREFIX}{len(arrays)}"
            arrays[name] = np.ascontiguousarray(array)
            return {"array": name}
        if array.dtype.hasobject:
            return _LEFT_OUT
        data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return {"bytes": data, "dtype": array.dtype.str, "shape": list(array.shape)}
    if isinstance(value, (list, tuple)):
        entries = [_packed(entry, arrays) for entry in value]
        kind = "list" if isinstance(value, list) else "tuple"
        return _LEFT_OUT if any(e is _LEFT_OUT for e in entries) else {kind: entries}
    if isinstance(value, Mapping):
        found = {str(key): _packed(entry, arrays) for key, entry in value.items()}
        return {"dict": {key: entry for key, entry in found.items() if entry is not _LEFT_OUT}}
    return _LEFT_OUT


def _unpacked(value: Any, arrays: Mapping[str, Floats]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "bytes" in value:
        flat = np.frombuffer(base64.b64decode(value["bytes"]), np.dtype(value["dtype"]))
        return flat.reshape(value["shape"]).copy() if value["shape"] else flat[0]
    if "list" in value:
        return [_unpacked(entry, arrays) for entry in value["list"]]
    if "tuple" in value:
        return tuple(_unpacked(entry, arrays) for entry in value["tuple"])
    return {key: _unpacked(entry, arrays) for key, entry in value["dict"].items()}
