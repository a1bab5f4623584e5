"""Matrices of a cell's own, heads, and parameters that are not trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur
from harness import Engine, assert_close, assert_gradients
from random_cells import cell_inputs, cell_model
from rekur import cells, initializers, layers

pytestmark = pytest.mark.usefixtures("by_nodes")

VARIANTS = {
    "ltc of 3 unfolds": cells.ltc.bind(unfolds=3).spec(()),
    "slstm of 2 heads": cells.slstm.bind(heads=2).spec(),
    "slstm of 4 heads": cells.slstm.bind(heads=4).spec(),
    "lmu": cells.lmu.bind(theta=5.0).spec(),
    "rg_lru of any x": cells.rg_lru.bind(project=True).spec(),
    "qrnn_2 of any x": cells.qrnn_2.bind(project=True).spec(),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


@pytest.mark.isa_in_turn
@every_variant
@pytest.mark.parametrize("direction", ["forward", "reverse", "concat"])
def test_outputs_and_gradients_are_the_equations(isa: str, name: str, direction: str) -> None:
    spec = cell_model(VARIANTS[name], direction, 3, 4, initial=True)
    assert_gradients(spec, batch=lambda rng: (cell_inputs(rng, spec, 2, 3), None))


@every_variant
def test_lengths_splits_and_threads_change_no_bit(isa: str, rng: np.random.Generator, name: str) -> None:
    spec = cell_model(VARIANTS[name], "forward", 5, 16, initial=True)
    engine = Engine(spec)
    x, *states = cell_inputs(rng, spec, 4, 9)
    whole, *last = engine.predict([x, *states])
    _, *between = engine.predict([np.ascontiguousarray(x[:, :4]), *states])
    second, *end = engine.predict([np.ascontiguousarray(x[:, 4:]), *between])
    assert np.array_equal(second, whole[:, 4:])
    assert all(np.array_equal(a, b) for a, b in zip(end, last, strict=True))
    lengths = np.array([9, 0, 4, 1], np.int32)
    expected = reference.run(spec, engine.weights, [x, *states], [lengths, *[None] * len(states)])
    for y, e in zip(engine.predict([x, *states], [lengths, *[None] * len(states)]), expected, strict=True):
        assert_close(y, e, 1e-5)
    before = rekur.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            rekur.set_num_threads(threads)
            outputs, gradients, _ = engine.gradients([x, *states], [np.ones_like(whole), *[None] * len(last)])
            results.append([*outputs, *gradients.values()])
    finally:
        rekur.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_heads_see_their_own_units_only(rng: np.random.Generator) -> None:
    engine = Engine(cell_model(VARIANTS["slstm of 2 heads"], "forward", 3, 8, initial=True))
    assert engine.shapes["rnn/recurrent_kernel"] == (4, 32)
    inputs = cell_inputs(rng, engine.spec, 2, 5)
    weights = {k: w.copy() for k, w in engine.weights.items()}
    before = engine.predict(inputs)[0]
    columns = np.arange(32) % 8 < 4
    weights["rnn/recurrent_kernel"][:, columns] += 1
    engine.weights = weights
    after = engine.predict(inputs)[0]
    assert np.array_equal(after[..., 4:], before[..., 4:]) and not np.array_equal(after[..., :4], before[..., :4])


def test_a_matrix_may_multiply_several_values() -> None:
    @rekur.cell(weights={"R": initializers.Orthogonal(0.5)})
    def twice(x: Any, h: Any, *, R: Any) -> Any:
        once = rekur.ops.tanh(x.a + h @ R)
        return rekur.ops.tanh(once @ R + h @ R)

    spec = twice.spec()
    assert [product[1:] for product in spec["recurrent"]] == [["h", "R"], [5, "R"]]
    model = cell_model(spec, "forward", 3, 5)
    assert "rnn/recurrent_kernel" not in Engine(model).shapes
    assert_gradients(model, batch=lambda rng: (cell_inputs(rng, model, 2, 3), None))


def test_what_a_matrix_is_not_is_said() -> None:
    def both(x: Any, h: Any, *, R: Any) -> Any:
        return rekur.ops.tanh(x.a + h @ R + R)

    def of_x(x: Any, h: Any, *, R: Any) -> Any:
        return rekur.ops.tanh(x @ R + h)

    def by_state(x: Any, h: Any, c: Any) -> Any:
        return rekur.ops.tanh(x.a + h @ c), c

    with pytest.raises(ValueError, match="'R' is a matrix, as in h @ R, and nothing else"):
        rekur.cell(both)
    for wrong in (of_x, by_state):
        with pytest.raises(TypeError, match="@ is for the matrices"):
            rekur.cell(wrong)
    with pytest.raises(ValueError, match="6 units are not 4 heads of as many units each"):
        Engine(cell_model(VARIANTS["slstm of 4 heads"], "forward", 3, 6))
    with pytest.raises(ValueError, match=r"fixed: it has no parameter 'kernl'.*kernel"):
        rekur.cell(lambda x, h: rekur.ops.tanh(x.a + h.a), name="a", fixed=("kernl",))
    with pytest.raises(ValueError, match="heads must be the name of a hyper-parameter"):
        rekur.cell(lambda x, h: rekur.ops.tanh(x.a + h.a), name="a", heads="heads")
    with pytest.raises(ValueError, match="recurrent_weight_dropout: its cell has matrices"):
        Engine(cell_model(VARIANTS["lmu"], "forward", 3, 4, recurrent_weight_dropout=0.5))


@pytest.mark.parametrize(
    "optimizer", [rekur.optimizers.Adam(0.1), rekur.optimizers.AdamW(0.1, weight_decay=0.5)], ids=str
)
def test_training_leaves_fixed_parameters_as_they_were(rng: np.random.Generator, optimizer: Any) -> None:
    x, y = rng.standard_normal((8, 5, 3)).astype(np.float32), rng.standard_normal((8, 1)).astype(np.float32)
    fixed = {"reservoir": {"kernel", "recurrent_kernel", "bias"}, "lmu": {"A", "B"}}
    for name, own in fixed.items():
        layer = layers.RNN(getattr(cells, name), 6, input_shape=(None, 3))
        model = rekur.Sequential([layer, layers.Dense(1)])
        before = {k: w.copy() for k, w in model.named_weights().items()}
        model.compile(optimizer, "mse")
        model.fit(x, y, epochs=3, verbose=0)
        after = model.named_weights()
        unchanged = {key for key in before if np.array_equal(before[key], after[key])}
        assert unchanged == {f"{layer.name}/{key}" for key in own}


def test_a_gradients_norm_does_not_count_what_is_fixed(rng: np.random.Generator) -> None:
    """Clipped by the norm, a model with fixed weights takes the step that it takes where they do not exist."""
    x, y = rng.standard_normal((8, 5, 3)).astype(np.float32), rng.standard_normal((8, 1)).astype(np.float32)
    reservoir = rekur.Sequential([layers.RNN(cells.reservoir, 6, input_shape=(None, 3))], seed=1)
    whole = rekur.Sequential([layers.RNN(cells.reservoir, 6, input_shape=(None, 3)), layers.Dense(1)], seed=1)
    head = rekur.Sequential([layers.Dense(1, input_shape=(6,))])
    head.set_weights(whole.get_weights()[3:])
    states = reservoir.predict(x)
    for model, given in ((whole, x), (head, states)):
        model.compile(rekur.optimizers.SGD(1.0, global_clipnorm=1e-2), "mse")
        model.fit(given, y, epochs=1, verbose=0)
    for a, b in zip(whole.get_weights()[3:], head.get_weights(), strict=True):
        assert_close(a, b, 1e-6)


@pytest.mark.parametrize("order", [1, 2, 6, 17])
@pytest.mark.parametrize("theta", [1.0, 8.0, 100.0])
def test_the_legendre_memory_is_the_papers_held_for_a_step(order: int, theta: float) -> None:
    q = np.arange(order)[:, None]
    r = q.T
    A = (2 * q + 1) * np.where(q < r, -1.0, (-1.0) ** (q - r + 1)) / theta
    B = ((2 * q + 1) * (-1.0) ** q / theta)[:, 0]
    values, vectors = np.linalg.eig(A)
    held = (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)).real
    added = np.linalg.solve(A, (held - np.eye(order)) @ B)
    layer = layers.RNN(cells.lmu, order, theta=theta, input_shape=(None, 2))
    model = rekur.Sequential([layer])
    weights = model.named_weights()
    assert np.abs(weights[f"{layer.name}/A"].T - held).max() < 1e-5
    assert np.abs(weights[f"{layer.name}/B"] - added).max() < 1e-5


def test_the_memory_remembers_the_last_steps(rng: np.random.Generator) -> None:
    """u(t − θ/2) from m by Legendre's polynomials, of a slow signal."""
    theta, order, T = 20.0, 12, 200
    layer = layers.RNN(cells.lmu, order, theta=theta, return_sequences=True, return_state=True, input_shape=(None, 1))
    x = rekur.Input((None, 1))
    model = rekur.Model(x, layer(x))
    weights = model.named_weights()
    kernel = np.zeros((1, 2 * order), np.float32)
    kernel[:, :order] = 1
    names = list(weights)
    model.set_weights(
        [
            kernel if key.endswith("/kernel") else w if key.endswith(("/A", "/B")) else np.zeros_like(w)
            for key, w in zip(names, weights.values(), strict=True)
        ]
    )
    signal = np.sin(np.arange(T) / 15).astype(np.float32)[None, :, None]
    m = model.predict(signal)[2][0]
    legendre = np.polynomial.legendre.legval(0.0, m)  # half-way back
    assert abs(legendre - signal[0, int(T - 1 - theta / 2), 0]) < 0.05


def test_fit_readout_solves_for_the_last_layer(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 15, 2)).astype(np.float32)
    lengths = rng.integers(3, 16, 20).astype(np.int32)
    for sequences in (True, False):
        reservoir = layers.RNN(cells.reservoir, 12, return_sequences=sequences, input_shape=(None, 2))
        model = rekur.Sequential([reservoir, layers.Dense(2)], seed=1)
        states = rekur.Sequential([layers.RNN(cells.reservoir, 12, return_sequences=sequences, input_shape=(None, 2))])
        states.set_weights(model.get_weights()[:3])
        S = states.predict(x, lengths=lengths).astype(np.float64)
        true, offset = rng.standard_normal((12, 2)), rng.standard_normal(2)
        y = S @ true + offset
        if sequences:
            y[np.arange(15) >= lengths[:, None]] = 1e6  # not looked at
        rekur.fit_readout(model, x, y, ridge=0.0, lengths=lengths)
        kernel, bias = model.get_weights()[3:]
        assert np.abs(kernel - true).max() < 1e-3 and np.abs(bias - offset).max() < 1e-3
        rekur.fit_readout(model, x, y, ridge=1e9, lengths=lengths)
        assert np.abs(model.get_weights()[3]).max() < 1e-3 * np.abs(true).max()
    with pytest.raises(ValueError, match="expected y of shape"):
        rekur.fit_readout(model, x, y[:3])
    with pytest.raises(ValueError, match=r"ends in one Dense without activation, got .*tanh"):
        rekur.fit_readout(rekur.Sequential([layers.Dense(2, activation="tanh", input_shape=(3,), name="tanh")]), x, y)


@every_variant
def test_files_and_onnx_have_them_to_the_bit(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    pytest.importorskip("onnxruntime")
    cell, _, how = name.partition(" of ")
    options = {
        "3 unfolds": {"unfolds": 3},
        "2 heads": {"heads": 2},
        "4 heads": {"heads": 4},
        "any x": {"project": True},
    }
    x = rekur.Input((None, 3))
    y = layers.RNN(getattr(cells, cell), 4, return_sequences=True, **options.get(how, {}))(x)
    model = rekur.Model(x, layers.Dense(1)(y))
    data = rng.standard_normal((2, 6, 3)).astype(np.float32)
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert np.array_equal(again.predict(data), model.predict(data))
    for streaming in (False, True):
        rekur.onnx.export(model, tmp_path / "m.onnx", streaming=streaming)
        loaded = rekur.onnx.load(tmp_path / "m.onnx")
        assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True))
        fixed = [
            layer.config()["cell"].get("fixed")
            for one in (loaded, model)
            for layer in one.layers
            if layer.type == "RNN"
        ]
        assert fixed[0] == fixed[1]


def test_options_of_every_cell_keep_its_matrices(isa: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for name in ("slstm", "ltc", "lmu"):
        x = rekur.Input((None, 3))
        layer = layers.RNN(
            getattr(cells, name), 4, return_sequences=True, zoneout=0.2, layer_normalization="state", dropout=0.1,
            recurrent_dropout=0.1, **({"heads": 2} if name == "slstm" else {}),
        )  # fmt: skip
        model = rekur.Model(x, layer(x))
        rekur.onnx.export(model, tmp_path / "m.onnx", tolerance=1e-4)
        spec = model.spec
        engine = Engine(spec)
        rng = np.random.default_rng(0)
        inputs = [rng.standard_normal((2, 5, 3)).astype(np.float32)]
        assert_close(engine.predict(inputs)[0], reference.run(spec, engine.weights, inputs)[0], 1e-5)
