"""The operations of :mod:`rekur.ops` on whole tensors: joins, cuts, shapes, products. On arrays they are NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rekur._trace import Symbol
from rekur.layers import tensors
from rekur.layers.positions import Steps
from rekur.layers.symbolic import SymbolicTensor
from rekur.layers.weights import Weighed, Weight

__all__ = [
    "arange", "concatenate", "dot", "einsum", "expand_dims", "flip", "matmul", "repeat", "reshape", "shape", "split",
    "squeeze", "stack", "swapaxes", "take", "tensordot", "transpose",
]  # fmt: skip


def _symbolic(name: str, *operands: Any) -> bool:
    for operand in operands:
        if isinstance(operand, Symbol):
            raise operand._trace.error(f"ops.{name} is of whole tensors, and equations see one row: use layers")
        if isinstance(operand, Weighed):
            tensors.fail(
                f"ops.{name}: {operand!r} is no tensor: weights go into ops.matmul, ops.einsum and arithmetic with "
                "tensors; layers.Parameter makes a tensor of them"
            )
    return any(isinstance(operand, SymbolicTensor) for operand in operands)


def arange(start: Any, stop: Any = ..., step: Any = 1, dtype: Any = None) -> Any:
    """Numbers from ``start`` on, as NumPy's; up to a size that is left open, None, those of the steps of a tensor: what
    an Embedding of positions takes.
    """
    if start is None or stop is None:
        if (start not in (None, 0)) or (start is None and stop is not ...) or step != 1:
            tensors.fail(
                f"ops.arange: up to an open number of steps it begins with 0, got start={start!r}, step={step!r}"
            )
        return Steps()
    first, last = (0, start) if stop is ... else (start, stop)
    return np.arange(first, last, step, dtype=dtype)


def concatenate(xs: Sequence[Any], axis: int = -1) -> Any:
    """Tensors side by side."""
    if _symbolic("concatenate", *xs):
        return tensors.concatenate(xs, axis)
    return np.concatenate(xs, axis)


def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape along a new axis. Symbolic ones that are stacked in front of the batch wait for
    ``transpose``.
    """
    if _symbolic("stack", *x):
        return tensors.InFront(x) if axis == 0 else tensors.stack(x, axis)
    return np.stack(x, axis)


def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Each entry along an axis so many times, one behind the other; of a tensor time steps or features."""
    if _symbolic("repeat", x):
        return tensors.repeat(x, repeats, axis)
    return np.repeat(x, repeats, axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts of a tensor: so many of one size, or cut at these places."""
    if _symbolic("split", x):
        return tensors.split(x, indices_or_sections, axis)
    return np.split(x, indices_or_sections, axis)


def reshape(x: Any, newshape: Sequence[int]) -> Any:
    """The same numbers in another shape; of a tensor the batch stays, written -1."""
    if _symbolic("reshape", x):
        return tensors.reshape(x, newshape)
    return np.reshape(x, newshape)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """The axes in another order; of a tensor the batch stays first."""
    if isinstance(x, tensors.InFront):
        return x.transposed(axes)
    if _symbolic("transpose", x):
        return tensors.transpose(x, axes)
    return np.transpose(x, axes)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    order = list(range(len(x.shape) if isinstance(x, (SymbolicTensor, tensors.InFront)) else np.ndim(x)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


def expand_dims(x: Any, axis: int) -> Any:
    """One more axis, of size 1."""
    if _symbolic("expand_dims", x):
        return tensors.expand_dims(x, axis)
    return np.expand_dims(x, axis)


def squeeze(x: Any, axis: int | None = None) -> Any:
    """Without an axis of size 1."""
    if _symbolic("squeeze", x):
        if axis is None:
            tensors.fail("ops.squeeze: say which axis")
        return tensors.squeeze(x, axis)
    return np.squeeze(x, axis)


def flip(x: Any, axis: int | None = None) -> Any:
    """From the end; of a tensor its time steps, ``axis=1``."""
    if _symbolic("flip", x):
        if axis is None or tensors.axis_of(axis, len(x.shape), "ops.flip") != 1:
            tensors.fail(f"ops.flip: time steps alone can be flipped, axis=1, got axis={axis!r}")
        return tensors.item(x, (slice(None), slice(None, None, -1)))
    return np.flip(x, axis)


def matmul(x1: Any, x2: Any) -> Any:
    """The product of a tensor with a matrix (features, units), or of two tensors step by step of the batch."""
    if isinstance(x2, Weight):
        return x2._product(x1)
    if _symbolic("matmul", x1, x2):
        return tensors.matmul(x1, x2)
    return np.matmul(x1, x2)


def dot(x1: Any, x2: Any) -> Any:
    """As :func:`matmul`."""
    if isinstance(x2, Weight) or _symbolic("dot", x1, x2):
        return matmul(x1, x2)
    return np.dot(x1, x2)


def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Of a tensor and a matrix over the features, ``axes=1``: as :func:`matmul`."""
    if isinstance(x2, Weight) or _symbolic("tensordot", x1, x2):
        if axes not in (1, [[2], [0]], ((2,), (0,)), [[-1], [0]]):
            tensors.fail(f"ops.tensordot: axes=1 alone, the features, got axes={axes!r}")
        return matmul(x1, x2)
    return np.tensordot(x1, x2, axes)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's sum of two tensors (batch, …) that is one product a row, such as ``"bij,bkj->bik"``."""
    if len(operands) == 2 and isinstance(operands[1], Weight):
        given, _, result = subscripts.replace(" ", "").partition("->")
        one, _, two = given.partition(",")
        summed = len(two) == 2 and one[-1:] == two[0] and two[1] not in one and result == one[:-1] + two[1]
        if not summed:
            tensors.fail(
                "ops.einsum: with a weight the features alone are summed over, such as 'btf,fk->btk', got "
                f"{subscripts!r}"
            )
        return operands[1]._product(operands[0])
    if _symbolic("einsum", *operands):
        if len(operands) != 2:
            tensors.fail(f"ops.einsum: expected two operands, got {len(operands)}")
        return tensors.einsum(subscripts, *operands)
    return np.einsum(subscripts, *operands)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Some of the features by their places."""
    if _symbolic("take", x):
        return tensors.take(x, indices, axis)
    return np.take(x, indices, axis)


def shape(x: Any) -> tuple[int | None, ...]:
    """The shape; None for what only the data will tell."""
    if isinstance(x, SymbolicTensor):
        return tuple(x.shape)
    return tuple(np.shape(x))
