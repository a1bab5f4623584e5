"""Word vectors from elsewhere in an Embedding that stays as it is, and a convolutional classifier behind it."""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(5)
words, width, classes = 60, 16, 4
vectors = {f"word{k}": rng.normal(size=width) for k in range(words)}  # what a file of word vectors holds
voc = ["", "[UNK]", *(f"word{k}" for k in range(0, words + 6))]
word_index = dict(zip(voc, range(len(voc)), strict=True))

num_tokens, hits, misses = len(voc) + 2, 0, 0
embedding_matrix = np.zeros((num_tokens, width))
for word, i in word_index.items():
    vector = vectors.get(word)
    if vector is not None:
        embedding_matrix[i] = vector
        hits += 1
    else:
        misses += 1
assert (hits, misses) == (60, 8)

texts = rng.integers(2 + classes, len(voc) - 6, size=(400, 30))
labels = rng.integers(0, classes, size=400)
texts[np.arange(400), rng.integers(3, 25, 400)] = 2 + labels  # a word of its class

embedding_layer = layers.Embedding(num_tokens, width, trainable=False)
embedding_layer.build((1,))
embedding_layer.set_weights([embedding_matrix])

int_sequences_input = keras.Input(shape=(None,), dtype="int32")
x = embedding_layer(int_sequences_input)
x = layers.Conv1D(32, 5, activation="relu")(x)
x = layers.MaxPooling1D(2)(x)
x = layers.Conv1D(32, 5, activation="relu")(x)
x = layers.GlobalMaxPooling1D()(x)
x = layers.Dense(32, activation="relu")(x)
x = layers.Dropout(0.2)(x)
preds = layers.Dense(classes, activation="softmax")(x)
model = keras.Model(int_sequences_input, preds)

model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.Adam(0.005), metrics=["acc"])
history = model.fit(texts[:320], labels[:320], batch_size=32, epochs=8, validation_data=(texts[320:], labels[320:]),
                    verbose=0)  # fmt: skip
assert history.history["acc"][-1] > 0.6 > history.history["acc"][0]
np.testing.assert_allclose(embedding_layer.get_weights()[0], embedding_matrix, rtol=1e-6)
assert len(model.trainable_weights) == 8

string_input = keras.Input(shape=(30,), dtype="int32")
end_to_end_model = keras.Model(string_input, model(string_input))
probabilities = end_to_end_model.predict(texts[:2], verbose=0)
assert probabilities.shape == (2, classes)
