"""Models in Keras's words, made by Keras or by rekur alike: what files of Keras are tested with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Made = tuple[Any, list[np.ndarray]]  # a model, and inputs


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype("float32")


def _ids(rows: int, steps: int, count: int) -> np.ndarray:
    found = np.random.default_rng(8).integers(1, count, (rows, steps)).astype("int32")
    found[0, 3:] = 0
    return found


def recurrent(k: Any) -> Made:
    L = k.layers
    x = k.Input((6, 3))
    y = L.LSTM(5, return_sequences=True, dropout=0.2, recurrent_dropout=0.1, name="first")(x)
    y = L.GRU(4, return_sequences=True, reset_after=False, kernel_regularizer="l2")(y)
    y = L.GRU(4, return_sequences=True, go_backwards=True, use_bias=False)(y)
    y = L.SimpleRNN(3, activation="relu", return_sequences=True)(y)
    return k.Model(x, L.Dense(2, activation="softmax")(y), name="recurrent"), [_floats(2, 6, 3)]


def sequential(k: Any) -> Made:
    L = k.layers
    layers = [
        k.Input((None,), dtype="int32"), L.Embedding(9, 4, mask_zero=True), L.Bidirectional(L.LSTM(3)),
        L.Dropout(0.3), L.Dense(4, activation="gelu"), L.LeakyReLU(negative_slope=0.2), L.Dense(1, use_bias=False),
    ]  # fmt: skip
    return k.Sequential(layers, name="classifier"), [_ids(4, 6, 9)]


def directions(k: Any) -> Made:
    L = k.layers
    x = k.Input((5, 3))
    outs = []
    for mode in ("concat", "sum", "mul", "ave"):
        outs.append(L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode=mode)(x))
    other = L.Bidirectional(
        L.LSTM(4, return_sequences=True), backward_layer=L.GRU(4, return_sequences=True, go_backwards=True)
    )(x)
    return k.Model(x, L.Concatenate()([*outs, other])), [_floats(2, 5, 3)]


def masked(k: Any) -> Made:
    L = k.layers
    x = k.Input((6, 3))
    m = L.Masking()(x)
    y, h = L.GRU(4, return_sequences=True, return_state=True)(m)
    z = L.LSTM(4, return_sequences=True)(y)
    z = L.TimeDistributed(L.Dense(3, activation="tanh"))(z)
    z = L.Bidirectional(L.LSTM(2, return_sequences=True))(z)
    data = _floats(3, 6, 3)
    data[0, 4:] = 0
    data[1, 0] = 0
    return k.Model(x, [L.LSTM(3)(z), h]), [data]


def states(k: Any) -> Made:
    """An encoder and a decoder, with a list of inputs, and layers that are called twice."""
    L = k.layers
    a, b = k.Input((None, 3), name="source"), k.Input((None, 2), name="target")
    _, h, c = L.LSTM(4, return_state=True)(a)
    y = L.LSTM(4, return_sequences=True)(b, initial_state=[h, c])
    shared = L.Dense(4, activation="tanh", name="shared")
    y, last = shared(y), shared(h)
    y = L.Attention(use_scale=True)([y, shared(L.Dense(4)(a)), shared(L.Dense(4)(a))])
    return k.Model([a, b], [y, last]), [_floats(2, 5, 3), _floats(2, 4, 2)]


def nested(k: Any) -> Made:
    L = k.layers
    inner = k.Sequential([k.Input((5, 4)), L.GRU(4, return_sequences=True), L.BatchNormalization(), L.Dense(4)])
    i = k.Input((5, 4))
    deeper = k.Model(i, L.Add()([inner(i), L.LayerNormalization()(i)]), name="deeper")
    x = k.Input((5, 3))
    y = L.Dense(4)(x)
    y = L.Concatenate()([deeper(y), inner(y)])
    return k.Model(x, L.LSTM(2)(y)), [_floats(3, 5, 3)]


def attention(k: Any) -> Made:
    L = k.layers
    x = k.Input((5, 6))
    y = L.MultiHeadAttention(2, 3, value_dim=4)(x, x)
    z = L.MultiHeadAttention(3, 2, use_bias=False, output_shape=6)(y, x, key=x, use_causal_mask=True)
    w = L.GroupQueryAttention(2, 4, 2)(z, y)
    s = L.AdditiveAttention()([w, x])
    return k.Model(x, L.Average()([s, L.Attention(score_mode="concat")([w, y])])), [_floats(2, 5, 6)]


def windows(k: Any) -> Made:
    L = k.layers
    x = k.Input((12, 3))
    y = L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu")(x)
    y = L.SeparableConv1D(4, 3, padding="same", depth_multiplier=2)(y)
    y = L.DepthwiseConv1D(2, strides=1)(y)
    y = L.MaxPooling1D(2)(L.SpatialDropout1D(0.2)(y))
    y = L.Conv1DTranspose(4, 2, strides=2)(L.ZeroPadding1D((1, 0))(y))
    y = L.Cropping1D((1, 1))(L.UpSampling1D(2)(y))
    y = L.AveragePooling1D(2, padding="same")(y)
    one, two = L.GlobalMaxPooling1D()(y), L.GlobalAveragePooling1D()(y)
    return k.Model(x, [L.Subtract()([one, two]), L.Flatten()(L.Permute((2, 1))(y))]), [_floats(2, 12, 3)]


def pointwise(k: Any) -> Made:
    L = k.layers
    x = k.Input((6,))
    y = L.PReLU()(L.Rescaling(0.5, offset=0.1)(x))
    y = L.ELU(alpha=0.5)(L.ReLU(max_value=3.0)(y))
    y = L.UnitNormalization()(L.RMSNormalization()(y))
    y = L.Reshape((3, 2))(y)
    y = L.Softmax()(L.GaussianNoise(0.1)(y))
    y = L.Dot(axes=2)([y, y])
    y = L.Activation("selu")(L.BatchNormalization(scale=False)(y))
    y = L.LayerNormalization(center=False, epsilon=1e-5)(y)
    z = L.RepeatVector(3)(L.Dense(3, kernel_constraint="non_neg")(x))
    return k.Model(x, L.Multiply()([L.Maximum()([y, z]), L.Minimum()([y, z])])), [_floats(3, 6)]


def stacked(k: Any) -> Made:
    L = k.layers
    x = k.Input((5, 3))
    y = L.RNN([L.LSTMCell(4), L.GRUCell(3), L.LSTMCell(2, use_bias=False)], return_sequences=True)(x)
    y = L.RNN(L.GRUCell(3, reset_after=False), return_sequences=True)(y)
    return k.Model(x, L.RNN(L.SimpleRNNCell(2))(y)), [_floats(2, 5, 3)]


def images(k: Any) -> Made:
    L = k.layers
    x = k.Input((4, 6, 5, 2))
    y = L.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(x)
    y = L.ConvLSTM2D(2, 2)(y)
    line = k.Input((3, 6, 2))
    return k.Model([x, line], [y, L.ConvLSTM1D(2, 3, use_bias=False)(line)]), [
        _floats(2, 4, 6, 5, 2),
        _floats(2, 3, 6, 2),
    ]


def frozen(k: Any) -> Made:
    L = k.layers
    inner = k.Sequential([k.Input((4, 3)), L.Dense(3), L.BatchNormalization(), L.Dense(3)], name="inner")
    inner.layers[0].trainable = False
    x = k.Input((4, 3))
    return k.Model(x, L.LSTM(2)(inner(x))), [_floats(2, 4, 3)]


MODELS: dict[str, Callable[[Any], Made]] = {
    f.__name__: f
    for f in (recurrent, sequential, directions, masked, states, nested, attention, windows, pointwise, stacked, images,
              frozen)
}  # fmt: skip


def randomised(model: Any) -> Any:
    """All weights other than their initial values; variances stay positive."""
    rng = np.random.default_rng(3)
    model.set_weights([np.abs(0.5 * rng.standard_normal(w.shape)) + 0.1 * (w.ndim == 1) for w in model.get_weights()])
    return model
