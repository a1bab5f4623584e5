"""Losses as functions under Keras's names: what they are of each row or step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rekur._validate import as_numeric

if TYPE_CHECKING:
    from rekur.losses import Loss


class LossFunction:
    """``losses.mean_squared_error`` and its like: of arrays an array of a number a row or step, of tensors a tensor.

    ``compile`` takes it for the loss of the name.
    """

    def __init__(self, name: str, loss: type[Loss]) -> None:
        self.__name__ = self.__qualname__ = name
        self.__module__ = "rekur.losses"
        self.__doc__ = loss.__doc__
        self.loss = loss

    def __repr__(self) -> str:
        return f"<function rekur.losses.{self.__name__}>"

    def __reduce__(self) -> Any:
        return named, (self.__name__,)

    def __call__(self, y_true: Any, y_pred: Any, **options: Any) -> Any:
        made = self.loss(**options)
        if not isinstance(y_pred, np.ndarray) and (hasattr(y_pred, "layer") or hasattr(y_pred, "_trace")):
            return made.call(y_true, y_pred)
        what = f"losses.{self.__name__}"
        targets, outputs = as_numeric(y_true, f"{what}: y_true"), as_numeric(y_pred, f"{what}: y_pred")
        made._check_targets(targets, outputs)
        return made.values(targets, outputs)


def named(name: str) -> Any:
    """The function of a name of :mod:`rekur.losses`."""
    from rekur import losses

    return getattr(losses, name)
