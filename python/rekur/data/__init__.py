"""Real hourly series to learn from, read from data packages already on the machine. Nothing is downloaded.

``load("jfk")`` gives an :class:`Hourly`; ``forecast_windows(series, ...)`` cuts it into supervised windows whose
training, validation and test parts follow each other in time.
"""

from rekur.data.hourly import Hourly, MissingData, load, names
from rekur.data.windows import Part, Scaling, Windows, forecast_windows
from rekur.training.batch import Batch
from rekur.training.sources import RowSource

__all__ = [
    "Batch",
    "Hourly",
    "MissingData",
    "Part",
    "RowSource",
    "Scaling",
    "Windows",
    "forecast_windows",
    "load",
    "names",
]
