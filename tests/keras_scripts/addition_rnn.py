# needs: RepeatVector
"""Sums of two numbers as characters: an encoder, its last output repeated, a decoder."""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(2)
DIGITS, chars = 2, "0123456789+ "
MAXLEN = DIGITS + 1 + DIGITS
index = {c: i for i, c in enumerate(chars)}


def encode(text, length):
    x = np.zeros((length, len(chars)))
    for i, c in enumerate(text):
        x[i, index[c]] = 1
    return x


pairs = rng.integers(0, 10**DIGITS, size=(600, 2))
x = np.array([encode(f"{a}+{b}".ljust(MAXLEN)[::-1], MAXLEN) for a, b in pairs])
y = np.array([encode(str(a + b).ljust(DIGITS + 1), DIGITS + 1) for a, b in pairs])

model = keras.Sequential()
model.add(layers.Input((MAXLEN, len(chars))))
model.add(layers.LSTM(64))
model.add(layers.RepeatVector(DIGITS + 1))
for _ in range(1):
    model.add(layers.LSTM(64, return_sequences=True))
model.add(layers.Dense(len(chars), activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.summary()
history = model.fit(x[:540], y[:540], batch_size=32, epochs=8, validation_data=(x[540:], y[540:]), verbose=0)
assert history.history["accuracy"][-1] > history.history["accuracy"][0]
preds = np.argmax(model.predict(x[540:550], verbose=0), axis=-1)
assert preds.shape == (10, DIGITS + 1)
