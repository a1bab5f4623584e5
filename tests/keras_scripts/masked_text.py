"""Texts of several lengths, filled up at their beginning; the mask says what is text."""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(2)
vocabulary, longest = 40, 24
texts = [rng.integers(5, vocabulary, size=rng.integers(4, longest)).tolist() for _ in range(400)]
labels = rng.integers(0, 2, size=400)
for text, label in zip(texts, labels, strict=True):
    text[0] = 1 + int(label)  # the first word tells, however long the text is

padded = keras.utils.pad_sequences(texts, maxlen=longest, padding="pre")
model = keras.Sequential(
    [
        layers.Embedding(vocabulary, 16, mask_zero=True),
        layers.Bidirectional(layers.LSTM(12, dropout=0.1)),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy"])
stopping = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
history = model.fit(padded[:320], labels[:320], epochs=12, batch_size=32, verbose=0, callbacks=[stopping],
                    validation_data=(padded[320:], labels[320:]))  # fmt: skip
assert max(history.history["val_accuracy"]) > 0.9

# A text gives the same filled up further, and at its end.
short = np.array([texts[0]])
np.testing.assert_allclose(model.predict(short, verbose=0), model.predict(padded[:1], verbose=0), atol=1e-5)
post = keras.utils.pad_sequences(texts[:1], maxlen=longest + 5, padding="post")
np.testing.assert_allclose(model.predict(post, verbose=0), model.predict(padded[:1], verbose=0), atol=1e-5)
