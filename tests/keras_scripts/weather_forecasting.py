"""A value of a weather station some hours ahead, from windows of several series: one LSTM and a Dense layer."""

import numpy as np

import rekur as keras

rng = np.random.default_rng(0)
hours = np.arange(1200)
temperature = 10 + 8 * np.sin(hours * 2 * np.pi / 24) + rng.normal(0, 0.5, hours.size)
pressure = 1000 + 5 * np.cos(hours * 2 * np.pi / 48) + rng.normal(0, 0.3, hours.size)
humidity = 60 - 2 * temperature + rng.normal(0, 1, hours.size)
features = np.stack([temperature, pressure, humidity], axis=1)

split = int(0.7 * len(features))
mean, std = features[:split].mean(axis=0), features[:split].std(axis=0)
features = (features - mean) / std

past, future, step = 36, 6, 3


def windows(begin, end):
    starts = range(begin, end - past - future)
    x = np.stack([features[k : k + past : step] for k in starts])
    return x, np.array([features[k + past + future - 1, 0] for k in starts])


x_train, y_train = windows(0, split)
x_val, y_val = windows(split, len(features))

inputs = keras.layers.Input(shape=(x_train.shape[1], x_train.shape[2]))
lstm_out = keras.layers.LSTM(32)(inputs)
outputs = keras.layers.Dense(1)(lstm_out)

model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.01), loss="mse")
model.summary()

es_callback = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)
history = model.fit(
    x_train,
    y_train,
    batch_size=64,
    epochs=6,
    validation_data=(x_val, y_val),
    callbacks=[es_callback],
    verbose=0,
)
assert min(history.history["val_loss"]) < 0.25
assert model.predict(x_val[:5], verbose=0).shape == (5, 1)
