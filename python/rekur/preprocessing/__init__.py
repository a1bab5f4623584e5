"""Keras's older names of what :mod:`rekur.utils` has."""

from rekur.data.timeseries import timeseries_dataset_from_array
from rekur.preprocessing import sequence, text

__all__ = ["sequence", "text", "timeseries_dataset_from_array"]
