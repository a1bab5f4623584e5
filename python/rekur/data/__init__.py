"""Data for fit, evaluate and predict: windows of long series, batches of one's own, real series.

``windows(series, length, horizon)`` reads windows of series of any size where they stand.

Real hourly series come from data packages already on the machine. Nothing is downloaded.
``load("jfk")`` gives an :class:`Hourly`; ``forecast_windows(series, ...)`` cuts it into supervised windows whose
training, validation and test parts follow each other in time.
"""

from rekur.data.buckets import Buckets, bucket
from rekur.data.forecast import Part, Scaling, Windows, forecast_windows
from rekur.data.hourly import Hourly, MissingData, load, names
from rekur.data.text import TextVectorization
from rekur.data.timeseries import timeseries_dataset_from_array
from rekur.data.window_set import WindowSet, windows
from rekur.training.batch import Batch
from rekur.training.sources import RowSource

__all__ = [
    "Batch",
    "Buckets",
    "Hourly",
    "MissingData",
    "Part",
    "RowSource",
    "Scaling",
    "TextVectorization",
    "WindowSet",
    "Windows",
    "bucket",
    "forecast_windows",
    "load",
    "names",
    "timeseries_dataset_from_array",
    "windows",
]
