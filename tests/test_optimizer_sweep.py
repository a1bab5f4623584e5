"""Optimisers with options drawn at random, followed for some steps of the same gradients in Keras."""

import numpy as np
import pytest

import rekur
from rekur import layers

SEED, DRAWS = 11, 33  # three of each optimiser; every option at least once
KINDS = ("SGD", "RMSprop", "Adam", "AdamW", "Nadam", "Adamax", "Adagrad", "Adadelta", "Ftrl", "Lion", "Lamb")
SCHEDULES = (
    ("ExponentialDecay", (0.02, 3, 0.8), {"staircase": True}),
    ("PiecewiseConstantDecay", ([2, 5], [0.03, 0.01, 0.002]), {}),
    ("PolynomialDecay", (0.02, 4, 0.001), {"power": 2.0, "cycle": True}),
    ("InverseTimeDecay", (0.03, 2, 0.5), {}),
    ("CosineDecay", (0.001, 6), {"warmup_target": 0.02, "warmup_steps": 3}),
    ("CosineDecayRestarts", (0.02, 3), {}),
)
# By option: who takes it (None: all), how often it is given, and how its value is drawn.
OPTIONS = {
    "weight_decay": (None, 0.4, lambda rng: 10 ** rng.uniform(-3, -0.5)),
    "use_ema": (None, 0.35, lambda rng: True),
    "ema_momentum": (None, 0.5, lambda rng: rng.uniform(0.3, 0.99)),
    "ema_overwrite_frequency": (None, 0.3, lambda rng: int(rng.integers(1, 5))),
    "gradient_accumulation_steps": (None, 0.3, lambda rng: int(rng.integers(2, 5))),
    "momentum": (("SGD", "RMSprop"), 0.6, lambda rng: rng.uniform(0.1, 0.95)),
    "nesterov": (("SGD",), 0.5, lambda rng: True),
    "centered": (("RMSprop",), 0.5, lambda rng: True),
    "rho": (("RMSprop", "Adadelta"), 0.5, lambda rng: rng.uniform(0.3, 0.99)),
    "amsgrad": (("Adam", "AdamW"), 0.5, lambda rng: True),
    "beta_1": (("Adam", "AdamW", "Nadam", "Adamax", "Lion", "Lamb"), 0.5, lambda rng: rng.uniform(0.2, 0.95)),
    "beta_2": (("Adam", "AdamW", "Nadam", "Adamax", "Lion", "Lamb"), 0.5, lambda rng: rng.uniform(0.3, 0.999)),
    "initial_accumulator_value": (("Adagrad", "Ftrl"), 0.5, lambda rng: rng.uniform(0, 0.5)),
    "l1_regularization_strength": (("Ftrl",), 0.4, lambda rng: rng.uniform(0, 0.1)),
    "l2_regularization_strength": (("Ftrl",), 0.4, lambda rng: rng.uniform(0, 0.1)),
    "l2_shrinkage_regularization_strength": (("Ftrl",), 0.4, lambda rng: rng.uniform(0, 0.1)),
    "beta": (("Ftrl",), 0.4, lambda rng: rng.uniform(0, 0.3)),
    "learning_rate_power": (("Ftrl",), 0.4, lambda rng: -rng.uniform(0.2, 0.9)),
    "epsilon": (
        tuple(k for k in KINDS if k not in ("SGD", "Lion", "Ftrl")),
        0.5,
        lambda rng: 10 ** rng.uniform(-7, -2),
    ),
}


def _drawn(rng, kind):
    options = {"learning_rate": float(10 ** rng.uniform(-3, -1))}
    if rng.random() < 0.35:
        options["learning_rate"] = SCHEDULES[rng.integers(len(SCHEDULES))]
    for name, (kinds, share, draw) in OPTIONS.items():
        if (kinds is None or kind in kinds) and rng.random() < share:
            options[name] = draw(rng)
    clip = ("clipnorm", "clipvalue", "global_clipnorm", None)[rng.integers(4)]
    if clip is not None:
        options[clip] = float(10 ** rng.uniform(-1.5, 0.7))
    return options


def _made(module, kind, options, excluded):
    rate = options["learning_rate"]
    if isinstance(rate, tuple):
        name, arguments, more = rate
        options = {**options, "learning_rate": getattr(module.optimizers.schedules, name)(*arguments, **more)}
    optimizer = getattr(module.optimizers, kind)(**options)
    if excluded:
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.parametrize("draw", range(DRAWS))
def test_the_weights_are_those_of_keras(draw):
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng([SEED, draw])
    kind = KINDS[draw % len(KINDS)]
    options, excluded = _drawn(rng, kind), rng.random() < 0.4
    model = rekur.Sequential([layers.LSTM(3, input_shape=(4, 2)), layers.Dense(2)])
    model.compile(_made(rekur, kind, options, excluded), "mse")
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    variables = [keras.Variable(w, name=name.replace("/", "_")) for name, w in model.named_weights().items()]
    theirs, scale = _made(keras, kind, options, excluded), 10 ** rng.uniform(-3, 1)
    for _ in range(int(rng.integers(4, 10))):
        gradients = [(scale * rng.normal(size=w.shape)).astype(np.float32) for w in model.get_weights()]
        theirs.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        model.apply_gradients(gradients)
        for ours, variable in zip(model.get_weights(), variables, strict=True):
            expected = np.asarray(variable.value)
            np.testing.assert_allclose(
                ours, expected, atol=2e-5 * max(1.0, np.abs(expected).max()), err_msg=f"{options}"
            )
        assert int(model.optimizer.iterations) == int(theirs.iterations)
        rate = float(keras.ops.convert_to_numpy(theirs.learning_rate))
        assert float(model.optimizer.learning_rate) == pytest.approx(rate, rel=1e-5)


def test_every_option_is_drawn():
    drawn = [set(_drawn(np.random.default_rng([SEED, draw]), KINDS[draw % len(KINDS)])) for draw in range(DRAWS)]
    assert set().union(*drawn) == {*OPTIONS, "learning_rate", "clipnorm", "clipvalue", "global_clipnorm"}
