"""The built-in recurrent layers: sequences, states, cells, stateful layers, two directions. Without the guide's last
part, a cell whose states are matrices.
"""

import numpy as np

import rekur as keras
from rekur import layers

model = keras.Sequential()
model.add(layers.Input(shape=(None,)))
model.add(layers.Embedding(input_dim=1000, output_dim=64))
model.add(layers.LSTM(128))
model.add(layers.Dense(10))
model.summary()
assert model.count_params() == 1000 * 64 + 4 * 128 * (64 + 128 + 1) + 1290

model = keras.Sequential()
model.add(layers.Input(shape=(None,)))
model.add(layers.Embedding(input_dim=1000, output_dim=64))
model.add(layers.GRU(256, return_sequences=True))
model.add(layers.SimpleRNN(128))
model.add(layers.Dense(10))
assert model.predict(np.arange(12).reshape(2, 6), verbose=0).shape == (2, 10)

encoder_vocab, decoder_vocab = 1000, 2000
encoder_input = layers.Input(shape=(None,))
encoder_embedded = layers.Embedding(input_dim=encoder_vocab, output_dim=64)(encoder_input)
output, state_h, state_c = layers.LSTM(64, return_state=True, name="encoder")(encoder_embedded)
encoder_state = [state_h, state_c]
decoder_input = layers.Input(shape=(None,))
decoder_embedded = layers.Embedding(input_dim=decoder_vocab, output_dim=64)(decoder_input)
decoder_output = layers.LSTM(64, name="decoder")(decoder_embedded, initial_state=encoder_state)
output = layers.Dense(10)(decoder_output)
model = keras.Model([encoder_input, decoder_input], output)
assert model.predict([np.ones((3, 4), int), np.ones((3, 5), int)], verbose=0).shape == (3, 10)

# Pieces of long sequences, the states going on from one to the next.
paragraph1 = np.random.random((20, 10, 50)).astype(np.float32)
paragraph2 = np.random.random((20, 10, 50)).astype(np.float32)
paragraph3 = np.random.random((20, 10, 50)).astype(np.float32)
lstm_layer = layers.LSTM(64, stateful=True)
output = lstm_layer(paragraph1)
output = lstm_layer(paragraph2)
output = lstm_layer(paragraph3)
plain = layers.LSTM(64)
whole = np.concatenate([paragraph1, paragraph2, paragraph3], axis=1)
plain(whole)
plain.set_weights(lstm_layer.get_weights())
np.testing.assert_allclose(np.asarray(output), np.asarray(plain(whole)), atol=1e-5)
lstm_layer.reset_state()
existing_state = [np.asarray(state) for state in (lstm_layer.states or [])]
new_lstm_layer = layers.LSTM(64)
new_output = new_lstm_layer(paragraph3, initial_state=[np.ones((20, 64)), np.zeros((20, 64))])
assert new_output.shape == (20, 64)

model = keras.Sequential()
model.add(layers.Input(shape=(5, 10)))
model.add(layers.Bidirectional(layers.LSTM(64, return_sequences=True)))
model.add(layers.Bidirectional(layers.LSTM(32)))
model.add(layers.Dense(10))
model.summary()

# Pictures read row by row, by the layer and by its cell.
batch_size, input_dim, units, output_size = 64, 28, 64, 10


def build_model(use_layer):
    lstm_layer = layers.LSTM(units) if use_layer else layers.RNN(layers.LSTMCell(units))
    return keras.models.Sequential(
        [keras.Input(shape=(None, input_dim)), lstm_layer, layers.BatchNormalization(), layers.Dense(output_size)]
        if hasattr(layers, "BatchNormalization")
        else [keras.Input(shape=(None, input_dim)), lstm_layer, layers.Dense(output_size)]
    )


rng = np.random.default_rng(4)
y_train = rng.integers(0, 10, 256)
x_train = rng.random((256, 28, 28)).astype("float32") * 0.3
x_train[np.arange(256), :, y_train * 2] += 1
for use_layer in (True, False):
    model = build_model(use_layer)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer="adam", metrics=["accuracy"]
    )
    history = model.fit(
        x_train, y_train, validation_data=(x_train, y_train), batch_size=batch_size, epochs=4, verbose=0
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
