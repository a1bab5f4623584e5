"""Initialisers: how a layer's parameters are drawn, by name or as an object.

The engine draws them from a counter-based generator (Philox4x32-10; Salmon et al., SC 2011), so a seed gives the same
weights on every machine. Fan-in and fan-out are those of the whole fused matrix and their normals are truncated at two
standard deviations, as in Keras.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from rekur._own import check_options, no_attribute, refuse_methods
from rekur._settings import Value, refuse_base
from rekur._validate import as_numeric, integer, real


class Initializer(Value):
    """Base of the initialisers: a name and its parameters, which never change."""

    name: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        self._begin(options)

    def _begin(self, options: dict[str, Any], **parameters: Any) -> None:
        refuse_base(self)
        drawn = self.name not in ("zeros", "ones", "constant", "identity", "log_range", "legendre")
        seed = options.pop("seed", None) if drawn else None
        check_options("initializer", type(self), options)
        found = {k: v if isinstance(v, str) else real(v, f"{self.name}: {k}") for k, v in parameters.items()}
        super().__init__(**found, **({} if seed is None else {"seed": _seed(seed, self.name)}))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "initializer", "__call__")

    def to_spec(self) -> str | dict[str, Any]:
        """The spec's form: the name, with parameters if it has any."""
        return {"name": self.name, **self.parameters} if self.parameters else self.name

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {_KERAS.get((self.name, key), key): value for key, value in self.parameters.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Initializer":
        """The initialiser of :meth:`get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        given = (f"{k}={v!r}" if isinstance(v, str) else f"{k}={v:g}" for k, v in self.parameters.items())
        return f"{type(self).__name__}({', '.join(given)})"


def _seed(value: Any, name: str) -> int:
    return integer(value, f"{name}: seed", 0)


# The names of the constructor's arguments that the spec calls otherwise.
_KERAS = {
    (name, key): given
    for name in ("uniform", "log_uniform", "softplus_log_uniform")
    for key, given in (("low", "minval"), ("high", "maxval"))
}


class Zeros(Initializer):
    """All zeros."""

    name = "zeros"


class Ones(Initializer):
    """All ones."""

    name = "ones"


class Constant(Initializer):
    """All ``value``; or an array, for the table of an Embedding."""

    name = "constant"
    _array: Any = None

    def __init__(self, value: Any = 0.0, **options: Any) -> None:
        if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0:
            self._array, value = as_numeric(value, "constant: value"), 0.0
        self._begin(options, value=value)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() if self._array is None else {"value": self._array.tolist()}

    def __repr__(self) -> str:
        return super().__repr__() if self._array is None else f"Constant(an array of shape {self._array.shape})"


class RandomUniform(Initializer):
    """Uniform between ``minval`` and ``maxval``."""

    name = "uniform"

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, **options: Any) -> None:
        self._begin(options, low=minval, high=maxval)
        if minval > maxval:
            raise ValueError(f"uniform: minval {minval} is above maxval {maxval}")


class RandomNormal(Initializer):
    """Normal with this mean and standard deviation, not truncated."""

    name = "normal"

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, **options: Any) -> None:
        real(stddev, "normal: stddev", 0)
        self._begin(options, mean=mean, stddev=stddev)


class TruncatedNormal(Initializer):
    """Normal with this mean and standard deviation, what lies beyond two of them drawn again."""

    name = "truncated_normal"

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, **options: Any) -> None:
        real(stddev, "truncated_normal: stddev", 0)
        self._begin(options, mean=mean, stddev=stddev)


class VarianceScaling(Initializer):
    """Of variance ``scale`` / fan: that of the inputs, of the outputs or their mean.

    Parameters
    ----------
    scale : float
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
    """

    name = "variance_scaling"

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", **options: Any
    ) -> None:
        if not real(scale, "variance_scaling: scale") > 0:
            raise ValueError(f"variance_scaling: scale must be above 0, got {scale!r}")
        _one_of("mode", mode, _MODES)
        distribution = "truncated_normal" if distribution == "normal" else distribution
        _one_of("distribution", distribution, _DISTRIBUTIONS)
        self._begin(options, scale=scale, mode=mode, distribution=distribution)


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


def _one_of(key: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"variance_scaling: {key} must be one of {', '.join(map(repr, known))}, got {value!r}")


class Identity(Initializer):
    """A matrix with ``gain`` on its diagonal, zeros beside it."""

    name = "identity"

    def __init__(self, gain: float = 1.0, **options: Any) -> None:
        self._begin(options, gain=gain)


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

    def __init__(self, gain: float = 1.0, **options: Any) -> None:
        self._begin(options, gain=gain)


class RNNUniform(Initializer):
    """Uniform in ±1/√units: PyTorch's for recurrent layers."""

    name = "rnn_uniform"


class LogUniform(Initializer):
    """e^u, u uniform between ln ``minval`` and ln ``maxval``: time constants, decays."""

    name = "log_uniform"

    def __init__(self, minval: float = 1e-3, maxval: float = 0.1, **options: Any) -> None:
        _positive_range(self.name, minval, maxval)
        self._begin(options, low=minval, high=maxval)


class SoftplusLogUniform(Initializer):
    """What softplus makes log-uniform: the bias of Mamba's step sizes. Gu and Dao, arXiv:2312.00752."""

    name = "softplus_log_uniform"

    def __init__(self, minval: float = 1e-3, maxval: float = 0.1, **options: Any) -> None:
        _positive_range(self.name, minval, maxval)
        self._begin(options, low=minval, high=maxval)


class LogRange(Initializer):
    """ln 1, ln 2, … for the rows one after the other: S4D's real decays. Gu et al., arXiv:2206.11893."""

    name = "log_range"


class Legendre(Initializer):
    """The memory of the LMU, of the last ``theta`` steps: its matrix, or as a vector what an input adds to it.

    Voelker, Kajić and Eliasmith, NeurIPS 2019: the paper's equation held for a step of 1, the matrix transposed.
    """

    name = "legendre"

    def __init__(self, theta: float = 100.0, **options: Any) -> None:
        real(theta, "legendre: theta", 1)
        self._begin(options, theta=theta)


def _positive_range(name: str, minval: float, maxval: float) -> None:
    real(minval, f"{name}: minval", 1e-30)
    if minval > real(maxval, f"{name}: maxval"):
        raise ValueError(f"{name}: minval {minval} is above maxval {maxval}")


_CLASSES: tuple[type[Initializer], ...] = (
    Zeros, Ones, Constant, RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling, Identity, GlorotUniform,
    GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal, RNNUniform, LogUniform,
    SoftplusLogUniform, LogRange, Legendre,
)  # fmt: skip
_ALIASES = {
    "random_uniform": "uniform",
    "random_normal": "normal",
    "zero": "zeros",
    "one": "ones",
    "OrthogonalInitializer": "orthogonal",
    "IdentityInitializer": "identity",
    **{c.__name__: c.name for c in _CLASSES},
}
NAMES = tuple(c.name for c in _CLASSES)
_PARAMETERS = {
    "constant": ("value",), "uniform": ("low", "high"), "normal": ("mean", "stddev"), "orthogonal": ("gain",),
    "truncated_normal": ("mean", "stddev"), "variance_scaling": ("scale", "mode", "distribution"),
    "identity": ("gain",),
    "log_uniform": ("low", "high"), "softplus_log_uniform": ("low", "high"), "legendre": ("theta",),
}  # fmt: skip


def to_spec(initializer: object, what: str, unit_forget: bool = False) -> str | dict[str, Any]:
    """The spec's form of a name (the spec's, Keras's or a class's), an object, a class or a dict."""
    if isinstance(initializer, type) and issubclass(initializer, Initializer):
        initializer = initializer()
    if isinstance(initializer, Initializer):
        if getattr(initializer, "_array", None) is not None:
            raise ValueError(
                f"{what}: an array as initialiser is for the table of an Embedding; elsewhere call set_weights once "
                "the layer is part of a model"
            )
        return initializer.to_spec()
    name = initializer.get("name") if isinstance(initializer, dict) else initializer
    if not isinstance(name, str):
        raise TypeError(f"{what}: an initialiser is a name or an object of rekur.initializers, got {initializer!r}")
    known = (*NAMES, "unit_forget") if unit_forget else NAMES
    name = _ALIASES.get(name, name)
    if name not in known:
        from rekur._keras.names import unknown

        raise ValueError(f"{what}: {unknown('initializer', name, known, 'initialiser')}")
    given = {k: v for k, v in initializer.items() if k != "name"} if isinstance(initializer, dict) else {}
    spec: dict[str, Any] = {"name": name, "value": 0.0} if name == "constant" else {"name": name}
    for key, value in given.items():
        if name == "unit_forget" and key == "others":
            spec[key] = to_spec(value, f"{what}: others")
        elif key == "seed":
            spec[key] = _seed(value, what)
        elif name == "variance_scaling" and key in ("mode", "distribution"):
            _one_of(key, value, _MODES if key == "mode" else _DISTRIBUTIONS)
            spec[key] = value
        elif key in _PARAMETERS.get(name, ()):
            spec[key] = real(value, f"{what}: {name}'s {key}")
        else:
            raise ValueError(f"{what}: initialiser '{name}' has no parameter '{key}'")
    return spec if isinstance(initializer, dict) or len(spec) > 1 else name


def is_unit_forget(spec: str | dict[str, Any]) -> bool:
    """Whether an initialiser, in the spec's form, starts the forget gate at one."""
    return (spec["name"] if isinstance(spec, dict) else spec) == "unit_forget"


def with_unit_forget(spec: str | dict[str, Any]) -> str | dict[str, Any]:
    """The initialiser of an LSTM's bias whose forget gate starts at one and whose other gates are drawn by ``spec``."""
    if spec == "zeros":
        return "unit_forget"
    return spec if spec == "ones" or is_unit_forget(spec) else {"name": "unit_forget", "others": spec}


def without_unit_forget(spec: str | dict[str, Any]) -> str | dict[str, Any]:
    """What :func:`with_unit_forget` made its argument into ``spec``."""
    others: str | dict[str, Any] = spec.get("others", "zeros") if isinstance(spec, dict) else "zeros"
    return others


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "initializer", name)
