"""Losses, by name or as an object.

A loss is a mean over the batch's rows (and the valid steps of an output with a time axis), each times its sample
weight. What has weight 0 is not there: its target is never read and may be NaN, or a class that does not exist (−100),
and it has no gradient; it still counts as one of the rows that the mean is over, as in Keras. Cross-entropies of a
Dense or Activation layer that ends in sigmoid or softmax are computed from what goes into it, where that is right.

A loss of one's own is a function of (y_true, y_pred) written in :mod:`rekur.ops`, or a class derived from :class:`Loss`
with such a ``call``: recorded once as equations, whose gradient is derived, it runs at the engine's speed and is saved
with the model (docs/losses.md). :class:`Numpy` takes plain NumPy functions, slowly.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rekur._losses.base import Loss as Loss
from rekur._losses.own import Equations as Equations
from rekur._losses.own import Function
from rekur._losses.own import Numpy as Numpy
from rekur._own import named_after, no_attribute
from rekur._validate import boolean, integer, real, share

for _cls in (Loss, Equations, Numpy):  # what callers see of them
    _cls.__module__ = __name__


class MeanSquaredError(Loss):
    """mean (y − ŷ)² over the features."""

    name = "mean_squared_error"

    def __init__(self, **options: Any) -> None:
        self._begin(options)


class MeanAbsoluteError(Loss):
    """mean |y − ŷ| over the features."""

    name = "mean_absolute_error"

    def __init__(self, **options: Any) -> None:
        self._begin(options)


class Huber(Loss):
    """½e² for |e| ≤ delta, else delta·(|e| − ½delta), e = y − ŷ. Huber, Annals of Statistics 35, 1964."""

    name = "huber"

    def __init__(self, delta: float = 1.0, **options: Any) -> None:
        self._begin(options, delta=real(delta, "huber: delta", 0))
        if delta == 0:
            raise ValueError("huber: delta must be above 0, got 0")


@named_after("rekur.losses", "Loss")
class _Crossentropy(Loss):
    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, **options: Any) -> None:
        self._begin(
            options,
            from_logits=boolean(from_logits, f"{self.name}: from_logits"),
            label_smoothing=share(label_smoothing, f"{self.name}: label_smoothing"),
        )

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "from_logits": self.from_logits}

    def bound(self, shape: Sequence[int | None]) -> Loss:
        if not self.label_smoothing:
            return self
        recorded = self._record(self._smoothed, shape)
        object.__setattr__(recorded, "_given", self)
        return recorded

    def _target(self) -> str:
        return "probabilities"

    def _smoothed(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError


class BinaryCrossentropy(_Crossentropy):
    """−y log p − (1 − y) log(1 − p), the mean over the features; p the output, with ``from_logits`` its sigmoid.

    y is 0, 1 or between; with ``label_smoothing`` s it is y · (1 − s) + s / 2.
    """

    name = "binary_crossentropy"
    of_probabilities = True

    def _smoothed(self, y_true: Any, y_pred: Any) -> Any:
        from rekur._losses import further as more

        return more.binary_crossentropy(more.smoothed(y_true, self.label_smoothing, True), y_pred, self.from_logits)


class CategoricalCrossentropy(_Crossentropy):
    """−Σ y log p over the classes; y one-hot or a distribution, p the output, or its softmax with ``from_logits``.

    An output that is no softmax is divided by its sum and clipped to 1e-7 … 1 − 1e-7, as in Keras. Where a row's sum is
    0 (below 1e-30), as behind a relu, its p are 1e-7 and its gradient is 0, where Keras gives NaN. With
    ``label_smoothing`` s y is y · (1 − s) + s / classes.
    """

    name = "categorical_crossentropy"
    of_probabilities = True

    def _smoothed(self, y_true: Any, y_pred: Any) -> Any:
        from rekur._losses import further as more

        y_true = more.smoothed(y_true, self.label_smoothing, False)
        return more.categorical_crossentropy(y_true, y_pred, self.from_logits)


class SparseCategoricalCrossentropy(_Crossentropy):
    """−log p[y]; y is the class index, p as in CategoricalCrossentropy.

    Rows and steps whose target is ``ignore_class`` are left out, and the mean is over the others.
    """

    name = "sparse_categorical_crossentropy"
    sparse = True

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None, **options: Any) -> None:
        ignored = None if ignore_class is None else integer(ignore_class, f"{self.name}: ignore_class", -(2**31))
        logits = boolean(from_logits, f"{self.name}: from_logits")
        self._begin(options, from_logits=logits, ignore_class=ignored)
        self._ignored = ignored

    def bound(self, shape: Sequence[int | None]) -> Loss:
        return self


_CLASSES: tuple[type[Loss], ...] = (
    MeanSquaredError, MeanAbsoluteError, Huber,
    BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy,
)  # fmt: skip
NAMES: dict[str, type[Loss]] = {c.name: c for c in _CLASSES}
_ALIASES: dict[str, type[Loss]] = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber_loss": Huber,
    "bce": BinaryCrossentropy,
    **{c.__name__: c for c in _CLASSES},
    **{c.__name__.lower(): c for c in _CLASSES},
}


# Those of rekur._losses.further, which is imported when one is asked for.
_MORE: dict[str, str] = {
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "log_cosh": "LogCosh",
    "poisson": "Poisson",
    "kl_divergence": "KLDivergence",
    "cosine_similarity": "CosineSimilarity",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "categorical_hinge": "CategoricalHinge",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "categorical_generalized_cross_entropy": "CategoricalGeneralizedCrossEntropy",
    "tversky": "Tversky",
    "dice": "Dice",
    "quantile": "Quantile",
    "gaussian_likelihood": "GaussianLikelihood",
    "student_t_likelihood": "StudentTLikelihood",
    "negative_binomial_likelihood": "NegativeBinomialLikelihood",
    "esr": "ESR",
    "dc": "DC",
    "weighted_sum": "WeightedSum",
    "crf": "CRF",
    "ctc": "CTC",
    "circle": "Circle",
}
_MORE_ALIASES: dict[str, str] = {
    "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError",
    "logcosh": "LogCosh",
    "kld": "KLDivergence",
    "pinball": "Quantile",
    **_MORE,
    **{name.lower(): name for name in _MORE.values()},
}
KNOWN = (*NAMES, *_MORE)


def _further(name: str) -> type[Loss]:
    if name == "CTC":
        from rekur._losses.ctc import CTC

        return CTC
    if name == "CRF":
        from rekur._losses.crf import CRF

        return CRF
    if name == "Circle":
        from rekur._losses.circle import Circle

        return Circle
    if name in ("ESR", "DC", "WeightedSum"):
        from rekur._losses import signals

        return getattr(signals, name)  # type: ignore[no-any-return]
    from rekur._losses import further

    return getattr(further, name)  # type: ignore[no-any-return]


def _named(name: str) -> type[Loss] | None:
    found = NAMES.get(name) or _ALIASES.get(name) or _ALIASES.get(name.lower())
    further = _MORE_ALIASES.get(name.lower())
    if found is None and further is not None:
        return _further(further)
    return found


def get(loss: object) -> Loss:
    """A loss of a name, an object, a class, a function of (y_true, y_pred) or a ``{"name": …}`` dict.

    Raises
    ------
    ValueError
        For an unknown name, with a suggestion.
    TypeError
        For anything else.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    parameters: dict[str, Any] = {}
    name: object = loss
    if isinstance(loss, dict):
        parameters = {k: v for k, v in loss.items() if k != "name"}
        name = loss.get("name")
        if name == "equations":
            return Equations(**parameters)
    if not isinstance(name, str):
        if callable(loss) and not isinstance(loss, type):
            named = getattr(loss, "loss", None)  # a function of this module
            return named() if isinstance(named, type) and issubclass(named, Loss) else Function(loss)
        raise TypeError(
            f"a loss is a name, an object of rekur.losses or a function of (y_true, y_pred) in rekur.ops, got {loss!r}"
        )
    found = _named(name)
    if found is None:
        from rekur._keras.names import unknown

        raise ValueError(unknown("loss", name, [*KNOWN, "mse", "mae", "bce"]))
    return found(**parameters)


if TYPE_CHECKING:
    from rekur._losses.circle import Circle as Circle
    from rekur._losses.crf import CRF as CRF
    from rekur._losses.ctc import CTC as CTC
    from rekur._losses.further import (
        BinaryFocalCrossentropy as BinaryFocalCrossentropy,
    )
    from rekur._losses.further import (
        CategoricalFocalCrossentropy as CategoricalFocalCrossentropy,
    )
    from rekur._losses.further import (
        CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
    )
    from rekur._losses.further import (
        CategoricalHinge as CategoricalHinge,
    )
    from rekur._losses.further import (
        CosineSimilarity as CosineSimilarity,
    )
    from rekur._losses.further import (
        Dice as Dice,
    )
    from rekur._losses.further import (
        GaussianLikelihood as GaussianLikelihood,
    )
    from rekur._losses.further import (
        Hinge as Hinge,
    )
    from rekur._losses.further import (
        KLDivergence as KLDivergence,
    )
    from rekur._losses.further import (
        LogCosh as LogCosh,
    )
    from rekur._losses.further import (
        MeanAbsolutePercentageError as MeanAbsolutePercentageError,
    )
    from rekur._losses.further import (
        MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
    )
    from rekur._losses.further import (
        NegativeBinomialLikelihood as NegativeBinomialLikelihood,
    )
    from rekur._losses.further import (
        Poisson as Poisson,
    )
    from rekur._losses.further import (
        Quantile as Quantile,
    )
    from rekur._losses.further import (
        SquaredHinge as SquaredHinge,
    )
    from rekur._losses.further import (
        StudentTLikelihood as StudentTLikelihood,
    )
    from rekur._losses.further import (
        Tversky as Tversky,
    )
    from rekur._losses.signals import DC as DC
    from rekur._losses.signals import ESR as ESR
    from rekur._losses.signals import WeightedSum as WeightedSum
else:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        if name in _MORE.values():
            return _further(name)
        if not name.startswith("_") and (found := _named(name)) is not None and not issubclass(found, Numpy):
            from rekur._losses.functions import LossFunction

            return globals().setdefault(name, LossFunction(name, found))
        no_attribute(__name__, "loss", name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MORE.values()})
