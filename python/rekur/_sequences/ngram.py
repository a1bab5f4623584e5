"""How probable labels are behind others: a table of n-grams, kept by the engine."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rekur import _core
from rekur._validate import as_int32, as_path, integer, real

_BEGIN, _END = -1, -2  # as in cpp/src/sequence/ctc.hpp
_NEVER = -1e30  # ARPA's -99, 0 as a probability


class NGram:
    """log p of a label behind others, of the longest context that the table has (Katz's backing off).

    log p(w | c) is the table's where it has (c, w); else backoff(c), 0 where there is none, plus log p(w | c without
    its first label).

    Parameters
    ----------
    probabilities : dict
        Natural logarithms of probabilities by n-gram: a tuple of label ids, the last one being what the number is of.
        A single label need not be a tuple.
    backoff : dict, optional
        Natural logarithms by context.
    unknown : float
        log p of a label that is no unigram.
    vocabulary : sequence of str, optional
        The symbol of each id, none of them twice: n-grams may then be tuples of symbols, or texts of one letter a
        symbol. ``"<s>"`` and ``"</s>"`` stand for the begin and the end of a sequence with or without a vocabulary,
        also where a class is called so.

    Raises
    ------
    TypeError, ValueError
        For n-grams that are none, or numbers that are no logarithms.
    """

    def __init__(
        self,
        probabilities: Mapping[Any, float],
        backoff: Mapping[Any, float] | None = None,
        unknown: float = -20.0,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        ids = _ids(vocabulary, "NGram")
        for name, given in (("probabilities", probabilities), ("backoff", backoff or {})):
            if not isinstance(given, Mapping):
                raise TypeError(f"NGram: {name}: expected a dict of logarithms by n-gram, got {given!r:.60}")
        entries: dict[tuple[int, ...], list[float]] = {}
        known = {
            _labels(key, ids): _log(value, f"NGram: probabilities[{key!r}]") for key, value in probabilities.items()
        }
        if not known:
            raise ValueError("NGram: expected at least one n-gram")
        for gram, value in known.items():
            entries[gram] = [value, 0.0]
        for key, value in (backoff or {}).items():
            gram = _labels(key, ids)
            entry = entries.get(gram)
            if entry is None:
                if len(gram) == 1 and gram[0] == _BEGIN:
                    entry = entries.setdefault(gram, [_NEVER, 0.0])
                else:
                    raise ValueError(f"NGram: backoff[{key!r}]: the context is no n-gram of probabilities")
            entry[1] = _log(value, f"NGram: backoff[{key!r}]", above=True)
        self.order = max(len(gram) for gram in entries)
        """int: the most labels of an n-gram."""
        self.unknown = real(unknown, "NGram: unknown")
        """float: log p of a label that is no unigram."""
        self._ids = ids
        self._vocabulary = None if vocabulary is None else list(vocabulary)
        self._table = _core.NGram(
            self.order,
            self.unknown,
            np.array([label for gram in entries for label in gram], np.int32),
            np.array([len(gram) for gram in entries], np.int32),
            np.array([value for value, _ in entries.values()], np.float64),
            np.array([value for _, value in entries.values()], np.float64),
        )
        self._entries = entries

    @classmethod
    def from_arpa(cls, path: Any, vocabulary: Sequence[str], unknown: float | None = None) -> "NGram":
        """The table of an ARPA file, whose words are the symbols of ``vocabulary``.

        N-grams with words that the vocabulary lacks are left out. ``unknown`` is by default the file's for ``<unk>``,
        or −20.

        Raises
        ------
        ValueError
            For a file that is none, naming the line.
        """
        known = set(_ids(vocabulary, "NGram.from_arpa"))
        probabilities: dict[tuple[str, ...], float] = {}
        backoff: dict[tuple[str, ...], float] = {}
        order = 0
        name = as_path(path, "NGram.from_arpa")
        with open(name, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                text = line.strip()
                if text.startswith("\\") and text.endswith("-grams:"):
                    if not text[1:-7].isdecimal() or not int(text[1:-7]):
                        raise ValueError(f"{name}, line {number}: expected the order of n-grams, got {text!r}")
                    order = int(text[1:-7])
                elif text == "\\end\\":
                    break
                elif order and text:
                    fields = text.split()
                    try:
                        if len(fields) not in (order + 1, order + 2):
                            raise ValueError
                        found = float(fields[0]) * math.log(10)
                        back = float(fields[order + 1]) * math.log(10) if len(fields) == order + 2 else None
                        if not found <= 1e-6 or (back is not None and not math.isfinite(back)):
                            raise ValueError
                    except ValueError:
                        raise ValueError(
                            f"{name}, line {number}: expected a logarithm, {order} words and perhaps a back-off, got "
                            f"{text!r}"
                        ) from None
                    words = tuple(fields[1 : order + 1])
                    if words == ("<unk>",) and unknown is None:
                        unknown = max(found, _NEVER)
                    if not known.issuperset(words):
                        continue
                    probabilities[words] = found
                    if back is not None:
                        backoff[words] = back
        if not probabilities:
            raise ValueError(f"{name}: expected an ARPA file with n-grams of the vocabulary, got none")
        return cls(probabilities, backoff, -20.0 if unknown is None else unknown, vocabulary)

    @classmethod
    def count(
        cls, sequences: Sequence[Any], order: int = 3, vocabulary: Sequence[str] | None = None, discount: float = 0.5
    ) -> "NGram":
        """A table counted from sequences of labels: absolute discounting, backing off to shorter contexts.

        p(w | c) = (count(c w) − discount) / count(c) of what was seen, and what is left goes to shorter contexts.
        Ney, Essen & Kneser, Computer Speech & Language 8, 1994.

        Parameters
        ----------
        sequences : sequence of sequences of label ids, or of symbols of the vocabulary (a text has one a letter)
        order : int
        vocabulary : sequence of str, optional
        discount : float, above 0 and below 1
        """
        most = integer(order, "NGram.count: order")
        less = real(discount, "NGram.count: discount", 0, 1)
        if not 0 < less < 1:
            raise ValueError(f"NGram.count: discount must be above 0 and below 1, got {discount!r}")
        ids = _ids(vocabulary, "NGram.count")
        if isinstance(sequences, str) or not isinstance(sequences, Iterable):
            raise TypeError(f"NGram.count: expected a list of sequences, got {sequences!r:.60}")
        counts: dict[tuple[int, ...], dict[int, int]] = {}
        for sequence in sequences:
            if not isinstance(sequence, Iterable):
                raise TypeError(f"NGram.count: expected sequences of labels, got {sequence!r:.60} for one")
            labels = (_BEGIN, *_labels(sequence, ids, empty=True), _END)
            for end in range(1, len(labels)):
                for n in range(min(most, end + 1)):
                    context = labels[end - n : end]
                    after = counts.setdefault(context, {})
                    after[labels[end]] = after.get(labels[end], 0) + 1
        if () not in counts:
            raise ValueError("NGram.count: expected at least one sequence")
        probabilities: dict[tuple[int, ...], float] = {}
        backoff: dict[tuple[int, ...], float] = {}
        whole = sum(counts[()].values())
        for label, number in counts[()].items():
            probabilities[(label,)] = math.log(number / whole)

        def of(context: tuple[int, ...], label: int) -> float:
            if (found := probabilities.get((*context, label))) is not None:
                return found
            return backoff.get(context, 0.0) + of(context[1:], label)

        for context in sorted((c for c in counts if c), key=len):
            after = counts[context]
            total = sum(after.values())
            shorter = 1 - sum(math.exp(of(context[1:], label)) for label in after)
            away = less if shorter > 1e-12 else 0.0  # nothing to back off to where every label was seen
            for label, number in after.items():
                gram = (*context, label)
                probabilities[gram] = math.log((number - away) / total)
            backoff[context] = math.log(away * len(after) / total / shorter) if away else 0.0
        for context in [c for c in backoff if c not in probabilities]:  # begins, which nothing is followed by
            probabilities[context] = _NEVER
        return cls(probabilities, backoff, vocabulary=vocabulary)

    def score(self, labels: Any) -> float:
        """log p of the last label behind those before it: ids, or symbols of the vocabulary."""
        gram = _labels(labels, self._ids)
        return float(self._table.score(np.array(gram, np.int32)))

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> Any:
        probabilities = {gram: value for gram, (value, _) in self._entries.items()}
        backoff = {gram: value for gram, (_, value) in self._entries.items() if value}
        return NGram, (probabilities, backoff, self.unknown, self._vocabulary)

    def __repr__(self) -> str:
        return f"NGram({len(self)} n-grams of up to {self.order} labels)"


def _ids(vocabulary: Sequence[str] | None, what: str) -> dict[str, int]:
    """The id of each symbol; what is called as the begin and the end are stands for those, also where it is a class."""
    ids: dict[str, int] = {}
    for k, symbol in enumerate(() if vocabulary is None else vocabulary):
        if not isinstance(symbol, str):
            raise TypeError(f"{what}: vocabulary: expected symbols, got {symbol!r} at {k}")
        if ids.setdefault(symbol, k) != k:
            raise ValueError(f"{what}: vocabulary: {symbol!r} is there twice, at {ids[symbol]} and {k}")
    return {**ids, "<s>": _BEGIN, "</s>": _END}


def _labels(gram: Any, ids: Mapping[str, int], empty: bool = False) -> tuple[int, ...]:
    if isinstance(gram, str):
        gram = (gram,) if gram in ids else tuple(gram)
    elif isinstance(gram, (int, np.integer)):
        gram = (gram,)
    elif isinstance(gram, np.ndarray) and gram.dtype.kind != "U":
        gram = tuple(as_int32(gram, "NGram: labels").reshape(-1).tolist())
    if not isinstance(gram, Iterable):
        raise TypeError(f"NGram: expected a label or a sequence of labels, got {gram!r:.60}")
    try:
        labels = tuple(ids[item] if isinstance(item, str) else _label(item) for item in gram)
    except KeyError as error:
        raise ValueError(f"NGram: {error.args[0]!r} of {gram!r} is no symbol of the vocabulary") from None
    if not labels and not empty:
        raise ValueError("NGram: an n-gram has at least one label")
    return labels


def _label(value: Any) -> int:
    label = integer(value, "NGram: a label", _END)
    if label >= 2**31:
        raise ValueError(f"NGram: a label must be below 2^31, got {label}")
    return label


def _log(value: Any, what: str, above: bool = False) -> float:
    if value == -np.inf:
        return _NEVER
    return real(value, what, -np.inf, np.inf if above else 1e-6)
