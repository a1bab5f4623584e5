"""Where a step stands, as features of it: KerasHub's layers, with its names, arguments and numbers."""

from typing import Any, ClassVar

from rekur import initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import integer, real
from rekur.layers.base import Layer


def _positive(value: object, what: str) -> float:
    number = real(value, what)
    if number <= 0:
        raise ValueError(f"{what} must be above 0, got {value!r}")
    return number


@named_after("rekur.layers", "Layer")
class _Position(Layer):
    def _check_call(self, options: dict[str, Any]) -> None:
        if options.get("start_index", 0) == 0 and options.get("positions") is None:
            options = {k: v for k, v in options.items() if k not in ("start_index", "positions")}
        super()._check_call(options)


class PositionEmbedding(_Position):
    """y = E[t] at step t, whatever x is there: to be added to x.

    Parameters
    ----------
    sequence_length : int
        Rows of E: the most steps that a sequence may have; more are an error, in a stream NaN.
    initializer : str or Initializer

    Notes
    -----
    Input ``(B, T, F)``, output the same shape. Weights: embeddings ``(sequence_length, F)``.
    """

    type = "PositionEmbedding"
    _keys: ClassVar[tuple[str, ...]] = ("sequence_length", "initializer")

    sequence_length = Setting(integer)
    initializer = Setting(initializers.to_spec)

    def __init__(
        self, sequence_length: int, initializer: Any = "glorot_uniform", *, name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name, options)
        self.sequence_length = sequence_length
        self.initializer = initializer


class SinePositionEncoding(_Position):
    """y = sin(t w^(−2k/F)) and cos of it at step t, in features 2k and 2k + 1: to be added to x. arXiv:1706.03762.

    Parameters
    ----------
    max_wavelength : float
        w, above 0.

    Notes
    -----
    Input ``(B, T, F)``, output the same shape, whatever x is.
    """

    type = "SinePositionEncoding"
    _keys: ClassVar[tuple[str, ...]] = ("max_wavelength",)

    max_wavelength = Setting(_positive)

    def __init__(self, max_wavelength: float = 10000.0, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.max_wavelength = max_wavelength


class RotaryEmbedding(_Position):
    """y = x at step t with features k and k + F/2 turned by the angle (t/scaling_factor) w^(−2k/F). arXiv:2104.09864.

    Parameters
    ----------
    max_wavelength : float
        w, above 0.
    scaling_factor : float
        Above 0.

    Notes
    -----
    For queries and keys before :class:`Attention`. Input ``(B, T, F)`` or ``(B, T, N, F)``, F even; output the same.
    """

    type = "RotaryEmbedding"
    _keys: ClassVar[tuple[str, ...]] = ("max_wavelength", "scaling_factor")

    max_wavelength = Setting(_positive)
    scaling_factor = Setting(_positive)

    def __init__(
        self, max_wavelength: float = 10000.0, scaling_factor: float = 1.0, *, name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name, options)
        self.max_wavelength = max_wavelength
        self.scaling_factor = scaling_factor
