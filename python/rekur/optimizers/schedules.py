"""Learning rates that follow the count of training steps: `learning_rate=` of every optimiser. Numbers are Keras's."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from rekur._own import named_after
from rekur._settings import FixedList
from rekur._validate import boolean, did_you_mean, integer, one_of, real


class LearningRateSchedule:
    """Base of the schedules: called with the number of steps done it gives the rate of the next one.

    A class of one's own defines ``__call__(self, step)``. A file of the model holds no Python code: there its rate is
    the number that it gave last.
    """

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step), the rate at a step")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config(self), to be written as data")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LearningRateSchedule":
        """A schedule of its arguments."""
        return cls(**config)


class _Schedule(LearningRateSchedule):
    """One of this module, data through and through."""

    _keys: ClassVar[tuple[str, ...]]
    name: str

    def _rate(self, key: str, value: object) -> float:
        return real(value, f"{type(self).__name__}: {key}", 0)

    def _steps(self, key: str, value: object) -> float:
        found = real(value, f"{type(self).__name__}: {key}")
        if found <= 0:
            raise ValueError(f"{type(self).__name__}: {key} must be above 0, got {value!r}")
        return found

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        given = {key: getattr(self, key) for key in (*self._keys, "name")}
        return {key: list(value) if isinstance(value, list) else value for key, value in given.items()}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.get_config() == self.get_config()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={getattr(self, key)}' for key in self._keys)})"


@named_after("rekur.optimizers.schedules", "LearningRateSchedule")
class _Decay(_Schedule):
    """A rate that falls with the number of ``decay_steps`` that are done; of whole ones with ``staircase``."""

    _keys = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps("decay_steps", decay_steps)
        self.decay_rate = self._rate("decay_rate", decay_rate)
        self.staircase = boolean(staircase, f"{type(self).__name__}: staircase")
        self.name = type(self).__name__ if name is None else name

    def _done(self, step: int) -> float:
        p = step / self.decay_steps
        return math.floor(p) if self.staircase else p


class ExponentialDecay(_Decay):
    """rate = initial_learning_rate · decay_rate^(step / decay_steps); the exponent rounded down with ``staircase``."""

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * float(self.decay_rate ** self._done(step))


class InverseTimeDecay(_Decay):
    """rate = initial_learning_rate / (1 + decay_rate · step / decay_steps); the quotient rounded down with
    ``staircase``.
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._done(step))


class PiecewiseConstantDecay(_Schedule):
    """values[0] to step boundaries[0], that step included, then values[1] to boundaries[1], …; the last one beyond."""

    _keys = ("boundaries", "values")

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"PiecewiseConstantDecay: expected one more of values than of boundaries, got {len(values)} and "
                f"{len(boundaries)}"
            )
        self.boundaries = FixedList(real(b, "PiecewiseConstantDecay: a boundary") for b in boundaries)
        self.values = FixedList(self._rate("a value", value) for value in values)
        self.name = name
        if self.boundaries != sorted(self.boundaries):
            raise ValueError(f"PiecewiseConstantDecay: boundaries must ascend, got {list(boundaries)}")

    def __call__(self, step: int) -> float:
        return float(self.values[sum(step > boundary for boundary in self.boundaries)])


class PolynomialDecay(_Schedule):
    """rate = (initial_learning_rate − end_learning_rate) · (1 − step / decay_steps)^power + end_learning_rate.

    From ``decay_steps`` on it is ``end_learning_rate``; with ``cycle`` decay_steps is multiplied until it is no less
    than the step.
    """

    _keys = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps("decay_steps", decay_steps)
        self.end_learning_rate = self._rate("end_learning_rate", end_learning_rate)
        self.power = real(power, "PolynomialDecay: power", 0)
        self.cycle = boolean(cycle, "PolynomialDecay: cycle")
        self.name = name

    def __call__(self, step: int) -> float:
        last = self.decay_steps * (max(math.ceil(step / self.decay_steps), 1) if self.cycle else 1)
        left = 1 - min(step, last) / last
        return (self.initial_learning_rate - self.end_learning_rate) * float(left**self.power) + self.end_learning_rate


def _cosine(rate: float, alpha: float, done: float, height: float = 1.0) -> float:
    """To ``rate`` · ``alpha`` along half a cosine, of which a share is done, from ``rate`` where its height is 1."""
    return rate * ((1 - alpha) * height * 0.5 * (1 + math.cos(math.pi * done)) + alpha)


class CosineDecay(_Schedule):
    """From initial_learning_rate to alpha times it along half a cosine of ``decay_steps`` steps.

    With ``warmup_target`` the rate goes to that in a line first, in ``warmup_steps`` steps, and decays from there.
    Loshchilov and Hutter, arXiv:1608.03983.
    """

    _keys = ("initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps("decay_steps", decay_steps)
        self.alpha = self._rate("alpha", alpha)
        self.warmup_target = None if warmup_target is None else self._rate("warmup_target", warmup_target)
        self.warmup_steps = integer(warmup_steps, "CosineDecay: warmup_steps", 0)
        self.name = name

    def __call__(self, step: int) -> float:
        rate, first = self.initial_learning_rate, self.warmup_target
        if first is None:
            return _cosine(rate, self.alpha, min(step, self.decay_steps) / self.decay_steps)
        if step < self.warmup_steps:
            return rate + (first - rate) * step / self.warmup_steps
        return _cosine(first, self.alpha, min(step - self.warmup_steps, self.decay_steps) / self.decay_steps)


class CosineDecayRestarts(_Schedule):
    """Half cosines one after the other: the first of ``first_decay_steps`` steps, each t_mul times as long and m_mul
    times as high as the one before, all ending at alpha · initial_learning_rate.

    Loshchilov and Hutter, arXiv:1608.03983.
    """

    _keys = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = self._steps("first_decay_steps", first_decay_steps)
        self.t_mul = self._steps("t_mul", t_mul)
        self.m_mul = self._rate("m_mul", m_mul)
        self.alpha = self._rate("alpha", alpha)
        self.name = name

    def __call__(self, step: int) -> float:
        begin, length, restarts = 0.0, self.first_decay_steps, 0
        if self.t_mul == 1:
            restarts = int(step // length)
            begin = restarts * length
        else:
            while step >= begin + length and length >= 1e-6:
                begin, length, restarts = begin + length, length * self.t_mul, restarts + 1
        done = min((step - begin) / length, 1.0)
        return _cosine(self.initial_learning_rate, self.alpha, done, float(self.m_mul**restarts))


class OneCycle(_Schedule):
    """Up from max_learning_rate / div_factor to max_learning_rate in a share of ``total_steps``, then down to
    max_learning_rate / (div_factor · final_div_factor), along half cosines or in lines.

    Names and numbers are those of PyTorch's OneCycleLR (``max_lr`` there) of two phases; beyond ``total_steps`` it
    stays the last one. Smith and Topin, arXiv:1708.07120.
    """

    _keys = ("max_learning_rate", "total_steps", "pct_start", "anneal_strategy", "div_factor", "final_div_factor")

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        name: str = "OneCycle",
    ) -> None:
        self.max_learning_rate = self._rate("max_learning_rate", max_learning_rate)
        self.total_steps = integer(total_steps, "OneCycle: total_steps", 2)
        self.pct_start = real(pct_start, "OneCycle: pct_start", 0, 1)
        self.anneal_strategy = one_of("cos", "linear")(anneal_strategy, "OneCycle: anneal_strategy")
        self.div_factor = self._steps("div_factor", div_factor)
        self.final_div_factor = self._steps("final_div_factor", final_div_factor)
        self.name = name

    def __call__(self, step: int) -> float:
        first = self.max_learning_rate / self.div_factor
        top, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        step = min(step, last)
        if step <= top and top > 0:
            begin, end, done = first, self.max_learning_rate, step / top
        else:
            begin, end = self.max_learning_rate, first / self.final_div_factor
            done = (step - top) / (last - top)
        share = done if self.anneal_strategy == "linear" else 0.5 * (1 - math.cos(math.pi * done))
        return begin + (end - begin) * share


class WarmUp(_Schedule):
    """A line from ``initial_learning_rate`` to what comes after it, in ``warmup_steps`` steps; then that.

    Parameters
    ----------
    after : float or LearningRateSchedule
        A schedule begins with its step 0 when the line ends.
    """

    _keys = ("after", "warmup_steps", "initial_learning_rate")

    def __init__(
        self,
        after: "float | LearningRateSchedule | dict[str, Any]",
        warmup_steps: int,
        initial_learning_rate: float = 0.0,
        name: str = "WarmUp",
    ) -> None:
        if isinstance(after, dict):
            after = deserialize(after)
        self.after = after if isinstance(after, LearningRateSchedule) else self._rate("after", after)
        self.warmup_steps = integer(warmup_steps, "WarmUp: warmup_steps", 1)
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.name = name

    def _then(self, step: int) -> float:
        return self.after(step) if isinstance(self.after, LearningRateSchedule) else self.after

    def __call__(self, step: int) -> float:
        if step >= self.warmup_steps:
            return self._then(step - self.warmup_steps)
        first = self.initial_learning_rate
        return first + (self._then(0) - first) * step / self.warmup_steps

    def get_config(self) -> dict[str, Any]:
        after = serialize(self.after) if isinstance(self.after, LearningRateSchedule) else self.after
        return {**super().get_config(), "after": after}


_CLASSES: tuple[type[_Schedule], ...] = (
    ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay, CosineDecayRestarts,
    OneCycle, WarmUp,
)  # fmt: skip
NAMES: dict[str, type[_Schedule]] = {c.__name__: c for c in _CLASSES}


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """A schedule as data: ``{"class_name": …, "config": …}``."""
    return {"class_name": type(schedule).__name__, "config": schedule.get_config()}


def deserialize(config: dict[str, Any]) -> LearningRateSchedule:
    """The schedule of :func:`serialize`'s data.

    Raises
    ------
    ValueError
        For a class that is none of this module.
    """
    found = NAMES.get(config["class_name"])
    if found is None:
        raise ValueError(f"no schedule is called {config['class_name']!r}{did_you_mean(config['class_name'], NAMES)}")
    return found.from_config(config.get("config") or {})
