# needs: Masking
"""Rows of several lengths: padded ids, an Embedding that masks, a Masking layer, the mask handed on by name."""

import numpy as np

import rekur as keras
from rekur import layers

raw_inputs = [[711, 632, 71], [73, 8, 2, 55, 927], [83, 91, 1, 645, 125, 235]]
padded_inputs = keras.utils.pad_sequences(raw_inputs, padding="post")
assert padded_inputs.shape == (3, 6)

model = keras.Sequential(
    [keras.Input(shape=(None,)), layers.Embedding(input_dim=1000, output_dim=16, mask_zero=True), layers.LSTM(8)]
)
post = model.predict(padded_inputs, verbose=0)
pre = model.predict(keras.utils.pad_sequences(raw_inputs, padding="pre"), verbose=0)
np.testing.assert_allclose(post, pre, atol=1e-6)
for row, ids in zip(post, raw_inputs, strict=True):
    np.testing.assert_allclose(row, model.predict(np.array([ids]), verbose=0)[0], atol=1e-6)

inputs = keras.Input(shape=(None,), dtype="int32")
x = layers.Embedding(input_dim=1000, output_dim=16, mask_zero=True)(inputs)
x = layers.LSTM(8, return_sequences=True)(x)
x = layers.Bidirectional(layers.GRU(4))(x)
outputs = layers.Dense(1)(x)
model = keras.Model(inputs, outputs)
model.compile(optimizer="adam", loss="mse")
model.fit(padded_inputs, np.array([[0.0], [1.0], [2.0]]), epochs=2, verbose=0)

masking_layer = layers.Masking(mask_value=0.0)
inputs = keras.Input(shape=(6, 1))
model = keras.Model(inputs, layers.GRU(3)(masking_layer(inputs)))
sequence = np.array([[1, 2, 3, 0, 0, 0], [4, 0, 5, 6, 0, 7]], dtype="float32")[..., None]
squeezed = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 0, 0]], dtype="float32")[..., None]
np.testing.assert_allclose(model.predict(sequence, verbose=0), model.predict(squeezed, verbose=0), atol=1e-6)
