"""Texts as ids: what a word is, what is lost, what a file of it may hold; texts as users give them."""

import numpy as np
import pytest

from rekur.tasks import TextClassifier, TextGenerator, load
from rekur.tasks.text._texts import read_texts
from rekur.tasks.text._vocabulary import FIRST, UNKNOWN, Vocabulary, padded, pattern

TEXT = "Don’t stop: it's 3.5 km to Köln!\n\tनमस्ते — “日本” café\u0301 x_y\u00a0z"


def test_what_a_word_is():
    words = pattern(False).findall(TEXT)
    assert words[:9] == ["Don’t", "stop", ":", "it's", "3", ".", "5", "km", "to"]
    assert "नमस्ते" in words and "café\u0301" in words and "x_y" in words and "“" in words
    assert "".join(pattern(True).findall(TEXT)) == TEXT


@pytest.mark.parametrize("level", ["character", "word", "byte_pairs"])
def test_a_text_comes_back_from_its_ids(level):
    made = Vocabulary.learn([TEXT, TEXT[::-1]], level, spaces=True)
    assert made.decode(made.encode(TEXT)) == TEXT
    again = Vocabulary.restored(made.state())
    np.testing.assert_array_equal(again.encode(TEXT), made.encode(TEXT))
    assert len(again) == len(made) == len(made.tokens) + FIRST
    assert made.encode("").shape == (0,) and made.encode(TEXT).dtype == np.int32


def test_frequent_tokens_are_kept():
    texts = ["b a b", "c a b"]
    assert Vocabulary.learn(texts, "word").tokens == ["b", "a", "c"]
    made = Vocabulary.learn(texts, "word", size=2)
    assert made.tokens == ["b", "a"] and made.encode("a c b").tolist() == [3, UNKNOWN, 2]
    assert Vocabulary.learn(texts, "word", least=2).tokens == ["b", "a"]
    assert made.unknown("a c d c") == ["c", "d"]
    assert Vocabulary.learn(["ab"], "character").encode("bxa").tolist() == [3, 1, 2]


def test_forms_of_a_word_are_one():
    made = Vocabulary.learn(["The iPhone THE the iphone"], "word", lower=True)
    assert made.tokens == ["the", "iphone"]
    assert made.encode("the The THE tHe iPhone IPHONE Iphone").tolist() == [2, 2, 2, 1, 3, 3, 3]
    start = Vocabulary.learn(["a cat, a dog"], "word", spaces=True)
    assert start.encode("cat")[0] == start.encode(" cat")[0] != UNKNOWN


def test_halves_of_characters_are_unknown(tmp_path):
    made = TextGenerator(units=4, epochs=1, random_state=1).fit("ab\ud800" * 30)
    made.save(tmp_path / "w.safetensors")
    assert load(tmp_path / "w.safetensors").vocabulary_["tokens"] == ["a", "b"]
    topics = TextClassifier(units=3, epochs=1, random_state=1).fit(["x \udc00y", "z"] * 9, [0, 1] * 9)
    topics.save(tmp_path / "c.safetensors")
    assert load(tmp_path / "c.safetensors").predict(["\ud800"]).shape == (1,)


def test_rows_are_padded():
    x, lengths = padded([np.array([2, 3], np.int32), np.array([], np.int32)])
    assert x.tolist() == [[2, 3], [0, 0]] and lengths.tolist() == [2, 0]


def test_texts_of_numpy_and_tuples():
    assert read_texts(np.array(["a", "b"])) == ["a", "b"] and all(type(t) is str for t in read_texts(np.array(["a"])))
    assert read_texts(("a", "b")) == ["a", "b"] and read_texts(text for text in "ab") == ["a", "b"]
    assert read_texts(np.array([["a"], ["b"]])) == ["a", "b"]
    with pytest.raises(ValueError, match="masked"):
        read_texts(np.ma.masked_array(["a", "b"], [0, 1]))
    with pytest.raises(TypeError, match=r"X\[0\]: expected a text, a str, got a bytes"):
        read_texts([b"a"])
