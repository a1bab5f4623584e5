"""Copies of everything public, in every state: by copy, by deepcopy, by pickle."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import rekur
from rekur import activations, initializers, layers, losses, metrics, optimizers

X = np.random.default_rng(0).normal(size=(24, 6, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(24, 2)).astype(np.float32)

WAYS = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
ways = pytest.mark.parametrize("duplicate", WAYS, ids=["copy", "deepcopy", "pickle"])


def waiting():
    return rekur.Sequential(
        [
            layers.Bidirectional(layers.LSTM(4, activation={"name": "elu", "alpha": 0.5})),
            layers.Dropout(0.3),
            layers.Dense(2),
        ],
        name="late",
        seed=5,
    )


def built():
    model = waiting()
    model.build((None, None, 3))
    return model


def graph():
    x = rekur.Input((None, 3))
    short = layers.GRU(2)(x)
    return rekur.Model(x, layers.Add()([short, layers.LSTM(2)(layers.Dense(4)(x))]), name="g", seed=5)


def entrance_only():
    return rekur.Sequential([rekur.Input((None, 3))], seed=5)


def own_metric(y_true, y_pred):
    return np.abs(y_pred - y_true).max(axis=-1)


def compiled(model):
    model.compile(optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae", own_metric], seed=3)
    return model


def trained(model):
    compiled(model).fit(X, Y, epochs=2, batch_size=8, verbose=0)
    return model


STATES = {
    "waiting": waiting,
    "entrance": entrance_only,
    "built": built,
    "graph": graph,
    "waiting, compiled": lambda: compiled(waiting()),
    "built, compiled": lambda: compiled(built()),
    "waiting, trained": lambda: trained(waiting()),
    "graph, trained": lambda: trained(graph()),
}


@ways
@pytest.mark.parametrize("state", STATES)
def test_a_copy_of_a_model_goes_on_as_the_model_does(state, duplicate):
    model = STATES[state]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is left out
        twin = duplicate(model)
    assert type(twin) is type(model)
    assert (twin.name, twin.seed) == (model.name, model.seed)
    assert [(type(a), a.name) for a in twin.layers] == [(type(b), b.name) for b in model.layers]
    assert not set(map(id, twin.layers)) & set(map(id, model.layers))
    if state == "entrance":
        for m in (model, twin):
            m.add(layers.GRU(2))
    histories = []
    for m in (model, twin):
        if "compiled" not in state and "trained" not in state:
            compiled(m)
        histories.append(m.fit(X, Y, epochs=2, batch_size=8, verbose=0).history)
    assert histories[0] == histories[1]
    assert "own_metric" in histories[0]
    assert model.spec == twin.spec
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), twin.get_weights(), strict=True))


@ways
def test_a_copy_of_a_model_is_independent(duplicate):
    model = trained(graph())
    twin = duplicate(model)
    before = model.get_weights()
    assert twin.optimizer is not model.optimizer
    twin.optimizer.learning_rate = 0.5
    twin.fit(X, Y, epochs=1, verbose=0)
    assert model.optimizer.learning_rate == 0.05
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.history.history is not twin.history.history


@ways
def test_a_copy_of_a_model_has_its_history(duplicate):
    model = trained(waiting())
    twin = duplicate(model)
    assert twin.history.history == model.history.history
    assert twin.history.epoch == [0, 1]
    assert twin.history.model is twin


def test_models_that_share_an_optimizer_share_it_after_a_common_copy():
    optimizer = optimizers.Adam()
    models = [graph(), built()]
    for model in models:
        model.compile(optimizer, "mse")
    a, b, c = copy.deepcopy([*models, optimizer])
    assert a.optimizer is b.optimizer is c
    assert c is not optimizer


def test_a_function_that_cannot_be_pickled_is_left_out_with_a_warning_and_copied_by_deepcopy():
    model = built()
    model.compile("adam", "mse", metrics=["mae", lambda y_true, y_pred: 1.0])
    assert len(copy.deepcopy(model).metrics_names) == 3
    with pytest.warns(
        UserWarning, match="not pickled, since a file holds no Python code: the metrics <lambda>"
    ) as caught:
        data = pickle.dumps(model)
    assert caught[0].filename == __file__
    assert pickle.loads(data).metrics_names == ["loss", "mae"]
    assert len(model.metrics_names) == 3


LAYERS = [
    layers.Dense(3, "relu", name="d", input_shape=(4,)),
    layers.LSTM(3, peepholes=True, activation=activations.ELU(0.3)),
    layers.Bidirectional(layers.GRU(3, name="g"), merge_mode="ave"),
    layers.Rescaling([1.0, 2.0, 3.0]),
    layers.Embedding(5, 3),
    layers.Concatenate(),
    layers.InputLayer((None, 3), name="x"),
]


@ways
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_copy_of_a_layer_is_a_layer_that_was_not_called(layer, duplicate):
    twin = duplicate(layer)
    assert type(twin) is type(layer)
    assert twin.spec() == layer.spec()
    assert twin.input_shape == layer.input_shape
    if isinstance(layer, layers.Bidirectional):
        assert twin.inner is not layer.inner
        twin.inner.units = 5
        assert twin.config()["layer"]["units"] == 5
        assert layer.config()["layer"]["units"] == 3


@ways
def test_a_copy_of_a_connected_layer_can_be_called_and_takes_its_weights(duplicate):
    model = graph()
    for layer in model.layers[1:]:
        twin = duplicate(layer)
        assert (twin.name, twin.config()) == (layer.name, layer.config())
        assert not twin.output_shapes
        with pytest.raises(ValueError, match="belongs to no model"):
            twin.get_weights()
    lstm = duplicate(model.get_layer("lstm"))
    lstm.return_sequences = True
    other = rekur.Sequential([rekur.Input((None, 4)), lstm])
    lstm.set_weights(model.get_layer("lstm").get_weights())
    assert other.output_shape == (None, None, 2)
    inner = duplicate(built().layers[0].inner)
    assert rekur.Sequential([rekur.Input((None, 3)), inner]).output_shape == (None, 4)


@ways
def test_a_copied_entrance_is_an_entrance(duplicate):
    entrance = duplicate(rekur.Input((None, 3), name="x").layer)
    assert rekur.Model(entrance.tensor, layers.GRU(2)(entrance.tensor)).input_names == ["x"]


def test_a_symbolic_tensor_is_its_own_copy_and_cannot_be_pickled():
    tensor = rekur.Input((None, 3), name="x")
    assert copy.copy(tensor) is tensor
    assert copy.deepcopy([tensor])[0] is tensor
    with pytest.raises(TypeError, match=r"'x'.*cannot be pickled.*pickle the Model"):
        pickle.dumps(tensor)


VALUES = [
    losses.Huber(0.5),
    losses.CategoricalCrossentropy(from_logits=True),
    initializers.RandomUniform(-1, 1),
    initializers.GlorotNormal(),
    activations.ScaledTanh(),
    metrics.BinaryAccuracy(threshold=0.3),
    optimizers.RMSprop(0.1, clipnorm=1),
]


@ways
@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_a_copy_of_a_value_is_its_equal(value, duplicate):
    twin = duplicate(value)
    assert twin is not value
    assert repr(twin) == repr(value)
    assert type(twin) is type(value)


@ways
def test_a_copy_of_a_metric_has_a_state_of_its_own(duplicate):
    metric = metrics.MeanAbsoluteError()
    metric.update_state(np.zeros((2, 1)), np.ones((2, 1)))
    twin = duplicate(metric)
    twin.update_state(np.zeros((2, 1)), np.zeros((2, 1)))
    assert (metric.result(), twin.result()) == (1.0, 0.5)
