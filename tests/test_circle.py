"""The circle loss: an independent sum over rows, Keras, central differences, and training of embeddings."""

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers, losses


def _batch(seed, rows=9, features=3, classes=3):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(rows, features))
    return rng.integers(0, classes, rows), y / np.linalg.norm(y, axis=1, keepdims=True), rng.uniform(0.2, 2.0, rows)


def _by_hand(labels, y, weight, gamma=80.0, margin=0.4, remove_diagonal=True):
    """Row by row, pair by pair; the mean over the rows whose value is above 0."""
    total, count = 0.0, 0
    for i in range(len(y)):
        near, far = [], []
        for j in range(len(y)):
            d = max(1 - float(y[i] @ y[j]), 0.0)
            if labels[i] != labels[j]:
                far.append(np.exp(gamma * max(1 + margin - d, 0) * (1 - margin - d)))
            elif i != j or not remove_diagonal:
                near.append(np.exp(-gamma * (margin + d) * (margin - d)))
        value = np.log1p(sum(near) * sum(far))
        total, count = total + weight[i] * value, count + (value > 0)
    return total / count if count else 0.0


OPTIONS = [{}, {"gamma": 5.0, "margin": 0.25}, {"gamma": 12.0, "remove_diagonal": False}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(9, 3, 3), (1, 2, 1), (7, 5, 1), (13, 4, 9)])
def test_values_by_hand(options, shape):
    labels, y, weight = _batch(sum(shape), *shape)
    found = losses.Circle(**options)(labels, y, weight)
    assert found == pytest.approx(_by_hand(labels, y, weight, **options), rel=1e-9, abs=1e-30)
    assert losses.Circle(**options)(labels[:, None], y) == pytest.approx(
        _by_hand(labels, y, np.ones(len(y)), **options), rel=1e-9, abs=1e-30
    )


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_keras(reduction, weighted):
    keras = pytest.importorskip("keras")
    for seed in range(10):
        labels, y, weight = _batch(seed, rows=4 + seed)
        weight = weight if weighted else None
        options = {"gamma": 10.0 + 7 * seed, "reduction": reduction, "remove_diagonal": bool(seed % 2)}
        theirs = keras.losses.Circle(**options)(labels, y.astype("float32"), sample_weight=weight)
        assert losses.Circle(**options)(labels, y, weight) == pytest.approx(float(theirs), rel=2e-4)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("options", OPTIONS[1:])
def test_what_a_step_does_is_the_central_difference(options, reduction):
    """A model whose output is its bias: a step of SGD shows the gradient of one row's embedding by its input."""
    labels, y, weight = _batch(3, rows=6)
    y = 0.95 * y  # away from products of 1, where the distance has a corner
    weight[2] = 0.0
    loss = losses.Circle(**options, reduction=reduction)
    x = rekur.Input((3,))
    model = rekur.Model(x, layers.Dense(3, use_bias=False)(x))
    model.compile(rekur.optimizers.SGD(1.0), loss)
    model.set_weights([np.eye(3)])
    unread = np.where(weight == 0, -100, labels)
    given = y.copy()
    given[2] = np.nan
    assert model.evaluate(given[weight > 0], labels[weight > 0], sample_weight=weight[weight > 0]) == pytest.approx(
        loss(labels[weight > 0], y[weight > 0], weight[weight > 0]), rel=1e-5
    )
    model.train_on_batch(np.where(np.isnan(given), 0.0, given), unread, sample_weight=weight)
    gradient = np.eye(3) - model.get_weights()[0]
    for i, j in np.ndindex(3, 3):
        moved = []
        for step in (1e-6, -1e-6):
            kernel = np.eye(3)
            kernel[i, j] += step
            moved.append(loss(labels, y @ kernel, weight))
        assert gradient[i, j] == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-3, abs=1e-3)


def test_rows_of_weight_0_may_hold_anything():
    labels, y, weight = _batch(5)
    weight[4] = 0.0
    there = weight > 0
    expected = losses.Circle()(labels[there], y[there], weight[there])
    labels[4], y[4] = -100, np.nan
    assert losses.Circle()(labels, y, weight) == pytest.approx(expected, rel=1e-12)
    assert losses.Circle()(labels, y, np.zeros(len(y))) == 0.0


def test_a_model_learns_embeddings_and_is_saved(tmp_path):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 60)
    x = rng.normal(size=(60, 8, 2)) + np.array([[2.0, 0.0], [0.0, 2.0], [-2.0, -2.0]])[labels][:, None]
    model = Sequential([layers.GRU(8, input_shape=(8, 2)), layers.Dense(4), layers.UnitNormalization()], seed=1)
    model.compile(rekur.optimizers.Adam(0.02), losses.Circle(gamma=20.0))
    before = model.evaluate(x, labels, batch_size=60)
    assert before == pytest.approx(losses.Circle(gamma=20.0)(labels, model.predict(x)), rel=1e-4)
    model.fit(x, labels, epochs=10, batch_size=20, verbose=0)
    assert model.evaluate(x, labels, batch_size=60) < 0.3 * before
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert again.evaluate(x, labels) == model.evaluate(x, labels)
    model.fit(x, labels, class_weight={0: 2.0}, verbose=0)


def test_names_and_configuration():
    loss = losses.get("circle")
    assert type(loss) is losses.Circle and type(losses.get("Circle")) is losses.Circle
    assert loss.get_config() == {
        "name": "circle", "gamma": 80.0, "margin": 0.4, "remove_diagonal": True, "reduction": "sum_over_batch_size"
    }  # fmt: skip
    summed = losses.Circle(gamma=3.0, reduction="sum")
    again = losses.get(summed._saved())
    assert again.get_config() == summed.get_config()


def test_mistakes():
    labels, y, _ = _batch(0)
    with pytest.raises(
        ValueError, match=r"circle: y_true: circle expected class indices of shape \(9,\), got \(9, 3\)"
    ):
        losses.Circle()(np.eye(3)[labels], y)
    with pytest.raises(TypeError, match=r"expected integers, got"):
        losses.Circle()(labels + 0.5, y)
    with pytest.raises(ValueError, match="embeddings of shape"):
        losses.Circle()(labels, y[:, 0])
    with pytest.raises(TypeError, match="did you mean 'gamma'"):
        losses.Circle(gama=2)
    with pytest.raises(ValueError, match="circle: reduction=None"):
        losses.Circle(reduction=None)
    model = Sequential([layers.Dense(4, input_shape=(5, 2))])
    model.compile("sgd", "circle")
    with pytest.raises(ValueError, match=r"y of output 'dense': circle compares rows .*got \(2, 5, 4\)"):
        model.fit(np.zeros((2, 5, 2)), np.zeros(2), verbose=0)
    with pytest.raises(TypeError, match="no function of rows"):
        losses.Circle().call(labels, y)
    with pytest.raises(TypeError, match="a metric cannot compare"):
        model.compile("sgd", "circle", metrics=["mae"])
