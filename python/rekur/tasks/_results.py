"""Results as the kind of table that the user gave: pandas, polars, a dict of columns, arrays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _zones
from rekur.tasks._columns import Name
from rekur.tasks._tables import Kind

if TYPE_CHECKING:
    from rekur.tasks._series import SeriesSet


def build(
    known: "SeriesSet",
    values: Sequence[NDArray[Any]],
    names: Sequence[Name] | None,
    first: Sequence[int] | None,
    kind: Kind | None,
) -> Any:
    """As :meth:`rekur.tasks._series.SeriesSet.frame`."""
    if len(values) != len(known.series):
        raise ValueError(f"values: expected {len(known.series)} arrays, one a series, got {len(values)}")
    named = list(known.target if names is None else names)
    blocks = []
    for block in values:
        block = np.asarray(block)
        block = block[:, None] if block.ndim == 1 else block
        if block.ndim != 2 or block.shape[1] != len(named):
            raise ValueError(f"values: expected (steps, {len(named)}) for each series, got {block.shape}")
        blocks.append(block)
    kind = kind or known.layout.kind
    if kind == "list":
        return blocks
    if kind == "array":
        return np.concatenate(blocks) if blocks else np.zeros((0, len(named)))
    starts = [known.end(series) for series in known.series] if first is None else [int(place) for place in first]
    if len(starts) != len(blocks):
        raise ValueError(f"first: expected {len(blocks)} ordinals, one a series, got {len(starts)}")
    if kind == "file":
        kind = "pandas" if _installed("pandas") else "dict"
    ordinals = [start + np.arange(len(block)) for start, block in zip(starts, blocks, strict=True)]
    steps = np.concatenate(ordinals) if ordinals else np.zeros(0, np.int64)
    columns: dict[Name, Any] = {}
    if known.layout.series is not None:
        ids = np.empty(len(steps), object)
        ids[:] = [series.id for series, block in zip(known.series, blocks, strict=True) for _ in range(len(block))]
        columns[known.layout.series] = ids.astype(np.int64) if _all_numbers(known.ids) else ids
    time = time_name(known)
    utc = known.timeline.time(steps)
    for place, name in enumerate(named):
        columns[name] = np.concatenate([block[:, place] for block in blocks]) if blocks else np.zeros(0)
    if kind == "pandas":
        return _pandas(known, time, utc, columns)
    if kind == "polars":
        return _polars(known, time, utc, columns)
    if kind != "dict":
        raise ValueError(f"kind: expected pandas, polars, dict, array or list, got {kind!r}")
    return {time: as_given(known, utc), **columns}


def time_name(known: "SeriesSet") -> Name:
    """The name of the column of times in results."""
    return known.layout.time[0] if known.layout.time else "step"


def as_given(known: "SeriesSet", utc: Any) -> Any:
    """Times as datetime64 without a zone: in UTC where the user's had a zone, else local, as the user's were."""
    if not known.timeline.calendar or known.layout.zone is not None or known.timeline.time_zone is None:
        return utc
    local = _zones.to_local(known.timeline.time_zone, np.asarray(utc).astype(np.int64))
    return local.astype("M8[ns]")


def written(known: "SeriesSet", utc: Any) -> list[str]:
    """Times as text for a file: ISO 8601, with the offset where the user's times had a zone."""
    if not known.timeline.calendar:
        return [f"{value:.12g}" if isinstance(value, float) else str(value) for value in np.asarray(utc).tolist()]
    numbers = np.asarray(utc).astype("M8[ns]").astype(np.int64)
    zone = known.timeline.time_zone
    local = _zones.to_local(zone, numbers)
    unit = "D" if not (local % _zones.DAY).any() else "s" if not (local % _zones.SECOND).any() else "ms"
    texts = [str(text) for text in _iso(local, unit)]
    if unit != "D":
        texts = [text.replace("T", " ") for text in texts]
    if known.layout.zone is None or unit == "D":
        return texts
    shifts = [_zones.fixed_zone(int(shift)).replace("UTC", "+00:00") for shift in (local - numbers)]
    return [text + shift for text, shift in zip(texts, shifts, strict=True)]


def _iso(nanoseconds: Any, unit: Any) -> Any:
    return np.datetime_as_string(nanoseconds.astype("M8[ns]"), unit=unit)


def _pandas(known: "SeriesSet", time: Name, utc: Any, columns: dict[Name, Any]) -> Any:
    import pandas

    stamps: Any = as_given(known, utc)
    if known.layout.zone is not None and known.timeline.calendar:
        stamps = pandas.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(known.layout.zone)
    if known.layout.index:
        return pandas.DataFrame(columns, index=pandas.Index(stamps, name=None if time == "index" else time))
    frame = pandas.DataFrame({time: stamps, **columns})
    series = known.layout.series
    return frame if series is None else frame[[series, time, *(name for name in columns if name != series)]]


def _polars(known: "SeriesSet", time: Name, utc: Any, columns: dict[Name, Any]) -> Any:
    import polars

    stamps = polars.Series(str(time), as_given(known, utc))
    if known.layout.zone is not None and known.timeline.calendar:
        stamps = stamps.dt.replace_time_zone("UTC").dt.convert_time_zone(known.layout.zone)
    data = {str(name): polars.Series(str(name), list(c) if c.dtype == object else c) for name, c in columns.items()}
    series = known.layout.series
    if series is None:
        return polars.DataFrame({str(time): stamps, **data})
    return polars.DataFrame({str(series): data.pop(str(series)), str(time): stamps, **data})


def _all_numbers(ids: Sequence[Any]) -> bool:
    return bool(ids) and all(isinstance(one, int) for one in ids)


def _installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None
