"""What all layers share: their keys, their place in a graph, access to their weights."""

import copy
import inspect
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from rekur import _core
from rekur._own import refuse_class, refuse_methods
from rekur._settings import Guarded, Setting, thawed
from rekur._spec import Spec, check_name, dumps, reference, snake_case
from rekur._validate import Floats, Shape, boolean, integer

if TYPE_CHECKING:
    from rekur.models import Model

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

    Notes
    -----
    It never changes. A copy of it is the tensor itself, and it cannot be pickled: it stands for a place in a graph.
    """

    __slots__ = ("dtype", "index", "layer", "shape")

    shape: Shape
    dtype: str
    layer: "Layer"
    index: int

    def __init__(self, shape: Shape, dtype: str, layer: "Layer", index: int = 0) -> None:
        for name, value in (("shape", shape), ("dtype", dtype), ("layer", layer), ("index", index)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self!r}: '{name}' cannot be set: a symbolic tensor is what its layer gives")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self!r}: '{name}' cannot be deleted: a symbolic tensor is what its layer gives")

    def __copy__(self) -> "SymbolicTensor":
        return self

    def __deepcopy__(self, memo: object) -> "SymbolicTensor":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled: it stands for a place in a graph; pickle the Model made of it")

    @property
    def name(self) -> str:
        return reference(self.layer.name, self.index)

    def __repr__(self) -> str:
        return f"<SymbolicTensor '{self.name}' shape={self.shape} dtype={self.dtype}>"

    def __array__(self, *_: object, **__: object) -> Any:
        raise TypeError(f"{self!r} holds no numbers: build a Model from it and call predict")


def feature_shape(shape: object, what: str) -> Shape:
    if not isinstance(shape, Sequence) or isinstance(shape, (str, bytes, bytearray)):
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
        raise ValueError(f"{what} must be 'float32' or 'int32', got {dtype!r} (data of other dtypes is converted)")
    return str(name)


def _input_shape(shape: object, what: str) -> Shape | None:
    return None if shape is None else feature_shape(shape, what)


class Layer(Guarded):
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

    Notes
    -----
    Every parameter of a layer is an attribute under its name. It may be set until the layer is called, with the checks
    of the constructor; after that the layer is what its model was made of, and setting raises AttributeError. Dicts and
    lists among them (an activation with parameters) cannot be changed in place.

    A copy, by ``copy``, ``deepcopy`` or ``pickle``, is a layer of the same name and parameters that was not called.
    Weights belong to the model: ``copy.set_weights(layer.get_weights())`` once the copy is part of one.
    """

    type: ClassVar[str]
    _keys: ClassVar[tuple[str, ...]] = ()
    _kind = "layer"
    _advice: ClassVar[dict[str, str]] = {
        "weights": "get_weights gives them and set_weights takes them",
        "kernel": "get_weights gives it and set_weights takes it",
        "bias": "get_weights gives it and set_weights takes it",
        "dtype": "layers compute in float32",
        "output_shape": "it follows from what the layer was called on; see output_shapes",
        "output_shapes": "they follow from what the layer was called on",
    }
    input_dtype: ClassVar[str] = "float32"
    _serial = -1  # its place in the order of calls; -1: not called
    _model: "Model | None" = None

    input_shape = Setting(_input_shape)

    def __init__(self, name: str | None = None, options: dict[str, Any] | None = None, **others: Any) -> None:
        if not hasattr(type(self), "type"):
            refuse_class(type(self), "layer")
        options = others if options is None else options
        self._name = None if name is None else check_name(name, type(self).__name__)
        self.input_shape = options.pop("input_shape", None)
        if options:
            from rekur._keras import arguments  # which only scripts of Keras need

            arguments.check(self.type, repr(self), options, self._argument_names())
        self._inbound: list[SymbolicTensor] = []
        self._outbound: list[SymbolicTensor] = []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "layer", "call")

    def _argument_names(self) -> list[str]:
        """What the constructor takes by name."""
        return [*inspect.signature(type(self).__init__).parameters, "input_shape"]

    @property
    def name(self) -> str:
        return self._name or snake_case(type(self).__name__)

    @name.setter
    def name(self, name: str) -> None:
        self._may_set("name")
        self._name = check_name(name, f"{self!r}: name")

    @property
    def trainable(self) -> bool:
        """True: every layer is trained."""
        return True

    @trainable.setter
    def trainable(self, value: bool) -> None:
        refuse_freezing(value, repr(self))

    def _is_connected(self) -> bool:
        return self._serial >= 0

    def _may_set(self, name: str) -> None:
        if self._is_connected():
            of = "" if self._model is None else f" is part of model '{self._model.name}' and"
            raise AttributeError(
                f"{self!r}{of} has been called: '{name}' cannot be set any more; make a layer with the value wanted "
                "and a model of it (set_weights takes weights over)"
            )

    def _was_set(self, name: str) -> None:
        self._check_settings()

    def _check_settings(self) -> None:
        """Raises ValueError where the parameters do not go together."""

    def _disconnect(self) -> None:
        """As before the call that connected it."""
        self._inbound, self._outbound, self._serial, self._model = [], [], -1, None

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_model", "_serial", "_inbound", "_outbound")
        return {"_inbound": [], "_outbound": [], **{k: v for k, v in vars(self).items() if k not in left_out}}

    def __copy__(self) -> "Layer":
        return copy.deepcopy(self)

    def config(self) -> Spec:
        """The layer's keys in the spec, all of them; a copy."""
        return {key: thawed(getattr(self, key)) for key in self._keys}

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

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor], **options: Any) -> Any:
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
        self._check_call(options)
        return self._connect(symbolic(inputs, repr(self)))

    def _check_call(self, options: dict[str, Any]) -> None:
        if options:
            from rekur._keras import arguments

            arguments.check("call", f"the call of {self!r}", options, inspect.signature(self.__call__).parameters)

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


def refuse_freezing(value: object, what: str) -> None:
    """Raises AttributeError for ``trainable = False``."""
    if not boolean(value, f"{what}: trainable"):
        raise AttributeError(
            f"{what}: trainable cannot be False: all layers of a model are trained. To train only what follows, "
            "predict with a model that ends here and fit a second model on its outputs"
        )


class InputLayer(Layer):
    """Where data enters a model.

    Parameters
    ----------
    shape : tuple
        Of one row: ``(T, F)`` or ``(None, F)`` for sequences, ``(F,)`` for features; ``(T,)`` or ``(None,)`` for the
        ids of an Embedding.
    dtype : {"float32", "int32"}
        Other integers are taken for int32. An input that an Embedding reads becomes int32.
    name : str, optional
    """

    type = "Input"
    _keys = ("shape", "dtype")

    shape = Setting(feature_shape)
    dtype = Setting(_dtype_name)

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
        **options: Any,
    ) -> None:
        shape = options.pop("input_shape", None) if shape is None else shape
        super().__init__(name, options)
        self.shape = shape
        self.dtype = "float32" if dtype is None else dtype
        self._begin()

    def _hold(self, dtype: str) -> None:
        """Become an input of another dtype: see Embedding."""
        vars(self)["dtype"] = dtype
        object.__setattr__(self.tensor, "dtype", dtype)

    @property
    def name(self) -> str:
        return self._name or "input"

    @name.setter
    def name(self, name: str) -> None:
        self._may_set("name")

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def _begin(self) -> None:
        self._outbound = [SymbolicTensor((None, *self.shape), self.dtype, self)]
        self._serial = next(_serials)

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor], **options: Any) -> Any:
        raise ValueError(f"{self!r} takes no inputs: it is where a model begins")

    @property
    def tensor(self) -> SymbolicTensor:
        return self._outbound[0]


def Input(
    shape: Sequence[int | None] | None = None, *, dtype: Any = "float32", name: str | None = None, **options: Any
) -> SymbolicTensor:
    """A symbolic tensor where data enters a model; see :class:`InputLayer` for the parameters."""
    return InputLayer(shape, dtype=dtype, name=name, **options).tensor


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
