"""What is to be said of the rows of series: unsorted, repeated, missing ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _zones
from rekur.tasks._series import SeriesSet
from rekur.tasks._timeline import Timeline
from rekur.tasks._zones import Integers


def count_rows(counts: dict[str, Any], times: NDArray[Any], ordinals: Integers, order: Integers, name: Any) -> None:
    """What is to be said of a series' rows."""

    def add(what: str, number: int, example: Any = None) -> None:
        if number:
            total, series, old = counts.get(what, (0, 0, example))
            counts[what] = (total + int(number), series + 1, old)

    if len(order) and (order[1:] < order[:-1]).any():
        add("unsorted", 1)
    same = times[1:] == times[:-1]
    add("same", same.sum(), times[1:][same][0] if same.any() else None)
    steps = np.diff(ordinals)
    add("within", ((steps == 0) & ~same).sum())
    gaps = steps > 1
    if gaps.any():
        place = int(np.argmax(steps))
        size = int(steps.max()) - 1
        counts["longest"] = max(counts.get("longest", (0, 0)), (size, int(ordinals[place])))
        add("gaps", (steps[gaps] - 1).sum())
        counts["holes"] = counts.get("holes", 0) + int(gaps.sum())


def say_rows(counts: dict[str, Any], line: Timeline, empty: SeriesSet, series: int, notes: list[str]) -> None:
    rule = empty.layout.aggregate
    rules = {rule.get(name, "mean") for name in empty.target} if isinstance(rule, dict) else {rule}
    rule = f"the {rules.pop()}" if len(rules) == 1 else "what aggregate says"

    def among(number: int) -> str:
        return "" if series == 1 else f" (in {number} of {series} series)"

    if "unsorted" in counts:
        notes.append(f"the rows are not in order of time{among(counts['unsorted'][1])}: they are sorted")
    if "same" in counts:
        number, where, example = counts["same"]
        found = shown(line, example)
        verb = "row has" if number == 1 else "rows have"
        notes.append(f"{number} {verb} a time that is there already ({found}, for one){among(where)}: {rule} is taken")
    if "within" in counts:
        number, where, _ = counts["within"]
        notes.append(f"{number} rows share a step of {line.step} with the row before{among(where)}: {rule} is taken")
    if "gaps" in counts:
        number, where, _ = counts["gaps"]
        size, after = counts["longest"]
        holes = counts["holes"]
        if number == 1:
            notes.append(f"1 step is missing, after {shown(line, line.time(after))}")
            return
        steps = f"{number} steps are"
        places = "1 place" if holes == 1 else f"{holes} places"
        notes.append(
            f"{steps} missing at {places}{among(where)}, "
            f"the longest gap of {size} after {shown(line, line.time(after))}"
        )


def shown(line: Timeline, moment: Any) -> str:
    """A time in local words."""
    if not line.calendar:
        return f"{moment:g}" if isinstance(moment, float) else str(moment)
    utc = np.atleast_1d(np.asarray(moment).astype("M8[ns]").astype(np.int64))
    local = _zones.to_local(line.time_zone, utc)[0].astype("M8[ns]")
    text = str(np.datetime_as_string(local, unit="auto")).replace("T", " ")
    return text if len(text) != 13 else f"{text}:00"
