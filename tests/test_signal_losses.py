"""ESR and DC losses with pre-emphasis, and weighted sums of losses, against their formulas in float64."""

import copy
import pickle

import numpy as np
import pytest

import rekur
from rekur import layers, losses, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 40, 2)).astype(np.float32)
Y = RNG.normal(size=(6, 40, 1)).astype(np.float32)


def emphasized(v, coefficient):
    """First order, 0 before the first step, as CoreAudioML's PreEmph([-0.85, 1]) does it."""
    padded = np.concatenate([np.zeros_like(v[:, :1]), v], axis=1)
    return padded[:, 1:] - coefficient * padded[:, :-1]


def esr(y, p, coefficient=0.0, epsilon=1e-5):
    y, p = (emphasized(np.asarray(v, np.float64), coefficient) for v in (y, p))
    return (((y - p) ** 2).mean(axis=1) / ((y**2).mean(axis=1) + epsilon)).mean()


def dc(y, p, coefficient=0.0, epsilon=1e-5):
    y, p = (emphasized(np.asarray(v, np.float64), coefficient) for v in (y, p))
    return ((y - p).mean(axis=1) ** 2 / ((y**2).mean(axis=1) + epsilon)).mean()


def amp(loss, seed=1, **options):
    model = rekur.Sequential(
        [layers.Input((None, 2)), layers.LSTM(5, return_sequences=True), layers.Dense(1)], seed=seed
    )
    model.compile(rekur.optimizers.Adam(0.01), loss, **options)
    return model


@pytest.mark.parametrize("coefficient", [0.0, 0.85, 0.95])
def test_called_with_arrays_and_by_the_engine_they_are_their_formulas(coefficient):
    for loss, formula in ((losses.ESR(coefficient), esr), (losses.DC(pre_emphasis=coefficient), dc)):
        model = amp(loss)
        found = model.predict(X, verbose=0)
        expected = formula(Y, found, coefficient)
        assert loss(Y, found) == pytest.approx(expected, rel=1e-9)
        assert loss(Y[..., 0], found) == pytest.approx(expected, rel=1e-9)
        assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)
        assert model.evaluate(X, Y, batch_size=4, verbose=0) == pytest.approx(expected, rel=1e-5)  # 4 rows and 2


def test_esr_is_auraloss_ratio_where_its_epsilon_is_the_same():
    # auraloss: sum e² / (sum y² + eps) over the samples of a row and channel, their mean.
    p = RNG.normal(size=Y.shape)
    theirs = (((Y - p) ** 2).sum(axis=1) / ((Y.astype(np.float64) ** 2).sum(axis=1) + 1e-8)).mean()
    assert losses.ESR(epsilon=1e-8 / Y.shape[1])(Y, p) == pytest.approx(theirs, rel=1e-12)
    mean = ((Y - p).mean(axis=1) ** 2 / ((Y.astype(np.float64) ** 2).mean(axis=1) + 1e-8)).mean()
    assert losses.DC(epsilon=1e-8)(Y, p) == pytest.approx(mean, rel=1e-9)


def test_lengths_masks_and_weights():
    loss = losses.ESR(0.85)
    model = amp(loss)
    found = model.predict(X, verbose=0)
    lengths = np.array([40, 3, 17, 1, 40, 8])
    each = [esr(Y[r : r + 1, :n], found[r : r + 1, :n], 0.85) for r, n in enumerate(lengths)]
    assert model.evaluate(X, Y, lengths=lengths, verbose=0) == pytest.approx(np.mean(each), rel=1e-5)
    weight = np.array([1, 0, 2, 0.5, 1, 3])
    assert model.evaluate(X, Y, lengths=lengths, sample_weight=weight, verbose=0) == pytest.approx(
        np.mean(each * weight), rel=1e-5
    )
    settled = np.ones(Y.shape[:2], np.float32)
    settled[:, :10] = 0
    late = esr(Y[:, 10:], found[:, 10:], 0.85)
    assert model.evaluate(X, Y, sample_weight=settled, verbose=0) == pytest.approx(late, rel=1e-5)
    assert loss(Y, found, settled) == pytest.approx(late, rel=1e-9)
    wrong = np.where(settled > 0, RNG.uniform(1, 2, settled.shape), 0)
    for call in (lambda: model.evaluate(X, Y, sample_weight=wrong, verbose=0), lambda: loss(Y, found, wrong)):
        with pytest.raises(ValueError, match="within row 0 the same or 0"):
            call()


def test_gradients_are_those_of_central_differences():
    model = amp(0.75 * losses.ESR(0.85) + 0.25 * losses.DC())
    model.compile(rekur.optimizers.SGD(1.0), 0.75 * losses.ESR(0.85) + 0.25 * losses.DC())
    before = model.get_weights()
    model.train_on_batch(X, Y)
    gradients = [a - b for a, b in zip(before, model.get_weights(), strict=True)]

    def value(weights):
        model.set_weights(weights)
        p = model.predict(X, verbose=0)
        return 0.75 * esr(Y, p, 0.85) + 0.25 * dc(Y, p)

    step = 1e-2
    for k, array in enumerate(before):
        for i in range(0, array.size, 7):
            up, down = ([w.copy() for w in before] for _ in range(2))
            up[k].flat[i] += step
            down[k].flat[i] -= step
            assert gradients[k].flat[i] == pytest.approx((value(up) - value(down)) / (2 * step), rel=2e-2, abs=2e-4)


def huberlike(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred) / (1.0 + ops.abs(y_true - y_pred)), axis=-1)


def test_sums_of_losses_are_sums(tmp_path):
    loss = 0.75 * losses.ESR(pre_emphasis=0.85) + losses.DC() * 0.25
    assert loss.weights == [0.75, 0.25] and [type(part) for part in loss.losses] == [losses.ESR, losses.DC]
    loss = 2 * (loss + losses.MeanAbsoluteError()) + losses.WeightedSum([huberlike], [0.1])
    assert loss.weights == [1.5, 0.5, 2, 0.1]
    model = amp(loss)
    found = model.predict(X, verbose=0)
    e = Y.astype(np.float64) - found
    parts = [esr(Y, found, 0.85), dc(Y, found), np.abs(e).mean(), (e**2 / (1 + np.abs(e))).mean()]
    expected = np.dot(loss.weights, parts)
    assert loss(Y, found) == pytest.approx(expected, rel=1e-6)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)
    # Training goes on from a file, a copy and a pickle as it would have.
    model.fit(X, Y, epochs=2, batch_size=3, verbose=0)
    model.save(tmp_path / "a.safetensors")
    twins = [rekur.load(tmp_path / "a.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    losses_after = [
        m.fit(X, Y, epochs=1, batch_size=3, shuffle=False, verbose=0).history["loss"] for m in (model, *twins)
    ]
    assert all(after == losses_after[0] for after in losses_after)
    config = rekur.losses.get(losses.ESR(0.95, epsilon=0.1).get_config())
    assert (config.pre_emphasis, config.epsilon) == (0.95, 0.1)


def test_amplifiers_are_learnt(tmp_path):
    x = RNG.normal(scale=0.5, size=(16, 100, 1)).astype(np.float32)
    y = np.tanh(3 * x) * 0.5
    model = rekur.Sequential([layers.Input((None, 1)), layers.GRU(8, return_sequences=True), layers.Dense(1)], seed=2)
    model.compile(rekur.optimizers.Adam(0.01), 0.75 * losses.ESR(0.85) + 0.25 * losses.DC())
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=40, batch_size=8, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.1 * before
    # Windows of the sequences have ratios of their own.
    history = model.fit(x, y, epochs=3, batch_size=8, tbptt=25, verbose=0).history["loss"]
    assert all(np.isfinite(history))


def test_what_is_refused():
    with pytest.raises(ValueError, match="esr is a loss of sequences"):
        model = rekur.Sequential([layers.Dense(1, input_shape=(3,))])
        model.compile("sgd", losses.ESR())
        model.fit(np.ones((4, 3), np.float32), np.ones((4, 1), np.float32), verbose=0)
    for options in ({"pre_emphasis": 1.5}, {"pre_emphasis": -0.1}, {"epsilon": 0}, {"reduction": "sum"}):
        with pytest.raises(ValueError, match="esr: "):
            losses.ESR(**options)
    for part in (losses.SparseCategoricalCrossentropy(), losses.CTC(), losses.MeanSquaredError(reduction="sum")):
        with pytest.raises(ValueError, match="cannot stand in a sum"):
            losses.ESR() + part
    with pytest.raises(ValueError, match="as many weights, got 1 and 2"):
        losses.WeightedSum([losses.ESR()], [1, 2])
    with pytest.raises(TypeError):
        losses.ESR() + 1
    with pytest.raises(TypeError, match="no equation of a step"):
        losses.ESR().call(Y, Y)
    with pytest.raises(ValueError, match=r"\(B, T, features\)"):
        losses.ESR()(Y[..., 0], Y[..., 0])
    assert losses.get("esr").epsilon == 1e-5 and losses.get("DC").name == "dc"
