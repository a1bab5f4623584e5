"""The seasons of series: those that the calendar gives a step, and what the values show where it gives none."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._timeline import Timeline
from rekur.tasks._zones import DAY, HOUR, MINUTE

Floats = NDArray[np.float64]

_MOST = 20_000  # steps of a series that are looked at


def seasons_of(line: Timeline, longest: int) -> tuple[int, list[int]]:
    """The main season and all seasons, in steps, that a step suggests; only those that stand twice in the data."""
    if line.unit == "number":
        return 1, []
    if line.unit == "business":
        candidates = [(5, True), (261, False)]
    elif line.unit == "months":
        candidates = [(12 // int(line.size), True)] if 12 % int(line.size) == 0 else []
    else:
        size = int(line.size)
        lengths: tuple[tuple[int, bool], ...] = (
            (MINUTE, False),
            (HOUR, False),
            (DAY, True),
            (7 * DAY, True),
            (int(365.25 * DAY), False),
        )
        if size < MINUTE:
            lengths = ((MINUTE, True), (HOUR, True), *lengths[2:])
        elif size < HOUR:
            lengths = ((HOUR, True), *lengths[2:])
        candidates = [
            (round(length / size), main) for length, main in lengths if length >= 2 * size
            and (length % size == 0 or length > 40 * size)
        ]  # fmt: skip
    fitting = [(steps, main) for steps, main in candidates if steps > 1 and 2 * steps <= longest]
    seasons = [steps for steps, _ in fitting]
    day = round(DAY / line.size) if line.unit in ("fixed", "civil") else 0
    if day in seasons:
        return day, seasons
    mains = [steps for steps, main in fitting if main]
    return (mains[-1] if mains else seasons[-1] if seasons else 1), seasons


def with_seasons(line: Timeline, targets: Sequence[Floats]) -> tuple[Timeline, bool]:
    """The timeline with its seasons, and whether the values showed them, since the calendar gives the step none.

    Parameters
    ----------
    line : Timeline
    targets : sequence of arrays (T, K)
        Of all series; nothing else of them is looked at.
    """
    season, seasons = seasons_of(line, max(len(one) for one in targets))
    seen = False
    if not seasons and (line.unit == "number" or (line.unit == "months" and line.size == 12)):
        season = seen_season(targets)
        seen = season > 1
        seasons = [season] if seen else []
    return dataclasses.replace(line, season=season, seasons=seasons), seen


def seasons_before(line: Timeline, targets: Sequence[Floats], before: Sequence[Floats]) -> Timeline:
    """The timeline with the seasons of series as they were earlier, so that nothing later is known.

    Seasons that somebody set, which are not those that ``targets`` give, stay.
    """
    return with_seasons(line, before)[0] if with_seasons(line, targets)[0] == line else line


def seen_season(targets: Sequence[Floats]) -> int:
    """The season, in steps, that the values themselves show: the clearest peak of their autocorrelation; 1 if none.

    The lag must stand three times in the data, its correlation be at least 0.3 and well above that of the lags between.

    Parameters
    ----------
    targets : sequence of arrays (T, K)
        NaN is missing. The longest series alone is looked at.
    """
    longest = max(targets, key=len)[-_MOST:]
    votes = [lag for column in longest.T if (lag := _peak(column)) > 1]
    return max(set(votes), key=votes.count) if 2 * len(votes) > longest.shape[1] else 1


def _peak(values: Floats) -> int:
    present = np.isfinite(values)
    if present.sum() < 12 or present.mean() < 0.7:
        return 1
    steps = np.arange(len(values))
    values = np.interp(steps, steps[present], values[present])
    values = values - np.polyval(np.polyfit(steps, values, 1), steps)
    size = 1 << (2 * len(values) - 1).bit_length()
    spectrum = np.fft.rfft(values, size)
    correlation = np.fft.irfft(spectrum * spectrum.conj(), size)[: len(values) // 3 + 2]
    if correlation[0] <= 1e-12 * max(float(np.square(values).max(initial=0.0)), 1e-300):
        return 1
    correlation = correlation / correlation[0] * len(values) / (len(values) - np.arange(len(correlation)))
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:])) + 1
    least = max(0.3, 4 / len(values) ** 0.5)  # chance correlations of n values are about 1/sqrt(n)
    peaks = peaks[(peaks > 1) & (correlation[peaks] >= least)]
    if not peaks.size:
        return 1
    best = peaks[correlation[peaks] >= 0.9 * correlation[peaks].max()][0]
    between = correlation[1:best].min()
    return int(best) if correlation[best] - between >= 0.3 else 1
