"""Keras 2's tokenizer, for scripts that have it; :class:`rekur.data.TextVectorization` does more."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import did_you_mean, integer

__all__ = ["Tokenizer", "text_to_word_sequence", "tokenizer_from_json"]

_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_MODES = ("binary", "count", "freq", "tfidf")


def text_to_word_sequence(input_text: str, filters: str = _FILTERS, lower: bool = True, split: str = " ") -> list[str]:
    """The words of a text: what is between ``split``, which every character of ``filters`` stands for, too."""
    text = input_text.lower() if lower else input_text
    return [word for word in text.translate({ord(c): split for c in filters}).split(split) if word]


class Tokenizer:
    """Ids of words from 1 on, the frequent ones first, of equals the one that came first; 0 is for padding.

    Parameters
    ----------
    num_words : int, optional
        Ids from here on are left out, or become the one of ``oov_token``.
    filters, lower, split
        As of :func:`text_to_word_sequence`.
    char_level : bool
        Characters instead of words.
    oov_token : str, optional
        The word with id 1 that stands for all unknown ones.
    analyzer : function of a text to its words, optional

    Attributes
    ----------
    word_index, index_word, word_counts, word_docs, index_docs : dict
        Ids of words, words of ids, how often each word came, in how many texts, and that by ids.
    document_count : int
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = _FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[str], Sequence[str]] | None = None,
        document_count: int = 0,
    ) -> None:
        self.num_words = None if num_words is None else integer(num_words, "Tokenizer: num_words")
        self.filters, self.lower, self.split = filters, lower, split
        self.char_level, self.oov_token, self.analyzer = char_level, oov_token, analyzer
        self.document_count = document_count
        self.word_counts: dict[str, int] = {}
        self.word_docs: dict[str, int] = {}
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}
        self.index_docs: dict[int, int] = {}

    def _words(self, text: Any) -> Sequence[str]:
        if self.char_level or isinstance(text, list):
            return [word.lower() if self.lower else word for word in text]
        if self.analyzer is not None:
            return self.analyzer(text)
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Count the words of texts, or of lists of words, and give ids to them; may be called again with more."""
        counts, documents = Counter(self.word_counts), Counter(self.word_docs)
        for text in texts:
            words = self._words(text)
            counts.update(words)
            documents.update(set(words))
            self.document_count += 1
        self.word_counts, self.word_docs = dict(counts), dict(documents)
        ordered = sorted(counts, key=lambda word: -counts[word])
        known = ordered if self.oov_token is None else [self.oov_token, *ordered]
        self.word_index = {word: k for k, word in enumerate(known, 1)}
        self.index_word = {k: word for word, k in self.word_index.items()}
        self.index_docs = {self.word_index[word]: count for word, count in documents.items()}

    def _ids(self, words: Iterable[str]) -> Iterator[int]:
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        for word in words:
            k = self.word_index.get(word)
            if k is None or (self.num_words and k >= self.num_words):
                k = unknown
            if k is not None:
                yield k

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """Ids of the words of each text."""
        return [list(self._ids(self._words(text))) for text in texts]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of ids, with spaces between them; padding is left out."""
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        texts = []
        for sequence in sequences:
            words = []
            for k in map(int, sequence):
                word = self.index_word.get(k)
                if word is None or (self.num_words and k >= self.num_words):
                    word = None if unknown is None else self.index_word[unknown]
                if word is not None and k:
                    words.append(word)
            texts.append(" ".join(words))
        return texts

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> NDArray[np.float64]:
        """A number a word for each text: whether it is there, how often, its share, or tf-idf."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Sequence[Sequence[int]], mode: str = "binary") -> NDArray[np.float64]:
        """The same of ids; shape (texts, num_words)."""
        if mode not in _MODES:
            raise ValueError(f"Tokenizer: mode must be one of {', '.join(_MODES)}, got {mode!r}"
                             f"{did_you_mean(mode, _MODES)}")  # fmt: skip
        if not self.num_words and not self.word_index:
            raise ValueError("Tokenizer: give num_words, or call fit_on_texts first")
        size = self.num_words or len(self.word_index) + 1
        found = np.zeros((len(sequences), size))
        for row, sequence in zip(found, sequences, strict=True):
            for k, count in Counter(k for k in sequence if k < size).items():
                if mode == "binary":
                    row[k] = 1
                elif mode == "count":
                    row[k] = count
                elif mode == "freq":
                    row[k] = count / len(sequence)
                else:
                    rarity = math.log(1 + self.document_count / (1 + self.index_docs.get(k, 0)))
                    row[k] = (1 + math.log(count)) * rarity
        return found

    def get_config(self) -> dict[str, Any]:
        """Settings and counts, as Keras writes them."""
        settings = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count")
        counts = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
        return {
            **{name: getattr(self, name) for name in settings},
            **{name: json.dumps(getattr(self, name)) for name in counts},
        }

    def to_json(self, **options: Any) -> str:
        """The text that :func:`tokenizer_from_json`, and Keras's, makes it of again."""
        return json.dumps({"class_name": "Tokenizer", "config": self.get_config()}, **options)


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """The tokenizer that :meth:`Tokenizer.to_json`, or Keras's, wrote."""
    config = dict(json.loads(json_string)["config"])
    counts = {name: json.loads(config.pop(name)) for name in ("word_counts", "word_docs", "word_index")}
    by_id = {
        name: {int(k): v for k, v in json.loads(config.pop(name)).items()} for name in ("index_docs", "index_word")
    }
    made = Tokenizer(**config)
    for name, value in {**counts, **by_id}.items():
        setattr(made, name, value)
    return made
