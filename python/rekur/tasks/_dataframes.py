"""Tables of pandas, polars and Arrow."""

from typing import Any

import numpy as np

from rekur.tasks._columns import Column, Name, column_of_objects, time_column, whole, zone_name
from rekur.tasks._tables import Table


def of_pandas(data: Any) -> Table:
    if not hasattr(data, "columns"):
        data = data.to_frame() if hasattr(data, "to_frame") else data
    if not hasattr(data, "columns"):
        raise ValueError(f"data: expected a pandas DataFrame or Series, got {type(data).__name__}")
    levels = data.index.nlevels
    trivial = levels == 1 and type(data.index).__name__ == "RangeIndex" and data.index.name is None
    notes: list[str] = []
    if levels > 1:
        data = data.reset_index()
    names = [name if isinstance(name, (str, int)) else _flat(name) for name in data.columns.tolist()]

    def reader(place: int) -> Column:
        return column_of_pandas(names[place], data.iloc[:, place])

    index = None
    if levels == 1 and not trivial:
        name = data.index.name if isinstance(data.index.name, (str, int)) else "index"
        index = column_of_pandas(name, data.index.to_series())
    return Table(names, len(data), "pandas", reader, notes, index)


def _flat(name: object) -> str:
    return "_".join(str(part) for part in name) if isinstance(name, tuple) else str(name)


def column_of_pandas(name: Name, series: Any) -> Column:
    dtype = series.dtype
    if type(dtype).__name__ == "PeriodDtype":
        series = series.dt.to_timestamp() if hasattr(series, "dt") else series.to_timestamp()
        dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    if kind == "M" or "timestamp" in str(dtype):
        zone = getattr(dtype, "tz", None) or getattr(getattr(series, "dt", None), "tz", None)
        if zone is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        missing = series.isna().to_numpy(bool)
        return time_column(name, series.to_numpy("M8[us]" if _wide(series) else "M8[ns]"), missing, zone_name(zone))
    if kind == "m":
        return Column(name, "number", series.dt.total_seconds().to_numpy(np.float64))
    if kind == "b":
        return Column(name, "bool", series.to_numpy(np.float64, na_value=np.nan))
    if kind in "iuf" and not bool(series.isna().any()):
        return Column(name, "number", whole(series.to_numpy(np.float64 if kind == "f" else None)))
    if kind in "iuf":
        return Column(name, "number", series.to_numpy(np.float64, na_value=np.nan))
    if kind == "c":
        raise ValueError(f"column {name!r}: complex numbers are no values of a series")
    return column_of_objects(name, series.astype(object).where(series.notna(), None).tolist())


def _wide(series: Any) -> bool:
    """Whether times may lie outside what nanoseconds hold."""
    return "[ns" not in str(series.dtype)


def column_of_series(name: Name, values: Any) -> Column:
    """The column of a pandas or polars series, or a pandas index."""
    if type(values).__module__.partition(".")[0] == "polars":
        return column_of_polars(str(name), values)
    return column_of_pandas(name, values if hasattr(values, "iloc") else values.to_series())


def of_polars(data: Any) -> Table:
    if hasattr(data, "collect"):
        data = data.collect()
    if not hasattr(data, "columns"):
        if not hasattr(data, "to_frame"):
            raise ValueError(f"data: expected a polars DataFrame or Series, got {type(data).__name__}")
        data = data.to_frame()
    names = list(data.columns)
    return Table(names, data.height, "polars", lambda place: column_of_polars(names[place], data.to_series(place)))


def column_of_polars(name: str, series: Any) -> Column:
    import polars

    dtype = series.dtype
    missing = series.is_null().to_numpy()
    if isinstance(dtype, polars.Datetime) or dtype == polars.Date:
        zone = getattr(dtype, "time_zone", None)
        if zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return time_column(name, series.to_numpy(), missing, zone)
    if isinstance(dtype, polars.Duration):
        return Column(
            name, "number", series.dt.total_nanoseconds().cast(polars.Float64).fill_null(np.nan).to_numpy() / 1e9
        )
    if dtype == polars.Boolean:
        return Column(name, "bool", series.cast(polars.Float64).fill_null(np.nan).to_numpy())
    if dtype.is_integer() and not missing.any():
        return Column(name, "number", whole(series.to_numpy()))
    if dtype.is_numeric():
        return Column(name, "number", series.cast(polars.Float64).fill_null(np.nan).to_numpy())
    return column_of_objects(name, series.to_list())


def of_arrow(data: Any) -> Table:
    try:
        import polars
    except ImportError:
        if not hasattr(data, "to_pandas"):
            message = 'data: an Arrow table is read by polars: pip install "rekur[polars]"'
            raise ImportError(message, name="polars") from None
        return of_pandas(data.to_pandas())
    return of_polars(
        polars.DataFrame(data) if hasattr(data, "__arrow_c_stream__") else polars.from_pandas(data.to_pandas())
    )
