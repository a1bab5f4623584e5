"""Layers: what a model is made of. A layer object is data; the engine does the arithmetic."""

from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute
from rekur.layers.attention import AdditiveAttention, Attention, GroupQueryAttention, MultiHeadAttention
from rekur.layers.base import Input, InputLayer, Layer, SymbolicTensor
from rekur.layers.cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from rekur.layers.core import (
    Activation,
    Add,
    Affine,
    Concatenate,
    Dense,
    Divide,
    Dropout,
    Embedding,
    Flip,
    LayerNormalization,
    Masking,
    Multiply,
    Rescaling,
    Slice,
    Step,
    Subtract,
    add,
    concatenate,
    divide,
    multiply,
    subtract,
)
from rekur.layers.distributed import FoldTime, TimeDistributed, UnfoldTime
from rekur.layers.matrix import MLSTM, GatedLinearAttention
from rekur.layers.merging import Average, Dot, Maximum, Minimum, average, dot, maximum, minimum
from rekur.layers.noise import (
    ActivityRegularization,
    AlphaDropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
)
from rekur.layers.normalizing import BatchNormalization, RMSNormalization
from rekur.layers.pointwise import Lambda
from rekur.layers.position import PositionEmbedding, RotaryEmbedding, SinePositionEncoding
from rekur.layers.rectifiers import ELU, Identity, LeakyReLU, PReLU, ReLU, Softmax, UnitNormalization
from rekur.layers.recurrence import Bidirectional
from rekur.layers.recurrent import GRU, LSTM, SimpleRNN
from rekur.layers.rnn import RNN
from rekur.layers.selective import SelectiveSSM

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "MLSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "Affine",
    "AlphaDropout",
    "Attention",
    "Average",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Dense",
    "Divide",
    "Dot",
    "Dropout",
    "Embedding",
    "Flip",
    "FoldTime",
    "GRUCell",
    "GatedLinearAttention",
    "GaussianDropout",
    "GaussianNoise",
    "GroupQueryAttention",
    "Identity",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "PReLU",
    "PositionEmbedding",
    "RMSNormalization",
    "ReLU",
    "Rescaling",
    "RotaryEmbedding",
    "SelectiveSSM",
    "SimpleRNN",
    "SimpleRNNCell",
    "SinePositionEncoding",
    "Slice",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "Step",
    "Subtract",
    "SymbolicTensor",
    "TimeDistributed",
    "UnfoldTime",
    "UnitNormalization",
    "add",
    "average",
    "concatenate",
    "divide",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]

# The closed list a spec names its layers from.
TYPES: dict[str, type[Layer]] = {
    c.type: c
    for c in (
        InputLayer, SimpleRNN, LSTM, GRU, RNN, Bidirectional, GatedLinearAttention, MLSTM,
        SelectiveSSM, Attention, AdditiveAttention, MultiHeadAttention, GroupQueryAttention,
        PositionEmbedding, SinePositionEncoding, RotaryEmbedding,
        Dense, Activation, Dropout, Embedding, Masking, LayerNormalization, Affine, Rescaling, Step, Slice, Flip,
        FoldTime, UnfoldTime,
        Concatenate, Add, Multiply, Subtract, Divide, Lambda,
        Maximum, Minimum, Average, Dot, ReLU, LeakyReLU, ELU, PReLU, Softmax, Identity, UnitNormalization,
        RMSNormalization, BatchNormalization, SpatialDropout1D, GaussianNoise, GaussianDropout, AlphaDropout,
        ActivityRegularization,
    )
}  # fmt: skip


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "layer", name)
