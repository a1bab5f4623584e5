"""Operations of equations: the engine against NumPy and float64, derived gradients against central differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rekur
from reference import numeric_gradient
from rekur import ops
from rekur._trace import evaluate

SIZES = [1, 2, 3, 5, 7, 17, 31, 33, 65, 300]
NAMES = (
    *("negative", "abs", "square", "exp", "sin", "cos", "erf", "sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu"),
    *("selu", "softplus", "softsign", "hard_sigmoid", "hard_tanh", "log_sigmoid", "silu", "hard_silu", "gelu", "sign"),
    *("softmax", "log_softmax", "layer_normalization"),
)
ANYWHERE: dict[str, Callable[..., Any]] = {name: getattr(ops, name) for name in NAMES} | {
    "gelu exact": lambda x: ops.gelu(x, approximate=False),
    "sum": lambda x: ops.sum(x, axis=-1),
    "mean": lambda x: ops.mean(x, -1, keepdims=True),
    "max": lambda x: ops.max(x, axis=-1),
    "min": lambda x: ops.min(x, axis=(-1,)),
    "logsumexp": lambda x: ops.logsumexp(x, -1),
    "var": lambda x: x * ops.var(x, axis=-1, keepdims=True),
    "where": lambda x: ops.where(x > 0.1, ops.sin(x), x * x),
    "clip": lambda x: ops.clip(x, -0.7, 0.9),
    "powers": lambda x: x**3 - 2 * x**2 + x**0,
    "comparisons": lambda x: x * ((x < 0.5) & (x >= -0.5) | (x > 1)) + (x <= -1) + ~(x == 0) + (x != 0),
    "operators": lambda x: 3 - abs(-x) / (2 + x * x) + (+x),
    "numpy's functions": lambda x: np.tanh(x) + np.exp(-np.square(x)) - np.minimum(x, 0.3) * np.float32(2),
    "several outputs": lambda x: [x, ops.sum(x, -1), -x, x],
    "hyperbolic": lambda x: ops.sinh(x) + ops.cosh(0.5 * x) - ops.exp2(-x),
    "no number, no quotient": lambda x: (
        ops.divide_no_nan(1.0 + 0 * x, ops.where(x > 0, 1 + x, 0.0)) + ops.nan_to_num(x)
    ),
    "either": lambda x: ops.where(ops.logical_xor(x > 0.5, x > -0.5), x * x, x),
    "largest": lambda x: x * ops.amax(x, axis=-1, keepdims=True) - ops.amin(x, axis=-1, keepdims=True),
    "of norm 1": lambda x: ops.normalize(x) + ops.normalize(1 + x * x, order=1),
    "a number a row": lambda x: ops.exp(ops.mean(x, -1)) + 1,
}
POSITIVE: dict[str, Callable[..., Any]] = {
    "log": ops.log, "log1p": ops.log1p, "sqrt": ops.sqrt, "rsqrt": ops.rsqrt, "reciprocal": ops.reciprocal,
    "std": lambda x: ops.std(x * x, -1, True) + 1, "half power": lambda x: x**0.5, "power": lambda x: x**1.7,
    "power of 2": lambda x: 2**x,
    "logarithms": lambda x: ops.log2(x) * ops.log10(1 + x), "tan": lambda x: ops.tan(x / 9),
    "negative power": lambda x: x**-3,
}  # fmt: skip
TWO: dict[str, Callable[..., Any]] = {
    "add": ops.add, "subtract": ops.subtract, "multiply": ops.multiply, "divide": lambda a, b: a / (2 + b * b),
    "maximum": ops.maximum, "minimum": ops.minimum, "power": lambda a, b: ops.abs(a) ** b + 0 * a,
    "greater": lambda a, b: ops.where(ops.greater(a, b), a * b, b),
    "hypot": lambda a, b: ops.hypot(a, 1 + b * b),
    "mixed": lambda a, b: ops.softmax(a * b) + ops.mean(b, -1),
    "logic": lambda a, b: ops.where(ops.logical_or(ops.logical_and(a > 0, b > 0), ops.isnan(a)), a, b),
}  # fmt: skip


def model_of(function: Callable[..., Any], features: list[int]) -> tuple[rekur.Model, dict[str, Any]]:
    inputs = [rekur.Input((n,)) for n in features]
    layer = rekur.layers.Lambda(function if len(inputs) == 1 else lambda values: function(*values))
    outputs = layer(inputs[0] if len(inputs) == 1 else inputs)
    return rekur.Model(inputs, outputs), layer.equations


def check(function: Callable[..., Any], features: list[int], xs: list[np.ndarray], direct: bool = True) -> None:
    model, equations = model_of(function, features)
    exact = [x.astype(np.float64) for x in xs]
    expected = evaluate(equations, exact)
    got = model.predict(xs if len(xs) > 1 else xs[0])
    got = got if isinstance(got, list) else [got]
    for y, right in zip(got, expected, strict=True):
        np.testing.assert_allclose(y, np.broadcast_to(right, y.shape), rtol=5e-6, atol=2e-6)
    if direct:  # the function itself computes on arrays, too
        values = function(*exact)
        for value, right in zip(values if isinstance(values, list) else [values], expected, strict=True):
            np.testing.assert_allclose(np.reshape(value, np.shape(right)), right, rtol=2e-7, atol=2e-7)
    rng = np.random.default_rng(5)
    arriving = [rng.standard_normal(y.shape).astype(np.float32) for y in got]
    _, _, gradients = model.gradients(xs if len(xs) > 1 else xs[0], arriving if len(arriving) > 1 else arriving[0])
    for k, gradient in enumerate(gradients):

        def loss(x: np.ndarray, k: int = k) -> float:
            values = evaluate(equations, [x if i == k else exact[i] for i in range(len(exact))])
            return float(sum(np.sum(v * d) for v, d in zip(values, arriving, strict=True)))

        assert gradient is not None
        np.testing.assert_allclose(gradient, numeric_gradient(loss, exact[k], 1e-6), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("isa", rekur.available_isas())
@pytest.mark.parametrize("name", ANYWHERE)
def test_values_and_gradients(name: str, isa: str) -> None:
    before = rekur.isa()
    rekur.set_isa(isa)
    try:
        for n in SIZES:
            if n == 300 and name != "softmax":
                continue
            rng = np.random.default_rng(n)
            x = rng.standard_normal((2 if n > 50 else 4, n)).astype(np.float32)
            x[np.abs(np.abs(x) - 0.7) < 1e-2] = 0.3  # clear of corners
            x[np.abs(x - 0.9) < 1e-2] = x[np.abs(x) < 1e-2] = 0.4
            check(ANYWHERE[name], [n], [x])
    finally:
        rekur.set_isa(before)


@pytest.mark.parametrize("name", POSITIVE)
def test_values_and_gradients_of_positive_numbers(name: str) -> None:
    for n in (2, 5, 17, 33):
        check(POSITIVE[name], [n], [np.random.default_rng(n).uniform(0.2, 3, (4, n)).astype(np.float32)])


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("features", [(5, 5), (17, 1), (1, 3), (1, 1)])
def test_values_and_gradients_of_two_inputs(name: str, features: tuple[int, int]) -> None:
    """An input of one feature goes with every feature of the other."""
    rng = np.random.default_rng(1)
    xs = [
        rng.uniform(0.2, 2, (6, n)).astype(np.float32) * rng.choice([-1, 1], (6, n)).astype(np.float32)
        for n in features
    ]
    check(TWO[name], list(features), xs, direct=False)


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "sqrt", "sin", "cos", "erf", "sigmoid", "tanh", "softplus"])
def test_special_values(name: str) -> None:
    x = np.array([[0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-30, -1e-30, 1e30, 3e38, 123456.7]], np.float32)
    model, _ = model_of(getattr(ops, name), [x.size])
    with np.errstate(all="ignore"):
        expected = np.asarray(ops.COMPUTE[name](x.astype(np.float64)))
    np.testing.assert_allclose(model.predict(x), expected.astype(np.float32), rtol=5e-7, atol=2e-7)


def test_nan_goes_through_minimum_maximum_and_reductions() -> None:
    a, b = np.array([[np.nan, 1, np.nan, 2]], np.float32), np.array([[1, np.nan, np.nan, 3]], np.float32)
    model, _ = model_of(lambda a, b: [ops.minimum(a, b), ops.maximum(a, b), ops.max(a, -1), ops.sum(b, -1)], [4, 4])
    small, large, most, total = model.predict([a, b])
    np.testing.assert_array_equal(small, [[np.nan, np.nan, np.nan, 2]])
    np.testing.assert_array_equal(large, [[np.nan, np.nan, np.nan, 3]])
    assert np.isnan(most).all() and np.isnan(total).all()


def test_gradient_at_corners_is_that_of_torch_and_jax() -> None:
    """Equal operands of minimum and maximum get half each; equal largest numbers share; |x| and relu have 0 at 0."""
    x = np.array([[0.0, 2.0, 2.0]], np.float32)
    model, _ = model_of(lambda a, b: ops.maximum(a, b), [3, 3])
    _, _, (da, db) = model.gradients([x, x], np.ones_like(x))
    np.testing.assert_array_equal(da, np.full((1, 3), 0.5))
    np.testing.assert_array_equal(db, np.full((1, 3), 0.5))
    for function, expected in ((lambda x: ops.max(x, -1), [0, 0.5, 0.5]), (ops.abs, [0, 1, 1]), (ops.relu, [0, 1, 1])):
        model, _ = model_of(function, [3])
        arriving = np.ones_like(model.predict(x))
        np.testing.assert_array_equal(model.gradients(x, arriving)[2][0], [expected])


def test_gradient_of_what_where_does_not_choose_is_zero_whatever_it_is() -> None:
    model, _ = model_of(lambda x: ops.where(x > 0, ops.log(ops.maximum(x, 1e-6)), 0.0), [3])
    gradient = model.gradients(np.array([[-1.0, 0.5, 2.0]], np.float32), np.ones((1, 3), np.float32))[2][0]
    np.testing.assert_allclose(gradient, [[0, 2, 0.5]])


@pytest.mark.parametrize("n", [1, 5, 33, 300])
def test_bits_do_not_depend_on_threads_or_on_rows_beside(n: int) -> None:
    model, _ = model_of(lambda x: ops.layer_normalization(ops.silu(x)) * ops.exp(-x * x), [n])
    x = np.random.default_rng(0).standard_normal((4000, n)).astype(np.float32)
    arriving = np.ones_like(x)
    before = rekur.num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            rekur.set_num_threads(threads)
            results.append((model.predict(x, batch_size=4000), model.gradients(x, arriving)[2][0]))
        for y, dx in results[1:]:
            np.testing.assert_array_equal(y, results[0][0])
            np.testing.assert_array_equal(dx, results[0][1])
        np.testing.assert_array_equal(model.predict(x[7:12]), results[0][0][7:12])
        np.testing.assert_array_equal(model.gradients(x[7:12], arriving[7:12])[2][0], results[0][1][7:12])
    finally:
        rekur.set_num_threads(before)


def an_if(x: Any) -> Any:
    if x > 0:
        return x
    return -x


def test_errors_name_the_line_of_the_function() -> None:
    with pytest.raises(
        TypeError, match=r"Lambda 'l': a symbol is neither true .*where.*test_ops\.py, line \d+: if x > 0"
    ):
        rekur.layers.Lambda(an_if, name="l")(rekur.Input((3,)))


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda x: math.exp(x), TypeError, "use rekur.ops, not math"),
        (lambda x: np.arctan(x), TypeError, "np.arctan is no operation"),
        (lambda x: np.add.reduce(x), TypeError, "np.add is no operation"),
        (lambda x: np.asarray(x), TypeError, "holds no array"),
        (lambda x: x[:, 0], IndexError, "an index takes an axis away"),
        (lambda x: [v for v in x], TypeError, "cannot be unpacked"),
        (lambda x: len(x), TypeError, "no length"),
        (lambda x: None, TypeError, "must return a value"),
        (lambda x: [], TypeError, "must return a value"),
        (lambda x: 3.0, TypeError, "what it made of its inputs, got 3.0"),
        (lambda x: x.sigmoid(), AttributeError, r"call rekur.ops.sigmoid\("),
        (lambda x: x.sigmoyd(), AttributeError, "did you mean 'sigmoid'"),
        (lambda x: x @ x, TypeError, "no matrix product: use a Dense layer"),
        (lambda x: ops.mean(x), ValueError, "axis=-1, got axis=None"),
        (lambda x: ops.softmax(x, axis=0), ValueError, "axis=-1, got axis=0"),
        (lambda x: x * np.ones((2, 3)), TypeError, "arrays cannot be constants"),
        (lambda x: x * float("nan"), ValueError, "finite float32 number, got nan"),
        (lambda x: x * 1e39, ValueError, "finite float32 number"),
        (lambda x: x + "a", TypeError, "expected a symbol or a number, got str"),
    ],
)
def test_what_equations_cannot_say_is_refused_with_advice(
    function: Callable[..., Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        rekur.layers.Lambda(function)(rekur.Input((3,)))


def test_symbols_of_other_equations_are_refused() -> None:
    kept: list[Any] = []
    rekur.layers.Lambda(lambda x: kept.append(x) or x * 2)(rekur.Input((3,)))
    with pytest.raises(TypeError, match="comes from other equations"):
        rekur.layers.Lambda(lambda x: x + kept[0])(rekur.Input((3,)))


def test_every_operation_of_the_engine_has_a_reference_and_can_be_recorded() -> None:
    from rekur import _core

    assert set(_core.operation_names()) <= set(ops.COMPUTE)


def test_exported_names_exist() -> None:
    assert all(callable(getattr(ops, name)) for name in ops.__all__)


def test_what_is_put_together_of_others_is_numpys():
    x, y = np.array([-1.5, 0.0, 0.25, np.nan]), np.array([2.0, 0.0, 0.0, 1.0])
    for name in ("exp2", "sinh", "cosh", "tan"):
        np.testing.assert_allclose(getattr(ops, name)(x), getattr(np, name)(x))
    for name in ("log2", "log10"):
        np.testing.assert_allclose(getattr(ops, name)(y + 1), getattr(np, name)(y + 1))
    np.testing.assert_allclose(ops.hypot(x, y), np.hypot(x, y))
    ends = np.array([np.inf, -np.inf, np.nan, 2.0], np.float32)
    np.testing.assert_array_equal(ops.nan_to_num(ends, 7.0), np.nan_to_num(ends, nan=7.0))
    np.testing.assert_array_equal(ops.divide_no_nan(y, y), [1, 0, 0, 1])
    np.testing.assert_array_equal(ops.logical_xor(y > 1, y > 0), np.logical_xor(y > 1, y > 0))
    np.testing.assert_allclose(np.linalg.norm(ops.normalize(np.ones((2, 3)) * 5)), np.sqrt(2))
    assert ops.zeros((2, 3)).shape == ops.ones((2, 3)).shape == ops.full((2, 3), 4).shape == (2, 3)
    assert ops.zeros(2).dtype == ops.eye(2).dtype == ops.linspace(0, 1, 3).dtype == np.float32
    tensor = rekur.Input((5, 2))
    assert ops.ndim(tensor) == 3 and ops.is_tensor(tensor) and not ops.is_tensor(x)
    assert ops.amax(tensor, axis=1).shape == (None, 2)
