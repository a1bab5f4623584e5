"""Arguments that a function does not have: named as the caller calls it, with advice; idle ones of Keras pass."""

import importlib.util
import inspect
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import rekur
from rekur import callbacks, layers, losses, metrics, optimizers

X, Y = np.ones((4, 3, 2), np.float32), np.ones((4, 1), np.float32)


@pytest.fixture
def model():
    model = rekur.Sequential([layers.SimpleRNN(2, input_shape=(3, 2)), layers.Dense(1)], seed=1)
    model.compile("sgd", "mse")
    return model


REFUSED = [
    (lambda m: m.fit(X, Y, batchsize=3), r"^fit has no argument 'batchsize'; did you mean 'batch_size'\?"),
    (lambda m: m.fit(X, Y, nb_epoch=3), r"^fit has no argument 'nb_epoch'; did you mean 'epochs'\?"),
    (lambda m: m.fit(X, Y, learning_rate=0.1), "'learning_rate': the optimizer has it"),
    (lambda m: m.fit(X, Y, loss="mse"), "'loss': give it to compile"),
    (lambda m: m.fit(X, Y, something=1), "^fit has no argument 'something'; known are x, y, batch_size"),
    (lambda m: m.compile("sgd", "mse", run_eagerly=True), "^compile has no argument 'run_eagerly': the engine"),
    (lambda m: m.compile("sgd", "mse", weighted_metric=["mae"]), "did you mean 'weighted_metrics'"),
    (lambda m: m.compile("sgd", "mse", lr=3), "'lr': the optimizer has it"),
    (lambda m: m.compile(optimiser="sgd"), "did you mean 'optimizer'"),
    (lambda m: m.predict(X, length=3), "^predict has no argument 'length'; did you mean 'lengths'"),
    (lambda m: m.train_on_batch(X, Y, reset_metrics=False), "'reset_metrics': .*this batch alone"),
    (lambda m: m.test_on_batch(X, Y, sample_weights=3), "^test_on_batch .*did you mean 'sample_weight'"),
    (lambda m: m.predict_on_batch(X, training=True), "^predict_on_batch has no argument 'training'"),
    (lambda m: m.save("m", overwrite=False), "^save has no argument 'overwrite': .*os.path.exists"),
    (lambda m: m.save_weights("m", save_format="h5"), "^save_weights has no argument 'save_format'"),
    (lambda m: m.load_weights("m", options=3), "^load_weights has no argument 'options'"),
    (lambda m: rekur.load("m", custom_objects={"f": len}), "^load_model has no argument 'custom_objects'"),
    (lambda m: m.summary(width=80), "^summary has no argument 'width'"),
    (lambda m: rekur.Sequential(layer=[]), "^Sequential has no argument 'layer'; did you mean 'layers'"),
    (lambda m: rekur.Model(*_ends(), nam="m"), "^Model has no argument 'nam'; did you mean 'name'"),
    (lambda m: optimizers.Adam(loss_scale_factor=8), "^Adam has no argument 'loss_scale_factor': all is float32"),
    (lambda m: optimizers.Lion(weigth_decay=0.1), "^Lion has no argument 'weigth_decay'; .*'weight_decay'"),
    (lambda m: optimizers.SGD(momentun=0.9), "^SGD has no argument 'momentun'; did you mean 'momentum'"),
    (lambda m: m.compile({"name": "adam", "beta1": 0.9}, "mse"), "Adam has no argument 'beta1'; did you mean 'beta_1'"),
    (lambda m: losses.MeanSquaredError(delta=1), "^MeanSquaredError has no argument 'delta'; it takes none"),
    (lambda m: losses.Huber(dleta=1), "^Huber has no argument 'dleta'; did you mean 'delta'"),
    (lambda m: losses.BinaryCrossentropy(label_smooth=0.1), "^BinaryCrossentropy .*'label_smoothing'"),
    (lambda m: losses.LogCosh(detla=1), "^LogCosh has no argument 'detla'"),
    (lambda m: losses.get({"name": "huber", "detla": 1}), "Huber has no argument 'detla'"),
    (lambda m: metrics.MeanSquaredError(nam="m"), "^MeanSquaredError has no argument 'nam'; did you mean 'name'"),
    (lambda m: metrics.BinaryAccuracy(treshold=1), "^BinaryAccuracy has no argument 'treshold'; .*'threshold'"),
    (lambda m: callbacks.EarlyStopping(patiance=1), "^EarlyStopping has no argument 'patiance'; .*'patience'"),
    (lambda m: callbacks.ModelCheckpoint("m", period=10), "^ModelCheckpoint has no argument 'period'"),
    (lambda m: callbacks.ReduceLROnPlateau(epsilon=1), "^ReduceLROnPlateau .*'epsilon': it is called min_delta"),
    (lambda m: callbacks.LearningRateScheduler(len, verbos=1), "^LearningRateScheduler .*did you mean 'verbose'"),
    (lambda m: callbacks.CSVLogger("m", seperator=";"), "^CSVLogger .*did you mean 'separator'"),
    (lambda m: callbacks.TensorBoard(profile_batch=2), "^TensorBoard has no argument 'profile_batch'"),
    (lambda m: callbacks.LambdaCallback(on_epoch=len), "^LambdaCallback.*'on_epoch'.*did you mean 'on_epoch_"),
]


def _ends():
    x = rekur.Input((2,))
    return x, layers.Dense(1)(x)


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message.strip("^") for _, message in REFUSED])
def test_unknown_arguments_are_refused_before_anything_happens(model, call, message):
    before = model.get_weights()
    with pytest.raises(TypeError, match=message):
        call(model)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_idle_arguments_of_keras_change_nothing(model):
    twin = rekur.Sequential(
        [layers.SimpleRNN(2, input_shape=(3, 2)), layers.Dense(1)], name=None, seed=1, trainable=True
    )
    twin.compile(
        optimizers.SGD(weight_decay=None, use_ema=False, name="mine"), losses.MeanSquaredError(reduction="auto"),
        weighted_metrics=None, run_eagerly=False, jit_compile="auto", auto_scale_loss=True, steps_per_execution=1,
    )  # fmt: skip
    twin.fit(
        X, Y, verbose=0,
        class_weight=None, steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1,
    )  # fmt: skip
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(twin.predict(X, steps=None), model.predict(X))
    assert twin.name == "sequential"


@pytest.mark.parametrize("value", [1.5, "1", np.ones(2)])
def test_values_that_look_idle_but_are_not(model, value):
    with pytest.raises(TypeError, match="validation_freq"):
        model.fit(X, Y, verbose=0, validation_freq=value)
    with pytest.raises(TypeError, match="class_weight: expected a dict"):
        model.fit(X, Y, verbose=0, class_weight=value)


def test_messages_of_python_itself_name_public_classes_only(model):
    for call in (model.fit, model.predict, model.evaluate, model.train_on_batch, model.save):
        with pytest.raises(TypeError, match=r"^Model\.\w+\(\) missing 1 required positional argument"):
            call()
    with pytest.raises(TypeError, match=r"^Model\.fit\(\) takes from 2 to"):
        model.fit(*range(30))
    assert pickle.loads(pickle.dumps(rekur.Model.fit)) is rekur.Model.fit


def test_subclasses_outside_rekur_are_named_as_themselves():
    class Mine(metrics.Metric):
        pass

    with pytest.raises(TypeError, match=r"^Mine has no argument 'nam'; did you"):
        Mine(nam="x")


def test_the_tables_are_imported_only_when_an_unknown_argument_comes():
    code = (
        "import sys, numpy as np, rekur; m = rekur.Sequential([rekur.layers.Dense(1, input_shape=(2,))]);"
        "m.compile('adam', 'mse'); m.fit(np.ones((2, 2)), np.ones(2), verbose=0);"
        "assert not [n for n in sys.modules if 'rekur._keras' in n]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Side by side with Keras: what its signatures have, at the values they have there, is accepted here.


def _keras():
    if importlib.util.find_spec("keras") is None:
        pytest.skip("no keras to compare with")
    if not any(importlib.util.find_spec(b) for b in ("jax", "torch", "tensorflow")):
        pytest.skip("keras has no backend")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


def _missing(theirs, ours):
    """Arguments of Keras's that ours does not name, at Keras's defaults."""
    known = inspect.signature(ours).parameters
    return {
        name: parameter.default
        for name, parameter in inspect.signature(theirs).parameters.items()
        if name not in known and parameter.kind is not parameter.VAR_KEYWORD
    }


@pytest.mark.parametrize(
    "name",
    [
        *("compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"),
        *("save", "save_weights", "load_weights", "summary"),
    ],
)
def test_every_argument_of_keras_methods_may_have_its_default(model, name, tmp_path):
    given = _missing(getattr(_keras().Model, name), getattr(rekur.Model, name))
    assert not {k for k, v in given.items() if v is inspect.Parameter.empty}
    path = tmp_path / "m.safetensors"
    model.save_weights(path)
    arguments = {
        "compile": ("sgd", "mse"), "predict": (X,), "predict_on_batch": (X,), "summary": (),
        "save": (path,), "save_weights": (path,), "load_weights": (path,),
    }.get(name, (X, Y))  # fmt: skip
    getattr(model, name)(*arguments, **given)


BASES = ("Optimizer", "Loss", "Callback", "CallbackList")


@pytest.mark.parametrize("room", ["optimizers", "losses", "metrics", "callbacks"])
def test_every_argument_of_keras_classes_may_have_its_default(room):
    theirs, here = getattr(_keras(), room), getattr(rekur, room)
    ours = {name: getattr(here, name) for name in dir(here) if name[0].isupper()}  # some are imported when asked for
    first = {
        **{"ModelCheckpoint": ("m.safetensors",), "LearningRateScheduler": (len,), "CSVLogger": ("m.csv",)},
        **{"BackupAndRestore": ("backup",), "MeanIoU": (2,), "OneHotMeanIoU": (2,), "IoU": (2, [0])},
        **{"OneHotIoU": (2, [0]), "MeanRelativeError": ([1.0],), "MeanMetricWrapper": (len,)},
        **dict.fromkeys(
            ("PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity"), (0.5,)
        ),
    }
    seen = 0
    for name, cls in ours.items():
        other = getattr(theirs, name, None)
        if not isinstance(cls, type) or not isinstance(other, type) or name in BASES:
            continue
        cls(*first.get(name, ()), **_missing(other.__init__, cls.__init__))
        seen += 1
    assert seen >= 4


def test_every_argument_of_keras_load_model_may_have_its_default(model, tmp_path):
    given = _missing(_keras().models.load_model, rekur.load_model)
    model.save(tmp_path / "m.safetensors")
    rekur.load_model(tmp_path / "m.safetensors", **given)


def test_no_function_that_users_can_call_is_named_after_a_class_that_they_do_not_see():
    rooms = [rekur, *(getattr(rekur, name) for name in ("layers", "losses", "metrics", "optimizers", "callbacks"))]
    rooms += [rekur.initializers, rekur.activations, rekur.models, rekur.onnx]
    found = {value for room in rooms for name in dir(room) if isinstance(value := getattr(room, name), type)}
    public = {cls.__name__ for cls in found} | {"Guarded", "Value"}  # bases of them all: Python calls their methods
    for cls in found:
        for base in cls.__mro__:
            for name, value in vars(base).items():
                function = getattr(value, "__func__", value)
                hidden = name.startswith("_") and not name.startswith("__")
                if inspect.isfunction(function) and function.__module__.startswith("rekur") and not hidden:
                    assert function.__qualname__.partition(".")[0] in public, function


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.LSTM(4)(1, 2, 3, 4), r"^Layer\.__call__\(\) takes"),
        (lambda: layers.Add(3), r"^Layer\.__init__\(\) takes"),
        (lambda: losses.BinaryCrossentropy(1, 2, 3), r"^Loss\.__init__\(\) takes"),
        (lambda: losses.Loss(), "Loss is the base of others, and nothing by itself: use one of rekur.losses"),
        (lambda: optimizers.Optimizer(0.1), "use one of rekur.optimizers"),
        (lambda: rekur.initializers.Initializer(), "use one of rekur.initializers"),
        (lambda: rekur.Sequential(3), "Sequential: expected a list of layers, got 3"),
        (lambda: rekur.Sequential(layers.LSTM(3)), "Sequential: expected a list of layers, got LSTM 'lstm'"),
        (lambda: rekur.Sequential(np.zeros(3)), "add: expected a layer, got"),
        (lambda: rekur.Input(b"abc"), "shape: expected a tuple such as"),
    ],
)
def test_what_cannot_be_made_says_so_in_the_words_of_the_caller(call, message):
    with pytest.raises(TypeError, match=message):
        call()
