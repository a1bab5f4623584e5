"""Texts: one to be continued, some to be sorted by topic, pairs to be translated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from rekur.data.hourly import MissingData

FORTUNES = Path("/usr/share/games/fortunes")  # where Debian's package `fortunes` puts its files


@dataclass(frozen=True)
class CharacterTask:
    """One text: a model of its characters reads the first part and is asked about the last."""

    name: str
    title: str
    source: str
    train: str
    test: str


@dataclass(frozen=True)
class TopicTask:
    """Short texts with one topic each."""

    name: str
    title: str
    source: str
    train: list[str]
    train_labels: list[str]
    test: list[str]
    test_labels: list[str]


@dataclass(frozen=True)
class PairTask:
    """Pairs of texts; no source of the test part is in the train part."""

    name: str
    title: str
    source: str
    train: list[tuple[str, str]]
    test: list[tuple[str, str]]


TextTask = CharacterTask | TopicTask | PairTask


def manuals() -> CharacterTask:
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    cut = len(text) * 9 // 10
    title = "The Python manuals of pydoc, characters: the last tenth"
    return CharacterTask("manuals", title, "CPython", text[:cut], text[cut:])


def fortunes(least: int = 150) -> TopicTask:
    """Every file of Debian's fortunes that has at least `least` is a topic; every fourth fortune is for the test."""
    if not FORTUNES.is_dir():
        raise MissingData(
            "this data set comes from Debian's package 'fortunes', which is not installed", name="fortunes"
        )
    train: list[str] = []
    test: list[str] = []
    train_labels: list[str] = []
    test_labels: list[str] = []
    seen: set[str] = set()
    for file in sorted(path for path in FORTUNES.iterdir() if not path.suffix and path.is_file()):
        sayings = file.read_text(encoding="utf-8", errors="replace").split("\n%\n")
        mine = [text for text in dict.fromkeys(saying.strip() for saying in sayings) if text and text not in seen]
        seen.update(mine)
        if len(mine) >= least:
            for k, text in enumerate(mine):
                (test if k % 4 == 3 else train).append(text)
                (test_labels if k % 4 == 3 else train_labels).append(file.name)
    topics = len(Counter(train_labels))
    title = f"Debian's fortunes: which of {topics} files a saying is from"
    return TopicTask("fortunes", title, "fortunes (Debian)", train, train_labels, test, test_labels)


# English, never the machine's language.
MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def written(day: date, form: int) -> str:
    """A date as people write it; eight forms."""
    month, short = MONTHS[day.month - 1], MONTHS[day.month - 1][:3]
    ends = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
    forms = (
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{DAYS[day.weekday()]}, {day.day} {short} {day.year}",
        f"{day.day:02}.{day.month:02}.{day.year}",
        f"{short} {day.day}{ends.get(day.day, 'th')}, {day.year % 100:02}",
        f"{day.day}/{day.month}/{day.year % 100:02}",
        f"the {day.day}{ends.get(day.day, 'th')} of {month.lower()} {day.year}",
        f"{day.day}-{short.upper()}-{day.year}",
    )
    return forms[form]


FORMS = 8


def dates() -> PairTask:
    """Days of 1970 to 2069, each written in one form; the same for everybody."""
    generator = np.random.default_rng(2026)
    first = date(1970, 1, 1)
    days = generator.choice((date(2070, 1, 1) - first).days, size=12_000, replace=False)
    pairs = []
    for k in days:
        day = first + timedelta(days=int(k))
        pairs.append((written(day, int(generator.integers(FORMS))), day.isoformat()))
    title = "Dates in eight ways of writing → ISO 8601, 10,000 for training, 2,000 other days"
    return PairTask("dates", title, "made here", pairs[:10_000], pairs[10_000:])


_STEPS = {"walk": "W", "run": "R", "jump": "J", "look": "L", "turn left": "<", "turn right": ">"}
_TIMES = {"": 1, " twice": 2, " thrice": 3}
_WAYS = {"": "", " left": "<", " right": ">"}


def grammar() -> PairTask:
    """Commands and what they do, in the manner of SCAN (Lake and Baroni 2018): S → C | C and S' | C after S'."""
    phrases: dict[str, str] = {}
    for word, sign in _STEPS.items():
        for way, turn in _WAYS.items() if len(sign) == 1 and sign not in "<>" else [("", "")]:
            for times, count in _TIMES.items():
                phrases[f"{word}{way}{times}"] = " ".join([f"{turn} {sign}".strip()] * count)
    pairs = [(text, steps) for text, steps in phrases.items()]
    for one, first in phrases.items():
        for other, second in phrases.items():
            pairs.append((f"{one} and {other}", f"{first} {second}"))
            pairs.append((f"{one} after {other}", f"{second} {first}"))
    order = np.random.default_rng(2026).permutation(len(pairs))
    pairs = [pairs[k] for k in order]
    cut = len(pairs) * 3 // 4
    title = f"A small grammar: commands → steps, {cut:,} for training, {len(pairs) - cut:,} other commands"
    return PairTask("grammar", title, "made here", pairs[:cut], pairs[cut:])


TASKS: dict[str, Callable[[], TextTask]] = {
    "manuals": manuals,
    "fortunes": fortunes,
    "dates": dates,
    "grammar": grammar,
}
