# Keras needs: tensorflow
"""The weather of some hours ahead: windows by timeseries_dataset_from_array, callbacks, a plot of a few forecasts."""

import numpy as np

import rekur as keras

rng = np.random.default_rng(0)
hours = np.arange(1500)
temperature = 10 + 8 * np.sin(hours * 2 * np.pi / 24) + rng.normal(0, 0.5, hours.size)
pressure = 1000 + 5 * np.cos(hours * 2 * np.pi / 48) + rng.normal(0, 0.3, hours.size)
features = np.stack([temperature, pressure], axis=1).astype("float32")

split_fraction = 0.715
train_split = int(split_fraction * features.shape[0])
step, past, future, learning_rate, batch_size, epochs = 3, 72, 12, 0.01, 64, 5


def normalize(data, train_split):
    data_mean = data[:train_split].mean(axis=0)
    data_std = data[:train_split].std(axis=0)
    return (data - data_mean) / data_std


features = normalize(features, train_split)
train_data, val_data = features[:train_split], features[train_split:]

start, end = past + future, past + future + train_split
x_train, y_train = train_data, features[start:end][:, [0]]
sequence_length = int(past / step)
dataset_train = keras.preprocessing.timeseries_dataset_from_array(
    x_train, y_train, sequence_length=sequence_length, sampling_rate=step, batch_size=batch_size
)

x_end = len(val_data) - past - future
label_start = train_split + past + future
x_val, y_val = val_data[:x_end], features[label_start:][:, [0]]
dataset_val = keras.preprocessing.timeseries_dataset_from_array(
    x_val, y_val, sequence_length=sequence_length, sampling_rate=step, batch_size=batch_size
)
for batch in dataset_train.take(1):
    inputs, targets = batch
assert inputs.numpy().shape == (batch_size, sequence_length, 2) and targets.numpy().shape == (batch_size, 1)

inputs = keras.layers.Input(shape=(inputs.shape[1], inputs.shape[2]))
lstm_out = keras.layers.LSTM(16)(inputs)
outputs = keras.layers.Dense(1)(lstm_out)
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=learning_rate), loss="mse")

path_checkpoint = "model_checkpoint.weights.h5" if keras.__name__ == "keras" else "checkpoint.safetensors"
es_callback = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)
modelckpt_callback = keras.callbacks.ModelCheckpoint(
    monitor="val_loss", filepath=path_checkpoint, verbose=0, save_weights_only=True, save_best_only=True
)
history = model.fit(
    dataset_train,
    epochs=epochs,
    validation_data=dataset_val,
    callbacks=[es_callback, modelckpt_callback],
    verbose=0,
)
assert min(history.history["val_loss"]) < 0.1
for x, y in dataset_val.take(2):
    forecast = model.predict(x, verbose=0)[0]
    assert abs(forecast - y[0].numpy()).max() < 2
    assert x[0][:, 1].numpy().shape == (sequence_length,)
