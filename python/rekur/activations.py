"""Activations, by name or as an object where one has parameters.

``linear``, ``tanh``, ``sigmoid``, ``relu``, ``leaky_relu``, ``elu``, ``softsign``, ``hard_sigmoid``, ``affine``,
``thresholded_relu``, ``scaled_tanh``, ``softplus`` (ln(1 + exp(x))) and, for Dense and Activation, ``softmax`` over the
last axis.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from rekur._own import check_options, no_attribute
from rekur._settings import Value
from rekur._validate import real

NAMES = (
    "linear", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "softsign", "hard_sigmoid", "affine", "thresholded_relu",
    "scaled_tanh", "softplus", "softmax",
)  # fmt: skip
_PARAMETERS = {
    "leaky_relu": ("alpha",),
    "elu": ("alpha",),
    "hard_sigmoid": ("alpha", "beta"),
    "affine": ("alpha", "beta"),
    "thresholded_relu": ("alpha",),
    "scaled_tanh": ("alpha", "beta"),
}


class ParametricActivation(Value):
    """An activation with parameters of its own, which never change."""

    name: ClassVar[str]

    def _begin(self, options: dict[str, Any], **parameters: float) -> None:
        check_options("activation", type(self), options)
        super().__init__(**{key: real(value, f"{self.name}: {key}") for key, value in parameters.items()})

    def config(self) -> dict[str, Any]:
        return {"name": self.name, **self.parameters}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v:g}' for k, v in self.parameters.items())})"


class LeakyReLU(ParametricActivation):
    """x for x > 0, else alpha·x."""

    name = "leaky_relu"

    def __init__(self, alpha: float = 0.2, **options: Any) -> None:
        self._begin(options, alpha=alpha)


class ELU(ParametricActivation):
    """x for x > 0, else alpha·(exp(x) − 1). Clevert et al., arXiv:1511.07289."""

    name = "elu"

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        self._begin(options, alpha=alpha)


class HardSigmoid(ParametricActivation):
    """max(0, min(1, alpha·x + beta)); the defaults are those of Keras 3."""

    name = "hard_sigmoid"

    def __init__(self, alpha: float = 1 / 6, beta: float = 0.5, **options: Any) -> None:
        self._begin(options, alpha=alpha, beta=beta)


class Affine(ParametricActivation):
    """alpha·x + beta."""

    name = "affine"

    def __init__(self, alpha: float = 1.0, beta: float = 0.0, **options: Any) -> None:
        self._begin(options, alpha=alpha, beta=beta)


class ThresholdedReLU(ParametricActivation):
    """x for x > alpha, else 0. Konda et al., arXiv:1402.3337."""

    name = "thresholded_relu"

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        self._begin(options, alpha=alpha)


class ScaledTanh(ParametricActivation):
    """alpha·tanh(beta·x); the defaults are those of LeCun et al., Efficient BackProp, 1998."""

    name = "scaled_tanh"

    def __init__(self, alpha: float = 1.7159, beta: float = 2 / 3, **options: Any) -> None:
        self._begin(options, alpha=alpha, beta=beta)


def to_spec(activation: object, what: str, softmax: bool = False) -> str | dict[str, Any]:
    """The spec's form of a name, an object, a dict or None (linear)."""
    if activation is None:
        return "linear"
    if isinstance(activation, type) and issubclass(activation, ParametricActivation) and "name" in vars(activation):
        activation = activation()
    if isinstance(activation, ParametricActivation):
        return activation.config()
    name = activation.get("name") if isinstance(activation, dict) else activation
    if not isinstance(name, str):
        raise TypeError(f"{what}: an activation is a name, an object of rekur.activations or None, got {activation!r}")
    known = NAMES if softmax else NAMES[:-1]
    if name not in known:
        if name == "softmax":
            raise ValueError(f"{what}: softmax is for Dense and Activation layers")
        from rekur._keras.names import unknown

        raise ValueError(f"{what}: {unknown('activation', name, known)}")
    if not isinstance(activation, dict):
        return name
    spec: dict[str, Any] = {"name": name}
    for key, value in activation.items():
        if key == "name":
            continue
        if key not in _PARAMETERS.get(name, ()):
            raise ValueError(f"{what}: activation '{name}' has no parameter '{key}'")
        spec[key] = real(value, f"{what}: {name}'s {key}")
    return spec


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "activation", name)
