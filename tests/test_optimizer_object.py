"""The optimiser of a compiled model is the caller's object: what is set on it acts at the next step."""

import copy
import pickle

import numpy as np
import pytest

import rekur
from rekur import layers
from rekur.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Ftrl, Lamb, Lion, Nadam, RMSprop

X = np.random.default_rng(0).normal(size=(24, 6, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(24, 2)).astype(np.float32)


def make_model():
    return rekur.Sequential([layers.GRU(4, input_shape=(None, 3)), layers.Dense(2)], seed=3)


def trained(optimizer, steps=0):
    model = make_model()
    model.compile(optimizer, "mse")
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.get_weights(), b.get_weights(), strict=True))


def test_iterations_counts_the_steps_of_the_model_compiled_with_it():
    model = rekur.Sequential([rekur.Input((2,)), rekur.layers.Dense(1)])
    optimizer = Adam()
    assert optimizer.iterations == 0
    model.compile(optimizer, "mse")
    x = np.ones((10, 2))
    seen = []
    each = rekur.callbacks.LambdaCallback(on_train_batch_end=lambda *_: seen.append(optimizer.iterations.numpy()))
    model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=each)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert isinstance(optimizer.iterations, int)
    assert copy.deepcopy(optimizer).iterations == 0
    model.compile(optimizer, "mse")
    assert optimizer.iterations == 0


def test_iterations_go_on_through_windows_of_sequences():
    model = rekur.Sequential([layers.GRU(4, return_sequences=True, input_shape=(None, 3)), layers.Dense(2)])
    optimizer = Adam()
    model.compile(optimizer, "mse")
    y = np.zeros((24, 6, 2))
    seen = []
    for tbptt in (None, 3, None):
        model.fit(X, y, batch_size=8, verbose=0, tbptt=tbptt)
        seen.append(optimizer.iterations)
    model.train_on_batch(X, y)
    assert [*seen, optimizer.iterations] == [3, 9, 12, 13]


def test_the_rate_is_that_of_the_next_step():
    schedule = rekur.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    model = trained(optimizer := SGD(schedule))
    for step in range(3):
        assert (optimizer.iterations, float(optimizer.learning_rate)) == (step, schedule(step))
        before = {name: np.array(weight) for name, weight in model.named_weights().items()}
        _, gradients, _ = model.gradients(X, lambda outputs: [2 * (outputs[0] - Y) / Y.size])
        model.train_on_batch(X, Y)
        for name, after in model.named_weights().items():
            np.testing.assert_allclose(after, before[name] - schedule(step) * gradients[name], rtol=1e-4, atol=1e-6)
    assert f"learning_rate={schedule(3)}" in repr(optimizer)


def test_the_rate_at_hand_is_read_and_assigned_as_kerass_variable():
    optimizer = Adam(0.5)
    assert optimizer.learning_rate == optimizer.learning_rate.numpy() == optimizer.lr.numpy() == 0.5
    optimizer.learning_rate.assign(0.25)
    assert optimizer.learning_rate == 0.25
    assert type(copy.deepcopy(optimizer.learning_rate)) is type(optimizer.get_config()["learning_rate"]) is float
    scheduled = Adam(rekur.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5))
    assert scheduled.learning_rate.numpy() == 0.5
    with pytest.raises(TypeError, match="cannot be set"):
        scheduled.learning_rate.assign(0.1)


def test_the_compiled_optimizer_is_the_callers_object():
    for optimizer in (SGD(), RMSprop(), Adam(), AdamW()):
        assert trained(optimizer).optimizer is optimizer
    unbuilt = rekur.Sequential([layers.GRU(4), layers.Dense(2)])
    unbuilt.compile(optimizer, "mse")
    optimizer.learning_rate = 0.5
    unbuilt.train_on_batch(X, Y)
    assert unbuilt.optimizer is optimizer


# A number for every hyperparameter that there is.
CHANGES = {
    SGD: {"learning_rate": 0.2, "momentum": 0.7, "nesterov": True, "weight_decay": 0.3},
    RMSprop: {"learning_rate": 0.2, "rho": 0.2, "momentum": 0.5, "epsilon": 0.1, "centered": True},
    Adam: {"learning_rate": 0.2, "beta_1": 0.2, "beta_2": 0.3, "epsilon": 0.1, "amsgrad": True},
    AdamW: {"learning_rate": 0.2, "beta_1": 0.2, "beta_2": 0.3, "epsilon": 0.1, "amsgrad": True, "weight_decay": 0.3},
    Nadam: {"learning_rate": 0.2, "beta_1": 0.2, "beta_2": 0.3, "epsilon": 0.1},
    Adamax: {"learning_rate": 0.2, "beta_1": 0.2, "beta_2": 0.3, "epsilon": 0.1},
    Lamb: {"learning_rate": 0.2, "beta_1": 0.2, "beta_2": 0.3, "epsilon": 0.1},
    Adagrad: {"learning_rate": 0.2, "initial_accumulator_value": 0.3, "epsilon": 0.1},
    Adadelta: {"learning_rate": 0.2, "rho": 0.2, "epsilon": 0.1},
    Ftrl: {
        "learning_rate": 0.2, "learning_rate_power": -0.7, "initial_accumulator_value": 0.3,
        "l1_regularization_strength": 0.1, "l2_regularization_strength": 0.1,
        "l2_shrinkage_regularization_strength": 0.1, "beta": 0.1,
    },
    Lion: {"learning_rate": 0.2, "beta_1": 0.2, "beta_2": 0.3},
}  # fmt: skip
CLIPS = {"clipnorm": 0.01, "clipvalue": 0.001, "global_clipnorm": 0.01}
COMMON = {  # tried with SGD alone, where they are the engine's own affair
    "gradient_accumulation_steps": 2, "gradient_centralization": True, "gradient_noise": 0.1, "weight_decay": 0.3,
}  # fmt: skip
# What acts where weights begin to be trained, or shows later than after two steps.
LATER = {(Adagrad, "initial_accumulator_value"), (Ftrl, "initial_accumulator_value"), (Lion, "beta_2"),
         (Adam, "amsgrad"), (AdamW, "amsgrad")}  # fmt: skip
CASES = [
    (kind, key, value)
    for kind, keys in CHANGES.items()
    for key, value in {**keys, **(CLIPS if kind in (SGD, Adam) else {}), **(COMMON if kind is SGD else {})}.items()
    if (kind, key) not in LATER
]


@pytest.mark.parametrize(("kind", "key", "value"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_every_hyperparameter_acts_at_the_next_step_and_the_state_stays(kind, key, value):
    start = {"momentum": 0.3} if kind in (SGD, RMSprop) else {}
    model, untouched = trained(kind(**start), 3), trained(kind(**start), 3)
    assert getattr(model.optimizer, key) != value
    setattr(model.optimizer, key, value)
    assert getattr(model.optimizer, key) == value
    # What follows is what would follow had the state been taken into a trainer of those hyperparameters.
    expected = trained(kind(**{**start, key: value}))
    expected.set_weights(model.get_weights())
    expected._trainer().trainer.set_state(model._trainer().state(), 3)
    for m in (model, untouched, expected):
        m.train_on_batch(X, Y)
        m.train_on_batch(X, Y)
    assert same(model, expected)
    assert not same(model, untouched)


def test_every_hyperparameter_of_the_signature_is_tried_above():
    for kind, keys in CHANGES.items():
        assert {"name", *keys} == {*kind().config()}


def test_a_learning_rate_of_zero_set_after_compile_stops_the_weights():
    optimizer = SGD(0.1)
    model = trained(optimizer, 1)
    before = model.get_weights()
    optimizer.learning_rate = 0
    model.fit(X, Y, epochs=2, verbose=0)
    assert all(np.array_equal(p, q) for p, q in zip(before, model.get_weights(), strict=True))


def test_one_optimizer_in_two_models_gathers_for_each_and_both_see_changes():
    shared = Adam(0.01)
    a, b = trained(shared), trained(shared)
    for _ in range(3):
        a.train_on_batch(X, Y)
        b.train_on_batch(-X, Y)
    shared.beta_1 = 0.5
    a.train_on_batch(X, Y)
    b.train_on_batch(-X, Y)

    def alone(x):
        model = trained(Adam(0.01))
        for _ in range(3):
            model.train_on_batch(x, Y)
        model.optimizer.beta_1 = 0.5
        model.train_on_batch(x, Y)
        return model

    assert same(a, alone(X))
    assert same(b, alone(-X))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_copy_of_an_optimizer_is_no_models(kind, duplicate):
    optimizer = kind(0.05, clipnorm=2)
    model, other = trained(optimizer, 2), trained(kind(0.05, clipnorm=2), 2)
    twin = duplicate(optimizer)
    assert twin is not optimizer
    assert twin.config() == optimizer.config()
    twin.learning_rate = 0
    assert optimizer.learning_rate == 0.05
    model.train_on_batch(X, Y)
    other.train_on_batch(X, Y)
    assert same(model, other)
    assert trained(twin, 2).optimizer is twin


def test_a_file_holds_what_was_set_and_training_goes_on_from_it(tmp_path):
    model = trained(SGD(0.1), 2)
    model.optimizer.momentum = 0.9
    model.optimizer.clipvalue = 0.5
    model.train_on_batch(X, Y)
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert again.optimizer.config() == model.optimizer.config()
    model.train_on_batch(X, Y)
    again.train_on_batch(X, Y)
    assert same(model, again)
    model.optimizer.momentum = 0  # and no velocity is left in the file, where there is none
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    model.train_on_batch(X, Y)
    again.train_on_batch(X, Y)
    assert same(model, again)


REFUSED = [
    (Adam, "lr", "0.1", TypeError, "adam: learning_rate must be a number, got '0.1'"),
    (Adam, "lookahead_sync_period", 3, AttributeError, "belongs to the constructor"),
    (Adagrad, "initial_accumulator_value", 3, AttributeError, "belongs to the constructor"),
    (Adam, "beta1", 0.1, AttributeError, "adam has no attribute 'beta1' to set; did you mean 'beta_1'?"),
    (Adam, "momentum", 0.1, AttributeError, "adam has no attribute 'momentum' to set"),
    (Adam, "iterations", 0, AttributeError, "the count of steps belongs to the model"),
    (Adam, "name", "sgd", AttributeError, "make another"),
    (Adam, "config", 1, AttributeError, "'config' can be read, not set"),
    (Adam, "beta_1", 1, ValueError, "adam: beta_1 must be below 1, got 1"),
    (Adam, "beta_2", 0.9999999999, ValueError, "adam: beta_2 must be below 1"),
    (Adam, "epsilon", 0, ValueError, "adam: epsilon must be a finite number"),
    (Adam, "learning_rate", 1e300, ValueError, "adam: learning_rate must be a finite number"),
    (Adam, "learning_rate", "0.1", TypeError, "adam: learning_rate must be a number, got '0.1'"),
    (SGD, "learning_rate", lambda epoch: 0.1, TypeError, "a number or a schedule of rekur.optimizers.schedules"),
    (SGD, "nesterov", 1, TypeError, "sgd: nesterov must be True or False, got 1"),
    (SGD, "clipnorm", 0, ValueError, "sgd: clipnorm must be above 0, got 0"),
    (RMSprop, "rho", -0.1, ValueError, "rmsprop: rho must be a finite number"),
]


@pytest.mark.parametrize(("kind", "key", "value", "error", "message"), REFUSED)
def test_what_cannot_be_set_says_so_and_changes_nothing(kind, key, value, error, message):
    model = trained(kind())
    before = model.optimizer.config()
    with pytest.raises(error) as caught:
        setattr(model.optimizer, key, value)
    assert message in str(caught.value)
    assert model.optimizer.config() == before


def test_two_kinds_of_clipping_cannot_be_set_one_after_the_other():
    optimizer = SGD(clipnorm=1)
    with pytest.raises(ValueError, match="give one of clipnorm, clipvalue and global_clipnorm"):
        optimizer.clipvalue = 1
    assert optimizer.clipvalue is None
    optimizer.clipnorm = None
    optimizer.clipvalue = 1
    assert optimizer.config()["clipvalue"] == 1


def test_a_schedule_as_learning_rate_is_told_what_to_use():
    class ExponentialDecay:
        def get_config(self):
            return {}

    for schedule in (ExponentialDecay(), lambda step: 0.1):
        with pytest.raises(TypeError, match=r"adam: learning_rate must be a number or a schedule.*Schedule"):
            Adam(schedule)


def test_iterations_counts_updates_and_schedules_count_batches():
    schedule = rekur.optimizers.schedules.PiecewiseConstantDecay([4], [0.1, 0.01])
    optimizer = Adam(schedule, gradient_accumulation_steps=3)
    model = rekur.Sequential([rekur.Input((2,)), rekur.layers.Dense(1)])
    model.compile(optimizer, "mse")
    seen = []
    for _ in range(7):
        model.train_on_batch(np.ones((2, 2)), np.ones(2))
        seen.append((int(optimizer.iterations), float(optimizer.learning_rate)))
    assert seen == [(0, 0.1), (0, 0.1), (1, 0.1), (1, 0.1), (1, 0.01), (2, 0.01), (2, 0.01)]
