"""A batch as callers give it, and how rows are read out of what they give."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Index: TypeAlias = slice | NDArray[np.int64]

_IN_MEMORY = ("__array_interface__", "__dlpack__", "__cuda_array_interface__")
_FRAMES = ("pandas", "polars")


@dataclass(frozen=True)
class Batch:
    """What a source may yield where ``(x, y, sample_weight)`` does not say all.

    Every field is what :meth:`rekur.Model.fit` takes under its name: an array, or a list or dict of them.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    lengths: Any = None
    mask: Any = None
    resets: Any = None

    @staticmethod
    def of(given: Any, source: str) -> "Batch":
        """``x``, ``(x,)``, ``(x, y)``, ``(x, y, sample_weight)`` or a Batch; a list counts as a tuple, as in Keras.

        Raises
        ------
        ValueError
            For a tuple of another size.
        """
        if isinstance(given, Batch):
            return given
        if not isinstance(given, (tuple, list)):
            return Batch(given)
        if not 1 <= len(given) <= 3:
            raise ValueError(
                f"{source}: expected batches x, (x, y) or (x, y, sample_weight), or rekur.data.Batch, got a "
                f"{type(given).__name__} of {len(given)}"
            )
        return Batch(*given)

    def mapped(self, function: Callable[[Any], Any]) -> "Batch":
        """The same with a function applied to all arrays."""
        return Batch(*(mapped(function, getattr(self, f.name)) for f in fields(self)))

    def leaves(self) -> list[Any]:
        """All arrays."""
        found: list[Any] = []
        for field in fields(self):
            _collect(getattr(self, field.name), found)
        return found


def mapped(function: Callable[[Any], Any], nest: Any) -> Any:
    """A function applied to the arrays of an array, or a list or dict of them; None stays."""
    if nest is None:
        return None
    if isinstance(nest, Mapping):
        return {key: mapped(function, value) for key, value in nest.items()}
    if is_nest(nest):
        return [mapped(function, value) for value in nest]
    return function(nest)


def _collect(nest: Any, found: list[Any]) -> None:
    mapped(found.append, nest)


def is_nest(value: Any) -> bool:
    """Whether a list or tuple is one of arrays, and not an array of numbers itself."""
    return isinstance(value, (list, tuple)) and any(hasattr(entry, "shape") and entry.shape for entry in value)


def is_stored(value: Any) -> bool:
    """Whether an array is read a part at a time: a memory map, or anything like h5py's data sets and zarr's arrays."""
    if isinstance(value, np.ndarray):
        base: Any = value
        while isinstance(base, np.ndarray):
            if isinstance(base, np.memmap):
                return True
            base = base.base
        return False
    if isinstance(value, np.generic) or not all(hasattr(value, a) for a in ("shape", "dtype", "__getitem__")):
        return False
    kind = type(value)
    return not any(hasattr(kind, name) for name in _IN_MEMORY) and kind.__module__.partition(".")[0] not in _FRAMES


def rows_of(array: Any, index: Index, steps: slice | None = None) -> NDArray[Any]:
    """Rows of an array, of each all or some steps; of one that is stored, read by slices alone, which is all that is
    asked of it.

    Runs of neighbouring rows are read at once, in ascending order.
    """

    def read(rows: Index) -> NDArray[Any]:
        return np.asarray(array[rows] if steps is None else array[rows, steps])

    if isinstance(array, np.ndarray) or isinstance(index, slice):
        return read(index)
    if not len(index):
        return read(slice(0, 0))
    order = np.argsort(index, kind="stable")
    ascending = index[order]
    cuts = np.flatnonzero(np.diff(ascending) > 1) + 1
    begins, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(index)]
    out: NDArray[Any] | None = None
    for begin, end in zip(begins, ends, strict=True):
        first = int(ascending[begin])
        run = read(slice(first, int(ascending[end - 1]) + 1))
        if out is None:
            out = np.empty((len(index), *run.shape[1:]), run.dtype)
        out[order[begin:end]] = run[ascending[begin:end] - first]
    assert out is not None
    return out


def stacked(samples: Sequence[Any]) -> Any:
    """Samples, each an array, a number, or a tuple or dict of them, as one batch."""
    first = samples[0]
    if isinstance(first, Mapping):
        return {key: stacked([s[key] for s in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        return tuple(stacked([s[k] for s in samples]) for k in range(len(first)))
    return np.stack([as_array(s) for s in samples])


def as_array(value: Any) -> Any:
    """A tensor of torch as a NumPy array, wherever it stands; anything else as it is."""
    if type(value) is not np.ndarray and hasattr(value, "detach") and hasattr(value, "cpu"):
        return value.detach().cpu().numpy()
    return value
