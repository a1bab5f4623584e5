"""Layers: what a model is made of. A layer object is data; the engine does the arithmetic."""

from rekur.layers.base import Input, InputLayer, Layer, SymbolicTensor
from rekur.layers.core import (
    Activation,
    Add,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Multiply,
    add,
    concatenate,
    multiply,
)
from rekur.layers.recurrent import GRU, LSTM, Bidirectional, SimpleRNN

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Add",
    "Bidirectional",
    "Concatenate",
    "Dense",
    "Dropout",
    "Embedding",
    "Input",
    "InputLayer",
    "Layer",
    "Multiply",
    "SimpleRNN",
    "SymbolicTensor",
    "add",
    "concatenate",
    "multiply",
]

# The closed list a spec names its layers from.
TYPES: dict[str, type[Layer]] = {
    c.type: c
    for c in (
        InputLayer, SimpleRNN, LSTM, GRU, Bidirectional,
        Dense, Activation, Dropout, Embedding, Concatenate, Add, Multiply,
    )
}  # fmt: skip
