"""exp, tanh, sigmoid and the other activations of every instruction set against float64, over all of float32."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import reference
import rekur
from rekur import _core

FLT_MIN = float(np.finfo(np.float32).tiny)
FLT_MAX = float(np.finfo(np.float32).max)
DEFAULTS = {
    "leaky_relu": (0.2, 0.0),
    "elu": (1.0, 0.0),
    "hard_sigmoid": (1 / 6, 0.5),
    "affine": (1.0, 0.0),
    "thresholded_relu": (1.0, 0.0),
    "scaled_tanh": (1.7159, 2 / 3),
}
ELEMENTWISE = [name for name in reference.ACTIVATIONS if name != "softmax"]


def activate(name: str, x: np.ndarray) -> np.ndarray:
    return _core.activate(name, *DEFAULTS.get(name, (0.0, 0.0)), x)


@functools.cache
def samples() -> np.ndarray:
    """Every 997th bit pattern, denormals included, and the range where exp and tanh do their work, densely."""
    patterns = np.arange(0, 2**32, 997, dtype=np.uint64).astype(np.uint32).view(np.float32)
    edges = np.float32([0.0, -0.0, FLT_MIN, -FLT_MIN, FLT_MAX, -FLT_MAX, 88.72283, 88.7229, -87.33654, -103.98, 1e-45])
    dense = [np.linspace(-r, r, 300_001, dtype=np.float32) for r in (1e-3, 1.0, 10.0, 105.0)]
    x = np.concatenate([patterns, edges, *dense])
    return x[np.isfinite(x)]


def ulps(actual: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Error in units of the last place of float32; a result below FLT_MIN may have been flushed to zero."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        unit = np.spacing(np.minimum(np.maximum(np.abs(rounded), FLT_MIN), np.float32(FLT_MAX))).astype(np.float64)
        error = np.abs(actual.astype(np.float64) - exact) / unit
    error[np.abs(exact) < FLT_MIN] = np.where(np.abs(actual[np.abs(exact) < FLT_MIN]) <= FLT_MIN, 0, np.inf)
    error[np.isinf(actual) & (exact > FLT_MAX * (1 - 2.0**-22))] = 0
    return error


@pytest.mark.parametrize("name", ["exp", "tanh", "softplus"])
def test_within_four_ulp_of_float64(isa: str, name: str) -> None:
    x = samples()
    with np.errstate(over="ignore", under="ignore"):
        exact = getattr(np, name, reference.ACTIVATIONS.get(name))(x.astype(np.float64))
    error = ulps(activate(name, x), exact)
    worst = int(np.argmax(error))
    assert error[worst] <= 4, f"{name}({x[worst]!r}) is off by {error[worst]:.2f} ULP"


def test_sigmoid_within_1e_7_of_float64(isa: str) -> None:
    x = samples()
    error = np.abs(activate("sigmoid", x) - reference.sigmoid(x.astype(np.float64)))
    worst = int(np.argmax(error))
    assert error[worst] <= 1e-7, f"sigmoid({x[worst]!r}) is off by {error[worst]:.3g}"


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_activation_follows_its_equation(isa: str, name: str) -> None:
    x = np.concatenate([np.linspace(-12, 12, 20_011), [0.0, -0.0, 1e-30, -1e-30, 3e30, -3e30]]).astype(np.float32)
    exact = reference.ACTIVATIONS[name](x.astype(np.float64))
    assert np.all(np.abs(activate(name, x) - exact) <= 3e-7 * np.maximum(1, np.abs(exact)))


def test_activations_take_their_parameters(isa: str) -> None:
    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    for name, *parameters in [
        ("leaky_relu", 0.01), ("elu", 0.5), ("hard_sigmoid", 0.2, 0.4), ("affine", -0.7, 0.3), ("affine", 0.0, 2.0),
        ("thresholded_relu", 0.5), ("thresholded_relu", -0.5), ("scaled_tanh", 1.5, -0.4), ("scaled_tanh", 0.0, 1.0),
    ]:  # fmt: skip
        exact = reference.ACTIVATIONS[name](x.astype(np.float64), *parameters)
        alpha, beta = (*parameters, 0.0)[:2]
        assert np.abs(_core.activate(name, alpha, beta, x) - exact).max() < 2e-6


def test_special_values(isa: str) -> None:
    special = np.float32([0.0, -0.0, np.inf, -np.inf])
    np.testing.assert_array_equal(activate("exp", special), np.float32([1, 1, np.inf, 0]))
    np.testing.assert_array_equal(activate("sigmoid", special), np.float32([0.5, 0.5, 1, 0]))
    result = activate("tanh", special)
    np.testing.assert_array_equal(result, np.float32([0, -0.0, 1, -1]))
    np.testing.assert_array_equal(np.signbit(result), [False, True, False, True])
    np.testing.assert_array_equal(activate("softplus", special), np.float32([np.log(2), np.log(2), np.inf, 0]))
    np.testing.assert_array_equal(activate("thresholded_relu", special), np.float32([0, 0, np.inf, 0]))


@pytest.mark.parametrize("name", ["exp", *ELEMENTWISE])
def test_nan_stays_nan_and_touches_no_neighbour(isa: str, name: str) -> None:
    clean = np.linspace(-3, 3, 67, dtype=np.float32)
    dirty = clean.copy()
    dirty[[0, 5, 15, 16, 33, 66]] = np.nan
    result, expected = activate(name, dirty), activate(name, clean)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(dirty))
    np.testing.assert_array_equal(result[~np.isnan(dirty)], expected[~np.isnan(dirty)])


@pytest.mark.parametrize("name", ["exp", *ELEMENTWISE])
def test_an_element_does_not_depend_on_where_it_stands(isa: str, name: str) -> None:
    x = np.linspace(-4, 4, 131, dtype=np.float32)
    whole = activate(name, x)
    for start, stop in [(0, 0), (0, 1), (1, 3), (2, 9), (5, 21), (7, 38), (1, 131), (100, 131)]:
        np.testing.assert_array_equal(activate(name, x[start:stop].copy()), whole[start:stop])


def test_results_are_never_denormal_garbage(isa: str) -> None:
    denormals = np.arange(1, 2**23, 4099, dtype=np.uint32).view(np.float32)
    both = np.concatenate([denormals, -denormals])
    np.testing.assert_array_equal(activate("exp", both), np.ones_like(both))
    np.testing.assert_allclose(activate("sigmoid", both), 0.5, atol=1e-7)
    assert np.all(np.abs(activate("tanh", both)) <= FLT_MIN)


def test_sigmoid_has_the_same_bits_in_a_cells_step(isa: str) -> None:
    """A cell waits for its gates and an array does not, so each has its own form of the function."""
    H = 16
    steps = rekur.Input((1, H))
    _, _, c = rekur.layers.LSTM(H, return_state=True)(steps)
    model = rekur.Model(steps, c)
    kernel, bias = np.zeros((H, 4 * H), np.float32), np.zeros(4 * H, np.float32)
    kernel[:, :H] = np.eye(H)  # i = σ(x), f·c = 0, g = tanh(100) = 1: c' is i
    bias[2 * H : 3 * H] = 100
    model.set_weights([kernel, np.zeros((H, 4 * H), np.float32), bias])
    x = np.resize(samples(), (len(samples()) // H + 1, H))
    expected = activate("sigmoid", x)
    expected[expected < FLT_MIN] = 0  # a layer flushes what is denormal
    np.testing.assert_array_equal(model.predict(x[:, None], batch_size=len(x)), expected)
