# needs: Conv1D MaxPooling1D Flatten TimeDistributed
"""A series cut into pieces, each read by a convolution, the pieces by an LSTM."""

import numpy as np

import rekur as keras
from rekur.layers import LSTM, Conv1D, Dense, Flatten, Input, MaxPooling1D, TimeDistributed
from rekur.models import Sequential

rng = np.random.default_rng(6)
series = np.sin(np.arange(600) * 0.2) + rng.normal(0, 0.02, 600)
n_steps, n_seq = 8, 2
X = np.stack([series[i : i + n_steps] for i in range(len(series) - n_steps)])
y = series[n_steps:]
X = X.reshape((X.shape[0], n_seq, n_steps // n_seq, 1))

model = Sequential()
model.add(Input(shape=(None, n_steps // n_seq, 1)))
model.add(TimeDistributed(Conv1D(filters=32, kernel_size=1, activation="relu")))
model.add(TimeDistributed(MaxPooling1D(pool_size=2)))
model.add(TimeDistributed(Flatten()))
model.add(LSTM(32, activation="relu"))
model.add(Dense(1))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
history = model.fit(X, y, epochs=8, verbose=0)
assert history.history["loss"][-1] < 0.2 * history.history["loss"][0]
assert model.predict(X[:1], verbose=0).shape == (1, 1)
