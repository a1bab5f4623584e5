"""What all optimisers have in common: a learning rate, clipping, averages of weights and more, as in Keras 3."""

import inspect
import re
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np

from rekur._own import check_options, refuse_methods
from rekur._settings import Guarded, Setting, refuse_base
from rekur._validate import boolean, did_you_mean, integer, real, share
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


def _steps(least: int) -> Any:
    def check(value: object, what: str) -> int | None:
        return None if value is None else integer(value, what, least)

    return check


# The arguments of every optimiser, as keywords, and what they are unless they are given. Those up to
# gradient_accumulation_steps are Keras's.
COMMON: Mapping[str, Any] = MappingProxyType(
    {
        "weight_decay": None,
        "clipnorm": None,
        "clipvalue": None,
        "global_clipnorm": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "ema_overwrite_frequency": None,
        "gradient_accumulation_steps": None,
        "lookahead_sync_period": None,
        "lookahead_slow_step_size": 0.5,
        "gradient_centralization": False,
        "gradient_noise": 0.0,
        "gradient_noise_decay": 0.55,
    }
)
# What gathers begins with these, or with the weights.
_FIXED = ("use_ema", "lookahead_sync_period", "initial_accumulator_value")


# By optimiser who takes its steps: the trainer's side of the model that was compiled with it last.
_STEPPING: "weakref.WeakKeyDictionary[Optimizer, weakref.ref[Any]]" = weakref.WeakKeyDictionary()


class Count(int):
    """A count of steps: a whole number that has ``numpy()``, as Keras's has."""

    def numpy(self) -> Any:
        return np.int64(self)


class CurrentRate(float):
    """The learning rate at hand: a number that has ``numpy()`` and ``assign()``, as Keras's has."""

    _of: "Optimizer"

    def __new__(cls, value: float, of: "Optimizer") -> "CurrentRate":
        made = super().__new__(cls, value)
        made._of = of
        return made

    def numpy(self) -> Any:
        return np.float64(self)

    def assign(self, value: float) -> None:
        """Set the optimizer's learning rate."""
        self._of.learning_rate = value

    def __reduce__(self) -> Any:
        return float, (float(self),)  # a copy is the number alone


class Optimizer(Guarded):
    """Base of the optimisers: a name, a learning rate and hyperparameters.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
        Zero or more; or a schedule of :mod:`rekur.optimizers.schedules`, whose rate follows the count of the model's
        steps. The attribute is a number either way, with a schedule that of the next step, which cannot be set.
        ``lr`` is the same, as argument and as attribute.
    weight_decay : float, optional
        Before each step w is multiplied by 1 − rate · weight_decay, of every parameter that
        :meth:`exclude_from_weight_decay` does not name.
    clipnorm : float, optional
        Scale the gradient of each parameter so that its norm is at most this.
    clipvalue : float, optional
        Clip each element of the gradients to ± this.
    global_clipnorm : float, optional
        Scale all gradients together so that their common norm is at most this. Pascanu et al., arXiv:1211.5063.
    use_ema : bool
        Keep an average of the weights, average' = ema_momentum · average + (1 − ema_momentum) · w after each step,
        which takes their place at the end of ``fit``.
    ema_momentum : float
        0 … 1.
    ema_overwrite_frequency : int, optional
        After every so many steps the average takes the place of the weights.
    gradient_accumulation_steps : int, optional
        From 2 on: the gradients of so many steps are added up, and their mean makes one update. Schedules follow the
        count of steps; t in the rules, ``ema_overwrite_frequency`` and noise that of updates.
    lookahead_sync_period : int, optional
        After every so many updates slow weights go ``lookahead_slow_step_size`` of the way to w, and w to them.
        Zhang et al., arXiv:1907.08610.
    lookahead_slow_step_size : float
        0 … 1.
    gradient_centralization : bool
        Take from the gradients of each output their mean, of parameters of two axes and more. Yong et al.,
        arXiv:2004.01461.
    gradient_noise : float
        Add normal noise of variance gradient_noise / t^gradient_noise_decay to the clipped gradients of step t, which
        counts from 1; it follows from the seed of ``compile``. Neelakantan et al., arXiv:1511.06807.
    gradient_noise_decay : float

    Raises
    ------
    TypeError, ValueError
        For a hyperparameter that is no number or out of range, or more than one kind of clipping.

    Notes
    -----
    Every parameter is an attribute under its name. One that is set acts from the next step on in each model that was
    compiled with this object; what has gathered (moments, velocity, the count of steps) stays, but for what the change
    asks for anew (a velocity, when ``momentum`` becomes positive), which begins with zeros. ``use_ema`` and
    ``lookahead_sync_period`` belong to the constructor, since what they gather begins with the weights, and so does
    ``initial_accumulator_value``. What gathers belongs to the model: one object may be compiled into several. A copy,
    by ``copy``, ``deepcopy`` or ``pickle``, is an optimiser that no model uses.
    """

    name: ClassVar[str]
    _keys: ClassVar[tuple[str, ...]] = ()  # the hyperparameters beside the learning rate and the common ones
    _kind = "optimizer"
    _advice: ClassVar[dict[str, str]] = {
        "decay": "learning_rate= of the constructor takes a schedule of rekur.optimizers.schedules",
        "iterations": "the count of steps belongs to the model and begins with 0 at compile",
        "name": "it says which optimizer this is; make another",
    }

    _schedule: LearningRateSchedule | None = None
    _iterations = 0  # of the model that took a step last
    _version = 0  # counts changes, so that a model sees before a step that there is one
    _excluded: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # from weight decay: names of weights, and patterns

    weight_decay = Setting(_decay)
    clipnorm = Setting(_clip)
    clipvalue = Setting(_clip)
    global_clipnorm = Setting(_clip)
    use_ema = Setting(boolean)
    ema_momentum = Setting(share)
    ema_overwrite_frequency = Setting(_steps(1))
    gradient_accumulation_steps = Setting(_steps(2))
    lookahead_sync_period = Setting(_steps(1))
    lookahead_slow_step_size = Setting(share)
    gradient_centralization = Setting(boolean)
    gradient_noise = Setting(_amount)
    gradient_noise_decay = Setting(_amount)

    def __init__(self, learning_rate: Rate = 0.001, **options: Any) -> None:
        self._begin(learning_rate, options)

    def _begin(self, learning_rate: Rate, options: dict[str, Any], **own: Any) -> None:
        refuse_base(self)
        if options.get("lr") is not None:
            learning_rate = options["lr"]
        common = {key: options.get(key, value) for key, value in COMMON.items() if key not in own}
        rest = {key: value for key, value in options.items() if key not in COMMON and key != "lr"}
        check_options("optimizer", type(self), rest)
        self._rate = 0.0
        if isinstance(learning_rate, Mapping) and "class_name" in learning_rate:
            learning_rate = deserialize(dict(learning_rate))
        if isinstance(learning_rate, LearningRateSchedule):
            self._schedule = learning_rate
            self._rate_at(0)
        else:
            self.learning_rate = learning_rate
        for key, value in {**common, **own}.items():
            setattr(self, key, COMMON[key] if value is None and key in COMMON else value)
        self._check_clipping()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "optimizer", "update_step", "apply_gradients", "apply")
        if "__init__" in vars(cls) and not cls._open:
            vars(cls)["__init__"].__signature__ = _whole(inspect.signature(vars(cls)["__init__"]))

    @property
    def learning_rate(self) -> float:
        """The rate; with a schedule that of the next step."""
        return CurrentRate(self._rate if self._schedule is None else self._rate_at(self._count()), self)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self._schedule is not None:
            raise TypeError(
                f"{self.name}: learning_rate follows {self._schedule!r} and cannot be set; make an optimizer with a "
                "number to set it"
            )
        self._rate = _rate(value, f"{self._whose()}: learning_rate")
        self._version += 1

    @property
    def iterations(self) -> Count:
        """Updates of the model that was compiled with it last, those that ``gradient_accumulation_steps`` batches make
        together being one; an int. It cannot be set: ``compile`` begins with 0.
        """
        return Count(self._count() // (self.gradient_accumulation_steps or 1))

    def _count(self) -> int:
        """Batches so far: what schedules follow, as in Keras."""
        bound = _STEPPING.get(self, lambda: None)()
        return self._iterations if bound is None else int(bound._trainer.iterations)

    def _is_used_by(self, bound: Any) -> None:
        _STEPPING[self] = weakref.ref(bound)

    @property
    def lr(self) -> float:
        """``learning_rate``."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: float) -> None:
        self.learning_rate = value

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

    def _may_set(self, name: str) -> None:
        if name in _FIXED:
            raise AttributeError(f"{self.name}: '{name}' belongs to the constructor; make another optimizer")

    def _was_set(self, name: str) -> None:
        self._check_clipping()
        self._version += 1

    def exclude_from_weight_decay(
        self, var_list: Iterable[str] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave weights out of weight decay, from the next step on; a second call takes the place of the first.

        Parameters
        ----------
        var_list : list of str, optional
            Weights by their names in ``model.named_weights()``, such as ``"lstm/kernel"``.
        var_names : list of str, optional
            Regular expressions: a weight is left out if one is found in its name within the layer, such as ``"bias"``.

        Raises
        ------
        TypeError, ValueError
            For anything else; a name that no weight of the model has is found by ``compile``, or before the next step.
        """
        names, patterns = list(var_list or ()), list(var_names or ())
        for given in names:
            if not isinstance(given, str):
                raise TypeError(
                    "exclude_from_weight_decay: var_list takes names of model.named_weights(), such as 'lstm/kernel', "
                    f"got {type(given).__name__}"
                )
        for given in patterns:
            if not isinstance(given, str):
                raise TypeError(f"exclude_from_weight_decay: var_names takes texts, got {given!r}")
            try:
                re.compile(given)
            except re.error as error:
                raise ValueError(f"exclude_from_weight_decay: {given!r} is no regular expression: {error}") from None
        self._excluded = (tuple(names), tuple(patterns))
        self._version += 1

    def _left_out(self, weights: Sequence[str]) -> list[str]:
        """Of the names of a model's weights those that do not decay."""
        names, patterns = self._excluded
        for name in names:
            if name not in weights:
                raise ValueError(
                    f"exclude_from_weight_decay: the model has no weight '{name}'{did_you_mean(name, weights)}"
                )
        return [
            weight
            for weight in weights
            if weight in names or any(re.search(pattern, weight.rpartition("/")[2]) for pattern in patterns)
        ]

    def config(self, step: int | None = None) -> dict[str, Any]:
        """The engine's form: the name, and what has a value and is not what it is unless it is given.

        The rate is that of a step, or of the next one.
        """
        rate = self.learning_rate if step is None or self._schedule is None else self._rate_at(step)
        own = {"learning_rate": float(rate), **{key: getattr(self, key) for key in self._keys}}
        common = {key: getattr(self, key) for key in COMMON if key not in own}
        asked = {key: value for key, value in common.items() if value and value != COMMON[key]}
        return {"name": self.name, **{key: value for key, value in {**own, **asked}.items() if value is not None}}

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, by name, as in Keras."""
        rate = self._rate if self._schedule is None else serialize(self._schedule)
        common = {key: getattr(self, key) for key in COMMON}
        keras = list(COMMON)[: list(COMMON).index("gradient_accumulation_steps") + 1]
        common = {key: value for key, value in common.items() if key in keras or value != COMMON[key]}
        return {"name": self.name, "learning_rate": rate, **common, **{key: getattr(self, key) for key in self._keys}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: object = None) -> "Optimizer":
        """An optimiser of :meth:`get_config`'s arguments, or Keras's."""
        return cls(**config)

    def _engine(self, step: int, weights: Sequence[str]) -> dict[str, Any]:
        """The engine's form for a step of a model with weights of such names."""
        self._iterations = step
        left_out = self._left_out(weights)
        return {**self.config(step), **({"exclude_from_weight_decay": left_out} if left_out else {})}

    def _saved(self) -> dict[str, Any]:
        """What a file holds of it."""
        names, patterns = self._excluded
        config = self.config()
        if names or patterns:
            config["exclude_from_weight_decay"] = {"var_list": list(names), "var_names": list(patterns)}
        schedule = self._schedule
        if schedule is None:
            return config
        if type(schedule) not in NAMED_SCHEDULES.values():
            warnings.warn(
                f"saved with the learning rate of now, since a file holds no Python code: the schedule {schedule!r}; "
                "compile again after loading to have it back",
                stacklevel=7,
            )
            return config
        return {**config, "learning_rate": serialize(schedule)}

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({options})"


def _whole(signature: inspect.Signature) -> inspect.Signature:
    """A constructor's signature with the common arguments, which it takes as ``**options``."""
    given = list(signature.parameters.values())
    if not given or given[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return signature
    common = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=value)
        for key, value in COMMON.items()
        if key not in signature.parameters
    ]
    return signature.replace(parameters=[*given[:-1], *common, given[-1]])
