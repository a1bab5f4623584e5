"""Networks from the literature: their equations in float64 NumPy beside the rekur model.

Matrices act on column vectors, as in the texts (W h), so a kernel is the transpose of the text's matrix. Outputs are
compared, and each element of each gradient with the central difference of the equations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from harness import Engine, assert_close, floats, input_layer, model_spec
from reference import numeric_gradient

Array = np.ndarray
B, T, I, H, K = 3, 5, 2, 4, 3  # rows, steps, features, hidden units, classes

F: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
}
sigma = F["sigmoid"]


def softmax(a: Array) -> Array:
    e = np.exp(a)
    return e / e.sum()


def draw(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """The text's parameters, by the text's names; float32 values, so both sides start from the very same numbers."""
    return {name: (0.7 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def compare(
    spec: dict[str, Any],
    equations: Callable[[Mapping[str, Array], Array], list[Array]],
    text: Mapping[str, Array],
    to_rekur: Callable[[Mapping[str, Array]], dict[str, Array]],
    rng: np.random.Generator,
) -> None:
    """equations(parameters, x of one row (T, I)) -> outputs; to_rekur maps the text's parameters, linearly, to ours."""
    engine = Engine(spec)
    engine.weights = to_rekur(text)
    x = floats(rng, B, T, I)
    exact = [np.stack(y) for y in zip(*(equations(text, row.astype(np.float64)) for row in x), strict=True)]
    dy = [floats(rng, *y.shape) for y in exact]
    outputs, d_weights, (dx,) = engine.gradients([x], dy)
    for y, e in zip(outputs, exact, strict=True):
        assert_close(y, e, 1e-5, "outputs")
    for y, e in zip(engine.predict([x]), exact, strict=True):
        assert_close(y, e, 1e-5, "predictions")

    def total(text: Mapping[str, Array], x: Array) -> float:
        rows = (equations(text, row) for row in x.astype(np.float64))
        return sum(float(np.sum(y * d[b])) for b, ys in enumerate(rows) for y, d in zip(ys, dy, strict=True))

    # The text's gradients follow from the model's through the mapping's transpose: one probe per element.
    for name, value in text.items():
        exact_gradient = numeric_gradient(lambda v, name=name: total({**text, name: v}, x), value)
        through = np.zeros(value.shape)
        for i in np.ndindex(value.shape):
            unit = {k: np.zeros_like(v, dtype=np.float64) for k, v in text.items()}
            unit[name][i] = 1
            through[i] = sum(float(np.sum(d_weights[k] * v)) for k, v in to_rekur(unit).items())
        assert_close(through, exact_gradient, 1e-4, f"gradient of {name}")
    assert dx is not None
    assert_close(dx, numeric_gradient(lambda v: total(text, v), x), 1e-4, "gradient of x")


def dense(name: str, source: str, units: int, activation: str, **options: Any) -> dict[str, Any]:
    return {"type": "Dense", "name": name, "inputs": [source], "units": units, "activation": activation, **options}


def recurrent(kind: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, "name": "h", "inputs": ["x"], "units": H, "return_sequences": True, **options}


@pytest.mark.parametrize("f", F)
def test_simple_recurrent_classifier(isa: str, rng: np.random.Generator, f: str) -> None:
    """h_t = f(W_hh h_{t-1} + W_xh x_t + b),  y_t = softmax(V h_t + c) at every step."""

    def equations(p: Mapping[str, Array], x: Array) -> list[Array]:
        h, ys = np.zeros(H), []
        for t in range(T):
            h = F[f](p["W_hh"] @ h + p["W_xh"] @ x[t] + p["b"])
            ys.append(softmax(p["V"] @ h + p["c"]))
        return [np.stack(ys)]

    spec = model_spec(
        [input_layer("x", None, I), recurrent("SimpleRNN", activation=f), dense("y", "h", K, "softmax")], ["y"]
    )
    text = draw(rng, W_hh=(H, H), W_xh=(H, I), b=(H,), V=(K, H), c=(K,))
    compare(
        spec,
        equations,
        text,
        lambda p: {
            "h/kernel": p["W_xh"].T,
            "h/recurrent_kernel": p["W_hh"].T,
            "h/bias": p["b"],
            "y/kernel": p["V"].T,
            "y/bias": p["c"],
        },
        rng,
    )


@pytest.mark.parametrize("f", F)
def test_one_matrix_for_state_and_input(isa: str, rng: np.random.Generator, f: str) -> None:
    """h_t = f(W [h_{t-1}, x_t] + b),  y_t = softmax(V h_t + c): W is [R^T, kernel^T]."""

    def equations(p: Mapping[str, Array], x: Array) -> list[Array]:
        h, ys = np.zeros(H), []
        for t in range(T):
            h = F[f](p["W"] @ np.concatenate([h, x[t]]) + p["b"])
            ys.append(softmax(p["V"] @ h + p["c"]))
        return [np.stack(ys)]

    spec = model_spec(
        [input_layer("x", None, I), recurrent("SimpleRNN", activation=f), dense("y", "h", K, "softmax")], ["y"]
    )
    compare(
        spec,
        equations,
        draw(rng, W=(H, H + I), b=(H,), V=(K, H), c=(K,)),
        lambda p: {
            "h/kernel": p["W"][:, H:].T,
            "h/recurrent_kernel": p["W"][:, :H].T,
            "h/bias": p["b"],
            "y/kernel": p["V"].T,
            "y/bias": p["c"],
        },
        rng,
    )


@pytest.mark.parametrize("joined", ["Concatenate", "Add"])
def test_deep_output_network(isa: str, rng: np.random.Generator, joined: str) -> None:
    """h = tanh(W_hh h_{t-1} + W_xh x + b_h), C = tanh(W_hc h), o = tanh(W_ho h + W_xc x + b_o), y = tanh(W_oy o).

    C and y are outputs; x feeds two places. o is one Dense over [h, x], or a tanh over the sum of a Dense of each.
    """
    M, N = 2, 3  # the widths of C and o

    def equations(p: Mapping[str, Array], x: Array) -> list[Array]:
        h, Cs, ys = np.zeros(H), [], []
        for t in range(T):
            h = np.tanh(p["W_hh"] @ h + p["W_xh"] @ x[t] + p["b_h"])
            Cs.append(np.tanh(p["W_hc"] @ h))
            o = np.tanh(p["W_ho"] @ h + p["W_xc"] @ x[t] + p["b_o"])
            ys.append(np.tanh(p["W_oy"] @ o))
        return [np.stack(Cs), np.stack(ys)]

    if joined == "Concatenate":
        middle = [{"type": "Concatenate", "name": "hx", "inputs": ["h", "x"]}, dense("o", "hx", N, "tanh")]
    else:
        middle = [
            dense("from_h", "h", N, "linear"),
            dense("from_x", "x", N, "linear", use_bias=False),
            {"type": "Add", "name": "sum", "inputs": ["from_h", "from_x"]},
            {"type": "Activation", "name": "o", "inputs": ["sum"], "activation": "tanh"},
        ]

    def to_rekur(p: Mapping[str, Array]) -> dict[str, Array]:
        ours = {
            "h/kernel": p["W_xh"].T,
            "h/recurrent_kernel": p["W_hh"].T,
            "h/bias": p["b_h"],
            "C/kernel": p["W_hc"].T,
            "y/kernel": p["W_oy"].T,
        }
        if joined == "Concatenate":
            return {**ours, "o/kernel": np.concatenate([p["W_ho"].T, p["W_xc"].T]), "o/bias": p["b_o"]}
        return {**ours, "from_h/kernel": p["W_ho"].T, "from_h/bias": p["b_o"], "from_x/kernel": p["W_xc"].T}

    spec = model_spec(
        [
            input_layer("x", None, I),
            recurrent("SimpleRNN"),
            dense("C", "h", M, "tanh", use_bias=False),
            *middle,
            dense("y", "o", K, "tanh", use_bias=False),
        ],
        ["C", "y"],
    )
    text = draw(rng, W_hh=(H, H), W_xh=(H, I), b_h=(H,), W_hc=(M, H), W_ho=(N, H), W_xc=(N, I), b_o=(N,), W_oy=(K, N))
    compare(spec, equations, text, to_rekur, rng)


def test_lstm(isa: str, rng: np.random.Generator) -> None:
    """i, f, o = σ(W_• x + U_• h + b_•), g = tanh(W_g x + U_g h + b_g), c = f⊙c + i⊙g, h = o⊙tanh(c).

    The kernel's columns are the gates in the order i, f, g, o.
    """

    def equations(p: Mapping[str, Array], x: Array) -> list[Array]:
        h, c, hs = np.zeros(H), np.zeros(H), []
        for t in range(T):
            i, f, o = (sigma(p["W_" + q] @ x[t] + p["U_" + q] @ h + p["b_" + q]) for q in "ifo")
            g = np.tanh(p["W_g"] @ x[t] + p["U_g"] @ h + p["b_g"])
            c = f * c + i * g
            h = o * np.tanh(c)
            hs.append(h)
        return [np.stack(hs), h, c]

    spec = model_spec([input_layer("x", None, I), recurrent("LSTM", return_state=True)], ["h:0", "h:1", "h:2"])
    text = draw(
        rng,
        **{"W_" + q: (H, I) for q in "ifog"},
        **{"U_" + q: (H, H) for q in "ifog"},
        **{"b_" + q: (H,) for q in "ifog"},
    )
    compare(
        spec,
        equations,
        text,
        lambda p: {
            "h/kernel": np.concatenate([p["W_" + q].T for q in "ifgo"], axis=1),
            "h/recurrent_kernel": np.concatenate([p["U_" + q].T for q in "ifgo"], axis=1),
            "h/bias": np.concatenate([p["b_" + q] for q in "ifgo"]),
        },
        rng,
    )


def test_gru_with_the_update_gate_the_other_way_round(isa: str, rng: np.random.Generator) -> None:
    """z, r = σ(W_• x + U_• h + b_•), h̃ = tanh(W x + U (r⊙h) + b), h' = (1−z)⊙h + z⊙h̃: reset before the product.

    Here, as in Keras, h' = (1−z)⊙n + z⊙h. As 1 − σ(a) = σ(−a), the mapping is: negate W_z, U_z and b_z.
    """

    def equations(p: Mapping[str, Array], x: Array) -> list[Array]:
        h, hs = np.zeros(H), []
        for t in range(T):
            z, r = (sigma(p["W_" + q] @ x[t] + p["U_" + q] @ h + p["b_" + q]) for q in "zr")
            candidate = np.tanh(p["W"] @ x[t] + p["U"] @ (r * h) + p["b"])
            h = (1 - z) * h + z * candidate
            hs.append(h)
        return [np.stack(hs), h]

    spec = model_spec(
        [input_layer("x", None, I), recurrent("GRU", return_state=True, reset_after=False)], ["h:0", "h:1"]
    )
    text = draw(rng, W_z=(H, I), U_z=(H, H), b_z=(H,), W_r=(H, I), U_r=(H, H), b_r=(H,), W=(H, I), U=(H, H), b=(H,))
    compare(
        spec,
        equations,
        text,
        lambda p: {
            "h/kernel": np.concatenate([-p["W_z"].T, p["W_r"].T, p["W"].T], axis=1),
            "h/recurrent_kernel": np.concatenate([-p["U_z"].T, p["U_r"].T, p["U"].T], axis=1),
            "h/bias": np.concatenate([-p["b_z"], p["b_r"], p["b"]]),
        },
        rng,
    )
