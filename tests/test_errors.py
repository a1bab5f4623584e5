"""What a caller can get wrong with data: found before the first step, with what was expected and what came."""

import json

import numpy as np
import pytest

from rekur import Input, Model, Sequential, _core, layers, losses


@pytest.fixture
def model():
    model = Sequential([layers.LSTM(4, input_shape=(10, 8)), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.fixture
def classifier():
    model = Sequential(
        [layers.Embedding(20, 3), layers.GRU(4, return_sequences=True), layers.Dense(3, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


X, Y = np.zeros((6, 10, 8)), np.zeros(6)
IDS, LABELS = np.zeros((6, 5), int), np.zeros((6, 5), int)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((6, 8)), ValueError, r"LSTM 'lstm'.*expected shape \(None, 10, 8\), got \(6, 8\)"),
        (np.zeros((6, 10, 5)), ValueError, r"expected shape \(None, 10, 8\), got \(6, 10, 5\)"),
        (np.zeros((6, 9, 8)), ValueError, r"got \(6, 9, 8\)"),
        (3.0, ValueError, r"got \(\)"),
        (None, ValueError, "got None"),
        (np.full((6, 10, 8), "a"), TypeError, "<U1"),
        (np.zeros((6, 10, 8), complex), TypeError, "complex128"),
        (np.full((6, 10, 8), None), ValueError, r"place \(0, 0, 0\) is missing \(None\)"),
        (np.full((6, 10, 8), object()), TypeError, "dtype object"),
        ([np.zeros((3, 8)), np.zeros((4, 8))], ValueError, "lengths="),
        ({"wrong": X}, ValueError, "no 'wrong'"),
        ({1.0, 2.0}, TypeError, "LSTM 'lstm'.*got a set"),
        ({"a": X}.values(), TypeError, "got a dict_values"),
        (np.zeros((6, 10, 8), object), TypeError, r"object.*astype\('float32'\)"),
    ],
    ids=lambda v: "",
)
def test_wrong_x(model, x, error, message):
    for call in (lambda: model.predict(x), lambda: model.fit(x, Y, verbose=0), lambda: model.evaluate(x, Y)):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.zeros(5), ValueError, "x has 6, .*'dense' has 5"),
        (np.zeros((6, 2)), ValueError, r"'dense'.*expected shape \(6, 1\), got \(6, 2\)"),
        (np.zeros((6, 10, 1)), ValueError, r"got \(6, 10, 1\)"),
        (None, ValueError, "needs a target"),
        (np.array(list("abcdef")), TypeError, "<U1"),
    ],
    ids=lambda v: "",
)
def test_wrong_y(model, y, error, message):
    before = model.get_weights()
    with pytest.raises(error, match=message):
        model.fit(X, y, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (np.full(6, 11), ValueError, "expected 0 to 10, .*got 11 at row 0"),
        (np.array([1, 2, 3, -1, 2, 2]), ValueError, "got -1 at row 3"),
        (np.full(5, 3), ValueError, r"expected shape \(6,\).*got \(5,\)"),
        (np.full((6, 1), 3), ValueError, r"got \(6, 1\)"),
        (np.full(6, 2.5), TypeError, "expected integers.*float64"),
        (np.full(6, True), TypeError, "bool"),
        (np.full(6, 2**40), ValueError, "int32"),
        ({"lstm": np.full(6, 3)}, ValueError, "no 'lstm'"),
    ],
    ids=lambda v: "",
)
def test_wrong_lengths(model, lengths, error, message):
    for call in (lambda: model.predict(X, lengths=lengths), lambda: model.fit(X, Y, lengths=lengths, verbose=0)):
        with pytest.raises(error, match=message):
            call()


def test_lengths_where_there_is_no_time():
    model = Sequential([layers.Dense(1, input_shape=(3,))])
    with pytest.raises(ValueError, match="no input of the model has a time axis"):
        model.predict(np.zeros((2, 3)), lengths=[1, 1])
    a, b = Input((4, 2), name="a"), Input((4, 2), name="b")
    model = Model([a, b], layers.Concatenate()([layers.LSTM(2)(a), layers.LSTM(2)(b)]))
    with pytest.raises(ValueError, match="'a', 'b'"):
        model.predict([np.zeros((2, 4, 2))] * 2, lengths=[1, 1])
    with pytest.raises(ValueError, match="expected 2 rows"):
        model.predict([np.zeros((2, 4, 2)), np.zeros((3, 4, 2))])
    with pytest.raises(ValueError, match="list of 2 arrays"):
        model.predict([np.zeros((2, 4, 2))])
    with pytest.raises(ValueError, match="'b' is missing"):
        model.predict({"a": np.zeros((2, 4, 2))})


def test_sample_weight_shapes(model, classifier):
    with pytest.raises(ValueError, match=r"expected shape \(6,\), got \(6, 10\)"):
        model.fit(X, Y, sample_weight=np.ones((6, 10)), verbose=0)
    with pytest.raises(ValueError, match=r"\(6,\) or \(6, 5\), got \(5,\)"):
        classifier.fit(IDS, LABELS, sample_weight=np.ones(5), verbose=0)
    classifier.fit(IDS, LABELS, sample_weight=np.ones((6, 5)), verbose=0)


def test_labels(classifier):
    for bad in (3, -1):
        labels = LABELS.copy()
        labels[2, 4] = bad
        with pytest.raises(ValueError, match=f"class indices from 0 to 2, got {bad}"):
            classifier.fit(IDS, labels, verbose=0)
        classifier.fit(IDS, labels, verbose=0, lengths=np.full(6, 4))  # there it is padding
    with pytest.raises(TypeError, match="expected integers"):
        classifier.fit(IDS, LABELS + 0.5, verbose=0)
    classifier.fit(IDS, LABELS.astype(float)[..., None], verbose=0)
    with pytest.raises(ValueError, match="use categorical_crossentropy"):
        classifier.fit(IDS, np.zeros((6, 5, 3), int), verbose=0)
    classifier.compile("adam", "categorical_crossentropy")
    with pytest.raises(ValueError, match="use sparse_categorical_crossentropy"):
        classifier.fit(IDS, LABELS, verbose=0)


@pytest.mark.parametrize(
    ("loss", "activation"), [("binary_crossentropy", "sigmoid"), ("categorical_crossentropy", "softmax")]
)
def test_labels_that_are_no_probabilities(loss, activation):
    model = Sequential(
        [layers.LSTM(2, input_shape=(10, 8), return_sequences=True), layers.Dense(2, activation=activation)]
    )
    model.compile("adam", loss)
    for bad in (-1, 2, np.inf):
        labels = np.zeros((6, 10, 2))
        labels[2, 7, 1] = bad
        with pytest.raises(ValueError, match=f"y of output 'dense': {loss} expected values from 0 to 1, got {bad:g}"):
            model.fit(X, labels, verbose=0)
        assert np.isfinite(model.evaluate(X, labels, lengths=np.full(6, 7)))  # there it is padding
    labels[2, 7, 1] = np.nan  # NaN in, NaN out
    assert np.isnan(model.evaluate(X, labels))
    model.evaluate(X, np.full((6, 10, 2), 1 + 1e-7))


def test_ids(classifier):
    for bad in (20, -1):
        with pytest.raises(ValueError, match=f"Embedding 'embedding'.*{bad}"):
            classifier.predict(np.full((2, 3), bad))
    with pytest.raises(ValueError, match="do not fit in int32"):
        classifier.predict(np.full((2, 3), 2**32))
    whole = np.array([[1, 2, 19]])
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(classifier.predict(whole.astype(dtype)), classifier.predict(whole))
    for bad in (0.5, np.nan):
        with pytest.raises(
            TypeError, match=rf"expected integers, got {bad:g} at \(0, 2\) of an array of dtype float64"
        ):
            classifier.predict([[0.0, 1.0, bad]])
    for bad in (np.inf, 1e20):
        with pytest.raises(ValueError, match="do not fit in int32"):
            classifier.predict([[0.0, 1.0, bad]])
    with pytest.raises(ValueError, match="Embedding 'embedding': id 20 at row 0, step 2"):
        classifier.predict([[0.0, 1.0, 20.0]])


def test_no_rows(model):
    for call in (
        lambda: model.fit(X[:0], Y[:0], verbose=0),
        lambda: model.evaluate(X[:0], Y[:0]),
        lambda: model.train_on_batch(X[:0], Y[:0]),
        lambda: model.fit(X, Y, validation_data=(X[:0], Y[:0]), verbose=0),
    ):
        with pytest.raises(ValueError, match=r"no rows.*\(0, 10, 8\)"):
            call()
    with pytest.raises(ValueError, match=r"validation_split=0\.9 of 6 rows"):
        model.fit(X, Y, validation_split=0.9, verbose=0)


def test_numbers_of_fit(model):
    for name in ("batch_size", "epochs", "initial_epoch"):
        with pytest.raises(ValueError, match=name):
            model.fit(X, Y, **{name: -1})
        with pytest.raises(TypeError, match=name):
            model.fit(X, Y, **{name: 1.5})
    with pytest.raises(ValueError, match="epochs must be below 2"):
        model.fit(X, Y, epochs=2**63)
    with pytest.raises(ValueError, match="validation_split"):
        model.fit(X, Y, validation_split=1.5)
    with pytest.raises(ValueError, match="validation_data must be"):
        model.fit(X, Y, validation_data=(X,), verbose=0)
    for callbacks in ([print], print):
        with pytest.raises(TypeError, match=r"callbacks.*print"):
            model.fit(X, Y, callbacks=callbacks, verbose=0)


def test_not_compiled_and_badly_compiled():
    model = Sequential([layers.Dense(1, input_shape=(2,), name="d")])
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(RuntimeError, match="not compiled"):
            call(np.zeros((2, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="needs a loss"):
        model.compile("adam")
    with pytest.raises(ValueError, match="no output 'e'"):
        model.compile("adam", {"e": "mse"})
    with pytest.raises(ValueError, match="each of the 1 outputs, got 2"):
        model.compile("adam", ["mse", "mse"])
    with pytest.raises(ValueError, match="'mae' is there twice"):
        model.compile("adam", "mse", metrics=["mae", "mae"])
    logits = Sequential([layers.Dense(1, activation="sigmoid", input_shape=(2,))])
    with pytest.raises(ValueError, match="from_logits"):
        logits.compile("adam", losses.BinaryCrossentropy(from_logits=True))


def test_empty_models():
    with pytest.raises(ValueError, match="no layers"):
        Sequential().predict(np.zeros((1, 1)))
    with pytest.raises(ValueError, match="outputs is empty"):
        Model(Input((1,)), [])


def test_misaligned_arrays_are_copied_by_the_face_and_refused_by_the_extension():
    model = Sequential([layers.LSTM(3, input_shape=(None, 3))])
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    misaligned = np.frombuffer(b"\0" + x.tobytes(), np.float32, 9, offset=1).reshape(1, 3, 3)
    assert not misaligned.flags.aligned
    np.testing.assert_array_equal(model.predict(misaligned), model.predict(x))
    core = _core.Model(json.dumps(model.spec))
    with pytest.raises(TypeError, match="misaligned float32 array"):
        core.predict([misaligned])


def test_shapes_of_outputs_are_the_same_before_and_after_a_plan_for_them_is_kept() -> None:
    x = Input((None, 3))
    model = Model(x, layers.LSTM(4, return_sequences=True)(x), seed=1)
    engine = model._engine()
    for T in (1, 5, 1):
        inputs = [np.zeros((2, T, 3), np.float32)]
        assert engine.predict(inputs)[0].shape == (2, T, 4)
        assert engine.forward(inputs)[0][0].shape == (2, T, 4)
        assert engine.predict(inputs)[0].shape == (2, T, 4)
