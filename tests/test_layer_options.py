"""Options around the step, of every cell: learned initial states, residual connections, recurrent weight dropout.

Against float64 and its central differences, over cells, directions, lengths, states and sizes drawn by seed; the same
bits whatever the threads. Streams stand in test_cpp_bits.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import reference
import rekur
from harness import Engine, assert_close, assert_gradient, assert_gradients, floats, input_layer, model_spec
from onnx_subject import Subject, assert_file_matches_reference
from random_cells import DIRECTIONS, SIZES, random_cell, reads_x
from rekur import _core, cells, layers

BUILT_IN: list[dict[str, Any]] = [
    {"type": "SimpleRNN"},
    {"type": "SimpleRNN", "activation": "relu", "clip": 1.5},
    {"type": "LSTM"},
    {"type": "LSTM", "peepholes": True},
    {"type": "LSTM", "coupled_gates": True, "peepholes": True},
    {"type": "GRU"},
    {"type": "GRU", "reset_after": False},
]
PROGRAMS = ("light_gru", "min_gru", "sru", "slstm", "janet", "ugrnn")


def core_of(rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """A layer without units: a cell that is built in, one of the library or a random one."""
    kind = rng.integers(3)
    if kind == 0:
        core = dict(BUILT_IN[int(rng.integers(len(BUILT_IN)))])
    elif kind == 1:
        core = {"type": "RNN", "cell": getattr(cells, str(rng.choice(PROGRAMS))).spec()}
    else:
        core = {"type": "RNN", "cell": random_cell(int(rng.integers(1000)))}
    return {**core, **options}


def spec_of(
    core: dict[str, Any],
    direction: str,
    I: int,
    H: int,
    *,
    residual: bool = False,
    initial: int = 0,
    sequences: bool = True,
    states: bool = True,
) -> dict[str, Any]:
    """One layer with this core. residual: of the whole. initial: states given."""
    both = direction not in ("forward", "reverse")
    names = reference.state_names(core)
    core = {**core, "units": H, "return_sequences": sequences, "return_state": states}
    option = {"residual": True} if residual else {}
    if both:
        layer = {"type": "Bidirectional", "merge_mode": direction, "layer": core, **option}
    else:
        layer = {**core, "reverse": direction == "reverse", **option}
    steps = core.get("cell", {}).get("step_inputs", [])
    starts = [f"s{k}" for k in range(initial)]
    return model_spec(
        [
            input_layer("x", None, I),
            *(input_layer(name, None, H) for name in steps),
            *(
                input_layer(name, core.get("projection_size", H) if k % len(names) == 0 else H)
                for k, name in enumerate(starts)
            ),
            {**layer, "name": "rnn", "inputs": ["x", *steps, *starts]},
        ],
        ["rnn", *(f"rnn:{k + 1}" for k in range(len(names) * (1 + both) if states else 0))],
    )


def draw(rng: np.random.Generator, sizes: Any, core: dict[str, Any], *, residual: bool = False) -> dict[str, Any]:
    """A model of the core, in any direction, with any of its states given."""
    direction = str(rng.choice(DIRECTIONS))
    H = int(rng.choice(sizes))
    I = int(rng.choice(sizes))
    if residual:
        I = 2 * H if direction == "concat" else H
    if reads_x(core["cell"]) if "cell" in core else False:
        if direction == "concat" and residual:
            direction = "sum"
        I = H
    count = len(reference.state_names(core))
    both = direction not in ("forward", "reverse")
    learns = core.get("learn_initial_state", False)
    initial = int(rng.choice([0, 2 * count])) if both else int(rng.integers(count + 1))
    initial = min(initial, (0 if both else count - 1) if learns else initial)
    return spec_of(
        core, direction, I, H, residual=residual, initial=initial,
        sequences=bool(rng.integers(2)), states=bool(rng.integers(2)),
    )  # fmt: skip


def data(rng: np.random.Generator, spec: dict[str, Any], B: int, T: int) -> tuple[list[np.ndarray], list[Any] | None]:
    inputs = [
        floats(rng, B, *(T if size is None else size for size in layer["shape"]))
        for layer in spec["layers"]
        if layer["type"] == "Input"
    ]
    if rng.random() < 0.4:
        return inputs, None
    lengths = rng.integers(0, T + 1, B).astype(np.int32)
    return inputs, [lengths if x.ndim == 3 else None for x in inputs]


def check_bits(engine: Engine, inputs: list[np.ndarray], lengths: Any, what: str) -> None:
    """Outputs against float64; the same bits for any number of threads, in training as in prediction."""
    before = _core.num_threads()
    expected = reference.run(engine.spec, engine.weights, inputs, lengths)
    found = []
    try:
        for threads in (1, 3):
            _core.set_num_threads(threads)
            y = engine.predict(inputs, lengths)
            dy = [np.random.default_rng(k).standard_normal(v.shape).astype(np.float32) for k, v in enumerate(y)]
            outputs, d_weights, d_inputs = engine.gradients(inputs, dy, lengths)
            found.append([*y, *d_weights.values(), *d_inputs])
            for a, b in zip(outputs, y, strict=True):
                np.testing.assert_array_equal(a, b, f"{what}: the training pass")
    finally:
        _core.set_num_threads(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b, f"{what}: threads")
    for y, e in zip(found[0], expected, strict=False):
        assert_close(y, e, 3e-5, what)


# -------------------------------------------------------------------------------------------- learned initial states


@pytest.mark.parametrize("seed", range(24))
def test_learned_initial_states_begin_what_is_not_given(isa: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    spec = draw(rng, SIZES, core_of(rng, learn_initial_state=True), residual=False)
    inputs, lengths = data(rng, spec, int(rng.choice([1, 3, 17])), int(rng.choice([1, 2, 7])))
    check_bits(Engine(spec, seed, 0.5), inputs, lengths, f"seed {seed}: {spec['layers'][-1]['type']}")


@pytest.mark.parametrize("seed", range(10))
def test_gradients_of_learned_initial_states(isa: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 2])
    kinds = [c for c in BUILT_IN if "clip" not in c] + [{"type": "RNN", "cell": cells.light_gru.spec()}]
    core = {**kinds[seed % len(kinds)], "learn_initial_state": True}
    spec = draw(rng, (2, 3), core)
    assert_gradients(spec, batch=lambda rng: data(rng, spec, 3, 3), seed=seed)


def test_parameters_of_learned_initial_states_come_last_and_begin_at_zero() -> None:
    one = rekur.Sequential([layers.LSTM(4, peepholes=True, learn_initial_state=True, input_shape=(None, 3), name="l")])
    names = ["kernel", "recurrent_kernel", "bias", "peephole", "initial_h", "initial_c"]
    weights = one.named_weights()
    assert list(weights) == [f"l/{name}" for name in names]
    assert (
        weights["l/initial_c"].shape == (4,) and not weights["l/initial_c"].any() and not weights["l/initial_h"].any()
    )
    both = rekur.Sequential([layers.Bidirectional(layers.GRU(4, learn_initial_state=True), input_shape=(None, 3))])
    own = ["kernel", "recurrent_kernel", "bias", "initial_h"]
    assert list(both.named_weights()) == [f"bidirectional/{d}/{n}" for d in ("forward", "backward") for n in own]
    cell = rekur.Sequential([layers.RNN(cells.slstm, 4, learn_initial_state=True, input_shape=(None, 3), name="r")])
    states = cells.slstm.spec()["states"]
    assert list(cell.named_weights())[-len(states) :] == [f"r/initial_{name}" for name in states]


def test_learned_initial_states_are_learned(rng: np.random.Generator) -> None:
    """What only they can tell: rows without a step, and the first output of a cell that forgets its input."""
    model = rekur.Sequential(
        [layers.SimpleRNN(3, activation="linear", learn_initial_state=True, input_shape=(None, 2), name="r")], seed=1
    )
    model.compile(rekur.optimizers.Adam(0.05), "mse")
    x, y = floats(rng, 16, 4, 2), np.tile(np.float32([0.5, -1, 2]), (16, 1))
    model.fit(x, y, epochs=150, lengths=np.zeros(16, np.int32), verbose=0)
    np.testing.assert_allclose(model.named_weights()["r/initial_h"], [0.5, -1, 2], atol=1e-2)


def test_what_is_given_is_not_learned() -> None:
    """An LSTM that is given h learns c alone; one that is given both has nothing to learn, which is an error."""
    x, h, c = rekur.Input((None, 3)), rekur.Input((4,)), rekur.Input((4,))
    model = rekur.Model([x, h], layers.LSTM(4, learn_initial_state=True, name="l")(x, initial_state=h))
    assert list(model.named_weights()) == ["l/kernel", "l/recurrent_kernel", "l/bias", "l/initial_c"]
    with pytest.raises(ValueError, match=r"LSTM 'l': learn_initial_state: every initial state is given"):
        layers.LSTM(4, learn_initial_state=True, name="l")(x, initial_state=[h, c])


def test_a_weight_of_a_cell_cannot_be_named_like_a_learned_state() -> None:
    @rekur.cell
    def shifted(x: Any, h: Any, *, initial_h: Any) -> Any:
        return rekur.ops.tanh(x.a + h.a + initial_h)

    layer = layers.RNN(shifted, 3, learn_initial_state=True, input_shape=(None, 2))
    with pytest.raises(ValueError, match=r"has a weight named 'initial_h' already"):
        rekur.Sequential([layer])


# ----------------------------------------------------------------------------------------------- residual connections


@pytest.mark.parametrize("seed", range(24))
def test_residual_adds_x_at_the_valid_steps(isa: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 3])
    spec = draw(rng, SIZES, core_of(rng), residual=True)
    inputs, lengths = data(rng, spec, int(rng.choice([1, 3, 17])), int(rng.choice([1, 2, 7])))
    check_bits(Engine(spec, seed, 0.5), inputs, lengths, f"seed {seed}: {spec['layers'][-1]['type']}")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("sequences", [True, False])
def test_gradients_of_residual_connections(direction: str, sequences: bool) -> None:
    core = {"type": "LSTM", "learn_initial_state": True}
    spec = spec_of(core, direction, 4, 2 if direction == "concat" else 4, residual=True, sequences=sequences)
    assert_gradients(spec, batch=lambda rng: ([floats(rng, 3, 3, 4)], [np.array([3, 0, 2], np.int32)]))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_residual_stack_trains_to_the_reference(threads: int, restore_threads: None) -> None:
    _core.set_num_threads(threads)
    stack = [
        {"type": kind, "units": 4, "return_sequences": True, "residual": k > 0, "name": f"r{k}", "inputs": [source]}
        for k, (kind, source) in enumerate([("LSTM", "x"), ("GRU", "r0"), ("SimpleRNN", "r1"), ("LSTM", "r2")])
    ]
    spec = model_spec([input_layer("x", None, 2), *stack], ["r3", "r1"])
    assert_gradients(spec, batch=lambda rng: ([floats(rng, 2, 5, 2)], [np.array([5, 3], np.int32)]))


def test_residual_needs_equal_widths() -> None:
    with pytest.raises(
        ValueError, match=r"LSTM 'lstm': residual: expected input of 5 features, .* got \(None, None, 4\)"
    ):
        rekur.Sequential([layers.LSTM(5, residual=True, input_shape=(None, 4))])
    layer = layers.Bidirectional(layers.LSTM(4), residual=True, input_shape=(None, 4))
    with pytest.raises(ValueError, match=r"residual: expected input of 8 features"):
        rekur.Sequential([layer])
    with pytest.raises(ValueError, match=r"must not have residual=True: give residual=True to Bidirectional"):
        layers.Bidirectional(layers.LSTM(4, residual=True))
    spec = spec_of({"type": "LSTM", "residual": True}, "sum", 4, 4)
    with pytest.raises(ValueError, match=r"'residual' must be false"):
        Engine(spec)


# ------------------------------------------------------------------------------------------- recurrent weight dropout


def dropped(gradients: dict[str, np.ndarray], rate: float) -> dict[str, np.ndarray]:
    """The masks, by name: a weight that was left out has no gradient."""
    return {
        name: np.where(g != 0, np.float32(1 / (1 - rate)), np.float32(0))
        for name, g in gradients.items()
        if name.endswith("recurrent_kernel")
    }


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("seed", range(12))
def test_recurrent_weight_dropout_trains_with_masked_kernels(isa: str, seed: int) -> None:
    """Outputs and gradients of a training step are those of R ⊙ m, in all directions and at all steps."""
    rng = np.random.default_rng([seed, 4])
    core = {**BUILT_IN[seed % len(BUILT_IN)], "recurrent_weight_dropout": 0.4, "use_bias": bool(seed % 2)}
    if seed >= len(BUILT_IN):
        core = {"type": "RNN", "cell": cells.ugrnn.spec(), "recurrent_weight_dropout": 0.4}
    core.pop("clip", None)
    if core["type"] == "SimpleRNN":
        core["activation"] = "tanh"
    direction = DIRECTIONS[seed % len(DIRECTIONS)]
    spec = spec_of(core, direction, 3, 4, sequences=bool(seed % 3))
    engine = Engine(spec, seed)
    x, lengths = floats(rng, 4, 5, 3), [np.array([5, 1, 4, 5], np.int32)]
    weights = engine.weights
    dy = [floats(rng, *y.shape) for y in engine.predict([x], lengths)]
    outputs, d_weights, _ = engine.gradients([x], dy, lengths, seed=seed, step=7)
    masks = dropped(d_weights, 0.4)
    assert 0 < np.mean([np.mean(m == 0) for m in masks.values()]) < 1

    def run(weights: Any) -> list[np.ndarray]:
        masked = {name: w * masks.get(name, 1) for name, w in weights.items()}
        return reference.run(spec, masked, [x], lengths)

    for y, e in zip(outputs, run(weights), strict=True):
        assert_close(y, e, 1e-5, "outputs")
    for name, w in weights.items():
        assert_gradient(
            d_weights[name],
            lambda v, name=name: sum(float(np.sum(y * d)) for y, d in zip(run({**weights, name: v}), dy, strict=True)),
            w,
            1e-4,
            name,
        )


def test_masks_of_recurrent_weights(restore_threads: None) -> None:
    """One a step, of seed and step alone: directions, layers and steps draw their own; threads change nothing."""
    H, rate = 33, 0.3
    core = {"type": "LSTM", "recurrent_weight_dropout": rate}
    spec = spec_of(core, "concat", 3, H)
    top = {"type": "LSTM", "units": H, "name": "top", "inputs": ["rnn"], "recurrent_weight_dropout": rate}
    spec = {**spec, "layers": [*spec["layers"], top], "outputs": ["top"]}
    engine = Engine(spec)
    x, dy = floats(np.random.default_rng(0), 3, 4, 3), floats(np.random.default_rng(1), 3, H)

    def masks(step: int) -> list[np.ndarray]:
        _, d_weights, _ = engine.gradients([x], [dy], seed=2, step=step)
        return [m == 0 for m in dropped(d_weights, rate).values()]

    first = masks(0)
    size = first[0].size
    for mask in first:
        assert abs(mask.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / size)
    several = [*first, *masks(1)]
    for k, a in enumerate(several):
        for b in several[:k]:
            assert 0.3 < np.mean(a != b) < 0.55  # 2 · 0.3 · 0.7 of independent ones
    _core.set_num_threads(3)
    for a, b in zip(first, masks(0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_runs_side_by_side_keep_their_masks(rng: np.random.Generator) -> None:
    """A training pass, another one and a prediction before the first one's backward pass: each has its own kernels."""
    spec = spec_of({"type": "GRU", "recurrent_weight_dropout": 0.5}, "forward", 3, 17)
    engine = Engine(spec)
    x, dy = floats(rng, 2, 5, 3), [floats(rng, 2, 5, 17), floats(rng, 2, 17)]
    alone = [engine.gradients([x], dy, seed=1, step=step) for step in (0, 1)]
    plain = engine.predict([x])
    runs = [engine.model.forward([x], None, 1, step) for step in (0, 1)]
    np.testing.assert_array_equal(engine.predict([x])[0], plain[0])
    assert np.abs(plain[0] - runs[0][0][0]).max() > 1e-3
    for (y, tape), (expected, d_weights, _) in zip(runs, alone, strict=True):
        np.testing.assert_array_equal(y[0], expected[0])
        flat, _ = engine.model.backward(tape, dy)
        for name, gradient in engine.split(flat).items():
            np.testing.assert_array_equal(gradient, d_weights[name])


def test_recurrent_weight_dropout_is_refused_where_there_is_nothing_to_drop() -> None:
    layer = layers.RNN(cells.min_gru, 4, recurrent_weight_dropout=0.2, input_shape=(None, 3))
    with pytest.raises(ValueError, match=r"its cell has no recurrent kernel"):
        rekur.Sequential([layer])
    for rate in (1.0, -0.1, 0.99999999999):
        with pytest.raises(ValueError, match=r"recurrent_weight_dropout must be"):
            layers.LSTM(4, recurrent_weight_dropout=rate)


# --------------------------------------------------------------------------------------------------------- around all


ALL = {"learn_initial_state": True, "residual": True, "recurrent_weight_dropout": 0.25}


@pytest.mark.parametrize(
    "kind", [layers.SimpleRNN, layers.LSTM, layers.GRU, lambda *a, **k: layers.RNN("light_gru", *a, **k)]
)
def test_options_are_in_the_spec_and_come_back(kind: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    assert not set(kind(4).config()) & set(ALL)
    layer = kind(4, return_sequences=True, name="r", input_shape=(None, 4), **ALL)
    assert {key: layer.config()[key] for key in ALL} == ALL
    model = rekur.Sequential([layer, layers.Dense(1)], seed=2)
    model.compile("adam", "mse")
    x = floats(rng, 5, 6, 4)
    model.fit(x, floats(rng, 5, 6, 1), epochs=2, verbose=0)
    assert model.named_weights()["r/initial_h"].any()
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert again.get_layer("r").config() == layer.config()
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    both = layers.Bidirectional(kind(2, learn_initial_state=True), residual=True)
    assert layers.Bidirectional.from_config(both.config()).config() == both.config()
    assert "residual" not in layers.Bidirectional(kind(2)).config()


def test_options_of_a_file_are_strict() -> None:
    for key, value, message in [
        ("residual", 1, "residual"),
        ("learn_initial_state", "yes", "learn_initial_state"),
        ("recurrent_weight_dropout", 1.0, "at least 0 and less than 1"),
        ("recurrent_weight_dropout", "0.1", "recurrent_weight_dropout"),
        ("weight_dropout", 0.1, "weight_dropout"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.Model(json.dumps(spec_of({"type": "LSTM", key: value}, "forward", 3, 3)))


# ----------------------------------------------------------------------------------------------------------------- ONNX


def subject(core: dict[str, Any], direction: str, H: int, seed: int, **options: Any) -> Subject:
    I = 2 * H if direction == "concat" and options.get("residual") else H
    spec = spec_of(core, direction, I, H, **options)
    return Subject(spec["layers"], spec["outputs"], seed)


@pytest.mark.parametrize("seed", range(16))
def test_onnx_files_have_learned_states_and_residual_connections(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([seed, 5])
    kinds = [*BUILT_IN, {"type": "RNN", "cell": cells.ugrnn.spec()}, {"type": "RNN", "cell": cells.slstm.spec()}]
    core = {**kinds[seed % len(kinds)], "learn_initial_state": True}
    direction, residual = DIRECTIONS[seed % len(DIRECTIONS)], bool(rng.integers(2))
    sequences, lengths = bool(rng.integers(2)), bool(rng.integers(2))
    given = subject(core, direction, 5, seed, residual=residual, sequences=sequences)
    path = tmp_path / "m.onnx"
    rekur.onnx.export(given, path, lengths=lengths, opset=17 + seed % 4)
    x = floats(rng, 4, 6, given.spec["layers"][0]["shape"][1])
    rows = np.array([6, 0, 3, 1], np.int32) if lengths else None
    with_lengths = {"lengths": rows} if rows is not None else None
    assert_file_matches_reference(path, given, {"x": x}, with_lengths, {"x": "lengths"} if lengths else None)
    if residual and sequences and lengths:
        return  # what our own import does not read
    model = rekur.onnx.load(path)
    (layer,) = (layer for layer in model.spec["layers"] if layer["type"] in ("Bidirectional", core["type"]))
    assert layer.get("layer", layer)["learn_initial_state"]
    found = model.predict(x, lengths=None if rows is None else {model.input_names[0]: rows}, verbose=0)
    expected = given.predict([x], lengths=None if rows is None else {"x": rows})
    for y, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, e, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("sequences", [True, False])
def test_onnx_steps_and_pieces_begin_where_the_layer_has_learned_to(kind: str, sequences: bool, tmp_path: Path) -> None:
    """export verifies them against the model; the file says what the states begin with."""
    core = {"type": kind, "learn_initial_state": True, **({"cell": cells.ugrnn.spec()} if kind == "RNN" else {})}
    given = subject(core, "forward", 5, 1, residual=True, sequences=sequences, states=sequences)
    rekur.onnx.export(given, tmp_path / "live.onnx", streaming=True)
    rekur.onnx.export(given, tmp_path / "pieces.onnx", states=True)
    entries = {p.key: p.value for p in onnx.load(tmp_path / "live.onnx").metadata_props}
    states = rekur.onnx.States.from_json(entries["rekur.states"])
    for state in states.states:
        np.testing.assert_array_equal(
            np.float32(state.start),
            given.weights[f"rnn/initial_{state.input.removeprefix('rnn_').removesuffix('_in')}"],
        )
    begun = states.start({}, 2)
    np.testing.assert_array_equal(begun[states.states[0].input][1], np.float32(states.states[0].start))


@pytest.mark.parametrize("sequences", [True, False])
def test_onnx_pieces_keep_what_a_residual_connection_adds(sequences: bool, tmp_path: Path) -> None:
    given = subject({"type": "LSTM"}, "forward", 4, 0, residual=True, sequences=sequences)
    report = rekur.onnx.export(given, tmp_path / "m.onnx", states=True, lengths=True)
    assert report.verification is not None


# ---------------------------------------------------------------------------------------------------------- projection

PROJECTABLE = [c for c in BUILT_IN if c["type"] != "GRU"] + [
    {"type": "RNN", "cell": cells.lstm.spec()},
    {"type": "RNN", "cell": cells.peephole_lstm.spec()},
]


def projected(rng: np.random.Generator, sizes: Any, kind: int, **options: Any) -> dict[str, Any]:
    H = int(rng.choice([n for n in sizes if n > 1]))
    P = int(rng.integers(1, H))
    core = {**PROJECTABLE[kind % len(PROJECTABLE)], **options, "projection_size": P}
    direction, residual = str(rng.choice(DIRECTIONS)), bool(rng.integers(2))
    I = (2 * P if direction == "concat" else P) if residual else int(rng.choice(sizes))
    count, both = len(reference.state_names(core)), direction not in ("forward", "reverse")
    return spec_of(
        core, direction, I, H, residual=residual,
        initial=0 if core.get("learn_initial_state") else int(rng.choice([0, 2 * count if both else 1])),
        sequences=bool(rng.integers(2)), states=bool(rng.integers(2)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(28))
def test_projections_are_what_the_equations_say(isa: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 6])
    spec = projected(rng, SIZES, seed, learn_initial_state=bool(seed % 2))
    inputs, lengths = data(rng, spec, int(rng.choice([1, 3, 17])), int(rng.choice([1, 2, 7])))
    check_bits(Engine(spec, seed, 0.5), inputs, lengths, f"seed {seed}: {spec['layers'][-1]}")


@pytest.mark.isa_in_turn
@pytest.mark.parametrize("seed", range(14))
def test_gradients_of_projections(isa: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 7])
    core = PROJECTABLE[seed % len(PROJECTABLE)]
    options = {"activation": "tanh", "clip": 50.0} if core.get("activation") == "relu" else {}
    spec = projected(rng, (2, 3, 4), seed, learn_initial_state=bool(seed % 2), **options)
    assert_gradients(spec, batch=lambda rng: data(rng, spec, 3, 3), seed=seed)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_projections_of_few_rows_and_of_stacks_take_any_number_of_threads(threads: int, restore_threads: None) -> None:
    """Hidden slices and wavefronts: the bits of one thread."""
    stack = [
        {
            "type": "LSTM",
            "units": H,
            "return_sequences": True,
            "name": f"r{k}",
            "inputs": [source],
            "projection_size": P,
        }
        for k, (H, P, source) in enumerate([(192, 67, "x"), (160, 150, "r0"), (257, 33, "r1")])
    ]
    engine = Engine(model_spec([input_layer("x", None, 9), *stack], ["r2", "r0"]), 1, 0.5)
    rng = np.random.default_rng(0)
    x, dy = floats(rng, 2, 11, 9), [floats(rng, 2, 11, 33), floats(rng, 2, 11, 67)]

    def run() -> list[np.ndarray]:
        outputs, d_weights, d_inputs = engine.gradients([x], dy)
        return [*engine.predict([x]), *outputs, *d_weights.values(), *d_inputs]

    _core.set_num_threads(1)
    expected = run()
    _core.set_num_threads(threads)
    for a, b in zip(run(), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    for y, e in zip(expected, reference.run(engine.spec, engine.weights, [x]), strict=False):
        assert_close(y, e, 1e-5)


def torch_weights(lstm: Any, layers: int, suffixes: tuple[str, ...]) -> list[np.ndarray]:
    """Of an nn.LSTM with proj_size, as docs/cells.md says: its matrices transposed, its biases added."""
    found = []
    for k in range(layers):
        for suffix in suffixes:
            W, R, b, c, P = (
                getattr(lstm, f"{name}_l{k}{suffix}").detach().numpy()
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
            )
            found += [W.T, R.T, b + c, P.T]
    return found


@pytest.mark.parametrize(("both", "depth"), [(False, 1), (True, 1), (False, 3), (True, 2)])
def test_projections_are_torchs(both: bool, depth: int) -> None:
    torch = pytest.importorskip("torch")
    for I, H, P in [(3, 5, 2), (7, 33, 17), (1, 2, 1), (5, 17, 16)]:
        lstm = torch.nn.LSTM(I, H, num_layers=depth, proj_size=P, batch_first=True, bidirectional=both)
        inputs = rekur.Input((None, I))
        y = inputs
        for _ in range(depth):
            layer = layers.LSTM(H, projection_size=P, return_sequences=True)
            y = layers.Bidirectional(layer)(y) if both else layer(y)
        model = rekur.Model(inputs, y)
        model.set_weights(torch_weights(lstm, depth, ("", "_reverse") if both else ("",)))
        x = np.random.default_rng(0).standard_normal((4, 9, I)).astype(np.float32)
        expected = lstm(torch.tensor(x))[0].detach().numpy()
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=0, atol=1e-6)


def test_parameters_of_a_projection() -> None:
    layer = layers.LSTM(
        5,
        peepholes=True,
        projection_size=2,
        learn_initial_state=True,
        return_state=True,
        input_shape=(None, 3),
        name="l",
    )
    model = rekur.Model(inputs := rekur.Input((None, 3)), layer(inputs))
    shapes = {name.removeprefix("l/"): w.shape for name, w in model.named_weights().items()}
    assert list(shapes.items()) == [
        ("kernel", (3, 20)), ("recurrent_kernel", (2, 20)), ("bias", (20,)), ("peephole", (3, 5)),
        ("projection_kernel", (5, 2)), ("initial_h", (2,)), ("initial_c", (5,)),
    ]  # fmt: skip
    assert [tuple(shape) for shape in model.output_shape] == [(None, 2), (None, 2), (None, 5)]


def test_projections_are_refused_where_the_cell_reads_its_output() -> None:
    for layer, message in [
        (layers.GRU(4, projection_size=2), r"GRU 'gru': projection_size: .*read 'h' unit by unit"),
        (layers.GRU(4, projection_size=2, reset_after=False), r"GRU 'gru': projection_size: .*read 'h' unit by unit"),
        (
            layers.RNN(cells.ugrnn, 4, projection_size=2),
            r"RNN 'rnn': projection_size: cell 'ugrnn': its equations read 'h'",
        ),
        (layers.LSTM(4, projection_size=2, zoneout=0.1), "'lstm': projection_size: zoneout reads 'h' unit by unit"),
        (layers.LSTM(4, projection_size=2, recurrent_dropout=0.1), "the masks of recurrent_dropout read 'h'"),
    ]:
        with pytest.raises(ValueError, match=message):
            rekur.Model(x := rekur.Input((None, 3)), layer(x))
    for size in (4, 5, 0, -1):
        with pytest.raises(ValueError, match="projection_size"):
            layers.LSTM(4, projection_size=size)
        spec = spec_of({"type": "LSTM", "projection_size": size}, "forward", 3, 4)
        with pytest.raises(ValueError, match="projection_size"):
            Engine(spec)
    with pytest.raises(ValueError, match="projection_initializer is that of projection_size"):
        layers.LSTM(4, projection_initializer="zeros")


def test_projections_go_with_the_other_options(rng: np.random.Generator, tmp_path: Path) -> None:
    model = rekur.Sequential(
        [
            layers.LSTM(
                9, projection_size=4, layer_normalization=True, recurrent_weight_dropout=0.3, dropout=0.1,
                zoneout={"c": 0.1}, residual=True, learn_initial_state=True, return_sequences=True,
                input_shape=(None, 4),
            ),
            layers.SimpleRNN(5, projection_size=3, projection_initializer="orthogonal"),
            layers.Dense(1),
        ],
        seed=3,
    )  # fmt: skip
    model.compile("adam", "mse")
    x, y = floats(rng, 12, 6, 4), floats(rng, 12, 1)
    history = model.fit(x, y, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.layers[0].projection_size == 4 and again.layers[1].config()["projection_initializer"] == "orthogonal"


@pytest.mark.usefixtures("by_nodes")
@pytest.mark.parametrize("seed", range(14))
def test_onnx_files_have_projections_and_give_them_back(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([seed, 8])
    core = {**PROJECTABLE[seed % len(PROJECTABLE)], "projection_size": 3, "learn_initial_state": bool(seed % 2)}
    direction = DIRECTIONS[seed % len(DIRECTIONS)]
    count = len(reference.state_names(core)) * (1 if direction in ("forward", "reverse") else 2)
    initial = 0 if core["learn_initial_state"] else int(rng.choice([0, count]))
    options: dict[str, Any] = {"sequences": bool(rng.integers(2)), "initial": initial}
    given = subject(core, direction, 5, seed, **options)
    path, lengths = tmp_path / "m.onnx", bool(rng.integers(2))
    rekur.onnx.export(given, path, lengths=lengths, opset=17 + seed % 4)
    inputs, _ = data(rng, given.spec, 4, 6)
    rows = np.array([6, 0, 3, 1], np.int32) if lengths else None
    with_lengths = {"lengths": rows} if rows is not None else None
    feed = dict(zip(given.spec["inputs"], inputs, strict=True))
    assert_file_matches_reference(path, given, feed, with_lengths, {"x": "lengths"} if lengths else None)
    model = rekur.onnx.load(path)
    (layer,) = (layer for layer in model.spec["layers"] if layer["type"] in ("Bidirectional", "RNN"))
    assert layer.get("layer", layer)["projection_size"] == 3
    x = [feed[name] for name in model.input_names]
    found = model.predict(x if len(x) > 1 else x[0], lengths=None if rows is None else {"x": rows}, verbose=0)
    for y, e in zip(found, given.predict(inputs, lengths=None if rows is None else {"x": rows}), strict=True):
        np.testing.assert_array_equal(y, e)
    if direction == "forward":
        rekur.onnx.export(given, tmp_path / "live.onnx", streaming=True)
        step = rekur.onnx.load(tmp_path / "live.onnx")
        (one,) = (layer for layer in step.spec["layers"] if layer["type"] == "RNN")
        assert one["projection_size"] == 3
        rekur.onnx.export(given, tmp_path / "pieces.onnx", states=True, lengths=True)
