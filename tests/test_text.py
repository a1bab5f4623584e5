"""Text as ids and back: Keras's numbers, a tokenizer in the model's file."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest

import rekur
from rekur import layers
from rekur.data import TextVectorization, byte_pairs

TEXTS = ["The cat sat; the dog ran.", "the end!", "A cat, a cat: twice"]


def test_the_vocabulary_is_by_frequency_and_of_equals_the_last_in_the_alphabet():
    text = TextVectorization()
    text.adapt(TEXTS)
    # the 3, cat 3, a 2, and six that come once: as Keras 3 sorts them.
    assert text.get_vocabulary() == ["", "[UNK]", "the", "cat", "a", "twice", "sat", "ran", "end", "dog"]
    np.testing.assert_array_equal(text(["the cat flew", "a DOG"]), [[2, 3, 1], [4, 9, 0]])
    assert text("the cat").shape == (2,) and text("the cat").dtype == np.int32
    limited = TextVectorization(max_tokens=4, output_sequence_length=2)
    limited.adapt(iter([TEXTS[:1], TEXTS[1:]]))
    assert limited.get_vocabulary() == ["", "[UNK]", "the", "cat"]
    np.testing.assert_array_equal(limited([["the cat sat"], ["x"]]), [[2, 3], [1, 0]])


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"standardize": None}, ["The", "cat,", "THE", "end"]),
        ({"standardize": "lower"}, ["the", "cat,", "the", "end"]),
        ({"standardize": "strip_punctuation"}, ["The", "cat", "THE", "end"]),
        ({"standardize": str.upper}, ["THE", "CAT,", "THE", "END"]),
        ({"split": "character"}, list("the cat the end")),
        ({"split": None}, ["the cat the end"]),
        ({"split": lambda t: t.split(" the ")}, ["the cat", "end"]),
        ({"ngrams": 2}, ["the", "cat", "the", "end", "the cat", "cat the", "the end"]),
        ({"ngrams": (3,)}, ["the cat the", "cat the end"]),
    ],
)
def test_texts_become_tokens_as_settings_say(options, tokens):
    text = TextVectorization(vocabulary=sorted(set(tokens)), **options)
    vocabulary = text.get_vocabulary()
    assert [vocabulary[k] for k in text("The cat, THE end")] == tokens


def test_numbers_of_entries_are_those_of_keras():
    made = {mode: TextVectorization(output_mode=mode) for mode in ("multi_hot", "count", "tf_idf")}
    for text in made.values():
        text.adapt(["a b", "a c"])
        assert text.get_vocabulary() == ["[UNK]", "a", "c", "b"]
    np.testing.assert_array_equal(made["multi_hot"](["a a z"]), [[1, 1, 0, 0]])
    np.testing.assert_array_equal(made["count"](["a a z"]), [[1, 2, 0, 0]])
    idf = np.log([1 + 2 / 3, 1 + 2 / 2, 1 + 2 / 2])
    np.testing.assert_allclose(made["tf_idf"](["a a z"]), [[idf.mean(), 2 * idf[0], 0, 0]], rtol=1e-6)
    assert TextVectorization(9, output_mode="count", pad_to_max_tokens=True, vocabulary=["a"])("a").shape == (9,)


@pytest.mark.parametrize("split", ["whitespace", "character", "byte_pairs"])
def test_detokenize_gives_the_text_of_ids_back(split):
    text = TextVectorization(split=split, standardize=None)
    text.adapt(TEXTS)
    assert text.detokenize(text(TEXTS)) == TEXTS
    assert text.detokenize(text(TEXTS[0])) == TEXTS[0]
    with pytest.raises(ValueError, match="expected ids from 0 to"):
        text.detokenize([10_000])


def test_byte_pairs_know_every_text_and_lose_nothing():
    text = TextVectorization(max_tokens=300, split="byte_pairs", standardize=None)
    corpus = ["low lower lowest  newer\nwider new \t"] * 4
    text.adapt(corpus)
    assert text.vocabulary_size() <= 300
    foreign = "日本語, naïve 🎉  \n tab\t"
    assert text.detokenize(text(foreign)) == foreign
    assert len(text(corpus[0])) < len(corpus[0]) / 2
    assert not (text(foreign) == 1).any()


def test_byte_pairs_are_the_most_frequent_pairs_in_turn():
    counts = {"abab": 3, "abc": 2, "bc": 1}
    found = byte_pairs.learn(counts, None)[256:]
    words = {word: list(word) for word in counts}
    for expected in found:  # from the definition: count all pairs anew, join the most frequent
        pairs = {}
        for word, symbols in words.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] = pairs.get(pair, 0) + counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        assert "".join(best) == expected
        words = {word: byte_pairs._joined(symbols, best) for word, symbols in words.items()}
    assert found == ["ab", "abab", "abc"]


def test_a_model_s_file_and_copies_carry_its_tokenizer(tmp_path):
    text = TextVectorization(split="byte_pairs", max_tokens=270, output_sequence_length=20)
    text.adapt(TEXTS)
    model = rekur.Sequential([layers.Embedding(text.vocabulary_size(), 4, mask_zero=True), layers.LSTM(3)])
    model.predict(text(TEXTS))
    model.tokenizer = text
    for name, save in (("a.safetensors", model.save), ("b.safetensors", model.save_weights)):
        save(tmp_path / name)
        again = rekur.load(tmp_path / name)
        assert again.tokenizer.get_config() == text.get_config()
        np.testing.assert_array_equal(again.predict(again.tokenizer(TEXTS)), model.predict(text(TEXTS)))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.tokenizer(TEXTS), text(TEXTS))
    model.tokenizer = {"encoder": text, "decoder": TextVectorization(vocabulary=["a"])}
    model.save(tmp_path / "a.safetensors")
    assert rekur.load(tmp_path / "a.safetensors").tokenizer["decoder"].get_vocabulary() == ["", "[UNK]", "a"]
    json.dumps(text.get_config())


def test_what_no_file_can_hold_is_refused_when_it_is_set():
    model = rekur.Sequential([layers.Embedding(4, 2), layers.LSTM(2)])
    with pytest.raises(TypeError, match="split is a function"):
        model.tokenizer = TextVectorization(split=str.split, vocabulary=["a"])
    with pytest.raises(TypeError, match=r"tokenizer: expected a rekur\.data\.TextVectorization"):
        model.tokenizer = "words"
    with pytest.raises(TypeError, match=r"model\.tokenizer"):
        rekur.Sequential([layers.TextVectorization(vocabulary=["a"])])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextVectorization()("a"), r"call adapt\(texts\) or set_vocabulary first"),
        (lambda: TextVectorization(standardize="lowr"), "did you mean 'lower'"),
        (lambda: TextVectorization(output_mode="count", output_sequence_length=3), "for output_mode='int'"),
        (lambda: TextVectorization(vocabulary=["a", "a"]), "'a' is there twice"),
        (lambda: TextVectorization(vocabulary=["a"], max_tokens=2), "do not fit into max_tokens=2"),
        (lambda: TextVectorization(vocabulary=["a"], output_mode="tf_idf"), "idf_weights go with"),
        (lambda: TextVectorization(split="byte_pairs", vocabulary=["a"]), "begin with the 256 bytes"),
        (lambda: TextVectorization().adapt([]), "there is no text"),
    ],
)
def test_what_does_not_fit_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="expected text"):
        TextVectorization(vocabulary=["a"])([3])
    with pytest.raises(TypeError, match="has no argument 'sparse': numbers of entries"):
        TextVectorization(sparse=True)


def test_rows_of_several_texts_are_refused():
    text = TextVectorization(vocabulary=["a", "b"])
    assert text([["a"], ["b"]]).shape == (2, 1)
    with pytest.raises(ValueError, match="got 2 rows of 4 texts"):
        text([["a", "b"], ["b", "a"]])
