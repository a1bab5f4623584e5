"""What was understood of series, in words."""

from typing import Any

import numpy as np

from rekur.tasks import _results
from rekur.tasks._remarks import shown as shown_of
from rekur.tasks._series import SeriesSet
from rekur.tasks._timeline import Timeline, span
from rekur.tasks._words import counted, listed, sentence


def of(known: SeriesSet) -> list[tuple[str, str]]:
    """Names and sentences: time, target, covariates, series, season."""
    line, layout = known.timeline, known.layout
    starts = [line.ordinal(series.start) for series in known.series]
    ends = [known.end(series) - 1 for series in known.series]
    first, last = shown(known, line.time(min(starts))), shown(known, line.time(max(ends)))
    if not layout.time:
        time = f"each row is a step; {first} to {last}"
    else:
        where = "the index" if layout.index else listed(map(repr, layout.time))
        zone = f"times of {line.time_zone}" if line.time_zone else "no time zone"
        zone = f", {zone}" if line.calendar else ""
        time = f"{where}, in steps of {line.step}, {first} to {last}{zone}"
    facts = [("time", time), ("target" if len(known.target) == 1 else "targets", listed(map(repr, known.target)))]
    for name, columns in (("known so far", known.past), ("known ahead", known.future), ("constant", known.static)):
        if columns:
            kinds = [
                f"{column!r}" + (f" ({counted(len(known.categories[column]), 'category')})"
                                 if column in known.categories else "")
                for column in columns
            ]  # fmt: skip
            facts.append((name, listed(kinds)))
    lengths = [len(series) for series in known.series]
    total = sum(lengths)
    gone = sum(int(np.isnan(series.target).any(axis=1).sum()) for series in known.series)
    holes = f", {gone:,} of them with a missing value ({100 * gone / total:.2g} %)" if gone else ", none missing"
    if layout.series is None:
        facts.append(("length", f"{counted(lengths[0], 'step')}{holes}"))
    else:
        many = f"{min(lengths):,} to {max(lengths):,}" if min(lengths) != max(lengths) else f"{lengths[0]:,}"
        facts.append(("series", f"{counted(len(known), 'series')} by {layout.series!r}, of {many} steps{holes}"))
    if line.season > 1:
        more = [season for season in line.seasons if season != line.season]
        facts.append(("season", steps(line, line.season) + (f"; also {listed(more)}" if more else "")))
    else:
        facts.append(("season", "none"))
    return facts


def summary(known: SeriesSet) -> str:
    """Facts and notes as a text."""
    facts = of(known)
    width = max(len(name) for name, _ in facts)
    lines = [f"{name:<{width}}  {value}" for name, value in facts]
    return "\n".join(lines + [f"- {sentence(note)}" for note in known.notes])


def steps(line: Timeline, count: int) -> str:
    """``24 steps (1 day)``."""
    if line.unit in ("fixed", "civil") and count * int(line.size) >= 10**9:
        return f"{counted(count, 'step')} ({span(count * int(line.size))})"
    if line.unit == "months" and (count * int(line.size)) % 12 == 0:
        years = count * int(line.size) // 12
        return f"{counted(count, 'step')} ({counted(years, 'year')})"
    return counted(count, "step")


def step_word(line: Timeline) -> str:
    """What a step is: hour, day, … or just step."""
    word = line.step.removeprefix("1 ")
    return word if line.step.startswith("1 ") and line.unit != "number" else "step"


def shown(known: SeriesSet, moment: Any) -> str:
    """A time in local words; the number of a row counts from 1."""
    if not known.layout.time:
        return f"row {int(moment) + 1}"
    return shown_of(known.timeline, moment)


def time_name(known: SeriesSet) -> str:
    return str(_results.time_name(known))


def written(known: SeriesSet, utc: Any) -> list[str]:
    return _results.written(known, utc)
