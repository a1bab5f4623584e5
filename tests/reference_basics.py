"""What the parts of the reference share: activations in float64, and what flows between layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur._trace import evaluate

Array = NDArray[np.float64]
Spec = Mapping[str, Any]


def sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True)) if x.size else x
    return e / e.sum(axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0.0),
    "leaky_relu": lambda x, alpha=0.2: np.where(x > 0, x, alpha * x),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "hard_sigmoid": lambda x, alpha=1 / 6, beta=0.5: np.clip(alpha * x + beta, 0.0, 1.0),
    "affine": lambda x, alpha=1.0, beta=0.0: alpha * x + beta,
    "thresholded_relu": lambda x, alpha=1.0: np.where(x > alpha, x, 0.0),
    "scaled_tanh": lambda x, alpha=1.7159, beta=2 / 3: alpha * np.tanh(beta * x),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "softmax": softmax,
}


def activation(given: str | Spec) -> Callable[[Array], Array]:
    """The function of an activation as a spec gives it: a name, or an object with parameters."""
    if isinstance(given, str):
        return ACTIVATIONS[given]
    if "equations" in given:
        return lambda x: evaluate(given["equations"], [x])[0]
    parameters = {key: value for key, value in given.items() if key != "name"}
    return lambda x: ACTIVATIONS[given["name"]](x, **parameters)


class Tensor(NamedTuple):
    """A value and, where it has a time axis that came with lengths, those lengths."""

    value: Array
    lengths: NDArray[Any] | None = None


def last_outputs(y: Array, lengths: NDArray[Any] | None, reverse: bool = False) -> Array:
    """Of every row that of its last step, read from the end its first; zeros for one without."""
    B, T, U = y.shape
    steps = np.full(B, T) if lengths is None else np.asarray(lengths)
    return np.array([y[b, 0 if reverse else n - 1] if n else np.zeros(U) for b, n in enumerate(steps)]).reshape(B, U)
