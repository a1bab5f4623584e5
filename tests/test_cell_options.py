"""Options of every cell against the float64 reference: inference, and training forms whose masks are known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, floats, input_layer, model_spec
from masks import with_masks
from random_cells import library

CELLS: dict[str, dict[str, Any]] = {
    "simple_rnn": {"type": "SimpleRNN"},
    "lstm": {"type": "LSTM"},
    "lstm_peephole": {"type": "LSTM", "peepholes": True},
    "lstm_coupled": {"type": "LSTM", "coupled_gates": True},
    "lstm_peephole_coupled_clip": {"type": "LSTM", "peepholes": True, "coupled_gates": True, "clip": 0.9},
    "lstm_softsign": {"type": "LSTM", "activation": "softsign", "output_activation": "tanh", "use_bias": False},
    "gru": {"type": "GRU"},
    "gru_no_bias": {"type": "GRU", "use_bias": False},
    "gru_reset_before": {"type": "GRU", "reset_after": False},
    "light_gru": {"type": "RNN", "cell": library()["light_gru"]},
    "janet": {"type": "RNN", "cell": library()["janet"]},
    "min_gru": {"type": "RNN", "cell": library()["min_gru"]},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.3},
    "recurrent_dropout": {"recurrent_dropout": 0.4},
    "zoneout": {"zoneout": 0.3},
    "zoneout_of_h": {"zoneout": {"h": 0.25}},
    "state_clip": {"state_clip": 0.3},
    "sums": {"layer_normalization": "sums"},
    "state": {"layer_normalization": "state", "normalization_epsilon": 0.01},
    "all": {
        "dropout": 0.2,
        "recurrent_dropout": 0.3,
        "zoneout": 0.2,
        "state_clip": 0.8,
        "layer_normalization": "both",
        "normalization_epsilon": 0.1,
    },
}
DIRECTIONS = ("forward", "reverse", "concat", "mul")
SIZES = (1, 2, 3, 5, 7, 17, 31, 33, 65)


def spec_of(
    cell: Mapping[str, Any], direction: str, H: int, features: int, *, initial: bool = False, **options: Any
) -> dict[str, Any]:
    layer = {**cell, "units": H, "return_sequences": True, "return_state": True, **options}
    if direction in ("forward", "reverse"):
        layer["reverse"] = direction == "reverse"
    else:
        layer = {"type": "Bidirectional", "merge_mode": direction, "layer": layer}
    count = reference.state_count(cell) * (2 if "layer" in layer else 1)
    states = [f"s{k}" for k in range(count if initial else 0)]
    inputs = [input_layer("x", None, features), *(input_layer(name, H) for name in states)]
    outputs = [f"rnn:{k}" for k in range(1 + count)]
    return model_spec([*inputs, {**layer, "name": "rnn", "inputs": ["x", *states]}], outputs)


def allowed(cell: str, options: Mapping[str, Any]) -> bool:
    return not (cell == "min_gru" and "recurrent_dropout" in options)  # it has no recurrent product


CASES = [
    (cell, option, DIRECTIONS[(n + k) % 4])
    for (n, cell), (k, option) in itertools.product(enumerate(CELLS), enumerate(OPTIONS))
    if allowed(cell, OPTIONS[option])
]


def sized(number: int) -> tuple[int, int, int, int]:
    """B, T, I, H."""
    B, T, features, H = (SIZES[(number * step + shift) % 9] for step, shift in ((1, 0), (2, 3), (5, 6), (4, 1)))
    while B * T * H * (features + H) > 400_000:
        T = SIZES[max(SIZES.index(T) - 2, 0)]
        B = SIZES[max(SIZES.index(B) - 1, 0)]
    return B, T, features, H


@pytest.mark.parametrize(("cell", "option", "direction"), CASES)
def test_option_in_inference_and_training(isa: str, cell: str, option: str, direction: str) -> None:
    """Outputs, and the gradients of parameters, x and initial states along a random direction each."""
    number = CASES.index((cell, option, direction))
    B, T, features, H = sized(number)
    spec = spec_of(CELLS[cell], direction, H, features, initial=number % 3 > 0, **OPTIONS[option])
    engine, rng = Engine(spec), np.random.default_rng(number)
    weights = engine.weights
    inputs = [floats(rng, *(B, T, features) if k == 0 else (B, H)) for k in range(len(spec["inputs"]))]
    lengths = None
    if number % 2:
        lengths = [rng.integers(0, T + 1, B).astype(np.int32), *[None] * (len(inputs) - 1)]
    digits = 3e-5 if "layer_normalization" in OPTIONS[option] else 1e-5  # small variances magnify
    wanted = reference.run(spec, weights, inputs, lengths)
    for y, e in zip(engine.predict(inputs, lengths), wanted, strict=True):
        assert_close(y, e, digits, "predicted")

    seed, step = 3 + (number << 33), number + (5 << 32)
    trained = with_masks(spec, inputs[0], seed, step)
    wanted = reference.run(trained, weights, inputs, lengths)
    dy = [floats(rng, *y.shape) for y in wanted]
    outputs, d_weights, d_inputs = engine.gradients(inputs, dy, lengths, seed, step)
    for y, e in zip(outputs, wanted, strict=True):
        assert_close(y, e, digits, "training pass")

    def total(values: Mapping[str, Any]) -> float:
        own = {name: values.get(name, w) for name, w in weights.items()}
        given = [values.get(name, x) for name, x in zip(spec["inputs"], inputs, strict=True)]
        ys = reference.run(trained, own, given, lengths)
        return sum(float(np.sum(y * d)) for y, d in zip(ys, dy, strict=True))

    gradients = {**d_weights, **dict(zip(spec["inputs"], d_inputs, strict=True))}
    for name, value in [*weights.items(), *zip(spec["inputs"], inputs, strict=True)]:
        along = rng.standard_normal(value.shape)
        slope = reference.directional_derivative(lambda v, name=name: total({name: v}), value, along, eps=1e-8)
        gradient = gradients[name].astype(np.float64)
        got = float(np.sum(gradient * along))
        bound = 10 * digits * max(float(np.linalg.norm(gradient)), abs(slope)) + 2e-6
        assert abs(got - slope) <= bound, f"gradient of {name}: slope {got}, expected {slope}"
