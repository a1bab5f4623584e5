"""Forecasts in the user's kind of table."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._series import SeriesSet

Doubles = NDArray[np.float64]


def given_back(known: SeriesSet, values: Doubles, suffixes: Sequence[str]) -> Any:
    """Forecasts (N, H, K, M), M numbers a step named by ``suffixes``, as the kind of table that the series came as.

    Tables have a column for each target and number: ``load``, or ``load-lo-80``; arrays and lists of arrays lose axes
    of size 1 for K and M, and arrays of a single series the first one.
    """
    kind = known.layout.kind
    if kind in ("array", "list"):
        series, _, targets, numbers = values.shape
        kept = [size for size in (targets, numbers) if size > 1]
        single = values.reshape(*values.shape[:2], *kept)
        if kind == "list":
            return list(single)
        return single[0] if series == 1 else single
    names: list[Any] = []
    for target in known.target:
        names += [target if not suffix else f"{target}{suffix}" for suffix in suffixes]
    blocks = list(values.reshape(*values.shape[:2], -1))
    return known.frame(blocks, names=names, kind=kind)


def interval_names(coverage: float) -> tuple[str, str]:
    """What the bounds of an interval are called behind a target's name, as in statsforecast: ``-lo-80``, ``-hi-80``."""
    percent = f"{100 * coverage:g}"
    return f"-lo-{percent}", f"-hi-{percent}"


def between(trained: Sequence[float], wanted: Sequence[float], what: str) -> Doubles:
    """How much of each trained quantile makes a wanted one, (trained, wanted): linear between normal scores.

    Raises
    ------
    ValueError
        For a level that lies outside of those that were trained.
    """
    normal = NormalDist()
    levels = np.asarray(trained, np.float64)
    scores = np.asarray([normal.inv_cdf(q) for q in trained])
    found = np.zeros((len(levels), len(wanted)))
    for place, q in enumerate(wanted):
        near = np.flatnonzero(np.isclose(levels, q, atol=1e-9))
        if len(near):
            found[near[0], place] = 1.0
            continue
        if not levels[0] < q < levels[-1]:
            raise ValueError(
                f"{what}: the quantile {q:g} lies outside of those that were trained, {levels[0]:g} to {levels[-1]:g}; "
                "fit with more of them in quantiles="
            )
        above = int(np.searchsorted(levels, q))
        share = (normal.inv_cdf(q) - scores[above - 1]) / (scores[above] - scores[above - 1])
        found[above - 1, place], found[above, place] = 1.0 - share, share
    return found
