"""The parts of a detector's network: delays, moving sums, errors of forecasts and reconstructions, distances.

All of them are layers of a rekur model that take one step at a time, so that the engine, a stream, C++ and ONNX find
the same scores from raw values. Layers whose weights say what they do (a delay, a moving sum, the windows to compare
with) are not trained; :class:`Parts` keeps these weights until the model is there.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur import layers, ops
from rekur.models import Model

_FARTHEST = 1e6  # deviations from the mean that any value counts as at most: squares and their sums stay in float32
_REACH = 1.5  # how far an input may reach into a network, in parts of how far training data did

Floats = NDArray[np.float64]


@rekur.cell
def _hold(x: Any, h: Any) -> Any:
    """The last value that was there."""
    return ops.where(ops.isnan(x), h, x)


@rekur.cell
def _count(x: Any, h: Any, *, most: float = 1.0) -> Any:
    """How many steps came before, at most ``most``, and one."""
    return ops.minimum(h + ops.where(ops.isnan(x), 1.0, 1.0), most)


class Parts:
    """Makes layers with unique names, and gives those of them that are not trained their weights."""

    def __init__(self) -> None:
        self._weights: dict[str, list[NDArray[np.float32]]] = {}
        self._count = 0

    def name(self, what: str) -> str:
        self._count += 1
        return f"{what}_{self._count}"

    def fix(self, model: Model) -> Model:
        """Put the weights in their places."""
        for layer in model.layers:
            if layer.name in self._weights:
                layer.set_weights(self._weights[layer.name])
                layer.trainable = False
        return model

    def pointwise(self, function: Any, *inputs: Any, what: str) -> Any:
        """A function of the features of a step, written in rekur.ops, of one tensor or several."""
        layer = layers.Lambda(function if len(inputs) == 1 else (lambda given: function(*given)), name=self.name(what))
        return layer(inputs[0] if len(inputs) == 1 else list(inputs))

    def joined(self, tensors: list[Any]) -> Any:
        return tensors[0] if len(tensors) == 1 else layers.Concatenate(name=self.name("joined"))(tensors)

    def delayed(self, x: Any, steps: int) -> Any:
        """The values so many steps ago; zeros at the first steps."""
        kernel = np.zeros((2, x.shape[-1], 1))
        kernel[0] = 1
        return self._depthwise(x, kernel, "delay", steps)

    def moving_sum(self, x: Any, steps: int, factor: float = 1.0) -> Any:
        """``factor`` × the sum of the last so many steps."""
        return self._depthwise(x, np.full((steps, x.shape[-1], 1), factor), "moving")

    def taps(self, x: Any, number: int, apart: int) -> Any:
        """The last values of each channel, one every ``apart`` steps, the newest first: (B, T, F · number)."""
        kernel = np.zeros((number, x.shape[-1], number))
        for k in range(number):
            kernel[number - 1 - k, :, k] = 1
        return self._depthwise(x, kernel, "taps", apart)

    def said_before(self, x: Any, horizon: int) -> Any:
        """Feature f · horizon + j as it was j steps ago."""
        if horizon == 1:
            return x
        channels = x.shape[-1]
        kernel = np.zeros((horizon, channels, 1))
        kernel[horizon - 1 - np.arange(channels) % horizon, np.arange(channels), 0] = 1
        return self._depthwise(x, kernel, "ago")

    def grouped_mean(self, x: Any, groups: int) -> Any:
        """Means of neighbouring features: (B, T, groups)."""
        width = x.shape[-1] // groups
        return x if width == 1 else self.linear(x, np.kron(np.eye(groups), np.full((width, 1), 1 / width)), "means")

    def repeated(self, x: Any, times: int) -> Any:
        """Every feature so many times: (B, T, F · times)."""
        return x if times == 1 else self.linear(x, np.kron(np.eye(x.shape[-1]), np.ones((1, times))), "repeat")

    def linear(self, x: Any, kernel: Any, what: str) -> Any:
        name = self._keep(kernel, what)
        return layers.Dense(kernel.shape[1], use_bias=False, name=name)(x)

    def convolved(self, x: Any, kernel: Any, what: str) -> Any:
        name = self._keep(kernel, what)
        layer = layers.Conv1D(kernel.shape[2], len(kernel), padding="causal", use_bias=False, name=name)
        return layer(x)

    def _depthwise(self, x: Any, kernel: Any, what: str, apart: int = 1) -> Any:
        layer = layers.DepthwiseConv1D(
            len(kernel), depth_multiplier=kernel.shape[2], dilation_rate=apart, padding="causal", use_bias=False,
            name=self._keep(kernel, what),
        )  # fmt: skip
        return layer(x)

    def _keep(self, kernel: Any, what: str) -> str:
        name = self.name(what)
        self._weights[name] = [np.ascontiguousarray(kernel, np.float32)]
        return name


class Known(NamedTuple):
    """What is known of each of F channels of the training data: arrays of shape (F,)."""

    mean: Floats
    deviation: Floats
    reach: Floats  # how far from the mean, in deviations, values were
    missing: NDArray[np.bool_]


class Front:
    """Raw values standardised, which of them are there, and for how long there have been any.

    ``values``: standardised, 0 where missing, and at most ``_FARTHEST`` from 0, so that a score is a number whatever
    comes: of infinity, which C++ and ONNX take, a very high one, never NaN, which no threshold would see; ``held``:
    what networks read, where a missing value is the last one that was there, and no value is further out than
    ``_REACH`` times what training data were: what no training step has seen the like of must not throw a network off
    for longer than it lasts; ``present``: 1, or 0 where missing.
    """

    def __init__(self, parts: Parts, x: Any, known: Known) -> None:
        self._parts, self._x, self._known = parts, x, known
        variance = np.asarray(known.deviation, np.float64) ** 2
        scaled = layers.Normalization(mean=known.mean.tolist(), variance=variance.tolist(), name=parts.name("scale"))(x)
        self.present = parts.pointwise(lambda v: ops.where(ops.isnan(v), 0.0, 1.0), x, what="present")
        filled = parts.pointwise(lambda v: ops.where(ops.isnan(v), 0.0, v), scaled, what="fill")
        self.values = parts.pointwise(
            lambda v: ops.minimum(ops.maximum(v, -_FARTHEST), _FARTHEST), filled, what="farthest"
        )
        limit = np.maximum(known.reach, 1.0) * _REACH
        inside = layers.Rescaling((1 / limit).tolist(), name=parts.name("shrink"))(scaled)
        held = layers.RNN(_hold, len(known.mean), return_sequences=True, name=parts.name("hold"))(inside)
        bounded = parts.pointwise(lambda v: ops.minimum(ops.maximum(v, -1.0), 1.0), held, what="bound")
        self.held = layers.Rescaling(limit.tolist(), name=parts.name("grow"))(bounded)

    @property
    def channels(self) -> int:
        return len(self._known.mean)

    def read(self) -> Any:
        """What a network reads at a step: held values, and flags of channels that training data missed values of."""
        if not self._known.missing.any():
            return self.held
        flags = np.eye(self.channels)[:, self._known.missing]
        return self._parts.joined([self.held, self._parts.linear(self.present, -flags, "absent")])

    def since(self, steps: int) -> Any:
        """1 from the step on that has so many before it, 0 until then: (B, T, 1)."""
        parts = self._parts
        one = parts.pointwise(
            lambda v: ops.max(ops.where(ops.isnan(v), 1.0, 1.0), axis=-1, keepdims=True), self._x, what="one"
        )
        count = layers.RNN(_count, 1, most=float(steps + 1), return_sequences=True, name=parts.name("count"))(one)
        return parts.pointwise(lambda n: ops.where(n > steps + 0.5, 1.0, 0.0), count, what="since")
