"""Metrics against NumPy, and which one 'accuracy' is."""

import warnings

import numpy as np
import pytest

from rekur import Sequential, layers, losses, metrics


def _value(metric, y_true, y_pred, weight=None):
    metric.update_state(np.asarray(y_true), np.asarray(y_pred), weight)
    return metric.result()


def test_values():
    y, p = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.5, 2.0], [3.0, 1.0]])
    assert _value(metrics.MeanSquaredError(), y, p) == pytest.approx((0.25 + 9) / 4)
    assert _value(metrics.RootMeanSquaredError(), y, p) == pytest.approx(np.sqrt((0.25 + 9) / 4))
    assert _value(metrics.MeanAbsoluteError(), y, p) == pytest.approx(3.5 / 4)
    assert _value(metrics.BinaryAccuracy(), [[1], [0], [1]], [[0.9], [0.6], [0.4]]) == pytest.approx(1 / 3)
    assert _value(metrics.BinaryAccuracy(threshold=0.7), [[1], [0], [1]], [[0.9], [0.6], [0.4]]) == pytest.approx(2 / 3)
    scores = [[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]
    assert _value(metrics.CategoricalAccuracy(), [[0, 1], [0, 1], [0, 1]], scores) == pytest.approx(2 / 3)
    assert _value(metrics.SparseCategoricalAccuracy(), [1, 1, 1], scores) == pytest.approx(2 / 3)


def test_weights_and_batches_accumulate():
    metric = metrics.MeanAbsoluteError()
    metric.update_state(np.zeros((2, 1)), np.array([[1.0], [3.0]]), np.array([1.0, 0.5]))
    metric.update_state(np.zeros((1, 1)), np.array([[5.0]]))
    assert metric.result() == pytest.approx((1 + 1.5 + 5) / 2.5)
    metric.reset_state()
    assert metric.result() == 0.0


@pytest.mark.parametrize(
    ("units", "loss", "expected"),
    [
        (1, "mse", metrics.BinaryAccuracy),
        (3, "mse", metrics.CategoricalAccuracy),
        (3, "binary_crossentropy", metrics.BinaryAccuracy),
        (3, "categorical_crossentropy", metrics.CategoricalAccuracy),
        (3, "sparse_categorical_crossentropy", metrics.SparseCategoricalAccuracy),
    ],
)
def test_accuracy_goes_by_loss_and_shape(units, loss, expected):
    found = metrics.resolve(metrics.get("accuracy"), losses.get(loss), units)
    assert type(found) is expected
    assert found.name == "accuracy"


def test_accuracy_of_logits():
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", losses.BinaryCrossentropy(from_logits=True), metrics=["acc"])
    model.set_weights([[[1.0]], [0.0]])
    assert model.evaluate([[0.2], [-0.2], [-3.0]], [1, 0, 1], return_dict=True)["acc"] == pytest.approx(2 / 3)


def test_functions_and_objects_of_ones_own():
    model = Sequential([layers.LSTM(3, return_sequences=True, input_shape=(None, 2)), layers.Dense(1)])
    shapes = []

    def bias(y_true, y_pred):
        shapes.append(y_pred.shape)
        return np.mean(y_pred - y_true)

    class Largest(metrics.Metric):
        default_name = "largest"

        def reset_state(self):
            self.value = -np.inf

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value = max(self.value, float(np.max(y_pred)))

        def result(self):
            return self.value

    model.compile("sgd", "mse", metrics=[bias, Largest(), metrics.MeanAbsoluteError("l1")])
    x, y, lengths = np.ones((5, 4, 2)), np.zeros((5, 4, 1)), np.array([4, 3, 0, 1, 2])
    result = model.evaluate(x, y, lengths=lengths, batch_size=5, return_dict=True)
    assert shapes[-1] == (10, 1)  # the valid steps only
    valid = model.predict(x, lengths=lengths)[np.arange(4) < lengths[:, None]]
    assert result["bias"] == pytest.approx(valid.mean(), rel=1e-5)
    assert result["largest"] == pytest.approx(valid.max())
    assert result["l1"] == pytest.approx(np.abs(valid).mean(), rel=1e-5)
    again = model.evaluate(x, y, lengths=lengths, batch_size=2, return_dict=True)
    assert again == pytest.approx(result, rel=1e-5)


def test_mistakes():
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(TypeError, match="function of"):
        metrics.get(3)
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=[lambda y_true, y_pred: np.zeros(7)])
    with pytest.raises(
        ValueError, match=r"expected a number, or one for each of the 2 rows, got an array of shape \(7,\)"
    ):
        model.evaluate(np.zeros((2, 1)), np.zeros(2))


def test_names_in_capitals_and_how_metrics_are_shown():
    assert type(losses.get("MSE")) is losses.MeanSquaredError
    assert repr(metrics.get("MAE")) == "MeanAbsoluteError(name='MAE')"
    assert repr(metrics.BinaryAccuracy(threshold=0.25)) == "BinaryAccuracy(name='binary_accuracy', threshold=0.25)"
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("adam", "mse")
    history = model.fit([[1.0]], [[1.0]], epochs=2, verbose=0)
    assert repr(history) == f"<History of 2 epochs: loss {history.history['loss'][-1]:.4g}>"


@pytest.mark.parametrize(
    ("returned", "kind", "message"),
    [
        (np.zeros(7), ValueError, r"one for each of the 4 rows, got an array of shape \(7,\)"),
        (np.zeros((4, 0)), ValueError, r"got an array of shape \(4, 0\)"),
        (None, TypeError, "expected a number.*NoneType"),
        ("good", TypeError, "expected a number.*str"),
        (1j, TypeError, "expected a number.*complex"),
        ([[1], [1, 2]], ValueError, "ragged"),
    ],
)
@pytest.mark.parametrize("call", ["fit", "train_on_batch", "evaluate", "test_on_batch"])
def test_what_a_metric_gets_wrong_is_found_before_the_first_step(returned, kind, message, call):
    model = Sequential([layers.Dense(1, input_shape=(1,))])

    def mine(y_true, y_pred):
        return returned

    model.compile("sgd", "mse", metrics=[mine])
    before = model.get_weights()
    with pytest.raises(kind, match=f"metric 'mine': .*{message}"):
        getattr(model, call)(np.ones((4, 1)), np.ones(4))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_a_metric_that_throws_does_so_before_the_first_step():
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=[lambda y_true, y_pred: y_true.nothing])
    before = model.get_weights()
    with pytest.raises(AttributeError, match="nothing"):
        model.fit(np.ones((4, 1)), np.ones(4), verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
def test_a_metric_may_return_more_than_one_number_a_row_whose_mean_counts(shape):
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", weighted_metrics=[lambda y_true, y_pred: values[y_true[:, 0].astype(int)]])
    weights = np.array([1, 0, 2, 1, 0, 1.0])
    expected = np.average(values.reshape(6, -1).mean(axis=1), weights=weights)
    got = model.evaluate(np.ones((6, 1)), np.arange(6.0), sample_weight=weights, return_dict=True)
    assert got["<lambda>"] == pytest.approx(expected)


def r2(y_true, y_pred):
    return 1 - np.sum((y_true - y_pred) ** 2) / np.sum((y_true - y_true.mean()) ** 2)


def test_one_number_that_is_no_mean_over_rows_is_told_apart():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=[r2])
    with pytest.warns(UserWarning, match=r"metric 'r2' returns one number .* no mean.*OverAllRows\(r2\)"):
        model.evaluate(x, y, batch_size=8)
    model.evaluate(x, y, batch_size=8)  # said once
    model.compile("sgd", "mse", metrics=[lambda y_true, y_pred: float(np.mean(y_pred))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.evaluate(x, y, batch_size=8)


def test_one_number_is_told_apart_where_halves_agree_by_accident():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=[r2])
    model.set_weights([np.full((1, 1), 0.50245)])  # R² of the first 8 rows is the mean of that of 4 and 4
    pred = model.predict(x)[:8]
    assert r2(y[:8], pred) == pytest.approx((r2(y[:4], pred[:4]) + r2(y[4:8], pred[4:])) / 2, rel=1e-3)
    with pytest.warns(UserWarning, match="metric 'r2' returns one number"):
        model.evaluate(x, y, batch_size=8)


@pytest.mark.parametrize("batch_size", [7, 40])
def test_over_all_rows_is_one_number_of_all_rows(batch_size):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=[metrics.OverAllRows(r2)])
    got = model.evaluate(x, y, batch_size=batch_size, return_dict=True)
    assert got["r2"] == pytest.approx(r2(y, model.predict(x)), rel=1e-5)
    history = model.fit(x, y, epochs=2, batch_size=batch_size, verbose=0, validation_data=(x, y)).history
    assert history["val_r2"][-1] == pytest.approx(r2(y, model.predict(x)), rel=1e-5)
    weighted = metrics.OverAllRows(lambda y_true, y_pred, sample_weight: float(np.sum(sample_weight)), "weights")
    model.compile("sgd", "mse", weighted_metrics=[weighted])
    assert model.evaluate(x, y, sample_weight=np.full(40, 0.5), return_dict=True)["weights"] == 20
    model.compile("sgd", "mse", metrics=[metrics.OverAllRows(lambda y_true, y_pred: y_pred, "rows")])
    with pytest.raises(TypeError, match="metric 'rows': expected a number for all rows"):
        model.evaluate(x, y)


def test_only_metrics_of_ones_own_are_tried_before_the_first_step():
    """Trying costs a prediction, and looking whether to try costs every ``train_on_batch``."""
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=["mae", "accuracy"])
    assert model._trainer().probed
    model.compile("sgd", "mse")
    assert model._trainer().probed
    model.compile("sgd", "mse", metrics=[r2])
    assert not model._trainer().probed


def test_over_all_rows_hands_weights_over_as_the_function_takes_them():
    x, y = np.arange(6.0)[:, None], np.ones((6, 1))
    weights = np.array([0.0, 0.0, 2.0, 2.0, 2.0, 0.5])
    seen = []

    def as_scikit_learn(y_true, y_pred, *, sample_weight=None):
        seen.append((len(y_true), sample_weight))
        return 1.0

    def third(y_true, y_pred, weight):
        seen.append((len(y_true), weight))
        return 1.0

    def another_third(y_true, y_pred, epsilon=1e-7):
        seen.append((len(y_true), epsilon))
        return 1.0

    model = Sequential([layers.Dense(1, input_shape=(1,))])
    for function in (as_scikit_learn, third):
        model.compile("sgd", "mse", weighted_metrics=[metrics.OverAllRows(function)])
        model.evaluate(x, y, sample_weight=weights)
        rows, got = seen[-1]
        assert rows == 4  # what has weight 0 is not there
        np.testing.assert_array_equal(got, [2, 2, 2, 0.5])
    model.compile("sgd", "mse", weighted_metrics=[metrics.OverAllRows(another_third)])
    model.evaluate(x, y, sample_weight=weights != 0)
    assert seen[-1] == (4, 1e-7)  # of ones and zeros only the zeros say something
    before = model.get_weights()
    with pytest.raises(TypeError, match="metric 'another_third': sample weights are given"):
        model.fit(x, y, sample_weight=weights, verbose=0)
    with pytest.raises(TypeError, match="metric 'another_third': sample weights are given"):
        model.fit(x, y, validation_data=(x, y, weights), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize("metric", [lambda function: function, metrics.OverAllRows])
@pytest.mark.parametrize("value", [np.ma.array(np.ones(6), mask=[1, 0, 0, 0, 0, 0]), np.ma.masked])
def test_a_mask_that_a_metric_returns_is_not_averaged_away(metric, value):
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=[metric(lambda y_true, y_pred: value)])
    with pytest.raises(ValueError, match=r"metric '<lambda>': its values?: 1 of . values are masked"):
        model.fit(np.ones((6, 1)), np.ones(6), verbose=0)
