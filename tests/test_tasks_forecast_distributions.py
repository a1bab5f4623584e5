"""Distributions of rekur.tasks.forecasting: likelihoods, quantiles, draws, calibration, paths."""

import numpy as np
import pytest

from rekur.debug import check_loss_gradients
from rekur.tasks import Forecaster, load
from rekur.tasks.forecasting import _calibration, _losses, _student
from rekur.tasks.forecasting.distributions import FAMILIES

RNG = np.random.default_rng(3)
LEVELS = [0.01, 0.1, 0.3, 0.5, 0.8, 0.99]


def of_scipy(name, parameters):
    stats = pytest.importorskip("scipy.stats")
    a = [parameters[..., k, None] for k in range(parameters.shape[-1])]
    if name == "normal":
        return stats.norm(a[0], a[1])
    if name == "student_t":
        return stats.t(a[2], a[0], a[1])
    if name == "laplace":
        return stats.laplace(a[0], a[1])
    if name == "lognormal":
        return stats.lognorm(a[1], scale=a[0])
    if name == "poisson":
        return stats.poisson(a[0])
    r = 1 / a[1]
    return stats.nbinom(r, r / (r + a[0]))


def some_parameters(name, shape):
    first = RNG.uniform(0.2, 60, shape) if name not in ("normal", "student_t", "laplace") else RNG.normal(size=shape)
    second = RNG.uniform(0.1, 2, shape)
    given = {"poisson": [first], "student_t": [first, second, RNG.uniform(2, 40, shape)]}.get(name, [first, second])
    return np.stack(given, axis=-1)


@pytest.mark.parametrize("name", FAMILIES)
def test_quantiles_and_means_are_scipys(name):
    family, parameters = FAMILIES[name], some_parameters(name, (5, 4))
    reference = of_scipy(name, parameters)
    found, expected = family.quantiles(parameters, LEVELS), reference.ppf(LEVELS)
    if family.counts:
        assert np.array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(family.mean(parameters), reference.mean()[..., 0], rtol=1e-9)


def test_counts_far_from_zero_and_very_skewed_ones():
    stats = pytest.importorskip("scipy.stats")
    mean = np.array([0.01, 900.0, 2e5])
    assert np.array_equal(
        FAMILIES["poisson"].quantiles(mean[:, None], LEVELS), stats.poisson(mean[:, None]).ppf(LEVELS)
    )
    skewed = np.stack([mean, np.full(3, 2.0)], axis=-1)
    expected = of_scipy("negative_binomial", skewed).ppf(LEVELS)
    np.testing.assert_allclose(FAMILIES["negative_binomial"].quantiles(skewed, LEVELS), expected, rtol=1e-3)


@pytest.mark.parametrize("freedom", [2.0, 2.3, 5.0, 30.0, 1e6])
def test_quantiles_of_student(freedom):
    stats = pytest.importorskip("scipy.stats")
    found = _student.quantiles(np.array([freedom]), LEVELS)[0]
    np.testing.assert_allclose(found, stats.t.ppf(LEVELS, freedom), atol=1e-8)


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_are_of_the_distribution(name):
    family, parameters = FAMILIES[name], some_parameters(name, (3,))
    drawn = family.draw(np.repeat(parameters[None], 40_000, axis=0), np.random.default_rng(1))
    for level in (0.2, 0.5, 0.9):
        at = family.quantiles(parameters, [level])[:, 0]
        share = (drawn <= at).mean(axis=0)
        assert (share > level - 0.01).all()
        if not family.counts:
            assert (share < level + 0.01).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_likelihoods_are_scipys_but_for_what_no_weight_changes(name):
    """Differences of losses of two heads, at two values: terms of the value and the window's scale alone go."""
    family = FAMILIES[name]
    location, scale = np.array([3.0]), np.array([2.0])
    heads = RNG.normal(size=(2, 6, family.count))
    values = np.round(RNG.uniform(1, 9, size=(6, 1)))

    def loss(head):
        return np.asarray(family.loss(values, [head[:, k : k + 1] for k in range(family.count)], location, scale))

    def expected(head):
        raw = family.network([head[:, k : k + 1] for k in range(family.count)], location, scale, 1.0)
        reference = of_scipy(name, np.concatenate(raw, axis=-1)[:, None, :])
        logs = reference.logpmf if family.counts else reference.logpdf
        return -logs(values[:, None])[:, 0]

    np.testing.assert_allclose(loss(heads[0]) - loss(heads[1]), expected(heads[0]) - expected(heads[1]), rtol=1e-5)


ROWS = 6
THERE = np.array([[1.0], [1], [0], [1], [0], [1]])
WINDOW = np.stack([RNG.uniform(2, 5, ROWS), RNG.uniform(1, 3, ROWS)], axis=1)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_of_likelihoods(name):
    family = FAMILIES[name]
    told = np.concatenate([RNG.normal(size=(ROWS, family.count)), WINDOW], axis=-1)
    target = np.concatenate([np.round(RNG.uniform(1, 9, size=(ROWS, 1))) * THERE, THERE], axis=-1)
    loss = _losses.likelihood(family)
    check_loss_gradients(loss, target, told)
    found = np.asarray(loss(target, told))
    assert (found[THERE[:, 0] == 0] == 0).all() and np.isfinite(found).all()


def test_pinball_and_squares_by_hand():
    quantiles = [0.1, 0.5, 0.9]
    head, values = RNG.normal(size=(ROWS, 3)), RNG.normal(4, 2, size=(ROWS, 1))
    target = np.concatenate([values * THERE, THERE], axis=-1)
    expected, squares = np.zeros(ROWS), np.zeros(ROWS)
    for row in range(ROWS):
        z = (values[row, 0] - WINDOW[row, 0]) / WINDOW[row, 1]
        losses = [max(q * (z - f), (q - 1) * (z - f)) for q, f in zip(quantiles, head[row], strict=True)]
        expected[row] = THERE[row, 0] * np.mean(losses)
        squares[row] = THERE[row, 0] * (z - head[row, 0]) ** 2
    told, points = np.concatenate([head, WINDOW], axis=-1), np.concatenate([head[:, :1], WINDOW], axis=-1)
    np.testing.assert_allclose(_losses.pinball(quantiles)(target, told), expected)
    check_loss_gradients(_losses.pinball(quantiles), target, told)
    np.testing.assert_allclose(_losses.squared()(target, points), squares)
    check_loss_gradients(_losses.squared(), target, points)


def test_normal_scores_and_back():
    told = np.sort(RNG.normal(size=(3, 4, 9)), axis=-1)
    levels = [k / 10 for k in range(1, 10)]
    values = RNG.normal(size=(50, 3, 4))
    scores = _calibration.normal_scores(values, told, levels)
    inside = np.abs(scores) < 4
    np.testing.assert_allclose(_calibration.values_at(scores, told, levels)[inside], values[inside], atol=1e-9)
    np.testing.assert_allclose(_calibration.normal_scores(told[..., 4], told, levels), 0, atol=1e-12)


def test_draws_go_together_as_the_errors_did():
    correlations = 0.8 ** np.abs(np.arange(6)[:, None] - np.arange(6))
    errors = np.linalg.cholesky(correlations) @ RNG.normal(size=(6, 4000))
    found = _calibration._correlations(errors.T, 6)
    np.testing.assert_allclose(found, correlations, atol=0.05)
    drawn = _calibration.draw_scores(found, 20_000, (1, 6, 1), np.random.default_rng(0))
    np.testing.assert_allclose(np.corrcoef(drawn[:, 0, :, 0].T), correlations, atol=0.06)
    few = _calibration._correlations(errors.T[:3], 6)
    assert np.linalg.eigvalsh(few).min() > 0
    holes = np.where(RNG.random((4000, 6)) < 0.3, np.nan, errors.T)
    np.testing.assert_allclose(_calibration._correlations(holes, 6), correlations, atol=0.08)


@pytest.fixture(scope="module")
def walk():
    return np.cumsum(RNG.normal(size=700))


@pytest.mark.parametrize("output", ["quantiles", "student_t"])
def test_paths_are_walks_where_the_series_is_one(output, walk, tmp_path):
    model = Forecaster(8, output=output, epochs=15, units=8, context=12, random_state=0, learning_rate=0.01).fit(walk)
    paths = model.sample(40_000, random_state=0)
    assert paths.shape == (8, 40_000)
    bands = model.predict_quantiles(quantiles=[0.1, 0.5, 0.9])
    np.testing.assert_allclose(np.quantile(paths, [0.1, 0.5, 0.9], axis=1).T, bands, atol=0.25)
    assert np.corrcoef(paths[6], paths[7])[0, 1] > 0.8  # the steps of a walk go together
    spread = np.diff(bands[:, [0, 2]], axis=1)[:, 0]
    assert spread[7] > 1.7 * spread[0]
    model.save(tmp_path / "walk.safetensors")
    assert np.array_equal(
        load(tmp_path / "walk.safetensors").sample(5, random_state=1), model.sample(5, random_state=1)
    )
    assert not np.array_equal(model.sample(5), model.sample(5))


@pytest.mark.parametrize("output", ["negative_binomial", "poisson"])
def test_counts(output):
    rate = np.exp(1 + np.sin(np.arange(500) * 2 * np.pi / 12))
    sold = RNG.poisson(rate).astype(float)
    model = Forecaster(12, season=12, output=output, epochs=12, units=8, context=36, random_state=0, learning_rate=0.01)
    back = model.backtest(sold, folds=8)
    found = back.scores()
    assert found["rekur"]["scaled_crps"] < found["seasonal naive"]["scaled_crps"]
    model.fit(sold)
    paths = model.sample(500, random_state=0)
    assert (paths == np.round(paths)).all() and paths.min() >= 0
    assert np.corrcoef(paths.mean(axis=1), rate[500 - 12 :])[0, 1] > 0.9
    with pytest.raises(ValueError, match=r"is of counts, whole numbers from 0 on, got 1\.5"):
        Forecaster(2, output=output).fit([1.0, 2.0, 1.5, 2.0, 3.0])


def test_calibration_makes_a_distribution_as_wide_as_errors_are():
    """A network of one epoch whose widths nobody has learned yet."""
    x = RNG.normal(size=900)
    model = Forecaster(4, output="normal", epochs=1, units=4, context=8, random_state=0, validation_fraction=0.4)
    inside = (np.abs(model.fit(x).predict_interval(coverage=0.8)[:, 1:]) > 0).all()
    bands = model.predict_interval(coverage=0.8)
    plain = Forecaster(**{**model.get_params(), "calibrate": False}).fit(x).predict_interval(coverage=0.8)
    assert inside and np.abs(bands[:, 0] - plain[:, 0]).max() < 1e-6
    back = model.backtest(x, folds=60)
    assert abs(back.scores()["rekur"]["coverage"] - 0.8) < 0.08


def test_a_target_of_which_nothing_is_held_back_keeps_its_width():
    y = RNG.normal(size=(300, 2))
    y[150:, 1] = np.nan  # and the last 120 steps are held back
    options = {"output": "normal", "epochs": 1, "units": 4, "context": 160, "random_state": 0}
    model = Forecaster(3, validation_fraction=0.4, **options).fit(y)
    plain = Forecaster(3, validation_fraction=0.4, calibrate=False, **options).fit(y)
    ratio = np.diff(model.predict_interval()[..., 1:]) / np.diff(plain.predict_interval()[..., 1:])
    np.testing.assert_allclose(ratio[:, 1], 1.0, rtol=1e-5)
    assert (np.abs(ratio[:, 0] - 1) > 1e-3).all()


def test_values_that_a_family_has_not_are_refused():
    with pytest.raises(ValueError, match="is of values above 0, got -1"):
        Forecaster(2, output="lognormal").fit([1.0, 2.0, -1.0, 2.0, 3.0])
