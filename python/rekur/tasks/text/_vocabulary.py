"""Texts as ids of characters, words or byte pairs, and back."""

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.data import byte_pairs

Ids = NDArray[np.int32]
MARK, UNKNOWN, FIRST = 0, 1, 2  # the ids of a text's beginning and end, of what is not known, and of the first token
LEVELS = ("character", "word", "byte_pairs")
_BROKEN = re.compile("[\ud800-\udfff]")  # halves of characters, which no file holds
UNKNOWN_TEXT = "\N{REPLACEMENT CHARACTER}"


@cache
def _marks() -> str:
    """Combining marks, as the inside of a class of a regular expression: they are parts of words."""
    import unicodedata

    points = [k for k in range(0x300, 0x20000) if unicodedata.category(chr(k))[0] == "M"]
    ends = [k for k, point in enumerate(points) if k + 1 == len(points) or points[k + 1] != point + 1]
    found, begin = [], 0
    for end in ends:
        found.append(f"\\U{points[begin]:08x}-\\U{points[end]:08x}")
        begin = end + 1
    return "".join(found)


@cache
def pattern(spaces: bool) -> re.Pattern[str]:
    """What a word is: letters, digits and marks, apostrophes between them; any other sign is one by itself.

    With ``spaces`` a space stands before its word, and nothing of a text is lost.
    """
    letter = f"[\\w{_marks()}]"
    word = f"{letter}+(?:['\N{RIGHT SINGLE QUOTATION MARK}]{letter}+)*"
    sign = f"[^\\w\\s{_marks()}]"
    return re.compile(f" ?{word}| ?{sign}|\\s" if spaces else f"{word}|{sign}")


class Vocabulary:
    """Tokens of texts, by their ids: 0 a text's beginning and end, 1 what is not known, then the tokens.

    Parameters
    ----------
    level : {"character", "word", "byte_pairs"}
    tokens : list of str
        The frequent ones first.
    lower : bool
        Whether a word stands for its forms in capitals too: "the" for "The" and "THE".
    spaces : bool
        Whether words keep the spaces before them, so that a text comes back from its ids.
    forms : dict, optional
        Further forms of tokens, such as "iPhone" of "iphone".
    """

    def __init__(
        self,
        level: str,
        tokens: Sequence[str],
        lower: bool = False,
        spaces: bool = False,
        forms: dict[str, str] | None = None,
    ) -> None:
        self.level, self.tokens, self.lower, self.spaces = level, list(tokens), lower, spaces
        self.forms = dict(forms or {})
        own = {token: k + FIRST for k, token in enumerate(self.tokens)}
        self.ids = dict(own)
        if lower:
            for token, k in own.items():
                for form in (token.capitalize(), token.upper(), token.title()):
                    self.ids.setdefault(form, k)
            for form, token in self.forms.items():
                self.ids.setdefault(form, own[token])
        if spaces and level == "word":  # a word at the beginning is the word that stands behind a space
            for token, k in own.items():
                self.ids.setdefault(token[1:] if token[0] == " " and len(token) > 1 else f" {token}", k)
        self._known: dict[str, list[int]] = {}  # pieces of byte pairs that were met
        self._points: Any = None
        if level == "character":
            points = np.array([ord(character) for character in self.ids], np.uint32)
            order = np.argsort(points)
            self._points = points[order], np.array(list(self.ids.values()), np.int32)[order]

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        level: str,
        *,
        size: int | None = None,
        least: int = 1,
        lower: bool = False,
        spaces: bool = False,
    ) -> "Vocabulary":
        """The vocabulary of texts.

        Parameters
        ----------
        size : int, optional
            The most tokens; the frequent ones are kept, of equals the first in order.
        least : int
            How often a token must come, or, of words, in how many texts where there are several.
        """
        if level == "byte_pairs":
            counts: Counter[str] = Counter()
            for text in texts:
                counts.update(byte_pairs.pieces(text))
            return cls(level, byte_pairs.learn(counts, size))
        counts, seen = Counter(), Counter[str]()
        find = pattern(spaces).findall
        for text in texts:
            found = Counter(text if level == "character" else find(text))
            seen.update(found)
        forms: dict[str, str] = {}
        if lower:
            for token, count in seen.items():
                counts[_lowered(token)] += count
        else:
            counts = seen
        kept = [token for token, count in counts.items() if count >= least and not _BROKEN.search(token)]
        kept.sort(key=lambda token: (-counts[token], token))
        kept = kept[:size]
        if lower:
            known = set(kept)
            for token in seen:
                small = _lowered(token)
                made = (small, small.capitalize(), small.upper(), small.title())
                if small in known and token not in made and not _BROKEN.search(token):
                    forms[token] = small
        return cls(level, kept, lower, spaces, dict(sorted(forms.items())))

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self.tokens) + FIRST

    # Texts to ids.

    def split(self, text: str) -> list[str]:
        """The tokens of a text, known or not; of byte pairs the known ones, a character a byte."""
        if self.level == "character":
            return list(text)
        if self.level == "word":
            return pattern(self.spaces).findall(text)
        return [self.tokens[k - FIRST] for k in self.encode(text)]

    def encode(self, text: str) -> Ids:
        """The ids of a text, (T,)."""
        if self._points is not None:
            points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            known, ids = self._points
            if not len(known):
                return np.full(len(points), UNKNOWN, np.int32)
            at = np.minimum(np.searchsorted(known, points), len(known) - 1)
            return np.where(known[at] == points, ids[at], UNKNOWN).astype(np.int32)
        get = self.ids.get
        if self.level == "word":
            return np.array([get(token, UNKNOWN) for token in pattern(self.spaces).findall(text)], np.int32)
        found: list[int] = []
        for piece in byte_pairs.pieces(text):
            if (ids := self._known.get(piece)) is None:
                if len(self._known) > 100_000:
                    self._known.clear()
                ids = self._known[piece] = [self.ids[token] for token in byte_pairs.encode(piece, self.ids)]
            found += ids
        return np.array(found, np.int32)

    def unknown(self, text: str) -> list[str]:
        """The tokens of a text that are not known, each once, in order."""
        if self.level == "byte_pairs":
            return []
        return list(dict.fromkeys(token for token in self.split(text) if token not in self.ids))

    # Ids to texts.

    def token(self, label: int) -> str:
        """What is written for an id."""
        if label < FIRST:
            return "" if label == MARK else UNKNOWN_TEXT
        return self.tokens[label - FIRST]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids."""
        pieces = Pieces(self)
        return "".join([*(pieces.add(int(k)) for k in ids), pieces.end()])

    # What a file holds.

    def state(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "tokens": self.tokens,
            "lower": self.lower,
            "spaces": self.spaces,
            "forms": self.forms,
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Vocabulary":
        """What :meth:`state` gave.

        Raises
        ------
        ValueError
            If it is none.
        """
        tokens = state["tokens"]
        if state["level"] not in LEVELS or not all(isinstance(token, str) and token for token in tokens):
            raise ValueError("not a vocabulary")
        if len(set(tokens)) != len(tokens):
            raise ValueError("a token of the vocabulary is there twice")
        if state["level"] == "character" and any(len(token) != 1 for token in tokens):
            raise ValueError("a token of a vocabulary of characters is none")
        if state["level"] == "byte_pairs" and not set(byte_pairs.BYTES) <= set(tokens):
            raise ValueError("a vocabulary of byte pairs lacks some of the 256 bytes")
        if not set(state["forms"].values()) <= set(tokens):
            raise ValueError("a form belongs to no token of the vocabulary")
        return cls(state["level"], tokens, bool(state["lower"]), bool(state["spaces"]), state["forms"])


class Pieces:
    """Ids as they come, and the text that they add: a character of several bytes comes whole."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.level == "byte_pairs" else None
        self._first = True

    def add(self, label: int) -> str:
        text = self._vocabulary.token(label)
        if self._bytes is None:
            if self._vocabulary.level == "word" and not self._vocabulary.spaces and text:
                text, self._first = (text if self._first else f" {text}"), False
            return text
        return self._bytes.decode(text.encode("latin-1", "replace")) if label >= FIRST else ""

    def end(self) -> str:
        """What is left of a character that was not whole."""
        return "" if self._bytes is None else self._bytes.decode(b"", True)


def _lowered(token: str) -> str:
    small = token.lower()
    return small if len(small) == len(token) else token  # "İ" has two characters in small


def padded(rows: Sequence[Ids], longest: int | None = None) -> tuple[Ids, Ids]:
    """Ids of texts as one array, zeros behind the shorter, and their lengths."""
    lengths = np.array([len(row) for row in rows], np.int32)
    steps = int(lengths.max(initial=1)) if longest is None else longest
    found = np.zeros((len(rows), steps), np.int32)
    for into, row in zip(found, rows, strict=True):
        into[: len(row)] = row
    return found, lengths
