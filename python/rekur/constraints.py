"""Constraints: what a layer's weights are held to after every training step.

Names, defaults and numbers are Keras's. A layer takes them as ``kernel_constraint=`` and the like, an object, a name
(``"non_neg"``, ``"max_norm"``, ``"unit_norm"``, ``"min_max_norm"``) or a dict of the spec. Norms are summed along
``axis`` of the weight, 0 by default: for a kernel ``(inputs, units)`` those of each unit's weights.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rekur._rules import Rule, find
from rekur._validate import Floats, integer, real

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "unit_norm",
]


class Constraint(Rule):
    """Base of the constraints: a name and its parameters, which never change. Called, it gives an array held to it."""

    _what = "constraint"
    name: ClassVar[str]

    def __call__(self, w: Any) -> Floats:
        raise NotImplementedError


def _axis(value: int | Sequence[int], what: str) -> int | list[int]:
    if isinstance(value, (list, tuple)):
        return [integer(v, what, -8) for v in value]
    return integer(value, what, -8)


def _scaled(w: Any, axis: int | list[int], least: float, most: float, rate: float) -> Floats:
    w = np.asarray(w, np.float64)
    norms = np.sqrt(np.square(w).sum(axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=True))
    wanted = rate * np.clip(norms, least, most) + (1 - rate) * norms
    found: Floats = (w * (wanted / (1e-7 + norms))).astype(np.float32)
    return found


class MaxNorm(Constraint):
    """Norms above ``max_value`` are scaled down to it."""

    name = "max_norm"

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0, **options: Any) -> None:
        self._begin(options, max_value=real(max_value, "MaxNorm: max_value", 0), axis=_axis(axis, "MaxNorm: axis"))

    def __call__(self, w: Any) -> Floats:
        return _scaled(w, self.parameters["axis"], 0, self.parameters["max_value"], 1)


class NonNeg(Constraint):
    """What is below zero becomes zero."""

    name = "non_neg"

    def __init__(self, **options: Any) -> None:
        self._begin(options)

    def __call__(self, w: Any) -> Floats:
        found: Floats = np.maximum(np.asarray(w, np.float32), 0)
        return found


class UnitNorm(Constraint):
    """Norms are 1."""

    name = "unit_norm"

    def __init__(self, axis: int | Sequence[int] = 0, **options: Any) -> None:
        self._begin(options, axis=_axis(axis, "UnitNorm: axis"))

    def __call__(self, w: Any) -> Floats:
        return _scaled(w, self.parameters["axis"], 1, 1, 1)


class MinMaxNorm(Constraint):
    """Norms move towards the range from ``min_value`` to ``max_value``, at ``rate`` 1 at once."""

    name = "min_max_norm"

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
        **options: Any,
    ) -> None:
        least, most = real(min_value, "MinMaxNorm: min_value", 0), real(max_value, "MinMaxNorm: max_value", 0)
        if least > most:
            raise ValueError(f"MinMaxNorm: min_value {least:g} is above max_value {most:g}")
        if real(rate, "MinMaxNorm: rate", 0) > 1:
            raise ValueError(f"MinMaxNorm: rate must be from 0 to 1, got {rate!r}")
        self._begin(options, min_value=least, max_value=most, rate=float(rate), axis=_axis(axis, "MinMaxNorm: axis"))

    def __call__(self, w: Any) -> Floats:
        p = self.parameters
        return _scaled(w, p["axis"], p["min_value"], p["max_value"], p["rate"])


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm

_CLASSES: dict[str, type[Constraint]] = {c.name: c for c in (MaxNorm, NonNeg, UnitNorm, MinMaxNorm)}
_NAMES: dict[str, type[Constraint]] = {
    **_CLASSES,
    **{c.__name__: c for c in _CLASSES.values()},
    "nonneg": NonNeg,
    "maxnorm": MaxNorm,
}


def get(identifier: Any) -> Constraint | None:
    """The constraint of a name, a dict, a class or an object; None for None.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For anything else: a function of one's own among them.
    """
    return find(identifier, "constraint", Constraint, _NAMES)


def to_spec(identifier: Any, what: str) -> dict[str, Any] | None:
    """The spec's form; None where there is none."""
    found = find(identifier, what, Constraint, _NAMES)
    return None if found is None else found.to_spec()
