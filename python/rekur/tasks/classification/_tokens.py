"""Tokens as numbers: a word's place in a vocabulary, and marks of how it is written.

Everything here is said by a table and by patterns, so that an ONNX file can say it too: words by ``LabelEncoder``,
marks by ``RegexFullMatch``.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 1  # 0 is what stands behind a sequence's end
_SHAPES = (
    "[A-Z].*", "[A-Z]+", "[A-Z][a-z]+", "[a-z]+", "[0-9]+", "[0-9]{4}", ".*[0-9].*", "[^A-Za-z0-9]+", ".*-.*",
    ".*[.].*", ".*'.*", ".*[^A-Za-z0-9].*", ".", "..", "..?.?", ".{9}.*", ".*[a-z].*[A-Z].*", "[0-9]+[.,:/-][0-9]+.*",
    "([A-Z][.])+", ".*[^ -~].*",
)  # fmt: skip
_AFFIXES = 96
_MOST = 50_000  # words


def read_tokens(given: Any, what: str = "X") -> list[list[str]]:
    """Sequences of texts.

    Raises
    ------
    ValueError, TypeError
        Naming the sequence at fault.
    """
    found = []
    for n, item in enumerate(given):
        if isinstance(item, (str, bytes)) or not hasattr(item, "__iter__"):
            raise TypeError(
                f"{what}: sequence {n}: expected a list of tokens, got {item!r:.60}; split texts into tokens"
            )
        tokens = [token for token in item]
        for t, token in enumerate(tokens):
            if not isinstance(token, str):
                raise TypeError(f"{what}: sequence {n}, step {t}: expected a text, got {token!r:.60}")
        if not tokens:
            raise ValueError(f"{what}: sequence {n} has 0 steps, at least 1 are needed")
        found.append([str(token) for token in tokens])
    if not found:
        raise ValueError(f"{what}: Found array with 0 sample(s) while a minimum of 1 is required.")
    return found


def are_tokens(given: Any) -> bool:
    """Whether sequences hold texts: the first step of the first one does."""
    try:
        first = given[0]
        return isinstance(first, str) or isinstance(first[0], str)
    except (TypeError, IndexError, KeyError):
        return False


def vocabulary(sequences: Iterable[Sequence[str]], least: int) -> dict[str, int]:
    """The place of each word, from 2 on, by how often it comes; one in other cases is the same word.

    Words are kept that come ``least`` times. Their lower, upper and capitalised forms lead to the same place, unless
    these are words of their own; what no form has is :data:`UNKNOWN`.
    """
    counts = Counter(token for tokens in sequences for token in tokens)
    folded: Counter[str] = Counter()
    for token, count in counts.items():
        folded[token.lower()] += count
    kept = sorted((word for word, count in folded.items() if count >= least), key=lambda word: (-folded[word], word))
    places = {word: place for place, word in enumerate(kept[:_MOST], 2)}
    table = {token: places[token.lower()] for token in counts if token.lower() in places}
    for word, place in places.items():
        for form in (word, word.capitalize(), word.title(), word.upper()):
            table.setdefault(form, place)
    return table


def affixes(sequences: Iterable[Sequence[str]]) -> list[str]:
    """Patterns of the ends and beginnings that most words share: "-ing", "un-"."""
    words = {token.lower() for tokens in sequences for token in tokens if token.isalpha() and token.isascii()}
    ends: Counter[str] = Counter()
    for word in words:
        for size in (2, 3):
            if len(word) > size + 1:
                ends[f".*{word[-size:]}"] += 1
                ends[f"{word[:size]}.*"] += 1
    common = [pattern for pattern, count in ends.items() if count >= max(3, len(words) // 500)]
    return sorted(common, key=lambda pattern: (-ends[pattern], pattern))[:_AFFIXES]


def patterns(sequences: Iterable[Sequence[str]]) -> list[str]:
    """All patterns of marks, which a word has or has not as a whole."""
    return [*_SHAPES, *affixes(sequences)]


class Reader:
    """Sequences of tokens as arrays, by a table of words and patterns of marks; words read once are remembered."""

    def __init__(self, table: Mapping[str, int], marks: Sequence[str]) -> None:
        self._table = table
        self._marks = [re.compile(pattern, re.DOTALL) for pattern in marks]
        self._seen: dict[str, NDArray[np.float32]] = {}

    def __call__(self, sequences: Sequence[Sequence[str]]) -> dict[str, NDArray[Any]]:
        """``words`` int32 (N, T) and ``marks`` float32 (N, T, M), zeros behind the end of a sequence."""
        longest = max(len(tokens) for tokens in sequences)
        words = np.zeros((len(sequences), longest), np.int32)
        marks = np.zeros((len(sequences), longest, len(self._marks)), np.float32)
        for n, tokens in enumerate(sequences):
            for t, token in enumerate(tokens):
                words[n, t] = self._table.get(token, UNKNOWN)
                marks[n, t] = self._marks_of(token)
        return {"words": words, "marks": marks}

    def _marks_of(self, token: str) -> NDArray[np.float32]:
        found = self._seen.get(token)
        if found is None:
            if len(self._seen) > 4 * _MOST:
                self._seen.clear()
            found = np.array([pattern.fullmatch(token) is not None for pattern in self._marks], np.float32)
            self._seen[token] = found
        return found
