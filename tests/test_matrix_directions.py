"""Bidirectional of layers whose state is a matrix: a layer, and its twin on the rows turned round, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from harness import floats
from rekur import layers as L

MADE: dict[str, Callable[..., Any]] = {
    "linear": lambda **options: L.GatedLinearAttention(2, 3, mode="linear", units=5, **options),
    "gated delta": lambda **options: L.GatedLinearAttention(2, 3, 4, mode="gated_delta", units=5, **options),
    "mlstm": lambda **options: L.MLSTM(2, 3, units=5, **options),
    "mamba": lambda **options: L.SelectiveSSM(3, units=5, **options),
}
MERGED: dict[str, Callable[[Any, Any], Any]] = {
    "concat": lambda a, b: np.concatenate([a, b], -1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: np.float32(0.5) * (a + b),
}
every_kind = pytest.mark.parametrize("kind", MADE)
LENGTHS = np.array([6, 1, 0, 4], np.int32)


def both(kind: str, merge: str | None = "concat", **options: Any) -> rekur.Model:
    x = rekur.Input((None, 4), name="x")
    return rekur.Model(x, L.Bidirectional(MADE[kind](**options), merge_mode=merge)(x), seed=3)


def turned(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    found = x.copy()
    for b, steps in enumerate([x.shape[1]] * len(x) if lengths is None else lengths):
        found[b, :steps] = x[b, :steps][::-1]
    return found


def by_hand(kind: str, model: rekur.Model, x: np.ndarray, lengths: Any, **options: Any) -> list[list[np.ndarray]]:
    """What each direction gives, in the order of the input: output, then state."""
    weights = model.get_weights()
    half, found = len(weights) // 2, []
    for k, given in enumerate((x, turned(x, lengths))):
        one_x = rekur.Input((None, 4))
        one = rekur.Model(one_x, MADE[kind](return_state=True, **options)(one_x))
        one.set_weights(weights[half * k : half * (k + 1)])
        y, state = one.predict(given, lengths=lengths)
        found.append([turned(y, lengths) if k and y.ndim == 3 else y, state])
    return found


@every_kind
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("merge", [*MERGED, None])
def test_it_is_two_of_them(
    rng: np.random.Generator, kind: str, lengths: Any, sequences: bool, merge: str | None
) -> None:
    model, x = both(kind, merge, return_sequences=sequences, return_state=True), floats(rng, 4, 6, 4)
    found = model.predict(x, lengths=lengths)
    there, back = by_hand(kind, model, x, lengths, return_sequences=sequences)
    joined = [there[0], back[0]] if merge is None else [MERGED[merge](there[0], back[0])]
    assert len(found) == len(joined) + 2
    for y, expected in zip(found, [*joined, there[1], back[1]], strict=True):
        np.testing.assert_array_equal(y, expected)


@every_kind
def test_initial_states_are_those_of_both_directions(rng: np.random.Generator, kind: str) -> None:
    x = rekur.Input((None, 4), name="x")
    size = MADE[kind](return_state=True)(rekur.Input((None, 4)))[1].shape[-1]
    states = [rekur.Input((size,), name=name) for name in ("there", "back")]
    bidirectional = L.Bidirectional(MADE[kind](return_sequences=True, return_state=True))
    model = rekur.Model([x, *states], bidirectional(x, initial_state=states), seed=3)
    data = [floats(rng, 3, 5, 4), *(np.abs(floats(rng, 3, size)) for _ in states)]
    weights = model.get_weights()
    half = len(weights) // 2
    y, *ends = model.predict(data)
    for k, (given, start) in enumerate(((data[0], data[1]), (turned(data[0], None), data[2]))):
        one_x, one_s = rekur.Input((None, 4)), rekur.Input((size,))
        layer = MADE[kind](return_sequences=True, return_state=True)
        one = rekur.Model([one_x, one_s], layer(one_x, initial_state=one_s))
        one.set_weights(weights[half * k : half * (k + 1)])
        outputs, end = one.predict([given, start])
        outputs = turned(outputs, None) if k else outputs
        np.testing.assert_array_equal(y[..., 5 * k : 5 * (k + 1)], outputs)
        np.testing.assert_array_equal(ends[k], end)


@every_kind
def test_steps_that_a_mask_leaves_out_change_nothing(rng: np.random.Generator, kind: str) -> None:
    x = rekur.Input((None, 4), name="x")
    model = rekur.Model(x, L.Bidirectional(MADE[kind](return_sequences=True))(L.Masking(9.0)(x)), seed=3)
    data, seen = floats(rng, 3, 7, 4), np.array([0, 2, 3, 6])
    holes = np.full_like(data, 9.0)
    holes[:, seen] = data[:, seen]
    y = model.predict(holes)
    np.testing.assert_array_equal(y[:, seen], model.predict(np.ascontiguousarray(data[:, seen])))
    for t, before, after in ((1, 0, 2), (4, 3, 6), (5, 3, 6)):  # there an output repeats the one read before
        np.testing.assert_array_equal(y[:, t, :5], y[:, before, :5])
        np.testing.assert_array_equal(y[:, t, 5:], y[:, after, 5:])


@every_kind
def test_it_is_saved_described_exported_and_trained(rng: np.random.Generator, kind: str, tmp_path: Path) -> None:
    layer = L.Bidirectional(MADE[kind](return_sequences=True), name="two")
    model = rekur.Sequential([rekur.Input((None, 4)), layer, L.Dense(1)], seed=3)
    x, y = floats(rng, 16, 6, 4), floats(rng, 16, 6, 1)
    before = model.predict(x)
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(x), before)
    again = rekur.Sequential.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(x), before)
    report = rekur.onnx.export(model, tmp_path / "m.onnx")
    assert report.verification is not None
    np.testing.assert_allclose(rekur.onnx.load(tmp_path / "m.onnx").predict(x), before, atol=1e-5)
    model.compile(rekur.optimizers.Adam(0.01), "mse")
    losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert any(not np.array_equal(a, b) for a, b in zip(again.get_weights(), model.get_weights(), strict=True))


@every_kind
def test_there_is_no_stream_from_the_end(kind: str, tmp_path: Path) -> None:
    model = rekur.Sequential([rekur.Input((None, 4)), MADE[kind](reverse=True, return_sequences=True)])
    with pytest.raises(ValueError, match="it reads the sequence from its end"):
        rekur.Stream(model)
    with pytest.raises(ValueError, match="it reads the sequence from its end"):
        rekur.onnx.export(model, tmp_path / "m.onnx", streaming=True)
    assert not (tmp_path / "m.onnx").exists()


def test_two_kinds_and_what_does_not_go() -> None:
    x = rekur.Input((None, 4))
    mixed = L.Bidirectional(
        L.LSTM(3, return_sequences=True), backward_layer=L.MLSTM(2, 3, units=6, return_sequences=True)
    )
    assert mixed(x).shape == (None, None, 9)
    with pytest.raises(ValueError, match="one direction reads from the end"):
        L.Bidirectional(L.MLSTM(2, 3, units=4), backward_layer=L.GRU(4))
    with pytest.raises(ValueError, match="must not have reverse=True"):
        L.Bidirectional(L.SelectiveSSM(2, reverse=True))
    with pytest.raises(ValueError, match="residual=True goes with two directions of one kind"):
        L.Bidirectional(L.MLSTM(2, 3), residual=True)
    with pytest.raises(ValueError, match="return_sequences must be the same of both"):
        L.Bidirectional(L.MLSTM(2, 3), backward_layer=L.MLSTM(2, 3, return_sequences=True))
    with pytest.raises(TypeError, match="expected an RNN"):
        L.Bidirectional(L.Bidirectional(L.GRU(3)))
