"""Text as ids of words, characters or byte pairs, and back."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur._own import check_options
from rekur._settings import Guarded
from rekur._validate import boolean, did_you_mean, integer
from rekur.data import byte_pairs

_PUNCTUATION = re.compile(r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']')  # Keras's
_STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
_SPLITS = ("whitespace", "character", "byte_pairs")
_MODES = ("int", "multi_hot", "count", "tf_idf")
_MASK, _UNKNOWN = "", "[UNK]"


def _choice(value: Any, known: Sequence[str], what: str) -> Any:
    if value is None or callable(value) or value in known:
        return value
    raise ValueError(f"TextVectorization: {what}: expected one of {', '.join(known)}, None or a function, got "
                     f"{value!r}{did_you_mean(value, known)}")  # fmt: skip


class TextVectorization(Guarded):
    """Text as ids, with Keras's arguments, vocabulary and numbers; called on text, not on tensors.

    Parameters
    ----------
    max_tokens : int, optional
        The most entries that :meth:`adapt` puts into the vocabulary, those for padding and the unknown included.
    standardize : {"lower_and_strip_punctuation", "lower", "strip_punctuation"}, function of a text, or None
    split : {"whitespace", "character", "byte_pairs"}, function of a text to a list, or None
        Byte pairs know every text, and lose nothing of it where ``standardize`` is None.
    ngrams : int or tuple of int, optional
        Tokens in a row that are entries too: 3 is (1, 2, 3).
    output_mode : {"int", "multi_hot", "count", "tf_idf"}
        Ids in order; or a number for each entry of the vocabulary: 1 where it occurs, how often, or that times the
        logarithm of how few texts have it.
    output_sequence_length : int, optional
        T; by default the longest text's.
    pad_to_max_tokens : bool
        Whether numbers of entries are as many as ``max_tokens``.
    vocabulary : list of str, or the path of a file with one a line
    idf_weights : list of float, optional
        With ``vocabulary`` in the mode "tf_idf".
    ragged : bool
        Lists of ids without padding.
    name : str, optional

    Notes
    -----
    0 is padding, 1 the unknown (of numbers of entries: 0 the unknown). ``model.tokenizer = …`` puts it into the file of
    a model; a function cannot go there.
    """

    _advice: ClassVar[dict[str, str]] = {"vocabulary": "call set_vocabulary, or get_vocabulary"}

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[str], str] | None = "lower_and_strip_punctuation",
        split: str | Callable[[str], Sequence[str]] | None = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        ragged: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if options:
            check_options("text", type(self), options)
        what = "TextVectorization"
        self._max = None if max_tokens is None else integer(max_tokens, f"{what}: max_tokens", 2)
        self._standardize = _choice(standardize, _STANDARDS, "standardize")
        self._split = _choice(split, _SPLITS, "split")
        self._ngrams = self._widths(ngrams)
        output_mode = "tf_idf" if output_mode == "tf-idf" else output_mode
        if output_mode not in _MODES:
            raise ValueError(f"{what}: output_mode: expected one of {', '.join(_MODES)}, got {output_mode!r}")
        self._mode = output_mode
        self._length = (
            None
            if output_sequence_length is None
            else integer(output_sequence_length, f"{what}: output_sequence_length")
        )
        if self._mode != "int" and (self._length is not None or ragged):
            raise ValueError(f"{what}: output_sequence_length and ragged are for output_mode='int', not '{self._mode}'")
        self._pads, self._ragged = boolean(pad_to_max_tokens, f"{what}: pad_to_max_tokens"), boolean(ragged, "ragged")
        if self._pads and (self._max is None or self._mode == "int"):
            raise ValueError(f"{what}: pad_to_max_tokens needs max_tokens, and an output_mode other than 'int'")
        if self._split == "byte_pairs" and self._ngrams:
            raise ValueError(f"{what}: ngrams do not go with split='byte_pairs'")
        self._name = name
        self._tokens: list[str] | None = None
        self._ids: dict[str, int] = {}
        self._idf: list[float] | None = None
        self._cache: dict[str, list[str]] = {}
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    @staticmethod
    def _widths(ngrams: Any) -> tuple[int, ...]:
        if ngrams is None:
            return ()
        what = "TextVectorization: ngrams"
        if isinstance(ngrams, (tuple, list)):
            return tuple(integer(n, what) for n in ngrams)
        return tuple(range(1, integer(ngrams, what) + 1))

    def __repr__(self) -> str:
        known = "not adapted" if self._tokens is None else f"{self.vocabulary_size()} tokens"
        return f"<TextVectorization '{self.name}': {known}>"

    @property
    def name(self) -> str:
        return self._name or "text_vectorization"

    # Text to tokens.

    def _split_text(self, text: str) -> list[str]:
        if callable(self._standardize):
            text = self._standardize(text)
        elif self._standardize is not None:
            if "lower" in self._standardize:
                text = text.lower()
            if "strip" in self._standardize:
                text = _PUNCTUATION.sub("", text)
        if callable(self._split):
            tokens = list(self._split(text))
        elif self._split == "whitespace":
            tokens = text.split()
        elif self._split == "character":
            tokens = list(text)
        elif self._split == "byte_pairs":
            tokens = byte_pairs.pieces(text)
        else:
            tokens = [text]
        if not self._ngrams:
            return tokens
        return [" ".join(tokens[k : k + n]) for n in self._ngrams for k in range(len(tokens) - n + 1)]

    def _tokens_of(self, text: str) -> list[str]:
        tokens = self._split_text(text)
        if self._split != "byte_pairs":
            return tokens
        found: list[str] = []
        for piece in tokens:
            if piece not in self._cache:
                if len(self._cache) > 100_000:
                    self._cache.clear()
                self._cache[piece] = byte_pairs.encode(piece, self._ids)
            found += self._cache[piece]
        return found

    # The vocabulary.

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Make the vocabulary of texts: the frequent tokens first, of equals the last in the order of characters.

        Parameters
        ----------
        data : list or array of str, or an iterable of texts or of batches of them
        batch_size : int, optional
            Keras's; every text is read by itself.
        steps : int, optional
            How many entries of an iterable are read.
        """
        counts: Counter[str] = Counter()
        documents: Counter[str] = Counter()
        texts = 0
        for text in _texts(data, steps):
            tokens = self._split_text(text)
            counts.update(tokens)
            documents.update(set(tokens))
            texts += 1
        if not texts:
            raise ValueError(f"{self!r}: adapt: there is no text")
        room = None if self._max is None else self._max - self._first()
        if self._split == "byte_pairs":
            if room is not None and room < 256:
                raise ValueError(f"{self!r}: max_tokens must be at least {256 + self._first()} for byte pairs")
            tokens = byte_pairs.learn(counts, room)
        else:
            tokens = sorted(sorted(counts, reverse=True), key=lambda token: -counts[token])
            tokens = [token for token in tokens if token not in (_MASK, _UNKNOWN)][:room]
        idf = None
        if self._mode == "tf_idf":
            if self._split == "byte_pairs":
                raise ValueError(f"{self!r}: the mode 'tf_idf' is for words and characters, not for byte pairs")
            idf = [math.log(1 + texts / (1 + documents[token])) for token in tokens]
        self._take(tokens, idf)

    def _first(self) -> int:
        """How many entries stand before the tokens of the text."""
        return 2 if self._mode == "int" else 1

    def _take(self, tokens: list[str], idf: list[float] | None) -> None:
        self._tokens = tokens
        self._ids = {token: k + self._first() for k, token in enumerate(tokens)}
        self._idf = None if idf is None else [float(np.mean(idf)) if idf else 0.0, *idf]
        self._cache.clear()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take a vocabulary: a list of tokens, with or without the special ones at its beginning, or a file's path."""
        if isinstance(vocabulary, str):
            with open(vocabulary, encoding="utf-8") as file:
                vocabulary = file.read().splitlines()
        tokens = [_decoded(token) for token in vocabulary]
        special = [_MASK, _UNKNOWN] if self._mode == "int" else [_UNKNOWN]
        for start in (special, [_MASK, _UNKNOWN]):
            if tokens[: len(start)] == start:
                tokens = tokens[len(start) :]
                break
        if len(set(tokens)) != len(tokens) or _MASK in tokens or _UNKNOWN in tokens:
            twice = next((t for t in tokens if tokens.count(t) > 1 or t in (_MASK, _UNKNOWN)), "")
            raise ValueError(f"{self!r}: set_vocabulary: {twice!r} is there twice, or not at the beginning")
        if self._max is not None and len(tokens) + self._first() > self._max:
            raise ValueError(f"{self!r}: set_vocabulary: {len(tokens)} tokens do not fit into max_tokens={self._max}")
        if self._split == "byte_pairs" and not set(byte_pairs.BYTES) <= set(tokens):
            raise ValueError(f"{self!r}: set_vocabulary: byte pairs begin with the 256 bytes")
        if (idf_weights is None) == (self._mode == "tf_idf"):
            raise ValueError(f"{self!r}: set_vocabulary: idf_weights go with output_mode='tf_idf', and only with it")
        weights = None if idf_weights is None else [float(w) for w in idf_weights]
        if weights is not None and len(weights) != len(tokens):
            raise ValueError(f"{self!r}: set_vocabulary: {len(tokens)} tokens and {len(weights)} idf_weights")
        self._take(tokens, weights)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The tokens; where an id stands for one, it is its place here."""
        tokens = self._known()
        if not include_special_tokens:
            return list(tokens)
        return [*([_MASK, _UNKNOWN] if self._mode == "int" else [_UNKNOWN]), *tokens]

    def vocabulary_size(self) -> int:
        """How many tokens there are, those for padding and the unknown included."""
        return len(self._known()) + self._first()

    def _known(self) -> list[str]:
        if self._tokens is None:
            raise ValueError(f"{self!r}: call adapt(texts) or set_vocabulary first")
        return self._tokens

    # Text to numbers, and back.

    def __call__(self, inputs: Any) -> Any:
        """Ids or numbers of texts.

        Parameters
        ----------
        inputs : str, or list or array of str of shape (B,) or (B, 1)

        Returns
        -------
        int32 ndarray (B, T), of one text (T,); with ``ragged`` a list of lists; in the other modes float32
        (B, vocabulary), of one text (vocabulary,).
        """
        self._known()
        alone = isinstance(inputs, (str, bytes))
        texts = [_decoded(inputs)] if alone else list(_texts(inputs, None))
        if not alone and hasattr(inputs, "__len__") and len(inputs) != len(texts):
            raise ValueError(
                f"{self!r}: expected texts of shape (B,) or (B, 1), got {len(inputs)} rows of {len(texts)} texts in all"
            )
        rows = [self._tokens_of(text) for text in texts]
        if self._mode != "int":
            found: Any = self._counted(rows)
        else:
            ids = [[self._ids.get(token, 1) for token in row] for row in rows]
            if self._ragged:
                found = ids if self._length is None else [row[: self._length] for row in ids]
            else:
                steps = max(map(len, ids), default=0) if self._length is None else self._length
                found = np.zeros((len(ids), steps), np.int32)
                for k, row in enumerate(ids):
                    found[k, : len(row)] = row[:steps]
        return found[0] if alone else found

    def _counted(self, rows: list[list[str]]) -> NDArray[np.float32]:
        size = self._max if self._pads and self._max is not None else self.vocabulary_size()
        found = np.zeros((len(rows), size), np.float32)
        for k, row in enumerate(rows):
            for token in row:
                found[k, self._ids.get(token, 0)] += 1
        if self._mode == "multi_hot":
            found = np.minimum(found, 1)
        elif self._idf is not None:
            found[:, : len(self._idf)] *= np.array(self._idf, np.float32)
        return found

    def detokenize(self, ids: Any) -> Any:
        """The text of ids (T,), or the texts of (B, T); padding is left out.

        Words are joined by spaces, characters and byte pairs by nothing.
        """
        if self._mode != "int" or self._ngrams:
            raise ValueError(f"{self!r}: detokenize: only ids of tokens have an order, not '{self._mode}' or ngrams")
        vocabulary = self.get_vocabulary()
        rows = ids if isinstance(ids, list) else np.asarray(ids)
        if len(rows) and np.ndim(rows[0]):
            return [self.detokenize(row) for row in rows]
        tokens = []
        for k in rows:
            if not 0 <= int(k) < len(vocabulary):
                raise ValueError(f"{self!r}: detokenize: expected ids from 0 to {len(vocabulary) - 1}, got {k}")
            if int(k):
                tokens.append(vocabulary[int(k)])
        if self._split == "byte_pairs":
            return byte_pairs.as_text(token for token in tokens if token != _UNKNOWN)
        return ("" if self._split == "character" else " ").join(tokens)

    # What a file holds.

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` makes it of again: numbers and texts alone."""
        for what, value in (("standardize", self._standardize), ("split", self._split)):
            if callable(value):
                raise TypeError(f"{self!r}: {what} is a function, which no file and no description holds")
        return {
            "max_tokens": self._max,
            "standardize": self._standardize,
            "split": self._split,
            "ngrams": list(self._ngrams) or None,
            "output_mode": self._mode,
            "output_sequence_length": self._length,
            "pad_to_max_tokens": self._pads,
            "ragged": self._ragged,
            "vocabulary": self._tokens,
            "idf_weights": None if self._idf is None else self._idf[1:],
            "name": self._name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TextVectorization":
        """The one that :meth:`get_config` described."""
        return cls(**config)


def _decoded(text: Any) -> str:
    if isinstance(text, bytes):
        return text.decode("utf-8")
    if hasattr(text, "numpy") and not isinstance(text, str):
        return _decoded(text.numpy())
    if not isinstance(text, str):
        raise TypeError(f"TextVectorization: expected text, got {text!r:.60}")
    return str(text)


def _texts(data: Any, steps: int | None) -> Iterator[str]:
    """The texts of a list or array, or of an iterable of texts or batches."""
    if isinstance(data, (str, bytes)):
        yield _decoded(data)
        return
    if not isinstance(data, Iterable):
        raise TypeError(f"TextVectorization: expected texts, got {data!r:.60}")
    for number, entry in enumerate(data):
        if steps is not None and number >= steps:
            return
        if isinstance(entry, (list, tuple, np.ndarray)) or (hasattr(entry, "shape") and len(entry.shape)):
            yield from _texts(entry, None)
        else:
            yield _decoded(entry)


# What a model's file holds: the settings of one, or of several by name.


def check_saved(value: Any, what: str) -> Any:
    """A TextVectorization, a dict of them by name, or None, that a file can hold.

    Raises
    ------
    TypeError
        For anything else, and for one with a function in it.
    """
    if value is None:
        return None
    many = value if isinstance(value, dict) else {"": value}
    for one in many.values():
        if not isinstance(one, TextVectorization):
            raise TypeError(f"{what}: expected a rekur.data.TextVectorization, or a dict of them, got {one!r:.60}")
        one.get_config()
    return value


def described(value: Any) -> dict[str, Any]:
    """The description of what :func:`check_saved` passed."""
    if isinstance(value, dict):
        return {"several": {name: one.get_config() for name, one in value.items()}}
    return {"one": value.get_config()}


def revived(description: dict[str, Any]) -> Any:
    """What was described."""
    if "several" in description:
        return {name: TextVectorization.from_config(config) for name, config in description["several"].items()}
    return TextVectorization.from_config(description["one"])
