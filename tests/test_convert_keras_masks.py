"""Masks in Keras's files: where Keras drops one, or joins several, predictions are the same here, or it is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import convert
from rekur.convert._keras import probe

os.environ.setdefault("KERAS_BACKEND", "numpy")
keras = pytest.importorskip("keras")
pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:.*mask.*:UserWarning", "ignore:You are saving:UserWarning")
T, F = 7, 5


@pytest.fixture(autouse=True)
def _without_a_process_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "check", lambda source, what: None)


def _inputs(rng: np.random.Generator) -> list[np.ndarray]:
    ids, others = (rng.integers(1, 6, (4, T)).astype("int32") for _ in range(2))
    ids[0, 4:] = ids[1, 2] = others[0, 1] = 0
    x = rng.standard_normal((4, T, F)).astype("float32")
    x[2, 3] = x[3, 5:] = 0
    return [ids, x, others]


def _randomised(model: Any) -> Any:
    rng = np.random.default_rng(5)
    model.set_weights([0.2 + 0.4 * rng.standard_normal(w.shape).astype("float32") for w in model.get_weights()])
    return model


def _nested(library: Any, of: Callable[..., Any]) -> Any:
    x = library.Input((T, F))
    return library.Model(x, of(x))


# By name a function of the library, its layers, an embedding that masks, unmasked steps and another mask's embedding.
BOTH: dict[str, Callable[..., Any]] = {
    **{
        f"{name} {kind}": lambda k, la, e, x, o, name=name, other=other: getattr(la, name)()([e, other(k, la, e, x, o)])
        for name in ("Add", "Subtract", "Average", "Concatenate")
        for kind, other in {
            "unmasked": lambda k, la, e, x, o: x,
            "same": lambda k, la, e, x, o: la.Dense(F)(e),
        }.items()
    },
    "Multiply same": lambda k, la, e, x, o: la.Multiply()([e, la.Dense(F)(e)]),
    "RMSNormalization": lambda k, la, e, x, o: la.RMSNormalization()(e),
    "Rescaling": lambda k, la, e, x, o: la.Rescaling(2.0)(e),
    "Conv1D branch": lambda k, la, e, x, o: la.Add()([la.Conv1D(F, 3, padding="same")(e), e]),
    "Concatenate in time": lambda k, la, e, x, o: la.Concatenate(axis=1)([e, x]),
    "Attention": lambda k, la, e, x, o: la.Attention()([la.RMSNormalization()(e), o]),
    "Attention of the unmasked": lambda k, la, e, x, o: la.AdditiveAttention()([x, la.Dense(F)(e)]),
    "heads": lambda k, la, e, x, o: la.MultiHeadAttention(2, 3)(e, la.RMSNormalization()(o)),
    "two of heads": lambda k, la, e, x, o: la.Add()(
        [la.MultiHeadAttention(2, 3)(la.Dense(F)(e), e), la.MultiHeadAttention(2, 3)(e, e)]
    ),
    "initial states": lambda k, la, e, x, o: la.LSTM(F, return_sequences=True)(
        e, initial_state=la.LSTM(F, return_state=True)(o)[1:]
    ),
    "masking of the masked": lambda k, la, e, x, o: la.TimeDistributed(la.Dense(3))(la.RMSNormalization()(e)),
    "Bidirectional": lambda k, la, e, x, o: la.Bidirectional(la.GRU(3, return_sequences=True))(la.Add()([x, e])),
    "nested": lambda k, la, e, x, o: _nested(k, lambda x: la.Dense(3)(x))(e),
}
KERAS_ALONE: dict[str, Callable[..., Any]] = {
    "times": lambda k, la, e, x, o: e * 2.0,
    "plus": lambda k, la, e, x, o: e + la.Dense(F)(e),
    "relu": lambda k, la, e, x, o: k.ops.relu(e),
    "flip": lambda k, la, e, x, o: k.ops.flip(e, axis=1),
    "mean": lambda k, la, e, x, o: e - k.ops.mean(e, axis=1, keepdims=True),
    "slice": lambda k, la, e, x, o: e[:, 1:],
    "Masking": lambda k, la, e, x, o: la.Masking(0.3)(la.Masking()(x)),
    "nested drops": lambda k, la, e, x, o: _nested(k, lambda x: la.GRU(3, return_sequences=True)(x * 2.0))(e),
}


def _model(library: Any, of: Callable[..., Any], pooled: bool) -> Any:
    layers = library.layers
    i, x, j = library.Input((T,), dtype="int32"), library.Input((T, F)), library.Input((T,), dtype="int32")
    masked, others = (layers.Embedding(6, F, mask_zero=True)(ids) for ids in (i, j))
    steps = of(library, layers, masked, x, others)
    end = layers.GlobalAveragePooling1D()(steps) if pooled else layers.LSTM(3)(steps)
    # What each of the inputs has a part in.
    rest = [layers.Dense(3)(layers.LSTM(2)(y)) for y in (masked, x, others)]
    return library.Model([i, x, j], layers.Add()([layers.Dense(3)(end), *rest]))


@pytest.mark.parametrize("name", [*BOTH, *KERAS_ALONE])
def test_what_keras_saves(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    keras.utils.clear_session()
    number = [*BOTH, *KERAS_ALONE].index(name)
    ending, pooled = ("keras", "h5")[number % 2], number % 3 == 0
    theirs = _randomised(_model(keras, {**BOTH, **KERAS_ALONE}[name], pooled))
    theirs.save(path := tmp_path / f"m.{ending}")
    inputs = _inputs(rng)
    here = convert.load(path)
    np.testing.assert_allclose(here.predict(inputs), theirs.predict(inputs, verbose=0), atol=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_what_rekur_saves(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    keras.utils.clear_session()
    here = _randomised(_model(rekur, BOTH[name], len(name) % 3 == 0))
    inputs = _inputs(rng)
    try:
        convert.save(here, path := tmp_path / "m.keras")
    except ValueError as error:
        assert name == "Concatenate in time", error
        return
    want = here.predict(inputs)
    np.testing.assert_allclose(keras.models.load_model(path).predict(inputs, verbose=0), want, atol=1e-5)
    np.testing.assert_allclose(convert.load(path).predict(inputs), want, atol=1e-5)


@pytest.mark.parametrize("name", ["Multiply", "Maximum", "Minimum"])
@pytest.mark.parametrize("library", [keras, rekur])
def test_of_what_is_masked_keras_makes_no_part_of_a_product(tmp_path: Path, library: Any, name: str) -> None:
    model = _model(library, lambda k, la, e, x, o: getattr(la, name)()([e, x]), False)
    with pytest.raises(ValueError, match=rf"'{name.lower()}.*reads tensors with different masks"):
        if library is keras:
            model.save(tmp_path / "m.keras")
            convert.load(tmp_path / "m.keras")
        else:
            convert.save(model, tmp_path / "m.keras")
    assert library is keras or not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize("name", ["Add", "Concatenate"])
def test_steps_that_are_in_one_of_two_masks(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    model = _model(keras, lambda k, la, e, x, o: getattr(la, name)()([e, o]), False)
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"'lstm.*gets another mask than here"):
        convert.load(tmp_path / "m.keras")
    # What is there in both is written, by hand.
    here = _randomised(_model(rekur, lambda k, la, e, x, o: getattr(la, name)()([e, o]), False))
    convert.save(here, tmp_path / "m.keras")
    inputs = _inputs(rng)
    there = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(there.predict(inputs, verbose=0), here.predict(inputs), atol=1e-5)


def test_a_chain_that_drops_a_mask(tmp_path: Path, rng: np.random.Generator) -> None:
    def chain(library: Any) -> Any:
        la = library.layers
        first = [library.Input((T,), dtype="int32"), la.Embedding(6, F, mask_zero=True), la.RMSNormalization()]
        return _randomised(library.Sequential([*first, la.LSTM(3)]))

    ids = _inputs(rng)[0]
    theirs = chain(keras)
    theirs.save(tmp_path / "m.keras")
    here = convert.load(tmp_path / "m.keras")
    assert type(here) is rekur.Sequential
    np.testing.assert_allclose(here.predict(ids), theirs.predict(ids, verbose=0), atol=1e-5)
    convert.save(chain(rekur), tmp_path / "n.keras")
    there = keras.models.load_model(tmp_path / "n.keras")
    np.testing.assert_allclose(there.predict(ids, verbose=0), chain(rekur).predict(ids), atol=1e-5)


def test_names_of_keras_own_operations_on_masks(tmp_path: Path, rng: np.random.Generator) -> None:
    la = rekur.layers
    i = rekur.Input((T,), dtype="int32")
    e = la.Embedding(6, F, mask_zero=True, name="not_equal")(i)
    model = _randomised(rekur.Model(i, la.LSTM(2, name="any")(la.Concatenate(name="concatenate")([e, e]))))
    convert.save(model, tmp_path / "m.keras")
    ids = _inputs(rng)[0]
    keras.utils.clear_session()
    there = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(there.predict(ids, verbose=0), model.predict(ids), atol=1e-5)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_model_that_ends_in_a_model(tmp_path: Path, rng: np.random.Generator, ending: str, calls: int) -> None:
    def model(library: Any) -> Any:
        la = library.layers
        x = library.Input((T, F))
        inner = _nested(library, la.LSTM(2))
        return _randomised(library.Model(x, [inner(la.Dense(F)(x)) for _ in range(calls)]))

    x = _inputs(rng)[1]
    theirs = model(keras)
    theirs.save(path := tmp_path / f"m.{ending}")
    here = convert.load(path)
    for got, want in zip(np.atleast_3d(here.predict(x)), np.atleast_3d(theirs.predict(x, verbose=0)), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
    convert.save(model(rekur), path)
    there, want = keras.models.load_model(path).predict(x, verbose=0), model(rekur).predict(x)
    np.testing.assert_allclose(np.asarray(there), np.asarray(want), atol=1e-5)


def test_states_of_stacked_cells(tmp_path: Path, rng: np.random.Generator) -> None:
    la = keras.layers
    x = keras.Input((T, F))
    rnn = la.RNN(la.StackedRNNCells([la.LSTMCell(4), la.LSTMCell(3)]), return_state=True)
    model = keras.Model(x, rnn(x))
    model.save(tmp_path / "m.keras")
    data = _inputs(rng)[1]
    want = [np.asarray(value) for value in keras.tree.flatten(model(data))]
    got = convert.load(tmp_path / "m.keras").predict(data)
    assert len(got) == len(want) == 5
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
