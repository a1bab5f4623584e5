"""Series as users give them to a detector: rows are time steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import check_mask
from rekur.tasks._sequences import _as_floats, _check_finite, _frame_names, _frame_values, _is_frame, check_names
from rekur.tasks._series import SeriesSet
from rekur.tasks.anomalies._times import Placed, has_times
from rekur.tasks.anomalies._times import place as place_on_grid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Given:
    """Series (Tᵢ, F) in float64 of regular steps, NaN where missing, and whether there was a list of them."""

    series: list[Floats]
    many: bool
    names: NDArray[Any] | None
    placed: list[Placed | None]  # where rows have times
    timeline: dict[str, Any] | None  # and the state of the set that they were read as
    notes: list[str]

    @property
    def features(self) -> int:
        return int(self.series[0].shape[1])

    def back(self, found: Sequence[Any]) -> Any:
        """Results by step as the rows came: with their index where that is of times; a list, or one."""
        pieces = [
            piece if place is None else place.rows(piece) for piece, place in zip(found, self.placed, strict=True)
        ]
        return pieces if self.many else pieces[0]


def read(
    given: Any, who: str, what: str = "X", *, like: Any = None, least: int = 1, time: Any = None, freq: Any = None
) -> Given:
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
    time : name, optional
        A frame's column of times.
    freq : optional
        The step, else found out.
    """
    many = _is_list_of_series(given)
    items = list(given) if many else [given]
    if not items:
        raise ValueError(f"{what}: expected at least one series, got an empty list")
    series: list[Floats] = []
    placed: list[Placed | None] = []
    notes: list[str] = []
    names = None
    timeline = getattr(like, "timeline_", None)
    for number, item in enumerate(items):
        place = f"{what}: series {number}" if many else what
        item = _framed(item)
        columns = _channels(item, time, place, fresh=like is None)
        array, names = _one(item if columns is None else columns, place)
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
        on_grid = None
        if _is_frame(item) and has_times(item, time) and (like is None or timeline is not None):
            on_grid, known = _placed(item, columns, time, freq, timeline, place)
            array = on_grid.values
            if like is None:
                timeline = timeline or known.state()  # of several series the first one's steps are all theirs
            notes += known.notes if not many else [f"Series {number}: {note}" for note in known.notes]
        series.append(array)
        placed.append(on_grid)
    longest = max(len(array) for array in series)
    if longest < least:
        raise ValueError(
            f"{what}: Found array with {longest} sample(s) while a minimum of {least} is required by {who}: rows are "
            f"time steps, and n_samples={longest} are too few to learn from"
        )
    return Given(series, many, names, placed, timeline, notes)


def _framed(item: Any) -> Any:
    """A pandas series whose index are times as a frame of one column; anything else as it is."""
    if hasattr(item, "to_frame") and not hasattr(item, "columns") and has_times(item, None):
        return item.to_frame(0 if item.name is None else item.name)
    return item


def _channels(item: Any, time: Any, place: str, fresh: bool) -> Any:
    """A frame without its column of times; None where there is none: new data may be plain steps."""
    if time is None or not _is_frame(item):
        if time is not None and fresh:
            raise ValueError(f"{place}: time={time!r} names a column, but what came is no frame")
        return None
    if time not in list(item.columns):
        raise ValueError(f"{place}: there is no column {time!r}, which time= names")
    return item.drop(columns=[time]) if hasattr(item, "iloc") else item.drop(time)


def _placed(item: Any, channels: Any, time: Any, freq: Any, timeline: Any, place: str) -> tuple[Placed, SeriesSet]:
    try:
        return place_on_grid(item, list((item if channels is None else channels).columns), time, freq, timeline)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{place}: {error}") from None


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


def times_of(given: Given) -> Any:
    """The times of the steps of the only series, in UTC; None where there are none."""
    (place,) = given.placed
    if place is None:
        return None
    return place.timeline.time(place.first + np.arange(len(place.values)))
