"""What other threads of a program may do to a model and its arrays meanwhile: never a crash, never a wrong number."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from harness import Engine, floats, input_layer, model_spec
from rekur import _core

LOSS = json.dumps({"optimizer": {"name": "sgd"}, "losses": [{"name": "mean_squared_error"}]})
SEQUENCES = model_spec(
    [
        input_layer("x", None, 3),
        {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 24, "return_sequences": True},
        {"type": "Dense", "name": "dense", "inputs": ["lstm"], "units": 40},
    ],
    ["dense"],
)


def at_once(*tasks: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()


def test_predictions_during_training_are_of_the_weights_before_or_after_a_step(rng: np.random.Generator) -> None:
    x, y = floats(rng, 6, 5, 3), np.ones((6, 5, 40), np.float32)
    steps = 150
    alone = Engine(SEQUENCES)
    trainer = _core.Trainer(alone.model, LOSS)
    possible = {alone.predict([x])[0].tobytes()}
    for _ in range(steps):
        trainer.step([x], [y])
        possible.add(alone.predict([x])[0].tobytes())

    shared = Engine(SEQUENCES)
    trainer = _core.Trainer(shared.model, LOSS)
    seen: list[bytes] = []
    at_once(
        lambda: [trainer.step([x], [y]) for _ in range(steps)],
        *[lambda: seen.extend(shared.predict([x])[0].tobytes() for _ in range(3 * steps))] * 2,
    )
    assert set(seen) <= possible


def test_steps_of_one_trainer_take_turns(rng: np.random.Generator) -> None:
    x, y = floats(rng, 6, 5, 3), np.ones((6, 5, 40), np.float32)
    alone, shared = Engine(SEQUENCES), Engine(SEQUENCES)
    one, two = _core.Trainer(alone.model, LOSS), _core.Trainer(shared.model, LOSS)
    for _ in range(90):
        one.step([x], [y])
    at_once(*[lambda: [two.step([x], [y]) for _ in range(30)]] * 3)
    assert two.iterations == 90
    np.testing.assert_array_equal(shared.model.get_weights(), alone.model.get_weights())


@pytest.mark.parametrize("change", ["ids", "lengths"])
def test_a_tape_does_not_read_integers_again_that_were_checked_before(change: str) -> None:
    spec = model_spec(
        [
            input_layer("ids", None, dtype="int32"),
            {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 5, "output_dim": 4},
            {"type": "GRU", "name": "gru", "inputs": ["e"], "units": 3},
        ],
        ["gru"],
    )
    engine = Engine(spec)
    ids, lengths = np.ones((3, 4), np.int32), np.array([1, 2, 3], np.int32)
    dy = np.ones((3, 3), np.float32)
    _, tape = engine.model.forward([ids], [lengths])
    expected, _ = engine.model.backward(tape, [dy])
    _, tape = engine.model.forward([ids], [lengths])
    {"ids": ids, "lengths": lengths}[change][:] = 2**30
    gradients, _ = engine.model.backward(tape, [dy])
    np.testing.assert_array_equal(gradients, expected)


@pytest.mark.parametrize("shape", [(0,), (5, 6), (6, 5, 1), ()], ids=str)
def test_sample_weights_of_another_shape_are_refused(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    trainer = _core.Trainer(Engine(SEQUENCES).model, LOSS)
    x, y = floats(rng, 6, 5, 3), np.ones((6, 5, 40), np.float32)
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(B,\) or \(B, T\) for 6 rows, got \("):
        trainer.evaluate([x], [y], None, [np.ones(shape, np.float32)])
