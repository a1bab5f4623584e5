# needs: MultiHeadAttention
"""Translation with attention: a bidirectional encoder, a decoder that looks at it, layers of one's own around them.

Sentences have several lengths; what fills them up has weight 0, in the loss and in weighted_metrics.
"""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(8)
vocab, start, length, units = 12, 1, 6, 32
sentences = [rng.integers(2, vocab, size=rng.integers(2, length + 1)).tolist() for _ in range(400)]
context = keras.utils.pad_sequences(sentences, maxlen=length, padding="post")
target = keras.utils.pad_sequences([sentence[::-1] for sentence in sentences], maxlen=length, padding="post")
target_in = np.concatenate([np.full((400, 1), start), target[:, :-1]], axis=1)
weights = (target != 0).astype("float32")


class Encoder(keras.layers.Layer):
    def __init__(self, vocab_size, units, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(vocab_size, units)
        self.rnn = layers.Bidirectional(merge_mode="sum", layer=layers.GRU(units, return_sequences=True))

    def call(self, x):
        return self.rnn(self.embedding(x))


class CrossAttention(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.mha = layers.MultiHeadAttention(key_dim=units, num_heads=1)
        self.layernorm = layers.LayerNormalization()
        self.add = layers.Add()

    def call(self, x, context):
        attn_output = self.mha(query=x, value=context)
        return self.layernorm(self.add([x, attn_output]))


class Decoder(keras.layers.Layer):
    def __init__(self, vocab_size, units, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(vocab_size, units)
        self.rnn = layers.GRU(units, return_sequences=True)
        self.attention = CrossAttention(units)
        self.output_layer = layers.Dense(vocab_size)

    def call(self, context, x):
        x = self.rnn(self.embedding(x))
        return self.output_layer(self.attention(x, context))


class Translator(keras.Model):
    def __init__(self, units, vocab_size, **kwargs):
        super().__init__(**kwargs)
        self.encoder = Encoder(vocab_size, units)
        self.decoder = Decoder(vocab_size, units)

    def call(self, inputs):
        context, x = inputs
        return self.decoder(self.encoder(context), x)


model = Translator(units, vocab)
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    weighted_metrics=["accuracy"],
)
history = model.fit(
    (context, target_in),
    target,
    sample_weight=weights,
    batch_size=32,
    epochs=14,
    verbose=0,
    validation_data=((context[:80], target_in[:80]), target[:80], weights[:80]),
)
assert sorted(history.history) == [
    "accuracy", "loss", "val_accuracy", "val_loss", "val_weighted_accuracy", "weighted_accuracy"
]  # fmt: skip
assert history.history["weighted_accuracy"][-1] > 0.9
logits = model.predict((context[:80], target_in[:80]), verbose=0)
right = (logits.argmax(axis=-1) == target[:80]) & (target[:80] != 0)
np.testing.assert_allclose(history.history["val_weighted_accuracy"][-1], right.sum() / weights[:80].sum(), rtol=1e-4)
