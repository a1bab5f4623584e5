"""Generation whole: a model of Python's manual writes the same from Python, C++ and ONNX; a grammar, dates learnt."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from pydoc_data import topics

import numpy as np
import pytest

import cpp_tools
import rekur
from rekur import layers

MANUAL = re.sub(r"\s+", " ", " ".join(topics.topics[name] for name in sorted(topics.topics)))[:60_000].lower()
LETTERS = sorted(set(MANUAL))
PROMPT, STEPS = [LETTERS.index(c) for c in "the statement "], 200


@pytest.fixture(scope="module")
def writer() -> rekur.Model:
    ids = np.array([LETTERS.index(c) for c in MANUAL], np.int32)
    x, y = (ids[k : k + 50 * (len(ids) // 50 - 1)].reshape(-1, 50) for k in (0, 1))
    model = rekur.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(len(LETTERS), 24),
            layers.GRU(96, return_sequences=True),
            layers.Dense(len(LETTERS), activation="softmax"),
        ],
        seed=1,
    )
    model.compile(rekur.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=6, batch_size=16, verbose=0)
    assert history.history["loss"][-1] < 2.0
    return model


SETTINGS = (
    {"temperature": 0.8},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 0.7, "top_p": 0.9},
)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s))
def test_the_same_characters_from_python_and_onnx(writer, settings, tmp_path):
    expected = rekur.generate(writer, PROMPT, STEPS, seed=7, **settings)
    assert len(expected) == STEPS
    assert list(rekur.Generator(writer, seed=7).stream(PROMPT, STEPS, **settings)) == list(expected)
    path = tmp_path / "writer.onnx"
    rekur.onnx.export(writer, path, streaming=True)
    found = rekur.onnx.generate(path, PROMPT, STEPS, seed=7, **settings)
    np.testing.assert_array_equal(found, expected)
    several = rekur.onnx.generate(path, [PROMPT, PROMPT[:3]], 20, seed=7, end=LETTERS.index("."), **settings)
    right = rekur.generate(writer, [PROMPT, PROMPT[:3]], 20, seed=7, end=LETTERS.index("."), **settings)
    np.testing.assert_array_equal(several, right)


def test_files_of_another_kind_are_refused(writer, tmp_path):
    path = tmp_path / "writer.onnx"
    rekur.onnx.export(writer, path)
    with pytest.raises(ValueError, match="streaming=True"):
        rekur.onnx.generate(path, PROMPT, 3)
    rekur.onnx.export(writer, path, streaming=True)
    with pytest.raises(ValueError, match=r"repetition_penalty divides logits, and the output of .* is a softmax"):
        rekur.onnx.generate(path, PROMPT, 3, repetition_penalty=1.1)
    with pytest.raises(ValueError, match="a row is empty"):
        rekur.onnx.generate(path, [PROMPT, []], 3)
    with pytest.raises(ValueError, match="expected labels from 0 to"):
        rekur.onnx.generate(path, [len(LETTERS)], 3)


PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include <rekur/decode.hpp>

int main(int, char** arguments) {
  const rekur::Model model = rekur::Model::load(arguments[1]);
  rekur::Generator generator(model);
  for (char** label = arguments + 2; *label != nullptr; ++label) {
    const std::int32_t one = std::atoi(*label);
    if (!generator.read({&one, 1})) return 1;
  }
  const rekur::Sampling how = {.temperature = 0.8f, .seed = 7};
  for (int i = 0; i < 200; ++i) {
    std::int32_t label;
    if (!generator.next(how, {&label, 1})) return 2;
    std::printf("%d ", label);
  }
}
"""


def test_the_same_characters_from_cpp(writer, common_isa, tmp_path: Path):
    library = cpp_tools.library()
    if not library.config["EXCEPTIONS"]:
        pytest.skip("the library's functions do not throw")
    source, program, model = tmp_path / "writes.cpp", tmp_path / "writes", tmp_path / "writer.safetensors"
    source.write_text(PROGRAM)
    library.compile(source, program, link=True)
    writer.save(model)
    printed = subprocess.run(
        [program, model, *map(str, PROMPT)], capture_output=True, check=True, text=True, timeout=60
    ).stdout
    np.testing.assert_array_equal(
        [int(label) for label in printed.split()], rekur.generate(writer, PROMPT, STEPS, temperature=0.8, seed=7)
    )


# --- a tiny grammar: sentences into the passive ---

NOUNS, VERBS = ("cat", "dog", "bird", "child", "king", "fox"), {"sees": "seen", "takes": "taken", "hears": "heard"}
WORDS = ["<pad>", "<start>", "<end>", "the", "a", "is", "by", "old", "small", *NOUNS, *VERBS, *VERBS.values()]


def _sentences(count, seed):
    rng = np.random.default_rng(seed)

    def phrase():
        found = [rng.choice(["the", "a"])]
        found += [rng.choice(["old", "small"])] if rng.random() < 0.5 else []
        return [*found, rng.choice(NOUNS)]

    sources, targets = [], []
    for _ in range(count):
        subject, verb, thing = phrase(), rng.choice(list(VERBS)), phrase()
        sources.append([WORDS.index(w) for w in [*subject, verb, *thing]])
        targets.append([WORDS.index(w) for w in [*thing, "is", VERBS[verb], "by", *subject]])
    lengths = np.array([len(row) for row in sources], np.int32)
    padded = np.zeros((count, 7), np.int32)
    for row, source in zip(padded, sources, strict=True):
        row[: len(source)] = source
    return padded, targets, lengths


def _translator(classes, kind):
    source, before = layers.Input((None,), dtype="int32"), layers.Input((None,), dtype="int32")
    memory, h, c = layers.LSTM(64, return_sequences=True, return_state=True)(layers.Embedding(classes, 16)(source))
    decoder = layers.AttentionRNN(layers.LSTMCell(64), kind, attention_size=64, return_sequences=True)
    y = decoder(layers.Embedding(classes, 16)(before), memory, initial_state=[h, c])
    model = rekur.Model([source, before], layers.Dense(classes, activation="softmax")(y), seed=1)
    translator = rekur.Seq2Seq(model, start=1, end=2)
    translator.compile(rekur.optimizers.Adam(0.01))
    return translator


def _exact(translator, x, targets, lengths):
    labels, _ = translator.decode(x, lengths=lengths, beam_width=3)
    return np.mean([list(row[row >= 0]) == list(y) for row, y in zip(labels[0], targets, strict=True)])


def test_a_tiny_grammar_is_learnt():
    translator = _translator(len(WORDS), "general")
    x, targets, lengths = _sentences(3000, 0)
    translator.fit(x, targets, lengths=lengths, epochs=15, batch_size=32, verbose=0)
    assert _exact(translator, *_sentences(500, 1)) >= 0.99


# --- dates of many forms into one ---

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
CHARACTERS = ["<pad>", "<start>", "<end>", *sorted(set("0123456789-/., " + "".join(MONTHS)))]


def _dates(count, seed):
    rng = np.random.default_rng(seed)
    first = np.datetime64("1950-01-01")
    sources, targets = [], []
    for day in first + rng.integers(0, 30_000, count):
        iso = str(day)
        year, month, number = iso.split("-")
        name = MONTHS[int(month) - 1]
        forms = (
            f"{int(number)} {name} {year}",
            f"{name} {int(number)}, {year}",
            f"{int(number)} {name[:3]} {year}",
            f"{number}.{month}.{year}",
            f"{int(month)}/{int(number)}/{year}",
            f"{name[:3]}. {number}, {year}",
        )
        sources.append([CHARACTERS.index(c) for c in forms[rng.integers(len(forms))]])
        targets.append([CHARACTERS.index(c) for c in iso])
    lengths = np.array([len(row) for row in sources], np.int32)
    padded = np.zeros((count, lengths.max()), np.int32)
    for row, source in zip(padded, sources, strict=True):
        row[: len(source)] = source
    return padded, targets, lengths


def test_dates_are_translated():
    translator = _translator(len(CHARACTERS), "general")
    x, targets, lengths = _dates(6000, 0)
    for rate, epochs in ((0.01, 6), (0.003, 3)):
        translator.model.optimizer.learning_rate = rate
        translator.fit(x, targets, lengths=lengths, epochs=epochs, batch_size=32, verbose=0)
    assert _exact(translator, *_dates(500, 1)) >= 0.99
