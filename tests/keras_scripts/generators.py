"""Batches from a generator with steps_per_epoch, from a PyDataset, with class weights; rows of several lengths."""

import math

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(0)
sequences = rng.normal(size=(256, 20, 3)).astype("float32")
labels = (sequences[:, :, 0].sum(axis=1) > 2).astype("float32")


def batch_generator(x, y, batch_size):
    indices = np.arange(len(x))
    while True:
        np.random.default_rng(1).shuffle(indices)
        for start in range(0, len(x), batch_size):
            excerpt = indices[start : start + batch_size]
            yield x[excerpt], y[excerpt]


class SequenceDataset(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y
        self.batch_size = batch_size
        self.epochs_seen = 0

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, idx):
        low = idx * self.batch_size
        high = min(low + self.batch_size, len(self.x))
        return self.x[low:high], self.y[low:high]

    def on_epoch_end(self):
        self.epochs_seen += 1


def make_model():
    model = keras.Sequential([layers.Input((None, 3)), layers.GRU(16), layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy", metrics=["accuracy"])
    return model


model = make_model()
history = model.fit(
    batch_generator(sequences[:192], labels[:192], 32),
    steps_per_epoch=6,
    epochs=12,
    validation_data=batch_generator(sequences[192:], labels[192:], 32),
    validation_steps=2,
    validation_freq=2,
    shuffle=False,
    verbose=0,
)
assert len(history.history["loss"]) == 12 and len(history.history["val_loss"]) == 6
assert history.history["accuracy"][-1] > 0.8

model = make_model()
train = SequenceDataset(sequences[:192], labels[:192], batch_size=32, workers=2, max_queue_size=4)
model.fit(train, epochs=12, class_weight={0: 1.0, 1: 3.0}, verbose=0)
assert train.epochs_seen >= 12
loss, accuracy = model.evaluate(SequenceDataset(sequences[192:], labels[192:], 32), verbose=0)
assert accuracy > 0.7
predictions = model.predict(SequenceDataset(sequences[192:], labels[192:], 32), verbose=0)
assert predictions.shape == (64, 1)


def ragged_batches():
    while True:
        length = int(rng.integers(5, 20))
        rows = rng.integers(0, 256, 16)
        yield sequences[rows, :length], labels[rows]


model.fit(ragged_batches(), steps_per_epoch=5, shuffle=False, verbose=0)
