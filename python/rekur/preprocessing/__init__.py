"""Keras's older names of what :mod:`rekur.utils` has."""

from rekur.data.timeseries import timeseries_dataset_from_array
from rekur.preprocessing import sequence

__all__ = ["sequence", "timeseries_dataset_from_array"]
