"""Weights of layers and cells of one's own: what ``add_weight`` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rekur import initializers
from rekur._spec import check_name
from rekur._validate import boolean, show
from rekur.layers.base import SymbolicTensor
from rekur.layers.own import line, shape_of

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
        self._dense: Any = None  # the layer whose kernel it is

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
        if x.shape[-1] != self.shape[0]:
            raise ValueError(f"{self!r}: ops.matmul with a tensor of shape {show(x.shape)} ({line()})")
        return self._dense(x)

    def _added(self, x: SymbolicTensor) -> Any:
        """``x + weight``: the bias of a product."""
        dense = x.layer
        made = getattr(dense, "_of_weight", None)
        if self.shape != x.shape[-1:] or dense.type != "Dense" or (dense.use_bias and made is not self):
            raise ValueError(
                f"{self!r}: a weight is what ops.matmul multiplies a tensor with, or the bias that is added to such a "
                f"product ({line()})"
            )
        if dense.use_bias:
            return x
        if self._dense is None:
            from rekur.layers.core import Dense

            self._dense = Dense(
                dense.units,
                kernel_initializer=dense.kernel_initializer,
                bias_initializer=self.initializer,
                name=dense._name,
            )
            self._dense.trainable = dense.trainable
        return self._dense(x._call.inputs[0])

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
