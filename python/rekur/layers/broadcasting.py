"""Tensors of shapes that go together: what is of size 1 along an axis is repeated."""

from collections.abc import Sequence
from typing import Any

from rekur._validate import Shape, show
from rekur.layers.base import Layer
from rekur.layers.symbolic import SymbolicTensor


class Broadcast(Layer):
    """The first input, repeated along axes of size 1 so that it has the shape that all inputs have together.

    Called on two tensors or more; what the others hold is not looked at. ``(B, 1, F)`` beside ``(B, T, F)`` is the row
    at every step. Axes that an input lacks stand behind the batch: ``(B, F)`` beside ``(B, T, F)`` is ``(B, 1, F)``.
    The joins (Add, Multiply, …), operators and ``rekur.ops`` make it by themselves.

    Notes
    -----
    Its steps are those of the first input that has more than one. An axis that the model leaves open is none of size 1.
    """

    type = "Broadcast"

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)


def aligned(shape: Shape, rank: int) -> Shape:
    """A shape with 1 for the axes that it lacks, behind the batch."""
    return (*shape[:1], *(1,) * (rank - len(shape)), *shape[1:])


def joint_shape(shapes: Sequence[Shape]) -> Shape | None:
    """The shape that they have together; None where they do not go together."""
    rank = max(map(len, shapes))
    found: list[int | None] = []
    for sizes in zip(*(aligned(shape, rank) for shape in shapes), strict=True):
        known = {size for size in sizes if size not in (None, 1)}
        if len(known) > 1:
            return None
        found.append(known.pop() if known else None if None in sizes else 1)
    return tuple(found)


def together(tensors: Sequence[SymbolicTensor], what: str) -> list[SymbolicTensor]:
    """The tensors, those of other shapes repeated.

    Raises
    ------
    ValueError
        Where their shapes do not go together.
    """
    whole = joint_shape([tensor.shape for tensor in tensors])
    if whole is None:
        shapes = " and ".join(show(tensor.shape) for tensor in tensors)
        raise ValueError(f"{what}: expected tensors whose axes are of one size or 1, got {shapes}")
    found = []
    for tensor in tensors:
        others = [other for other in tensors if other is not tensor and other.shape != tensor.shape]
        stretched = len(tensor.shape) < len(whole) or any(
            size == 1 != target for size, target in zip(tensor.shape[1:], whole[1:], strict=True)
        )
        found.append(Broadcast()([tensor, *others]) if stretched else tensor)
    return found


def are_alike(tensors: Sequence[SymbolicTensor]) -> bool:
    """Whether they have one shape, but for a last axis of 1: what equations of a row take as it is."""
    ranks = {len(tensor.shape) for tensor in tensors}
    if len(ranks) > 1:
        return False
    return all(_one_size({*sizes}) for sizes in list(zip(*(t.shape for t in tensors), strict=True))[1:-1])


def _one_size(sizes: set[int | None]) -> bool:
    """Whether they are one size, or may be; beside 1 an open one is taken for another."""
    return len(sizes) == 1 or (len(sizes) == 2 and None in sizes and 1 not in sizes)
