"""The base of the metrics: a mean over rows and steps, gathered batch by batch."""

from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur._own import check_options
from rekur._settings import Guarded, Setting
from rekur._validate import as_numeric, check_data, sample_weights, spread

_Any = NDArray[Any]


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{what} must be a text, got {value!r}")
    return value


class Gathered(np.ndarray):
    """Numbers that a metric of one's own gathers: an array that is changed in place, with Keras's words for it."""

    def assign(self, value: Any) -> "Gathered":
        self[...] = value
        return self

    def assign_add(self, value: Any) -> "Gathered":
        self[...] += value
        return self

    def assign_sub(self, value: Any) -> "Gathered":
        self[...] -= value
        return self

    def numpy(self) -> _Any:
        return np.array(self)


class Metric(Guarded):
    """Base of the metrics. Your own overrides :meth:`values`, or ``update_state``, ``result`` and ``reset_state``.

    Parameters
    ----------
    name : str, optional
        What it is called in logs and in ``History``.

    Attributes
    ----------
    larger_is_better : bool or None
        What EarlyStopping, ModelCheckpoint and ReduceLROnPlateau go by with ``mode="auto"``.

    Notes
    -----
    Parameters are attributes; one that is set acts from the next pass over data on, in each model compiled with the
    object. What a pass gathers it gathers in a copy: the object's own state is the caller's.
    """

    default_name: ClassVar[str] = "metric"
    _one_by: ClassVar[str] = ""  # how several numbers become one
    _apart: ClassVar[str] = ""  # why it is no metric of rows and steps, if it is none
    _weighs_elements: ClassVar[bool] = False  # whether weights may be those of all that an output has
    _one_number = False  # whether the last values were one number for all rows
    # What EarlyStopping and others go by; None: it is not said, and has to be given there as mode=.
    larger_is_better: bool | None = None

    name = Setting(_name)

    def __init__(self, name: str | None = None, **options: Any) -> None:
        check_options("metric", type(self), options)
        self.name = name or self.default_name
        if self._open:
            Metric.reset_state(self)
            with suppress(AttributeError):  # of what a constructor makes after this one
                self.reset_state()
        else:
            self.reset_state()

    def add_weight(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Gathered:
        """Numbers that a metric of one's own gathers over a pass, float64; :meth:`reset_state` makes them zeros.

        Parameters
        ----------
        shape : tuple
        initializer : str or Initializer
            "zeros", which is the default, "ones" or a constant.
        dtype, name
            As in Keras; neither changes anything.

        Returns
        -------
        ndarray with ``assign``, ``assign_add``, ``assign_sub`` and ``numpy``.
        """
        from rekur import initializers

        known = initializers.to_spec("zeros" if initializer is None else initializer, f"{self._whose()}: add_weight")
        begin = {"zeros": 0.0, "ones": 1.0}.get(known) if isinstance(known, str) else known.get("value")
        if begin is None:
            raise ValueError(
                f"{self._whose()}: add_weight: initializer: expected zeros, ones or a constant, got {known!r}"
            )
        made = np.full(shape, begin, np.float64).view(Gathered)
        vars(self).setdefault("_numbers", []).append(made)
        return made

    add_variable = add_weight

    def _whose(self) -> str:
        return f"metric '{vars(self).get('name', self.default_name)}'"

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        """One value a row.

        Parameters
        ----------
        y_true, y_pred : ndarray of shape (N, …), (N, F)
            N rows, or where the output has a time axis valid steps; y_true as the loss takes it.

        Returns
        -------
        ndarray of shape (N, …), of which the mean over all but the first axis counts, or a number that holds for all.
        """
        raise NotImplementedError(f"{type(self).__name__} must define values(y_true, y_pred)")

    def _check_weights(self, weight: _Any | None) -> None:
        """Raises TypeError for sample weights of a call that the metric cannot take."""

    def _several(self) -> bool:
        """Whether ``result`` is several numbers."""
        return False

    def reset_state(self) -> None:
        """Forget what was gathered; called before each pass over data."""
        self._sum = 0.0
        self._weight = 0.0
        for gathered in vars(self).get("_numbers", ()):
            gathered.assign(0.0)

    def _arrays(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[_Any, _Any, _Any]:
        """Targets and outputs of a call as fit gives them, steps as rows and without those of weight 0, and weights."""
        check_data(y_true, f"metric '{self.name}': y_true")
        check_data(y_pred, f"metric '{self.name}': y_pred")
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        if y_pred.ndim == 0:
            raise ValueError(f"metric '{self.name}': expected outputs of shape (N, …), got a single number")
        if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
            y_true = y_true[..., None]  # (N,) beside (N, 1)
        elif y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
            y_pred = y_pred[..., None]
        given = 1.0 if sample_weight is None else sample_weight
        most = max(y_pred.ndim - 1, 1)
        if self._weighs_elements and np.shape(given) == y_pred.shape and y_pred.ndim > most:
            return y_true, y_pred, as_numeric(given, f"metric '{self.name}': sample_weight").astype(np.float64)
        weight = sample_weights(given, y_pred.shape[:most], f"metric '{self.name}'")
        steps = y_pred.shape[:most]
        if y_true.shape[: len(steps)] != steps:  # what no step goes with
            steps = y_pred.shape[: max(weight.ndim, 1)]
        weight = spread(weight, steps).reshape(-1)
        if len(steps) > 1:
            rows = (len(weight),)
            y_pred = y_pred.reshape(rows + y_pred.shape[len(steps) :])
            y_true = y_true.reshape(rows + y_true.shape[len(steps) :])
        there = weight != 0
        return (y_true, y_pred, weight) if there.all() else (y_true[there], y_pred[there], weight[there])

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in the rows of a batch; ``sample_weight`` of shape (N,), or (N, T) of steps."""
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        values = self._checked(self.values(y_true, y_pred), len(y_pred))
        self._sum += float(np.sum(values * weight))
        self._weight += float(np.sum(weight))

    def _checked(self, given: Any, rows: int) -> _Any:
        """What ``values`` returned, as one number a row or one for all."""
        expected = f"metric '{self.name}': expected a number, or one for each of the {rows} rows"
        if isinstance(given, np.ndarray):
            check_data(given, f"metric '{self.name}': its values")  # a mask would be lost
        try:
            values = np.asarray(given)
        except ValueError as error:
            raise ValueError(f"{expected}, got a ragged list ({error})") from None
        if values.dtype.kind not in "biuf":
            raise TypeError(f"{expected}, got {type(given).__name__} of dtype {values.dtype}")
        if values.ndim and len(values) != rows:
            raise ValueError(f"{expected}, got an array of shape {values.shape}")
        if values.ndim > 1:
            if not values[:1].size and rows:
                raise ValueError(f"{expected}, got an array of shape {values.shape}")
            values = values.reshape(rows, -1).mean(axis=1, dtype=np.float64) if rows else np.zeros(0)
        self._one_number = values.ndim == 0
        return np.asarray(values, dtype=np.float64)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Take in rows, and what :meth:`result` gives then."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def result(self) -> Any:
        """The metric of all rows since the last reset; 0 without any."""
        return self._sum / self._weight if self._weight else 0.0

    def config(self) -> dict[str, Any]:
        """What a file keeps of it: its type, name and parameters."""
        return {"type": self.default_name, "name": self.name}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items() if k != 'type')})"
