"""Layers that disturb what goes through them in training, and leave it as it is in inference; penalties on it."""

from typing import Any

from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import not_negative, share
from rekur._validate import rate as _rate
from rekur.layers.base import Layer


@named_after("rekur.layers", "Layer")
class _Dropping(Layer):
    _keys = ("rate",)

    rate: Setting[float] = Setting(_rate)

    def __init__(self, rate: float, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.rate = rate


class Dropout(_Dropping):
    """In training each element is 0 with probability ``rate``, else x / (1 − rate); in inference y = x.

    Srivastava et al., JMLR 15, 2014. What is dropped is a function of the model's seed and the training step.

    Parameters
    ----------
    rate : float
        At least 0, below 1.
    """

    type = "Dropout"
    _each_step = True


class SpatialDropout1D(_Dropping):
    """Dropout of whole features of a row, all steps of it alike. Tompson et al., arXiv:1411.4280.

    Parameters
    ----------
    rate : float
        At least 0, below 1.

    Notes
    -----
    Input and output ``(B, T, F)``. What is dropped is a function of the model's seed and the training step.
    """

    type = "SpatialDropout1D"


class GaussianDropout(_Dropping):
    """In training x · n, n normal with mean 1 and deviation √(rate / (1 − rate)); in inference y = x.

    Parameters
    ----------
    rate : float
        At least 0, below 1.
    """

    type = "GaussianDropout"
    _each_step = True


class AlphaDropout(_Dropping):
    """Dropout to SELU's least value, scaled so that mean 0 and variance 1 stay. Klambauer et al., arXiv:1706.02515.

    Parameters
    ----------
    rate : float
        At least 0, below 1.
    """

    type = "AlphaDropout"
    _each_step = True


class GaussianNoise(Layer):
    """In training x + n, n normal with deviation ``stddev``; in inference y = x.

    Parameters
    ----------
    stddev : float
        From 0 to 1.
    """

    type = "GaussianNoise"
    _each_step = True
    _keys = ("stddev",)

    stddev = Setting(share)

    def __init__(self, stddev: float, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.stddev = stddev


class ActivityRegularization(Layer):
    """y = x; adds (l1 · Σ|x| + l2 · Σx²) / rows of the batch to the loss, in ``fit`` and ``evaluate``.

    Parameters
    ----------
    l1, l2 : float
        At least 0.
    """

    type = "ActivityRegularization"
    _keys = ("l1", "l2")

    l1 = Setting(not_negative)
    l2 = Setting(not_negative)

    def __init__(self, l1: float = 0.0, l2: float = 0.0, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.l1 = l1
        self.l2 = l2
