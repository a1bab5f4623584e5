"""Reviews as ids, good or bad: an Embedding and two bidirectional LSTMs."""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(3)
max_features, maxlen = 200, 20
reviews = [rng.integers(10, max_features, size=rng.integers(5, 30)).tolist() for _ in range(300)]
labels = rng.integers(0, 2, size=300)
for review, label in zip(reviews, labels, strict=True):
    review[-3] = 2 + int(label)  # one word tells

inputs = keras.Input(shape=(None,), dtype="int32")
x = layers.Embedding(max_features, 32)(inputs)
x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(x)
x = layers.Bidirectional(layers.LSTM(16))(x)
outputs = layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(inputs, outputs)
model.summary()

x_train = keras.utils.pad_sequences(reviews[:250], maxlen=maxlen)
x_val = keras.utils.pad_sequences(reviews[250:], maxlen=maxlen)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, labels[:250], batch_size=32, epochs=6, validation_data=(x_val, labels[250:]), verbose=0)
assert history.history["val_accuracy"][-1] > 0.85
