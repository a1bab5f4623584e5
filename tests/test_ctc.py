"""CTC: all paths counted, central differences, torch and Keras, lengths, and training."""

import itertools

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers, losses
from rekur._losses.ctc import ctc

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4, 7, 5))
LABELS = np.array([[1, 2, 2, 0], [3, 0, 0, 0], [4, 4, 4, 1], [0, 0, 0, 0]])
ALL = np.ones((4, 7), bool)


def _by_paths(logits, labels):
    """Every path of classes through time that spells the labels."""
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        spelt = [c for k, c in enumerate(path) if c and (k == 0 or path[k - 1] != c)]
        if spelt == list(labels):
            total += np.prod([p[t, c] for t, c in enumerate(path)])
    return -np.log(total)


def test_all_paths_are_counted():
    logits = RNG.normal(size=(3, 5, 3))
    for labels in ([1, 2], [1, 1], [2], [], [1, 2, 1]):
        target = np.zeros((3, 4), int)
        target[:, : len(labels)] = labels
        values, _ = ctc(target, logits, np.ones((3, 5), bool), False)
        np.testing.assert_allclose(values, [_by_paths(x, labels) for x in logits], rtol=1e-10)


def test_gradients_are_central_differences_also_where_steps_are_left_out():
    valid = ALL.copy()
    valid[0, 5:] = False
    valid[1, [0, 3]] = False
    values, gradient = ctc(LABELS, LOGITS, valid, True)
    np.testing.assert_allclose(values[1], ctc(LABELS[1:2], LOGITS[1:2, valid[1]], ALL[:1, :5], False)[0][0])
    for b, t, f in RNG.integers(0, (4, 7, 5), size=(60, 3)):
        moved = []
        for step in (1e-5, -1e-5):
            x = LOGITS.copy()
            x[b, t, f] += step
            moved.append(ctc(LABELS, x, valid, False)[0][b])
        assert gradient[b, t, f] == pytest.approx((moved[0] - moved[1]) / 2e-5, abs=1e-8)


def test_values_and_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")
    lengths = [7, 4, 7, 6]
    valid = np.arange(7) < np.array(lengths)[:, None]
    x = torch.tensor(LOGITS, requires_grad=True)
    count = torch.tensor((LABELS != 0).sum(axis=1))
    log_p = torch.log_softmax(x, -1).transpose(0, 1)
    theirs = torch.nn.functional.ctc_loss(log_p, torch.tensor(LABELS), torch.tensor(lengths), count, reduction="none")
    theirs.sum().backward()
    values, gradient = ctc(LABELS, LOGITS, valid, True)
    np.testing.assert_allclose(values, theirs.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(gradient, x.grad.numpy(), atol=1e-10)


def test_values_are_those_of_keras():
    keras = pytest.importorskip("keras")
    theirs = keras.losses.CTC()(LABELS.astype("int32"), LOGITS.astype("float32"))
    assert losses.CTC()(LABELS, LOGITS) == pytest.approx(float(theirs), rel=1e-5)


def test_labels_that_do_not_fit_are_infinitely_unlikely_and_move_nothing():
    values, gradient = ctc(np.array([[1, 1, 1]]), LOGITS[:1, :4], ALL[:1, :4], True)
    assert values[0] == np.inf
    assert not gradient.any()


def test_a_model_learns_labels_without_their_places_is_saved_and_counts_weights(tmp_path):
    def make():
        model = Sequential(
            [layers.Bidirectional(layers.GRU(12, return_sequences=True), input_shape=(None, 4)), layers.Dense(4)],
            seed=1,
        )
        model.compile(rekur.optimizers.Adam(0.02), "ctc")
        return model

    rng = np.random.default_rng(1)
    labels = rng.integers(1, 4, size=(24, 3))
    x = np.zeros((24, 10, 4))
    for b, row in enumerate(labels):
        x[b, [1, 4, 7], row] = 1
    lengths = np.full(24, 9)
    model = make()
    before = model.evaluate(x, labels, lengths=lengths)
    assert before == pytest.approx(
        np.mean(ctc(labels, model.predict(x), np.arange(10) < lengths[:, None], False)[0]), 1e-5
    )
    weight = np.zeros(24)
    weight[:3] = 2.0
    found = model.evaluate(x, labels, sample_weight=weight)
    assert found == pytest.approx(losses.CTC()(labels, model.predict(x), weight), rel=1e-5)
    model.fit(x, labels, epochs=30, batch_size=8, lengths=lengths, verbose=0)
    assert model.evaluate(x, labels, lengths=lengths) < 0.2 * before
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert again.evaluate(x, labels) == model.evaluate(x, labels)


def test_mistakes():
    model = Sequential([layers.Dense(4, input_shape=(5, 2))])
    model.compile("sgd", "ctc")
    x = np.zeros((2, 5, 2))
    with pytest.raises(ValueError, match=r"y of output 'dense': ctc expected class indices from 1 to 3.*got 4"):
        model.fit(x, np.array([[1, 4], [1, 2]]), verbose=0)
    with pytest.raises(ValueError, match="behind the labels"):
        model.fit(x, np.array([[0, 1], [1, 2]]), verbose=0)
    with pytest.raises(ValueError, match=r"ctc expected labels of shape \(2, any\)|ctc expected labels of shape"):
        model.fit(x, np.array([1, 2]), verbose=0)
    with pytest.raises(ValueError, match="mean over rows"):
        losses.CTC(reduction="sum")
    with pytest.raises(TypeError, match="a metric cannot compare"):
        model.compile("sgd", "ctc", metrics=["accuracy"])


def test_rows_of_weight_0_may_hold_anything():
    model = Sequential([layers.Dense(5, input_shape=(7, 5))], seed=1)
    model.compile("sgd", "ctc")
    weight = np.array([0.0, 1.0, 2.0, 1.0])
    unread = [LABELS.copy() for _ in range(3)]
    unread[0][0], unread[1][0], unread[2][0] = -100, [0, 1, 0, 2], [1, 1, 1, 1]  # the last one has too few steps
    x = LOGITS.copy()
    expected = model.evaluate(x, LABELS, sample_weight=weight)
    for labels in unread:
        assert model.evaluate(x, labels, sample_weight=weight) == expected
        assert losses.CTC()(labels[:, :4], model.predict(x), weight[:, None]) == pytest.approx(expected, rel=1e-6)
    few = np.array([[1, 1, 1, 1]] * 4)
    assert losses.CTC()(few, x[:, :6], np.zeros(4)) == 0


def test_weights_are_one_a_row():
    model = Sequential([layers.Dense(5, input_shape=(7, 5))], seed=1)
    model.compile("sgd", "ctc")
    with pytest.raises(
        ValueError, match=r"y of output 'dense': ctc expected sample weights of shape \(4,\), one a row"
    ):
        model.evaluate(LOGITS, LABELS, sample_weight=np.ones((4, 7)))
    with pytest.raises(ValueError, match=r"ctc: expected sample_weight of shape \(4,\), got"):
        losses.CTC()(LABELS, LOGITS, np.ones((4, 7)))
    with pytest.raises(ValueError, match="class_weight: a row of ctc has labels of several classes"):
        model.fit(LOGITS, LABELS, class_weight={1: 2.0}, verbose=0)


@pytest.mark.filterwarnings("error")
def test_outputs_that_are_nan_give_nan_without_a_warning():
    x = LOGITS.copy()
    x[1] = np.nan
    values, gradient = ctc(LABELS, x, ALL, True)
    assert np.isnan(values[1])
    assert np.isfinite(np.delete(values, 1)).all()
    assert np.isfinite(np.delete(gradient, 1, axis=0)).all()
