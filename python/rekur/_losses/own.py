"""Losses of one's own: recorded as equations, functions before they are, and Python's functions of NumPy arrays."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from rekur._losses.base import Loss, snake_case
from rekur._settings import frozen, thawed
from rekur._validate import as_numeric, check_data, one_of, sample_weights, show, spread


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
        from rekur._losses.equations import values_of

        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        return np.asarray(values_of(self._config, y_true[..., None] if y_true.ndim < y_pred.ndim else y_true, y_pred))

    def check_target(self, features: int, what: str) -> None:
        """Raises ValueError, beginning with ``what``, for a target of so many features that lacks some asked for."""
        from rekur._losses.equations import check_target

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


class Function(Loss):
    """A function of (y_true, y_pred), before the output that it is of is known."""

    name = "loss"
    any_target = True

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._function = function
        name = getattr(function, "__name__", None) or snake_case(type(function).__name__)
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
    _of_batches: ClassVar[bool] = True
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
        if self._in_file:
            raise TypeError(f"{self!r} is no function of rows: call the object with a batch, or give it to compile")
        return self._function(y_true, y_pred)

    def _batch(
        self, y_true: Any, y_pred: Any, sample_weight: Any, what: str, shape: tuple[str, ...]
    ) -> tuple[Any, Any, Any]:
        """Of one that a file can hold, called by hand: labels, outputs and weights of rows, checked."""
        outputs = np.asarray(as_numeric(y_pred, f"{self.name}: y_pred"))
        if outputs.ndim != len(shape):
            raise ValueError(f"{self.name} expected {what} of shape ({', '.join(shape)}), got {show(outputs.shape)}")
        rows = outputs.shape[:1]
        weight = spread(sample_weights(1.0 if sample_weight is None else sample_weight, rows, self.name), rows)
        targets = as_numeric(y_true, f"{self.name}: y_true")
        return self.labels(targets, outputs.shape, f"{self.name}: y_true", weight), outputs, weight

    def labels(self, array: Any, shape: tuple[int, ...], what: str, weight: Any) -> "np.ndarray[Any, Any]":
        """Of one that a file can hold: its targets, checked."""
        raise NotImplementedError

    def of_rows(self, y_true: Any, output: Any, valid: Any, weight: Any, want_gradient: bool) -> tuple[Any, Any]:
        """Of one that a file can hold: what the engine takes of a batch, values and gradients."""
        raise NotImplementedError

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
