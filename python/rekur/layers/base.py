"""What all layers share: their keys, their place in a graph, access to their weights."""

import inspect
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rekur import _core
from rekur._spec import Spec, check_name, dumps, reference, snake_case
from rekur._validate import Floats, Shape, did_you_mean, integer

if TYPE_CHECKING:
    from rekur.models import Model

# What Keras's layers take and these do not, with what to do instead.
_ELSEWHERE = {
    "go_backwards": "use reverse=True; unlike go_backwards it leaves the outputs in the order of the input: "
    "step t of the output belongs to step t of the input",
    "mask_zero": "give the lengths of the rows to fit, evaluate and predict as lengths=",
    "dropout": "put a Dropout layer before this one",
    "stateful": "return_state=True gives the last states and initial_state= takes them",
    "recurrent_dropout": "put a Dropout layer before or after this one",
    "batch_input_shape": "use input_shape=, without the batch",
    "batch_shape": "use shape=, without the batch",
}
_serials = itertools.count()


class SymbolicTensor:
    """What flows from layer to layer while a model is described: a shape and a dtype, no numbers.

    Attributes
    ----------
    shape : tuple
        ``(None, …)``: the batch, then the dimensions; None where only the data will tell.
    dtype : str
        ``"float32"`` or ``"int32"``.
    layer : Layer
        The layer whose output ``index`` this is.
    index : int
    """

    __slots__ = ("dtype", "index", "layer", "shape")

    def __init__(self, shape: Shape, dtype: str, layer: "Layer", index: int = 0) -> None:
        self.shape = shape
        self.dtype = dtype
        self.layer = layer
        self.index = index

    @property
    def name(self) -> str:
        return reference(self.layer.name, self.index)

    def __repr__(self) -> str:
        return f"<SymbolicTensor '{self.name}' shape={self.shape} dtype={self.dtype}>"

    def __array__(self, *_: object, **__: object) -> Any:
        raise TypeError(f"{self!r} holds no numbers: build a Model from it and call predict")


class Layer:
    """Base of all layers.

    Parameters
    ----------
    name : str, optional
        Unique in its model, of letters, digits, ``_``, ``.`` and ``-``. A layer without one is named after its type
        when it joins a model: ``lstm``, ``lstm_1``, ….
    input_shape : tuple, optional
        For the first layer of a Sequential: the shape of one row, None for a dimension that only the data will tell.

    Raises
    ------
    TypeError
        For a keyword that the layer does not have, with a suggestion.
    """

    type: ClassVar[str]
    _keys: ClassVar[tuple[str, ...]] = ()
    # Arguments of Keras's layer that this one does not have, and the value that asks for nothing, which may be given.
    _idle: ClassVar[dict[str, object]] = {}
    input_dtype: ClassVar[str] = "float32"

    def __init__(self, name: str | None, options: dict[str, Any]) -> None:
        self._name = None if name is None else check_name(name, type(self).__name__)
        shape = options.pop("input_shape", None)
        options = {k: v for k, v in options.items() if k not in self._idle or v != self._idle[k]}
        self.input_shape: Shape | None = None if shape is None else feature_shape(shape, f"{self!r}: input_shape")
        if options:
            raise TypeError(self._unknown(next(iter(options))))
        self._inbound: list[SymbolicTensor] = []
        self._outbound: list[SymbolicTensor] = []
        self._serial = -1  # its place in the order of calls; -1: not called
        self._model: Model | None = None

    def _unknown(self, key: str) -> str:
        if key in _ELSEWHERE:
            return f"{self!r} has no argument '{key}': {_ELSEWHERE[key]}"
        known = [p for p in inspect.signature(type(self).__init__).parameters if p not in ("self", "options")]
        return f"{self!r} has no argument '{key}'{did_you_mean(key, [*known, 'input_shape'])}"

    @property
    def name(self) -> str:
        return self._name or snake_case(type(self).__name__)

    def config(self) -> Spec:
        """The layer's keys in the spec, all of them."""
        return {key: getattr(self, key) for key in self._keys}

    def spec(self) -> Spec:
        """The layer's object in the spec."""
        entry: Spec = {"type": self.type, "name": self.name}
        if self._inbound:
            entry["inputs"] = [tensor.name for tensor in self._inbound]
        return {**entry, **self.config()}

    @classmethod
    def from_config(cls, config: Spec, name: str | None = None) -> "Layer":
        """A layer of its keys in the spec."""
        return cls(**config, name=name)

    def __repr__(self) -> str:
        return f"{self.type} '{self.name}'"

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor]) -> Any:
        """Connect the layer to ``inputs``.

        Returns
        -------
        SymbolicTensor, or a list of them where the layer has several outputs.

        Raises
        ------
        ValueError
            If the shapes do not fit, or the layer was called before.
        TypeError
            If an input is anything but a symbolic tensor.
        """
        return self._connect(symbolic(inputs, repr(self)))

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if self._serial >= 0:
            raise ValueError(
                f"{self!r} was called before; one layer's weights in two places are not supported: make a second layer"
            )
        entry = {"type": self.type, "name": self.name, **self.config()}
        found = _core.infer_layer(dumps(entry), [(t.shape, t.dtype) for t in inputs])
        self._inbound = inputs
        self._outbound = [SymbolicTensor(tuple(shape), dtype, self, k) for k, (shape, dtype) in enumerate(found)]
        self._serial = next(_serials)
        return self._outbound[0] if len(self._outbound) == 1 else list(self._outbound)

    @property
    def output_shapes(self) -> list[Shape]:
        """The shapes of the outputs; empty before the layer is connected."""
        return [tensor.shape for tensor in self._outbound]

    def count_params(self) -> int:
        """Number of parameters."""
        return self._owner()._layer_size(self.name)

    def get_weights(self) -> list[Floats]:
        """Copies of the layer's parameters: kernel, recurrent_kernel, bias, peephole, as far as it has them (a
        Bidirectional's forward ones first).
        """
        return [w for name, w in self._owner().named_weights().items() if name.startswith(f"{self.name}/")]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the layer's parameters from arrays in the order of ``get_weights``.

        Raises
        ------
        ValueError
            If their number or a shape is wrong.
        """
        self._owner()._set_weights(weights, f"{self.name}/", repr(self))

    def _owner(self) -> "Model":
        if self._model is None:
            raise ValueError(f"{self!r} has no weights yet: it belongs to no model")
        return self._model


class InputLayer(Layer):
    """Where data enters a model.

    Parameters
    ----------
    shape : tuple
        Of one row: ``(T, F)`` or ``(None, F)`` for sequences, ``(F,)`` for features; ``(T,)`` or ``(None,)`` with
        ``dtype="int32"`` for the ids of an Embedding.
    dtype : {"float32", "int32"}
        Other integers are taken for int32.
    name : str, optional
    """

    type = "Input"
    _keys = ("shape", "dtype")

    def __init__(
        self, shape: Sequence[int | None], dtype: Any = "float32", name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name, options)
        self.shape = feature_shape(shape, f"{self!r}: shape")
        self.dtype = _dtype_name(dtype, repr(self))
        self._outbound = [SymbolicTensor((None, *self.shape), self.dtype, self)]
        self._serial = next(_serials)

    @property
    def name(self) -> str:
        return self._name or "input"

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor]) -> Any:
        raise ValueError(f"{self!r} takes no inputs: it is where a model begins")

    @property
    def tensor(self) -> SymbolicTensor:
        return self._outbound[0]


def Input(shape: Sequence[int | None], dtype: Any = "float32", name: str | None = None) -> SymbolicTensor:
    """A symbolic tensor where data enters a model; see :class:`InputLayer` for the parameters."""
    return InputLayer(shape, dtype, name).tensor


def feature_shape(shape: object, what: str) -> Shape:
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise TypeError(f"{what}: expected a tuple such as (10, 1), without the batch, got {shape!r}")
    return tuple(None if n is None else integer(n, f"{what}: a dimension") for n in shape)


def _dtype_name(dtype: object, what: str) -> str:
    try:
        name = np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = str(dtype)
    if name in ("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64"):
        return "int32"  # as the data will be, whose ids are checked to fit
    if name not in ("float32", "int32"):
        raise ValueError(
            f"{what}: dtype must be 'float32' or 'int32', got {dtype!r} (data of other dtypes is converted)"
        )
    return str(name)


def symbolic(inputs: object, what: str) -> list[SymbolicTensor]:
    """A list of symbolic tensors of one or a sequence of them."""
    tensors: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    for tensor in tensors:
        if not isinstance(tensor, SymbolicTensor):
            raise TypeError(
                f"{what}: expected a symbolic tensor (what rekur.Input and layers return), "
                f"got {type(tensor).__name__}; to compute on data build a Model and call predict"
            )
    return tensors
