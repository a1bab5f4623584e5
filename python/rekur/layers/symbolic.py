"""Symbolic tensors: what flows between layers while a model is described, and the calls that it comes from."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from rekur._spec import reference
from rekur._validate import Shape, integer

if TYPE_CHECKING:
    from rekur.layers.base import Layer
    from rekur.models.structure import Structure

_serials = itertools.count()


def next_serial() -> int:
    """A number above that of every call so far, below those to come."""
    return next(_serials)


class Call:
    """A layer, or a model used as one, called once: on which tensors, and what it gave."""

    __slots__ = ("given", "inputs", "layer", "outputs", "serial")

    def __init__(self, layer: "Layer | Structure", inputs: list["SymbolicTensor"]) -> None:
        self.layer = layer
        self.inputs = inputs
        self.outputs: list[SymbolicTensor] = []
        self.given: Any = None  # (arguments, options) of the call, of a layer of one's own
        self.serial = next_serial()

    def give(self, found: Sequence[tuple[Shape, str]]) -> None:
        """The outputs, by their shapes and dtypes."""
        self.outputs = [SymbolicTensor(tuple(shape), dtype, self, k) for k, (shape, dtype) in enumerate(found)]

    @property
    def name(self) -> str:
        """The layer's name, with a number for its second call and those after."""
        k = self.layer._calls.index(self)
        return self.layer.name if k == 0 else f"{self.layer.name}_{k}"


class SymbolicTensor:
    """What flows from layer to layer while a model is described: a shape and a dtype, no numbers.

    Attributes
    ----------
    shape : tuple
        ``(None, …)``: the batch, then the dimensions; None where only the data will tell.
    dtype : str
        ``"float32"`` or ``"int32"``.
    layer : Layer or Model
        Whose output ``index`` this is.
    index : int

    Notes
    -----
    It never changes. A copy of it is the tensor itself, and it cannot be pickled: it stands for a place in a graph.
    """

    __slots__ = ("_call", "dtype", "index", "shape")

    shape: Shape
    dtype: str
    index: int
    _call: Call

    def __init__(self, shape: Shape, dtype: str, call: Call, index: int = 0) -> None:
        for name, value in (("shape", shape), ("dtype", dtype), ("_call", call), ("index", index)):
            object.__setattr__(self, name, value)

    @property
    def layer(self) -> Any:
        return self._call.layer

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
        return reference(self._call.name, self.index)

    def __repr__(self) -> str:
        return f"<SymbolicTensor '{self.name}' shape={self.shape} dtype={self.dtype}>"

    def __array__(self, *_: object, **__: object) -> Any:
        raise TypeError(f"{self!r} holds no numbers: build a Model from it and call predict")

    # Operators make layers, as the functions of rekur.ops do. Two tensors are equal where they are the same.

    __array_ufunc__ = None  # so that NumPy's arrays leave the operators to this class

    def __add__(self, other: Any) -> Any:
        return _operation("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _operation("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _operation("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _operation("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return _operation("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _operation("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _operation("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _operation("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return _operation("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _operation("power", other, self)

    def __matmul__(self, other: Any) -> Any:
        return _operation("matmul", self, other)

    def __neg__(self) -> Any:
        return _operation("negative", self)

    def __pos__(self) -> "SymbolicTensor":
        return self

    def __abs__(self) -> Any:
        return _operation("abs", self)

    def __lt__(self, other: Any) -> Any:
        return _operation("less", self, other)

    def __le__(self, other: Any) -> Any:
        return _operation("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return _operation("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return _operation("greater_equal", self, other)

    def __and__(self, other: Any) -> Any:
        return _operation("logical_and", self, other)

    def __or__(self, other: Any) -> Any:
        return _operation("logical_or", self, other)

    def __invert__(self) -> Any:
        return _operation("logical_not", self)

    def __getitem__(self, key: Any) -> Any:
        from rekur.layers import tensors  # which is made of this module

        return tensors.item(self, key)

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be unpacked: rows of a batch are computed alike; use ops.split")

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} is neither true nor false: it has no numbers yet, so `if`, `and`, `or` and `not` cannot ask; "
            "use rekur.ops.where(condition, a, b), and &, |, ~ for conditions"
        )


def _operation(name: str, *operands: Any) -> Any:
    from rekur import ops

    for operand in operands:
        if hasattr(operand, "_product"):  # a weight
            if name == "matmul":
                return operand._product(next(o for o in operands if o is not operand))
            continue
        if not isinstance(operand, (SymbolicTensor, int, float, np.generic, np.ndarray)):
            return NotImplemented
    return getattr(ops, name)(*operands)


def feature_shape(shape: object, what: str) -> Shape:
    if not isinstance(shape, Sequence) or isinstance(shape, (str, bytes, bytearray)):
        raise TypeError(f"{what}: expected a tuple such as (10, 1), without the batch, got {shape!r}")
    return tuple(None if n is None else integer(n, f"{what}: a dimension") for n in shape)


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
