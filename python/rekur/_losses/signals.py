"""Losses of signals, which amplifier models are trained with, and weighted sums of losses.

The engine computes them (cpp/src/train/signal_losses.cpp). Wright et al., Applied Sciences 10(3), 2020.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur._losses.base import Loss
from rekur._losses.own import Numpy
from rekur._own import named_after
from rekur._validate import as_numeric, real, sample_weights, share, show, spread

_Any = NDArray[Any]


def _only_mean(name: str, options: dict[str, Any]) -> None:
    if options.get("reduction", "sum_over_batch_size") not in ("sum_over_batch_size", "mean", "auto"):
        raise ValueError(
            f"{name}: the value is the mean over rows, got reduction={options['reduction']!r}; loss_weights= of "
            "compile scales it"
        )


@named_after("rekur.losses", "Loss")
class Signals(Loss):
    """A ratio of whole rows."""

    _whole_rows = True
    _of_windows: ClassVar[bool] = True  # a part of a sequence has such a ratio, too

    def __init__(self, pre_emphasis: float = 0.0, epsilon: float = 1e-5, **options: Any) -> None:
        _only_mean(self.name, options)
        epsilon = real(epsilon, f"{self.name}: epsilon", 0)
        if not 0 < epsilon <= float(np.finfo(np.float32).max):
            raise ValueError(f"{self.name}: epsilon must be a finite number above 0, got {epsilon}")
        self._begin(options, pre_emphasis=share(pre_emphasis, f"{self.name}: pre_emphasis"), epsilon=epsilon)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        raise TypeError(
            f"{self.name} is a ratio of whole rows, no equation of a step: give it to compile, or call the object with "
            "arrays"
        )

    def _error(self, emphasized: _Any) -> Any:
        raise NotImplementedError

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The mean over rows, each times its weight, of NumPy arrays.

        Parameters
        ----------
        y_true, y_pred : array_like of shape (B, T, F), y_true of one feature also (B, T)
        sample_weight : array_like of shape (B,), or (B, T) whose numbers are 0 or, within a row, the same; optional

        Returns
        -------
        float
        """
        if not isinstance(y_pred, np.ndarray) and hasattr(y_pred, "layer"):
            return super().__call__(y_true, y_pred, sample_weight)
        name = self.name
        wanted, found = (np.asarray(as_numeric(a, f"{name}: {what}"), np.float64)
                         for a, what in ((y_true, "y_true"), (y_pred, "y_pred")))  # fmt: skip
        if found.ndim < 3:
            raise ValueError(f"{name}: expected y_pred of shape (B, T, features), got {show(found.shape)}")
        if found.shape[-1] == 1 and wanted.shape == found.shape[:-1]:
            wanted = wanted[..., None]
        if wanted.shape != found.shape:
            raise ValueError(f"{name}: expected y_true of shape {show(found.shape)}, got {show(wanted.shape)}")
        steps = found.shape[:2]
        weight = spread(sample_weights(1.0 if sample_weight is None else sample_weight, steps, name), steps)
        total = 0.0
        for row in range(steps[0]):
            there = weight[row] != 0
            weights = weight[row][there]
            if not len(weights):
                continue
            if (weights != weights[0]).any():
                raise ValueError(f"{name}: expected weights that are one a row, or within row {row} the same or 0")
            y, e = (
                v - self.pre_emphasis * np.concatenate([np.zeros_like(v[:1]), v[:-1]])
                for v in (wanted[row][there], wanted[row][there] - found[row][there])
            )
            ratio = self._error(e) / ((y**2).mean(axis=0) + self.epsilon)
            total += float(weights[0] * ratio.mean())
        return total / steps[0] if steps[0] else 0.0


class ESR(Signals):
    """The error-to-signal ratio of each row: mean u(e)² / (mean u(y)² + epsilon) over its steps, e = y − ŷ.

    The mean over features and rows. u(v) = v(t) − pre_emphasis · v(t − 1), 0 before the first step.

    Parameters
    ----------
    pre_emphasis : float
        Of the high-pass before it, 0 to 1; 0 is none. 0.85 is usual at 44.1 kHz, 0.95 weighs high frequencies more.
    epsilon : float
        What a silent row has for its power.

    Notes
    -----
    The output has a time axis. Steps that are no steps (``lengths=``, masks) are left out; weights are one a row, those
    of its steps may be 0. With ``tbptt=`` each window has a ratio of its own.
    """

    name = "esr"

    def _error(self, emphasized: _Any) -> Any:
        return (emphasized**2).mean(axis=0)


class DC(Signals):
    """How far the mean of each row is off: (mean u(e))² / (mean u(y)² + epsilon) over its steps, e = y − ŷ.

    The mean over features and rows; as :class:`ESR` in all else, and in use beside it.

    Parameters
    ----------
    pre_emphasis, epsilon : float
        As of :class:`ESR`.
    """

    name = "dc"

    def _error(self, emphasized: _Any) -> Any:
        return emphasized.mean(axis=0) ** 2


class WeightedSum(Loss):
    """Σ weight · loss, of losses of one output: what ``0.75 * ESR(0.85) + 0.25 * DC()`` is.

    Parameters
    ----------
    losses : list
        Of what ``compile`` takes for a loss, but class indices and what Python or a CRF layer computes.
    weights : list of float, optional
        1 by default.

    Raises
    ------
    ValueError
        For no loss, a loss that cannot stand in a sum, another number of weights, weights that are not finite.
    """

    name = "weighted_sum"
    _of_windows = True

    def __init__(self, losses: Sequence[Any], weights: Sequence[float] | None = None, **options: Any) -> None:
        from rekur.losses import get

        _only_mean(self.name, options)
        self._begin(options)
        if isinstance(losses, (str, dict)) or not isinstance(losses, Sequence):
            raise TypeError(f"{self.name}: losses must be a list of losses, got {losses!r}")
        factors = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(factors) != len(losses):
            raise ValueError(f"{self.name}: expected losses and as many weights, got {len(losses)} and {len(factors)}")
        terms: list[tuple[float, Loss]] = []
        for factor, given in zip(factors, losses, strict=True):
            loss, weight = get(given), real(factor, f"{self.name}: a weight")
            if not np.isfinite(weight):
                raise ValueError(f"{self.name}: weights must be finite, got {weight}")
            parts = loss._terms if isinstance(loss, WeightedSum) else ((1.0, loss),)
            terms += [(weight * inner, part) for inner, part in parts]
        for _, loss in terms:
            if loss.sparse or isinstance(loss, Numpy) or loss._reduction is not None or loss._ignored is not None:
                raise ValueError(f"{self.name}: {loss!r} cannot stand in a sum: give it to an output by itself")
        self._hold(terms)

    def _hold(self, terms: Sequence[tuple[float, Loss]]) -> None:
        object.__setattr__(self, "_terms", tuple(terms))
        object.__setattr__(self, "_whole_rows", any(loss._whole_rows for _, loss in terms))
        object.__setattr__(self, "any_target", any(loss.any_target for _, loss in terms))
        object.__setattr__(self, "of_probabilities", any(loss.of_probabilities for _, loss in terms))

    _terms: tuple[tuple[float, Loss], ...] = ()

    @property
    def losses(self) -> list[Loss]:
        return [loss for _, loss in self._terms]

    @property
    def weights(self) -> list[float]:
        return [weight for weight, _ in self._terms]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        raise TypeError(f"{self.name}: its parts are no equation of a step; give it to compile, or call the object")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The sum of what the losses are when they are called."""
        values = [loss(y_true, y_pred, sample_weight) * weight for weight, loss in self._terms]
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total

    def bound(self, shape: Sequence[int | None]) -> "WeightedSum":
        return WeightedSum([loss.bound(shape) for loss in self.losses], self.weights)

    def config(self) -> dict[str, Any]:
        return {"name": "sum", "losses": [{"weight": w, "loss": loss.config()} for w, loss in self._terms]}

    def _saved(self) -> dict[str, Any]:
        return {"name": self.name, "losses": [loss._saved() for loss in self.losses], "weights": self.weights}

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "losses": [loss.get_config() for loss in self.losses], "weights": self.weights}

    def __repr__(self) -> str:
        return " + ".join(f"{weight:g} * {loss!r}" for weight, loss in self._terms)
