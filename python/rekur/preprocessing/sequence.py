"""Keras's older place of ``pad_sequences``."""

from rekur.utils import pad_sequences

__all__ = ["pad_sequences"]
