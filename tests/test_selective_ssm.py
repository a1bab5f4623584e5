"""SelectiveSSM against the float64 reference and Mamba's own arithmetic, on every instruction set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec
from rekur import layers


def block(**options: Any) -> dict[str, Any]:
    given = {"state_size": 3, "conv_kernel": 3, "expand": 2, "return_sequences": True, **options}
    return {"type": "SelectiveSSM", "name": "s", "inputs": ["x"], **given}


def spec_of(layer: dict[str, Any], features: int, initial: bool = False) -> dict[str, Any]:
    sources = [input_layer("x", None, features)]
    if initial:
        sources.append(input_layer("h", state_size(layer, features)))
        layer = {**layer, "inputs": ["x", "h"]}
    return model_spec([*sources, layer], ["s", "s:1"] if layer.get("return_state") else ["s"])


def state_size(layer: dict[str, Any], features: int) -> int:
    return int((layer["state_size"] + layer["conv_kernel"] - 1) * layer["expand"] * features)


def steps_of(x: np.ndarray, begin: int, end: int | None = None) -> np.ndarray:
    return np.ascontiguousarray(x[:, begin:end])


@pytest.mark.parametrize("features", [1, 5, 16, 33, 70])
@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
def test_outputs_and_states_are_the_equations_at_awkward_sizes(
    isa: str, rng: np.random.Generator, features: int, reverse: bool
) -> None:
    for states, taps, expand, B, T in [(1, 1, 1, 2, 3), (16, 4, 2, 2, 17), (5, 3, 3, 1, 33), (17, 2, 2, 3, 1)]:
        layer = block(
            state_size=states, conv_kernel=taps, expand=expand, return_state=True, reverse=reverse, use_bias=True
        )
        engine = Engine(spec_of(layer, features, initial=True))
        inputs = [floats(rng, B, T, features), floats(rng, B, state_size(layer, features))]
        lengths = rng.integers(0, T + 1, B).astype(np.int32)
        for steps in (None, [lengths, None]):
            expected = reference.run(engine.spec, engine.weights, inputs, steps)
            for y, e in zip(engine.predict(inputs, steps), expected, strict=True):
                assert_close(y, e, 1e-5)


@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("initial", [True, False], ids=["initial", "zeros"])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=["full", "lengths"])
@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
def test_gradients_are_the_central_differences(
    isa: str, sequences: bool, initial: bool, lengths: list[int] | None, reverse: bool
) -> None:
    layer = block(return_sequences=sequences, return_state=initial, units=2, reverse=reverse, dt_rank=2)

    def batch(rng: np.random.Generator) -> tuple[list[np.ndarray], list[Any] | None]:
        inputs = [floats(rng, 3, 4, 3)] + ([floats(rng, 3, state_size(layer, 3))] if initial else [])
        steps = None if lengths is None else [np.array(lengths, np.int32)] + [None] * initial
        return inputs, steps

    assert_gradients(spec_of(layer, 3, initial), batch=batch)


@pytest.mark.parametrize(
    "options", [{"use_bias": True}, {"use_conv_bias": False}, {"conv_kernel": 1}, {"conv_kernel": 5}], ids=str
)
def test_options_change_outputs_and_gradients_as_the_equations_say(isa: str, options: dict[str, Any]) -> None:
    layer = block(state_size=2, expand=1, return_state=True, **options)
    assert_gradients(
        spec_of(layer, 3, initial=True),
        batch=lambda rng: ([floats(rng, 2, 3, 3), floats(rng, 2, state_size(layer, 3))], None),
    )


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 40])
def test_gradients_of_a_sequence_are_those_of_its_pieces(rng: np.random.Generator, cut: int) -> None:
    """More steps and channels than the backward pass takes at once."""
    layer = block(state_size=4, conv_kernel=4, return_state=True)
    engine, T = Engine(spec_of(layer, 70, initial=True)), 50
    x, s0, dy = floats(rng, 2, T, 70), floats(rng, 2, state_size(layer, 70)), floats(rng, 2, T, 70)
    ds = floats(rng, *s0.shape)
    (_, s1), _, _ = engine.gradients([steps_of(x, 0, cut), s0], [steps_of(dy, 0, cut), None])
    _, second, (dx_second, ds1) = engine.gradients([steps_of(x, cut), s1], [steps_of(dy, cut), ds])
    _, first, (dx_first, ds0) = engine.gradients([steps_of(x, 0, cut), s0], [steps_of(dy, 0, cut), ds1])
    _, whole, (dx, ds_whole) = engine.gradients([x, s0], [dy, ds])
    assert dx is not None and dx_first is not None and dx_second is not None
    assert ds_whole is not None and ds0 is not None
    assert_close(dx, np.concatenate([dx_first, dx_second], axis=1), 1e-5)
    assert_close(ds_whole, ds0, 1e-5)
    for name, d in whole.items():
        assert_close(d, first[name] + second[name], 2e-5, name)


@pytest.mark.parametrize("features", [3, 16, 70])
@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
def test_a_sequence_is_any_split_of_it_and_any_batch_to_the_bit(
    isa: str, rng: np.random.Generator, features: int, reverse: bool
) -> None:
    layer = block(state_size=5, conv_kernel=4, return_state=True, reverse=reverse)
    engine = Engine(spec_of(layer, features, initial=True))
    B, T = 4, 40
    x, s = floats(rng, B, T, features), floats(rng, B, state_size(layer, features))
    whole, last = engine.predict([x, s])
    for cut in (1, 2, 16, 39):
        pieces = [steps_of(x, 0, cut), steps_of(x, cut)]
        outputs, state = [], s
        for piece in reversed(pieces) if reverse else pieces:
            y, state = engine.predict([piece, state])
            outputs.append(y)
        assert np.array_equal(np.concatenate(outputs[::-1] if reverse else outputs, axis=1), whole)
        assert np.array_equal(state, last)
    lengths = np.array([40, 3, 0, 21], np.int32)
    padded, ends = engine.predict([x, s], [lengths, None])
    for row, n in enumerate(lengths):
        alone, end = engine.predict([steps_of(x[row : row + 1], 0, n), s[row : row + 1]])
        assert np.array_equal(alone[0], padded[row, :n]) and not padded[row, n:].any()
        assert np.array_equal(end[0], ends[row])


def test_results_and_gradients_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    layer = block(state_size=16, conv_kernel=4, return_state=True)
    engine = Engine(spec_of(layer, 150, initial=True))
    inputs, dy = [floats(rng, 3, 40, 150), floats(rng, 3, state_size(layer, 150))], floats(rng, 3, 40, 150)
    results = []
    before = rekur.get_num_threads()
    try:
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            outputs, d_weights, d_inputs = engine.gradients(inputs, [dy, None])
            results.append([*outputs, *engine.predict(inputs), *d_weights.values(), *d_inputs])
    finally:
        rekur.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_training_saving_and_loading(rng: np.random.Generator, tmp_path: Path) -> None:
    model = rekur.Sequential([layers.SelectiveSSM(4, input_shape=(None, 3)), layers.Dense(1)], seed=1)
    model.compile(rekur.optimizers.Adam(0.01), "mse")
    x = floats(rng, 64, 12, 3)
    y = x[:, :5, :1].sum(axis=1)
    losses = model.fit(x, y, epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "model.safetensors")
    assert np.array_equal(rekur.load(tmp_path / "model.safetensors").predict(x), model.predict(x))


def test_initial_weights_are_those_of_the_paper() -> None:
    model = rekur.Sequential([layers.SelectiveSSM(dt_min=0.01, dt_max=0.2, input_shape=(None, 40))], seed=2)
    kernel, convolution, conv_bias, selection, dt_kernel, dt_bias, A_log, D, output = model.get_weights()
    assert kernel.shape == (40, 160) and selection.shape == (80, 3 + 32) and output.shape == (80, 40)
    assert np.allclose(A_log, np.log(np.arange(1, 17))[:, None] * np.ones(80), atol=1e-6)
    assert np.array_equal(D, np.ones(80, np.float32))
    steps = np.logaddexp(0, dt_bias.astype(np.float64))
    assert steps.min() >= 0.01 * (1 - 1e-5) and steps.max() <= 0.2 * (1 + 1e-5)
    assert abs(np.log(steps).mean() - np.log(0.01 * 0.2) / 2) < 0.3  # log-uniform
    for w, bound in [(dt_kernel, 3**-0.5), (convolution, 0.5), (conv_bias, 0.5)]:
        assert 0.8 * bound < np.abs(w).max() <= bound


def test_wrong_settings_are_refused_by_name() -> None:
    for options, message in [
        ({"state_size": 0}, "state_size"),
        ({"conv_kernel": -1}, "conv_kernel"),
        ({"dt_min": 0.2}, "dt_min 0.2 is above dt_max 0.1"),
        ({"dt_max": 0}, "dt_max"),
    ]:
        with pytest.raises(ValueError, match=message):
            layers.SelectiveSSM(**options)
    layer = layers.SelectiveSSM()
    with pytest.raises(ValueError, match="dt_min 1 is above"):
        layer.dt_min = 1.0
    assert layer.dt_min == 0.001
    sources = [input_layer("x", None, 3), input_layer("h", 29)]
    with pytest.raises(ValueError, match=r"'s': expected an initial state of shape \(None, 30\) \(6 channels of 5\)"):
        Engine(model_spec([*sources, {**block(), "inputs": ["x", "h"]}], ["s"]))


def test_the_block_is_that_of_mambapy(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    mamba = pytest.importorskip("mambapy.mamba")
    config = mamba.MambaConfig(d_model=20, n_layers=1, d_state=7, d_conv=4, expand_factor=2)
    theirs = mamba.MambaBlock(config)
    model = rekur.Sequential([layers.SelectiveSSM(7, return_sequences=True, input_shape=(None, 20))])
    weights = {name: w.detach().numpy() for name, w in theirs.named_parameters()}
    assert np.allclose(weights["A_log"].T, model.get_weights()[6], atol=1e-6)  # theirs are initialised so, too
    model.set_weights(
        [
            weights["in_proj.weight"].T,
            weights["conv1d.weight"][:, 0].T,
            weights["conv1d.bias"],
            weights["x_proj.weight"].T,
            weights["dt_proj.weight"].T,
            weights["dt_proj.bias"],
            weights["A_log"].T,
            weights["D"],
            weights["out_proj.weight"].T,
        ]
    )
    x = floats(rng, 3, 25, 20)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    assert_close(model.predict(x), expected, 1e-5)
