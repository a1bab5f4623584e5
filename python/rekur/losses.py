"""Losses, by name or as an object.

A loss is a mean over the batch's rows (and the valid steps of an output with a time axis), each times its sample
weight. What has weight 0 is not there: its target is never read and may be NaN, or a class that does not exist (−100),
and it has no gradient; it still counts as one of the rows that the mean is over, as in Keras. Cross-entropies of a
Dense or Activation layer that ends in sigmoid or softmax are computed from what goes into it, where that is right.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from rekur._own import check_options, named_after, no_attribute, refuse_methods
from rekur._settings import Value
from rekur._validate import boolean, real


class Loss(Value):
    """Base of the losses: a name and its parameters, which are attributes to read and never change."""

    name: ClassVar[str]
    sparse: ClassVar[bool] = False  # the target is class indices, int32, without the features' axis
    of_probabilities: ClassVar[bool] = False  # the target's elements are probabilities, 0 to 1

    def __init__(self, **options: Any) -> None:
        self._begin(options)

    def _begin(self, options: dict[str, Any], **parameters: float | bool) -> None:
        check_options("loss", type(self), options)
        super().__init__(**parameters)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_methods(cls, "loss", "call", "__call__")

    def config(self) -> dict[str, Any]:
        return {"name": self.name, **self.parameters}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.parameters.items())})"


class MeanSquaredError(Loss):
    """mean (y − ŷ)² over the features."""

    name = "mean_squared_error"


class MeanAbsoluteError(Loss):
    """mean |y − ŷ| over the features."""

    name = "mean_absolute_error"


class Huber(Loss):
    """½e² for |e| ≤ delta, else delta·(|e| − ½delta), e = y − ŷ. Huber, Annals of Statistics 35, 1964."""

    name = "huber"

    def __init__(self, delta: float = 1.0, **options: Any) -> None:
        self._begin(options, delta=real(delta, "huber: delta", 0))
        if delta == 0:
            raise ValueError("huber: delta must be above 0, got 0")


@named_after("rekur.losses", "Loss")
class _Crossentropy(Loss):
    def __init__(self, from_logits: bool = False, **options: Any) -> None:
        self._begin(options, from_logits=boolean(from_logits, f"{self.name}: from_logits"))


class BinaryCrossentropy(_Crossentropy):
    """−y log p − (1 − y) log(1 − p), the mean over the features; p the output, with ``from_logits`` its sigmoid.

    y is 0, 1 or between.
    """

    name = "binary_crossentropy"
    of_probabilities = True


class CategoricalCrossentropy(_Crossentropy):
    """−Σ y log p over the classes; y one-hot or a distribution, p the output, or its softmax with ``from_logits``.

    An output that is no softmax is divided by its sum and clipped to 1e-7 … 1 − 1e-7, as in Keras. Where a row's sum is
    0 (below 1e-30), as behind a relu, its p are 1e-7 and its gradient is 0, where Keras gives NaN.
    """

    name = "categorical_crossentropy"
    of_probabilities = True


class SparseCategoricalCrossentropy(_Crossentropy):
    """−log p[y]; y is the class index, p as in CategoricalCrossentropy."""

    name = "sparse_categorical_crossentropy"
    sparse = True


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


def get(loss: object) -> Loss:
    """A loss of a name, an object, a class or a ``{"name": …}`` dict.

    Raises
    ------
    ValueError
        For an unknown name, with a suggestion.
    TypeError
        For anything else; functions of one's own have no gradient here.
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
    if not isinstance(name, str):
        hint = "; functions of one's own are not here yet, since nothing would know their gradient"
        raise TypeError(f"a loss is a name or an object of rekur.losses, got {loss!r}{hint if callable(loss) else ''}")
    found = NAMES.get(name) or _ALIASES.get(name) or _ALIASES.get(name.lower())
    if found is None:
        from rekur._keras.names import unknown

        raise ValueError(unknown("loss", name, [*NAMES, "mse", "mae", "bce"]))
    return found(**parameters)


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "loss", name)
