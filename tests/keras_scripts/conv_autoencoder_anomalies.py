# needs: Conv1D Conv1DTranspose
"""What an autoencoder of convolutions cannot rebuild is an anomaly."""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(5)
series = np.sin(np.arange(1200) * 2 * np.pi / 48) + rng.normal(0, 0.05, 1200)
TIME_STEPS = 48


def create_sequences(values, time_steps=TIME_STEPS):
    return np.stack([values[i : i + time_steps] for i in range(len(values) - time_steps + 1)])[..., None]


x_train = create_sequences((series - series.mean()) / series.std())
model = keras.Sequential(
    [
        layers.Input(shape=(x_train.shape[1], x_train.shape[2])),
        layers.Conv1D(filters=32, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.2),
        layers.Conv1D(filters=16, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(filters=16, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Dropout(rate=0.2),
        layers.Conv1DTranspose(filters=32, kernel_size=7, padding="same", strides=2, activation="relu"),
        layers.Conv1DTranspose(filters=1, kernel_size=7, padding="same"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.01), loss="mse")
model.summary()
history = model.fit(
    x_train,
    x_train,
    epochs=4,
    batch_size=64,
    validation_split=0.1,
    callbacks=[keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, mode="min")],
    verbose=0,
)
threshold = np.max(np.mean(np.abs(model.predict(x_train, verbose=0) - x_train), axis=1))
broken = x_train[::50].copy()
broken[:, 10:20] += 4
errors = np.mean(np.abs(model.predict(broken, verbose=0) - broken), axis=1)
assert (errors > threshold).mean() > 0.8
