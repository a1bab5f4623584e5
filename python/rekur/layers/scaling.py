"""Features brought to mean 0 and deviation 1, and back, by numbers that the data has."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from rekur._settings import Setting
from rekur._validate import as_numeric, boolean
from rekur.layers.core import Rescaling
from rekur.layers.rectifiers import Composed, check_last, feature_axis
from rekur.layers.symbolic import SymbolicTensor

_EPSILON = 1e-7  # the least deviation, as in Keras


def _axis(value: object, what: str) -> int | None:
    return None if value is None else feature_axis(value, what)


def _numbers(value: object, what: str) -> float | list[float] | None:
    if value is None:
        return None
    array = np.asarray(as_numeric(value, what), np.float64)
    if array.size != (array.shape[-1] if array.ndim else 1) or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{what}: expected a finite number or one a feature, got an array of shape {array.shape}")
    return float(array.reshape(())) if not array.ndim else [float(v) for v in array.reshape(-1)]


def _no_variance(value: object, what: str) -> float | list[float] | None:
    found = _numbers(value, what)
    if found is not None and np.min(found) < 0:
        raise ValueError(f"{what}: expected numbers of at least 0, got {np.min(found)}")
    return found


class Normalization(Composed):
    """y = (x − mean) / √variance, feature by feature; with ``invert`` y = x·√variance + mean.

    Parameters
    ----------
    axis : int or None
        −1: every feature by itself. None: one mean and one variance of all.
    mean, variance : float, or sequence of F floats
        What :meth:`adapt` finds, where they are known already. A deviation below 1e-7 counts as 1e-7.
    invert : bool
        Go back: for the outputs of a model whose targets were brought to mean 0 and deviation 1, or, with targets as
        they are, for a model that need not learn their scale.

    Notes
    -----
    Input and output ``(B, F)`` or ``(B, T, F)``. The numbers are constants of the model: they stand in its file and in
    ONNX, and training leaves them alone. The layer is adapted before it is called.
    """

    type = "Normalization"
    _each_step = True
    _keys = ("axis", "mean", "variance", "invert")
    _advice: ClassVar[dict[str, str]] = {
        "adapt_mean": "mean is what adapt found",
        "adapt_variance": "variance is what adapt found",
        "count": "adapt counts for itself",
    }

    axis = Setting(_axis)
    mean = Setting(_numbers)
    variance = Setting(_no_variance)
    invert = Setting(boolean)

    def __init__(
        self,
        axis: int | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        if (mean is None) != (variance is None):
            raise ValueError(f"{self!r}: mean and variance are given together, or found by adapt")
        self.axis = axis
        self.mean = mean
        self.variance = variance
        self.invert = invert

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Find mean and variance of what the model will see; of training data alone.

        Parameters
        ----------
        data : array of shape (B, F) or (B, T, F), or anything that fit reads
            Of batches the inputs are read. NaN are left out.
        batch_size, steps : int, optional
            How many rows are read at a time, and how many batches, by default all.
        """
        from rekur.data.statistics import Moments
        from rekur.training.sources import arrays_of

        moments = Moments()
        parts: Iterable[Any] = arrays_of(data, batch_size, steps, f"{self!r}: adapt: ")
        for part in parts:
            array = np.asarray(as_numeric(part, f"{self!r}: adapt"))
            moments.add(array.reshape(-1, 1) if self.axis is None or array.ndim < 2 else array)
        if not moments.has_all():
            raise ValueError(f"{self!r}: adapt: the data has a feature without a number")
        mean, variance = moments.mean, moments.variance
        self.mean = float(mean[0]) if self.axis is None else mean
        self.variance = float(variance[0]) if self.axis is None else variance

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        if self.mean is None or self.variance is None:
            raise ValueError(f"{self!r} knows neither mean nor variance: call adapt(data), or give mean= and variance=")
        if self.axis is not None:
            check_last(self, self.axis, len(inputs[0].shape))
        mean = np.asarray(self.mean, np.float64)
        deviation = np.maximum(np.sqrt(np.asarray(self.variance, np.float64)), _EPSILON)
        if self.invert:
            return Rescaling(_given(deviation), _given(mean), name="scale")(inputs[0])
        # The difference first: it is exact where x is near the mean, however far that is from 0.
        return Rescaling(_given(1 / deviation), name="scale")(Rescaling(1.0, _given(-mean), name="shift")(inputs[0]))


def _given(value: Any) -> Any:
    return float(value) if not value.ndim else value.tolist()
