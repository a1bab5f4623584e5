"""The base of callbacks, the list of a fit's callbacks, History."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rekur.models import Model

Logs = dict[str, float]


class Callback:
    """Base of the callbacks: override what you need.

    Attributes
    ----------
    model : Model
        The model being trained; ``model.stop_training = True`` ends the fit after the step at hand.
    params : dict
        ``epochs``, ``steps``, ``verbose``.

    Notes
    -----
    ``logs`` maps names to numbers: after a batch the means so far of the loss and the metrics, after an epoch also
    ``val_…``.
    """

    model: "Model"
    params: Mapping[str, Any]

    def set_model(self, model: "Model") -> None:
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


class CallbackList(Callback):
    """All callbacks of a fit as one."""

    def __init__(self, callbacks: Sequence[Callback], model: "Model", params: Mapping[str, Any]) -> None:
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"callbacks: expected objects of rekur.callbacks.Callback, got {callback!r}")
            callback.set_params(params)
            callback.set_model(model)
        self.callbacks = list(callbacks)
        # Logs of a batch cost time, so they are made only where somebody reads them.
        hooks = ("on_train_batch_begin", "on_train_batch_end")
        self.reads_batches = any(
            getattr(getattr(c, h), "__func__", None) is not getattr(Callback, h) for c in self.callbacks for h in hooks
        )

    def on_train_begin(self, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_begin(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class History(Callback):
    """What ``fit`` returns.

    Attributes
    ----------
    history : dict of str to list of float
        Loss, metrics and their ``val_`` counterparts, one number an epoch.
    epoch : list of int
    """

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
