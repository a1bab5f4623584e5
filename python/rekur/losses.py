"""Losses, by name or as an object.

A loss is a mean over the batch's rows (and the valid steps of an output with a time axis), each times its sample
weight. What has weight 0 is not there: its target is never read and may be NaN, or a class that does not exist (−100),
and it has no gradient; it still counts as one of the rows that the mean is over, as in Keras. Cross-entropies of a
Dense or Activation layer that ends in sigmoid or softmax are computed from what goes into it, where that is right.

A loss of one's own is a function of (y_true, y_pred) written in :mod:`rekur.ops`, or a class derived from :class:`Loss`
with such a ``call``: recorded once as equations, whose gradient is derived, it runs at the engine's speed and is saved
with the model (docs/losses.md). :class:`Numpy` takes plain NumPy functions, slowly.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rekur._own import check_options, named_after, no_attribute
from rekur._settings import Value, frozen, thawed
from rekur._validate import as_numeric, boolean, check_data, integer, one_of, real, share


class Loss(Value):
    """Base of the losses: a name and its parameters, which are attributes to read and never change.

    Your own defines ``call(self, y_true, y_pred)`` in :mod:`rekur.ops`, as in Keras. It returns one number a row or
    step (``ops.mean(…, axis=-1)``), or one a feature, of which the mean is taken. It is called once a model, with
    symbols, and what it does is recorded: attributes cannot be set any more from then on.

    Parameters
    ----------
    name : str, optional
        Of losses of one's own: what messages and metrics call it; the class's name by default, ``my_loss`` of MyLoss.
    """

    sparse: ClassVar[bool] = False  # the target is class indices, int32, without the features' axis
    of_probabilities: ClassVar[bool] = False  # the target's elements are probabilities, 0 to 1
    any_target: ClassVar[bool] = False  # the target need not have the features of the output
    _recorded = False
    _reduction: str | None = None  # None: the mean over rows and steps
    _ignored: int | None = None  # a class that stands for no target
    _given: "Loss | None" = None  # of one that was recorded: the loss it came from

    def __init__(self, name: str | None = None, **options: Any) -> None:
        self._begin(options)
        if name is not None:
            if not isinstance(name, str) or not name:
                raise TypeError(f"{type(self).__name__}: name must be a text, got {name!r}")
            if type(self)._is_own():
                object.__setattr__(self, "name", name)

    def _begin(self, options: dict[str, Any], **parameters: Any) -> None:
        reduction = options.pop("reduction", "sum_over_batch_size")
        check_options("loss", type(self), options)
        super().__init__(**parameters)
        if reduction is None or reduction == "none":
            raise ValueError(
                f"{self.name}: reduction=None would leave a number a row, and training goes down one number: leave it "
                "out, or take 'sum'"
            )
        means = one_of("sum_over_batch_size", "mean", "auto", "sum", "mean_with_sample_weight")
        found = means(reduction, f"{self.name}: reduction")
        self._reduction = found if found in ("sum", "mean_with_sample_weight") else None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls._is_own():
            return
        if "__call__" in vars(cls):
            raise TypeError(f"class {cls.__name__}: define call(self, y_true, y_pred), not __call__ (docs/losses.md)")
        if "name" not in vars(cls):
            cls.name = _snake_case(cls.__name__)

    @classmethod
    def _is_own(cls) -> bool:
        """Whether ``call`` says what it is: not so where a class only derives from one of the engine's."""
        engine = any(issubclass(base, Loss) and base is not Loss and not base._open for base in cls.__mro__)
        return cls._open and (cls.call is not Loss.call or not engine)

    @property
    def is_own(self) -> bool:
        """Whether it is one of one's own, which can be called and is a metric too."""
        return type(self)._is_own() or self.any_target

    def _was_recorded(self) -> None:
        object.__setattr__(self, "_recorded", True)

    def _takes(self, name: str, value: object) -> bool:
        return not self._recorded and type(self)._is_own() and super()._takes(name, value)

    def _refusal(self, name: str) -> str:
        if self._recorded:
            return (
                f"{self._whose()}: '{name}' cannot be set any more: what the loss does was recorded when a model was "
                f"compiled with it; make another {type(self).__name__} and compile again"
            )
        return super()._refusal(name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each row or step, or of each feature: what a loss of one's own defines."""
        if type(self)._is_own():
            raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred) (docs/losses.md)")
        raise TypeError(f"{self!r} is computed by the engine: give it to compile, or compute it with NumPy")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The mean over rows and steps, each times its weight, of NumPy arrays: what ``evaluate`` shows.

        Parameters
        ----------
        y_true, y_pred : array_like of shape (…, n), (…, F)
        sample_weight : array_like of shape (B,) or (…), optional

        Returns
        -------
        float; of symbolic tensors, in the call of a layer or model of one's own, what ``add_loss`` takes.
        """
        if not isinstance(y_pred, np.ndarray) and hasattr(y_pred, "layer"):
            from rekur._losses_of_tensors import loss_of_tensors

            return loss_of_tensors(self, y_true, y_pred, sample_weight)
        values = self.values(
            as_numeric(y_true, f"{self._whose()}: y_true"), as_numeric(y_pred, f"{self._whose()}: y_pred")
        )
        total = float(values.size)
        if sample_weight is not None:
            weight = as_numeric(sample_weight, f"{self._whose()}: sample_weight").astype(np.float64)
            weight = np.broadcast_to(weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim)), values.shape)
            values = np.where(weight == 0, 0.0, values * weight)
            total = float(weight.sum()) if self._reduction == "mean_with_sample_weight" else total
        return float(np.sum(values) / (1 if self._reduction == "sum" else total)) if total else 0.0

    def values(self, y_true: Any, y_pred: Any) -> "np.ndarray[Any, Any]":
        """The loss of each row or step, in float64: what it is as a metric."""
        y_true, y_pred = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        if y_true.ndim == y_pred.ndim - 1:
            y_true = y_true[..., None]
        found = np.asarray(self.call(y_true, y_pred), np.float64)
        if found.shape in (y_pred.shape, (*y_pred.shape[:-1], 1)):
            return np.asarray(found.mean(axis=-1))
        if found.shape != y_pred.shape[:-1]:
            raise ValueError(
                f"{self._whose()}: expected values of shape {y_pred.shape[:-1]} or {y_pred.shape} for outputs of shape "
                f"{y_pred.shape}, got {found.shape}; reductions take axis=-1"
            )
        return found

    def bound(self, shape: Sequence[int | None]) -> "Loss":
        """The loss of an output of that shape, as the engine takes it."""
        if not type(self)._is_own():
            return self
        return self._record(self.call, shape)

    def _record(self, function: Callable[[Any, Any], Any], shape: Sequence[int | None]) -> "Equations":
        from rekur._loss_equations import trace_loss

        recorded = Equations(**trace_loss(function, self.name, shape), target=self._target(), reduction=self._reduction)
        if self._open:
            self._was_recorded()
        return recorded

    def _target(self) -> str:
        """What the target of the recorded loss is: as of :class:`Equations`."""
        return "any"

    def config(self) -> dict[str, Any]:
        if type(self)._is_own():
            raise TypeError(f"{self!r} is recorded when a model is compiled with it, and has no form of its own")
        return {"name": self.name, **self.parameters}

    def get_config(self) -> dict[str, Any]:
        """Name and parameters, with Keras's ``reduction``."""
        return {
            "name": self.name,
            **thawed(dict(self.parameters)),
            "reduction": self._reduction or "sum_over_batch_size",
        }

    def _saved(self) -> dict[str, Any]:
        """What a file holds: the engine's form, and what Python adds to it."""
        further = {"reduction": self._reduction, "ignore_class": self._ignored}
        return {**self.config(), **{key: value for key, value in further.items() if value is not None}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.parameters.items())})"


def _snake_case(name: str) -> str:
    """my_loss of MyLoss, as Keras names its objects."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower().strip("_") or "loss"


class Equations(Loss):
    """A loss recorded as equations: what a file holds of one's own, and what losses of one's own are to the engine.

    ``target``: ``"any"``, of the output's shape, ``"output"``, or of that and from 0 to 1, ``"probabilities"``.
    """

    name = "equations"

    def __init__(
        self, label: str, equations: Any, inputs: Any = None, target: str = "any", reduction: str | None = None
    ) -> None:
        self._begin({"reduction": reduction or "sum_over_batch_size"})
        target = one_of("any", "output", "probabilities")(target, "loss 'equations': target")
        object.__setattr__(self, "any_target", target == "any")
        object.__setattr__(self, "of_probabilities", target == "probabilities")
        if not isinstance(label, str) or not isinstance(equations, dict) or not isinstance(inputs, (list, type(None))):
            raise TypeError("loss 'equations': expected the label, equations and inputs of a recorded loss")
        object.__setattr__(self, "name", label)
        self._config = frozen(
            {"label": label, "equations": equations, **({} if inputs is None else {"inputs": inputs})}
        )

    def values(self, y_true: Any, y_pred: Any) -> "np.ndarray[Any, Any]":
        from rekur._loss_equations import values_of

        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        return np.asarray(values_of(self._config, y_true[..., None] if y_true.ndim < y_pred.ndim else y_true, y_pred))

    def check_target(self, features: int, what: str) -> None:
        from rekur._loss_equations import check_target

        check_target(self._config, features, what)

    def config(self) -> dict[str, Any]:
        return {"name": "equations", **thawed(self._config)}

    @property
    def target(self) -> str:
        """What the target is."""
        return "any" if self.any_target else "probabilities" if self.of_probabilities else "output"

    def get_config(self) -> dict[str, Any]:
        return {**self.config(), "target": self.target, "reduction": self._reduction or "sum_over_batch_size"}

    def __repr__(self) -> str:
        return f"Equations('{self.name}', {len(self._config['equations']['nodes'])} operations)"


class _Function(Loss):
    """A function of (y_true, y_pred), before the output that it is of is known."""

    name = "loss"
    any_target = True

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._function = function
        name = getattr(function, "__name__", None) or _snake_case(type(function).__name__)
        object.__setattr__(self, "name", "loss" if name == "<lambda>" else name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)

    def bound(self, shape: Sequence[int | None]) -> Loss:
        return self._record(self._function, shape)

    def config(self) -> dict[str, Any]:
        raise TypeError(f"{self!r} is recorded when a model is compiled with it, and has no form of its own")

    def __repr__(self) -> str:
        return f"<loss '{self.name}' of {self._function!r}>"


class Numpy(Loss):
    """A loss computed by Python functions of NumPy arrays, with a gradient of one's own.

    It is slow: each step waits for Python in its middle, and no thread of the engine works meanwhile. What can be
    written in :mod:`rekur.ops` is better given to ``compile`` as a function. A file holds no Python code: a model
    compiled with it is saved as if it were not compiled, which a warning says.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns the loss of each row: (N,).
    gradient : callable
        ``gradient(y_true, y_pred)`` returns the derivatives of each row's loss by the features of its own y_pred:
        (N, F).
    name : str, optional
        The function's by default.

    Notes
    -----
    y_true has the shape (N, …) that ``fit`` was given, in its dtype, y_pred is float32 of shape (N, F): N rows, or
    where the output has a time axis the steps of all rows. What is padding or has weight 0 is left out. Weights and the
    mean are the engine's.

    Raises
    ------
    TypeError, ValueError
        In ``fit`` or ``evaluate``, for values that are no floats or do not fit; nothing has changed then. NaN is a
        number.
    """

    name = "numpy"
    any_target = True
    _in_file: ClassVar[bool] = False  # whether a file can hold it

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        gradient: Callable[[Any, Any], Any],
        name: str | None = None,
        **options: Any,
    ) -> None:
        self._begin(options)
        for what, given in (("function", function), ("gradient", gradient)):
            if not callable(given):
                raise TypeError(f"losses.Numpy: expected a {what} of (y_true, y_pred), got {given!r}")
        self._function, self._gradient = function, gradient
        given_name = getattr(function, "__name__", "numpy") if name is None else name
        if not isinstance(given_name, str) or not given_name:
            raise TypeError(f"losses.Numpy: name must be a text, got {name!r}")
        object.__setattr__(self, "name", "numpy" if given_name == "<lambda>" else given_name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)

    def values(self, y_true: Any, y_pred: Any) -> "np.ndarray[Any, Any]":
        return self._checked(self._function(y_true, y_pred), np.shape(y_pred)[:-1], "function", np.float64)

    def gradient(self, y_true: Any, y_pred: Any) -> "np.ndarray[Any, Any]":
        """The derivatives of each row's loss, checked: float32 of the shape of ``y_pred``."""
        return self._checked(self._gradient(y_true, y_pred), np.shape(y_pred), "gradient", np.float32)

    def _checked(self, given: Any, shape: tuple[int, ...], what: str, dtype: Any) -> "np.ndarray[Any, Any]":
        if isinstance(given, np.ndarray):
            check_data(given, f"loss '{self.name}': what its {what} returns")  # a mask would be lost
        found = np.asarray(given)
        if found.dtype.kind not in "biuf":
            raise TypeError(f"loss '{self.name}': its {what} must return numbers, got {type(given).__name__}")
        if found.shape != shape:
            raise ValueError(f"loss '{self.name}': its {what} must return shape {shape}, got {found.shape}")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(found, dtype)

    def config(self) -> dict[str, Any]:
        return {"name": "callback", "label": self.name}

    def __repr__(self) -> str:
        return f"Numpy('{self.name}')"


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
        from rekur import _more_losses as more

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
        from rekur import _more_losses as more

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


# Those of rekur._more_losses, which is imported when one is asked for.
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
    "ctc": "CTC",
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
        from rekur._ctc import CTC

        return CTC
    from rekur import _more_losses

    return getattr(_more_losses, name)  # type: ignore[no-any-return]


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
            return _Function(loss)
        raise TypeError(
            f"a loss is a name, an object of rekur.losses or a function of (y_true, y_pred) in rekur.ops, got {loss!r}"
        )
    found = _named(name)
    if found is None:
        from rekur._keras.names import unknown

        raise ValueError(unknown("loss", name, [*KNOWN, "mse", "mae", "bce"]))
    return found(**parameters)


if TYPE_CHECKING:
    from rekur._ctc import CTC as CTC
    from rekur._more_losses import (
        BinaryFocalCrossentropy as BinaryFocalCrossentropy,
    )
    from rekur._more_losses import (
        CategoricalFocalCrossentropy as CategoricalFocalCrossentropy,
    )
    from rekur._more_losses import (
        CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
    )
    from rekur._more_losses import (
        CategoricalHinge as CategoricalHinge,
    )
    from rekur._more_losses import (
        CosineSimilarity as CosineSimilarity,
    )
    from rekur._more_losses import (
        Dice as Dice,
    )
    from rekur._more_losses import (
        GaussianLikelihood as GaussianLikelihood,
    )
    from rekur._more_losses import (
        Hinge as Hinge,
    )
    from rekur._more_losses import (
        KLDivergence as KLDivergence,
    )
    from rekur._more_losses import (
        LogCosh as LogCosh,
    )
    from rekur._more_losses import (
        MeanAbsolutePercentageError as MeanAbsolutePercentageError,
    )
    from rekur._more_losses import (
        MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
    )
    from rekur._more_losses import (
        NegativeBinomialLikelihood as NegativeBinomialLikelihood,
    )
    from rekur._more_losses import (
        Poisson as Poisson,
    )
    from rekur._more_losses import (
        Quantile as Quantile,
    )
    from rekur._more_losses import (
        SquaredHinge as SquaredHinge,
    )
    from rekur._more_losses import (
        StudentTLikelihood as StudentTLikelihood,
    )
    from rekur._more_losses import (
        Tversky as Tversky,
    )
else:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        if name in _MORE.values():
            return _further(name)
        no_attribute(__name__, "loss", name)
