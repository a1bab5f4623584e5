"""The base of the losses: parameters that never change, reduction, what a loss is as a metric and in a file."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from rekur._own import check_options
from rekur._settings import Value, thawed
from rekur._validate import as_numeric, one_of, sample_weights, show, spread

if TYPE_CHECKING:
    from rekur._losses.own import Equations


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
    _of_batches: ClassVar[bool] = False  # whether it is no loss of rows
    _whole_rows: bool = False  # whether it is a mean over rows, whose steps go together
    _of_windows: ClassVar[bool] = False  # … and parts of them have one of their own
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
        if reduction in (None, "none"):
            if self._of_batches:
                self.refuse_rows()
            self._reduction = "none"
            return
        means = one_of("sum_over_batch_size", "mean", "auto", "sum", "mean_with_sample_weight")
        found = means(reduction, f"{self.name}: reduction")
        self._reduction = found if found in ("sum", "mean_with_sample_weight") else None

    def refuse_rows(self) -> NoReturn:
        """What ``compile`` says of a loss that is a number a row."""
        raise ValueError(
            f"{self.name}: reduction=None would leave a number a row, and training goes down one number: leave it "
            "out, or take 'sum'"
        )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls._is_own():
            return
        if "__call__" in vars(cls):
            raise TypeError(f"class {cls.__name__}: define call(self, y_true, y_pred), not __call__ (docs/losses.md)")
        if "name" not in vars(cls):
            cls.name = snake_case(cls.__name__)

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
        from rekur._losses import formulas
        from rekur.losses import SparseCategoricalCrossentropy

        if isinstance(self, SparseCategoricalCrossentropy):
            return formulas.sparse_crossentropy(self, y_true, y_pred)
        if (formula := formulas.formula(self)) is None:
            raise TypeError(f"{self!r} is no equation of rows: give it to compile")
        return formula(y_true, y_pred)

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
            from rekur._losses.of_tensors import loss_of_tensors

            return loss_of_tensors(self, y_true, y_pred, sample_weight)
        whose = self._whose()
        y_true, y_pred = as_numeric(y_true, f"{whose}: y_true"), as_numeric(y_pred, f"{whose}: y_pred")
        self._check_targets(y_true, y_pred)
        values = self.values(y_true, y_pred)
        count = float(values.size)
        weight = spread(
            sample_weights(1.0 if sample_weight is None else sample_weight, values.shape, whose), values.shape
        )
        if self._ignored is not None:
            there = y_true.reshape(values.shape) != self._ignored
            count, weight = float(np.count_nonzero(there)), np.where(there, weight, 0.0)
        if self._reduction == "mean_with_sample_weight":
            count = float(weight.sum())
        values = np.where(weight == 0, 0.0, values) * weight
        if self._reduction == "none":
            return values
        total = float(np.sum(values))
        return total if self._reduction == "sum" else total / count if count else 0.0

    def _check_targets(self, y_true: Any, y_pred: Any) -> None:
        if not self.is_own and y_true.shape not in self._shapes_of_targets(y_pred.shape):
            fitting = " or ".join(map(show, self._shapes_of_targets(y_pred.shape)))
            raise ValueError(f"{self._whose()}: expected y_true of shape {fitting}, got {show(y_true.shape)}")

    def _shapes_of_targets(self, outputs: tuple[int, ...]) -> list[tuple[int, ...]]:
        """What targets of outputs may have."""
        if self.sparse:
            return [outputs[:-1], (*outputs[:-1], 1)]
        return [outputs, *([outputs[:-1]] if outputs[-1:] == (1,) else [])]

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
        from rekur._losses.equations import trace_loss
        from rekur._losses.own import Equations  # which are made of this class

        recorded = Equations(**trace_loss(function, self.name, shape), target=self._target(), reduction=self._reduction)
        if self._open:
            self._was_recorded()
        return recorded

    def _target(self) -> str:
        """What the target of the recorded loss is: as of :class:`Equations`."""
        return "any"

    def config(self) -> dict[str, Any]:
        """The engine's form: the name and the parameters."""
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

    def __mul__(self, weight: float) -> "Loss":
        """The loss times a number, for a sum of losses."""
        if isinstance(weight, bool) or not isinstance(weight, (int, float, np.number)):
            return NotImplemented
        from rekur._losses.signals import WeightedSum

        return WeightedSum([self], [float(weight)])

    __rmul__ = __mul__

    def __add__(self, other: "Loss") -> "Loss":
        """The sum of two losses of one output."""
        if not isinstance(other, Loss):
            return NotImplemented
        from rekur._losses.signals import WeightedSum

        return WeightedSum([self, other])

    def __radd__(self, other: object) -> "Loss":
        """``sum`` of a list begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def _saved(self) -> dict[str, Any]:
        """What a file holds: the engine's form, and what Python adds to it."""
        further = {"reduction": self._reduction, "ignore_class": self._ignored}
        return {**self.config(), **{key: value for key, value in further.items() if value is not None}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.parameters.items())})"


def snake_case(name: str) -> str:
    """my_loss of MyLoss, as Keras names its objects."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower().strip("_") or "loss"
