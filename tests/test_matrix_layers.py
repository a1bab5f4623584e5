"""Layers whose state is a matrix for each head, against the float64 reference, on every instruction set."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec
from rekur import layers

MODES = ("linear", "gated", "delta", "gated_delta", "mlstm")
every_mode = pytest.mark.parametrize("mode", MODES)


def attention(mode: str, **options: Any) -> dict[str, Any]:
    given = {"num_heads": 2, "key_dim": 3, "value_dim": 5, "return_sequences": True, **options}
    if mode == "mlstm":
        given.pop("decay_normalizer", None)
        return {"type": "MLSTM", "name": "a", "inputs": ["x"], **given}
    return {"type": "GatedLinearAttention", "name": "a", "inputs": ["x"], "mode": mode, **given}


def steps_of(x: np.ndarray, begin: int, end: int | None = None) -> np.ndarray:
    return np.ascontiguousarray(x[:, begin:end])


def state_size(layer: dict[str, Any]) -> int:
    H, K, V = layer["num_heads"], layer["key_dim"], layer["value_dim"]
    return int(H * (K * (V + 1) + 1) if layer["type"] == "MLSTM" else H * K * V)


def spec_of(layer: dict[str, Any], features: int, initial: bool = False) -> dict[str, Any]:
    sources = [input_layer("x", None, features)]
    if initial:
        sources.append(input_layer("s", state_size(layer)))
        layer = {**layer, "inputs": ["x", "s"]}
    return model_spec([*sources, layer], ["a", "a:1"] if layer.get("return_state") else ["a"])


@every_mode
@pytest.mark.sampled(2)
@pytest.mark.parametrize("key_dim", [1, 2, 3, 5, 7, 17, 31, 33, 65])
@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
def test_outputs_and_states_are_the_equations_at_awkward_sizes(
    isa: str, rng: np.random.Generator, mode: str, key_dim: int, reverse: bool
) -> None:
    for value_dim, heads, B, T in [(key_dim, 1, 2, 3), (7, 3, 1, 34), (65, 2, 2, 1), (33, 1, 3, 17)]:
        layer = attention(
            mode, num_heads=heads, key_dim=key_dim, value_dim=value_dim, return_state=True, reverse=reverse
        )
        engine = Engine(spec_of(layer, 5, initial=True))
        inputs, lengths = [floats(rng, B, T, 5), floats(rng, B, state_size(layer))], rng.integers(0, T + 1, B)
        for steps in (None, [lengths.astype(np.int32), None]):
            expected = reference.run(engine.spec, engine.weights, inputs, steps)
            for y, e in zip(engine.predict(inputs, steps), expected, strict=True):
                assert_close(y, e, 1e-5)


@pytest.mark.isa_in_turn
@every_mode
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("initial", [True, False], ids=["initial", "zeros"])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=["full", "lengths"])
@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
def test_gradients_are_the_central_differences(
    isa: str, mode: str, sequences: bool, initial: bool, lengths: list[int] | None, reverse: bool
) -> None:
    layer = attention(
        mode, return_sequences=sequences, return_state=initial, units=3, decay_normalizer=2.0, reverse=reverse
    )

    def batch(rng: np.random.Generator) -> tuple[list[np.ndarray], list[Any] | None]:
        inputs = [floats(rng, 3, 4, 4)] + ([floats(rng, 3, state_size(layer))] if initial else [])
        steps = None if lengths is None else [np.array(lengths, np.int32)] + [None] * initial
        return inputs, steps

    assert_gradients(spec_of(layer, 4, initial), batch=batch)


@every_mode
def test_gradients_of_long_sequences_agree_with_those_of_pieces(rng: np.random.Generator, mode: str) -> None:
    """The decay's gradient is a sum over all later steps: it must not lose digits as these add up."""
    layer = attention(mode, num_heads=1, key_dim=8, value_dim=8, return_state=True)
    engine = Engine(spec_of(layer, 6, initial=True))
    T, cut = 1500, 700
    x, s0 = floats(rng, 1, T, 6), np.zeros((1, state_size(layer)), np.float32)
    dy = floats(rng, 1, T, 6)
    (_, s1), first, _ = engine.gradients([steps_of(x, 0, cut), s0], [steps_of(dy, 0, cut), None])
    _, second, (dx_second, ds1) = engine.gradients([steps_of(x, cut), s1], [steps_of(dy, cut), None])
    _, first, (dx_first, _) = engine.gradients([steps_of(x, 0, cut), s0], [steps_of(dy, 0, cut), ds1])
    _, whole, (dx, _) = engine.gradients([x, s0], [dy, None])
    assert dx is not None and dx_first is not None and dx_second is not None
    assert_close(dx, np.concatenate([dx_first, dx_second], axis=1), 2e-5)
    # What the mLSTM's forget gate adds up has both signs: in twelve seeds 2e-6 to 3e-3 of the result are rounding.
    for name, d in whole.items():
        assert_close(d, first[name] + second[name], 3e-3 if mode == "mlstm" else 2e-5, name)


@every_mode
@pytest.mark.parametrize("options", [{"output_gate": False}, {"use_bias": False}, {"epsilon": 0.5}], ids=str)
def test_options_change_outputs_and_gradients_as_the_equations_say(
    isa: str, mode: str, options: dict[str, Any]
) -> None:
    layer = attention(mode, num_heads=1, **options)
    assert_gradients(spec_of(layer, 3), batch=lambda rng: ([floats(rng, 2, 3, 3)], None))


@every_mode
@pytest.mark.parametrize("key_dim", [3, 16, 33])
def test_a_sequence_is_any_split_of_it_any_batch_and_any_number_of_threads_to_the_bit(
    isa: str, rng: np.random.Generator, mode: str, key_dim: int
) -> None:
    layer = attention(mode, key_dim=key_dim, value_dim=17, return_state=True)
    engine = Engine(spec_of(layer, 5, initial=True))
    B, T = 4, 70
    x, s = floats(rng, B, T, 5), floats(rng, B, state_size(layer))
    whole, last = engine.predict([x, s])
    for cut in (1, 31, 32, 33, 69):
        first, between = engine.predict([steps_of(x, 0, cut), s])
        second, end = engine.predict([steps_of(x, cut), between])
        assert np.array_equal(np.concatenate([first, second], axis=1), whole)
        assert np.array_equal(end, last)
    for row in range(B):
        alone, end = engine.predict([x[row : row + 1], s[row : row + 1]])
        assert np.array_equal(alone[0], whole[row]) and np.array_equal(end[0], last[row])
    lengths = np.array([70, 3, 0, 41], np.int32)
    padded, ends = engine.predict([x, s], [lengths, None])
    for row, n in enumerate(lengths):
        assert np.array_equal(padded[row, :n], whole[row, :n]) and not padded[row, n:].any()
        alone, end = engine.predict([steps_of(x[row : row + 1], 0, n), s[row : row + 1]])
        assert np.array_equal(end[0], ends[row])


@every_mode
def test_results_and_gradients_do_not_depend_on_the_number_of_threads(rng: np.random.Generator, mode: str) -> None:
    layer = attention(mode, num_heads=3, key_dim=16, value_dim=16, return_state=True)
    engine = Engine(spec_of(layer, 9, initial=True))
    inputs, dy = [floats(rng, 5, 40, 9), floats(rng, 5, state_size(layer))], floats(rng, 5, 40, 9)
    results = []
    before = rekur.get_num_threads()
    try:
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            outputs, d_weights, d_inputs = engine.gradients(inputs, [dy, None])
            results.append([*outputs, *d_weights.values(), *d_inputs])
    finally:
        rekur.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_training_saving_and_loading(rng: np.random.Generator, tmp_path: Path) -> None:
    for mode in MODES:
        model = rekur.Sequential(
            [
                layers.MLSTM(2, 4, input_shape=(None, 3))
                if mode == "mlstm"
                else layers.GatedLinearAttention(2, 4, mode=mode, input_shape=(None, 3)),
                layers.Dense(1),
            ]
        )
        model.compile(rekur.optimizers.Adam(0.01), "mse")
        x = floats(rng, 32, 12, 3)
        y = x[:, :5, :1].sum(axis=1)
        losses = model.fit(x, y, epochs=30, verbose=0).history["loss"]
        assert losses[-1] < 0.5 * losses[0], mode
        model.save(tmp_path / "model.safetensors")
        assert np.array_equal(rekur.load(tmp_path / "model.safetensors").predict(x), model.predict(x))


def test_wrong_settings_are_refused_by_name() -> None:
    for options, message in [
        ({"mode": "gatted"}, "unknown mode 'gatted'.*gated"),
        ({"num_heads": 0}, "num_heads"),
        ({"epsilon": 0}, "epsilon"),
        ({"decay_normalizer": -1.0}, "decay_normalizer"),
    ]:
        with pytest.raises(ValueError, match=message):
            layers.GatedLinearAttention(**{"num_heads": 1, "key_dim": 2, **options})
    for wrong, key in itertools.product([0, -1.0, "1", 1e39], ["epsilon", "decay_normalizer"]):
        with pytest.raises(ValueError, match=f"'a'.*'{key}' must be"):
            Engine(spec_of(attention("gated", **{key: wrong}), 3))
    with pytest.raises(
        ValueError, match=r"'a': expected an initial state of shape \(None, 30\) \(2 heads of 15\), got \(None, 29\)"
    ):
        layer = attention("gated")
        sources = [input_layer("x", None, 3), input_layer("s", 29)]
        Engine(model_spec([*sources, {**layer, "inputs": ["x", "s"]}], ["a"]))
