"""Keras's older names of what :mod:`rekur.utils` has."""

from rekur.preprocessing import sequence

__all__ = ["sequence"]
