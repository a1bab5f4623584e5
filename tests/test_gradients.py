"""Gradients of whole graphs, of every layer that is not recurrent, and of every loss, against central differences."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, assert_gradient, assert_gradients, floats, input_layer, model_spec
from rekur import _core


def batch(*shapes: tuple[int, ...]) -> Any:
    return lambda rng: ([floats(rng, *shape) for shape in shapes], None)


def dense(name: str, source: str, units: int, activation: Any = "linear", **options: Any) -> dict[str, Any]:
    return {"type": "Dense", "name": name, "inputs": [source], "units": units, "activation": activation, **options}


ACTIVATIONS = [
    *reference.ACTIVATIONS,
    {"name": "leaky_relu", "alpha": 0.05},
    {"name": "hard_sigmoid", "alpha": 0.3},
    {"name": "affine", "alpha": -0.4, "beta": 0.3},
    {"name": "thresholded_relu", "alpha": -0.5},
    {"name": "scaled_tanh", "alpha": -2.0, "beta": 0.6},
    {"name": "scaled_tanh", "alpha": 0.0},
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 4)], ids=str)
def test_dense(isa: str, activation: Any, shape: tuple[int, ...]) -> None:
    source = input_layer("x", *([None] * (len(shape) - 2)), 4)
    for bias in (True, False):
        spec = model_spec([source, dense("y", "x", 3, activation, use_bias=bias)], ["y"])
        assert_gradients(spec, batch=batch(shape))


@pytest.mark.parametrize("units", [1, 2, 15, 16, 17, 33, 65])
def test_dense_at_awkward_sizes(isa: str, rng: np.random.Generator, units: int) -> None:
    for rows, features in [(1, 1), (5, 33), (33, 7), (17, 65)]:
        spec = model_spec([input_layer("x", features), dense("y", "x", units, "tanh")], ["y"])
        engine = Engine(spec)
        weights = {name: w.astype(np.float64) for name, w in engine.weights.items()}
        x, dy = floats(rng, rows, features), floats(rng, rows, units)
        (y,), d_weights, (dx,) = engine.gradients([x], [dy])
        exact = np.tanh(x @ weights["y/kernel"] + weights["y/bias"])
        da = dy * (1 - exact**2)
        assert dx is not None
        assert_close(y, exact, 1e-5, "y")
        assert_close(dx, da @ weights["y/kernel"].T, 1e-5, "dx")
        assert_close(d_weights["y/kernel"], x.T @ da, 1e-5, "kernel")
        assert_close(d_weights["y/bias"], da.sum(axis=0), 1e-5, "bias")


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activation(isa: str, activation: Any) -> None:
    layer = {"type": "Activation", "name": "y", "inputs": ["x"], "activation": activation}
    assert_gradients(model_spec([input_layer("x", 5), layer], ["y"]), batch=batch((4, 5)))
    assert_gradients(model_spec([input_layer("x", None, 3), layer], ["y"]), batch=batch((2, 4, 3)))


@pytest.mark.parametrize("shape", [(7,), (3, 4)], ids=str)
def test_embedding_sums_over_repeated_indices(isa: str, shape: tuple[int, ...]) -> None:
    spec = model_spec(
        [
            input_layer("x", *([None] * (len(shape) - 1)), dtype="int32"),
            {"type": "Embedding", "name": "e", "inputs": ["x"], "input_dim": 5, "output_dim": 3},
        ],
        ["e"],
    )
    # Index 4 never appears: its gradient is zero.
    assert_gradients(spec, batch=lambda rng: ([rng.integers(0, 4, shape).astype(np.int32)], None))


@pytest.mark.parametrize("join", ["Concatenate", "Add", "Multiply"])
@pytest.mark.parametrize("time", [False, True])
def test_joins(isa: str, join: str, time: bool) -> None:
    """Three inputs, one of them twice: its gradient is the sum of both."""
    shape = (None, 2) if time else (2,)
    spec = model_spec(
        [input_layer(name, *shape) for name in "abc"]
        + [{"type": join, "name": "y", "inputs": ["a", "b", "c", "b"]}, dense("z", "y", 2, "tanh")],
        ["z", "y"],
    )
    assert_gradients(spec, batch=batch(*[(3, 4, 2) if time else (3, 2)] * 3))


def test_concatenate_of_different_widths(isa: str) -> None:
    spec = model_spec(
        [input_layer(f"x{n}", None, n) for n in (1, 7, 17)]
        + [{"type": "Concatenate", "name": "y", "inputs": ["x17", "x1", "x7"]}],
        ["y"],
    )
    assert_gradients(spec, batch=batch((2, 3, 1), (2, 3, 7), (2, 3, 17)))


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_dropout(isa: str, rng: np.random.Generator, rate: float) -> None:
    spec = model_spec(
        [input_layer("x", None, 33), {"type": "Dropout", "name": "y", "inputs": ["x"], "rate": rate}], ["y"]
    )
    engine = Engine(spec)
    x = np.abs(floats(rng, 40, 13, 33)) + 0.1
    np.testing.assert_array_equal(engine.predict([x])[0], x)
    dy = floats(rng, *x.shape)
    (y,), _, (dx,) = engine.gradients([x], [dy], seed=3, step=5)
    kept = y != 0
    assert dx is not None
    np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), rtol=1e-6)
    np.testing.assert_allclose(dx, np.where(kept, dy / (1 - rate), 0), rtol=1e-6)
    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(kept.mean() - (1 - rate)) <= 5 * deviation

    (again,), _, _ = engine.gradients([x], [dy], seed=3, step=5)
    np.testing.assert_array_equal(again, y)
    if rate:
        for seed, step in [(4, 5), (3, 6)]:
            (other,), _, _ = engine.gradients([x], [dy], seed=seed, step=step)
            assert 0 < np.mean((other != 0) != kept) < 1


def test_two_dropouts_draw_differently(rng: np.random.Generator) -> None:
    layers = [{"type": "Dropout", "name": name, "inputs": ["x"], "rate": 0.5} for name in ("a", "b")]
    engine = Engine(model_spec([input_layer("x", 64), *layers], ["a", "b"]))
    (a, b), _, _ = engine.gradients([np.ones((16, 64), np.float32)], [None, None])
    assert 0.4 < np.mean((a != 0) != (b != 0)) < 0.6


def stacked() -> dict[str, Any]:
    return model_spec(
        [
            input_layer("x", None, 2),
            {"type": "LSTM", "name": "l1", "inputs": ["x"], "units": 3, "return_sequences": True},
            {"type": "GRU", "name": "l2", "inputs": ["l1"], "units": 2, "return_sequences": True, "reverse": True},
            {"type": "SimpleRNN", "name": "l3", "inputs": ["l2"], "units": 3},
            dense("y", "l3", 2, "softmax"),
        ],
        ["y"],
    )


def encoder_decoder() -> dict[str, Any]:
    """The decoder starts from the encoder's final states; the encoder's sequence is an output as well."""
    return model_spec(
        [
            input_layer("source", None, 2),
            input_layer("target", None, 3),
            {"type": "LSTM", "name": "enc", "inputs": ["source"], "units": 2, "return_sequences": True,
             "return_state": True},
            {"type": "LSTM", "name": "dec", "inputs": ["target", "enc:1", "enc:2"], "units": 2,
             "return_sequences": True},
            dense("y", "dec", 2, "tanh"),
        ],
        ["y", "enc", "enc:2"],
    )  # fmt: skip


def bidirectional_states() -> dict[str, Any]:
    gru = {"type": "GRU", "units": 2, "return_state": True, "reset_after": False}
    return model_spec(
        [
            input_layer("x", None, 2),
            {"type": "Bidirectional", "name": "first", "inputs": ["x"], "merge_mode": "mul", "layer": gru},
            {"type": "Bidirectional", "name": "second", "inputs": ["x", "first:1", "first:2"],
             "layer": {**gru, "return_sequences": True}},
            {"type": "Add", "name": "sum", "inputs": ["second:1", "first"]},
        ],
        ["second", "sum"],
    )  # fmt: skip


def shared() -> dict[str, Any]:
    """x feeds four places, a layer's output feeds three, an input is an output, a layer leads nowhere."""
    return model_spec(
        [
            input_layer("x", None, 2),
            {"type": "GRU", "name": "g", "inputs": ["x"], "units": 2, "return_sequences": True},
            {"type": "Multiply", "name": "m", "inputs": ["g", "x"]},
            dense("d", "g", 2, "elu"),
            {"type": "Add", "name": "a", "inputs": ["m", "d", "x"]},
            {"type": "SimpleRNN", "name": "s", "inputs": ["a"], "units": 3, "activation": "leaky_relu"},
            dense("unused", "x", 1),
        ],
        ["s", "g", "x", "s"],
    )


GRAPHS = {
    "stacked": (stacked, [(2, 4, 2)]),
    "encoder_decoder": (encoder_decoder, [(2, 4, 2), (2, 3, 3)]),
    "bidirectional_states": (bidirectional_states, [(2, 3, 2)]),
    "shared": (shared, [(2, 4, 2)]),
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_graph(isa: str, graph: str) -> None:
    spec, shapes = GRAPHS[graph]
    assert_gradients(spec(), batch=batch(*shapes))


@pytest.mark.parametrize("arrives", [(True, False, False), (False, True, False), (False, False, True)])
def test_graph_with_gradients_of_some_outputs(isa: str, arrives: tuple[bool, ...]) -> None:
    assert_gradients(encoder_decoder(), batch=batch((2, 4, 2), (2, 3, 3)), arrives=arrives)


def test_several_tapes_may_be_alive(rng: np.random.Generator) -> None:
    engine = Engine(stacked())
    first, second = floats(rng, 3, 5, 2), floats(rng, 2, 7, 2)
    dy = [floats(rng, 3, 2), floats(rng, 2, 2)]
    model = engine.model
    want = [model.backward(model.forward([x])[1], [d])[0] for x, d in zip((first, second), dy, strict=True)]
    tapes = [model.forward([x])[1] for x in (first, second)]
    engine.predict([floats(rng, 9, 4, 2)])
    for k in (1, 0):
        np.testing.assert_array_equal(model.backward(tapes[k], [dy[k]])[0], want[k])


LOSSES: list[tuple[dict[str, Any], str]] = [
    ({"name": "mean_squared_error"}, "linear"),
    ({"name": "mean_absolute_error"}, "linear"),
    ({"name": "huber"}, "linear"),
    ({"name": "huber", "delta": 0.3}, "tanh"),
    ({"name": "binary_crossentropy"}, "sigmoid"),
    ({"name": "binary_crossentropy", "from_logits": True}, "linear"),
    ({"name": "categorical_crossentropy"}, "softmax"),
    ({"name": "categorical_crossentropy", "from_logits": True}, "linear"),
    ({"name": "sparse_categorical_crossentropy"}, "softmax"),
    ({"name": "sparse_categorical_crossentropy", "from_logits": True}, "linear"),
]


@pytest.mark.parametrize(
    ("time", "weighted"),
    [(False, "none"), (False, "rows"), (True, "none"), (True, "rows"), (True, "steps")],
)
@pytest.mark.parametrize(("loss", "activation"), LOSSES, ids=lambda v: json.dumps(v) if isinstance(v, dict) else v)
def test_loss(
    isa: str, rng: np.random.Generator, loss: dict[str, Any], activation: str, time: bool, weighted: str
) -> None:
    """The value of the loss, and its gradient as one step of plain SGD shows it."""
    B, T, F = 5, 4, 3
    spec = model_spec(
        [
            input_layer("x", None, 2),
            {"type": "GRU", "name": "g", "inputs": ["x"], "units": 3, "return_sequences": time},
            dense("y", "g", F, activation),
        ],
        ["y"],
    )
    engine = Engine(spec)
    weights = engine.weights
    lengths = np.array([4, 2, 0, 3, 4], np.int32) if time else None
    x = floats(rng, B, T, 2)
    lead = (B, T) if time else (B,)
    if loss["name"].startswith("sparse"):
        target = rng.integers(0, F, lead).astype(np.int32)
    elif loss["name"].startswith("categorical"):
        target = rng.dirichlet(np.ones(F), lead).astype(np.float32)
    elif loss["name"].startswith("binary"):
        target = rng.uniform(size=(*lead, F)).round().astype(np.float32)
    else:
        target = floats(rng, *lead, F)
    shape = {"none": None, "rows": (B,), "steps": lead}[weighted]
    sample_weight = None if shape is None else rng.uniform(0, 2, shape).astype(np.float32)

    def value(weights: dict[str, Any]) -> float:
        y = reference.run(spec, weights, [x], [lengths])[0]
        return reference.loss(loss, y, target, lengths, sample_weight)

    config = json.dumps({"optimizer": {"name": "sgd", "learning_rate": 1.0}, "losses": [loss]})
    trainer = _core.Trainer(engine.model, config)
    arguments = ([x], [target], [lengths], [sample_weight])
    evaluated, each, _, _ = trainer.evaluate(*arguments)
    assert_close(np.asarray(evaluated), value(weights), 1e-6, "evaluated loss")
    assert_close(np.asarray(each), [value(weights)], 1e-6, "loss of the output")
    for name, w in engine.weights.items():
        np.testing.assert_array_equal(w, weights[name], err_msg="evaluate must not train")
    stepped, _, outputs, _ = trainer.step(*arguments, want_outputs=True)
    assert_close(np.asarray(stepped), value(weights), 1e-6, "loss of a step")
    assert outputs is not None
    assert_close(outputs[0], reference.run(spec, weights, [x], [lengths])[0], 1e-5, "predictions of a step")
    for name, w in weights.items():
        step = w - engine.weights[name]
        assert_gradient(step, lambda v, name=name: value({**weights, name: v}), w, 1e-5, f"gradient of {name}")


def test_losses_of_several_outputs_are_weighed(rng: np.random.Generator) -> None:
    spec = model_spec([input_layer("x", 3), *(dense(name, "x", 2) for name in ("a", "b", "c"))], ["a", "b", "c"])
    engine = Engine(spec)
    config = {
        "optimizer": {"name": "sgd", "learning_rate": 0.5},
        "losses": [{"name": "mean_squared_error"}, None, {"name": "mean_absolute_error"}],
        "loss_weights": [2.0, 1.0, 0.25],
    }
    trainer = _core.Trainer(engine.model, json.dumps(config))
    before, x = engine.weights, floats(rng, 4, 3)
    targets = [floats(rng, 4, 2), None, floats(rng, 4, 2)]
    a, _, c = reference.run(spec, before, [x])
    want = [reference.loss(config["losses"][k], y, targets[k]) for k, y in ((0, a), (2, c))]
    total, each, _, _ = trainer.step([x], targets)
    assert_close(np.asarray(total), 2 * want[0] + 0.25 * want[1], 1e-6, "total")
    assert_close(np.asarray([each[0], each[2]]), want, 1e-6, "each")
    np.testing.assert_array_equal(engine.weights["b/kernel"], before["b/kernel"])
    gradient = 2 * x.T @ (2 * (a - targets[0]) / a.size)
    assert_close(before["a/kernel"] - engine.weights["a/kernel"], 0.5 * gradient, 1e-5, "a/kernel")


@pytest.mark.parametrize(
    ("activation", "loss"), [("sigmoid", "binary_crossentropy"), ("softmax", "categorical_crossentropy")]
)
def test_crossentropy_of_a_certain_and_wrong_model_is_finite(activation: str, loss: str) -> None:
    """From the logits: far into saturation the loss is their distance and the gradient is not lost."""
    engine = Engine(model_spec([input_layer("x", 2), dense("y", "x", 2, activation)], ["y"]))
    engine.weights = {"y/kernel": np.eye(2) * 200, "y/bias": np.zeros(2)}
    config = json.dumps({"optimizer": {"name": "sgd", "learning_rate": 1.0}, "losses": [{"name": loss}]})
    trainer = _core.Trainer(engine.model, config)
    value, _, _, _ = trainer.step([np.float32([[1, -1]])], [np.float32([[0, 1]])])
    assert value == pytest.approx(200 if activation == "sigmoid" else 400, rel=1e-5)
    moved = engine.weights["y/bias"]
    np.testing.assert_allclose(moved, [-0.5, 0.5] if activation == "sigmoid" else [-1, 1], rtol=1e-5)
