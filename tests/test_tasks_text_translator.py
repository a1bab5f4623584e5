"""Translator: what it learns and writes, where it looks, and what it does with pairs that are none."""

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from rekur.tasks import NotFittedError, Translator, load
from rekur.tasks.text import Translation

TINY: dict[str, Any] = {"units": 32, "embedding": 12, "epochs": 12, "random_state": 1}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun")


def dates(count: int, seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    days, months = rng.integers(1, 29, count), rng.integers(1, 7, count)
    sources = [f"{day} {MONTHS[month - 1]}" for day, month in zip(days, months, strict=True)]
    return sources, [f"{month:02}-{day:02}" for day, month in zip(days, months, strict=True)]


X, Y = dates(700, 0)
X_TEST, Y_TEST = dates(80, 1)


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(**TINY).fit(X, Y)


def test_dates_are_translated(translator, capsys):
    assert translator.score(X_TEST, Y_TEST) > 0.95
    written = translator.predict(X_TEST)
    assert written.shape == (80,) and written.dtype == object and isinstance(written[0], str)
    scores = translator.scores(X_TEST, Y_TEST)
    assert scores["exact"] == np.mean(written == np.array(Y_TEST, object))
    assert set(scores) == {"exact", "character_error_rate", "word_error_rate", "bleu"}
    assert translator.scores(["3 May"], ["05-04"])["character_error_rate"] == pytest.approx(0.2)
    assert translator.held_out_["pairs"] == 35 and translator.held_out_["exact"] > 0.9
    text = translator.summary()
    assert capsys.readouterr().out.strip() == text
    for part in ("characters to characters", "700 pairs", "exactly right", "AttentionRNN"):
        assert part in text


def test_the_most_probable_first(translator):
    found = translator.translate("17 Mar", n=3)
    assert [type(one) for one in found] == [Translation] * 3 and found[0].text == "03-17"
    assert found[0].score > found[1].score > found[2].score
    assert len({one.text for one in found}) == 3
    many = translator.translate(["17 Mar", "5 Jun"], n=2)
    assert [row[0].text for row in many] == ["03-17", "06-05"] and many[0][0].score == pytest.approx(found[0].score)
    assert translator.translate(["17 Mar", "5 Jun"]) == ["03-17", "06-05"] and translator.translate("5 Jun") == "06-05"
    assert translator.translate("5 Jun", beam_width=1) == "06-05" and translator.translate([]) == []
    copied = copy.deepcopy(translator).set_params(max_length=2)
    assert copied.translate("5 Jun") == "06"
    again = Translator(**TINY).fit(X, Y)
    assert again.translate("17 Mar", n=3) == found


def test_where_it_looks(translator):
    found = translator.alignment("17 Mar")
    assert found.source == list("17 Mar") and found.written == list("03-17")
    assert found.weights.shape == (5, 6)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-5)
    other = translator.alignment("17 Mar", "03")
    np.testing.assert_allclose(other.weights, found.weights[:2], rtol=1e-4, atol=1e-6)
    assert translator.alignment("17 Mar", "").weights.shape == (0, 6)


def test_words_and_names_that_were_never_met():
    rng = np.random.default_rng(0)
    names = [f"name{k}" for k in range(300)]
    rows = [(str(rng.choice(names)), str(rng.choice(["sees", "hears"])), str(rng.choice(names))) for _ in range(600)]
    sources = [f"{a} {verb} {b}" for a, verb, b in rows]
    targets = [f"{b} is {'seen' if verb == 'sees' else 'heard'} by {a}." for a, verb, b in rows]
    made = Translator("word", units=32, embedding=16, epochs=14, min_count=2, random_state=1).fit(sources, targets)
    assert made.translate("Quaggle sees Thwump") == "Thwump is seen by Quaggle."
    assert "\N{REPLACEMENT CHARACTER}" in made.set_params(copy_unknown=False).translate("Quaggle sees Thwump")
    assert "have tokens that are not in the vocabulary" in made.summary()


def test_levels_of_both_sides():
    sources, targets = ["one", "two", "three", "one two"] * 30, ["1 unit", "2 units", "3 units", "12 units"] * 30
    options = {**TINY, "epochs": 40}
    made = Translator("character", "word", **options).fit(sources, targets)
    assert made.source_vocabulary_["level"] == "character" and made.target_vocabulary_["level"] == "word"
    assert made.predict(sources[:4]).tolist() == targets[:4]
    pairs = Translator("byte_pairs", **options).fit(sources, ["Größe", "naïve", "日本", "ok"] * 30)
    assert pairs.predict(["two", "three"]).tolist() == ["naïve", "日本"]
    assert pairs.alignment("two").weights.shape[1] == len(pairs.alignment("two").source)


@pytest.mark.parametrize(
    "setting", [{"cell": "gru"}, {"attention": "bahdanau"}, {"dropout": 0.1, "validation_fraction": 0}], ids=str
)
def test_networks_of_other_kinds(setting):
    made = Translator(**{**TINY, "epochs": 8, **setting}).fit(X, Y)
    assert made.scores(X_TEST, Y_TEST)["character_error_rate"] < 0.35
    assert (made.held_out_ is None) == ("validation_fraction" in setting)
    assert made.summary()


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_it_comes_back(translator, tmp_path, way):
    if way == "file":
        translator.save(tmp_path / "dates.safetensors")
        other = load(tmp_path / "dates.safetensors")
    else:
        other = pickle.loads(pickle.dumps(translator)) if way == "pickle" else copy.deepcopy(translator)
    assert type(other) is Translator and other.get_params() == translator.get_params()
    assert other.translate("17 Mar", n=3) == translator.translate("17 Mar", n=3)
    np.testing.assert_array_equal(other.alignment("17 Mar").weights, translator.alignment("17 Mar").weights)
    assert other.summary() == translator.summary()


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        (None, ["a"], "X: .*got None"),
        ("text", ["a"], r"X: .*\[text\] is a list of it"),
        (["a"], "text", r"y: .*\[text\] is a list of it"),
        (["a"], None, "requires y to be passed"),
        ([], [], "X: expected 1 text or more"),
        (["a", ""], ["a", "b"], r"X\[1\]: the text is empty"),
        (["a", "b"], ["a", None], r"y\[1\]: .*missing"),
        (["a", "b"], ["a"], r"inconsistent numbers of samples: \[2, 1\]"),
        (["a", "b"], ["a", 3], r"y\[1\]: .*got 3"),
    ],
    ids=str,
)
def test_what_cannot_be_learned_from(sources, targets, message):
    with pytest.raises((TypeError, ValueError), match=f"Translator.*{message}"):
        Translator(epochs=1).fit(sources, targets)


@pytest.mark.parametrize(
    "setting",
    [
        {"level": "letters"}, {"target_level": "letters"}, {"units": 1}, {"cell": "lstn"}, {"embedding": 0},
        {"attention": "multi_head"}, {"dropout": 1.0}, {"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0},
        {"validation_fraction": 1.0}, {"patience": 0}, {"max_tokens": 0}, {"min_count": 0}, {"copy_unknown": 2},
        {"beam_width": 0}, {"length_penalty": -1}, {"max_length": 0}, {"random_state": -1}, {"verbose": -1},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_named(setting):
    with pytest.raises((TypeError, ValueError), match=rf"Translator: {next(iter(setting))}"):
        Translator(**setting).fit(X, Y)


def test_what_is_asked_wrongly(translator):
    with pytest.raises(NotFittedError):
        Translator().translate("a")
    with pytest.raises(ValueError, match=r"text\[1\]"):
        translator.translate(["a", None])
    with pytest.raises(ValueError, match="n"):
        translator.translate("a", n=0)
    with pytest.raises(ValueError, match="inconsistent"):
        translator.score(["a"], ["b", "c"])
    assert translator.translate("") == "" or isinstance(translator.translate(""), str)


def test_pictures(translator):
    pytest.importorskip("matplotlib")
    assert translator.plot().axes and translator.plot("17 Mar").axes


def test_scikit_learn_takes_it():
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.utils.estimator_checks import check_estimator

    made = Translator(**{**TINY, "units": 4, "epochs": 1})
    assert clone(made).get_params() == made.get_params()
    check_estimator(made.set_params(validation_fraction=0), on_fail="raise")
    search = GridSearchCV(made, {"units": [4, 6]}, cv=2).fit(np.array(X[:20], object), np.array(Y[:20], object))
    assert search.predict(X[:3]).shape == (3,)


# Elsewhere.


@pytest.mark.parametrize("tokens", [False, True])
def test_texts_in_and_texts_out_in_onnx(translator, tmp_path, tokens):
    ort = pytest.importorskip("onnxruntime")
    report = translator.export_onnx(tmp_path / "dates.onnx", tokens=tokens)
    assert [name for name, _, _ in report.outputs] == ["translation"] and report.opset == 20
    session = ort.InferenceSession(str(tmp_path / "dates.onnx"), providers=["CPUExecutionProvider"])
    feed = {"text": np.array(X_TEST, object)}
    if tokens:
        rows = [list(text) for text in X_TEST]
        feed = {"characters": np.array([row + [""] * (9 - len(row)) for row in rows], object)}
    (found,) = session.run(None, feed)
    assert found.tolist() == translator.translate(X_TEST, beam_width=1)
    assert np.mean(found == np.array(Y_TEST, object)) > 0.9


def test_names_are_copied_in_onnx(tmp_path):
    ort = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    rows = [(f"n{a}", f"n{b}") for a, b in rng.integers(0, 200, (500, 2))]
    sources = [f"{a} and {b}" for a, b in rows]
    targets = [f"{b}, then {a}" for a, b in rows]
    made = Translator("word", units=24, embedding=16, epochs=14, min_count=2, random_state=1).fit(sources, targets)
    made.export_onnx(tmp_path / "names.onnx")
    session = ort.InferenceSession(str(tmp_path / "names.onnx"), providers=["CPUExecutionProvider"])
    texts = ["Quag and Thwump", "n1 and Ärö", "one two three four five six seven eight nine ten"]
    (found,) = session.run(None, {"text": np.array(texts, object)})
    assert found.tolist() == made.translate(texts, beam_width=1)
    assert found[0] == "Thwump, then Quag"


def test_an_encoder_and_a_decoder_in_onnx(translator, tmp_path):
    onnx = pytest.importorskip("onnx")
    report = translator.export_onnx(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx")
    assert report.decoded == 5
    kept = {entry.key: entry.value for entry in onnx.load(tmp_path / "decoder.onnx").metadata_props}
    said = json.loads(kept["vocabulary"])
    assert said["target"]["tokens"][:2] == ["", "\N{REPLACEMENT CHARACTER}"] and said["source"]["ids"]["J"] >= 2
    with pytest.raises(ValueError, match="tokens=True is of one file"):
        translator.export_onnx(tmp_path / "e.onnx", tmp_path / "d.onnx", tokens=True)
    pairs = Translator("byte_pairs", **{**TINY, "epochs": 1}).fit(X, Y)
    with pytest.raises(ValueError, match="byte pairs are bytes"):
        pairs.export_onnx(tmp_path / "p.onnx")
    pairs.export_onnx(tmp_path / "e.onnx", tmp_path / "d.onnx")
    with pytest.raises(ValueError, match="opset 20"):
        translator.export_onnx(tmp_path / "p.onnx", opset=17)
    assert not (tmp_path / "p.onnx").exists()
