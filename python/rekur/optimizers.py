"""Optimisers, by name or as an object. Their defaults are those of Keras 3."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from rekur._validate import boolean, did_you_mean, real

_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


class Optimizer:
    """Base of the optimisers: a name, a learning rate and hyperparameters.

    Parameters
    ----------
    learning_rate : float
        Zero or more.
    clipnorm : float, optional
        Scale the gradient of each parameter so that its norm is at most this.
    clipvalue : float, optional
        Clip each element of the gradients to ± this.
    global_clipnorm : float, optional
        Scale all gradients together so that their common norm is at most this. Pascanu et al., arXiv:1211.5063.

    Raises
    ------
    TypeError, ValueError
        For a hyperparameter that is no number or out of range, or more than one kind of clipping.
    """

    name: ClassVar[str]

    def __init__(
        self,
        learning_rate: float,
        parameters: dict[str, float | bool],
        clipnorm: float | None,
        clipvalue: float | None,
        global_clipnorm: float | None,
    ) -> None:
        self._rate = real(learning_rate, f"{self.name}: learning_rate", 0)
        self._changed: Callable[[float], None] | None = None  # tells the trainer of a compiled model
        self.parameters = parameters
        clips = dict(zip(_CLIPS, (clipnorm, clipvalue, global_clipnorm), strict=True))
        given = {k: real(v, f"{self.name}: {k}", 0) for k, v in clips.items() if v is not None}
        if len(given) > 1:
            raise ValueError(
                f"{self.name}: give one of clipnorm, clipvalue and global_clipnorm, not {' and '.join(given)}"
            )
        for key, value in given.items():
            if value == 0:
                raise ValueError(f"{self.name}: {key} must be above 0, got 0")
        self.clipping = given

    @property
    def learning_rate(self) -> float:
        """The learning rate; that of a compiled model's optimizer may be changed at any time."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._rate = real(rate, f"{self.name}: learning_rate", 0)
        if self._changed is not None:
            self._changed(self._rate)

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "learning_rate": self._rate, **self.parameters, **self.clipping}

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({options})"


def _fraction(value: float, what: str) -> float:
    number = real(value, what, 0, 1)
    if number == 1:
        raise ValueError(f"{what} must be below 1, got {value!r}")
    return number


def _epsilon(value: float, what: str) -> float:
    return real(value, what, float(np.finfo(np.float32).tiny))  # the engine computes in float32


class SGD(Optimizer):
    """v' = momentum·v − rate·g, w' = w + v' (``nesterov``: w + momentum·v' − rate·g).

    Sutskever et al., ICML 2013. With ``weight_decay`` also − rate·weight_decay·w. Clipping as in :class:`Optimizer`.
    """

    name = "sgd"

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        parameters: dict[str, float | bool] = {
            "momentum": real(momentum, "sgd: momentum", 0, 1),
            "nesterov": boolean(nesterov, "sgd: nesterov"),
            "weight_decay": real(weight_decay, "sgd: weight_decay", 0),
        }
        super().__init__(learning_rate, parameters, clipnorm, clipvalue, global_clipnorm)


class RMSprop(Optimizer):
    """s' = rho·s + (1 − rho)·g², w' = w − rate·g / (√s' + epsilon), with ``momentum`` through a velocity as in SGD.

    Tieleman and Hinton, lecture 6.5, 2012. Clipping as in :class:`Optimizer`.
    """

    name = "rmsprop"

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        parameters: dict[str, float | bool] = {
            "rho": _fraction(rho, "rmsprop: rho"),
            "momentum": real(momentum, "rmsprop: momentum", 0, 1),
            "epsilon": _epsilon(epsilon, "rmsprop: epsilon"),
        }
        super().__init__(learning_rate, parameters, clipnorm, clipvalue, global_clipnorm)


class Adam(Optimizer):
    """w' = w − rate·m̂ / (√v̂ + epsilon), m̂ and v̂ the running means of g and g² without their bias towards zero.

    Kingma and Ba, arXiv:1412.6980, algorithm 1. Clipping as in :class:`Optimizer`.
    """

    name = "adam"

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        parameters: dict[str, float | bool] = {
            "beta_1": _fraction(beta_1, f"{self.name}: beta_1"),
            "beta_2": _fraction(beta_2, f"{self.name}: beta_2"),
            "epsilon": _epsilon(epsilon, f"{self.name}: epsilon"),
        }
        super().__init__(learning_rate, parameters, clipnorm, clipvalue, global_clipnorm)


class AdamW(Adam):
    """Adam, and − rate·weight_decay·w. Loshchilov and Hutter, arXiv:1711.05101."""

    name = "adamw"

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon,
            clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm,
        )  # fmt: skip
        self.parameters["weight_decay"] = real(weight_decay, "adamw: weight_decay", 0)


_CLASSES: tuple[type[Optimizer], ...] = (SGD, RMSprop, Adam, AdamW)
NAMES: dict[str, type[Optimizer]] = {c.name: c for c in _CLASSES}


def get(optimizer: object) -> Optimizer:
    """An optimiser of a name (in any case), an object, a class or a ``{"name": …}`` dict.

    Raises
    ------
    ValueError
        For an unknown name, with a suggestion.
    TypeError
        For anything else.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer) and optimizer is not Optimizer:
        return optimizer()  # type: ignore[call-arg]
    parameters: dict[str, Any] = {}
    name: object = optimizer
    if isinstance(optimizer, dict):
        parameters = {k: v for k, v in optimizer.items() if k != "name"}
        name = optimizer.get("name")
    if not isinstance(name, str):
        raise TypeError(f"an optimizer is a name or an object of rekur.optimizers, got {optimizer!r}")
    found = NAMES.get(name.lower())
    if found is None:
        raise ValueError(f"unknown optimizer '{name}'{did_you_mean(name, NAMES)}")
    try:
        return found(**parameters)
    except TypeError as error:
        raise TypeError(f"optimizer '{name}': {error}") from None
