"""Optimisers, by name or as an object. Rules, defaults and the place of epsilon are those of Keras 3."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from rekur._own import check_options, no_attribute, refuse_methods
from rekur._settings import Guarded, Setting, refuse_base
from rekur._validate import boolean, real, share
from rekur.optimizers import schedules as schedules
from rekur.optimizers.schedules import NAMES as NAMED_SCHEDULES
from rekur.optimizers.schedules import LearningRateSchedule, deserialize, serialize

Rate: TypeAlias = float | LearningRateSchedule

_FLOAT = np.finfo(np.float32)  # what the engine computes in: what counts is the number that it gets
_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


def _rate(value: object, what: str) -> float:
    if callable(value) or hasattr(value, "get_config"):
        raise TypeError(
            f"{what} must be a number or a schedule of rekur.optimizers.schedules, got {value!r}; one of your own "
            "derives from schedules.LearningRateSchedule"
        )
    return real(value, what, 0, float(_FLOAT.max))


def _amount(value: object, what: str) -> float:
    return real(value, what, 0, float(_FLOAT.max))


def _decay(value: object, what: str) -> float:
    return 0.0 if value is None else _amount(value, what)


def _fraction(value: object, what: str) -> float:
    number = real(value, what, 0, 1)
    if np.float32(number) == 1:
        raise ValueError(f"{what} must be below 1, got {value!r}")
    return number


def _epsilon(value: object, what: str) -> float:
    return real(value, what, float(_FLOAT.tiny), float(_FLOAT.max))


def _clip(value: object, what: str) -> float | None:
    if value is None:
        return None
    if real(value, what, 0) == 0:
        raise ValueError(f"{what} must be above 0, got 0")
    return real(value, what, float(_FLOAT.tiny), float(_FLOAT.max))


class Optimizer(Guarded):
    """Base of the optimisers: a name, a learning rate and hyperparameters.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
        Zero or more; or a schedule of :mod:`rekur.optimizers.schedules`, whose rate follows the count of the model's
        steps. The attribute is a number either way, with a schedule that of the step at hand, which cannot be set.
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

    Notes
    -----
    Every parameter is an attribute under its name. One that is set acts from the next step on in each model that was
    compiled with this object; what has gathered (moments, velocity, the count of steps) stays, but for the velocity,
    which begins with zeros when ``momentum`` becomes positive. What gathers belongs to the model: one object may be
    compiled into several. A copy, by ``copy``, ``deepcopy`` or ``pickle``, is an optimiser that no model uses.
    """

    name: ClassVar[str]
    _keys: ClassVar[tuple[str, ...]] = ()  # the hyperparameters beside the learning rate and clipping
    _kind = "optimizer"
    _advice: ClassVar[dict[str, str]] = {
        "lr": "it is called learning_rate",
        "decay": "learning_rate= of the constructor takes a schedule of rekur.optimizers.schedules",
        "iterations": "the count of steps belongs to the model and begins with 0 at compile",
        "name": "it says which optimizer this is; make another",
    }

    _schedule: LearningRateSchedule | None = None
    _iterations = 0  # of the model that took a step last
    _version = 0  # counts changes, so that a model sees before a step that there is one

    clipnorm = Setting(_clip)
    clipvalue = Setting(_clip)
    global_clipnorm = Setting(_clip)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        refuse_base(self)
        self._rate = 0.0
        if isinstance(learning_rate, Mapping) and "class_name" in learning_rate:
            learning_rate = deserialize(dict(learning_rate))
        if isinstance(learning_rate, LearningRateSchedule):
            self._schedule = learning_rate
            self._rate_at(0)
        else:
            self.learning_rate = learning_rate
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self._check_clipping()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "optimizer", "update_step", "apply_gradients", "apply")

    @property
    def learning_rate(self) -> float:
        """The rate; with a schedule that of the step at hand."""
        return self._rate if self._schedule is None else self._rate_at(self._iterations)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self._schedule is not None:
            raise TypeError(
                f"{self.name}: learning_rate follows {self._schedule!r} and cannot be set; make an optimizer with a "
                "number to set it"
            )
        self._rate = _rate(value, f"{self._whose()}: learning_rate")
        self._version += 1

    def _rate_at(self, step: int) -> float:
        """What the schedule says."""
        assert self._schedule is not None
        return _rate(self._schedule(step), f"{self.name}: what {type(self._schedule).__name__} gives at step {step}")

    def _check_clipping(self) -> None:
        given = [key for key in _CLIPS if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(
                f"{self.name}: give one of clipnorm, clipvalue and global_clipnorm, not {' and '.join(given)}"
            )

    def _whose(self) -> str:
        return self.name

    def _was_set(self, name: str) -> None:
        self._check_clipping()
        self._version += 1

    def config(self) -> dict[str, Any]:
        """The engine's form: the name, and what has a value."""
        keys = ("learning_rate", *self._keys, *_CLIPS)
        given = {key: getattr(self, key) for key in keys}
        return {"name": self.name, **{key: value for key, value in given.items() if value is not None}}

    def _config_at(self, step: int) -> dict[str, Any]:
        """The engine's form for a step."""
        self._iterations = step
        return self.config()

    def _saved(self) -> dict[str, Any]:
        """What a file holds of it."""
        schedule = self._schedule
        if schedule is None:
            return self.config()
        if type(schedule) not in NAMED_SCHEDULES.values():
            warnings.warn(
                f"saved with the learning rate of now, since a file holds no Python code: the schedule {schedule!r}; "
                "compile again after loading to have it back",
                stacklevel=7,
            )
            return self.config()
        return {**self.config(), "learning_rate": serialize(schedule)}

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({options})"


class SGD(Optimizer):
    """v' = momentum·v − rate·g, w' = w + v' (``nesterov``: w + momentum·v' − rate·g).

    Sutskever et al., ICML 2013. With ``weight_decay`` also − rate·weight_decay·w. Clipping as in :class:`Optimizer`.
    """

    name = "sgd"
    _keys = ("momentum", "nesterov", "weight_decay")

    momentum = Setting(share)
    nesterov = Setting(boolean)
    weight_decay = Setting(_decay)

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        **options: Any,
    ) -> None:
        check_options("optimizer", type(self), options)
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm)
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay


class RMSprop(Optimizer):
    """s' = rho·s + (1 − rho)·g², w' = w − rate·g / √(s' + epsilon).

    With ``momentum``: v' = momentum·v + rate·g / √(s' + epsilon), w' = w − v'. epsilon stands inside the root as in
    Keras; PyTorch has √s' + epsilon, whose steps are larger where gradients are small: 2.9 times at 2e-4 with the
    default epsilon. Tieleman and Hinton, lecture 6.5, 2012. Clipping as in :class:`Optimizer`.
    """

    name = "rmsprop"
    _keys = ("rho", "momentum", "epsilon")

    rho = Setting(_fraction)
    momentum = Setting(share)
    epsilon = Setting(_epsilon)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        **options: Any,
    ) -> None:
        check_options("optimizer", type(self), options)
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon


class Adam(Optimizer):
    """m' = β₁·m + (1 − β₁)·g, v' = β₂·v + (1 − β₂)·g², w' = w − rate·√(1 − β₂ᵗ) / (1 − β₁ᵗ) · m' / (√v' + epsilon).

    t counts the steps from 1. As in Keras epsilon is the "epsilon hat" of Kingma and Ba, arXiv:1412.6980, section 2;
    that of their algorithm 1, which PyTorch has, is epsilon / √(1 − β₂ᵗ). Clipping as in :class:`Optimizer`.
    """

    name = "adam"
    _keys: ClassVar[tuple[str, ...]] = ("beta_1", "beta_2", "epsilon")

    beta_1 = Setting(_fraction)
    beta_2 = Setting(_fraction)
    epsilon = Setting(_epsilon)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        **options: Any,
    ) -> None:
        check_options("optimizer", type(self), options)
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon


class AdamW(Adam):
    """Adam, and − rate·weight_decay·w, of every parameter. Loshchilov and Hutter, arXiv:1711.05101."""

    name = "adamw"
    _keys = (*Adam._keys, "weight_decay")

    weight_decay = Setting(_decay)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        **options: Any,
    ) -> None:
        check_options("optimizer", type(self), options)
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon,
            clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm,
        )  # fmt: skip
        self.weight_decay = weight_decay


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
        return optimizer()
    parameters: dict[str, Any] = {}
    name: object = optimizer
    if isinstance(optimizer, dict):
        parameters = {k: v for k, v in optimizer.items() if k != "name"}
        name = optimizer.get("name")
    if not isinstance(name, str):
        raise TypeError(f"an optimizer is a name or an object of rekur.optimizers, got {optimizer!r}")
    found = NAMES.get(name.lower())
    if found is None:
        from rekur._keras.names import unknown

        raise ValueError(unknown("optimizer", name, NAMES))
    return found(**parameters)


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "optimizer", name)
