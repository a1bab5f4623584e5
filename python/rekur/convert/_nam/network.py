"""A network that is put together while the weights of a file are read off, one list in the order of its engine."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rekur.convert._audio import count, numbers
from rekur.convert._nam.activations import activation_layer
from rekur.convert._parts import Made

WHO = "Neural Amp Modeler"
WIDEST = 1 << 16  # features, units, knobs of one layer
LONGEST = 1 << 24  # steps that a convolution looks back


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
    """Layers that are called as the file is read, and their weights."""

    def __init__(self, what: str, prefix: str = "") -> None:
        self.what = what
        self.prefix = prefix  # of the names of its layers
        self.made: list[Made] = []

    def call(self, layer: Any, inputs: Any, weights: Sequence[Any] = ()) -> Any:
        if self.prefix:
            layer.name = f"{self.prefix}{layer.name}"
        self.made.append((layer, weights))
        return layer(inputs)

    def product(self, x: Any, product: Product, name: str, dilation: int = 1) -> Any:
        """A Dense, or where steps before are seen or channels stand in groups a causal convolution."""
        from rekur.layers import Conv1D, Dense

        kernel, bias, groups = product
        out, _, size = kernel.shape
        biases = [] if bias is None else [bias]
        if size == 1 and groups == 1:
            return self.call(Dense(out, use_bias=bias is not None, name=name), x, [kernel[:, :, 0].T, *biases])
        if (size - 1) * dilation > LONGEST:
            raise ValueError(
                f"{self.what}: {name} looks back {(size - 1) * dilation} steps, at most {LONGEST} are read"
            )
        layer = Conv1D(
            out, size, padding="causal", dilation_rate=dilation if size > 1 else 1, groups=groups,
            use_bias=bias is not None, name=name,
        )  # fmt: skip
        return self.call(layer, x, [kernel.transpose(2, 1, 0), *biases])

    def activation(self, x: Any, given: Any, name: str, what: str) -> Any:
        layer, weights = activation_layer(given, x.shape[-1], name, f"{self.what}: {what}")
        return self.call(layer, x, weights)

    def add(self, name: str, *tensors: Any) -> Any:
        from rekur.layers import Add

        return self.call(Add(name=name), list(tensors))

    def multiply(self, name: str, *tensors: Any) -> Any:
        from rekur.layers import Multiply

        return self.call(Multiply(name=name), list(tensors))

    def cut(self, x: Any, start: int, stop: int, name: str) -> Any:
        from rekur.layers import Slice

        return self.call(Slice(start, stop, name=name), x)

    def scaled(self, x: Any, scale: float, name: str) -> Any:
        from rekur.layers import Rescaling

        return self.call(Rescaling(scale, name=name), x)


def width(config: Mapping[str, Any], key: str, what: str, default: int | None = None) -> int:
    """A number of channels.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = count(config, key, what, default=default)
    if found > WIDEST:
        raise ValueError(f"{what}: {key}: expected at most {WIDEST}, got {found}")
    return found


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
