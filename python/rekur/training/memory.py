"""How much memory training takes, and how it is held to a limit."""

import math
import re
from collections.abc import Sequence
from typing import Any

from rekur import _core
from rekur._validate import Shape, integer

_UNITS = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def of_runs(engine: _core.Model, batch_size: int, steps: int | None) -> dict[str, int]:
    """What :meth:`rekur.Model.memory` says."""
    rows = integer(batch_size, "batch_size", 1)
    given = None if steps is None else integer(steps, "steps", 1)
    shapes: list[tuple[int, ...]] = []
    for name, shape, _ in engine.inputs:
        if given is None and None in shape[1:]:
            raise ValueError(f"memory: Input '{name}' has an open number of time steps: give steps=")
        shapes.append((rows, *(given or 0 if size is None else size for size in shape[1:])))
    return {
        "weights": weights(engine),
        "predict": engine.run_memory(shapes),
        "train": engine.run_memory(shapes, True),
        "train_remat": engine.run_memory(shapes, True, True),
    }


def weights(engine: _core.Model) -> int:
    return 4 * sum(math.prod(shape) for _, shape, _ in engine.parameters)


def parse(limit: object) -> int | None:
    """Bytes of a number or a text such as "256MB" (2²⁰ bytes each)."""
    if limit is None:
        return None
    if isinstance(limit, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", limit)
        if found is None or found[2].upper() not in _UNITS:
            raise ValueError(f"memory_limit: expected bytes or a text such as '256MB' or '1.5GB', got {limit!r}")
        limit = int(float(found[1]) * _UNITS[found[2].upper()])
    return integer(limit, "memory_limit", 1)


def show(size: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


class Limit:
    """Chooses for each batch whether the tape is kept whole or made again, and refuses what fits neither way.

    Parameters
    ----------
    limit : int
        Bytes of weights, gradients, the optimiser's state and what a step takes.
    engine : _core.Model
    slots : int
        Bytes of the optimiser's state.
    remat : bool
        Whether the tape is made again in any case.
    parts : int
        Into how many parts of neighbouring rows a batch is cut, which go through the model one after another.
    """

    def __init__(self, limit: int, engine: _core.Model, slots: int, remat: bool, parts: int = 1) -> None:
        self._limit, self._engine, self._remat, self._parts = limit, engine, remat, parts
        self._standing = 2 * weights(engine) + slots
        self._known: dict[tuple[Shape, ...], bool] = {}

    def remat(self, arrays: Sequence[Any]) -> bool:
        """Whether a step on such inputs makes its tape again; raises MemoryError where none is possible."""
        shapes = tuple(a.shape for a in arrays)
        remat = self._known.get(shapes)
        if remat is None:
            remat = self._known[shapes] = self._choose(shapes)
        return remat

    def _choose(self, shapes: Sequence[Shape]) -> bool:
        given = [tuple(size or 0 for size in shape) for shape in shapes]
        for remat in [True] if self._remat else [False, True]:
            if self._taken(len_of(given), given, remat) <= self._limit:
                return remat
        rows = len_of(given)
        least_kept, least = self._taken(rows, given), self._taken(1, given)
        fits = self._most(given, rows) if least <= self._limit else 0
        raise MemoryError(
            f"memory_limit: a step on a batch of {rows} rows takes {show(least_kept)} even where what it keeps is made "
            f"again, more than {show(self._limit)}; "
            + (f"batch_size={fits} fits" if fits else f"one row takes {show(least)}")
        )

    def _most(self, given: Sequence[tuple[int, ...]], rows: int) -> int:
        low, high = 1, rows
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._taken(middle, given) <= self._limit else (low, middle)
        return low

    def _taken(self, rows: int, given: Sequence[tuple[int, ...]], remat: bool = True) -> int:
        """Bytes of a step on a batch of so many rows."""
        part = -(-rows // self._parts)
        return self._standing + self._engine.run_memory([(part, *shape[1:]) for shape in given], True, remat)


def len_of(shapes: Sequence[tuple[int, ...]]) -> int:
    return shapes[0][0]
