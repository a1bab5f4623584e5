"""Metrics of forecasts: of series, quantiles and distributions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import losses, ops
from rekur._losses import further as more
from rekur._metrics.further import Further, positive
from rekur._settings import Setting

_Any = NDArray[Any]
_EPSILON = 1e-7  # Keras's


class SymmetricMeanAbsolutePercentageError(Further):
    """100 · mean 2 · |y − ŷ| / (|y| + |ŷ|); 0 where both are 0. Makridakis, 1993."""

    default_name = "smape"
    larger_is_better = False

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        y_true, y_pred = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        whole, error = np.abs(y_true) + np.abs(y_pred), np.abs(y_true - y_pred)
        return np.asarray(200.0 * np.mean(np.divide(error, whole, out=np.zeros_like(whole), where=whole != 0), axis=-1))


class MeanAbsoluteScaledError(Further):
    """mean |y − ŷ| / ``scale``, the error of the naive forecast on the training series. Hyndman and Koehler, 2006.

    Parameters
    ----------
    scale : float
        Such as :meth:`naive_error` of the series.
    """

    default_name = "mase"
    larger_is_better = False
    _keys = ("scale",)

    scale = Setting(positive)

    def __init__(self, scale: float, name: str | None = None, **options: Any) -> None:
        super().__init__(name, scale=scale, **options)

    @staticmethod
    def naive_error(series: Any, season: int = 1) -> float:
        """mean |y_t − y_{t−season}| of a series of shape (T,) or (T, F)."""
        series = np.asarray(series, np.float64)
        return float(np.mean(np.abs(series[season:] - series[:-season])))

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(np.mean(np.abs(np.subtract(y_pred, y_true, dtype=np.float64)), axis=-1)) / self.scale


def _quantiles(value: Any, what: str) -> Any:
    if value is None:
        return None
    return losses.get({"name": "quantile", "quantiles": value}).quantiles


class PinballLoss(Further):
    """The mean pinball loss of one quantile, or of several, one a feature of the output."""

    default_name = "pinball_loss"
    larger_is_better = False
    _keys = ("quantiles",)

    quantiles = Setting(_quantiles)

    def __init__(self, quantiles: Any = 0.5, name: str | None = None, **options: Any) -> None:
        super().__init__(name, quantiles=quantiles, **options)

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(more.Quantile(self.quantiles).values(y_true, y_pred))


class CRPS(Further):
    """The continuous ranked probability score, the mean over rows and features.

    Parameters
    ----------
    quantiles : list of float, optional
        Those that the output's features are: the score is twice their mean pinball loss, which it nears with their
        number. Without them the output has the parameters of :class:`rekur.losses.GaussianLikelihood`, and the score
        is exact. Gneiting and Raftery, JASA 102, 2007.
    """

    default_name = "crps"
    larger_is_better = False
    _keys = ("quantiles",)

    quantiles = Setting(_quantiles)

    def __init__(self, quantiles: Any = None, name: str | None = None, **options: Any) -> None:
        super().__init__(name, quantiles=quantiles, **options)

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        if self.quantiles is not None:
            return 2.0 * np.asarray(more.Quantile(self.quantiles).values(y_true, y_pred))
        y_true, y_pred = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        n = y_pred.shape[-1] // 2
        scale = np.asarray(ops.softplus(y_pred[..., n:]), np.float64) + 1e-6
        z = (y_true - y_pred[..., :n]) / scale
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        below = np.asarray(ops.erf(z / np.sqrt(2.0)), np.float64)  # 2 Φ(z) − 1
        return np.asarray(np.mean(scale * (z * below + 2 * density - 1 / np.sqrt(np.pi)), axis=-1))


# --- what the modules of the other metrics use, too ---
