"""The CTC loss: all paths counted, the reference, central differences, torch and Keras, lengths, training."""

import itertools
import warnings

import numpy as np
import pytest

import reference_ctc
import rekur
from rekur import Sequential, layers, losses, ops, sequences
from rekur._losses.ctc import ctc

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4, 7, 5)).astype(np.float32)
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
        expected = [_by_paths(x, labels) for x in logits]
        everywhere = np.ones((3, 5), bool)
        np.testing.assert_allclose(ctc(target, logits, everywhere, False)[0], expected, rtol=2e-6)
        np.testing.assert_allclose(reference_ctc.ctc(target, logits, everywhere, False)[0], expected, rtol=1e-10)


def test_gradients_are_central_differences_also_where_steps_are_left_out():
    valid = ALL.copy()
    valid[0, 5:] = False
    valid[1, [0, 3]] = False
    values, gradient = ctc(LABELS, LOGITS, valid, True)
    assert values[1] == ctc(LABELS[1:2], LOGITS[1:2, valid[1]], ALL[:1, :5], False)[0][0]
    for b, t, f in RNG.integers(0, (4, 7, 5), size=(60, 3)):
        moved = []
        for step in (1e-5, -1e-5):
            x = LOGITS.astype(np.float64)
            x[b, t, f] += step
            moved.append(reference_ctc.ctc(LABELS, x, valid, False)[0][b])
        assert gradient[b, t, f] == pytest.approx((moved[0] - moved[1]) / 2e-5, abs=2e-6)


def _random(rng, rows, steps, classes, most):
    labels = np.zeros((rows, most), np.int32)
    for row in labels:
        row[: rng.integers(0, most + 1)] = rng.integers(1, classes)  # the same one often
        row[row != 0] = rng.integers(1, classes, size=np.count_nonzero(row))
    return labels, rng.normal(0, 2, size=(rows, steps, classes)).astype(np.float32)


@pytest.mark.parametrize("isa", rekur.available_isas())
@pytest.mark.parametrize(
    ("steps", "classes", "most"), [(1, 2, 1), (2, 3, 2), (3, 2, 2), (5, 7, 5), (17, 5, 3), (31, 33, 9), (65, 31, 30)]
)
def test_values_and_gradients_are_the_reference_s(steps, classes, most, isa):
    rng = np.random.default_rng(steps)
    before = rekur.isa()
    rekur.set_isa(isa)
    try:
        for scale in (1.0, 0.0, 15.0):
            labels, logits = _random(rng, 7, steps, classes, most)
            logits *= np.float32(scale)
            valid = rng.random((7, steps)) < 0.8
            expected, slopes = reference_ctc.ctc(labels, logits, valid, True)
            values, gradient = ctc(labels, logits, valid, True)
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=2e-6)
            np.testing.assert_allclose(gradient, slopes, atol=5e-6)
            np.testing.assert_array_equal(ctc(labels, logits, valid, False)[0], values)
    finally:
        rekur.set_isa(before)


@pytest.mark.parametrize("confidence", [30.0, 200.0, 5000.0])
def test_labels_that_outputs_are_sure_not_to_mean_have_finite_values(confidence):
    """Nothing that scaled sums lose may be missing: beyond what they hold, it is computed in logarithms."""
    rng = np.random.default_rng(3)
    labels, logits = _random(rng, 5, 60, 9, 20)
    logits[:, :, 0] += np.float32(confidence)  # a blank at every step
    expected, slopes = reference_ctc.ctc(labels, logits, np.ones((5, 60), bool), True)
    values, gradient = ctc(labels, logits, np.ones((5, 60), bool), True)
    assert np.isfinite(expected).all() and expected.max() > confidence
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, slopes, atol=2e-4 if confidence > 1000 else 2e-5)
    flat = np.zeros((2, 3000, 40), np.float32)
    one = np.array([[1, 2, 3], [4, 4, 4]])
    everywhere = np.ones((2, 3000), bool)
    expected, slopes = reference_ctc.ctc(one, flat, everywhere, True)
    values, gradient = ctc(one, flat, everywhere, True)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, slopes, atol=1e-6)


def test_the_bits_are_the_same_for_any_number_of_threads_and_any_batch():
    rng = np.random.default_rng(5)
    labels, logits = _random(rng, 33, 40, 29, 11)
    valid = rng.random((33, 40)) < 0.9
    before = rekur.num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            found.append(ctc(labels, logits, valid, True))
    finally:
        rekur.set_num_threads(before)
    for values, gradient in found[1:]:
        np.testing.assert_array_equal(values, found[0][0])
        np.testing.assert_array_equal(gradient, found[0][1])
    for b in (0, 17, 32):
        values, gradient = ctc(labels[b : b + 1], logits[b : b + 1], valid[b : b + 1], True)
        assert values[0] == found[0][0][b]
        np.testing.assert_array_equal(gradient[0], found[0][1][b])


def test_values_and_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")
    lengths = [7, 4, 7, 6]
    valid = np.arange(7) < np.array(lengths)[:, None]
    x = torch.tensor(LOGITS.astype(np.float64), requires_grad=True)
    count = torch.tensor((LABELS != 0).sum(axis=1))
    log_p = torch.log_softmax(x, -1).transpose(0, 1)
    theirs = torch.nn.functional.ctc_loss(log_p, torch.tensor(LABELS), torch.tensor(lengths), count, reduction="none")
    theirs.sum().backward()
    values, gradient = ctc(LABELS, LOGITS, valid, True)
    np.testing.assert_allclose(values, theirs.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(gradient, x.grad.numpy(), atol=1e-6)
    for blank, reduction in ((2, "none"), (4, "none")):
        labels = np.where(blank == LABELS, 0, LABELS)
        theirs = torch.nn.CTCLoss(blank, reduction, zero_infinity=True)(
            log_p.detach(), torch.tensor(labels), torch.tensor(lengths), torch.tensor([4, 1, 4, 3])
        )
        ours = sequences.ctc_loss(labels, LOGITS, [4, 1, 4, 3], lengths, mask_index=blank, zero_infinity=True)
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5)


def test_values_are_those_of_keras():
    keras = pytest.importorskip("keras")
    theirs = keras.losses.CTC()(LABELS.astype("int32"), LOGITS.astype("float32"))
    assert losses.CTC()(LABELS, LOGITS) == pytest.approx(float(theirs), rel=1e-5)
    many, lengths = np.array([3, 1, 4, 0]), np.array([7, 4, 7, 5])
    theirs = keras.ops.ctc_loss(LABELS, LOGITS, many, lengths, mask_index=0)
    np.testing.assert_allclose(ops.ctc_loss(LABELS, LOGITS, many, lengths), theirs, rtol=1e-5)


def test_labels_that_do_not_fit_are_infinitely_unlikely_and_move_nothing():
    values, gradient = ctc(np.array([[1, 1, 1]]), LOGITS[:1, :4], ALL[:1, :4], True)
    assert values[0] == np.inf
    assert not gradient.any()
    never = LOGITS[:1].copy()
    never[:, :, 1] = -np.inf
    values, gradient = ctc(np.array([[1]]), never, ALL[:1], True)
    assert values[0] == np.inf
    assert not gradient.any()


def test_zero_infinity_leaves_out_rows_whose_labels_do_not_fit(tmp_path):
    few = np.array([[1, 1, 1, 1], [1, 2, 0, 0]])
    assert losses.CTC()(few, LOGITS[:2, :6]) == np.inf
    expected = losses.CTC()(few[1:], LOGITS[1:2, :6]) / 2
    assert losses.CTC(zero_infinity=True)(few, LOGITS[:2, :6]) == pytest.approx(expected)
    model = Sequential([layers.Dense(5, input_shape=(6, 5))], seed=1)
    model.compile("sgd", losses.CTC(zero_infinity=True))
    value = model.evaluate(LOGITS[:2, :6], few)
    assert 0 < value < np.inf
    model.save(tmp_path / "m.safetensors")
    assert rekur.load(tmp_path / "m.safetensors").evaluate(LOGITS[:2, :6], few) == value
    model.fit(LOGITS[:2, :6], few, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_rows_without_labels_or_steps():
    logits = LOGITS[:3]
    nothing = np.zeros((3, 0), np.int32)
    values = sequences.ctc_loss(nothing, logits, [0, 0, 0], [7, 1, 0])
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(values, [-log_p[0, :, 0].sum(), -log_p[1, 0, 0], 0], rtol=1e-5)
    assert sequences.ctc_loss([[1]], logits[:1], [1], [0])[0] == np.inf
    assert sequences.ctc_loss(np.zeros((0, 3), int), np.zeros((0, 4, 5)), [], []).shape == (0,)


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
    with pytest.raises(TypeError, match="zero_infinity must be True or False"):
        losses.CTC(zero_infinity=1)
    for target, many, lengths, mask, message in (
        ([[1, 0]], [2], [7], 0, "other than the blank, 0, got 0"),
        ([[1, 5]], [2], [7], 0, r"classes from 0 to 4 .* got 5"),
        ([[1]], [2], [7], 0, r"target_length: expected lengths from 0 to 1, got 2"),
        ([[1]], [1], [8], 0, r"output_length: expected lengths from 0 to 7, got 8"),
        ([[1]], [1, 1], [7], 0, r"target_length: expected shape \(1,\), one a row, got \(2,\)"),
        ([[1], [1]], [1], [7], 0, r"target: expected shape \(1, L\), got \(2, 1\)"),
        ([[1]], [1], [7], 5, "mask_index must be one of the 5 classes, got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            sequences.ctc_loss(target, LOGITS[:1], many, lengths, mask)
    with pytest.raises(ValueError, match=r"output: expected logits of shape \(B, T, classes\), got \(7, 5\)"):
        sequences.ctc_loss([[1]], LOGITS[0], [1], [7])
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
    assert np.isnan(gradient[1]).all()
    assert np.isfinite(np.delete(values, 1)).all()
    assert np.isfinite(np.delete(gradient, 1, axis=0)).all()


def test_rows_without_steps_are_left_out_without_a_warning():
    model = rekur.Sequential([layers.Dense(3, input_shape=(None, 2))], seed=1)
    model.compile("sgd", "ctc")
    x, y = np.ones((2, 4, 2)), [[1, 2], [1, 2]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.evaluate(x, y, lengths=[4, 0]) == pytest.approx(model.evaluate(x[:1], y[:1]) / 2)
        assert model.evaluate(x, y, lengths=[0, 0]) == 0
