"""Models: graphs of layers, their weights, their files."""

from rekur.models.model import Model, load_model
from rekur.models.sequential import Sequential

__all__ = ["Model", "Sequential", "load_model"]
