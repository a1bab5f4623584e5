"""Weights of layers and cells of one's own: what ``add_weight`` returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from rekur import _structure, initializers
from rekur._spec import check_name
from rekur._validate import boolean, show
from rekur.layers.own import line, shape_of
from rekur.layers.symbolic import SymbolicTensor

if TYPE_CHECKING:
    from rekur.layers.base import Layer

_FURTHER = ("regularizer", "constraint", "aggregation", "autocast", "overwrite_with_gradient")


class Weighed:
    """What weights alone make: it has no numbers yet, and becomes a tensor beside the first one that it meets."""

    __array_ufunc__ = None
    __hash__ = object.__hash__
    axes = 0  # of the weights

    def at(self, x: SymbolicTensor) -> SymbolicTensor:
        """As a tensor of as many axes as ``x``, with its steps."""
        raise NotImplementedError

    def _product(self, x: Any) -> Any:
        """``ops.matmul(x, weight)``."""
        raise ValueError(f"ops.matmul: expected a tensor and a weight as add_weight made it, got {self!r} ({line()})")

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} is neither true nor false: it has no numbers yet; use rekur.ops.where ({line()})")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be unpacked ({line()})")

    def __getitem__(self, key: Any) -> Any:
        """An element of weights along one axis, as a number for all features, or some of them."""
        if self.axes == 1 and isinstance(key, (int, np.integer)):
            key = slice(int(key), None if key == -1 else int(key) + 1)
        if self.axes != 1 or not isinstance(key, slice) or key.step not in (None, 1):
            raise TypeError(f"{self!r} cannot be indexed by {key!r}: use a weight for each part ({line()})")
        return Expression("getitem", lambda x: x[..., key], ((self,), {}))

    def __rmatmul__(self, other: Any) -> Any:
        return self._product(other)

    def __neg__(self) -> Any:
        return _made("negative", self)

    def __abs__(self) -> Any:
        return _made("abs", self)


def _made(name: str, *operands: Any) -> Any:
    from rekur import ops

    for operand in operands:
        if not isinstance(operand, (Weighed, SymbolicTensor, int, float, np.generic, np.ndarray)):
            return NotImplemented
    return getattr(ops, name)(*operands)


def _operators(method: str, name: str) -> None:
    def plain(self: Weighed, other: Any) -> Any:
        if hasattr(other, "_trace") and name in ("add", "multiply"):  # a cell's symbol
            return other._trace.add(name, (other, self))
        return _made(name, self, other)

    def turned(self: Weighed, other: Any) -> Any:
        return plain(self, other) if name in ("add", "multiply") else _made(name, other, self)

    setattr(Weighed, f"__{method}__", plain)
    setattr(Weighed, f"__r{method}__", turned)


for _method, _name in (
    ("add", "add"),
    ("sub", "subtract"),
    ("mul", "multiply"),
    ("truediv", "divide"),
    ("pow", "power"),
):
    _operators(_method, _name)
for _method, _name in (("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal")):
    setattr(Weighed, f"__{_method}__", lambda self, other, name=_name: _made(name, self, other))


class Expression(Weighed):
    """An operation of rekur.ops on weights and numbers."""

    def __init__(self, name: str, operation: Callable[..., Any], given: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        self._name, self._operation, self._given = name, operation, given
        self.axes = max(leaf.axes for leaf in _structure.flatten(given) if isinstance(leaf, Weighed))
        self._made: dict[SymbolicTensor, SymbolicTensor] = {}

    def __repr__(self) -> str:
        return f"<ops.{self._name} of weights>"

    def at(self, x: SymbolicTensor) -> SymbolicTensor:
        if x not in self._made:
            self._made[x] = self._operation(*placed(self._given[0], x), **placed(self._given[1], x))
        return self._made[x]


def placed(given: Any, x: SymbolicTensor) -> Any:
    """Arguments with tensors for what is of weights."""
    return _structure.mapped(lambda leaf: leaf.at(x) if isinstance(leaf, Weighed) else leaf, given)


def of_weights(name: str, operation: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """An operation of rekur.ops of which an argument is a weight, or made of weights.

    Raises
    ------
    ValueError
        For an axis counted from the front: weights have the axes of the tensors that they meet.
    """
    from rekur import ops
    from rekur.layers import tensors

    met = [tensor for tensor in tensors.among((given, options)) if tensor.dtype == "float32"]
    if not met:
        named = dict(zip(("x", "axis"), given, strict=False), **options)
        axis = named.get("axis")
        if name in ops._OVER_AXES and not (axis == -1 or (axis is None and "softmax" in name)):
            raise ValueError(f"ops.{name} of a weight: axis=-1 alone, got axis={axis!r} ({line()})")
        if name in ops._OVER_AXES and "softmax" not in name and not named.get("keepdims"):
            raise ValueError(
                f"ops.{name} of a weight: keepdims=True, as it is to meet a tensor of the same axes ({line()})"
            )
        return Expression(name, operation, (given, options))
    x = max(met, key=lambda tensor: len(tensor.shape))
    if name == "add" and len(given) == 2 and not options:
        weight, other = given if isinstance(given[0], Weight) else given[::-1]
        if isinstance(weight, Weight) and other is x and (found := weight._as_bias(x)) is not None:
            return found
    return operation(*placed(given, x), **placed(options, x))


class Weight(Weighed):
    """A weight of a layer of one's own: it has a place in equations and products, and no numbers of its own.

    Attributes
    ----------
    name : str
    shape : tuple of int
    initializer
        As a spec has it.
    trainable : bool
    """

    def __init__(self, name: str, shape: tuple[int, ...], initializer: Any, trainable: bool, owner: str) -> None:
        self.name, self.shape, self.initializer, self.trainable = name, shape, initializer, trainable
        self._owner, self.axes = owner, len(shape)
        self._dense: Any = None  # of a kernel: the layer that multiplies with it
        self._biased: Any = None  # of a kernel: the layer that does so and adds the bias
        self._partner: Weight | None = None  # a kernel's bias, a bias's kernel
        self._parameter: Any = None  # the layer that gives it as a tensor
        self._made: dict[SymbolicTensor, SymbolicTensor] = {}

    def __repr__(self) -> str:
        return f"<weight '{self.name}' of {self._owner}, shape={self.shape}>"

    def at(self, x: SymbolicTensor) -> SymbolicTensor:
        if self._dense is not None or self._partner is not None:
            self._refuse_both()
        if self._parameter is None:
            from rekur.layers.parameter import Parameter

            self._parameter = Parameter(self.shape, self.initializer, beside=True, name=self.name)
            self._parameter.trainable = self.trainable
        if x not in self._made:
            try:
                self._made[x] = self._parameter(x)
            except ValueError as error:
                raise ValueError(f"{self!r} beside a tensor of shape {show(x.shape)}: {error} ({line()})") from None
        return self._made[x]

    def _refuse_both(self) -> NoReturn:
        raise ValueError(
            f"{self!r}: a weight is in products (ops.matmul, and the bias of one) or in arithmetic, not in both: use a "
            f"weight for each ({line()})"
        )

    def _product(self, x: Any) -> Any:
        """``ops.matmul(x, weight)``."""
        if not isinstance(x, SymbolicTensor):
            if not hasattr(x, "_trace"):
                raise ValueError(f"{self!r}: ops.matmul expected a tensor, got {x!r} ({line()})")
            return x._trace.product_with(x, self)
        if len(self.shape) != 2:
            raise ValueError(f"{self!r}: ops.matmul takes a matrix (features, units) ({line()})")
        if self._parameter is not None:
            self._refuse_both()
        if self._dense is None:
            from rekur.layers.core import Dense

            self._dense = Dense(self.shape[1], use_bias=False, kernel_initializer=self.initializer, name=self.name)
            self._dense.trainable = self.trainable
            self._dense._of_weight = self
        if x.shape[-1] != self.shape[0]:
            raise ValueError(f"{self!r}: ops.matmul with a tensor of shape {show(x.shape)} ({line()})")
        return self._dense(x)

    def _as_bias(self, x: SymbolicTensor) -> Any:
        """``x + weight`` where x is a product and can have the weight for its bias; else None."""
        kernel: Weight | None = getattr(x.layer, "_of_weight", None)
        if kernel is None or self.shape != x.shape[-1:] or self._parameter is not None or self._dense is not None:
            return None
        if kernel._partner not in (None, self) or self._partner not in (None, kernel):
            return None
        if kernel.trainable != self.trainable:
            return None
        if kernel._biased is None:
            from rekur.layers.core import Dense

            kernel._biased = Dense(
                kernel.shape[1],
                kernel_initializer=kernel.initializer,
                bias_initializer=self.initializer,
                name=kernel.name,
            )
            kernel._biased.trainable = kernel.trainable
            kernel._partner, self._partner = self, kernel
        return kernel._biased(x._call.inputs[0])


def check_products(owner: Layer, outputs: Sequence[SymbolicTensor]) -> None:
    """A product stands with its bias or without it wherever its kernel is used: the engine has both in one layer.

    Raises
    ------
    ValueError
        For a kernel of the layer whose outputs these are, of which a part uses both.
    """
    kernels = [weight for weight in owner._own_weights if weight._biased is not None]
    met, waiting = set(), [tensor._call for tensor in outputs] if kernels else []
    while waiting:
        call = waiting.pop()
        if call not in met:
            met.add(call)
            waiting += [tensor._call for tensor in call.inputs]
    used = {call.layer for call in met}
    for kernel in kernels:
        if {kernel._dense, kernel._biased} <= used:
            raise ValueError(
                f"{kernel!r}: its product is used with the bias {kernel._partner!r} and without it, which one layer of "
                "the engine cannot do: use the sum of both everywhere, or a weight for each"
            )


def add_weight(
    owner: Layer,
    shape: Any = None,
    initializer: Any = None,
    dtype: Any = None,
    trainable: bool = True,
    name: str | None = None,
    **options: Any,
) -> Weight:
    whose = repr(owner)
    for key, value in options.items():
        if key not in _FURTHER or value not in (None, "none", True):
            raise TypeError(f"{whose}: add_weight has no argument '{key}' that asks for something, got {value!r}")
    taken = [weight.name for weight in owner._own_weights]
    label = f"weight_{len(taken)}" if name is None else check_name(name, f"{whose}: add_weight")
    if label in taken:
        raise ValueError(f"{whose}: add_weight: there is a weight '{label}' already")
    found = Weight(
        label,
        shape_of(() if shape is None else shape, f"{whose}: weight '{label}'"),
        initializers.to_spec("glorot_uniform" if initializer is None else initializer, f"{whose}: weight '{label}'"),
        boolean(trainable, f"{whose}: weight '{label}': trainable"),
        whose,
    )
    owner._own_weights.append(found)
    return found
