# needs: RepeatVector TimeDistributed
"""Several values of a series ahead: the encoder's last output repeated, a decoder, a Dense layer at each step."""

import numpy as np

import rekur as keras
from rekur.layers import LSTM, Dense, Input, RepeatVector, TimeDistributed
from rekur.models import Sequential

series = np.sin(np.arange(500) * 0.25)
n_in, n_out = 14, 5
X = np.stack([series[i : i + n_in] for i in range(len(series) - n_in - n_out)])[..., None]
y = np.stack([series[i + n_in : i + n_in + n_out] for i in range(len(X))])[..., None]

model = Sequential()
model.add(Input(shape=(n_in, 1)))
model.add(LSTM(32, activation="relu"))
model.add(RepeatVector(n_out))
model.add(LSTM(32, activation="relu", return_sequences=True))
model.add(TimeDistributed(Dense(16, activation="relu")))
model.add(TimeDistributed(Dense(1)))
model.compile(loss="mse", optimizer=keras.optimizers.Adam(0.005))
history = model.fit(X, y, epochs=8, batch_size=16, verbose=0)
assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]
assert model.predict(X[:2], verbose=0).shape == (2, n_out, 1)
