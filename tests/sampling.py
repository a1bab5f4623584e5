"""The longest matrices by a sample of their cases, and gradients by a sample of their elements; ``--whole`` runs all.

What is chosen follows from names alone: every worker, and the next run, choose the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
whole = False  # conftest.py sets it: --whole, or any --cell-cases


def seeded(*names: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


def one_of(each: int, cases: Sequence[T], name: str) -> list[T]:
    """One case of each so many that follow one another, whichever."""
    if whole:
        return list(cases)
    rng = seeded(name)
    return [cases[min(begin + int(rng.integers(each)), len(cases) - 1)] for begin in range(0, len(cases), each)]
