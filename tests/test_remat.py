"""Training that keeps states between windows and computes the rest again gives the bits of training that keeps all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import child
import rekur
from rekur import _core, layers

T, B, FEATURES = 1100, 3, 2  # seven windows


def train(model: Any, remat: bool, x: Any, y: Any, lengths: Any = None) -> tuple[float, Any]:
    core = _core.Model(model._engine().spec)
    core.set_weights(model._engine().get_weights())
    config = {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "losses": [{"name": "mean_squared_error"}], "seed": 3}
    trainer = _core.Trainer(core, json.dumps(config | {"remat": remat}))
    for _ in range(2):
        loss = trainer.step(x if isinstance(x, list) else [x], [y], lengths=lengths)[0]
    return loss, core.get_weights()


def compare(
    model: Any, rng: np.random.Generator, y_shape: tuple[int, ...], lengths: Any = None, steps: int = T, rows: int = B
) -> None:
    x = rng.normal(size=(rows, steps, FEATURES)).astype("f")
    y = rng.normal(size=y_shape).astype("f")
    loss, weights = train(model, False, x, y, lengths)
    loss_again, weights_again = train(model, True, x, y, lengths)
    assert loss == loss_again
    np.testing.assert_array_equal(weights, weights_again)
    assert np.isfinite(weights).all()


CELLS = {
    "lstm": lambda **o: layers.LSTM(5, **o),
    "gru": lambda **o: layers.GRU(5, **o),
    "simple_rnn": lambda **o: layers.SimpleRNN(17, **o),
    "min_gru": lambda **o: layers.RNN(rekur.cells.min_gru, 5, **o),
    "light_gru": lambda **o: layers.RNN(rekur.cells.light_gru, 3, **o),
    "sru": lambda **o: layers.RNN(rekur.cells.sru, 5, **o),
    "normalised": lambda **o: layers.RNN(rekur.cells.layer_norm_lstm, 5, **o),
    "projected": lambda **o: layers.LSTM(7, projection_size=3, **o),
    "dropped": lambda **o: layers.LSTM(5, dropout=0.2, recurrent_dropout=0.3, **o),
}


@pytest.mark.parametrize("cell", CELLS)
def test_windows_change_no_bit(cell: str, isa: str, rng: np.random.Generator) -> None:
    model = rekur.Sequential([layers.Input((None, FEATURES)), CELLS[cell]()])
    compare(model, rng, (B, model.output_shape[-1]))


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "min_gru", "sru", "normalised", "dropped"])
def test_windows_go_with_lengths_holes_and_resets(
    cell: str, return_sequences: bool, go_backwards: bool, rng: np.random.Generator
) -> None:
    layer = CELLS[cell](return_sequences=return_sequences, go_backwards=go_backwards)
    model = rekur.Sequential([layers.Input((None, FEATURES)), layers.Dense(FEATURES), layer])
    shape = (B, T, 5) if return_sequences else (B, 5)
    lengths = np.array([T, 700, 0], np.int32)
    compare(model, rng, shape, [lengths])
    mask = rng.random((B, T)) < 0.8
    mask[1, :400] = False
    mask = mask.astype(np.uint8)
    compare(model, rng, shape, {"masks": [mask]})
    resets = (rng.random((B, T)) < 0.02).astype(np.uint8)
    resets[:, [171, 179, 180, 359, 360, 361, 540, 928, 929, 756, 757]] = 1
    if go_backwards and return_sequences:  # reversed outputs look across resets
        both = layers.Bidirectional(CELLS[cell](return_sequences=True), merge_mode="sum")
        model = rekur.Sequential([layers.Input((None, FEATURES)), layers.Dense(FEATURES), both])
    compare(model, rng, shape, {"masks": [mask], "resets": [resets]})
    compare(model, rng, shape, {"resets": [resets]})


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_windows_go_with_stacks_and_directions(threads: int, restore_threads: None, rng: np.random.Generator) -> None:
    rekur.set_num_threads(threads)
    stack = rekur.Sequential(
        [layers.Input((None, FEATURES)), layers.Dense(3), *(CELLS[c](return_sequences=True) for c in CELLS)]
    )
    compare(stack, rng, (B, T, 5))
    for cell in ("lstm", "min_gru", "normalised"):
        both = [layers.Bidirectional(CELLS[cell](return_sequences=True), merge_mode=mode) for mode in ("concat", "mul")]
        model = rekur.Sequential(
            [layers.Input((None, FEATURES)), layers.Dense(3), *both, layers.Bidirectional(CELLS[cell]())]
        )
        compare(model, rng, (B, 10), [np.array([T, 3, 600], np.int32)])
        residual = rekur.Sequential(
            [layers.Input((None, FEATURES)), layers.Dense(5), CELLS[cell](return_sequences=True, residual=True)]
        )
        compare(residual, rng, (B, T, 5))


@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("cell", ["lstm", "min_gru"])
def test_windows_of_any_number_of_rows_and_steps(cell: str, rows: int, rng: np.random.Generator) -> None:
    model = rekur.Sequential([layers.Input((None, FEATURES)), CELLS[cell]()])
    for steps in (1, 2, 512, 513):
        compare(model, rng, (rows, 5), steps=steps, rows=rows)
        mask = (rng.random((rows, steps)) < 0.5).astype(np.uint8)
        compare(model, rng, (rows, 5), {"masks": [mask]}, steps=steps, rows=rows)


def test_initial_states_and_their_gradients(rng: np.random.Generator) -> None:
    inputs = [layers.Input((None, FEATURES)), layers.Input((5,)), layers.Input((5,))]
    states = [layers.Dense(5)(inputs[1]), layers.Dense(5)(inputs[2])]
    out = layers.LSTM(5)(inputs[0], initial_state=states)
    model = rekur.Model(inputs, out)
    x = [rng.normal(size=shape).astype("f") for shape in ((B, T, FEATURES), (B, 5), (B, 5))]
    y = rng.normal(size=(B, 5)).astype("f")
    results = [
        train(model, remat, x, y, {"resets": [np.zeros((B, T), np.uint8), None, None]}) for remat in (False, True)
    ]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    resets = np.zeros((B, T), np.uint8)
    resets[:, [179, 180, 181, 343, 350, 360]] = True
    results = [train(model, remat, x, y, {"resets": [resets, None, None]}) for remat in (False, True)]
    np.testing.assert_array_equal(results[0][1], results[1][1])


LONG = """
import sys, numpy as np, rekur
x = np.zeros((4, 20_000, 1), "f")
model = rekur.Sequential([rekur.layers.LSTM(64, input_shape=(None, 1))])
model.compile("sgd", "mse", remat=sys.argv[1] == "remat")
limit = "20MB" if sys.argv[1] == "limit" else None
model.fit(x, np.zeros((4, 64), "f"), verbose=0, memory_limit=limit)
print(status("VmHWM") // 2**20)
"""


@child.needs_peaks
def test_less_memory_is_really_taken() -> None:
    peaks = {how: int(child.run(LONG, how)) for how in ("kept", "remat", "limit")}
    assert peaks["remat"] < peaks["kept"] - 80, peaks  # the tape is 123 MB
    assert peaks["limit"] < peaks["kept"] - 80, peaks


def test_remat_of_compile_trains_in_a_fraction_of_the_memory_and_is_saved(
    tmp_path: Any, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(4, 3000, 1)).astype("f"), rng.normal(size=(4, 1)).astype("f")
    weights = []
    for remat in (False, True):
        rekur.set_random_seed(1)
        model = rekur.Sequential([layers.LSTM(8, input_shape=(None, 1)), layers.Dense(1)])
        model.compile("adam", "mse", remat=remat)
        model.fit(x, y, epochs=2, verbose=0)
        model.save(tmp_path / "model.rekur")
        model = rekur.load(tmp_path / "model.rekur")
        model.fit(x, y, epochs=1, verbose=0)
        weights.append(model.get_weights())
        assert model._trainer().remat == remat
        again = rekur.models.clone_model(model)
        again.compile_from_config(model.get_compile_config())
        assert again._trainer().remat == remat
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    memory = model.memory(batch_size=4, steps=3000)
    assert memory["train_remat"] < 0.12 * memory["train"]
    with pytest.raises(ValueError, match="open number of time steps"):
        model.memory()
    with pytest.raises(TypeError, match="remat"):
        model.compile("adam", "mse", remat="yes")
