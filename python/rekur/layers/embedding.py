"""Ids and the steps that are none: Embedding and Masking."""

from typing import Any, ClassVar

from rekur import initializers
from rekur._settings import Setting
from rekur._validate import boolean, integer, optional_precision, real
from rekur.layers.base import Layer
from rekur.layers.core import as_input_shape
from rekur.layers.inputs import InputLayer
from rekur.layers.symbolic import SymbolicTensor


class Embedding(Layer):
    """y = E[x]: row x of a table.

    Parameters
    ----------
    input_dim : int
        Rows of the table; ids are 0 … input_dim − 1, anything else is an error.
    output_dim : int
        Features of a row.
    embeddings_initializer : str or Initializer
    weights : list of one array, optional
        The table that it begins with, ``(input_dim, output_dim)``; with ``trainable=False`` it stays.
    mask_zero : bool
        Whether a step of id 0 is none, which is a mask as of :class:`Masking`; id 0 has its row anyway.

    Notes
    -----
    Input ids ``(B,)`` or ``(B, T)``, with mask_zero ``(B, T)``, integers or floats that are whole numbers; output
    ``(B, output_dim)`` or
    ``(B, T, output_dim)``. ``input_length=T`` stands for ``input_shape=(T,)``.
    Weights: embeddings ``(input_dim, output_dim)``.
    """

    type = "Embedding"
    _narrows = True
    _each_step = True
    _keys = ("input_dim", "output_dim", "embeddings_initializer", "mask_zero")
    _ruled: ClassVar[dict[str, str]] = {"embeddings": "embeddings"}
    input_dtype = "int32"
    _further: ClassVar[dict[str, Any]] = {"weights": None}

    precision = Setting(optional_precision)
    input_dim = Setting(integer)
    output_dim = Setting(integer)
    embeddings_initializer = Setting(initializers.to_spec)
    mask_zero = Setting(boolean)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        mask_zero: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        as_input_shape("input_length", options)
        weights = options.pop("weights", None)
        if getattr(embeddings_initializer, "_array", None) is not None:
            weights, embeddings_initializer = [embeddings_initializer._array], "zeros"
        super().__init__(name, options)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = embeddings_initializer
        self._begin_with(weights)
        self.mask_zero = mask_zero

    @property
    def _makes_mask(self) -> bool:
        return bool(self.mask_zero)

    def __call__(self, inputs: Any, *further: Any, **options: Any) -> Any:
        if not isinstance(inputs, SymbolicTensor):
            from rekur.layers import positions

            if (found := positions.of(self, inputs)) is not None:
                return found
        return super().__call__(inputs, *further, **options)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if "_by_step" in vars(self):
            raise ValueError(f"{self!r} has a row for each step already, and does not read ids, too")
        entrance = inputs[0].layer if len(inputs) == 1 else None
        if not isinstance(entrance, InputLayer) or entrance.dtype == "int32" or len(entrance.shape) > 1:
            return super()._connect(inputs)
        entrance._hold_ids(repr(self))
        try:
            return super()._connect(inputs)
        except (TypeError, ValueError):
            entrance._hold("float32")
            raise


class Masking(Layer):
    """A mask: a step all of whose features are ``mask_value`` is none.

    Parameters
    ----------
    mask_value : float

    Notes
    -----
    Input and output ``(B, T, F)``; the steps that are none become zeros. What the mask does, as in Keras: recurrent
    layers leave the step out and repeat their last output there (``zero_output_for_mask=True``, and a Bidirectional's
    sequences: zeros), layers without recurrence pass it on, loss and metrics do not count the step. A mask may leave
    out any steps; padding at the rows' ends is said more plainly by ``lengths`` of ``fit`` and ``predict``.
    """

    type = "Masking"
    _keys = ("mask_value",)
    _makes_mask = True

    mask_value = Setting(real)

    def __init__(self, mask_value: float = 0.0, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.mask_value = mask_value
