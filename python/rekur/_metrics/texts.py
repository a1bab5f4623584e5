"""Metrics of texts and of sequences of labels: error rates, BLEU; and of how probable a model finds them."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur._metrics.further import Further, class_ids, optional
from rekur._own import named_after
from rekur._sequences.distance import edit_distance, elements
from rekur._settings import Setting
from rekur._validate import boolean, check_mask, integer, one_of, real, show

_Any = NDArray[Any]
_EPSILON = 1e-7  # Keras's


# --- how probable what stands there is ---


class Perplexity(Further):
    """exp of the mean of −log p[y]: among how many equally probable classes a model would be as unsure.

    Parameters
    ----------
    from_logits : bool
        The output is logits, not probabilities.
    ignore_class : int, optional
        A class that stands for no target, such as padding.

    Raises
    ------
    ValueError
        For targets that are no class indices, and outputs below 0 that are not said to be logits.
    """

    default_name = "perplexity"
    larger_is_better = False
    _keys: ClassVar[tuple[str, ...]] = ("from_logits", "ignore_class")

    from_logits = Setting(boolean)
    ignore_class = Setting(optional(lambda value, what: integer(value, what, -(2**31))))

    def __init__(
        self,
        name: str | None = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, from_logits=from_logits, ignore_class=ignore_class, **options)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        ids = class_ids(y_true, y_pred) if y_true.shape[-1:] == (1,) else y_true
        if y_pred.ndim != 2 or y_pred.shape[1] < 2 or ids.shape != y_pred.shape[:1]:
            raise ValueError(
                f"{self._whose()}: expected class indices and outputs of a number a class, got targets of shape "
                f"{show(y_true.shape)} beside outputs of shape {show(y_pred.shape)}"
            )
        if self.ignore_class is not None:
            there = ids != self.ignore_class
            ids, y_pred, weight = ids[there], y_pred[there], weight[there]
        x = np.asarray(y_pred, np.float64)
        wrong = ids[~((ids >= 0) & (ids < x.shape[1]) & (ids == np.floor(ids)))]
        if wrong.size:
            raise ValueError(
                f"{self._whose()}: expected class indices from 0 to {x.shape[1] - 1}, got {wrong[0]}; ignore_class= "
                "names one that stands for no target"
            )
        if not self.from_logits and (x < 0).any():
            raise ValueError(
                f"{self._whose()}: expected probabilities, got {x.min():g}; from_logits=True is for logits"
            )
        picked = np.take_along_axis(x, ids[:, None].astype(np.int64), axis=-1)[:, 0]
        with np.errstate(invalid="ignore"):  # what is NaN is to be seen in the result
            if self.from_logits:
                most = x.max(axis=-1)
                values = np.log(np.exp(x - most[:, None]).sum(axis=-1)) + most - picked
            else:
                values = -np.log(np.clip(picked / x.sum(axis=-1), _EPSILON, 1 - _EPSILON))
        self._sum += float(np.sum(values * weight))
        self._weight += float(np.sum(weight))

    def result(self) -> float:
        """The number of all rows since the last reset; infinity where a double holds none so large."""
        try:
            return math.exp(super().result())
        except OverflowError:
            return math.inf


class BitsPerCharacter(Perplexity):
    """The mean of −log₂ p[y]: what a model that gives each next character a probability would write it in.

    Arguments as of :class:`Perplexity`, whose logarithm to base 2 it is.
    """

    default_name = "bits_per_character"

    def result(self) -> float:
        return float(Further.result(self)) / math.log(2)  # of the mean itself, whose exp a double may not hold


# --- how far what was written is from what it should have been ---


@named_after("rekur.metrics", "Metric")
class _OfTexts(Further):
    """Of pairs of texts or lists; ``fit`` and ``evaluate`` have none."""

    _apart: ClassVar[str] = "it compares texts or lists of labels: call it on what predict gives, decoded"

    def _pairs(self, y_true: Any, y_pred: Any) -> tuple[list[Any], list[Any]]:
        for what, given in (("y_true", y_true), ("y_pred", y_pred)):
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise TypeError(f"{self._whose()}: {what}: expected a list of texts or of lists, got {given!r:.60}")
            check_mask(given, f"{self._whose()}: {what}")
        true, pred = list(y_true), list(y_pred)
        for what, rows in (("y_true", true), ("y_pred", pred)):
            for number, row in enumerate(rows):
                if not isinstance(row, Iterable) or isinstance(row, (bytes, Mapping)):
                    raise TypeError(
                        f"{self._whose()}: {what}: expected a list of texts or of lists, got {row!r:.60} at {number}"
                    )
                check_mask(row, f"{self._whose()}: {what}")
        if len(true) != len(pred):
            raise ValueError(f"{self._whose()}: expected as many of both, got {len(true)} and {len(pred)}")
        return true, pred

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in pairs: what should be there, and what a model wrote."""
        if sample_weight is not None:
            raise TypeError(f"{self._whose()}: it takes no weights")
        self._take(*self._pairs(y_true, y_pred))

    def _take(self, y_true: list[Any], y_pred: list[Any]) -> None:
        raise NotImplementedError


class EditDistance(_OfTexts):
    """How many elements must be put in, taken out or replaced to make each y_true of its y_pred.

    Parameters
    ----------
    normalize : bool
        True: of all pairs together, by the number of elements of all y_true; False: the mean of the pairs.

    Notes
    -----
    Texts are compared letter by letter, lists and arrays element by element. Without any element of y_true it is 0
    where nothing is to be done, else infinity.
    """

    default_name = "edit_distance"
    larger_is_better = False
    _keys: ClassVar[tuple[str, ...]] = ("normalize",)

    normalize = Setting(boolean)

    def __init__(self, normalize: bool = True, name: str | None = None, **options: Any) -> None:
        super().__init__(name, normalize=normalize, **options)

    def reset_state(self) -> None:
        self._errors = self._elements = self._rows = 0

    def _elements_of(self, row: Any) -> Sequence[Any]:
        return elements(row)

    def _take(self, y_true: list[Any], y_pred: list[Any]) -> None:
        true, pred = [self._elements_of(row) for row in y_true], [self._elements_of(row) for row in y_pred]
        self._errors += int(edit_distance(true, pred).sum())
        self._elements += sum(map(len, true))
        self._rows += len(true)

    def result(self) -> float:
        by = self._elements if self.normalize else self._rows
        return self._errors / by if by else math.inf if self._errors else 0.0


@named_after("rekur.metrics", "Metric")
class _Rate(EditDistance):
    _keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None = None, **options: Any) -> None:
        object.__setattr__(self, "normalize", True)
        Further.__init__(self, name, **options)


class CharacterErrorRate(_Rate):
    """Letters, or labels, to be put in, taken out or replaced, by the number of those that should be there."""

    default_name = "cer"


class WordErrorRate(_Rate):
    """Words to be put in, taken out or replaced, by the number of those that should be there.

    Words of a text are what stands between blanks; lists are lists of words.
    """

    default_name = "wer"

    def _elements_of(self, row: Any) -> Sequence[Any]:
        return row.split() if isinstance(row, str) else super()._elements_of(row)


_SMOOTH_VALUES = {"none": 0.0, "floor": 0.1, "add-k": 1.0, "exp": 0.0}  # sacrebleu's


def _tokenizer(value: object, what: str) -> Any:
    if value is not None and not callable(value):
        raise TypeError(f"{what}: expected a function of a text, got {value!r}")
    return value


class BLEU(_OfTexts):
    """Corpus BLEU, from 0 to 1: n-grams of the y_pred that their y_true have, too. Papineni et al., ACL 2002.

    BP · exp(mean over n of log p_n), p_n the share of all n-grams that are in a y_true (each as often as there), BP =
    exp(1 − r/c) where all y_pred together, c, are shorter than the y_true nearest to each in length, r.

    Parameters
    ----------
    max_order : int
        The longest n-grams.
    smoothing : "exp", "floor", "add-k" or "none"
        What a p_n of no match is, as in sacrebleu: half of that of n − 1 without a match and so on (Chen & Cherry, WMT
        2014, method 3); ``smooth_value`` matches; ``smooth_value`` added to the matches and n-grams of n > 1; 0.
    smooth_value : float, optional
        0.1 for "floor" and 1 for "add-k" by default.
    tokenizer : callable, optional
        Makes words of a text; ``str.split`` by default. Lists are lists of words.

    Notes
    -----
    Each of y_pred is a text or a list of words; its y_true the same, or a list of such of which any is right. Numbers
    are sacrebleu's divided by 100, its tokenizer apart.
    """

    default_name = "bleu"
    larger_is_better = True
    _keys: ClassVar[tuple[str, ...]] = ("max_order", "smoothing", "smooth_value", "tokenizer")

    max_order = Setting(integer)
    smoothing = Setting(one_of(*_SMOOTH_VALUES))
    smooth_value = Setting(optional(lambda value, what: real(value, what, 0)))
    tokenizer = Setting(_tokenizer)

    def __init__(
        self,
        max_order: int = 4,
        smoothing: str = "exp",
        smooth_value: float | None = None,
        tokenizer: Callable[[str], Sequence[str]] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            name, max_order=max_order, smoothing=smoothing, smooth_value=smooth_value, tokenizer=tokenizer, **options
        )

    def reset_state(self) -> None:
        self._matches = [0] * self.max_order
        self._totals = [0] * self.max_order
        self._written = self._wanted = 0

    def _words(self, text: Any) -> list[Any]:
        if isinstance(text, str):
            return list((self.tokenizer or str.split)(text))
        return elements(text)

    def _references(self, given: Any, written: Any) -> list[list[Any]]:
        """A list beside a text is one of several texts; beside a list it is one of words, or of lists of them."""
        if isinstance(given, str) or hasattr(given, "tolist") or len(given) == 0:
            return [self._words(given)]
        several = isinstance(written, str) or isinstance(given[0], (list, tuple)) or getattr(given[0], "ndim", 0) > 0
        return [self._words(each) for each in given] if several else [self._words(given)]

    def _take(self, y_true: list[Any], y_pred: list[Any]) -> None:
        for given, text in zip(y_true, y_pred, strict=True):
            words, references = self._words(text), self._references(given, text)
            self._written += len(words)
            self._wanted += min((abs(len(r) - len(words)), len(r)) for r in references)[1]
            for n in range(1, self.max_order + 1):
                grams, most = _grams(words, n), Counter[tuple[Any, ...]]()
                for reference in references:
                    most |= _grams(reference, n)
                self._matches[n - 1] += sum((grams & most).values())
                self._totals[n - 1] += max(len(words) - n + 1, 0)

    def result(self) -> float:
        if not self._written or not any(self._matches):
            return 0.0
        value = _SMOOTH_VALUES[self.smoothing] if self.smooth_value is None else self.smooth_value
        logs, halved = 0.0, 1.0
        for n, (matches, total) in enumerate(zip(self._matches, self._totals, strict=True), 1):
            found, of = float(matches), float(total)
            if self.smoothing == "add-k" and n > 1:
                found, of = found + value, of + value
            if not of:
                return 0.0
            if not matches and self.smoothing == "exp":
                halved *= 2
                found = 1 / halved
            if not matches and self.smoothing == "floor":
                found = value
            if not found:
                return 0.0
            logs += math.log(found / of)
        brevity = 0.0 if self._written >= self._wanted else 1 - self._wanted / self._written
        return math.exp(brevity + logs / self.max_order)

    def config(self) -> dict[str, Any]:
        if self.tokenizer is not None:
            raise TypeError(f"{self._whose()}: a file holds no tokenizer")
        return {key: value for key, value in super().config().items() if key != "tokenizer"}


def _grams(words: list[Any], n: int) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
