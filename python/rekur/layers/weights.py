"""Weights of layers and cells of one's own: what ``add_weight`` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rekur import initializers
from rekur._spec import check_name
from rekur._validate import boolean, show
from rekur.layers.own import line, shape_of
from rekur.layers.symbolic import SymbolicTensor

if TYPE_CHECKING:
    from rekur.layers.base import Layer

_FURTHER = ("regularizer", "constraint", "aggregation", "autocast", "overwrite_with_gradient")


class Weight:
    """A weight of a layer of one's own: it has a place in equations and products, and no numbers of its own.

    Attributes
    ----------
    name : str
    shape : tuple of int
    initializer
        As a spec has it.
    trainable : bool
    """

    __array_ufunc__ = None

    def __init__(self, name: str, shape: tuple[int, ...], initializer: Any, trainable: bool, owner: str) -> None:
        self.name, self.shape, self.initializer, self.trainable = name, shape, initializer, trainable
        self._owner = owner
        self._dense: Any = None  # of a kernel: the layer that multiplies with it
        self._biased: Any = None  # of a kernel: the layer that does so and adds the bias
        self._partner: Weight | None = None  # a kernel's bias, a bias's kernel

    def __repr__(self) -> str:
        return f"<weight '{self.name}' of {self._owner}, shape={self.shape}>"

    def _product(self, x: Any) -> Any:
        """``ops.matmul(x, weight)``."""
        if not isinstance(x, SymbolicTensor):
            return x._trace.product_with(x, self)
        if len(self.shape) != 2:
            raise ValueError(f"{self!r}: ops.matmul takes a matrix (features, units) ({line()})")
        if self._dense is None:
            from rekur.layers.core import Dense

            self._dense = Dense(self.shape[1], use_bias=False, kernel_initializer=self.initializer, name=self.name)
            self._dense.trainable = self.trainable
            self._dense._of_weight = self
        if x.shape[-1] != self.shape[0]:
            raise ValueError(f"{self!r}: ops.matmul with a tensor of shape {show(x.shape)} ({line()})")
        return self._dense(x)

    def _added(self, x: SymbolicTensor) -> Any:
        """``x + weight``: the bias of a product."""
        kernel: Weight | None = getattr(x.layer, "_of_weight", None)
        if kernel is None or self.shape != x.shape[-1:]:
            raise ValueError(
                f"{self!r}: a weight is what ops.matmul multiplies a tensor with, or the bias that is added to such a "
                f"product ({line()})"
            )
        if kernel._partner not in (None, self) or self._partner not in (None, kernel):
            raise ValueError(
                f"{self!r}: a kernel has one bias, and a bias one kernel: {kernel!r} and it cannot both be shared "
                f"({line()})"
            )
        if kernel.trainable != self.trainable:
            raise ValueError(
                f"{self!r}: trainable={self.trainable}, and {kernel!r}, whose product it is added to, has "
                f"trainable={kernel.trainable}: both are trained or neither is ({line()})"
            )
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

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __add__(self, other: Any) -> Any:
        return self._added(other) if isinstance(other, SymbolicTensor) else other._trace.add("add", (other, self))

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, SymbolicTensor):
            raise ValueError(f"{self!r}: tensors are multiplied with a weight by ops.matmul ({line()})")
        return other._trace.add("multiply", (other, self))

    def __rmatmul__(self, other: Any) -> Any:
        return self._product(other)


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
