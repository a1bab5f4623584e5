"""Finding the step of series from their times: fixed, civil, calendar months, business days, irregular sensors."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from rekur.tasks import _zones
from rekur.tasks._timeline import Timeline, span
from rekur.tasks._zones import DAY, HOUR, SECOND, Integers

_MS = 1_000_000
_NICE = np.array(
    [step * _MS for step in (1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500)]
    + [step * SECOND for step in (1, 2, 5, 10, 15, 20, 30)]
    + [step * 60 * SECOND for step in (1, 2, 3, 5, 10, 15, 20, 30)]
    + [step * HOUR for step in (1, 2, 3, 4, 6, 8, 12)]
    + [DAY, 7 * DAY],
    np.int64,
)
_MOST = 200_000


def find_steps(times: Sequence[Integers], zone: str | None, form: str, notes: list[str]) -> Timeline:
    """The timeline of series whose times (UTC nanoseconds, ascending) are given.

    Raises
    ------
    ValueError
        If no series has two times, so that a step cannot be seen.
    """
    times, differences = _differences(times)
    if differences.size == 0:
        steps = {"year": 12, "quarter": 3, "month": 1}
        if form in steps and times:
            return _on_months(_local(times, zone), steps[form], zone)
        raise ValueError("freq: the step cannot be told from a single time; give it, as freq='h'")
    middle = int(np.median(differences))
    if middle >= 28 * DAY - 2 * HOUR and (line := _months(times, zone, notes)) is not None:
        return line
    if middle >= 20 * HOUR and (line := _days(times, zone, notes)) is not None:
        return line
    step, regular = _step_of(differences)
    if not regular:
        low, high = np.quantile(differences, (0.25, 0.75)).astype(np.int64)
        notes.append(
            f"the times are irregular (half of the steps last from {_rough(low)} to {_rough(high)}): "
            f"they are put on a grid of {span(step)}; freq sets another"
        )
    fixed = _phase(np.concatenate(times), step)
    line = Timeline("fixed", step, fixed[0], nearest=fixed[1], time_zone=zone)
    if step % DAY == 0 or (step > HOUR and DAY % step == 0 and zone is not None):
        local = np.concatenate(_local(times, zone))
        civil = _phase(local, step)
        on_clock = np.mean((local - civil[0]) % step == 0)
        if step % DAY == 0 or on_clock > np.mean((np.concatenate(times) - fixed[0]) % step == 0):
            line = Timeline("civil", step, civil[0], nearest=civil[1], time_zone=zone)
    return line


def fit_phase(line: Timeline, times: Sequence[Integers], zone: str | None) -> Timeline:
    """A timeline of given step, its stamps where those of the data lie.

    A step longer than the data's begins where the calendar says.
    """
    line = dataclasses.replace(line, time_zone=zone)
    if line.unit == "number" or not times:
        return line
    times, differences = _differences(times)
    every = np.concatenate(times) if times else np.zeros(0, np.int64)
    if differences.size == 0 or every.size == 0:
        return line
    local = np.concatenate(_local(times, zone))
    middle = int(np.median(differences))
    if line.unit == "business":
        clock = local % DAY
        return dataclasses.replace(line, phase=int(clock[0])) if (clock == clock[0]).all() else line
    if line.unit == "months":
        if middle < 28 * DAY - 2 * HOUR:
            return line
        found = _on_months([local], int(line.size), zone)
        return found if line.within == 0 or found.within < 0 else line
    size = int(line.size)
    if middle < size * 0.75 and size >= DAY:
        return line
    phase, nearest = _phase(local if line.unit == "civil" else every, size)
    # A weekday that was said, other than Monday, where weeks begin, stays.
    if size == 7 * DAY and line.phase != 4 * DAY and phase // DAY != line.phase // DAY:
        return line
    return dataclasses.replace(line, phase=phase, nearest=nearest)


def find_number_steps(times: Sequence[np.ndarray], notes: list[str]) -> Timeline:
    """The timeline of plain numbers, ascending in each series."""
    every = np.concatenate(list(times)) if times else np.zeros(0)
    if not (near := np.abs(every) < 2.0**62).all():
        raise ValueError(f"time: {every[np.argmin(near)]:g} is too far: numbers of times are below 2**62")
    differences = np.concatenate([np.diff(series) for series in times] or [np.zeros(0)])
    differences = differences[differences > 0][:_MOST]
    whole = every.dtype.kind in "iu" or bool((every == np.floor(every)).all())
    if differences.size == 0:
        return Timeline("number", 1, 0)
    rounded = differences if whole else np.round(differences, 9 - int(np.floor(np.log10(np.median(differences)))))
    values, counts = np.unique(rounded, return_counts=True)
    step = float(values[counts.argmax()])
    if counts.max() < 0.5 * counts.sum():
        middle = float(np.median(differences))
        power = 10.0 ** np.floor(np.log10(middle))
        step = max(round(middle / power), 1) * power
        notes.append(f"the times are irregular: they are put on a grid of {step:g}; freq sets another")
    if whole and step >= 1:
        size = round(step)
        rest = every.astype(np.int64) % size
        values, counts = np.unique(rest, return_counts=True)
        return Timeline("number", size, int(values[counts.argmax()]) if counts.max() >= 0.5 * rest.size else 0)
    return Timeline("number", step, float(every.min()))


def _differences(times: Sequence[Integers]) -> tuple[list[Integers], Integers]:
    kept: list[Integers] = []
    found: list[Integers] = []
    total = 0
    for series in times:
        if total >= _MOST:
            break
        series = np.unique(series[:_MOST])
        if series.size:
            kept.append(series)
            found.append(np.diff(series))
            total += series.size
    return kept, np.concatenate(found) if found else np.zeros(0, np.int64)


def _local(times: Sequence[Integers], zone: str | None) -> list[Integers]:
    return [_zones.to_local(zone, series) for series in times]


def _mode(values: Integers) -> tuple[int, float]:
    """The most frequent value, and its share."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()]), float(counts.max() / max(values.size, 1))


def _months(times: Sequence[Integers], zone: str | None, notes: list[str]) -> Timeline | None:
    local = _local(times, zone)
    months = [series.astype("M8[ns]").astype("M8[M]").astype(np.int64) for series in local]
    steps = np.concatenate([np.diff(series) for series in months])
    size, share = _mode(steps)
    if (steps == 0).any() or share < 0.5:
        return None
    line = _on_months(local, size, zone)
    every = np.concatenate(local).astype("M8[ns]")
    if line.within == 0 and (every != every.astype("M8[M]")).any():
        notes.append("the stamps lie on different days of their months: a step is a month from its first day on")
    return line


def _on_months(local: Sequence[Integers], size: int, zone: str | None) -> Timeline:
    every = np.concatenate(list(local))
    stamp = every.astype("M8[ns]")
    first = stamp.astype("M8[M]")
    within = every - first.astype("M8[ns]").astype(np.int64)
    back = every - (first + 1).astype("M8[ns]").astype(np.int64)
    offset = 0
    if (within == within[0]).all() and within[0] < 28 * DAY:
        offset = int(within[0])
    elif (back == back[0]).all():
        offset = int(back[0])
    months = first.astype(np.int64)
    phase, _ = _mode((months + (1 if offset < 0 else 0)) % size)
    return Timeline("months", size, phase, offset, time_zone=zone)


def _days(times: Sequence[Integers], zone: str | None, notes: list[str]) -> Timeline | None:
    local = _local(times, zone)
    every = np.concatenate(local)
    clock, share = _mode(every % DAY)
    if share < 0.9:
        return None
    days = [series // DAY for series in local]
    steps = np.concatenate([np.diff(np.unique(series)) for series in days])
    size, share = _mode(steps)
    weekdays = np.concatenate(days) + 3
    weekday = weekdays % 7
    if size == 1 and weekday.max(initial=0) < 5 and weekdays.size >= 8 and np.ptp(weekdays) >= 11:
        notes.append("there are no Saturdays and Sundays: a step is a business day")
        return Timeline("business", 1, clock, time_zone=zone)
    if share < 0.5:
        size = int(np.median(steps))
        size = 7 if size in (6, 7, 8) else size
        notes.append(
            f"the times are irregular (from {int(steps.min())} to {int(steps.max())} days apart): they are put on a "
            f"grid of {span(size * DAY)}; freq sets another"
        )
    place, share = _mode(np.concatenate(days) % size)
    return Timeline("civil", size * DAY, (place if share >= 0.5 else 0) * DAY + clock, time_zone=zone)


def _step_of(differences: Integers) -> tuple[int, bool]:
    """The step that most differences have, rounded where clocks jitter, and whether it is regular."""
    mode, share = _mode(differences)
    if share < 0.95 and (rounded := _rounded_step(differences)) is not None:
        return rounded, True
    step = mode if share >= 0.5 else int(np.median(differences))
    nice = int(_NICE[np.abs(np.log(_NICE / step)).argmin()])
    close = np.abs(differences - nice) <= nice * 0.1
    if abs(step - nice) <= 0.01 * nice or (share < 0.5 and close.mean() >= 0.5):
        return nice, share >= 0.5 or bool(close.mean() >= 0.8)
    return (step, True) if share >= 0.5 else (nice, False)


def _rounded_step(differences: Integers) -> int | None:
    """The step of stamps that were rounded, such as 15 and 16 ms of 64 Hz; None where that is not what they show."""
    unit = int(np.gcd.reduce(differences))
    small = differences[differences <= 1.5 * np.median(differences)]
    step = float(small.mean())
    if small.size < 20 or small.size < 0.5 * differences.size or step < 4 * unit or np.ptp(small) != unit:
        return None
    if abs(step / unit - round(step / unit)) < 0.01:
        return None  # a whole number of units, from which single stamps deviate
    rate = SECOND / step
    if rate > 1 and abs(SECOND / round(rate) - step) * small.size < 0.25 * step:
        step = SECOND / round(rate)  # so many in a second
    return round(step)


def _phase(values: Integers, step: int) -> tuple[int, bool]:
    """Where stamps lie within a step, and whether they jitter around that place."""
    rest = values % step
    place, share = _mode(rest)
    if share >= 0.5:
        return place, False
    angles = rest * (2 * np.pi / step)
    vector = np.exp(1j * angles).mean()
    if abs(vector) < 0.9:
        return 0, False
    middle = float(np.angle(vector)) / (2 * np.pi)
    return (0 if abs(middle) < 0.1 else round(middle * step) % step), True


def _rough(nanoseconds: int) -> str:
    for name, length in (("days", DAY), ("hours", HOUR), ("minutes", 60 * SECOND), ("seconds", SECOND)):
        if nanoseconds >= 2 * length:
            return f"{nanoseconds / length:.3g} {name}"
    return f"{nanoseconds / _MS:.3g} ms"
