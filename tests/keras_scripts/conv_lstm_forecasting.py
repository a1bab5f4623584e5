# needs: ConvLSTM2D BatchNormalization
"""The next frame of a moving square: stacked ConvLSTM2D layers. The last layer is a Dense one of each pixel's channels,
where the original has a Conv3D.
"""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(7)
frames = np.zeros((40, 8, 10, 10, 1), dtype="float32")
for movie in frames:
    row, column = rng.integers(0, 8, size=2)
    down, right = rng.integers(-1, 2, size=2)
    for k, frame in enumerate(movie):
        rows, columns = (row + k * down + np.arange(2)) % 10, (column + k * right + np.arange(2)) % 10
        frame[np.ix_(rows, columns)] = 1
x_train, y_train = frames[:, :-1], frames[:, 1:]

inp = layers.Input(shape=(None, *x_train.shape[2:]))
x = layers.ConvLSTM2D(filters=8, kernel_size=(3, 3), padding="same", return_sequences=True, activation="relu")(inp)
x = layers.BatchNormalization()(x)
x = layers.ConvLSTM2D(filters=8, kernel_size=(1, 1), padding="same", return_sequences=True, activation="relu")(x)
x = layers.Dense(1, activation="sigmoid")(x)
model = keras.models.Model(inp, x)
model.compile(loss=keras.losses.BinaryCrossentropy(), optimizer=keras.optimizers.Adam(0.01))
early_stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=10)
reduce_lr = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=5)
history = model.fit(
    x_train, y_train, batch_size=5, epochs=4, validation_split=0.2, callbacks=[early_stopping, reduce_lr], verbose=0
)
assert history.history["loss"][-1] < history.history["loss"][0]
assert model.predict(x_train[:1], verbose=0).shape == (1, 7, 10, 10, 1)
