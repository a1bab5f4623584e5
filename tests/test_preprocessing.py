"""Keras 2's Tokenizer and TimeseriesGenerator: its numbers, and its own where it is installed."""

import importlib

import numpy as np
import pytest

import rekur
from rekur import layers
from rekur.preprocessing.sequence import TimeseriesGenerator
from rekur.preprocessing.text import Tokenizer, text_to_word_sequence, tokenizer_from_json

TEXTS = ["The cat sat, the dog ran.", "A cat!", "the end; a dog\tand a cat"]
SERIES = np.arange(60.0).reshape(30, 2)


def keras(module):
    try:
        return importlib.import_module(f"keras.src.legacy.preprocessing.{module}")
    except ImportError:
        pytest.skip("no keras to compare with")


SETTINGS = [{}, {"num_words": 4}, {"num_words": 4, "oov_token": "?"}, {"char_level": True}, {"lower": False}]


def test_ids_are_by_frequency_and_of_equals_the_first():
    words = Tokenizer(num_words=4, oov_token="?")
    words.fit_on_texts(TEXTS)
    assert list(words.word_index)[:6] == ["?", "the", "cat", "a", "dog", "sat"]
    assert words.texts_to_sequences(["The cat and a bird"]) == [[2, 3, 1, 1, 1]]
    assert words.sequences_to_texts([[0, 2, 3, 9]]) == ["the cat ?"]
    assert text_to_word_sequence("One,two - three!") == ["one", "two", "three"]
    with pytest.raises(ValueError, match="mode must be one of"):
        words.texts_to_matrix(TEXTS, "tf")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_tokenizer_has_the_numbers_of_keras(settings):
    theirs = keras("text")
    ours, other = Tokenizer(**settings), theirs.Tokenizer(**settings)
    for one in (ours, other):
        one.fit_on_texts(TEXTS[:2])
        one.fit_on_texts(TEXTS[2:])
    assert ours.word_index == other.word_index and ours.word_docs == other.word_docs
    unseen = [*TEXTS, "a bird"]
    ids = ours.texts_to_sequences(unseen)
    assert ids == other.texts_to_sequences(unseen)
    for mode in ("binary", "count", "freq", "tfidf"):
        np.testing.assert_allclose(ours.texts_to_matrix(unseen, mode), other.texts_to_matrix(unseen, mode))
    assert tokenizer_from_json(other.to_json()).texts_to_sequences(unseen) == ids
    assert theirs.tokenizer_from_json(ours.to_json()).texts_to_sequences(unseen) == ids


OPTIONS = [
    {},
    {"sampling_rate": 2, "stride": 3, "batch_size": 4},
    {"start_index": 4, "end_index": 20, "reverse": True, "batch_size": 5},
    {"stride": 4, "batch_size": 7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_generator_has_the_batches_of_keras(options):
    theirs = keras("sequence").TimeseriesGenerator(SERIES, SERIES[:, 0], 6, **options)
    ours = TimeseriesGenerator(SERIES, SERIES[:, 0], 6, **options)
    assert len(ours) == len(theirs)
    for k in range(len(ours)):
        for a, b in zip(ours[k], theirs[k], strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_generator_trains_by_the_order_of_its_seed_and_predicts_in_order():
    def fitted(shuffle):
        made = rekur.Sequential([layers.LSTM(3, input_shape=(6, 2)), layers.Dense(1)], seed=1)
        made.compile("sgd", "mse")
        made.fit(TimeseriesGenerator(SERIES, SERIES[:, 0], 6, batch_size=5, shuffle=shuffle), epochs=2, verbose=0)
        return made

    made = fitted(True)
    np.testing.assert_array_equal(made.get_weights()[0], fitted(True).get_weights()[0])
    assert not np.array_equal(made.get_weights()[0], fitted(False).get_weights()[0])
    x = np.stack([SERIES[k : k + 6] for k in range(24)])
    np.testing.assert_array_equal(made.predict(TimeseriesGenerator(SERIES, SERIES, 6, shuffle=True)), made.predict(x))
    with pytest.raises(ValueError, match="expected start_index"):
        TimeseriesGenerator(SERIES, SERIES, 40)
