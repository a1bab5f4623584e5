"""Every cell x direction x lengths x initial states x outputs against the float64 reference, on every instruction set.

A recurrent layer type that the engine gains is tested without a change here; it needs a row in reference.CELLS.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import reference
import sampling
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec
from random_cells import library, reads_x
from rekur import _core


def recurrent_types() -> list[str]:
    """The engine's layer types that take `units` and the options of every cell: asked, so that a new one is found."""
    found = []
    for name in _core.layer_types():
        try:
            probe = json.dumps({"type": name, "name": "probe", "units": 2, "state_clip": 1.0})
            _core.infer_layer(probe, [((None, 3, 2), "float32")])
        except (ValueError, TypeError):
            continue
        found.append(name)
    return found


# Run over the full product of directions, lengths, states and outputs ...
PLAIN: dict[str, dict[str, Any]] = {
    **{name.lower(): {"type": name} for name in recurrent_types()},
    "gru_reset_before": {"type": "GRU", "reset_after": False},
}
# ... these three share it among them ...
CELLS: dict[str, dict[str, Any]] = {
    **PLAIN,
    "lstm_peephole": {"type": "LSTM", "peepholes": True},
    "lstm_coupled": {"type": "LSTM", "coupled_gates": True},
    "lstm_peephole_coupled": {"type": "LSTM", "peepholes": True, "coupled_gates": True},
}
# ... and these over a handful of its corners.
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"simplernn_{f}": {"type": "SimpleRNN", "activation": f} for f in ("relu", "sigmoid", "leaky_relu", "linear")},
    "simplernn_elu": {"type": "SimpleRNN", "activation": {"name": "elu", "alpha": 0.7}},
    "simplernn_leaky_0.01": {"type": "SimpleRNN", "activation": {"name": "leaky_relu", "alpha": 0.01}},
    "lstm_hard": {"type": "LSTM", "activation": "softsign", "recurrent_activation": "hard_sigmoid"},
    "lstm_relu": {"type": "LSTM", "activation": "relu"},
    "gru_elu": {"type": "GRU", "activation": "elu", "recurrent_activation": "hard_sigmoid"},
    "gru_before_softsign": {"type": "GRU", "reset_after": False, "activation": "softsign"},
    **{f"{name}_no_bias": {**layer, "use_bias": False} for name, layer in CELLS.items()},
    "simplernn_softplus": {"type": "SimpleRNN", "activation": "softplus"},
    "simplernn_scaled": {"type": "SimpleRNN", "activation": {"name": "scaled_tanh", "alpha": -0.8, "beta": 0.7}},
    "simplernn_thresholded": {"type": "SimpleRNN", "activation": {"name": "thresholded_relu", "alpha": 0.3}},
    "gru_affine": {
        "type": "GRU",
        "activation": "scaled_tanh",
        "recurrent_activation": {"name": "affine", "alpha": 0.1, "beta": 0.4},
    },
    "lstm_output": {"type": "LSTM", "output_activation": {"name": "affine", "alpha": 0.5, "beta": 0.1}},
    "lstm_peephole_output": {
        "type": "LSTM",
        "peepholes": True,
        "activation": "softsign",
        "output_activation": "softplus",
    },
    "lstm_coupled_hard": {"type": "LSTM", "coupled_gates": True, "recurrent_activation": "hard_sigmoid"},
    **{f"{name}_clip": {**layer, "clip": 0.7} for name, layer in CELLS.items()},
    "lstm_peephole_clip_softplus": {"type": "LSTM", "peepholes": True, "activation": "softplus", "clip": 0.4},
    # The library's, found and not listed; test_cell_laws.py has more of them, and those with further inputs a step.
    **{f"cells.{n}": {"type": "RNN", "cell": cell} for n, cell in library().items() if not cell.get("step_inputs")},
    "simplernn_clip_leaky": {"type": "SimpleRNN", "activation": "leaky_relu", "clip": 0.3},
}

# Options of every cell that do the same in inference and training, dealt out among the cells. The others stand in
# test_cell_options.py.
DEALT: list[dict[str, Any]] = [
    {"layer_normalization": "sums", "normalization_epsilon": 0.1},
    {"state_clip": 0.4},
    {"layer_normalization": "state", "normalization_epsilon": 0.1},
    {"layer_normalization": "both", "normalization_epsilon": 0.3, "state_clip": 1.5},
]
VARIANTS |= {
    f"{name}.{'_'.join(DEALT[n % 4])}": {**layer, **DEALT[n % 4]}
    for n, (name, layer) in enumerate([*CELLS.items(), *VARIANTS.items()])
    if n % 3 < 2 or name in CELLS
}
SIZES = (1, 2, 3, 5, 7, 17, 31, 33, 65)
DIRECTIONS = ("forward", "reverse", "concat", "sum", "mul", "ave")
ARRIVES = ("y", "states", "both")  # through which outputs the gradient comes


@dataclass(frozen=True)
class Case:
    cell: str
    direction: str
    lengths: bool
    initial: bool
    sequences: bool
    states: bool
    arrives: str
    B: int
    T: int
    I: int
    H: int

    def __str__(self) -> str:
        flags = [name for name in ("lengths", "initial", "sequences", "states") if getattr(self, name)]
        return "-".join([self.cell, self.direction, *flags, self.arrives, f"B{self.B}T{self.T}I{self.I}H{self.H}"])

    @property
    def layer(self) -> dict[str, Any]:
        return (CELLS | VARIANTS)[self.cell]

    def spec(self) -> dict[str, Any]:
        count = reference.state_count(self.layer) * (1 if self.direction in ("forward", "reverse") else 2)
        options = {"units": self.H, "return_sequences": self.sequences, "return_state": self.states}
        names = ["x", *(f"s{k}" for k in range(count) if self.initial)]
        if self.direction in ("forward", "reverse"):
            layer = {**self.layer, **options, "reverse": self.direction == "reverse"}
        else:
            layer = {"type": "Bidirectional", "merge_mode": self.direction, "layer": {**self.layer, **options}}
        features = self.H if layer.get("layer", layer)["type"] == "RNN" and reads_x(self.layer["cell"]) else self.I
        return model_spec(
            [
                input_layer("x", None, features),
                *(input_layer(name, self.H) for name in names[1:]),
                {**layer, "name": "rnn", "inputs": names},
            ],
            ["rnn:0", *(f"rnn:{k + 1}" for k in range(count) if self.states)],
        )


def sized(i: int, most: int = 65) -> dict[str, int]:
    """B, T, I, H of the i-th case: over 81 cases nearly every pair of sizes meets; few cases are large throughout.

    T is at most ``most``, where the reference takes long for a step.
    """
    i, k = i % 81 % 9, i % 81 // 9
    B, T, I, H = (SIZES[(i + step * k + shift) % 9] for step, shift in ((0, 0), (1, 2), (2, 4), (4, 7)))
    while B * T * (I + H) * H > 1_500_000 or T * H > 65 * 33 or most < T:
        T = SIZES[SIZES.index(T) // 2]
    return {"B": B, "T": T, "I": I, "H": H}


def step_of(cell: str) -> int:
    """The library's cells and those with options have fewer cases each here."""
    return 4 if "." in cell else 1


def cases() -> list[Case]:
    flags = list(itertools.product(DIRECTIONS, *[(False, True)] * 4))
    chosen = [(cell, *f) for cell in PLAIN for f in flags]
    chosen += [(cell, *f) for n, cell in enumerate(VARIANTS) for f in flags[n % 7 :: 13 * step_of(cell)]]
    chosen += [(cell, *f) for n, cell in enumerate(list(CELLS)[len(PLAIN) :]) for f in flags[n::3]]
    result = []
    for i, (cell, direction, lengths, initial, sequences, states) in enumerate(chosen):
        arrives = ARRIVES[i // 2 % 3] if states else "y"
        result.append(
            Case(cell, direction, lengths, initial, sequences, states, arrives, **sized(i, 33 if "." in cell else 65))
        )
    return result


@dataclass
class Expected:
    inputs: list[np.ndarray]
    lengths: list[Any] | None
    outputs: list[np.ndarray]
    output_gradients: list[np.ndarray | None]
    derivatives: dict[str, tuple[np.ndarray, float]]  # by parameter or input: a random direction and the slope along it


@functools.cache
def expected(case: Case) -> Expected:
    spec = case.spec()
    rng = np.random.default_rng(list(str(case).encode()))
    weights = Engine(spec).weights
    inputs = [floats(rng, case.B, case.T, spec["layers"][0]["shape"][-1])]
    inputs += [floats(rng, case.B, case.H) for _ in spec["inputs"][1:]]
    lengths = None
    if case.lengths:
        steps = rng.integers(0, case.T + 1, case.B).astype(np.int32)
        steps[: case.B // 2 : 3] = case.T
        steps[1 : case.B // 2 + 1 : 5] = 0
        lengths = [steps, *[None] * (len(inputs) - 1)]
    outputs = reference.run(spec, weights, inputs, lengths)
    dy: list[np.ndarray | None] = [floats(rng, *y.shape) for y in outputs]
    if case.arrives == "y":
        dy[1:] = [None] * (len(dy) - 1)
    elif case.arrives == "states":
        dy[0] = None

    def total(values: dict[str, np.ndarray]) -> float:
        own = {name: values.get(name, w) for name, w in weights.items()}
        ys = reference.run(spec, own, [values.get(name, x) for name, x in named], lengths)
        return sum(float(np.sum(y * d)) for y, d in zip(ys, dy, strict=True) if d is not None)

    named = list(zip(spec["inputs"], inputs, strict=True))
    derivatives = {}
    for name, value in [*weights.items(), *named]:
        direction = rng.standard_normal(value.shape)
        # A step this small, as a sum over thousands of relus has a kink within any longer one.
        slope = reference.directional_derivative(lambda v, name=name: total({name: v}), value, direction, eps=1e-8)
        derivatives[name] = (direction, slope)
    return Expected(inputs, lengths, outputs, dy, derivatives)


def test_every_recurrent_layer_has_a_reference() -> None:
    assert set(recurrent_types()) == set(reference.CELLS)


@pytest.fixture
def chosen_isa(request: pytest.FixtureRequest) -> Iterator[None]:
    before = _core.isa()
    _core.set_isa(request.param)
    yield
    _core.set_isa(before)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each case meets one instruction set, the next one another; with --whole all of them."""
    if metafunc.function is not test_cell:
        return
    isas, whole = _core.available_isas(), sampling.whole
    pairs = [
        (isa, case)
        for i, case in enumerate(cases())
        for n, isa in enumerate(isas)
        if whole or (i + i // 7) % len(isas) == n
    ]
    metafunc.parametrize(
        ("chosen_isa", "case"), pairs, indirect=["chosen_isa"], ids=[f"{isa}-{case}" for isa, case in pairs]
    )


@pytest.mark.sampled(3)
def test_cell(chosen_isa: None, case: Case) -> None:
    spec, want = case.spec(), expected(case)
    engine, digits = Engine(spec), 3e-5 if case.cell.startswith("cells.") else 1e-5  # some magnify what they are given
    for name, y, e in zip(spec["outputs"], engine.predict(want.inputs, want.lengths), want.outputs, strict=True):
        assert_close(y, e, digits, f"predicted {name}")
    outputs, d_weights, d_inputs = engine.gradients(want.inputs, want.output_gradients, want.lengths)
    for name, y, e in zip(spec["outputs"], outputs, want.outputs, strict=True):
        assert_close(y, e, digits, f"training pass, {name}")
    gradients = {**d_weights, **dict(zip(spec["inputs"], d_inputs, strict=True))}
    # A slope may be what remains of large parts, of which float32 loses the last digits.
    noise = 2e-9 * sum(
        float(np.abs(y * d).sum()) for y, d in zip(want.outputs, want.output_gradients, strict=True) if d is not None
    )
    for name, (direction, slope) in want.derivatives.items():
        gradient = gradients[name].astype(np.float64)
        got = float(np.sum(gradient * direction))
        allowed = 10 * digits * max(float(np.linalg.norm(gradient)), abs(slope)) + 1e-6 + noise
        assert abs(got - slope) <= allowed, f"gradient of {name}: slope {got}, expected {slope}"


@pytest.mark.parametrize("cell", CELLS)
def test_every_gradient_at_a_small_size(isa: str, cell: str) -> None:
    """The same where the reference can afford elements by themselves, with --whole all of them."""
    case = Case(cell, "concat", True, True, True, True, "both", B=3, T=4, I=2, H=3)
    want = expected(case)
    assert_gradients(case.spec(), batch=lambda rng: (want.inputs, want.lengths))
