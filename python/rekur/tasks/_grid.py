"""Rows at any times put on the regular steps of a timeline: what falls within one step is brought together."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._zones import Integers

Floats: TypeAlias = NDArray[np.float64]

AGGREGATES = ("mean", "sum", "median", "min", "max", "first", "last")


def check_aggregate(aggregate: object) -> "str | dict[Any, str]":
    """A rule, or rules by column.

    Raises
    ------
    ValueError
        If a rule is none of mean, sum, median, min, max, first and last.
    """
    rules = aggregate.values() if isinstance(aggregate, dict) else [aggregate]
    for rule in rules:
        if rule not in AGGREGATES:
            raise ValueError(f"aggregate: expected one of {', '.join(AGGREGATES)} (or a dict by column), got {rule!r}")
    return aggregate  # type: ignore[return-value]


def on_grid(ordinals: Integers, values: Floats, rules: list[str]) -> Floats:
    """Rows of ascending ordinals as one row for each step from the first to the last: (steps, columns).

    Steps without a row are NaN; NaN takes no part in what is brought together.
    """
    first, steps = int(ordinals[0]), int(ordinals[-1] - ordinals[0]) + 1
    grid = np.full((steps, values.shape[1]), np.nan)
    starts = np.flatnonzero(np.r_[True, np.diff(ordinals) > 0])
    places = ordinals[starts] - first
    if len(starts) == len(ordinals):
        grid[places] = values
        return grid
    for column, rule in enumerate(rules):
        grid[places, column] = _reduce(np.ascontiguousarray(values[:, column]), starts, rule)
    return grid


def _reduce(values: Floats, starts: Integers, rule: str) -> Floats:
    present = ~np.isnan(values)
    count = np.add.reduceat(present.astype(np.int64), starts)
    nothing = count == 0
    if rule in ("mean", "sum"):
        total = np.add.reduceat(np.where(present, values, 0.0), starts)
        result = total / np.maximum(count, 1) if rule == "mean" else total
    elif rule in ("min", "max"):
        function = np.fmin if rule == "min" else np.fmax
        return np.asarray(function.reduceat(values, starts))
    elif rule == "median":
        ends = np.r_[starts[1:], len(values)]
        result = values[starts].copy()
        for group in np.flatnonzero((ends - starts > 1) & ~nothing):
            result[group] = np.nanmedian(values[starts[group] : ends[group]])
    else:
        rows = np.arange(len(values))
        chosen = (
            np.maximum.reduceat(np.where(present, rows, -1), starts)
            if rule == "last"
            else np.minimum.reduceat(np.where(present, rows, len(values)), starts)
        )
        result = values[np.where(nothing, 0, chosen)]
    return np.where(nothing, np.nan, result)
