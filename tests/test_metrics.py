"""Metrics against NumPy, and which one 'accuracy' is."""

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
    assert shapes == [(10, 1)]  # the valid steps only
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
    with pytest.raises(ValueError, match=r"expected a number or an array of shape \(2,\).*\(7,\)"):
        model.evaluate(np.zeros((2, 1)), np.zeros(2))


def test_names_in_capitals_and_how_metrics_are_shown():
    assert type(losses.get("MSE")) is losses.MeanSquaredError
    assert repr(metrics.get("MAE")) == "MeanAbsoluteError(name='MAE')"
    assert repr(metrics.BinaryAccuracy(threshold=0.25)) == "BinaryAccuracy(name='binary_accuracy', threshold=0.25)"
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("adam", "mse")
    history = model.fit([[1.0]], [[1.0]], epochs=2, verbose=0)
    assert repr(history) == f"<History of 2 epochs: loss {history.history['loss'][-1]:.4g}>"
