"""TextGenerator: what it learns, writes and says, and what it does with texts that are none."""

import copy
import itertools
import json
import math
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpp_tools
import rekur
from rekur.tasks import TextGenerator, load

RHYME = "the cat sat on the mat. the dog sat on the log. the cat saw the dog. "
TINY: dict[str, Any] = {"units": 32, "window": 16, "batch_size": 8, "epochs": 20, "learning_rate": 0.03}


@pytest.fixture(scope="module")
def writer() -> TextGenerator:
    return TextGenerator(random_state=1, **TINY).fit(RHYME * 60)


def test_a_rhyme_is_learned_and_goes_on(writer, capsys):
    assert writer.generate(RHYME + "the cat sat", 14, temperature=0) == " on the mat. t"
    assert writer.held_out_["bits_per_character"] < 0.5 and writer.held_out_["characters"] == 207
    assert writer.bits_per_character(RHYME) < 1 < writer.bits_per_character("the dog the dog on on mat")
    assert writer.score(RHYME) == -writer.bits_per_character(RHYME)
    text = writer.summary()
    assert capsys.readouterr().out.strip() == text
    for part in ("TextGenerator", "4,140 characters", "15 characters: ␣ t", "LSTM", "held out", "bits per character"):
        assert part in text


def test_what_is_drawn_goes_by_the_seed(writer):
    several = writer.generate(["the ", "a dog"], 30, seed=3, n=2, temperature=1.0)
    assert [len(row) for row in several] == [2, 2] and all(len(t) == 30 for row in several for t in row)
    assert several == writer.generate(["the ", "a dog"], 30, seed=3, n=2, temperature=1.0)
    assert several[0][0] == writer.generate("the ", 30, seed=3, temperature=1.0)
    assert several[0][0] == "".join(writer.stream("the ", 30, seed=3, temperature=1.0))
    assert writer.generate("the ", 30, seed=4, temperature=1.5) != several[0][0]
    begin = "".join(itertools.islice(writer.stream(seed=1), 5))
    assert begin == writer.generate("", 5, seed=1)
    assert writer.generate([], 5) == []
    again = TextGenerator(random_state=1, **TINY).fit(RHYME * 60)
    assert again.generate("the ", 30, seed=3) == writer.generate("the ", 30, seed=3)


def test_bits_are_the_networks(writer):
    tokens, bits = writer.surprise("the cat")
    assert tokens == list("the cat")
    ids = writer._vocabulary.encode("the cat")
    logits = writer.models_[0].predict(np.concatenate([[0], ids])[None, :-1], verbose=0)[0].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(bits, -np.log2(p[np.arange(7), ids]), rtol=1e-4, atol=1e-5)
    assert writer.bits_per_character("the cat") == pytest.approx(bits.mean())
    assert writer.perplexity("the cat") == pytest.approx(2 ** bits.mean())
    long = RHYME * 60
    assert len(writer.surprise(long)[1]) == len(long)


def test_what_was_never_read(writer):
    with pytest.warns(UserWarning, match=r"prompt: it has never read 'X', 'é'; each is taken for an unknown character"):
        assert len(writer.generate("XéX the ", 10, seed=1)) == 10
    with pytest.warns(UserWarning, match="X: 2 of 6 tokens never stood in what was learned, and are not counted"):
        bits = writer.bits_per_character("the Xé")
    assert 0 < bits < 10
    with pytest.warns(UserWarning, match="are not counted"), pytest.raises(ValueError, match="none of its tokens"):
        writer.score("é")
    drawn = "".join(writer.generate("", 200, n=3, seed=2, temperature=3.0))
    assert set(drawn) <= set(RHYME)  # neither what is unknown nor an end is ever written


def test_texts_with_ends(tmp_path):
    texts = ["red green blue", "red green black"] * 80
    writer = TextGenerator(random_state=2, validation_fraction=0.1, **TINY).fit(texts)
    assert set(writer.generate("", 100, n=8, seed=1, temperature=0.5)) <= set(texts)
    assert writer.generate("red green b", 100, temperature=0) in ("lue", "lack")
    assert "".join(writer.stream("red ", seed=1, temperature=0)) in ("green blue", "green black")
    assert not writer.through_ and writer.trained_on_["texts"] == 160
    assert writer.held_out_["tokens"] == writer.held_out_["characters"] + 16  # an end each
    same, spread = writer.diversity(["a b c d"] * 3), writer.diversity(["a b c", "d e f"])
    assert same["distinct_1"] == pytest.approx(1 / 3) and same["alike"] == 1
    assert spread["distinct_1"] == 1 and spread["alike"] == 0 and math.isnan(writer.diversity(["a"])["distinct_4"])


@pytest.mark.parametrize("level", ["word", "byte_pairs"])
def test_words_and_byte_pairs(level):
    text = "The Köln café, isn't it?\n" + RHYME.capitalize() * 40
    writer = TextGenerator(level, random_state=1, **{**TINY, "epochs": 60}).fit(text)
    assert writer._vocabulary.decode(writer._vocabulary.encode(text)) == text
    assert writer.generate("the cat sat on", 30, temperature=0).lower().startswith(" the mat. the dog sat")
    assert "".join(writer.stream("the", 20, seed=5)) == writer.generate("the", 20, seed=5)
    assert 0 < writer.bits_per_character(RHYME) < 2
    unknown = TextGenerator("word", max_tokens=6, random_state=1, **TINY).fit(text)
    assert len(unknown.vocabulary_["tokens"]) == 6 and unknown.unknown_ > 0
    assert "\N{REPLACEMENT CHARACTER}" not in unknown.generate("", 200, seed=1, temperature=1.0)
    assert "in no vocabulary of this size" in unknown.summary()


def test_a_file_is_read(tmp_path):
    path = tmp_path / "rhyme.txt"
    path.write_text(RHYME * 20, encoding="utf-8")
    options = {**TINY, "epochs": 1}
    writer = TextGenerator(random_state=1, **options).fit(path)
    assert writer.generate("the", 9, seed=1) == TextGenerator(random_state=1, **options).fit(RHYME * 20).generate(
        "the", 9, seed=1
    )
    with pytest.raises(ValueError, match=r"is the name of a file: pass pathlib\.Path"):
        TextGenerator().fit(str(path))
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="no UTF-8 text"):
        TextGenerator().fit(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        TextGenerator().fit(path)
    with pytest.raises(OSError):
        TextGenerator().fit(tmp_path / "none.txt")


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_it_comes_back(writer, tmp_path, way):
    if way == "file":
        writer.save(tmp_path / "writer.safetensors")
        other = load(tmp_path / "writer.safetensors")
    else:
        other = pickle.loads(pickle.dumps(writer)) if way == "pickle" else copy.deepcopy(writer)
    assert type(other) is TextGenerator and other.get_params() == writer.get_params()
    assert other.generate("the ", 30, seed=3) == writer.generate("the ", 30, seed=3)
    assert other.held_out_ == writer.held_out_ and other.summary() == writer.summary()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "got None"),
        (3, "expected texts, a list of str, got 3"),
        ("", "the text is empty"),
        ([], "expected 1 text or more, got 0"),
        (["", ""], "all 2 texts are empty"),
        (["a", None], r"X\[1\]: expected a text, a str, got None: a missing text"),
        (["a", float("nan")], r"X\[1\]: .*missing"),
        (["a", 3], r"X\[1\]: expected a text, a str, got 3"),
        ({"a": "b"}, "got a dict"),
        (np.array([["a", "b"]]), r"shape \(1, 2\)"),
        ("a", "1 token to learn from"),
    ],
)
def test_what_is_no_text(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TextGenerator(epochs=1).fit(given)


@pytest.mark.parametrize(
    "setting",
    [
        {"level": "letters"}, {"units": 0}, {"units": ()}, {"cell": "lstn"}, {"cell": 3}, {"embedding": 0},
        {"dropout": 1.0}, {"epochs": 0}, {"batch_size": 0}, {"window": 1}, {"learning_rate": 0}, {"patience": 0},
        {"validation_fraction": 1.0}, {"validation_fraction": -0.1}, {"max_tokens": 0}, {"min_count": 0},
        {"precision": "fp8"}, {"random_state": -1}, {"verbose": -1},
        {"level": "byte_pairs", "max_tokens": 100},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_named(setting):
    name = list(setting)[-1]
    with pytest.raises((TypeError, ValueError), match=f"TextGenerator: {name}"):
        TextGenerator(**setting).fit(RHYME)


def test_settings_make_a_difference():
    made = TextGenerator(
        "character", units=(8, 6), cell="gru", embedding=5, dropout=0.2, epochs=2, batch_size=2, window=10,
        validation_fraction=0, max_tokens=10, precision="bf16", random_state=np.random.default_rng(1),
    ).fit(RHYME * 3)  # fmt: skip
    shapes = [w.shape for w in made.models_[0].get_weights()]
    assert shapes[0] == (12, 5) and shapes[-1] == (12,)
    assert made.held_out_ is None and "val_loss" not in made.history_ and len(made.history_["loss"]) == 2
    assert [type(layer).__name__ for layer in made.models_[0].layers].count("GRU") == 2
    with pytest.raises(rekur.tasks.NotFittedError):
        TextGenerator().generate("a")
    with pytest.raises(ValueError, match="length"):
        made.generate("the", 0)
    with pytest.raises(ValueError, match="temperature"):
        made.generate("the", 3, temperature=-1)
    with pytest.raises((TypeError, ValueError), match="prompt"):
        made.generate(3)
    with pytest.raises(ValueError, match=r"prompt\[1\]"):
        made.generate(["a", None])


def test_pictures(writer):
    pytest.importorskip("matplotlib")
    assert writer.plot().axes and writer.plot("the cat").axes


def test_scikit_learn_takes_it():
    base = pytest.importorskip("sklearn.base")
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    assert base.clone(TextGenerator(units=7)).units == 7
    checks.check_estimator(TextGenerator(units=4, epochs=1), on_fail="raise")


def test_series_of_frames():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    options = {**TINY, "epochs": 1, "random_state": 1}
    texts = ["red green", "red blue"] * 8
    right = TextGenerator(**options).fit(texts).generate("r", 8, seed=1)
    for given in (pandas.Series(texts), polars.Series(texts), np.array(texts), pandas.DataFrame({"a": texts})):
        assert TextGenerator(**options).fit(given).generate("r", 8, seed=1) == right
    with pytest.raises(ValueError, match=r"X\[1\]: .*missing"):
        TextGenerator().fit(pandas.Series(["a", None]))


def test_what_a_file_may_hold(writer, tmp_path: Path):
    for broken in ({"tokens": ["a", "a"]}, {"tokens": ["ab"]}, {"level": "x"}):
        other = copy.deepcopy(writer)
        other.vocabulary_ = {**other.vocabulary_, **broken}
        other.save(tmp_path / "w.safetensors")
        with pytest.raises(ValueError):
            load(tmp_path / "w.safetensors").generate("a", 1)


# Elsewhere.


def _session(path: Path) -> Any:
    ort = pytest.importorskip("onnxruntime")
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("kind", ["one text", "texts with ends", "byte pairs"])
def test_a_step_in_onnx_writes_the_same(tmp_path, kind):
    level = "byte_pairs" if kind == "byte pairs" else "character"
    given = ["red green blue é", "red green black"] * 40 if kind == "texts with ends" else RHYME * 20 + "é日"
    writer = TextGenerator(level, random_state=1, **{**TINY, "epochs": 6}).fit(given)
    path = tmp_path / "writer.onnx"
    report = writer.export_onnx(path)
    assert {name: dtype for name, dtype, _ in report.inputs}["token"] == "string"
    session = _session(path)
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["ends"]) is (kind == "texts with ends")
    pairs = json.loads(said["states"])
    sizes = {value.name: value.shape[1:] for value in session.get_inputs()}
    states = {before: np.zeros((1, *sizes[before]), np.float32) for before, _ in pairs}
    names = [value.name for value in session.get_outputs()]

    def after(token: str) -> str:
        feed = {"token": np.array([token], object), "temperature": np.array(0, np.float32), "draw": np.float32([0.5])}
        found = dict(zip(names, session.run(None, {**feed, **states}), strict=True))
        states.update({before: found[later] for before, later in pairs})
        return str(found["next"][0])

    begin = "red" if kind == "texts with ends" else "the"
    for token in [*([""] if kind == "texts with ends" else []), *writer._vocabulary.split(begin)]:
        following = after(token)
    written = []
    while following and len(written) < 12:
        written.append(following)
        following = after(following)
    text = "".join(written).encode("latin-1").decode() if level == "byte_pairs" else "".join(written)
    assert text == writer.generate(begin, 12, temperature=0)


def test_what_onnx_draws_is_as_often_as_it_is_probable(writer, tmp_path):
    writer.export_onnx(tmp_path / "w.onnx")
    session = _session(tmp_path / "w.onnx")
    sizes = {v.name: v.shape[1:] for v in session.get_inputs()}
    pairs = json.loads(session.get_modelmeta().custom_metadata_map["states"])
    draws = (np.arange(2000) / 2000).astype(np.float32)
    states = {before: np.zeros((2000, *sizes[before]), np.float32) for before, _ in pairs}
    feed = {"token": np.full(2000, " ", object), "temperature": np.array(2.0, np.float32), "draw": draws, **states}
    drawn, probabilities = session.run(["next", "probabilities"], feed)
    tokens = json.loads(session.get_modelmeta().custom_metadata_map["tokens"])
    shares = np.array([np.mean(drawn == token) for token in tokens])
    np.testing.assert_allclose(shares, probabilities[0], atol=2e-3)
    assert shares[:2].tolist() == [0, 0]


def test_labels_in_onnx_are_those_of_generate(writer, tmp_path):
    pytest.importorskip("onnxruntime")
    writer.export_onnx(tmp_path / "w.onnx", strings=False)
    prompt = writer._vocabulary.encode("the cat")
    labels = rekur.onnx.generate(tmp_path / "w.onnx", prompt, 20, temperature=0.7, seed=5)
    assert writer._vocabulary.decode(labels) == writer.generate("the cat", 20, seed=5)
    said = _session(tmp_path / "w.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(said["vocabulary"])["tokens"][2:] == writer.vocabulary_["tokens"]
    with pytest.raises(ValueError, match=r"\.onnx"):
        writer.export_onnx(tmp_path / "w.safetensors")
    with pytest.raises(TypeError, match="strings"):
        writer.export_onnx(tmp_path / "w.onnx", strings=2)


PROGRAM = """
#include <cstdio>
#include <rekur/decode.hpp>
#include "writer.hpp"

int main() {
  const rekur::Model network = writer::model();
  rekur::Generator generator(network);
  for (const char* c = "the "; *c != 0; ++c) {
    const std::int32_t label = writer::label({c, 1});
    if (label < 2 || !generator.read({&label, 1})) return 1;
  }
  if (writer::label("?") != 1 || writer::ends) return 2;
  for (int i = 0; i < 30; ++i) {
    std::int32_t label;
    if (!generator.next({.temperature = 0.7f, .seed = 3}, {&label, 1})) return 3;
    std::printf("%.*s", static_cast<int>(writer::tokens[label].size()), writer::tokens[label].data());
  }
}
"""


def test_a_header_of_cpp_writes_the_same(writer, tmp_path):
    writer.export_cpp(tmp_path / "writer.hpp")
    text = (tmp_path / "writer.hpp").read_text()
    assert '{" ", 1},' in text and "tokens[]" in text and "#include <string_view>" in text
    library = cpp_tools.library()
    (tmp_path / "main.cpp").write_text(PROGRAM)
    library.compile(tmp_path / "main.cpp", tmp_path / "main", link=True)
    ran = subprocess.run([tmp_path / "main"], capture_output=True, check=True, text=True, timeout=60)
    assert ran.stdout == writer.generate("the ", 30, seed=3)


def test_a_file_scores_as_what_was_trained_in_bf16(tmp_path):
    made = TextGenerator(random_state=1, **{**TINY, "epochs": 2, "precision": "bf16"}).fit(RHYME * 20)
    made.save(tmp_path / "w.safetensors")
    assert load(tmp_path / "w.safetensors").score(RHYME) == made.score(RHYME)


def test_what_is_unknown_is_the_mean_of_what_is_known(writer):
    table = writer.models_[0].get_weights()[0]
    learned = RHYME * 60
    ids = writer._vocabulary.encode(learned[: len(learned) - writer.held_out_["tokens"]])
    np.testing.assert_allclose(table[1], table[ids].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_rows_go_on_where_others_end():
    from rekur.tasks.text._generating import arranged, split_texts

    ids = np.arange(2, 1000, dtype=np.int32)
    data, windows = arranged([ids], True, 4, 16)
    x, y, lengths = data["x"], data["y"], data["lengths"]
    read = np.concatenate([row[:n] for row, n in zip(x, lengths, strict=True)])
    said = np.concatenate([row[:n] for row, n in zip(y, lengths, strict=True)])
    np.testing.assert_array_equal(read, [0, *ids[:-1]])
    np.testing.assert_array_equal(said, ids)
    assert x.shape == (4, 250) and windows == 16
    data, _ = arranged([ids[:3], ids[3:5]], False, 4, 16)
    assert data["x"].tolist() == [[0, 2, 3, 4, 0, 5, 6]] and data["y"].tolist() == [[2, 3, 4, 0, 5, 6, 0]]
    learned, tail = split_texts([ids], 0.1, True)
    assert len(learned[0]) == 898 and tail[0][0] == 900
    learned, tail = split_texts([ids[:50], ids[50:60], ids[60:100]], 0.1, False)
    assert [len(part) for part in learned] == [50, 10] and len(tail) == 1


def test_unknown_words_make_no_text_cheaper() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{k}" for k in rng.integers(0, 12, 600)]
    model = TextGenerator(level="word", units=8, epochs=2, random_state=1).fit(" ".join(words))
    known = " ".join(words[:40])
    with pytest.warns(UserWarning, match="never stood"):
        more = model.bits_per_character(known + " " + " ".join(f"unheard-of-{k}" for k in range(40)))
    assert more == pytest.approx(model.bits_per_character(known), rel=0.3)
