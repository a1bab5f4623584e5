"""The base of callbacks, the list of a call's callbacks, History."""

from collections.abc import Iterable, Mapping, Sequence
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

    def _whose(self) -> str:
        return type(self).__name__

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("model", "params", "_beside")}

    def set_model(self, model: "Model") -> None:
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None: ...
    def on_test_end(self, logs: Logs | None = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_begin(self, logs: Logs | None = None) -> None: ...
    def on_predict_end(self, logs: Logs | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


def verbosity(value: object, what: str) -> int:
    """0 or False: silent."""
    return int(value) if isinstance(value, (bool, np.bool_)) else integer(value, what, 0)


def as_list(given: object) -> list[Callback]:
    """The callbacks of a call: none, one, or a list of them.

    Raises
    ------
    TypeError
        For anything that is no callback.
    """
    callbacks: list[Any] = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks: expected objects of rekur.callbacks.Callback, got {callback!r}")
    return callbacks


class CallbackList:
    """All callbacks of a call as one: ``call("on_epoch_end", 3, logs)``."""

    def __init__(self, callbacks: Iterable[Callback], model: "Model", params: Mapping[str, Any]) -> None:
        self.callbacks: Sequence[Callback] = list(callbacks)
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
            callback._beside = self.callbacks
        # Logs of a batch cost time, so they are made only where somebody reads them.
        self._reads = {
            kind: any(self._overrides(f"on_{kind}_batch_{when}") for when in ("begin", "end"))
            for kind in ("train", "test", "predict")
        }

    def _overrides(self, hook: str) -> bool:
        hooks = (hook, hook.replace("_train", "")) if "_train_" in hook else (hook,)
        return any(
            getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name)
            for callback in self.callbacks
            for name in hooks
        )

    def reads_batches(self, kind: str) -> bool:
        """Whether anybody listens to the batches of a ``train``, ``test`` or ``predict``."""
        return self._reads[kind]

    def call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)


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
