"""Initialisers: how a layer's parameters are drawn, by name or as an object.

The engine draws them from a counter-based generator (Philox4x32-10; Salmon et al., SC 2011), so a seed gives the same
weights on every machine. Fan-in and fan-out are those of the whole fused matrix and their normals are truncated at two
standard deviations, as in Keras.
"""

from typing import Any, ClassVar

from rekur._settings import Value
from rekur._validate import did_you_mean, real


class Initializer(Value):
    """Base of the initialisers: a name and its parameters, which never change."""

    name: ClassVar[str]

    def __init__(self, **parameters: float) -> None:
        super().__init__(**{key: real(value, f"{self.name}: {key}") for key, value in parameters.items()})

    def to_spec(self) -> str | dict[str, Any]:
        return {"name": self.name, **self.parameters} if self.parameters else self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v:g}' for k, v in self.parameters.items())})"


class Zeros(Initializer):
    """All zeros."""

    name = "zeros"


class Ones(Initializer):
    """All ones."""

    name = "ones"


class Constant(Initializer):
    """All ``value``."""

    name = "constant"

    def __init__(self, value: float = 0.0) -> None:
        super().__init__(value=value)


class RandomUniform(Initializer):
    """Uniform between ``minval`` and ``maxval``."""

    name = "uniform"

    def __init__(self, minval: float = -0.05, maxval: float = 0.05) -> None:
        super().__init__(low=minval, high=maxval)
        if minval > maxval:
            raise ValueError(f"uniform: minval {minval} is above maxval {maxval}")


class RandomNormal(Initializer):
    """Normal with this mean and standard deviation, not truncated."""

    name = "normal"

    def __init__(self, mean: float = 0.0, stddev: float = 0.05) -> None:
        real(stddev, "normal: stddev", 0)
        super().__init__(mean=mean, stddev=stddev)


class GlorotUniform(Initializer):
    """Uniform in ±√(6 / (fan_in + fan_out)). Glorot and Bengio, AISTATS 2010."""

    name = "glorot_uniform"


class GlorotNormal(Initializer):
    """Truncated normal of variance 2 / (fan_in + fan_out). Glorot and Bengio, AISTATS 2010."""

    name = "glorot_normal"


class HeUniform(Initializer):
    """Uniform in ±√(6 / fan_in). He et al., arXiv:1502.01852."""

    name = "he_uniform"


class HeNormal(Initializer):
    """Truncated normal of variance 2 / fan_in. He et al., arXiv:1502.01852."""

    name = "he_normal"


class LecunUniform(Initializer):
    """Uniform in ±√(3 / fan_in). LeCun et al., Efficient BackProp, 1998."""

    name = "lecun_uniform"


class LecunNormal(Initializer):
    """Truncated normal of variance 1 / fan_in. LeCun et al., Efficient BackProp, 1998."""

    name = "lecun_normal"


class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, times ``gain``. Saxe et al., arXiv:1312.6120."""

    name = "orthogonal"

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__(gain=gain)


class RNNUniform(Initializer):
    """Uniform in ±1/√units: PyTorch's for recurrent layers."""

    name = "rnn_uniform"


_CLASSES: tuple[type[Initializer], ...] = (
    Zeros, Ones, Constant, RandomUniform, RandomNormal, GlorotUniform, GlorotNormal,
    HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal, RNNUniform,
)  # fmt: skip
_ALIASES = {"random_uniform": "uniform", "random_normal": "normal"}
NAMES = tuple(c.name for c in _CLASSES)
_PARAMETERS = {
    "constant": ("value",), "uniform": ("low", "high"), "normal": ("mean", "stddev"), "orthogonal": ("gain",)
}  # fmt: skip


def to_spec(initializer: object, what: str, unit_forget: bool = False) -> str | dict[str, Any]:
    """The spec's form of a name (the spec's, Keras's or a class's), an object, a class or a dict."""
    if isinstance(initializer, type) and issubclass(initializer, Initializer):
        initializer = initializer()
    if isinstance(initializer, Initializer):
        return initializer.to_spec()
    name = initializer.get("name") if isinstance(initializer, dict) else initializer
    if not isinstance(name, str):
        raise TypeError(f"{what}: an initialiser is a name or an object of rekur.initializers, got {initializer!r}")
    known = (*NAMES, "unit_forget") if unit_forget else NAMES
    name = {**_ALIASES, **{c.__name__: c.name for c in _CLASSES}}.get(name, name)
    if name not in known:
        raise ValueError(f"{what}: unknown initialiser '{name}'{did_you_mean(name, known)}")
    if not isinstance(initializer, dict):
        return name
    spec: dict[str, Any] = {"name": name}
    for key, value in initializer.items():
        if key == "name":
            continue
        if key not in _PARAMETERS.get(name, ()):
            raise ValueError(f"{what}: initialiser '{name}' has no parameter '{key}'")
        spec[key] = real(value, f"{what}: {name}'s {key}")
    return spec
