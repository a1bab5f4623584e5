"""Forecasts of a fitted forecaster as columns for a file, and as arrays for a picture."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _results
from rekur.tasks._series import SeriesSet

Doubles = NDArray[np.float64]


def has_bands(model: Any) -> bool:
    """Whether quantiles come with the forecasts."""
    return len(getattr(model, "quantiles_", ())) > 1


def predictions(
    model: Any, known: SeriesSet, coverage: Sequence[float], quantiles: Sequence[float] | None = None
) -> dict[str, Any]:
    """Columns: series, times, and for each target the forecast, bands (or quantiles, where these are asked for)."""
    layout = dataclasses.replace(known.layout, kind="dict")
    plain = dataclasses.replace(known, layout=layout)
    found: dict[Any, Any] = {}
    if not has_bands(model):
        if quantiles:
            raise ValueError(f"quantiles: output={model.output!r} gives points alone")
        found = model.predict(plain)
    elif quantiles:
        found = model.predict_quantiles(plain, quantiles=list(quantiles))
    else:
        for share in coverage:
            found.update(model.predict_interval(plain, coverage=share))
    names = {_results.time_name(known), layout.series}
    horizon = len(next(iter(found.values()))) // len(known)
    ordinals = np.concatenate([known.end(series) + np.arange(horizon) for series in known.series])
    columns: dict[str, Any] = {}
    if layout.series is not None:
        columns[str(layout.series)] = [series.id for series in known.series for _ in range(horizon)]
    columns[str(_results.time_name(known))] = _results.written(known, known.timeline.time(ordinals))
    columns.update({str(name): values for name, values in found.items() if name not in names})
    return columns


def bands(model: Any, known: SeriesSet) -> tuple[Doubles, dict[float, Doubles]]:
    """Points (N, H, K), and quantiles by level."""
    layout = dataclasses.replace(known.layout, kind="dict")
    plain = dataclasses.replace(known, layout=layout)

    def shaped(table: Any, suffix: str) -> Doubles:
        columns = [np.asarray(table[f"{target}{suffix}" if suffix else target]) for target in known.target]
        return np.stack(columns, axis=-1).reshape(len(known), -1, len(known.target))

    point = shaped(model.predict(plain), "")
    if not has_bands(model):
        return point, {}
    levels = list(model.quantiles_)
    table = model.predict_quantiles(plain, quantiles=levels)
    return point, {level: shaped(table, f" {level:g}") for level in levels}
