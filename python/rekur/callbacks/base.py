"""The base of callbacks, the list of a call's callbacks, History."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rekur._settings import Guarded
from rekur._validate import integer

if TYPE_CHECKING:
    from rekur.models import Model

Logs = dict[str, Any]


class Callback(Guarded):
    """Base of the callbacks: override what you need.

    The hooks, when they are called and what their logs hold are those of Keras.

    Attributes
    ----------
    model : Model
        The model at work; ``model.stop_training = True`` ends the fit after the step at hand.
    params : dict
        ``epochs``, ``steps`` and ``verbose``; of a fit also ``metrics``, the names that an epoch's logs will have.

    Notes
    -----
    ``logs`` maps names to numbers: after a batch the means so far of the loss and the metrics, after an epoch also
    ``val_…``. After a batch of predict it holds ``outputs``. What a callback adds to the logs of an epoch the callbacks
    after it see, and History keeps.

    The validation of a fit calls the hooks of a test. ``on_batch_begin`` and ``on_batch_end`` are other names of
    ``on_train_batch_begin`` and ``on_train_batch_end``.

    Parameters of rekur's callbacks are attributes; one that is set is checked as in the constructor and acts from then
    on. A copy, by ``copy``, ``deepcopy`` or ``pickle``, leaves the model behind.
    """

    _attributes: ClassVar[tuple[str, ...]] = ("model", "params")
    model: "Model"
    params: Mapping[str, Any]
    _beside: Sequence["Callback"] = ()  # all callbacks of the call
    _last = False  # whether its hooks are called after those of all others
    _only_writes = False  # whether all it does is for the one process of several that prints and writes files
    _kept: ClassVar[tuple[str, ...]] = ()  # the attributes that get_state gives

    def _whose(self) -> str:
        return type(self).__name__

    def _writes(self) -> bool:
        """Whether this process is the one that writes files."""
        return _writes(getattr(self, "model", None))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("model", "params", "_beside")}

    def set_model(self, model: "Model") -> None:
        """Called first, with the model at work, which becomes the attribute ``model``."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Called first, with what the call is: see the attribute ``params``."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """What the callback goes on from when a fit is resumed by :class:`BackupAndRestore`; override it for yours.

        Returns
        -------
        dict
            Of numbers, strings, arrays, and lists and dicts of them; empty by default.
        """
        return {name: getattr(self, name) for name in self._kept}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`get_state` gave in the run that was interrupted; called behind ``on_train_begin``."""
        for name, value in state.items():
            setattr(self, name, value)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when a fit begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when a fit ends, with the logs of its last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before the first batch of an epoch; the first epoch is 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called behind an epoch and its validation, with the means of both."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called by ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called by ``on_train_batch_end``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of a fit; the first of an epoch is 0."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called behind a batch of a fit, with the means of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when an evaluation or a validation begins."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when an evaluation or a validation ends, with its means."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of an evaluation or a validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called behind a batch of an evaluation or a validation, with the means so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when a prediction begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when a prediction ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called behind a batch of a prediction, with ``outputs``."""


def verbosity(value: object, what: str) -> int:
    """0 or False: silent."""
    return int(value) if isinstance(value, (bool, np.bool_)) else integer(value, what, 0)


def tell(text: str) -> None:
    """Print a line that stands by itself, also where a progress bar is drawn."""
    print(f"\n{text}", flush=True)


_HOOKS = ("set_model", "set_params", "on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")


def _is_callback(given: object) -> bool:
    """One of rekur's, or an object with the same hooks: those of other libraries derive from Keras's class."""
    return isinstance(given, Callback) or (
        not isinstance(given, type) and all(callable(getattr(given, hook, None)) for hook in _HOOKS)
    )


def as_list(given: object) -> list[Any]:
    """The callbacks of a call: none, one, or a list of them.

    Raises
    ------
    TypeError
        For anything that is no callback.
    """
    if isinstance(given, CallbackList):
        return list(given.callbacks)
    callbacks: list[Any] = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
    for callback in callbacks:
        if not _is_callback(callback):
            raise TypeError(f"callbacks: expected objects of rekur.callbacks.Callback, got {callback!r}")
    return callbacks


def _writes(model: Any) -> bool:
    """Whether this process prints and writes files for a model: of several ranks (rekur.distributed) the first."""
    bound = getattr(model, "_bound", None)
    return bound is None or bool(bound.writes)


class CallbackList(Callback):
    """All callbacks of a call as one: its hooks call theirs, in their order.

    Parameters
    ----------
    callbacks : list of Callback
        Those that derive from Keras's class are callbacks as well.
    add_history, add_progbar : bool
        Whether a History and a ProgbarLogger are added where there is none.
    model : Model, optional
    **params
        ``epochs``, ``steps``, ``verbose``, ``metrics``: what ``params`` of the callbacks will be.

    Raises
    ------
    TypeError
        For anything that is no callback.
    """

    _attributes = ("callbacks",)

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: "Model | None" = None,
        **params: Any,
    ) -> None:
        found = as_list(callbacks)
        if add_history and not any(isinstance(c, History) for c in found):
            found.append(History())  # behind the others: it keeps what they add
        if add_progbar:
            from rekur.callbacks.progress import ProgbarLogger  # which is made of this module

            if not any(isinstance(c, ProgbarLogger) for c in found):
                found.append(ProgbarLogger())
        if not _writes(model):
            found = [c for c in found if not getattr(c, "_only_writes", False)]
        self.callbacks: list[Any] = sorted(found, key=lambda c: getattr(c, "_last", False) is True)
        if model is not None:
            self.set_model(model)
        self.set_params(params)
        # Logs of a batch cost time, so they are made only where somebody reads them.
        self._reads = {
            kind: any(self._overrides(f"on_{kind}_batch_{when}") for when in ("begin", "end"))
            for kind in ("train", "test", "predict")
        }

    @property
    def history(self) -> "History | None":
        """The one that ``fit`` returns: the last in the list."""
        return next((c for c in reversed(self.callbacks) if isinstance(c, History)), None)

    def set_model(self, model: "Model") -> None:
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)
            if isinstance(callback, Callback):
                callback._beside = self.callbacks

    def draws_progress(self) -> bool:
        """Whether one of the callbacks shows the progress."""
        return any(getattr(callback, "_draws", False) is True for callback in self.callbacks)

    def _overrides(self, hook: str) -> bool:
        hooks = (hook, hook.replace("_train", "")) if "_train_" in hook else (hook,)
        return any(not _is_default(callback, name) for callback in self.callbacks for name in hooks)

    def reads_batches(self, kind: str) -> bool:
        """Whether anybody listens to the batches of a ``train``, ``test`` or ``predict``."""
        return self._reads[kind]

    def call(self, hook: str, *arguments: Any) -> None:
        """A hook by its name: ``call("on_epoch_end", 3, logs)``."""
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)


def _is_default(callback: Any, hook: str) -> bool:
    """Whether a hook is the one of the base class, ours or Keras's, which does nothing."""
    function = getattr(getattr(callback, hook, None), "__func__", None)
    if isinstance(callback, Callback):
        return function is getattr(Callback, hook)
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return module.startswith("keras.") and name == f"Callback.{hook}"


def _calls_all(hook: str) -> Any:
    def call(self: CallbackList, *arguments: Any, **options: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments, **options)

    call.__name__, call.__qualname__, call.__doc__ = hook, f"CallbackList.{hook}", f"``{hook}`` of every callback."
    return call


for _hook in [name for name in vars(Callback) if name.startswith("on_")]:
    setattr(CallbackList, _hook, _calls_all(_hook))


class History(Callback):
    """What ``fit`` returns.

    Attributes
    ----------
    history : dict of str to list of float
        Loss, metrics and their ``val_`` counterparts, one number an epoch, and what callbacks added to the logs.
    epoch : list of int
    """

    _attributes: ClassVar[tuple[str, ...]] = ("history", "epoch")

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def __repr__(self) -> str:
        last = ", ".join(f"{key} {values[-1]:.4g}" for key, values in self.history.items())
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)
