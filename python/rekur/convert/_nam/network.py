"""A network that is put together while the weights of a file are read off, one list in the order of its engine."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rekur.convert._audio import LONGEST, demand_few, numbers
from rekur.convert._nam.activations import activation_layer
from rekur.convert._parts import Made

WHO = "Neural Amp Modeler"


class Product(NamedTuple):
    """The weights of a product of each step, or of some."""

    kernel: Any  # (outputs, inputs of a group, taps), the oldest tap first
    bias: Any
    groups: int = 1


class Weights:
    """The numbers of a file, from the first to the last."""

    def __init__(self, given: Any, what: str) -> None:
        if not isinstance(given, list):
            raise ValueError(f"{what}: weights: expected a list of numbers, got {given!r:.80}")
        self._flat = numbers(given, (len(given),), f"{what}: weights") if given else np.zeros(0, np.float32)
        self._place = 0
        self._what = what

    def take(self, *shape: int) -> Any:
        """The next numbers, as an array of a shape.

        Raises
        ------
        ValueError
            If there are not as many.
        """
        end = self._place + math.prod(shape)
        if end > self._flat.size:
            raise ValueError(f"{self._what}: weights: expected a list of at least {end} numbers, got {self._flat.size}")
        array, self._place = self._flat[self._place : end].reshape(shape), end
        return array

    def product(self, features: int, out: int, what: str, size: int = 1, bias: bool = True, groups: int = 1) -> Product:
        """Of each output, of each of its inputs the taps; then the biases.

        Raises
        ------
        ValueError
            If there are not as many numbers, and where groups do not divide channels.
        """
        if features % groups or out % groups:
            raise ValueError(f"{self._what}: {what}: {groups} groups do not divide {features} channels and {out}")
        kernel = self.take(out, features // groups, size)
        return Product(kernel, self.take(out) if bias else None, groups)

    def finish(self) -> None:
        """Raises ValueError if there are numbers left."""
        if self._place != self._flat.size:
            raise ValueError(f"{self._what}: weights: expected a list of {self._place} numbers, got {self._flat.size}")


class Network:
    """Layers that are called as the file is read, and their weights.

    A network that has heard silence for long is at rest: every tensor has a value. Settled, it begins there and not
    with zeros: what a convolution reads is the tensor less its value at rest, so that the zeros before the first step
    stand for it, and biases make up for that. Where no bias can, a layer that adds an offset does.
    """

    def __init__(self, what: str, settled: bool, prefix: str = "") -> None:
        self.what = what
        self.settled = settled
        self.prefix = prefix  # of the names of its layers
        self.made: list[Made] = []
        self.rest: dict[Any, Any] = {}  # by tensor: its value at rest, float64
        self._less: dict[Any, Any] = {}  # what was subtracted of it

    def input(self, features: int) -> Any:
        """What it reads, at rest silence."""
        from rekur.layers import Input

        x = Input((None, features))
        self.rest[x] = self._less[x] = np.zeros(features)
        return x

    def within(self, what: str, prefix: str) -> "Network":
        """A network of the same model, with other names."""
        inner = Network(what, self.settled, f"{self.prefix}{prefix}")
        inner.made, inner.rest, inner._less = self.made, self.rest, self._less
        return inner

    def _call(self, layer: Any, inputs: Any, rest: Any, less: Any, weights: Sequence[Any] = ()) -> Any:
        if self.prefix:
            layer.name = f"{self.prefix}{layer.name}"
        self.made.append((layer, weights))
        demand_few(len(self.made))
        y = layer(inputs)
        self.rest[y], self._less[y] = rest, less
        return y

    def _moved(self, x: Any, less: Any, name: str) -> Any:
        """The same tensor with something else subtracted."""
        from rekur.layers import Rescaling

        offset = self._less[x] - less
        if not offset.any():
            return x
        layer = Rescaling(1.0, self._floats(offset, name).astype(float).tolist(), name=f"{name}_offset")
        return self._call(layer, x, self.rest[x], less)

    def _floats(self, values: Any, name: str) -> Any:
        with np.errstate(over="ignore"):
            found = np.asarray(values, np.float32)
        if not np.isfinite(found).all():
            raise ValueError(f"{self.what}: {name}: at rest, after silence, it is not finite: settled=False leaves it")
        return found

    def _whole(self, x: Any, name: str) -> Any:
        return self._moved(x, np.zeros_like(self._less[x]), name)

    def product(self, x: Any, product: Product, name: str, dilation: int = 1, added: bool = False) -> Any:
        """A Dense, or where steps before are seen or channels stand in groups a causal convolution.

        ``added``: the result is added to another tensor, no more, so it may be without what it is at rest.
        """
        from rekur.layers import Conv1D, Dense

        kernel, bias, groups = product
        out, _, size = kernel.shape
        if size > 1 and self.settled:
            x = self._moved(x, self.rest[x], name)
        plain = np.zeros(out) if bias is None else np.asarray(bias, float)
        rest, reached = _at_rest(product, self.rest[x]) + plain, _at_rest(product, self._less[x])
        less = np.zeros(out)
        if bias is None and (size == 1 or added):
            less = reached
        elif reached.any() or (added and self.settled):
            less = rest if added and self.settled else less
            bias = self._floats(plain + reached - less, name)
        biases = [] if bias is None else [bias]
        if size == 1 and groups == 1:
            dense = Dense(out, use_bias=bias is not None, name=name)
            return self._call(dense, x, rest, less, [kernel[:, :, 0].T, *biases])
        if (size - 1) * dilation > LONGEST:
            raise ValueError(f"{self.what}: {name} looks back {(size - 1) * dilation} steps, more than {LONGEST}")
        layer = Conv1D(
            out, size, padding="causal", dilation_rate=dilation if size > 1 else 1, groups=groups,
            use_bias=bias is not None, name=name,
        )  # fmt: skip
        return self._call(layer, x, rest, less, [kernel.transpose(2, 1, 0), *biases])

    def normalised(self, x: Any, weights: "Weights", name: str) -> Any:
        """By statistics that the file has."""
        from rekur.layers import BatchNormalization

        channels = int(x.shape[-1])
        mean, variance, gamma, beta = (weights.take(channels) for _ in range(4))
        epsilon = float(weights.take())
        if epsilon < 0 or (variance < 0).any():
            raise ValueError(f"{self.what}: {name}: expected variances and an epsilon that are not negative")
        rest = gamma * (self.rest[x] - mean) / np.sqrt(variance.astype(float) + epsilon) + beta
        if (less := self._less[x]).any():
            mean = self._floats(mean - less, name)
        layer = BatchNormalization(epsilon=epsilon, name=name)
        return self._call(layer, x, rest, np.zeros(channels), [gamma, beta, mean, variance])

    def activation(self, x: Any, given: Any, name: str, what: str) -> Any:
        x = self._whole(x, name)
        layer, weights, function = activation_layer(given, int(x.shape[-1]), name, f"{self.what}: {what}")
        with np.errstate(over="ignore"):
            rest = function(self.rest[x])
        return self._call(layer, x, rest, np.zeros_like(rest), weights)

    def add(self, name: str, *tensors: Any) -> Any:
        from rekur.layers import Add

        rest, less = (sum(values[t] for t in tensors) for values in (self.rest, self._less))
        return self._call(Add(name=name), list(tensors), rest, less)

    def subtract(self, name: str, first: Any, second: Any) -> Any:
        from rekur.layers import Subtract

        rest, less = (values[first] - values[second] for values in (self.rest, self._less))
        return self._call(Subtract(name=name), [first, second], rest, less)

    def multiply(self, name: str, first: Any, second: Any) -> Any:
        from rekur.layers import Multiply

        first, second = self._whole(first, name), self._whole(second, name)
        rest = self.rest[first] * self.rest[second]
        return self._call(Multiply(name=name), [first, second], rest, np.zeros_like(rest))

    def cut(self, x: Any, start: int, stop: int, name: str) -> Any:
        from rekur.layers import Slice

        return self._call(Slice(start, stop, name=name), x, self.rest[x][start:stop], self._less[x][start:stop])

    def scaled(self, x: Any, scale: float, name: str) -> Any:
        from rekur.layers import Rescaling

        return self._call(Rescaling(scale, name=name), x, self.rest[x] * scale, self._less[x] * scale)

    def end(self, x: Any) -> Any:
        """The output."""
        return self._whole(x, "output")


def _at_rest(product: Product, value: Any) -> Any:
    """A product of steps that are all alike, without the bias."""
    kernel = product.kernel.astype(float).sum(axis=2).reshape(product.groups, -1, product.kernel.shape[1])
    return np.einsum("goi,gi->go", kernel, value.reshape(product.groups, -1)).reshape(-1)


def flag(config: Mapping[str, Any], key: str, what: str, default: bool | None = None) -> bool:
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{what}: {key}: expected true or false, got {'none' if value is None else repr(value)}")
    return value


def known(config: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    """Raises ValueError where a key says something that is not known here, and that the numbers may depend on."""
    for key, value in config.items():
        if key not in keys and value is not None and value is not False:
            raise ValueError(f"{what}: '{key[:80]}' is not known here, and what it says is not carried")
