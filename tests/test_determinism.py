"""The same bits: for every number of threads, on every run, alone or in a batch, and after saving and loading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Engine, floats, input_layer, model_spec
from random_cells import reads_x
from rekur import _core
from test_cells import CELLS, VARIANTS

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
    "rmsprop": {"name": "rmsprop", "momentum": 0.5, "clipvalue": 0.05},
    "adam": {"name": "adam", "learning_rate": 0.01, "global_clipnorm": 0.5},
    "adamw": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "clipnorm": 0.5},
}


def spec() -> dict[str, Any]:
    """Large enough that the engine splits its work, odd enough that no split is even."""
    return model_spec(
        [
            input_layer("x", None, 19),
            {"type": "Bidirectional", "name": "both", "inputs": ["x"],
             "layer": {"type": "LSTM", "units": 67, "return_sequences": True}},
            {"type": "Dropout", "name": "drop", "inputs": ["both"], "rate": 0.3},
            {"type": "GRU", "name": "gru", "inputs": ["drop"], "units": 71, "return_sequences": True},
            {"type": "GRU", "name": "before", "inputs": ["gru"], "units": 33, "reset_after": False,
             "return_sequences": True, "reverse": True},
            {"type": "SimpleRNN", "name": "rnn", "inputs": ["before"], "units": 65, "return_state": True},
            {"type": "Dropout", "name": "drop2", "inputs": ["rnn:1"], "rate": 0.5},
            {"type": "Dense", "name": "y", "inputs": ["drop2"], "units": 5, "activation": "softmax"},
            {"type": "Dense", "name": "steps", "inputs": ["gru"], "units": 3},
        ],
        ["y", "steps"],
    )  # fmt: skip


def config(optimizer: str = "adam") -> str:
    losses = [{"name": "sparse_categorical_crossentropy"}, {"name": "huber"}]
    return json.dumps({"optimizer": OPTIMIZERS[optimizer], "losses": losses, "seed": 17})


def batches(count: int) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(5)
    result = []
    for n in range(count):
        B, T = (37, 11) if n % 3 else (53, 7)
        lengths = None if n % 2 else rng.integers(0, T + 1, B).astype(np.int32)
        targets = [rng.integers(0, 5, B).astype(np.int32), floats(rng, B, T, 3)]
        weights = [rng.uniform(0.5, 2, B).astype(np.float32), None]
        result.append(([floats(rng, B, T, 19)], targets, [lengths], weights))
    return result


def train(model: _core.Model, trainer: _core.Trainer, steps: list[tuple[Any, ...]]) -> tuple[np.ndarray, list[float]]:
    losses = [trainer.step(*step)[0] for step in steps]
    return model.get_weights(), losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_gives_the_same_bits_for_any_number_of_threads(
    isa: str, restore_threads: None, optimizer: str
) -> None:
    results = []
    for threads in (1, 2, 3, 1):
        _core.set_num_threads(threads)
        model = _core.Model(json.dumps(spec()))
        model.initialize(3)
        results.append(train(model, _core.Trainer(model, config(optimizer)), batches(3)))
    assert np.isfinite(results[0][0]).all()
    for weights, losses in results[1:]:
        np.testing.assert_array_equal(weights, results[0][0])
        assert losses == results[0][1]


def test_forward_and_backward_give_the_same_bits_for_any_number_of_threads(
    isa: str, rng: np.random.Generator, restore_threads: None
) -> None:
    engine = Engine(spec())
    x, lengths = floats(rng, 37, 13, 19), rng.integers(0, 14, 37).astype(np.int32)
    dy = [floats(rng, 37, 5), floats(rng, 37, 13, 3)]
    results = []
    for threads in (1, 2, 3, 7):
        _core.set_num_threads(threads)
        predicted = engine.predict([x], [lengths])
        outputs, d_weights, (dx,) = engine.gradients([x], dy, [lengths], seed=1, step=2)
        results.append([*predicted, *outputs, *d_weights.values(), dx])
    for result in results[1:]:
        for got, want in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(got, want)


def test_initialisation_depends_on_the_seed_alone(isa: str) -> None:
    def weights(seed: int) -> np.ndarray:
        model = _core.Model(json.dumps(spec()))
        model.initialize(seed)
        return model.get_weights()

    np.testing.assert_array_equal(weights(1), weights(1))
    assert np.mean(weights(1) == weights(2)) < 0.2  # the biases


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_save_load_continue_equals_never_having_stopped(tmp_path: Path, optimizer: str) -> None:
    steps = batches(6)
    model = _core.Model(json.dumps(spec()))
    model.initialize(3)
    trainer = _core.Trainer(model, config(optimizer))
    train(model, trainer, steps[:3])
    path = str(tmp_path / "checkpoint.safetensors")
    model.save(path, trainer.state(), {"iterations": str(trainer.iterations)})
    want, want_losses = train(model, trainer, steps[3:])

    loaded, slots, metadata = _core.load(path)
    resumed = _core.Trainer(loaded, config(optimizer))
    resumed.set_state(slots, int(metadata["iterations"]))
    got, losses = train(loaded, resumed, steps[3:])
    np.testing.assert_array_equal(got, want)
    assert losses == want_losses
    assert resumed.iterations == trainer.iterations == 6


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("cell", [*CELLS, *VARIANTS])
def test_a_row_alone_equals_the_row_in_a_batch(
    isa: str, rng: np.random.Generator, restore_threads: None, cell: str, direction: str
) -> None:
    inner = {**(CELLS | VARIANTS)[cell], "units": 37, "return_sequences": True, "return_state": True}
    layer = inner if direction == "forward" else {"type": "Bidirectional", "layer": inner}
    features = 37 if inner["type"] == "RNN" and reads_x(inner["cell"]) else 9
    engine = Engine(
        model_spec(
            [
                input_layer("x", None, features),
                {**layer, "name": "rnn", "inputs": ["x"]},
                {"type": "Dense", "name": "y", "inputs": ["rnn"], "units": 3, "activation": "softmax"},
            ],
            ["y", "rnn:0", "rnn:1"],
        )
    )
    x = floats(rng, 35, 6, features)
    _core.set_num_threads(3)
    together = engine.predict([x])
    trained, _ = engine.model.forward([x])
    for got, want in zip(trained, together, strict=True):
        np.testing.assert_array_equal(got, want)
    for size in (1, 2, 5, 16, 34):
        for start in (0, 1, 35 - size):
            part = engine.predict([x[start : start + size].copy()])
            for got, want in zip(part, together, strict=True):
                np.testing.assert_array_equal(got, want[start : start + size])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes_the_same_and_does_not_hang() -> None:
    """Threads do not survive a fork; a child that waited for them would wait forever."""
    program = """
import multiprocessing, numpy as np, rekur
rekur.set_num_threads(2)
rekur.set_random_seed(1)
model = rekur.Sequential([rekur.layers.LSTM(64, input_shape=(50, 8)), rekur.layers.Dense(1)])
x = np.random.default_rng(0).standard_normal((64, 50, 8)).astype(np.float32)
expected = model.predict(x)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for got in pool.map(model.predict, [x, x], chunksize=1):
        assert got.tobytes() == expected.tobytes()
print("same")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "same\n", done.stderr
