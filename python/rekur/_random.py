"""Seeds. Every model has one; a model made without a seed draws it from here."""

import numpy as np
from numpy.typing import NDArray

from rekur._validate import integer

# Made when first used: importing numpy.random takes as long as all of rekur.
_generator: "np.random.Generator | None" = None


def set_random_seed(seed: int) -> None:
    """Fix the seeds of all models made after this call.

    A model's seed decides its initial weights, its dropout and the order of its training rows. A model draws it when it
    is made, so a program that makes the same models in the same order gets the same results, whatever the number of
    threads. NumPy's and Python's own generators are left alone.

    Parameters
    ----------
    seed : int
        Zero or more.
    """
    global _generator
    _generator = np.random.default_rng(integer(seed, "seed", 0))


def draw_seed() -> int:
    global _generator
    if _generator is None:
        _generator = np.random.default_rng()
    return int(_generator.integers(0, 2**32))


def epoch_order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The order of the rows in one epoch, a function of the two numbers: a fit can be stopped and continued."""
    key = np.array([seed, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(rows)
