"""The same numbers at other steps, or in other shapes.

``B`` rows, ``T`` steps, ``F`` features. Steps past a row's length are zeros before anything is moved, so that nothing
depends on what stands there.
"""

from collections.abc import Sequence
from typing import Any

from rekur._settings import Setting
from rekur._validate import integer, one_of, real
from rekur.layers.base import Layer
from rekur.layers.convolution import channels_last, size


def _pair(value: object, what: str) -> list[int]:
    """Steps at the beginning and at the end; one number stands for both, and Keras also writes a tuple of a pair."""
    if isinstance(value, (tuple, list)) and len(value) == 1 and isinstance(value[0], (tuple, list)):
        value = value[0]
    if not isinstance(value, (tuple, list)):
        return [integer(value, what, 0)] * 2
    if len(value) != 2:
        raise ValueError(f"{what}: expected a number or two, at the beginning and at the end, got {value!r}")
    return [integer(v, what, 0) for v in value]


def _target(value: object, what: str) -> list[int]:
    if not isinstance(value, (tuple, list)):
        value = (value,)
    sizes = [integer(v, what, -1) for v in value]
    if sizes.count(-1) > 1:
        raise ValueError(f"{what}: at most one size can be -1, what is left, got {tuple(sizes)}")
    return sizes


def _dims(value: object, what: str) -> list[int]:
    dims = [integer(v, what) for v in value] if isinstance(value, (tuple, list)) else []
    if not dims or sorted(dims) != list(range(1, len(dims) + 1)):
        raise ValueError(
            f"{what}: expected the axes beside the batch in their new order, counted from 1, such as (2, 1), got "
            f"{value!r}"
        )
    return dims


class UpSampling1D(Layer):
    """Each step ``size`` times.

    Parameters
    ----------
    size : int

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T · size, F)``.
    """

    type = "UpSampling1D"
    _keys = ("size",)

    size = Setting(size)

    def __init__(self, size: Any = 2, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.size = size


class Cropping1D(Layer):
    """Steps taken away at both ends; at a row's own end where it has a length.

    Parameters
    ----------
    cropping : int or pair of int
        Steps at the beginning and at the end.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T − the sum of cropping, F)``.
    """

    type = "Cropping1D"
    _keys = ("cropping",)

    cropping = Setting(_pair)

    def __init__(self, cropping: Any = (1, 1), *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.cropping = cropping


class ZeroPadding1D(Layer):
    """Steps of zeros at both ends; a row with a length has them after its own last step, a row without steps none.

    Parameters
    ----------
    padding : int or pair of int
        Steps at the beginning and at the end.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T + the sum of padding, F)``.
    """

    type = "ZeroPadding1D"
    _keys = ("padding",)

    data_format = Setting(channels_last)
    padding = Setting(_pair)

    def __init__(
        self, padding: Any = 1, data_format: str | None = None, *, name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name, options)
        self.data_format = data_format
        self.padding = padding


class Padding1D(Layer):
    """Steps at both ends that are a number, or made of the row's own; a row without steps gets none.

    Parameters
    ----------
    padding : int or pair of int
        Steps at the beginning and at the end.
    mode : str
        ``"constant"``: of ``value``; ``"reflect"``: the row mirrored at its first and its last step, which stand there
        once; ``"edge"``: those two repeated; ``"wrap"``: the row's other end. As in ``numpy.pad``, PyTorch's ``pad``
        (reflect, replicate, circular) and ONNX's ``Pad``; more steps than the row has go on as they began.
    value : float
        Of the mode ``"constant"``.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T + the sum of padding, F)``. A row with a length ends at its own last step.
    """

    type = "Padding1D"
    _keys = ("padding", "mode", "value")

    padding = Setting(_pair)
    mode = Setting(one_of("constant", "reflect", "edge", "wrap"))
    value = Setting(real)

    def __init__(
        self, padding: Any = 1, mode: str = "constant", value: float = 0.0, *, name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name, options)
        self.padding = padding
        self.mode = mode
        self.value = value


class Flatten(Layer):
    """A row's numbers in one vector, the last axis fastest.

    Notes
    -----
    Input ``(B, T, F)`` or of more axes, all known, output ``(B, T · F)``.
    """

    type = "Flatten"

    data_format = Setting(channels_last)

    def __init__(self, data_format: str | None = None, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.data_format = data_format


class Reshape(Layer):
    """A row's numbers in another shape, the last axis fastest.

    Parameters
    ----------
    target_shape : tuple of int
        Of a row. One size may be -1: what is left.

    Notes
    -----
    Output ``(B, *target_shape)``. Where it has a time axis, all of its steps are valid.
    """

    type = "Reshape"
    _keys = ("target_shape",)

    target_shape = Setting(_target)

    def __init__(self, target_shape: int | Sequence[int], *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.target_shape = target_shape


class Permute(Layer):
    """A row's axes in another order.

    Parameters
    ----------
    dims : tuple of int
        The axes beside the batch, counted from 1: ``(2, 1)`` exchanges steps and features.

    Notes
    -----
    The steps of the input must be known where they become features. Where the output has a time axis, all of its
    steps are valid.
    """

    type = "Permute"
    _keys = ("dims",)

    dims = Setting(_dims)

    def __init__(self, dims: Sequence[int], *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.dims = dims


class RepeatVector(Layer):
    """A sequence of ``n`` steps, each of which is the input.

    Parameters
    ----------
    n : int

    Notes
    -----
    Input ``(B, F)``, output ``(B, n, F)``.
    """

    type = "RepeatVector"
    _keys = ("n",)

    n = Setting(integer)

    def __init__(self, n: int, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.n = n
