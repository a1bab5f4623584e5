"""Options of every cell: dropout of x, in training forms whose masks are known, against the float64 reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, floats, input_layer, model_spec
from masks import mask
from random_cells import library

CELLS: dict[str, dict[str, Any]] = {
    "simple_rnn": {"type": "SimpleRNN"},
    "lstm": {"type": "LSTM"},
    "lstm_peephole": {"type": "LSTM", "peepholes": True},
    "lstm_coupled": {"type": "LSTM", "coupled_gates": True},
    "gru": {"type": "GRU"},
    "gru_reset_before": {"type": "GRU", "reset_after": False},
    "light_gru": {"type": "RNN", "cell": library()["light_gru"]},
    "slstm": {"type": "RNN", "cell": library()["slstm"]},
}


def spec_of(cell: dict[str, Any], direction: str, H: int, features: int, **options: Any) -> dict[str, Any]:
    layer = {**cell, "units": H, "return_sequences": True, "return_state": True, **options}
    if direction in ("forward", "reverse"):
        layer["reverse"] = direction == "reverse"
    else:
        layer = {"type": "Bidirectional", "merge_mode": direction, "layer": layer}
    return model_spec([input_layer("x", None, features), {**layer, "name": "rnn", "inputs": ["x"]}], ["rnn:0", "rnn:1"])


@pytest.mark.parametrize("direction", ["forward", "reverse", "concat"])
@pytest.mark.parametrize("cell", CELLS)
def test_dropout_is_one_mask_of_x_a_sequence_and_direction(isa: str, cell: str, direction: str) -> None:
    B, T, features, H, rate = 5, 4, 7, 3, 0.3
    spec = spec_of(CELLS[cell], direction, H, features, dropout=rate)
    engine, rng = Engine(spec), np.random.default_rng(3)
    x = floats(rng, B, T, features)
    lengths = np.array([4, 0, 2, 4, 1], np.int32)
    dropped = [mask(rate, (B, 1, features), 11, 5, 1, d, 0) for d in range(2)]
    assert {0.0} < set(np.unique(dropped[0])) and not np.array_equal(*dropped)

    def outputs(x: np.ndarray) -> list[np.ndarray]:
        if direction != "concat":
            return reference.run(spec, engine.weights, [x * dropped[0]], [lengths])
        halves = []
        for d, name in enumerate(("forward", "backward")):
            ys = reference.run(spec, engine.weights, [x * dropped[d]], [lengths])
            halves.append((ys[0][..., d * H : (d + 1) * H], ys[1], name))
        return [np.concatenate([halves[0][0], halves[1][0]], axis=-1), halves[0][1]]

    want = outputs(x)
    dy = [floats(rng, *y.shape) for y in want]
    got, _, (dx,) = engine.gradients([x], dy, [lengths], seed=11, step=5)
    for y, expected in zip(got, want, strict=True):
        assert_close(y, expected, 2e-5)
    numeric = reference.numeric_gradient(
        lambda v: sum(float(np.sum(a * b)) for a, b in zip(outputs(v), dy, strict=True)), x
    )
    assert dx is not None
    assert_close(dx, numeric, 2e-4, "gradient of x")
    plain = Engine(spec_of(CELLS[cell], direction, H, features))
    for y, same in zip(engine.predict([x], [lengths]), plain.predict([x], [lengths]), strict=True):
        assert np.array_equal(y, same)
