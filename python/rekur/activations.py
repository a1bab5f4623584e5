"""Activations, by name, as an object where one has parameters, or as a function of one's own.

``linear``, ``tanh``, ``sigmoid``, ``relu``, ``leaky_relu``, ``elu``, ``softsign``, ``hard_sigmoid``, ``affine``,
``thresholded_relu``, ``scaled_tanh``, ``softplus`` (ln(1 + exp(x))), for any layer that has an activation. For Dense
and Activation also ``softmax`` over the last axis; ``gelu`` (the exact one), ``silu`` (``swish``), ``mish``, ``selu``,
``relu6``, ``celu``, ``exponential``, ``hard_silu`` (``hard_swish``), ``hard_tanh``, ``hard_shrink``, ``soft_shrink``,
``tanh_shrink``, ``squareplus``, ``log_sigmoid``, ``log_softmax``, ``sparse_plus``, ``sparse_sigmoid``, with Keras's
defaults; and a function of a row of features written in :mod:`rekur.ops`. These are recorded as equations, which the
model's spec holds: they train, stream, are saved and exported like the others.
"""

from collections.abc import Callable
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
        """The spec's form: the name and the parameters."""
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


def _library() -> dict[str, Callable[[Any], Any]]:
    """What Keras calls an activation and the engine computes by equations; arguments are Keras's defaults."""
    from rekur import ops

    alike = (
        "silu", "mish", "selu", "relu6", "celu", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink",
        "squareplus", "log_sigmoid", "log_softmax", "sparse_plus", "sparse_sigmoid",
    )  # fmt: skip
    found = {name: getattr(ops, name) for name in alike}
    found.update(swish=ops.silu, hard_swish=ops.hard_silu, exponential=ops.exp)
    found["gelu"] = lambda x: ops.gelu(x, approximate=False)
    return found


LIBRARY = (
    "gelu", "silu", "swish", "mish", "selu", "relu6", "celu", "exponential", "hard_silu", "hard_swish", "hard_tanh",
    "hard_shrink", "soft_shrink", "tanh_shrink", "squareplus", "log_sigmoid", "log_softmax", "sparse_plus",
    "sparse_sigmoid",
)  # fmt: skip


def _recorded(function: Callable[[Any], Any], name: str, what: str) -> str | dict[str, Any]:
    """A function's equations, or the engine's activation where it is nothing else."""
    from rekur import ops

    if function is ops.softmax:
        return "softmax"
    equations = ops.trace(function, ["x"], what)
    nodes, outputs = equations["nodes"], equations["outputs"]
    if len(outputs) != 1:
        raise TypeError(f"{what}: an activation returns one value, got {len(outputs)} of them")
    if outputs == [0]:
        return "linear"
    if len(nodes) == 1 and nodes[0][1:] == [0]:
        head = nodes[0][0]
        if (head if isinstance(head, str) else head["name"]) in NAMES:
            return head  # type: ignore[no-any-return]
    return {"name": name, "equations": equations}


def to_spec(activation: object, what: str, softmax: bool = False) -> str | dict[str, Any]:
    """The spec's form of a name, an object, a function, a dict or None (linear).

    ``softmax``: for a layer without recurrence, where softmax and what is recorded as equations are allowed.

    Raises
    ------
    ValueError
        For an unknown name, with a suggestion, or where a recurrent layer cannot take it.
    TypeError
        For anything else, and for a function that equations cannot say, naming its line.
    """
    if activation is None:
        return "linear"
    if isinstance(activation, type) and issubclass(activation, ParametricActivation) and "name" in vars(activation):
        activation = activation()
    if isinstance(activation, ParametricActivation):
        return activation.config()
    if callable(activation) and not isinstance(activation, (type, dict, str)):
        name = getattr(activation, "__name__", None) or type(activation).__name__
        if softmax:
            return _recorded(activation, "own" if name == "<lambda>" else name, what)
        raise ValueError(_for_cells(what, f"the function '{name}'"))
    name = activation.get("name") if isinstance(activation, dict) else activation
    if not isinstance(name, str):
        raise TypeError(
            f"{what}: an activation is a name, an object of rekur.activations, a function of a row or None, "
            f"got {activation!r}"
        )
    recorded = isinstance(activation, dict) and "equations" in activation
    if recorded or name in LIBRARY:
        if not softmax:
            raise ValueError(_for_cells(what, f"'{name}'"))
        if not recorded and (not isinstance(activation, dict) or len(activation) == 1):
            return _recorded(_library()[name], name, what)
        if recorded:
            return dict(activation)  # type: ignore[call-overload, no-any-return]
    known = NAMES if softmax else NAMES[:-1]
    if name not in (*known, *LIBRARY):
        if name == "softmax":
            raise ValueError(f"{what}: softmax is for Dense and Activation layers")
        from rekur._keras.names import unknown

        raise ValueError(f"{what}: {unknown('activation', name, (*known, *(LIBRARY if softmax else ())))}")
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


def _for_cells(what: str, which: str) -> str:
    return (
        f"{what}: {which} is for Dense and Activation layers; a recurrent layer with it is a cell of your own, which "
        "rekur.cell makes of a function of one step"
    )


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "activation", name)
