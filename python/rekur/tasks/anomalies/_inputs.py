"""Series as users give them to a detector: rows are time steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import check_mask
from rekur.tasks._sequences import _as_floats, _check_finite, _frame_names, _frame_values, _is_frame, check_names

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Given:
    """Series (Tᵢ, F) in float64, NaN where missing, and whether there was a list of them."""

    series: list[Floats]
    many: bool
    names: NDArray[Any] | None

    @property
    def features(self) -> int:
        return int(self.series[0].shape[1])


def read(given: Any, who: str, what: str = "X", *, like: Any = None, least: int = 1) -> Given:
    """One series or a list of them.

    Parameters
    ----------
    given : array_like of shape (T, F) or (T,), a frame, an array (N, T, F), or a list of arrays and frames
    who : str
        The estimator's name, for errors.
    like : estimator, optional
        A fitted one, whose ``n_features_in_`` and ``feature_names_in_`` what is given must have.
    least : int
        Steps that there must be at least.
    """
    many = _is_list_of_series(given)
    items = list(given) if many else [given]
    if not items:
        raise ValueError(f"{what}: expected at least one series, got an empty list")
    series: list[Floats] = []
    names = None
    for number, item in enumerate(items):
        place = f"{what}: series {number}" if many else what
        array, names = _one(item, place)
        if series and array.shape[1] != series[0].shape[1]:
            raise ValueError(f"{place}: it has {array.shape[1]} channels, the first one has {series[0].shape[1]}")
        if like is not None:
            check_names(names, getattr(like, "feature_names_in_", None), who)
            if array.shape[1] != like.n_features_in_:
                if np.ndim(item) == 1:
                    raise ValueError(
                        f"{place}: Expected 2D array, got 1D array instead: {who} was fitted to {like.n_features_in_} "
                        "channels. Reshape your data using array.reshape(1, -1) if it is a single step."
                    )
                raise ValueError(
                    f"{place}: X has {array.shape[1]} features, but {who} is expecting {like.n_features_in_} features "
                    "as input"
                )
        series.append(array)
    longest = max(len(array) for array in series)
    if longest < least:
        raise ValueError(
            f"{what}: Found array with {longest} sample(s) while a minimum of {least} is required by {who}: rows are "
            f"time steps, and n_samples={longest} are too few to learn from"
        )
    return Given(series, many, names)


def _is_list_of_series(given: Any) -> bool:
    if isinstance(given, np.ndarray):
        return given.ndim == 3 or (
            given.dtype == object and given.ndim == 1 and any(hasattr(i, "shape") for i in given)
        )
    if not isinstance(given, (list, tuple)):
        return False
    return any(_is_frame(item) or len(getattr(item, "shape", ())) > 0 for item in given)


def _one(item: Any, place: str) -> tuple[Floats, NDArray[Any] | None]:
    if hasattr(item, "tocsr") or type(item).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{place}: Sparse data was passed, but dense data is required. Use '.toarray()' to convert it.")
    if item is None or isinstance(item, (str, bytes, Mapping)):
        kind = "None" if item is None else f"a {type(item).__name__}"
        raise TypeError(f"{place}: expected an array of numbers whose rows are time steps, got {kind}")
    names = None
    if _is_frame(item):
        names, array = _frame_names(item), _frame_values(item, place)
    else:
        check_mask(item, place)
        if hasattr(item, "detach"):
            item = item.detach().cpu().numpy()
        try:
            array = np.asarray(item)
            if array.dtype.kind == "U" and not isinstance(item, np.ndarray):
                array = np.asarray(item, object)
        except ValueError as error:
            raise ValueError(f"{place}: its steps have different numbers of channels: {error}") from None
        array = _as_floats(array, place)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{place}: expected shape (T,) or (T, F), got {array.shape}")
    if 0 in array.shape:
        what = "sample(s)" if array.shape[0] == 0 else "feature(s)"
        raise ValueError(f"{place}: Found array with 0 {what} (shape={array.shape}) while a minimum of 1 is required.")
    _check_finite(array, place)
    return np.asarray(array, np.float64), names


def given_back(pieces: Sequence[NDArray[Any]], many: bool) -> Any:
    """Results as the series came: a list of them, or one."""
    return list(pieces) if many else pieces[0]


def times_of(item: Any) -> Any:
    """The times of a pandas frame's index, in UTC; None where there are none."""
    index: Any = getattr(item, "index", None)
    if type(index).__name__ == "PeriodIndex":
        index = index.to_timestamp()
    if type(index).__name__ != "DatetimeIndex":
        return None
    naive = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    return naive.to_numpy()
