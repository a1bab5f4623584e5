"""Pooling over time: of windows of steps, or of all.

``B`` rows, ``T`` steps, ``F`` features. Steps past a row's length, and those before the first and after the last, are
not there: the mean is that of the steps that are. A window without a step gives zeros.
"""

from typing import Any

from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import boolean, one_of
from rekur.layers.base import Layer
from rekur.layers.convolution import channels_last, size


def _optional(value: object, what: str) -> int | None:
    return None if value is None else size(value, what)


@named_after("rekur.layers", "Layer")
class _Pooling(Layer):
    _keys = ("pool_size", "strides", "padding")

    data_format = Setting(channels_last)
    pool_size = Setting(size)
    strides = Setting(_optional)
    padding = Setting(one_of("valid", "same"))

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.data_format = data_format
        self.pool_size = pool_size
        self.strides = strides
        self.padding = padding


class MaxPooling1D(_Pooling):
    """The largest of each window of steps, feature by feature.

    Parameters
    ----------
    pool_size : int
        Steps of a window. Numbers of steps may be tuples of one, as in Keras.
    strides : int, optional
        Steps from one window to the next; ``pool_size`` by default.
    padding : {"valid", "same"}
        "valid": whole windows, T' = (T − pool_size) // strides + 1. "same": T' = ⌈T / strides⌉.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T', F)``. NaN where a step of the window is NaN. The gradient goes to the first
    step that is the largest.
    """

    type = "MaxPooling1D"


class AveragePooling1D(_Pooling):
    """The mean of each window of steps, feature by feature; of those that are there.

    Parameters
    ----------
    pool_size, strides, padding
        As of :class:`rekur.layers.MaxPooling1D`.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T', F)``.
    """

    type = "AveragePooling1D"


@named_after("rekur.layers", "Layer")
class _GlobalPooling(Layer):
    _keys = ("keepdims",)

    data_format = Setting(channels_last)
    keepdims = Setting(boolean)

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, *, name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name, options)
        self.data_format = data_format
        self.keepdims = keepdims


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest of all steps, feature by feature.

    Parameters
    ----------
    keepdims : bool
        Whether the output keeps a time axis, of one step.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, F)`` or ``(B, 1, F)``. A row without steps gives zeros. It looks at the steps that
    a mask leaves out too, as in Keras, but not at those past a length.
    """

    type = "GlobalMaxPooling1D"


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of all steps, feature by feature; of those that a mask or the row's length leaves.

    Parameters
    ----------
    keepdims : bool
        Whether the output keeps a time axis, of one step.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, F)`` or ``(B, 1, F)``. A row without steps gives zeros.
    """

    type = "GlobalAveragePooling1D"
