"""Regularizers: what training adds to the loss for a layer's weights, or for what it gives.

Names, defaults and numbers are Keras's. A layer takes them as ``kernel_regularizer=`` and the like, an object, a name
(``"l1"``, ``"l2"``, ``"l1_l2"``, ``"orthogonal_regularizer"``) or a dict of the spec. What they add is part of ``loss``
in ``fit`` and ``evaluate``; weights of layers that are not trained add nothing.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from rekur._rules import Rule, find
from rekur._validate import real

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
]


class Regularizer(Rule):
    """Base of the regularizers: a name and its parameters, which never change. Called, it gives what it adds."""

    _what = "regularizer"
    name: ClassVar[str]

    def __call__(self, x: Any) -> float:
        raise NotImplementedError


def _factor(value: Any, what: str, default: float) -> float:
    return default if value is None else real(value, what, 0)


class L1L2(Regularizer):
    """``l1`` · Σ|w| + ``l2`` · Σw²."""

    name = "l1_l2"

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0, **options: Any) -> None:
        self._begin(options, l1=_factor(l1, "L1L2: l1", 0.0), l2=_factor(l2, "L1L2: l2", 0.0))

    def __call__(self, x: Any) -> float:
        w = np.asarray(x, np.float64)
        return float(self.parameters["l1"] * np.abs(w).sum() + self.parameters["l2"] * np.square(w).sum())


class L1(Regularizer):
    """``l1`` · Σ|w|."""

    name = "l1"

    def __init__(self, l1: float | None = 0.01, **options: Any) -> None:
        self._begin(options, l1=_factor(l1, "L1: l1", 0.01))

    def __call__(self, x: Any) -> float:
        return float(self.parameters["l1"] * np.abs(np.asarray(x, np.float64)).sum())


class L2(Regularizer):
    """``l2`` · Σw²."""

    name = "l2"

    def __init__(self, l2: float | None = 0.01, **options: Any) -> None:
        self._begin(options, l2=_factor(l2, "L2: l2", 0.01))

    def __call__(self, x: Any) -> float:
        return float(self.parameters["l2"] * np.square(np.asarray(x, np.float64)).sum())


class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean of |cosine| over all pairs of a matrix's rows, or with ``mode="columns"`` columns."""

    name = "orthogonal"

    def __init__(self, factor: float = 0.01, mode: str = "rows", **options: Any) -> None:
        if mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: mode must be 'rows' or 'columns', got {mode!r}")
        self._begin(options, factor=real(factor, "OrthogonalRegularizer: factor", 0), mode=mode)

    def __call__(self, x: Any) -> float:
        w = np.asarray(x, np.float64)
        if w.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer: expected a matrix, got shape {w.shape}")
        w = w if self.parameters["mode"] == "rows" else w.T
        w = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-12)
        products = np.abs(w @ w.T)
        n = len(w)
        return float(self.parameters["factor"] * (products.sum() - np.trace(products)) / max(n * (n - 1), 1))


l1, l2, orthogonal_regularizer = L1, L2, OrthogonalRegularizer


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """:class:`L1L2`, both of them 0.01 by default."""
    return L1L2(l1, l2)


def _l1_l2(**given: Any) -> L1L2:
    """What the name stands for: both of them 0.01 where nothing more is said."""
    return L1L2(**given) if given else l1_l2()


_CLASSES: tuple[type[Regularizer], ...] = (L1, L2, OrthogonalRegularizer)
_NAMES: dict[str, Callable[..., Regularizer]] = {
    **{c.name: c for c in _CLASSES},
    **{c.__name__: c for c in _CLASSES},
    "orthogonal_regularizer": OrthogonalRegularizer,
    **dict.fromkeys(("l1_l2", "L1L2", "l1l2"), _l1_l2),
}


def get(identifier: Any) -> Regularizer | None:
    """The regularizer of a name, a dict, a class or an object; None for None.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For anything else: a function of one's own among them.
    """
    return find(identifier, "regularizer", Regularizer, _NAMES)


def to_spec(identifier: Any, what: str) -> dict[str, Any] | None:
    """The spec's form; None where there is none."""
    found = find(identifier, what, Regularizer, _NAMES)
    return None if found is None else found.to_spec()
