"""Series as the estimators read them: regular steps, targets, covariates, whatever the user's table looks like.

:func:`read_series` reads it, :meth:`SeriesSet.frame` gives results back in the user's kind of table.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._columns import Name
from rekur.tasks._tables import Kind
from rekur.tasks._timeline import Stamp, Timeline

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Series:
    """One series of regular steps, in time order.

    ``start`` is the stamp of the first step: datetime64[ns] in UTC, or a number where time is one. ``target`` is
    (T, K), NaN where missing; its first and last rows are observed. ``past`` (T, P) holds what is known up to now,
    ``future`` (T + extra, Q) what is known ahead: rows from T on are the future that came with the series. ``static``
    (S,) holds for the whole series. Texts are codes of :attr:`SeriesSet.categories`. ``id`` is None where the table
    does not tell series apart.
    """

    id: str | int | None
    start: Stamp
    target: Floats
    past: Floats
    future: Floats
    static: Floats

    def __len__(self) -> int:
        return len(self.target)

    def __repr__(self) -> str:
        sizes = {"past": self.past.shape[1], "future": self.future.shape[1], "static": len(self.static)}
        columns = "".join(f", {count} {name}" for name, count in sizes.items() if count)
        return f"Series({self.id!r}, {self.start}, {len(self):,} steps, {self.target.shape[1]} target{columns})"

    @property
    def extra(self) -> int:
        """Steps beyond the target's end whose future covariates are known."""
        return len(self.future) - len(self.target)


@dataclass(frozen=True)
class Layout:
    """How the user's table was, so that new data are read alike and results look like it.

    ``time`` names the columns of time (none: rows are the steps), ``index`` says that it is a frame's index, ``zone``
    the zone that the table's own times are in (None: they are naive).
    """

    kind: Kind = "array"
    time: list[Name] = field(default_factory=list)
    index: bool = False
    zone: str | None = None
    series: Name | None = None
    aggregate: Any = "mean"
    day_first: bool | None = None


@dataclass(frozen=True, repr=False)
class SeriesSet:
    """Series with one timeline and the same columns.

    ``target``, ``past``, ``future`` and ``static`` are the names of the columns of :class:`Series`' arrays.
    ``categories`` has the texts of each column of categories, in the order of their codes 0, 1, …; a text that is not
    among them, or is missing, has the code ``len(categories[name])``. ``notes`` are sentences on everything unusual.
    """

    series: list[Series]
    timeline: Timeline
    target: list[Name]
    past: list[Name]
    future: list[Name]
    static: list[Name]
    categories: dict[Name, list[str]]
    notes: list[str]
    layout: Layout = field(default_factory=Layout)

    def __len__(self) -> int:
        return len(self.series)

    def __repr__(self) -> str:
        total = sum(len(series) for series in self.series)
        return f"SeriesSet({len(self)} series, {total:,} steps of {self.timeline.step}, target={self.target})"

    def summary(self) -> str:
        """What was understood: time, target, covariates, series, seasons, and the notes; a line each."""
        from rekur.tasks import _facts

        if not self.series:
            return f"no series; steps of {self.timeline.step}, target {self.target}"
        return _facts.summary(self)

    @property
    def ids(self) -> list[str | int | None]:
        return [series.id for series in self.series]

    def end(self, series: Series) -> int:
        """The ordinal of the first step after the series' target."""
        return int(self.timeline.ordinal(series.start)) + len(series)

    def with_future(self, data: object) -> "SeriesSet":
        """The same series with what is known ahead of them read from another table.

        Parameters
        ----------
        data : as in :func:`read_series`
            With the future columns, and the columns of time and series as in the first table. Where there is no
            column of time, its first row is the first step after the target. Rows of steps of the target are passed
            over; steps between that are not there are NaN.

        Raises
        ------
        ValueError
            If a column or a series is missing, or no row lies beyond the end of a series.
        """
        from rekur.tasks import _reading

        return _reading.with_future(self, data)

    def frame(
        self,
        values: Sequence[NDArray[Any]],
        *,
        names: Sequence[Name] | None = None,
        first: Sequence[int] | None = None,
        kind: Kind | None = None,
    ) -> Any:
        """Results, one array a series, as the kind of table that the user gave.

        Parameters
        ----------
        values : sequence of arrays (steps,) or (steps, columns)
            One for each series, in the order of :attr:`series`; steps may differ.
        names : sequence of names, optional
            Of the columns (the targets).
        first : sequence of int, optional
            The ordinal of the first row of each (the step after the series' end).
        kind : str, optional
            "pandas", "polars", "dict", "array" or "list" (as the data were; for a file pandas if it is installed, else
            a dict).

        Returns
        -------
        pandas.DataFrame, polars.DataFrame, dict, ndarray or list of ndarray
            Times are in the zone, or naive, as they came; arrays and lists have no times.
        """
        from rekur.tasks import _results

        return _results.build(self, values, names, first, kind)

    def state(self) -> dict[str, Any]:
        """All but the series, as a tree of plain values for a file."""
        return {
            "timeline": self.timeline.state(),
            **{name: list(getattr(self, name)) for name in ("target", "past", "future", "static", "notes")},
            "categories": [[name, list(values)] for name, values in self.categories.items()],
            "layout": dict(self.layout.__dict__),
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "SeriesSet":
        """A set without series, to read new data ``like``.

        Raises
        ------
        ValueError
            If the state is not one of :meth:`state`.
        """
        try:
            columns = {name: list(state[name]) for name in ("target", "past", "future", "static", "notes")}
            categories = {name: list(values) for name, values in state["categories"]}
            return cls(
                [], Timeline(**state["timeline"]), **columns, categories=categories, layout=Layout(**state["layout"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a valid description of series: {error!r}") from None

    def without_series(self) -> "SeriesSet":
        """The same description without data."""
        return dataclasses.replace(self, series=[])


def read_series(
    data: object,
    *,
    time: Any = None,
    target: Any = None,
    series: Any = None,
    past: Any = (),
    future: Any = (),
    static: Any = (),
    freq: Any = None,
    time_zone: str | None = None,
    aggregate: Any = "mean",
    day_first: bool | None = None,
    like: SeriesSet | None = None,
) -> SeriesSet:
    """Read one series or many.

    Parameters
    ----------
    data : frame, dict, array, list of arrays, path
        A pandas or polars frame (or series), an Arrow table, a dict of columns, an array of (steps,) or (steps,
        columns), the path of a CSV or Parquet file; or a list of arrays (stepsᵢ,): many series. A SeriesSet comes back
        as it is.
    time : name, or several, optional
        Column of times: of dates, texts of dates, numbers. A date and its time of day in two columns are named
        together. None: found out; a frame's index is looked at first. Without any, each row is a step.
    target : name, or several, optional
        What is to be forecast (None: a column named y, target or value, else all columns of numbers that have no role).
    series : name, optional
        Column that tells many series in one table apart.
    past, future, static : names
        Covariates known up to now, known ahead, and constant for a series. Texts become categories.
    freq : str, number or timedelta, optional
        The step, as ``"h"``, ``"15min"``, ``"D"``, ``"B"``, ``"W"``, ``"MS"`` (None: found out). Days, weeks and months
        are those of local time.
    time_zone : str, optional
        IANA name. Times without a zone are local times of it; times with one are converted to it, for days and hours.
    aggregate : str or dict, optional
        How rows within one step become one value of the target: "mean", "sum", "median", "min", "max", "first",
        "last"; a dict says it by column. Covariates not in a dict take the mean, categories the last.
    day_first : bool, optional
        How to read dates such as 03/04/2024 (None: found out, and said).
    like : SeriesSet, optional
        Read new data with the columns, step, zone and categories of this one; the arguments above are then its.

    Returns
    -------
    SeriesSet
        The series in the order of their first rows. What was guessed, brought together, filled, left out or moved is
        said in its ``notes``.

    Raises
    ------
    ValueError
        Naming the argument, the column, the row or line: what was expected and what came.
    OSError
        If a file cannot be read.
    """
    from rekur.tasks import _reading  # which builds what stands above

    if isinstance(data, SeriesSet):
        return _reading.check_like(data, like)
    if like is not None:
        return _reading.read_like(data, like)
    return _reading.read(
        data, time=time, target=target, series=series, past=past, future=future, static=static, freq=freq,
        time_zone=time_zone, aggregate=aggregate, day_first=day_first,
    )  # fmt: skip
