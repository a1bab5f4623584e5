"""Checks for what you wrote yourself: derived gradients against central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._trace import evaluate
from rekur._validate import as_float32, as_numeric, real

_Doubles = NDArray[np.float64]


def check_gradients(function: Callable[..., Any], *inputs: Any, tolerance: float = 1e-3) -> float:
    """Compare the engine's gradient of a function written in :mod:`rekur.ops` with central differences in float64.

    The function is one of a row of features, such as a :class:`rekur.layers.Lambda` or an activation takes.

    Parameters
    ----------
    function : callable
        Of as many values as there are inputs; it returns a value or several.
    inputs : array_like of shape (N, F) or (N, 1)
        The points, rounded to float32. At a corner, where |x| is 0 or two numbers are equally large, there is no
        derivative: take others.
    tolerance : float
        The largest difference allowed, relative to the largest derivative of the row.

    Returns
    -------
    float
        The largest relative difference.

    Raises
    ------
    ValueError
        Where the difference is larger, naming the place and both numbers.
    """
    from rekur import Input, Model
    from rekur.layers import Lambda

    points = [_points(x, f"check_gradients: input {k}") for k, x in enumerate(inputs)]
    if not points:
        raise ValueError("check_gradients: expected the points to look at, one array an input")
    if any(len(x) != len(points[0]) for x in points):
        raise ValueError(f"check_gradients: expected equally many rows, got {', '.join(str(len(x)) for x in points)}")
    symbols = [Input((x.shape[1],)) for x in points]
    layer = Lambda((lambda values: function(*values)) if len(symbols) > 1 else function, name=_name(function))
    outputs = layer(symbols if len(symbols) > 1 else symbols[0])
    several = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    model, equations = Model(symbols, several), layer.equations
    assert equations is not None
    draw = np.random.default_rng(0)
    arriving = [draw.uniform(0.5, 1.5, (len(points[0]), tensor.shape[-1])).astype(np.float32) for tensor in several]
    _, _, found = model.gradients(
        [x.astype(np.float32) for x in points] if len(points) > 1 else points[0].astype(np.float32),
        arriving if len(arriving) > 1 else arriving[0],
    )

    def value(*given: _Doubles) -> _Doubles:
        sums = [np.sum(a * v, axis=-1) for a, v in zip(arriving, evaluate(equations, given), strict=True)]
        return np.asarray(np.sum(sums, axis=0))

    return max(
        _compare(f"{layer!r}: input {k}", np.asarray(gradient), _differences(value, points, k), tolerance)
        for k, gradient in enumerate(found)
    )


def check_loss_gradients(loss: Any, y_true: Any, y_pred: Any, tolerance: float = 1e-3) -> float:
    """Compare the engine's gradient of a loss of one's own with central differences in float64.

    Parameters
    ----------
    loss : function or Loss
        As ``compile`` takes it, of :class:`rekur.losses.Numpy` too, whose gradient is one's own.
    y_true, y_pred : array_like of shape (N, …), (N, F)
        The points; see :func:`check_gradients`.
    tolerance : float
        The largest difference allowed, relative to the largest derivative of the row.

    Returns
    -------
    float
        The largest relative difference.

    Raises
    ------
    ValueError
        Where the difference is larger, naming the place and both numbers.
    TypeError
        For a loss of the engine's own.
    """
    from rekur import Sequential, layers, losses, optimizers

    taken = losses.get(loss)
    if not taken.is_own:
        raise TypeError(f"check_loss_gradients: {taken!r} is the engine's; expected a loss of one's own")
    points = _points(y_pred, "check_loss_gradients: y_pred")
    target = as_numeric(y_true, "check_loss_gradients: y_true")
    model = Sequential([layers.Affine(input_shape=(points.shape[1],))])
    model.compile(optimizers.SGD(1.0), taken)
    start, found = model.get_weights(), np.empty(points.shape)
    for row in range(len(points)):  # the shift is 0 before a step, and minus the row's gradient behind it
        model.set_weights(start)
        model.train_on_batch(points[row : row + 1], target[row : row + 1])
        found[row] = -model.get_weights()[1]
    bound = model._trainer().losses[0]
    assert bound is not None
    numbers = target if isinstance(bound, losses.Numpy) else target.astype(np.float32)

    def value(x: _Doubles) -> _Doubles:
        return np.asarray(bound.values(numbers, x))

    return _compare(f"loss '{taken.name}': y_pred", found, _differences(value, [points], 0), tolerance)


def _name(function: Any) -> str | None:
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() and name.isascii() else None


def _points(given: Any, what: str) -> _Doubles:
    points: NDArray[Any] = as_float32(given, what)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"{what}: expected points of shape (N, F), got {points.shape}")
    return points.astype(np.float64)


def _differences(value: Callable[..., _Doubles], points: Sequence[_Doubles], k: int) -> _Doubles:
    """d value / d points[k]: a value a row, which depends on its own row alone."""
    found: _Doubles = np.empty(points[k].shape, np.float64)
    for feature in range(points[k].shape[-1]):
        step = 1e-6 * np.maximum(1.0, np.abs(points[k][:, feature]))
        moved = []
        for sign in (1.0, -1.0):
            x = points[k].copy()
            x[:, feature] += sign * step
            moved.append(value(*points[:k], x, *points[k + 1 :]))
        found[:, feature] = (moved[0] - moved[1]) / (2 * step)
    return found


def _compare(what: str, found: NDArray[Any], expected: _Doubles, tolerance: float) -> float:
    tolerance = real(tolerance, "tolerance", 0)
    scale = np.abs(expected).max(axis=-1, keepdims=True)
    scale = np.maximum(np.maximum(scale, 1e-3 * scale.max()), 1e-30)
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected) / scale
    difference[np.isnan(difference) & (np.isnan(found) == np.isnan(expected))] = 0.0  # NaN, or infinite, in both
    place = int(np.argmax(np.nan_to_num(difference, nan=np.inf, posinf=np.inf)))
    row, feature = divmod(place, difference.shape[1])
    largest = float(difference[row, feature])
    if not largest <= tolerance:
        raise ValueError(
            f"{what}: at row {row}, feature {feature} the gradient is {found[row, feature]:.6g}, central differences "
            f"give {expected[row, feature]:.6g}; at a corner of the function that is to be expected"
        )
    return largest
