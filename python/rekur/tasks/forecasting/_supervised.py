"""scikit-learn's form of data: covariates X (T, F), known ahead, beside targets y."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur._validate import as_numeric
from rekur.tasks._series import SeriesSet, read_series
from rekur.tasks.forecasting._settings import WHO

if TYPE_CHECKING:
    from rekur.tasks.forecasting._forecaster import Forecaster


@dataclass(frozen=True)
class Supervised:
    """The two as arrays."""

    x: Any  # (T, F)
    y: Any  # (T, K)
    flat: bool  # whether y had no axis of targets
    names: list[str] | None  # of X's columns, where they are texts

    @property
    def features(self) -> int:
        return int(self.x.shape[1])

    @staticmethod
    def of(X: Any, y: Any) -> "Supervised":
        """From what ``fit`` was given."""
        targets = numbers(y, "y")
        if targets.ndim not in (1, 2) or not targets.size:
            raise ValueError(f"{WHO}: y must have shape (T,) or (T, K), got {targets.shape}")
        flat = targets.ndim == 1
        targets = targets[:, None] if flat else targets
        x = np.zeros((len(targets), 0)) if X is None else covariates(X)
        if len(x) != len(targets):
            raise ValueError(f"{WHO}: X and y must have the same number of rows, got {len(x)} and {len(targets)}")
        if len(targets) < 2:
            raise ValueError(f"{WHO}: one sample (n_samples=1) has nothing that comes after it; give at least 2 rows")
        return Supervised(x, targets, flat, _names(X))

    def read(self) -> SeriesSet:
        """One series whose steps are the rows."""
        columns = {f"y{k}": self.y[:, k] for k in range(self.y.shape[1])}
        columns.update({f"x{k}": self.x[:, k] for k in range(self.features)})
        return read_series(
            columns,
            target=[f"y{k}" for k in range(self.y.shape[1])],
            future=[f"x{k}" for k in range(self.features)],
        )


def numbers(given: Any, name: str) -> Any:
    """An array of numbers in float64.

    Raises
    ------
    ValueError, TypeError
        For what is sparse, complex, or no numbers.
    """
    if hasattr(given, "tocsr") or type(given).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{WHO}: {name}: sparse input is not supported; give a dense array")
    array: Any = np.asarray(given)
    if array.dtype.kind == "c":
        raise ValueError(f"{WHO}: {name}: Complex data not supported")
    if array.dtype == object:
        return array.astype(np.float64)
    return np.asarray(as_numeric(given, f"{WHO}: {name}"), np.float64)


def covariates(X: Any) -> Any:
    """X as numbers of shape (n, F)."""
    x = numbers(X, "X")
    if x.ndim != 2:
        raise ValueError(
            f"{WHO}: Expected 2D array, got {x.ndim}D array instead: X must have shape (rows, features). Reshape your "
            "data by .reshape(-1, 1) where it has a single feature"
        )
    if not x.shape[0]:
        raise ValueError(f"{WHO}: Found array with 0 sample(s) (shape={x.shape}) while a minimum of 1 is required.")
    if not x.shape[1]:
        raise ValueError(f"{WHO}: Found array with 0 feature(s) (shape={x.shape}) while a minimum of 1 is required.")
    return x


def _names(X: Any) -> list[str] | None:
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return names if all(isinstance(name, str) for name in names) else None


def ahead_of(model: "Forecaster", X: Any, future: Any, what: str) -> SeriesSet:
    """The training data with the rows of X as the covariates of the steps behind them, at most a horizon."""
    x, horizon = _checked(model, X, future, what), model._plan.horizon
    if len(x) > horizon:
        raise ValueError(
            f"{WHO}: {what}: X must have at most {horizon} rows, the horizon, since what lies beyond it has no "
            f"distribution, got {len(x)}; predict alone goes on from its own forecasts"
        )
    ends = model._ends
    layout = dataclasses.replace(ends.layout, kind="array")
    if not model.n_features_in_:
        return dataclasses.replace(ends, layout=layout)
    series = ends.series[0]
    series = dataclasses.replace(series, future=np.concatenate([series.future[: len(series)], x]))
    return dataclasses.replace(ends, series=[series], layout=layout)


def _checked(model: "Forecaster", X: Any, future: Any, what: str) -> Any:
    """X as the covariates (n, F) of the next steps; of a horizon without any, where ``fit`` had none."""
    if future is not None:
        raise ValueError(f"{WHO}: {what}: fit was given y: the covariates of the steps to come are X, not future")
    if X is None:
        if model.n_features_in_:
            raise ValueError(f"{WHO}: {what}: X must hold the covariates of the steps to come, got None")
        return np.zeros((model._plan.horizon, 0))
    x = covariates(X)
    if x.shape[1] != model.n_features_in_:
        raise ValueError(
            f"X has {x.shape[1]} features, but {WHO} is expecting {model.n_features_in_} features as input"
        )
    return x


def predict_rows(model: "Forecaster", X: Any, future: Any = None) -> Any:
    """Forecasts of the steps whose covariates are the rows of X, which follow the training data.

    Where they are more than the horizon, forecasts go on from forecasts.
    """
    ends, plan = model._ends, model._plan
    x = _checked(model, X, future, "predict")
    rows = len(x)
    series = ends.series[0]
    found: list[Any] = []
    done = 0
    while done < rows:
        ahead = np.concatenate([series.future[: len(series)], x[done:]])
        known = dataclasses.replace(ends, series=[dataclasses.replace(series, future=ahead)])
        block = model._ahead(known, [0.5], "predict")[0, :, :, 0]
        found.append(block[: rows - done])
        done += len(block)
        series = dataclasses.replace(
            series,
            target=np.concatenate([series.target, block]),
            past=np.concatenate([series.past, np.full((len(block), series.past.shape[1]), np.nan)]),
            future=_padded(ahead, len(series) + len(block)),
        )
    told = np.concatenate(found) if found else np.zeros((0, plan.targets))
    return told[:, 0] if plan.targets == 1 else told


def _padded(rows: Any, count: int) -> Any:
    return np.pad(rows, ((0, max(count - len(rows), 0)), (0, 0)), constant_values=np.nan)
