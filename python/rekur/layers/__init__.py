"""Layers: what a model is made of. A layer object is data; the engine does the arithmetic."""

from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute
from rekur.layers.added import AddLoss
from rekur.layers.attention import AdditiveAttention, Attention, GroupQueryAttention, MultiHeadAttention
from rekur.layers.attention_rnn import AttentionRNN
from rekur.layers.base import Layer
from rekur.layers.bidirectional import Bidirectional
from rekur.layers.broadcasting import Broadcast
from rekur.layers.cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from rekur.layers.conv_lstm import ConvLSTM1D, ConvLSTM2D
from rekur.layers.convolution import Conv1D, Conv1DTranspose, DepthwiseConv1D, SeparableConv1D
from rekur.layers.core import Activation, Dense, Flip, Rescaling, Slice, Step
from rekur.layers.crf import CRF
from rekur.layers.distributed import FoldTime, TimeDistributed, UnfoldTime
from rekur.layers.embedding import Embedding, Masking
from rekur.layers.inputs import Input, InputLayer
from rekur.layers.loop import Loop
from rekur.layers.matrix import MLSTM, GatedLinearAttention
from rekur.layers.merging import (
    Add,
    Average,
    Concatenate,
    Divide,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    divide,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from rekur.layers.noise import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
)
from rekur.layers.normalizing import Affine, BatchNormalization, LayerNormalization, RMSNormalization
from rekur.layers.parameter import Parameter
from rekur.layers.pointwise import Lambda
from rekur.layers.pooling import AveragePooling1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D
from rekur.layers.position import PositionEmbedding, RotaryEmbedding, SinePositionEncoding
from rekur.layers.rectifiers import ELU, Identity, LeakyReLU, PReLU, ReLU, Softmax, UnitNormalization
from rekur.layers.recurrent import GRU, LSTM, SimpleRNN
from rekur.layers.reshaping import (
    Cropping1D,
    Flatten,
    Padding1D,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    ZeroPadding1D,
)
from rekur.layers.rnn import RNN
from rekur.layers.scaling import Normalization
from rekur.layers.selective import SelectiveSSM
from rekur.layers.symbolic import SymbolicTensor
from rekur.layers.wrapper import Wrapper

# Keras's other names.
Convolution1D = Conv1D
Convolution1DTranspose = Conv1DTranspose
SeparableConvolution1D = SeparableConv1D
MaxPool1D = MaxPooling1D
AvgPool1D = AveragePooling1D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalAvgPool1D = GlobalAveragePooling1D

__all__ = [
    "CRF",
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
    "AttentionRNN",
    "Average",
    "AveragePooling1D",
    "AvgPool1D",
    "BatchNormalization",
    "Bidirectional",
    "Broadcast",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "Convolution1D",
    "Convolution1DTranspose",
    "Cropping1D",
    "Dense",
    "DepthwiseConv1D",
    "Divide",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "Flip",
    "FoldTime",
    "GRUCell",
    "GatedLinearAttention",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "GroupQueryAttention",
    "Identity",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Loop",
    "Masking",
    "MaxPool1D",
    "MaxPooling1D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Padding1D",
    "Parameter",
    "Permute",
    "PositionEmbedding",
    "RMSNormalization",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "RotaryEmbedding",
    "SelectiveSSM",
    "SeparableConv1D",
    "SeparableConvolution1D",
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
    "UpSampling1D",
    "Wrapper",
    "ZeroPadding1D",
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
        InputLayer, SimpleRNN, LSTM, GRU, RNN, Bidirectional, ConvLSTM1D, ConvLSTM2D, GatedLinearAttention, MLSTM,
        SelectiveSSM, Attention, AdditiveAttention, MultiHeadAttention, GroupQueryAttention,
        PositionEmbedding, SinePositionEncoding, RotaryEmbedding,
        Dense, Activation, Dropout, Embedding, Masking, LayerNormalization, Affine, Rescaling, Step, Slice, Flip,
        FoldTime, UnfoldTime,
        Conv1D, DepthwiseConv1D, SeparableConv1D, Conv1DTranspose,
        MaxPooling1D, AveragePooling1D, GlobalMaxPooling1D, GlobalAveragePooling1D,
        UpSampling1D, Cropping1D, ZeroPadding1D, Padding1D, Flatten, Reshape, Permute, RepeatVector,
        Broadcast, Parameter, Concatenate, Add, Multiply, Subtract, Divide, Lambda,
        Maximum, Minimum, Average, Dot, ReLU, LeakyReLU, ELU, PReLU, Softmax, Identity, UnitNormalization,
        RMSNormalization, BatchNormalization, SpatialDropout1D, GaussianNoise, GaussianDropout, AlphaDropout,
        ActivityRegularization, AddLoss, Normalization, CRF, Loop, AttentionRNN,
    )
}  # fmt: skip


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        if name == "TextVectorization":  # where Keras has it; it is no layer of a model
            from rekur.data.text import TextVectorization

            return TextVectorization
        no_attribute(__name__, "layer", name)

    def __dir__() -> list[str]:
        return sorted({*globals(), "TextVectorization"})
