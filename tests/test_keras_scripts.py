"""Typical Keras programs, unchanged but for their imports."""

import numpy as np
import pytest

import rekur
import rekur as keras
from rekur import layers
from rekur.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from rekur.layers import GRU, LSTM, Bidirectional, Dense, Dropout, Embedding, Input
from rekur.losses import SparseCategoricalCrossentropy
from rekur.models import Model, Sequential, load_model
from rekur.optimizers import Adam


@pytest.fixture(autouse=True)
def seeded():
    rekur.set_random_seed(5)


def test_next_value_of_a_series():
    series = np.sin(np.arange(220) * 0.3)
    X = np.array([series[i : i + 10] for i in range(200)])
    y = series[10:210]
    X = X.reshape((X.shape[0], X.shape[1], 1))

    model = Sequential(name="series")
    model.add(Input(shape=(10, 1)))
    model.add(LSTM(16, activation="tanh", return_sequences=True, dropout=0.0, recurrent_dropout=0.0))
    model.add(LSTM(16, stateful=False, unroll=False))
    model.add(Dense(1))
    model.compile(optimizer=Adam(learning_rate=0.01), loss="mse", metrics=["mae"])
    history = model.fit(X, y, epochs=15, batch_size=32, validation_split=0.2, shuffle=False, verbose=0)
    assert history.history["val_mae"][-1] < 0.1 < history.history["val_mae"][0]
    assert model.predict(X[-1:], verbose=0).shape == (1, 1)


def test_sentiment_of_padded_sentences():
    rng = np.random.default_rng(0)
    x, lengths = rng.integers(2, 50, size=(300, 12)), rng.integers(1, 13, size=300)
    y = rng.integers(0, 2, size=300)
    x[np.arange(300), rng.integers(0, lengths)] = y  # one word tells

    model = keras.Sequential(
        [
            keras.Input(shape=(None,), dtype="int32"),
            layers.Embedding(50, 16),
            layers.Bidirectional(layers.LSTM(16, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(8)),
            layers.Dropout(0.1),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.02
    model.fit(x, y, batch_size=32, epochs=12, lengths=lengths, verbose=0)
    loss, accuracy = model.evaluate(x, y, lengths=lengths, verbose=0)
    assert accuracy > 0.95
    assert loss < 0.3


def test_tags_of_words():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, size=(200, 8))
    Y = (X + np.roll(X, 1, axis=1)) % 3  # a word and the one before it; at first the last

    inputs = Input(shape=(8,), dtype="int64")
    x = Embedding(input_dim=20, output_dim=12, input_length=8)(inputs)
    x = Bidirectional(LSTM(units=24, return_sequences=True), merge_mode="concat")(x)
    outputs = Dense(3)(x)
    model = Model(inputs=inputs, outputs=outputs)
    model.compile(Adam(0.02), SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = model.fit(X, Y[..., np.newaxis], epochs=30, verbose=0)
    assert history.history["accuracy"][-1] > 0.7
    tags = model.predict(X).argmax(axis=-1)
    assert tags.shape == (200, 8)
    assert np.mean(tags == Y) > 0.7


def test_regression_with_checkpoints(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6, 3))
    y = X[:, :, 0].sum(axis=1)

    model = Sequential([GRU(16, input_shape=(X.shape[1], X.shape[2])), Dropout(0.1), Dense(1)])
    model.compile(loss="mae", optimizer="rmsprop", metrics=["mse"])
    best, weights = tmp_path / "best.safetensors", tmp_path / "weights.safetensors"
    callbacks = [
        EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True),
        ModelCheckpoint(str(best), monitor="val_loss", save_best_only=True),
        ModelCheckpoint(str(weights), monitor="val_loss", save_best_only=True, save_weights_only=True, mode="min"),
        ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=1),
    ]
    history = model.fit(X, y, epochs=8, batch_size=None, validation_split=0.25, callbacks=callbacks, verbose=0)
    loss, _ = model.evaluate(X[90:], y[90:], verbose=0)
    assert loss == pytest.approx(min(history.history["val_loss"]), rel=1e-6)
    assert load_model(best).evaluate(X[90:], y[90:], verbose=0)[0] == loss
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(weights)
    assert model.evaluate(X[90:], y[90:], verbose=0)[0] == loss


def test_two_inputs_two_outputs(capsys):
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(50, 7, 4)), rng.normal(size=(50, 3))
    P, C = rng.normal(size=50), np.eye(4)[rng.integers(0, 4, 50)]

    series = keras.Input(shape=(None, 4), name="series")
    static = keras.Input(shape=(3,), name="static")
    x = layers.concatenate([layers.LSTM(8)(series), static])
    x = layers.Dense(8, activation="relu")(x)
    price = layers.Dense(1, name="price")(x)
    kind = layers.Dense(4, activation="softmax", name="kind")(x)
    model = keras.Model(inputs=[series, static], outputs=[price, kind], name="both")
    model.compile(
        optimizer=keras.optimizers.Adam(1e-2, clipnorm=1.0),
        loss={"price": "mse", "kind": "categorical_crossentropy"},
        loss_weights={"price": 1.0, "kind": 0.2},
        metrics={"kind": ["accuracy"], "price": "mae"},
    )
    history = model.fit(
        {"series": A, "static": B}, {"price": P, "kind": C}, epochs=3, batch_size=8, validation_split=0.2, verbose=0
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    logs = model.evaluate([A, B], [P, C], return_dict=True, verbose=0)
    assert list(logs) == ["loss", "price_loss", "kind_loss", "price_mae", "kind_accuracy"]
    assert logs["loss"] == pytest.approx(logs["price_loss"] + 0.2 * logs["kind_loss"], rel=1e-6)
    assert [output.shape for output in model.predict([A, B])] == [(50, 1), (50, 4)]
    model.summary()
    assert "concatenate (Concatenate)" in capsys.readouterr().out
