"""What scripts written for Keras say and rekur does not have: idle arguments pass, all else is told what to do."""

import inspect
import io
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import rekur
from rekur import Input, Model, Sequential, initializers, layers, losses, metrics, optimizers
from rekur._keras import arguments, attributes, names

RECURRENT = (layers.SimpleRNN, layers.LSTM, layers.GRU)
IDLE_RECURRENT = {
    "trainable": True, "dtype": "float32", "activity_regularizer": None, "kernel_regularizer": None,
    "recurrent_regularizer": None, "bias_regularizer": None, "kernel_constraint": None, "recurrent_constraint": None,
    "bias_constraint": None, "dropout": 0.0, "recurrent_dropout": 0.0, "seed": None, "go_backwards": False,
    "stateful": False, "unroll": True, "implementation": 2,
}  # fmt: skip


@pytest.mark.parametrize("cell", RECURRENT)
def test_arguments_of_recurrent_layers_that_ask_for_nothing_pass(cell):
    plain = cell(3, input_shape=(None, 2))
    given = cell(3, input_shape=(None, 2), **IDLE_RECURRENT)
    assert given.config() == plain.config()
    for key, value in IDLE_RECURRENT.items():
        assert cell(3, **{key: value}).config() == plain.config()


@pytest.mark.parametrize(
    "make",
    [
        lambda **idle: layers.Dense(3, kernel_regularizer=None, bias_constraint=None, lora_rank=None, **idle),
        lambda **idle: layers.Embedding(5, 2, mask_zero=False, embeddings_regularizer=None, weights=None, **idle),
        lambda **idle: layers.Dropout(0.5, noise_shape=None, seed=None, **idle),
        lambda **idle: layers.Activation("relu", **idle),
        lambda **idle: layers.LayerNormalization(-1, gamma_regularizer=None, beta_constraint=None, **idle),
        lambda **idle: layers.LayerNormalization(axis=[-1], **idle),
        lambda **idle: layers.Bidirectional(layers.GRU(2), weights=None, backward_layer=None, **idle),
        lambda **idle: layers.Rescaling(2.0, **idle),
        lambda **idle: layers.Concatenate(**idle),
        lambda **idle: layers.Add(**idle),
    ],
)
def test_arguments_of_other_layers_that_ask_for_nothing_pass(make):
    layer = make(trainable=True, dtype=np.float32, activity_regularizer=None, autocast=True)
    assert layer.config() == make().config()


def test_sizes_of_inputs_in_keras_older_words():
    assert layers.Dense(2, input_dim=3).input_shape == (3,)
    assert layers.Dense(2, input_dim=3, input_shape=(3,)).input_shape == (3,)
    assert layers.Dense(2, input_dim=None).input_shape is None
    assert layers.Embedding(5, 2, input_length=7).input_shape == (7,)
    with pytest.raises(TypeError, match="has no argument 'input_length': use input_shape="):
        layers.Embedding(5, 2, input_length=7, input_shape=(6,))
    assert Sequential([layers.Embedding(5, 2, input_length=None), layers.GRU(2)]).input_shape == (None, None)
    assert layers.Dense(2, activation=rekur.activations.ELU).activation == {"name": "elu", "alpha": 1.0}


def test_inputs_and_models_take_what_asks_for_nothing():
    x = Input(shape=(3, 1), batch_size=None, dtype=None, sparse=False, ragged=None, tensor=None, optional=False)
    assert (x.shape, x.dtype) == ((None, 3, 1), "float32")
    assert layers.InputLayer(input_shape=(3,)).shape == (3,)
    assert Sequential([x, layers.GRU(2)], trainable=True, name=None).name == "sequential"
    y = Input((2,))
    assert Model(y, layers.Dense(1)(y), name=None, trainable=True).name == "model"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Dropout(0.2, kernel_regularizer="l2"), "kernel_regularizer"),
        (lambda: layers.LSTM(2, dtype="float16"), "precision= of a layer"),
        (lambda: layers.LayerNormalization(rms_scaling=True), "RMSNormalization"),
        (lambda: layers.Conv1D(2, 3, kernel_regularizer="l2"), "regularizers of this layer are not here yet"),
        (lambda: layers.Dropout(0.5, seed=3), "a model has one seed"),
        (lambda: layers.Dropout(0.5, noise_shape=(None, 1, 8)), "SpatialDropout1D drops a feature in all steps"),
        (lambda: layers.LSTM(2, input_length=5), r"input_shape=\(steps, features\)"),
        (lambda: layers.Dense(9, weights=[np.zeros((9, 2))]), "call set_weights"),
        (lambda: layers.Dense(2, kernal_initializer="zeros"), "did you mean 'kernel_initializer'"),
        (lambda: Input((2,), sparse=True), "toarray"),
        (lambda: Input((2,), nmae="x"), "did you mean 'name'"),
        (lambda: Sequential(layer=[]), "did you mean 'layers'"),
        (lambda: initializers.HeNormal(sed=3), "HeNormal has no argument 'sed'; it takes none"),
        (lambda: initializers.Constant(vaule=3), "did you mean 'value'"),
        (lambda: initializers.Zeros(value=3), "Zeros has no argument 'value'"),
        (lambda: rekur.activations.LeakyReLU(negative_slope=0.1), "called alpha"),
        (lambda: losses.CategoricalCrossentropy(axis=1), "classes stand on the last axis"),
        (lambda: losses.get({"name": "dice", "axis": (1, 2)}), "a value of its own"),
        (lambda: losses.Huber(dleta=1), "did you mean 'delta'"),
        (lambda: metrics.BinaryAccuracy(treshold=0.1), "did you mean 'threshold'"),
        (lambda: metrics.MeanSquaredError(dtype="float16"), "computed in float32"),
        (lambda: optimizers.Adam(decay=0.01), "learning_rate= takes a schedule"),
        (lambda: optimizers.SGD(momemtum=0.9), "did you mean 'momentum'"),
        (lambda: rekur.load("none", custom_object={}), "did you mean 'compile'|known are"),
        (lambda: rekur.load("none", custom_objects={"a": 1}), "holds no code"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_that_ask_for_something_else_say_what_to_do(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_calls_of_layers_take_what_asks_for_nothing():
    x = Input((None, 2))
    y = layers.Dense(2)(layers.GRU(3)(x, mask=None, training=None, initial_state=None), training=None)
    assert y.shape == (None, 2)
    with pytest.raises(TypeError, match=r"the call of GRU 'gru' has no argument 'training': .*fit trains"):
        layers.GRU(3)(x, training=True)
    with pytest.raises(TypeError, match=r"the call of Dense 'dense' has no argument 'mask': .*Masking"):
        layers.Dense(3)(x, mask=x)
    with pytest.raises(TypeError, match="did you mean 'initial_state'"):
        layers.GRU(3)(x, initial_states=x)


def test_optimizers_losses_metrics_and_initializers_take_what_asks_for_nothing():
    assert optimizers.Adam(amsgrad=False, weight_decay=None, use_ema=False, name="adam", clipnorm=None).config() == (
        optimizers.Adam().config()
    )
    assert optimizers.SGD(weight_decay=None).config() == optimizers.SGD().config()
    assert optimizers.RMSprop(centered=False, loss_scale_factor=None).config() == optimizers.RMSprop().config()
    loss = losses.BinaryCrossentropy(
        label_smoothing=0.0, axis=-1, reduction="sum_over_batch_size", name="b", dtype=None
    )
    assert loss.config() == losses.BinaryCrossentropy().config()
    assert losses.SparseCategoricalCrossentropy(ignore_class=None).config()["from_logits"] is False
    assert metrics.MeanAbsoluteError(name="m", dtype="float32").name == "m"
    assert initializers.GlorotUniform(seed=None).to_spec() == "glorot_uniform"
    assert initializers.Orthogonal(gain=2, seed=None).to_spec() == {"name": "orthogonal", "gain": 2.0}


def test_every_name_of_an_initializer_in_keras_is_one_here():
    assert initializers.to_spec("zero", "x") == "zeros"
    assert initializers.to_spec("one", "x") == "ones"
    assert initializers.to_spec("OrthogonalInitializer", "x") == "orthogonal"
    assert initializers.to_spec("constant", "x") == {"name": "constant", "value": 0.0}  # Keras's default
    layer = layers.Dense(2, bias_initializer="constant", input_shape=(1,))
    assert (Sequential([layer]).get_weights()[1] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.Dense(2, activation="glu"),
            "activation 'glu' is Keras's and not here yet: a Dense layer of each",
        ),
        (lambda: layers.Dense(2, activation="sparsemax"), "'sparsemax' is Keras's and not here yet: 'softmax' comes"),
        (lambda: layers.LSTM(2, activation="gelu"), "'gelu' is for Dense and Activation layers; .*rekur.cell"),
        (lambda: layers.Dense(2, activation="rellu"), "unknown activation 'rellu'; did you mean 'relu'"),
        (lambda: layers.Dense(2, kernel_initializer="STFT"), "'STFT' is Keras's"),
        (lambda: losses.get("log_cos"), "unknown loss 'log_cos'; did you mean 'log_cosh'"),
        (lambda: losses.get("mes"), "unknown loss 'mes'; did you mean 'mse'"),
        (lambda: metrics.get("MeanMetricWrapper"), "metric 'MeanMetricWrapper' is Keras's and not here yet"),
        (lambda: metrics.get("top_k"), "unknown metric 'top_k'"),
        (lambda: metrics.get({"type": "MeanMetricWrapper"}), "metric 'MeanMetricWrapper' is Keras's"),
        (lambda: optimizers.get("adafactor"), "optimizer 'adafactor' is Keras's and not here yet: 'adam'"),
        (lambda: optimizers.get("Muon"), "optimizer 'Muon' is Keras's and not here yet: 'adamw'"),
        (lambda: optimizers.get("adm"), "unknown optimizer 'adm'; did you mean 'adam'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_of_keras_that_are_not_here_never_suggest_another_thing(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("rekur.layers", "Conv2D", "which Keras has; it is not here yet"),
        ("rekur.layers", "GroupNormalization", "LayerNormalization"),
        ("rekur.layers", "LTSM", "did you mean 'LSTM'"),
        ("rekur.callbacks", "OrbaxCheckpoint", "ModelCheckpoint"),
        ("rekur.optimizers", "Adafactor", "'adam' comes nearest"),
        ("rekur.activations", "relu", "as a string"),
        ("rekur.initializers", "STFT", "not here yet"),
        ("rekur.metrics", "MeanMetricWrapper", "that returns one value a row is a metric too"),
        ("rekur", "Sequental", "did you mean 'Sequential'"),
    ],
)
def test_missing_names_say_what_to_do_where_they_are_asked_for(module, name, message):
    __import__(module)
    found = sys.modules[module]
    assert not hasattr(found, name)
    with pytest.raises(AttributeError, match=message):
        getattr(found, name)
    with pytest.raises(ImportError, match=message):  # an AttributeError's words would be lost
        exec(f"from {module} import {name}", {})


def test_private_names_stay_plain_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute '_nothing'"):
        _ = layers._nothing
    assert not hasattr(layers, "__wrapped__")
    inspect.getmembers(rekur)
    pickle.loads(pickle.dumps(rekur.layers.Dense(2)))


def test_nothing_of_keras_is_imported_before_it_is_needed():
    code = (
        "import sys, rekur; rekur.Sequential([rekur.layers.LSTM(2, input_shape=(3, 1))]).compile('adam', 'mse')\n"
        "print([name for name in sys.modules if name.startswith('rekur._keras')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_layers_of_ones_own_without_call_are_refused():
    class Silent(layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(TypeError, match="class Silent: a layer of one's own says in `call` what it does"):
        Silent(3)
    with pytest.raises(TypeError, match="a layer of one's own says"):
        layers.Layer(name="x")
    with pytest.raises(TypeError, match="class Louder: a layer of one's own"):

        class Louder(layers.LSTM):
            def call(self, x):
                return x


def test_models_of_ones_own_code_are_refused_where_they_are_defined():
    for base in (Model, Sequential):
        with pytest.raises(TypeError, match="train_on_batch"):
            type("MyModel", (base,), {"train_step": lambda self, data: {}})

    with pytest.raises(TypeError, match="class MyModel: models whose training step is Python code"):
        type("MyModel", (Sequential,), {"call": lambda self, x: x})

    class Later(Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.lstm = layers.LSTM(units)

    with pytest.raises(TypeError, match=r"class Later: .*super\(\).__init__\(inputs, outputs\)"):
        Later(3)
    with pytest.raises(TypeError, match="Model: outputs is missing"):
        Model(Input((2,)))
    with pytest.raises(TypeError, match="Model has no argument 'ouputs'; did you mean 'outputs'"):
        Model(Input((2,)), ouputs=[])


def test_subclasses_that_only_put_layers_together_work():
    class Forecaster(Sequential):
        def __init__(self, units):
            super().__init__([layers.LSTM(units, input_shape=(None, 1)), layers.Dense(1)], name="forecaster")

    class Branched(Model):
        def __init__(self, units):
            x = Input((None, 1))
            super().__init__(x, layers.Dense(1)(layers.GRU(units)(x)))

    for model in (Forecaster(3), Branched(3)):
        assert model.predict(np.zeros((2, 4, 1))).shape == (2, 1)


def test_optimizers_and_initializers_of_ones_own_are_refused_where_they_are_defined():
    nothing = {"call": lambda self, *a: 0, "__call__": lambda self, *a: 0, "update_step": lambda self, *a: 0}
    for base, word in (
        (optimizers.Optimizer, "optimizers"),
        (initializers.Initializer, "initializers"),
    ):
        with pytest.raises(TypeError, match=f"class Mine: {word} of one's own are not here yet"):
            type("Mine", (base,), nothing)


def _zip(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 50)
    return buffer.getvalue()


def _npz():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


FILES = {
    "m.keras": (_zip("metadata.json", "config.json", "model.weights.h5"), "a model of Keras", r"rekur\.convert\.load"),
    "m.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5", r"rekur\.convert\.load"),
    "m.onnx": (b"\x08\x0a\x12\x07pytorch" + bytes(range(200)), "ONNX model", r"rekur\.onnx\.load"),
    "renamed": (b"\x08\x08\x12\x07pytorch" + bytes(range(200)), "ONNX model", r"rekur\.onnx\.load"),
    "m.pt": (_zip("archive/data.pkl", "archive/data/0"), "PyTorch", r"rekur\.convert\.load"),
    "old.pt": (pickle.dumps({"a": 1}), "pickle", "any code"),
    "m.tflite": (b"\x1c\0\0\0TFL3" + bytes(50), "TensorFlow Lite", "tf2onnx"),
    "m.npz": (_npz(), "NumPy arrays", "set_weights"),
    "m.npy": (b"\x93NUMPY\x01\0" + bytes(90), "NumPy array", "set_weights"),
    "m.zip": (_zip("readme"), "ZIP archive", "unpack"),
    "half.zip": (_zip("readme")[:40], "ZIP archive, not a whole one", "copy it again"),
    "m.gz": (b"\x1f\x8b\x08" + bytes(20), "gzip", "unpack"),
    "m.gguf": (b"GGUF" + bytes(20), "GGUF", "no reader"),
    "lfs.safetensors": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a pointer of Git LFS", "git lfs pull",
    ),
    "page.safetensors": (b"\n<!DOCTYPE html><html>", "a page of HTML", "downloaded"),
    "m.json": (b'{"format": "rekur"}', "JSON text", "from_spec"),
    "m.txt": ("Größe\n".encode() * 900, "a text file", "path of the model"),
    "empty.safetensors": (b"", "an empty file", "write it again"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_programs_are_recognised(tmp_path, name):
    content, what, advice = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    for read in (rekur.load, model.load_weights, lambda p: rekur.export_cpp(p, tmp_path / "m.hpp")):
        with pytest.raises(
            OSError, match=rf"cannot read '.*{name}': it is .*{what}.*, not a model of rekur: .*{advice}"
        ):
            read(path)
    with pytest.raises(OSError, match="not a model of rekur"):
        rekur.load(bytes(path))


def test_readers_of_onnx_recognise_files_of_other_programs(tmp_path):
    pytest.importorskip("onnx")
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    path = tmp_path / "m.safetensors"
    model.save(path)
    known = {name: FILES[name] for name in ("m.keras", "m.h5", "m.pt", "lfs.safetensors", "m.txt", "empty.safetensors")}
    for content, what, advice in [(path.read_bytes(), "a .safetensors file", r"load reads it"), *known.values()]:
        path.write_bytes(content)
        for read in (
            rekur.onnx.load,
            rekur.onnx.metadata,
            lambda p: rekur.onnx.verify(model, p),
            lambda p: rekur.onnx.quantize(p, tmp_path / "q.onnx"),
        ):
            with pytest.raises(ValueError, match=rf"it is .*{what}.*: .*{advice}"):
                read(path)


def test_folders_are_recognised_and_keep_their_error(tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a folder") as caught:
        rekur.load(tmp_path)
    assert caught.value.errno is not None
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(IsADirectoryError, match=r"SavedModel.*tf2onnx"):
        rekur.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="No such file"):
        rekur.load(tmp_path / "none")


def test_what_may_be_a_damaged_model_keeps_the_readers_reason(tmp_path):
    path = tmp_path / "m.safetensors"
    Sequential([layers.Dense(1, input_shape=(1,))]).save(path)
    whole = path.read_bytes()
    for broken, reason in ((whole[:40], "truncated"), (whole[:-1], "bytes of data"), (bytes(range(90, 200)), "header")):
        path.write_bytes(broken)
        with pytest.raises(OSError, match=reason):
            rekur.load(path)


def test_loading_without_what_it_was_compiled_with(tmp_path):
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("adam", "mse")
    model.save(tmp_path / "m.safetensors")
    loaded = rekur.load(tmp_path / "m.safetensors", compile=False, custom_objects=None, safe_mode=True)
    with pytest.raises(RuntimeError, match="not compiled"):
        loaded.evaluate(np.zeros((1, 1)), np.zeros(1))
    assert rekur.load(tmp_path / "m.safetensors", compile=True).optimizer.name == "adam"


# Against Keras itself, where it is installed.

PAIRS = {
    "layers": (
        "SimpleRNN", "LSTM", "GRU", "Bidirectional", "Dense", "Embedding", "Dropout", "Activation",
        "LayerNormalization", "Rescaling", "Concatenate", "Add", "Multiply", "Subtract", "InputLayer",
    ),
    "optimizers": (
        "SGD", "RMSprop", "Adam", "AdamW", "Nadam", "Adamax", "Adagrad", "Adadelta", "Ftrl", "Lion", "Lamb",
    ),
    "losses": (
        "MeanSquaredError", "MeanAbsoluteError", "Huber", "BinaryCrossentropy", "CategoricalCrossentropy",
        "SparseCategoricalCrossentropy",
    ),
    "metrics": (
        "MeanSquaredError", "MeanAbsoluteError", "RootMeanSquaredError", "BinaryAccuracy", "CategoricalAccuracy",
        "SparseCategoricalAccuracy",
    ),
    "initializers": (
        "Zeros", "Ones", "Constant", "RandomUniform", "RandomNormal", "GlorotUniform", "GlorotNormal", "HeUniform",
        "HeNormal", "LecunUniform", "LecunNormal", "Orthogonal",
    ),
}  # fmt: skip
KINDS = {"optimizers": "optimizer", "losses": "loss", "metrics": "metric", "initializers": "initializer"}
# Where our default is another on purpose (docs/coming-from-keras.md).
OTHER_DEFAULTS = {("Rescaling", "scale"), ("InputLayer", "dtype"), ("Huber", "name"), ("SGD", "weight_decay")}


def _parameters(made):
    found = list(inspect.signature(made.__init__).parameters.values())
    options = {**getattr(made, "_cell_options", {}), **getattr(made, "_further", {})}
    options |= {
        f"{name}_{kind}": None for name in getattr(made, "_ruled", ()) for kind in ("regularizer", "constraint")
    }
    found += [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=options[key]) for key in options]
    return {p.name: p for p in found if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in PAIRS.items() for n in names])
def test_every_argument_of_keras_is_ours_or_idle_at_its_default_or_told_what_to_do(module, name):
    keras = pytest.importorskip("keras")
    theirs = _parameters(getattr(getattr(keras, module), name))
    if module == "layers":
        theirs = {**_parameters(keras.layers.Layer), **theirs}
    made = getattr(getattr(rekur, module), name)
    ours = _parameters(made)
    if module == "layers":
        kind = inspect.Parameter.KEYWORD_ONLY
        ours["trainable"] = inspect.Parameter("trainable", kind, default=True)  # of every layer
    if module == "losses":  # of every loss
        ours["reduction"] = inspect.Parameter(
            "reduction", inspect.Parameter.KEYWORD_ONLY, default="sum_over_batch_size"
        )
    if "seed" in theirs and module == "initializers":  # of every one that draws
        ours["seed"] = inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=None)
        assert made(seed=3).get_config()["seed"] == 3
    foreign = arguments.table(KINDS.get(module) or made.type, name)
    order = []
    for key, parameter in theirs.items():
        default = parameter.default
        if key in ours and key != "options":
            order.append(key)
            if default is not parameter.empty and (name, key) not in OTHER_DEFAULTS and key != "name":
                assert ours[key].default == default, (key, default)
        else:
            assert key in foreign, f"{name}: '{key}' of Keras is neither taken nor explained"
            assert foreign[key].advice
            if default is not parameter.empty:
                assert foreign[key].idle(default), f"{name}: the default of '{key}', {default!r}, asks for nothing"
    positional = [k for k, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD and k in theirs]
    keras_order = [k for k in theirs if k in positional]
    if module == "layers":
        keras_order = [k for k in keras_order if k != "name"]
        positional = [k for k in positional if k != "name"]
    assert positional == keras_order[: len(positional)]


# What the constructors of ours ask for.
WANTED = {
    "units": 3, "filters": 2, "kernel_size": 2, "rate": 0.2, "stddev": 0.2, "input_dim": 4, "output_dim": 3, "n": 2,
    "scale": 2.0, "axes": 1, "num_heads": 2, "key_dim": 2, "head_dim": 2, "num_query_heads": 2, "target_shape": (2,),
    "num_key_value_heads": 1, "dims": (1,), "activation": "relu", "specificity": 0.5, "sensitivity": 0.5,
    "recall": 0.5, "precision": 0.5, "num_classes": 3, "target_class_ids": [0], "filename": "a.csv", "backup_dir": "b",
    "filepath": "a.safetensors", "schedule": lambda epoch: 1, "function": lambda x: x, "shape": (2,),
}  # fmt: skip
BASES = {"Layer", "Loss", "Metric", "Optimizer", "Callback", "Wrapper", "InputSpec", "Initializer", "Cell"}
UNNAMED = {"InputLayer": ["shape"], "Lambda": ["function"], "RNN": ["cell"]}  # wanted, and not by the signature


def _wanted(name, made):
    fresh = {"layer": layers.LSTM(2), "cell": layers.LSTMCell(2), "cells": [layers.LSTMCell(2)]}
    given = inspect.signature(made).parameters.values()
    names = [p.name for p in given if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return {key: fresh[key] if key in fresh else WANTED[key] for key in UNNAMED.get(name, names)}


@pytest.mark.parametrize("module", ["layers", "optimizers", "losses", "metrics", "callbacks", "initializers"])
def test_every_argument_of_every_class_of_keras_may_be_its_default_or_is_told_what_to_do(module):
    keras = pytest.importorskip("keras")
    for name in dir(getattr(keras, module)):
        cls, made = getattr(getattr(keras, module), name), getattr(getattr(rekur, module), name, None)
        if name in BASES or not inspect.isclass(cls) or not inspect.isclass(made):
            continue
        theirs = _parameters(keras.layers.Layer) if module == "layers" and name != "InputLayer" else {}
        for key, parameter in {**theirs, **_parameters(cls)}.items():
            if parameter.default is parameter.empty or key in _wanted(name, made):
                continue
            made(**_wanted(name, made), **{key: parameter.default})
            try:
                made(**_wanted(name, made), **{key: object()})
            except Exception as error:
                text = f"has no argument '{key}'"
                assert text not in str(error) or f"{text}: " in str(error), (name, str(error))


@pytest.mark.parametrize(
    ("of", "name", "message"),
    [
        ("model", "fit_generator", "fit takes generators"),
        ("model", "export", r"rekur\.onnx\.export"),
        ("layer", "kernel_regularizer", r"LSTM 'lstm' has no 'kernel_regularizer': .*get_config"),
        ("optimizer", "apply_gradients", "train_on_batch"),
        ("optimizer", "loss_scale_factor", "all is float32"),
    ],
)
def test_attributes_of_keras_say_what_to_do(of, name, message):
    model = Sequential([layers.LSTM(2, input_shape=(3, 1))])
    model.compile("adam", "mse")
    found = {"model": model, "layer": model.layers[0], "optimizer": model.optimizer}[of]
    assert not hasattr(found, name)
    with pytest.raises(AttributeError, match=message):
        getattr(found, name)
    with pytest.raises(AttributeError, match="object has no attribute 'nonsense'"):
        _ = found.nonsense


# Inner workings, which scripts do not call.
INNER = {
    "build_from_config", "compile_from_config", "compute_loss_and_updates", "compute_output_spec", "get_build_config",
    "get_compile_config", "get_quantization_layer_structure", "get_state_tree", "input_spec", "jax_state_sync",
    "load_own_variables", "metrics_variables", "path", "quantization_mode", "quantized_build", "quantized_call",
    "rematerialized_call", "save_own_variables", "set_state_tree", "stateless_call", "stateless_compute_loss",
    "symbolic_call", "input_dtype", "get_initial_state", "inner_loop", "reset_recurrent_dropout_mask",
}  # fmt: skip


def test_methods_and_attributes_of_keras_are_here_or_told_what_to_do():
    keras = pytest.importorskip("keras")
    model = Sequential([layers.LSTM(2, input_shape=(3, 1))])
    model.compile("adam", "mse")
    twin = keras.Sequential([keras.Input((3, 1)), keras.layers.LSTM(2)])
    functional = keras.Model(twin.inputs, twin.outputs)
    graph = Model(x := Input((3,)), layers.Dense(1)(x))
    graph.compile("adam", "mse")
    for ours, theirs in (
        (graph, functional),
        (model, twin),
        (model.layers[0], twin.layers[0]),
    ):
        missing = []
        for name in dir(type(theirs)):
            if name.startswith("_") or name in INNER or hasattr(ours, name):
                continue
            try:
                getattr(ours, name)
            except AttributeError as error:
                if f"has no '{name}': " not in str(error):
                    missing.append(name)
        assert not missing, (ours, missing)


def test_nothing_that_is_said_to_be_missing_is_there():
    kinds = {"utils": rekur.utils, "layer": layers, "initializer": initializers, "activation": rekur.activations}
    kinds |= {"loss": losses, "metric": metrics, "optimizer": optimizers, "callback": rekur.callbacks, "top": rekur}
    for kind, module in {**kinds, "model": rekur.models}.items():
        for name in names._KINDS[kind]:
            assert not hasattr(module, name), (kind, name)
    model = Sequential([layers.LSTM(2, input_shape=(3, 1)), layers.Dense(1)])
    model.compile("adam", "mse")
    found = {"model": [model], "layer": [*model.layers, layers.RNN(layers.GRUCell(2))], "optimizer": [model.optimizer]}
    for kind, objects in found.items():
        for name in attributes._KINDS[kind]:
            assert not any(hasattr(o, name) for o in objects), (kind, name)
    for name, table in arguments._LAYERS.items():
        made = rekur.Input if name == "Input" else getattr(layers, name)
        taken = set(inspect.signature(made).parameters) | {
            f"{of}_{kind}" for of in getattr(made, "_ruled", ()) for kind in ("regularizer", "constraint")
        }
        assert not taken & set(table), name


NAMES = ("layers", "initializers", "activations", "losses", "metrics", "optimizers", "callbacks")
PLUMBING = {"get", "serialize", "deserialize"}  # functions that turn names into objects


@pytest.mark.parametrize("module", NAMES)
def test_every_name_of_keras_is_here_or_told_what_to_do(module):
    keras = pytest.importorskip("keras")
    ours = sys.modules[f"rekur.{module}"]
    for name in dir(getattr(keras, module)):
        if name.startswith("_") or name in PLUMBING or hasattr(ours, name):
            continue
        with pytest.raises(AttributeError, match=r"which Keras has|as a string"):
            getattr(ours, name)


@pytest.mark.parametrize("kind", ["losses", "metrics", "activations", "initializers", "optimizers"])
def test_every_string_that_keras_takes_is_taken_or_told_what_to_do(kind):
    keras = pytest.importorskip("keras")
    source = __import__(f"keras.src.{kind}", fromlist=["ALL_OBJECTS_DICT"]).ALL_OBJECTS_DICT
    take = {
        "losses": losses.get,
        "metrics": metrics.get,
        "optimizers": optimizers.get,
        "activations": lambda name: rekur.activations.to_spec(name, "x", softmax=True),
        "initializers": lambda name: initializers.to_spec(name, "x"),
    }[kind]
    bases = {"Loss", "LossFunctionWrapper", "Metric", "metric", "Initializer", "initializer", "optimizer"}
    assert keras
    for name in source:
        if name in bases:
            continue
        try:
            take(name)
        except ValueError as error:
            assert "is Keras's and not here yet" in str(error) or "cannot do without" in str(error), (name, str(error))


@pytest.mark.parametrize("bias", ["zeros", "ones", 0.03])
def test_the_bias_of_an_lstm_starts_as_in_keras(bias):
    keras = pytest.importorskip("keras")
    theirs = keras.initializers.Constant(bias) if isinstance(bias, float) else bias
    mine = initializers.Constant(bias) if isinstance(bias, float) else bias
    for forget in (True, False):
        twin = keras.layers.LSTM(3, bias_initializer=theirs, unit_forget_bias=forget)
        twin.build((None, 4, 2))
        expected = twin.cell.bias.numpy() if hasattr(twin.cell.bias, "numpy") else np.asarray(twin.cell.bias)
        model = Sequential([layers.LSTM(3, bias_initializer=mine, unit_forget_bias=forget, input_shape=(4, 2))])
        np.testing.assert_array_equal(model.get_weights()[2], expected)


def test_whole_number_ids_of_floats_give_what_keras_gives():
    keras = pytest.importorskip("keras")
    twin = keras.Sequential([keras.Input((None,)), keras.layers.Embedding(20, 3), keras.layers.GRU(2)])
    model = Sequential([Input((None,)), layers.Embedding(20, 3), layers.GRU(2)])
    model.set_weights(twin.get_weights())
    ids = np.array([[1.0, 5.0, 19.0], [0.0, 2.0, 3.0]])
    np.testing.assert_allclose(model.predict(ids), np.asarray(twin(ids)), atol=1e-6)
