"""AttentionRNN and Loop: numbers, gradients against float64, lengths and masks of both sides, bits, files, errors."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_attention_rnn
import rekur
from harness import Engine, assert_close, assert_gradient, floats
from rekur import _core
from rekur import layers as L

CELLS: dict[str, Any] = {
    "lstm": lambda H: L.LSTMCell(H),
    "gru": lambda H: L.GRUCell(H),
    "gru_before": lambda H: L.GRUCell(H, reset_after=False),
    "simple": lambda H: L.SimpleRNNCell(H, activation="tanh"),
    "peepholes": lambda H: L.LSTM(H, peepholes=True),
    "program": lambda H: L.RNN(rekur.cells.light_gru, H),
    "stack": lambda H: [L.GRUCell(3), L.LSTMCell(H)],
    "deep": lambda H: [L.LSTMCell(2), L.SimpleRNNCell(5), L.RNN(rekur.cells.peephole_lstm, H)],
}
KINDS: dict[str, dict[str, Any]] = {
    "dot": {"attention": "dot"},
    "dot sized": {"attention": "dot", "attention_size": 5},
    "dot covered": {"attention": "dot", "attention_size": 3, "coverage": True},
    "dot alone": {"attention": "dot", "input_feeding": False},
    "general": {"attention": "general", "attention_size": 2},
    "general covered": {"attention": "general", "coverage": True},
    "concat": {"attention": "concat", "attention_units": 6},
    "concat covered": {"attention": "concat", "attention_size": 5, "coverage": True},
    "bahdanau": {"attention": "bahdanau", "attention_units": 3},
    "bahdanau covered": {"attention": "bahdanau", "attention_size": 4, "coverage": True},
    "multi_head": {"attention": "multi_head", "num_heads": 2, "key_dim": 3},
    "one head": {"attention": "multi_head", "num_heads": 1, "key_dim": 5, "attention_size": 3},
}
ALL = {"return_sequences": True, "return_state": True, "return_attention_scores": True}
PAD = 9.0  # of a step that Masking leaves out


class Case:
    """A model of one layer, as the engine and as the reference have it."""

    def __init__(
        self, cell: Any, F: int = 3, M: int = 4, masked: bool = False, states: int = 0, **options: Any
    ) -> None:
        self.layer = L.AttentionRNN(cell, name="decoder", **options)
        x, memory = rekur.Input((None, F), name="x"), rekur.Input((None, M), name="memory")
        given = [L.Masking(PAD)(x), L.Masking(PAD)(memory)] if masked else [x, memory]
        if states:
            probe = L.AttentionRNN.from_config({**self.layer.get_config(), "return_state": True})
            shapes = probe.compute_output_shape([(1, 2, F), (1, 5, M)])
            at = 1 + self.layer.return_attention_scores
            named = [rekur.Input(shape[1:], name=f"s{k}") for k, shape in enumerate(shapes[at : at + states])]
        else:
            named = []
        self.states = [tensor.shape for tensor in named]
        made = self.layer(*given, initial_state=named or None)
        self.model = rekur.Model([x, memory, *named], made)
        self.engine = Engine(self.model.spec, 3)
        self.masked = masked

    def weights(self, given: Any) -> dict[str, Any]:
        names = {name.removeprefix("decoder."): w for name, w in given.items()}
        return names

    def reference(self, weights: Any, inputs: Any, steps: Any, seen: Any) -> list[Any]:
        return reference_attention_rnn.run(
            self.layer.get_config(), self.weights(weights), *inputs[:2], inputs[2:], steps, seen, self.masked
        )


def valid(lengths: Any, T: int) -> Any:
    return None if lengths is None else np.arange(T) < np.asarray(lengths)[:, None]


def check(
    case: Case,
    inputs: list[Any],
    lengths: Any = None,
    holes: Any = (None, None),
    each: bool = False,
) -> None:
    """Outputs and gradients, each by itself or all along a few directions, against the reference's differences."""
    engine, rng = case.engine, np.random.default_rng(5)
    steps, seen = holes if lengths is None else (valid(n, x.shape[1]) for n, x in zip(lengths, inputs, strict=False))
    rows = None if lengths is None else [*lengths, *[None] * (len(inputs) - 2)]
    expected = case.reference(engine.weights, inputs, steps, seen)
    for y, e in zip(engine.predict(inputs, rows), expected, strict=True):
        assert_close(y, e, 1e-5)
    dy = [floats(rng, *e.shape) for e in expected]
    outputs, d_weights, d_inputs = engine.gradients(inputs, dy, rows)
    for y, again in zip(outputs, engine.predict(inputs, rows), strict=True):
        np.testing.assert_array_equal(y, again)
    names = list(d_weights)
    parts = [np.asarray(a, np.float64) for a in (*(engine.weights[name] for name in names), *inputs)]

    def total(parts: Any) -> float:
        weights = dict(zip(names, parts, strict=False))
        found = case.reference(weights, parts[len(names) :], steps, seen)
        return sum(float(np.sum(y * d)) for y, d in zip(found, dy, strict=True))

    if not each:  # along a few directions of all of them together
        for _ in range(4):
            along = [floats(rng, *part.shape) for part in parts]
            ends = [total([p + step * a for p, a in zip(parts, along, strict=True)]) for step in (1e-6, -1e-6)]
            terms = [
                np.asarray(g, np.float64) * a for g, a in zip((*d_weights.values(), *d_inputs), along, strict=True)
            ]
            exact, size = sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)
            assert abs(exact - (ends[0] - ends[1]) / 2e-6) <= 1e-5 * max(1.0, size)
        return

    found = [*(d_weights[name] for name in names), *d_inputs]
    for k, (name, got) in enumerate(zip([*names, "x", "memory", *"abcdef"], found, strict=False)):
        assert_gradient(
            got, lambda v, k=k: total([*parts[:k], v, *parts[k + 1 :]]), parts[k], 1e-4, f"gradient of {name}"
        )


LENGTHS = {
    "full": None,
    "lengths": (np.array([2, 4, 1], np.int32), np.array([5, 1, 3], np.int32)),
    "an empty row": (np.array([0, 4, 4], np.int32), np.array([5, 5, 2], np.int32)),
}


@pytest.mark.parametrize("given", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_attention_is_that_of_float64(isa: str, rng: np.random.Generator, kind: str, given: str) -> None:
    case = Case(L.LSTMCell(4), **KINDS[kind], **ALL)
    check(case, [floats(rng, 3, 4, 3), floats(rng, 3, 5, 4)], LENGTHS[given], each=True)


@pytest.mark.parametrize("kind", ["dot", "concat covered", "bahdanau"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_that_of_float64(rng: np.random.Generator, cell: str, kind: str) -> None:
    made = CELLS[cell](4)
    case = Case(made, **KINDS[kind], **ALL)
    check(case, [floats(rng, 3, 4, 3), floats(rng, 3, 5, 4)], LENGTHS["lengths"])


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("states", [1, 2, 3, 4])
def test_initial_states_are_the_first_ones(rng: np.random.Generator, states: int, sequences: bool) -> None:
    options = {**KINDS["dot covered"], **ALL, "return_sequences": sequences}
    case = Case(L.LSTMCell(4), states=states, **options)
    S = 5
    given = [floats(rng, 3, *(S if n is None else n for n in shape[1:])) for shape in case.states]
    inputs = [floats(rng, 3, 4, 3), floats(rng, 3, S, 4), *given]
    for lengths in LENGTHS.values():
        check(case, inputs, lengths)


@pytest.mark.parametrize("kind", ["dot", "general covered", "bahdanau covered", "multi_head"])
@pytest.mark.parametrize("sequences", [True, False])
def test_masks_with_holes_on_both_sides(rng: np.random.Generator, kind: str, sequences: bool) -> None:
    case = Case(L.GRUCell(4), masked=True, **KINDS[kind], **{**ALL, "return_sequences": sequences})
    x, memory = floats(rng, 3, 6, 3), floats(rng, 3, 5, 4)
    steps, seen = rng.random((3, 6)) < 0.6, rng.random((3, 5)) < 0.6
    steps[0], steps[1, :2], seen[:, 2] = True, False, True
    x[~steps], memory[~seen] = PAD, PAD
    check(case, [x, memory], holes=(steps, seen))


@pytest.mark.parametrize(
    ("B", "T", "S", "H"), [(1, 1, 1, 1), (2, 3, 1, 7), (5, 2, 33, 17), (7, 5, 3, 31), (17, 3, 7, 33), (3, 7, 130, 2)]
)
@pytest.mark.parametrize("kind", ["dot sized", "concat covered", "multi_head"])
def test_awkward_sizes(isa: str, rng: np.random.Generator, kind: str, B: int, T: int, S: int, H: int) -> None:
    case = Case(L.LSTMCell(H), F=H, M=H, **KINDS[kind], **ALL)
    inputs = [floats(rng, B, T, H), floats(rng, B, S, H)]
    lengths = [rng.integers(0, T + 1, B).astype(np.int32), rng.integers(1, S + 1, B).astype(np.int32)]
    lengths[0][0] = T
    check(case, inputs, lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_for_any_number_of_threads_and_for_a_row_alone(
    rng: np.random.Generator, restore_threads: None, kind: str
) -> None:
    case = Case([L.GRUCell(40), L.LSTMCell(64)], F=24, M=64, **KINDS[kind], **ALL)
    B, T, S = 19, 6, 11
    inputs = [floats(rng, B, T, 24), floats(rng, B, S, 64)]
    lengths = [rng.integers(0, T + 1, B).astype(np.int32), rng.integers(1, S + 1, B).astype(np.int32)]
    together = case.engine.predict(inputs, lengths)
    dy = [floats(rng, *y.shape) for y in together]
    found = []
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        outputs, d_weights, d_inputs = case.engine.gradients(inputs, dy, lengths)
        for y, again in zip(outputs, case.engine.predict(inputs, lengths), strict=True):
            np.testing.assert_array_equal(y, again)
        found.append([*outputs, *d_weights.values(), *d_inputs])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    for rows in ([3], [5, 4], rng.permutation(B)):
        some = case.engine.predict([x[rows] for x in inputs], [n[rows] for n in lengths])
        for y, whole in zip(some, together, strict=True):
            np.testing.assert_array_equal(y, whole[rows])


def test_a_sequence_in_two_parts_goes_on_from_the_states(rng: np.random.Generator) -> None:
    whole = Case(L.LSTMCell(5), M=5, **KINDS["dot covered"], **ALL)
    part = Case(L.LSTMCell(5), M=5, states=4, **KINDS["dot covered"], **ALL)
    part.engine.weights = whole.engine.weights
    x, memory = floats(rng, 2, 7, 3), floats(rng, 2, 5, 5)
    expected = whole.engine.predict([x, memory])
    _, _, *states = whole.engine.predict([x[:, :3].copy(), memory])
    y, scores, *last = part.engine.predict([x[:, 3:].copy(), memory, *states])
    np.testing.assert_array_equal(y, expected[0][:, 3:])
    np.testing.assert_array_equal(scores, expected[1][:, 3:])
    for a, b in zip(last, expected[2:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("remat", [False, True])
def test_training_learns_to_copy(remat: bool) -> None:
    """What stands in the memory at the place that x points at; with remat to the same bits."""
    rng = np.random.default_rng(0)
    n, S, T = 64, 6, 5
    memory = floats(rng, n, S, 8)
    x = np.tile(np.eye(S, dtype=np.float32)[rng.permuted(np.tile(np.arange(S), (n, 1)), axis=1)[:, :T]], 1)
    memory = np.concatenate([memory, np.tile(np.eye(S, dtype=np.float32), (n, 1, 1))], axis=-1)
    target = np.einsum("bts,bsf->btf", x, memory[..., :8])
    a, b = rekur.Input((None, S)), rekur.Input((None, 8 + S))
    y = L.AttentionRNN(L.LSTMCell(16), "general", return_sequences=True)(a, b)
    model = rekur.Model([a, b], L.Dense(8)(y), seed=1)
    model.compile(rekur.optimizers.Adam(0.02), "mse", remat=remat)
    losses = model.fit([x, memory], target, epochs=40, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.25 * losses[0]
    stored = vars(test_training_learns_to_copy).setdefault("losses", losses)
    assert losses == stored


@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.4}, {"recurrent_dropout": 0.4}, {"zoneout": 0.4}, {"recurrent_weight_dropout": 0.4}],
    ids=lambda options: next(iter(options)),
)
def test_what_a_cell_drops_in_training(rng: np.random.Generator, options: dict[str, float]) -> None:
    """Gradients are those of the numbers that seed and step draw; a cell's masks are one a sequence."""
    case = Case(L.LSTMCell(5, **options), **{**KINDS["general"], "return_sequences": True})
    inputs = [floats(rng, 3, 4, 3), floats(rng, 3, 5, 4)]
    lengths = [np.array([3, 4, 2], np.int32), None]
    dy = [floats(rng, *case.engine.predict(inputs, lengths)[0].shape)]
    y, d_weights, d_inputs = case.engine.gradients(inputs, dy, lengths, 3, 4)
    again = case.engine.gradients(inputs, dy, lengths, 3, 4)
    np.testing.assert_array_equal(y[0], again[0][0])
    assert not np.array_equal(y[0], case.engine.gradients(inputs, dy, lengths, 3, 5)[0][0])
    assert not np.array_equal(y[0], case.engine.predict(inputs, lengths)[0])
    weights = case.engine.weights
    along = {name: floats(rng, *w.shape) for name, w in weights.items()}

    def total(step: float) -> float:
        case.engine.weights = {name: w + step * along[name] for name, w in weights.items()}
        return float(np.sum(case.engine.gradients(inputs, dy, lengths, 3, 4)[0][0].astype(np.float64) * dy[0]))

    numeric = (total(3e-3) - total(-3e-3)) / 6e-3
    exact = sum(float(np.sum(d_weights[name] * along[name])) for name in weights)
    size = sum(float(np.sum(np.abs(d_weights[name] * along[name]))) for name in weights)
    assert abs(numeric - exact) < 2e-3 * size
    if "dropout" in options:  # what is dropped of x has no gradient at any step
        none = np.all(d_inputs[0] == 0, axis=1)
        assert 0 < none.sum() < none.size


def test_a_model_is_saved_loaded_copied_and_summed_up(tmp_path: Path, rng: np.random.Generator) -> None:
    cells = [L.LSTMCell(4, dropout=0.25, kernel_regularizer="l2"), L.RNN(rekur.cells.light_gru, 6)]
    layer = L.AttentionRNN(cells, "concat", 5, coverage=True, return_sequences=True, name="decoder")
    x, memory = rekur.Input((None, 3), name="x"), rekur.Input((None, 4), name="memory")
    model = rekur.Model([x, memory], layer(x, memory), seed=3)
    arrays = [floats(rng, 2, 4, 3), floats(rng, 2, 5, 4)]
    y = model.predict(arrays, verbose=0)
    model.save(tmp_path / "m.safetensors")
    others = [
        rekur.models.load_model(tmp_path / "m.safetensors"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ]
    clone = rekur.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (*others, clone, rekur.Model.from_config(model.get_config())):
        if other not in (*others, clone):
            other.set_weights(model.get_weights())
        assert isinstance(other.layers[-1], L.AttentionRNN)
        assert other.layers[-1].get_config() == layer.get_config()
        np.testing.assert_array_equal(other.predict(arrays, verbose=0), y)
    json.dumps(layer.get_config())
    assert len(layer.get_weights()) == len(layer.weights) == 11
    assert model.count_params() == sum(w.size for w in model.get_weights())
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert any("AttentionRNN" in line for line in lines)
    assert layer.compute_output_shape([(2, 7, 3), (2, 9, 4)]) == (2, 7, 5)
    # The penalty of a cell's kernel is that of the loop's parameter.
    model.compile("sgd", "mse")
    kernel = next(
        w for w, v in zip(layer.get_weights(), layer.weights, strict=True) if v.path.endswith("cell_0/kernel")
    )
    loss = model.evaluate(arrays, np.zeros_like(y), verbose=0)
    assert loss == pytest.approx(float(np.mean(y**2)) + 0.01 * float(np.sum(kernel**2)), rel=1e-5)


def test_arrays_are_computed_at_once(rng: np.random.Generator) -> None:
    layer = L.AttentionRNN(L.GRUCell(4), return_attention_scores=True)
    y, scores = layer(floats(rng, 2, 3, 5), floats(rng, 2, 6, 4))
    assert np.shape(y) == (2, 8)
    np.testing.assert_allclose(np.sum(scores, axis=-1), 1, rtol=1e-5)


def test_a_model_of_one_step_is_carried_out_for_every_step(rng: np.random.Generator) -> None:
    """Loop of a model: a running sum, weighted by a vector that is held."""
    x, scale, total = rekur.Input((1, 3), name="x"), rekur.Input((3,), name="scale"), rekur.Input((1, 3), name="total")
    new = L.Add()([x, total])
    step = rekur.Model([x, scale, total], [L.Multiply()([L.Step(0)(new), scale]), new])
    xs, held = rekur.Input((None, 3), name="xs"), rekur.Input((3,), name="held")
    y, last = L.Loop(step, states=1, return_sequences=True, return_state=True)([xs, held])
    model = rekur.Model([xs, held], [y, last])
    a, b = floats(rng, 4, 6, 3), floats(rng, 4, 3)
    got = model.predict([a, b], lengths={"xs": np.array([6, 2, 0, 5])}, verbose=0)
    sums = np.cumsum(a, axis=1)
    for row, n in enumerate((6, 2, 0, 5)):
        np.testing.assert_allclose(got[0][row, :n], sums[row, :n] * b[row], rtol=1e-5, atol=1e-6)
        assert not got[0][row, n:].any()
        np.testing.assert_allclose(got[1][row, 0], sums[row, n - 1] if n else np.zeros(3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.AttentionRNN(L.Dense(3)), "AttentionRNN 'attention_rnn': cell: expected an LSTMCell, GRUCell"),
        (lambda: L.AttentionRNN(3), "cell: expected an LSTMCell"),
        (lambda: L.AttentionRNN([]), "cell: expected at least one cell"),
        (lambda: L.AttentionRNN(L.LSTM(3, reverse=True)), "reverse=True says how a layer goes through time"),
        (lambda: L.AttentionRNN(L.LSTM(3, learn_initial_state=True)), "learn_initial_state=True says how"),
        (lambda: L.AttentionRNN(L.GRUCell(3), "luong"), "attention"),
        (lambda: L.AttentionRNN(L.GRUCell(3), "multi_head"), "'multi_head' needs num_heads and key_dim"),
        (lambda: L.AttentionRNN(L.GRUCell(3), "bahdanau", input_feeding=False), "input_feeding=False: in 'bahdanau'"),
        (
            lambda: L.AttentionRNN(L.GRUCell(3), "multi_head", num_heads=1, key_dim=2, coverage=True),
            "coverage: heads have weights of their own",
        ),
        (lambda: L.AttentionRNN(L.GRUCell(3), unit=4), "unit"),
        (lambda: L.AttentionRNN(L.GRUCell(3))(rekur.Input((5, 2))), "expected a sequence and a memory, got 1 input"),
        (lambda: L.AttentionRNN(L.GRUCell(3))(rekur.Input((5, 2)), rekur.Input((4,))), "expected memory of shape"),
        (lambda: L.AttentionRNN(L.GRUCell(3))(rekur.Input((2,)), rekur.Input((4, 3))), "expected inputs of shape"),
        (
            lambda: L.AttentionRNN(L.GRUCell(3))(rekur.Input((5, 2)), rekur.Input((4, 7))),
            "attention 'dot' multiplies what the cells give, 3 features",
        ),
        (
            lambda: L.AttentionRNN(L.GRUCell(3))(
                rekur.Input((5, 2)), rekur.Input((4, 3)), [rekur.Input((3,)) for _ in range(4)]
            ),
            "expected at most 2 initial states, got 4",
        ),
        (
            lambda: L.AttentionRNN(L.GRUCell(3))(rekur.Input((5, 2)), rekur.Input((4, 3)), rekur.Input((7,))),
            "expected the initial state 'state_0_0' of shape",
        ),
        (lambda: L.Loop(3), "Loop 'loop': body must be a model of one step"),
        (lambda: L.Loop({}, steps=0), "steps"),
        (lambda: L.Loop({})(rekur.Input((5, 2))), "its body: model: missing key 'format'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert message in str(caught.value)


def test_resets_and_truncated_training_and_streams_are_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    x, memory = rekur.Input((None, 3), name="x"), rekur.Input((None, 4), name="memory")
    model = rekur.Model([x, memory], L.AttentionRNN(L.GRUCell(4), return_sequences=True, name="decoder")(x, memory))
    arrays = [floats(rng, 2, 4, 3), floats(rng, 2, 5, 4)]
    with pytest.raises(ValueError, match=r"Loop 'decoder.loop': looks across the borders"):
        model.predict(arrays, resets={"x": np.array([[0, 1, 0, 0]] * 2, bool)}, verbose=0)
    with pytest.raises(ValueError, match=r"cannot go one step at a time"):
        rekur.export_static(model, tmp_path / "m.hpp")
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"tbptt"):
        model.fit(arrays, floats(rng, 2, 4, 8), tbptt=2, verbose=0)


ONNX = {
    "plain": {},
    "lengths": {"lengths": True},
    "masks": {"masks": True},
}


@pytest.mark.parametrize("options", ONNX.values(), ids=ONNX)
@pytest.mark.parametrize("kind", ["dot sized", "general covered", "concat covered", "bahdanau", "multi_head"])
@pytest.mark.parametrize("sequences", [True, False])
def test_onnx_files_are_scans_that_are_verified(
    tmp_path: Path, kind: str, options: dict[str, bool], sequences: bool
) -> None:
    onnx = pytest.importorskip("onnx")
    from rekur.onnx import export, load

    cells = [L.GRUCell(3), L.RNN(rekur.cells.light_gru, 4)] if kind == "concat covered" else L.LSTMCell(4)
    layer = L.AttentionRNN(cells, **KINDS[kind], **{**ALL, "return_sequences": sequences}, name="decoder")
    x, memory = rekur.Input((None, 3), name="x"), rekur.Input((None, 4), name="memory")
    model = rekur.Model([x, memory], layer(x, memory), seed=2)
    report = export(model, tmp_path / "m.onnx", **options)
    assert report.verification is not None and report.verification.cases > 0
    assert any(node.op_type == "Scan" for node in onnx.load(tmp_path / "m.onnx").graph.node)
    again = load(tmp_path / "m.onnx")
    assert again.spec == rekur.Model.from_spec(model.spec).spec
    for name, w in again.named_weights().items():
        np.testing.assert_array_equal(w, model.named_weights()[name])


def test_onnx_files_of_an_encoder_and_a_decoder(tmp_path: Path) -> None:
    """Ids, states handed over, lengths of both sides, two decoders of one memory, one of them called twice."""
    pytest.importorskip("onnx")
    from rekur.onnx import export

    source, target = (rekur.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    memory, h, c = L.LSTM(5, return_sequences=True, return_state=True)(L.Embedding(7, 3)(source))
    words = L.Embedding(6, 4)(target)
    y = L.AttentionRNN(L.LSTMCell(5), "general", 6, return_sequences=True)(words, memory, [h, c])
    twice = L.AttentionRNN(L.GRUCell(5), "bahdanau", 4, return_sequences=True)
    z = twice(twice(words, memory), memory)
    model = rekur.Model([source, target], [L.Dense(6, activation="softmax")(y), z], seed=1)
    for options in ONNX.values():
        assert export(model, tmp_path / "m.onnx", **options).verification is not None


@pytest.mark.parametrize("option", ["streaming", "states"])
def test_onnx_files_of_steps_are_refused_by_name(tmp_path: Path, option: str) -> None:
    pytest.importorskip("onnx")
    from rekur.onnx import ExportError, export

    x, memory = rekur.Input((None, 3), name="x"), rekur.Input((None, 4), name="memory")
    y = L.AttentionRNN(L.LSTMCell(4), return_sequences=True, name="decoder")(L.GRU(3, return_sequences=True)(x), memory)
    with pytest.raises(ExportError, match=f"{option}=True: Loop 'decoder.loop': its steps see a memory as a whole"):
        export(rekur.Model([x, memory], y), tmp_path / "m.onnx", **{option: True})
