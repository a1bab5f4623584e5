"""Local times without a zone: to UTC where the zone is known, and signs that there is one where it is not."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from rekur.tasks import _zones
from rekur.tasks._columns import Column
from rekur.tasks._series import Series
from rekur.tasks._timeline import Timeline
from rekur.tasks._zones import DAY, HOUR, Integers


def in_utc(stamps: Column, zone: str | None, codes: Integers, kept: Integers, notes: list[str]) -> Column:
    """Times in UTC: those without a zone are local times of ``zone``."""
    assert stamps.times is not None
    if stamps.times.aware or zone is None:
        return stamps
    first, second, skipped = _zones.to_utc(zone, stamps.values)
    values = first.copy()
    ambiguous = np.flatnonzero(first != second)
    ambiguous = ambiguous[np.isin(ambiguous, kept)]
    if ambiguous.size:
        values[ambiguous] = _second_passing(stamps.values, codes, ambiguous, first, second)
        later = int((values[ambiguous] == second[ambiguous]).sum())
        notes.append(
            f"{ambiguous.size} times lie in an hour that {zone} has twice: by the order of the rows, {later} of them "
            "are taken for the second one"
        )
    skipped = skipped[kept]
    if skipped.any():
        example = stamps.values[kept][int(np.argmax(skipped))].astype("M8[ns]").astype("M8[s]")
        notes.append(
            f"{int(skipped.sum())} times do not exist in {zone} ({example}, for one: the clocks skip it): "
            "they are moved behind the change"
        )
    return dataclasses.replace(stamps, values=values)


def _second_passing(local: Integers, codes: Integers, rows: Integers, first: Integers, second: Integers) -> Integers:
    """Of a repeated hour's rows: those whose local time stood before already in their series are of the second."""
    result = first[rows].copy()
    direction = {}
    for code in np.unique(codes[rows]):
        own = local[codes == code]
        direction[int(code)] = bool(own[0] > own[-1])
    places: dict[tuple[int, int], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault((int(codes[row]), int(local[row])), []).append(place)
    for (code, _), found in places.items():
        half = (len(found) + 1) // 2
        late = found[: len(found) - half] if direction[code] else found[half:]
        result[late] = second[rows[late]]
    return np.asarray(result)


def say_clocks(stamps: Column | None, line: Timeline, series: Sequence[Series], notes: list[str]) -> None:
    """Times without a zone in which one hour of a Sunday is missing come from clocks that change."""
    if stamps is None or line.unit != "fixed" or line.time_zone is not None or HOUR % int(line.size) != 0:
        return
    found = []
    for one in series[:20]:
        first = int(line.ordinal(one.start))
        gone = np.asarray(np.isnan(one.target).all(axis=1))
        begin = np.flatnonzero(gone & ~np.r_[False, gone[:-1]])
        end = np.flatnonzero(gone & ~np.r_[gone[1:], False])
        lasting = (end - begin + 1) * int(line.size) == HOUR
        moments = line.time(first + begin[lasting]).astype("M8[s]") if lasting.any() else np.zeros(0, "M8[s]")
        seconds = moments.astype(np.int64)
        sunday = (seconds // 86400 + 4) % 7 == 0
        month = moments.astype("M8[M]").astype(np.int64) % 12 + 1
        hours = seconds // 3600 % 24
        found += moments[sunday & (hours <= 3) & np.isin(month, (3, 4, 9, 10))].tolist()
    years = {moment.year for moment in found}
    length = max(len(one) for one in series) * int(line.size)
    if found and len(found) <= 2 * len(years) * min(len(series), 20) and length / (366 * DAY) <= 2 * len(years):
        notes.append(
            f"the hour of {found[0]:%Y-%m-%d %H:%M} is missing, as where clocks are put forward: if these are local "
            "times, time_zone='…' counts the hours right"
        )
