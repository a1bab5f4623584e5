"""Initialisers: bounds, variances, and that a seed says it all."""

import signal

import numpy as np
import pytest

import rekur
from rekur import Sequential, _core, initializers, layers

FAN_IN, FAN_OUT = 120, 200
_ORTHOGONAL = {}  # by shape: what the first instruction set gave


def _kernel(initializer, seed=0):
    return Sequential(
        [layers.Dense(FAN_OUT, kernel_initializer=initializer, input_shape=(FAN_IN,))], seed=seed
    ).get_weights()[0]


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("glorot_uniform", np.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("he_uniform", np.sqrt(6 / FAN_IN)),
        ("lecun_uniform", np.sqrt(3 / FAN_IN)),
        ("rnn_uniform", 1 / np.sqrt(FAN_OUT)),
        (initializers.RandomUniform(-0.3, 0.3), 0.3),
        ("uniform", 0.05),
    ],
)
def test_uniform(name, bound):
    w = _kernel(name)
    assert 0.99 * bound < np.abs(w).max() <= bound * (1 + 1e-6)
    assert abs(w.mean()) < 0.02 * bound
    assert w.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


# As in Keras: truncated at two standard deviations of a normal that is widened so that the variance is the nominal one.
@pytest.mark.parametrize(
    ("name", "stddev"),
    [
        ("glorot_normal", np.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("he_normal", np.sqrt(2 / FAN_IN)),
        ("lecun_normal", np.sqrt(1 / FAN_IN)),
    ],
)
def test_normal(name, stddev):
    w = _kernel(name)
    assert w.std() == pytest.approx(stddev, rel=0.02)
    assert np.abs(w).max() <= 2 * stddev / 0.8796 * (1 + 1e-4)


def test_log_uniform_and_what_softplus_makes_it():
    for w in (
        _kernel(initializers.LogUniform(0.01, 4.0)),
        np.logaddexp(0, _kernel(initializers.SoftplusLogUniform(0.01, 4.0)).astype(np.float64)),
    ):
        assert w.min() >= 0.01 * (1 - 1e-4) and w.max() <= 4 * (1 + 1e-6)
        logs = np.log(w)
        assert logs.mean() == pytest.approx(np.log(0.01 * 4) / 2, abs=0.05)
        assert logs.std() == pytest.approx(np.log(400) / np.sqrt(12), rel=0.02)
    assert initializers.to_spec("log_uniform", "x") == "log_uniform"
    for wrong, message in [((0.0, 1.0), "minval"), ((2.0, 1.0), "minval 2.0 is above maxval 1.0")]:
        with pytest.raises(ValueError, match=message):
            initializers.LogUniform(*wrong)
    for low, high, message in [(0, 1, "'low' must be 1e-30 or more"), (2, 1, "'low' must not be above 'high'")]:
        with pytest.raises(ValueError, match=message):
            _kernel({"name": "log_uniform", "low": low, "high": high})


def test_log_range_counts_the_rows():
    assert np.allclose(_kernel("log_range"), np.log(np.arange(1, FAN_IN + 1))[:, None] * np.ones(FAN_OUT), atol=1e-6)


def test_random_normal_and_constants():
    w = _kernel(initializers.RandomNormal(mean=3.0, stddev=0.1))
    assert w.mean() == pytest.approx(3.0, abs=0.01)
    assert w.std() == pytest.approx(0.1, rel=0.02)
    assert np.abs(w - 3).max() > 0.3  # the only normal that is not truncated
    assert (_kernel(initializers.Constant(0.25)) == 0.25).all()
    assert (_kernel("ones") == 1).all()
    assert (_kernel(initializers.Zeros) == 0).all()


def test_orthogonal():
    for rows, columns in ((6, 20), (20, 6), (8, 8)):
        layer = layers.Dense(columns, kernel_initializer=initializers.Orthogonal(2.0), input_shape=(rows,))
        w = Sequential([layer], seed=1).get_weights()[0].astype(float)
        product = w @ w.T if rows < columns else w.T @ w
        np.testing.assert_allclose(product, 4 * np.eye(min(rows, columns)), atol=2e-5)


def test_seeds_and_layers_differ():
    np.testing.assert_array_equal(_kernel("he_normal", 1), _kernel("he_normal", 1))
    assert (_kernel("he_normal", 1) != _kernel("he_normal", 2)).any()
    twins = [layers.Dense(4, input_shape=(4,)), layers.Dense(4)]
    first, _, second, _ = Sequential(twins, seed=0).get_weights()
    assert (first != second).all()


def test_names_of_keras():
    assert initializers.to_spec("random_uniform", "x") == "uniform"
    assert initializers.to_spec("HeNormal", "x") == "he_normal"
    assert initializers.to_spec({"name": "constant", "value": 2}, "x") == {"name": "constant", "value": 2.0}


def test_mistakes():
    with pytest.raises(ValueError, match=r"Dense 'dense'.*did you mean 'glorot_uniform'"):
        layers.Dense(1, kernel_initializer="glorot_unifrom")
    with pytest.raises(ValueError, match="unit_forget"):
        layers.Dense(1, bias_initializer="unit_forget")
    with pytest.raises(TypeError, match="initialiser is a name"):
        layers.Dense(1, kernel_initializer=3)
    with pytest.raises(ValueError, match="finite"):
        initializers.Constant(np.nan)
    with pytest.raises(ValueError, match="no parameter 'gian'"):
        layers.Dense(1, kernel_initializer={"name": "orthogonal", "gian": 2})
    with pytest.raises(ValueError, match="minval"):
        initializers.RandomUniform(1.0, -1.0)


def test_a_layer_that_is_added_leaves_the_weights_that_are_there_and_draws_only_its_own(monkeypatch):
    drawn = []
    real = _core.Model.initialize

    def initialize(self, seed, keep=()):
        drawn.append([name for name, _, _ in self.parameters if name not in keep])
        return real(self, seed, keep)

    monkeypatch.setattr(_core.Model, "initialize", initialize)
    model = rekur.Sequential(
        [rekur.layers.Dense(4, name="a", input_shape=(3,), kernel_initializer="orthogonal")], seed=3
    )
    first = model.get_weights()
    changed = [w + 1 for w in first]
    model.set_weights(changed)
    for name in "bcd":
        model.add(rekur.layers.Dense(4, name=name, kernel_initializer="orthogonal"))
        if name != "c":
            model.count_params()
    for a, b in zip(model.get_weights()[:2], changed, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [[name[0] for name in names] for names in drawn] == [["a", "a"], ["b", "b"], ["c", "c", "d", "d"]]
    whole = rekur.Sequential([rekur.layers.Dense(4, name=n, kernel_initializer="orthogonal") for n in "abcd"], seed=3)
    whole.build((None, 3))
    for a, b in zip(model.get_weights()[2:], whole.get_weights()[2:], strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="no parameter 'e/kernel' to keep"):
        real(_core.Model(model._engine().spec), 1, ["e/kernel"])


def test_drawing_orthogonal_weights_hears_ctrl_c():
    def interrupt(*_):
        raise KeyboardInterrupt

    model = rekur.Sequential([rekur.layers.Dense(2600, input_shape=(2600,), kernel_initializer="orthogonal")])
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.count_params()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert model._native is None


def test_orthogonal_weights_are_the_same_bits_on_every_instruction_set(isa):
    for shape in [(70, 300), (300, 70), (257, 257)]:
        model = rekur.Sequential(
            [rekur.layers.Dense(shape[1], input_shape=(shape[0],), kernel_initializer="orthogonal")], seed=5
        )
        kernel = model.get_weights()[0]
        gram = kernel.astype(np.float64)
        gram = gram @ gram.T if shape[0] <= shape[1] else gram.T @ gram
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=2e-7)
        assert _ORTHOGONAL.setdefault(shape, kernel.tobytes()) == kernel.tobytes()
