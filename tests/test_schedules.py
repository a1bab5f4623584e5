"""Learning rates that follow the count of steps, and what stands in rekur.utils: Keras's numbers."""

import copy
import importlib.util
import os
import pickle
import warnings

import numpy as np
import pytest

import rekur
from rekur import Input, Sequential, layers, optimizers, utils
from rekur.optimizers import schedules

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
Y = X.sum(axis=1)

CASES = {
    "exponential": ("ExponentialDecay", (0.1, 10, 0.5), {}),
    "exponential, stairs": ("ExponentialDecay", (0.1, 7, 0.9), {"staircase": True}),
    "inverse time": ("InverseTimeDecay", (0.1, 10, 0.5), {}),
    "inverse time, stairs": ("InverseTimeDecay", (0.1, 7, 0.5), {"staircase": True}),
    "piecewise": ("PiecewiseConstantDecay", ([5, 10], [1.0, 0.5, 0.1]), {}),
    "piecewise, one boundary": ("PiecewiseConstantDecay", ([5], [1.0, 0.5]), {}),
    "polynomial": ("PolynomialDecay", (0.1, 20), {"power": 0.5}),
    "polynomial, cycle": ("PolynomialDecay", (0.1, 6, 0.01), {"cycle": True, "power": 2.0}),
    "cosine": ("CosineDecay", (0.1, 20), {"alpha": 0.1}),
    "cosine, warm-up": ("CosineDecay", (0.0, 20), {"warmup_target": 0.2, "warmup_steps": 5, "alpha": 0.1}),
    "restarts": ("CosineDecayRestarts", (0.1, 5), {}),
    "restarts, shrinking": ("CosineDecayRestarts", (0.1, 5), {"t_mul": 1.5, "m_mul": 0.5, "alpha": 0.1}),
    "restarts, of one length": ("CosineDecayRestarts", (0.1, 5), {"t_mul": 1.0, "m_mul": 0.9}),
}
every_case = pytest.mark.parametrize(("name", "arguments", "options"), CASES.values(), ids=CASES)


@every_case
def test_rates_are_those_of_keras(name, arguments, options):
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("jax") is None:
        pytest.skip("no keras to compare with")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    theirs = getattr(keras.optimizers.schedules, name)(*arguments, **options)
    ours = getattr(schedules, name)(*arguments, **options)
    for step in (0, 1, 4, 5, 6, 7, 10, 11, 13, 20, 24, 25, 40):
        assert ours(step) == pytest.approx(float(theirs(step)), rel=2e-5, abs=1e-7), step
    assert {k: v for k, v in theirs.get_config().items() if k != "name"}.keys() <= ours.get_config().keys()


@every_case
def test_a_schedule_is_data(name, arguments, options):
    schedule = getattr(schedules, name)(*arguments, **options)
    config = schedule.get_config()
    assert type(schedule).from_config(config) == schedule
    assert schedules.deserialize(schedules.serialize(schedule)) == schedule
    assert repr(schedule).startswith(f"{name}(")
    assert copy.deepcopy(schedule) == schedule == pickle.loads(pickle.dumps(schedule))


def model_with(optimizer, **options):
    model = Sequential([Input((3,)), layers.Dense(1)], seed=0)
    model.compile(optimizer, "mse", **options)
    return model


@pytest.mark.parametrize("name", sorted(optimizers.NAMES))
def test_every_optimizer_follows_a_schedule_step_by_step(name):
    schedule = schedules.ExponentialDecay(0.1, 2, 0.5)
    model = model_with(optimizers.NAMES[name](learning_rate=schedule))
    plain = model_with(optimizers.NAMES[name](0.1))
    model.fit(X, Y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    for step in range(8):
        plain.optimizer.learning_rate = schedule(step)
        at = 2 * (step % 4)
        plain.train_on_batch(X[at : at + 2], Y[at : at + 2])
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.optimizer.learning_rate == pytest.approx(schedule(8))  # of the next step, as in Keras


def test_training_goes_on_from_a_file_along_the_schedule(tmp_path):
    schedule = schedules.CosineDecay(0.1, 6, warmup_target=0.2, warmup_steps=2)
    model, whole = (model_with(optimizers.SGD(schedule)) for _ in range(2))
    whole.fit(X, Y, batch_size=4, epochs=3, verbose=0)
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0)
    model.save(tmp_path / "m.safetensors")
    for twin in (rekur.load(tmp_path / "m.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.optimizer.learning_rate == model.optimizer.learning_rate == 0.2
        twin.fit(X, Y, batch_size=4, epochs=2, verbose=0)
        for a, b in zip(twin.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_schedule_of_ones_own_acts_and_is_saved_as_the_rate_of_now(tmp_path):
    class Halving(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 / 2**step

    model = model_with(optimizers.SGD(Halving()))
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0)
    assert model.optimizer.learning_rate == 0.025
    with pytest.warns(UserWarning, match="saved with the learning rate of now.*schedule"):
        model.save(tmp_path / "m.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rekur.load(tmp_path / "m.safetensors").optimizer.learning_rate == pytest.approx(0.025)


def test_a_rate_that_follows_a_schedule_cannot_be_set():
    optimizer = optimizers.Adam(schedules.ExponentialDecay(0.1, 10, 0.5))
    with pytest.raises(TypeError, match=r"adam: learning_rate follows ExponentialDecay\(.*cannot be set"):
        optimizer.learning_rate = 0.5
    model = model_with(optimizer)
    with pytest.raises(TypeError, match="cannot be set"):
        model.fit(X, Y, verbose=0, callbacks=[rekur.callbacks.LearningRateScheduler(lambda epoch: 0.1)])


def test_wrong_arguments_of_schedules_say_what_was_expected():
    with pytest.raises(ValueError, match="decay_steps must be above 0"):
        schedules.ExponentialDecay(0.1, 0, 0.5)
    with pytest.raises(ValueError, match="one more of values than of boundaries, got 2 and 2"):
        schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="boundaries must ascend"):
        schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3])
    with pytest.raises(TypeError, match="a number or a schedule"):
        optimizers.SGD(lambda step: 0.1)
    with pytest.raises(ValueError, match="no schedule is called 'Cosine'"):
        schedules.deserialize({"class_name": "Cosine", "config": {}})


# utils


SEQUENCES = [[1], [2, 3], [4, 5, 6], []]


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [None, 2, 5])
def test_pad_sequences_is_that_of_keras(padding, truncating, maxlen):
    keras = pytest.importorskip("keras")
    options = {"padding": padding, "truncating": truncating, "maxlen": maxlen, "value": 9}
    np.testing.assert_array_equal(
        utils.pad_sequences(SEQUENCES, **options), keras.utils.pad_sequences(SEQUENCES, **options)
    )
    vectors = [np.ones((k, 2)) * k for k in (1, 3)]
    np.testing.assert_array_equal(
        utils.pad_sequences(vectors, dtype="float32", **options),
        keras.utils.pad_sequences(vectors, dtype="float32", **options),
    )


def test_pad_sequences_by_hand():
    np.testing.assert_array_equal(utils.pad_sequences(SEQUENCES, 2), [[0, 1], [2, 3], [5, 6], [0, 0]])
    made = utils.pad_sequences(SEQUENCES, 2, padding="post", truncating="post")
    np.testing.assert_array_equal(made, [[1, 0], [2, 3], [4, 5], [0, 0]])
    assert made.dtype == np.int32
    assert rekur.preprocessing.sequence.pad_sequences is utils.pad_sequences
    with pytest.raises(ValueError, match="padding must be 'pre' or 'post', got 'end'"):
        utils.pad_sequences(SEQUENCES, padding="end")
    with pytest.raises(ValueError, match="sequence 1: expected a list, got 3"):
        utils.pad_sequences([[1], 3])


def test_to_categorical_and_normalize():
    np.testing.assert_array_equal(utils.to_categorical([0, 2]), [[1, 0, 0], [0, 0, 1]])
    assert utils.to_categorical([[0], [1]], 4).shape == (2, 4)
    assert utils.to_categorical(np.zeros((2, 3), int), 5).shape == (2, 3, 5)
    with pytest.raises(ValueError, match="indices from 0 to 1, got 2"):
        utils.to_categorical([0, 2], num_classes=2)
    with pytest.raises(ValueError, match="whole numbers"):
        utils.to_categorical([0.5])
    np.testing.assert_allclose(utils.normalize([[3.0, 4.0], [0.0, 0.0]]), [[0.6, 0.8], [0, 0]])
    with pytest.raises(AttributeError, match="which Keras has"):
        _ = utils.get_file


def test_names_stand_where_keras_has_them():
    from rekur import ops
    from rekur.layers import Layer
    from rekur.models import Model
    from rekur.preprocessing.sequence import pad_sequences

    assert rekur.Layer is Layer
    assert rekur.Model is Model
    assert pad_sequences is rekur.utils.pad_sequences
    assert ops is rekur.ops
    assert rekur.utils.set_random_seed is rekur.set_random_seed


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (schedules.ExponentialDecay(0.8, 10, 0.5), {0: 0.8, 5: 0.8 * 0.5**0.5, 10: 0.4}),
        (schedules.ExponentialDecay(0.8, 10, 0.5, staircase=True), {0: 0.8, 9: 0.8, 10: 0.4, 19: 0.4, 20: 0.2}),
        (schedules.InverseTimeDecay(0.6, 10, 0.5), {0: 0.6, 5: 0.48, 10: 0.4}),
        (schedules.InverseTimeDecay(0.6, 10, 0.5, staircase=True), {0: 0.6, 9: 0.6, 10: 0.4, 20: 0.3}),
        # A boundary itself has the rate before it.
        (schedules.PiecewiseConstantDecay([5, 10], [1.0, 0.5, 0.1]), {0: 1.0, 5: 1.0, 6: 0.5, 10: 0.5, 11: 0.1}),
        (schedules.PolynomialDecay(1.0, 10, 0.5), {0: 1.0, 5: 0.75, 10: 0.5, 15: 0.5}),
        (schedules.PolynomialDecay(1.0, 10, 0.0, power=2.0), {5: 0.25}),
        # Behind the first end the line is twice as long.
        (schedules.PolynomialDecay(1.0, 10, 0.5, cycle=True), {0: 1.0, 10: 0.5, 11: 0.725, 20: 0.5}),
        (schedules.CosineDecay(1.0, 10, 0.1), {0: 1.0, 5: 0.55, 10: 0.1, 15: 0.1}),
        (
            schedules.CosineDecay(0.2, 10, warmup_target=1.0, warmup_steps=4),
            {0: 0.2, 2: 0.6, 4: 1.0, 9: 0.5, 14: 0.0},
        ),
        (
            schedules.CosineDecayRestarts(1.0, 10, t_mul=2.0, m_mul=0.5),
            {0: 1.0, 5: 0.5, 10: 0.5, 20: 0.25, 30: 0.25, 50: 0.125},
        ),
        (schedules.CosineDecayRestarts(1.0, 10, t_mul=1.0, m_mul=0.5), {0: 1.0, 5: 0.5, 10: 0.5, 15: 0.25, 20: 0.25}),
    ],
    ids=repr,
)
def test_rates_by_hand(schedule, rates):
    assert {step: schedule(step) for step in rates} == pytest.approx(rates, abs=1e-12)


def test_one_cycle_is_that_of_torch():
    schedule = schedules.OneCycle(0.5, 10, pct_start=0.4)
    assert schedule(0) == pytest.approx(0.02)
    assert schedule(3) == pytest.approx(0.5)  # step 0.4 · 10 − 1
    assert schedule(6) == pytest.approx(2e-6 + (0.5 - 2e-6) / 2)
    assert schedule(9) == schedule(50) == pytest.approx(2e-6)
    upwards = schedules.OneCycle(0.5, 10, pct_start=1.0)
    assert upwards(9) == upwards(10) == upwards(50) == pytest.approx(0.5)
    torch = pytest.importorskip("torch")
    for strategy, share in (("cos", 0.3), ("linear", 0.45), ("cos", 0.0), ("cos", 1.0)):
        ours = schedules.OneCycle(0.5, 23, share, strategy, 10.0, 100.0)
        theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        follow = torch.optim.lr_scheduler.OneCycleLR(
            theirs, 0.5, 23, pct_start=share, anneal_strategy=strategy, div_factor=10.0, final_div_factor=100.0
        )
        for step in range(23):
            assert ours(step) == pytest.approx(follow.get_last_lr()[0], rel=1e-6), step
            theirs.step()
            if step < 22:
                follow.step()


def test_warm_up_goes_to_what_comes_after_it(tmp_path):
    schedule = schedules.WarmUp(schedules.ExponentialDecay(0.8, 10, 0.5), 4, 0.2)
    assert [schedule(k) for k in (0, 1, 2, 4, 14)] == pytest.approx([0.2, 0.35, 0.5, 0.8, 0.4])
    assert schedules.deserialize(schedules.serialize(schedule)) == schedule
    assert [schedules.WarmUp(0.1, 2)(k) for k in range(4)] == pytest.approx([0, 0.05, 0.1, 0.1])
    model = model_with(optimizers.SGD(schedule))
    model.train_on_batch(X, Y)
    model.save(tmp_path / "m.safetensors")
    assert rekur.load(tmp_path / "m.safetensors").optimizer.learning_rate == pytest.approx(0.35)
