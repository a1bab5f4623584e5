"""A stateful LSTM reads a long series a batch at a time: what it knows of the past is in its states."""

import numpy as np

import rekur as keras
from rekur import layers

tsteps, batch_size, epochs = 1, 25, 6
t = np.arange(1000)
wave = (np.cos(2 * np.pi * t / 20) * np.exp(-0.0005 * t)).astype("float32")
x_train = wave[: 39 * batch_size].reshape(-1, batch_size).T[:, :, None]  # a row goes on in the next batch
expected = np.roll(wave, -3)[: 39 * batch_size].reshape(-1, batch_size).T

model = keras.Sequential(
    [
        keras.Input(batch_shape=(batch_size, tsteps, 1)),
        layers.LSTM(20, return_sequences=True, stateful=True),
        layers.LSTM(20, stateful=True),
        layers.Dense(1),
    ]
)
model.compile(loss="mse", optimizer=keras.optimizers.RMSprop(0.005))

columns = x_train.shape[1]
errors = []
for _ in range(epochs):
    x = np.concatenate([x_train[:, k : k + 1] for k in range(columns)])
    y = np.concatenate([expected[:, k] for k in range(columns)])
    history = model.fit(x, y, batch_size=batch_size, epochs=1, shuffle=False, verbose=0)
    errors.append(history.history["loss"][0])
    for layer in model.layers:
        if hasattr(layer, "reset_states"):
            layer.reset_states()
        elif hasattr(layer, "reset_state"):
            layer.reset_state()
assert errors[-1] < errors[0]

predicted = model.predict(x, batch_size=batch_size, verbose=0)
assert predicted.shape == (columns * batch_size, 1)
