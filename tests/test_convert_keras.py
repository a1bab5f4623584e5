"""Files of Keras against Keras itself: what it saves predicts the same here, and what is saved here the same there."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from keras_models import MODELS, randomised
from rekur import convert
from rekur.convert._keras import probe
from rekur.layers import LSTM, Dense, Flip, Slice, Step

os.environ.setdefault("KERAS_BACKEND", "numpy")
keras = pytest.importorskip("keras")
pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:.*mask.*:UserWarning", "ignore:You are saving:UserWarning")


@pytest.fixture(autouse=True)
def _without_a_process_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "check", lambda source, what: None)


def _close(got: Any, want: Any) -> None:
    got, want = (value if isinstance(value, list) else [value] for value in (got, want))
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, np.asarray(b), atol=1e-5, rtol=1e-5)


def _data(inputs: list[np.ndarray]) -> Any:
    return inputs[0] if len(inputs) == 1 else inputs


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keras's files of a model, and what Keras gives."""
    folder, known = tmp_path_factory.mktemp("keras"), {}

    def made(name: str) -> tuple[Path, list[np.ndarray], Any]:
        if name not in known:
            keras.utils.clear_session()
            model, inputs = MODELS[name](keras)
            randomised(model)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.save(folder / f"{name}.keras")
                model.save(folder / f"{name}.h5")
            model.save_weights(folder / f"{name}.weights.h5")
            known[name] = folder / name, inputs, model(_data(inputs))
        return known[name]

    return made


@pytest.mark.parametrize("ending", ["keras", "h5", "weights.h5"])
@pytest.mark.parametrize("name", MODELS)
def test_what_keras_saves(theirs: Any, name: str, ending: str) -> None:
    path, inputs, want = theirs(name)
    source = f"{path}.{ending}"
    if ending == "weights.h5":
        model = convert.load(source, into=MODELS[name](rekur)[0])
    else:
        model = convert.load(source)
        assert type(model) is (rekur.Sequential if name == "sequential" else rekur.Model)
    _close(model.predict(_data(inputs)), want)


@pytest.mark.parametrize("ending", ["keras", "h5", "weights.h5"])
@pytest.mark.parametrize("name", MODELS)
def test_what_rekur_saves(tmp_path: Path, name: str, ending: str) -> None:
    model, inputs = MODELS[name](rekur)
    want = randomised(model).predict(_data(inputs))
    path = tmp_path / f"m.{ending}"
    convert.save(model, path)
    if ending == "weights.h5":
        keras.utils.clear_session()
        there, _ = MODELS[name](keras)
        there.load_weights(path)
        again = convert.load(path, into=MODELS[name](rekur)[0])
    else:
        there, again = keras.models.load_model(path), convert.load(path)
    _close(there(_data(inputs)), want)
    _close(again.predict(_data(inputs)), want)


@pytest.mark.parametrize("name", ["nested", "attention", "frozen", "sequential"])
def test_models_in_memory(name: str) -> None:
    keras.utils.clear_session()
    theirs, inputs = MODELS[name](keras)
    randomised(theirs)
    assert convert.detect(theirs).name == "keras"
    here = convert.load(theirs)
    _close(here.predict(_data(inputs)), theirs(_data(inputs)))
    _close(convert.to_object(here, "keras")(_data(inputs)), theirs(_data(inputs)))


def test_models_in_memory_that_are_not_built_or_ones_own() -> None:
    with pytest.raises(ValueError, match="has no weights yet: build it"):
        convert.load(keras.Sequential([keras.layers.LSTM(2)]))
    with pytest.raises(ValueError, match="class of its author's"):
        convert.load(_subclassed())


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_operations_between_layers(tmp_path: Path, rng: np.random.Generator, ending: str) -> None:
    ops = keras.ops
    x = keras.Input((5, 4))
    y = keras.layers.GRU(4, return_sequences=True)(x) * 2.0 + x
    y = ops.tanh(ops.subtract(y, 1.0)) - ops.mean(y, axis=1, keepdims=True)
    y = ops.concatenate([y[:, 1:], ops.flip(y, axis=1)[:, :1]], axis=1)
    model = keras.Model(x, [y[:, -1], ops.sum(ops.relu(y), axis=1), y[..., 1:3]])
    model.save(path := tmp_path / f"m.{ending}")
    data = rng.standard_normal((2, 5, 4)).astype("float32")
    _close(convert.load(path).predict(data), model(data))


def test_steps_and_slices_become_operations(tmp_path: Path, rng: np.random.Generator) -> None:
    layers = [rekur.Input((5, 3)), LSTM(4, return_sequences=True), Flip(), Slice(1, 3), Step(-2), Dense(2)]
    model = rekur.Sequential(layers, seed=1)
    convert.save(model, tmp_path / "m.keras")
    data = rng.standard_normal((2, 5, 3)).astype("float32")
    there = keras.models.load_model(tmp_path / "m.keras")
    _close(there(data), model.predict(data))
    _close(convert.load(tmp_path / "m.keras").predict(data), model.predict(data))


def test_stateful(tmp_path: Path, rng: np.random.Generator) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input(batch_shape=(2, 3, 1)), layers.LSTM(3, stateful=True), layers.Dense(1)])
    model.save(tmp_path / "m.keras")
    here, data = convert.load(tmp_path / "m.keras"), rng.standard_normal((2, 3, 1)).astype("float32")
    for _ in range(2):
        _close(here.predict(data), model(data))
    convert.save(here, tmp_path / "n.keras")
    there = keras.models.load_model(tmp_path / "n.keras")
    here.reset_states()
    for _ in range(2):
        _close(here.predict(data), there(data))


def test_normalization(tmp_path: Path, rng: np.random.Generator) -> None:
    data = (3 + 2 * rng.standard_normal((9, 4, 3))).astype("float32")
    layer = keras.layers.Normalization()
    layer.adapt(data)
    model = keras.Sequential([keras.Input((4, 3)), layer, keras.layers.Dense(2)])
    for ending in ("keras", "h5"):
        model.save(path := tmp_path / f"m.{ending}")
        here = convert.load(path)
        _close(here.predict(data), model(data))
        convert.save(here, path)
        _close(keras.models.load_model(path)(data), model(data))


COMPILED: list[dict[str, Any]] = [
    {"optimizer": "rmsprop", "loss": "mse", "metrics": ["mae"]},
    {"optimizer": keras.optimizers.Adam(0.01, clipnorm=1.0), "loss": keras.losses.Huber(delta=0.5)},
    {
        "optimizer": keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), momentum=0.5),
        "loss": "mse", "metrics": [keras.metrics.RootMeanSquaredError()],
    },
]  # fmt: skip


@pytest.mark.parametrize("options", COMPILED, ids=range(len(COMPILED)))
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_what_a_model_was_compiled_with(tmp_path: Path, options: dict[str, Any], ending: str) -> None:
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(2), keras.layers.Dense(1)])
    model.compile(**options)
    model.save(tmp_path / f"m.{ending}")
    here = convert.load(tmp_path / f"m.{ending}")
    if isinstance(options["optimizer"], str):
        assert type(here.optimizer).__name__ == "RMSprop"
    else:
        assert type(here.optimizer).__name__ == type(options["optimizer"]).__name__
    data = np.ones((4, 3, 2), "float32")
    assert np.isfinite(here.evaluate(data, data[:, 0, :1], verbose=0)).all()
    assert convert.load(tmp_path / f"m.{ending}", compile=False).get_compile_config() is None
    if options["loss"] == "mse" and isinstance(here.optimizer.get_config()["learning_rate"], float):
        convert.save(here, tmp_path / f"n.{ending}")
        there = keras.models.load_model(tmp_path / f"n.{ending}")
        assert there.compiled and type(there.optimizer) is type(model.optimizer)
        return
    with pytest.warns(UserWarning, match="is written as if it were not compiled"):
        convert.save(here, tmp_path / f"n.{ending}")
    assert not keras.models.load_model(tmp_path / f"n.{ending}").compiled


def test_a_loss_of_ones_own_is_left_out_with_a_warning(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(2)])

    def own(a: Any, b: Any) -> Any:
        return keras.ops.mean(a - b)

    model.compile("adam", own)
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="is not compiled, since it was with what is not there"):
        assert convert.load(tmp_path / "m.keras").get_compile_config() is None


def test_masks_by_hand_are_refused(tmp_path: Path) -> None:
    layers = keras.layers
    x, m = keras.Input((4, 3)), keras.Input((4,), dtype="bool")
    keras.Model([x, m], layers.LSTM(2)(x, mask=m)).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"the call of 'lstm.*' is given mask= by hand"):
        convert.load(tmp_path / "m.keras")
    x, i = keras.Input((4, 3)), keras.Input((4,), dtype="int32")
    by_hand = layers.LSTM(2)(x, mask=keras.ops.not_equal(i, 0))
    keras.Model([x, i], by_hand).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"the call of 'lstm.*' is given mask= by hand"):
        convert.load(tmp_path / "m.keras")


def test_other_types_of_numbers_compute_in_float32(tmp_path: Path, rng: np.random.Generator) -> None:
    layers = keras.layers
    for dtype in ("mixed_float16", "float64"):
        model = keras.Sequential([keras.Input((4, 3)), layers.LSTM(2, dtype=dtype), layers.Dense(1, dtype=dtype)])
        model.save(tmp_path / "m.keras")
        with pytest.warns(UserWarning, match=f"'lstm.*' is of {dtype}; here it computes in float32"):
            here = convert.load(tmp_path / "m.keras")
        data = rng.standard_normal((2, 4, 3)).astype("float32")
        np.testing.assert_allclose(here.predict(data), np.asarray(model(data)), atol=1e-2)


@keras.saving.register_keras_serializable(package="mine")
class Own(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x * 2


def _subclassed() -> Any:
    class Mine(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Mine()
    model(np.ones((1, 3)))
    return model


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda L: L.Lambda(lambda x: x * 2), "is a Lambda, whose function is Python code"),
        (lambda L: Own(name="own"), r"layer 'own' is of a class of its author's, mine>Own"),
        (
            lambda L: L.Dense(2, activation=lambda x: x),
            "of its author's, and no code of a file is run|Lambda|activation",
        ),
        (lambda L: L.Conv2D(1, 1), "no layer or model 'Conv2D'|Conv2D"),
        (lambda L: L.GRU(2, seed=3), "has no argument 'seed'"),
    ],
    ids=["Lambda", "own class", "own function", "unknown", "argument"],
)
def test_what_is_code_or_is_not_there_is_named(tmp_path: Path, make: Any, message: str, ending: str) -> None:
    shape = (4, 3, 2) if "Conv2D" in message else (4, 3)
    model = keras.Sequential([keras.Input(shape), make(keras.layers)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / f"m.{ending}")
    with pytest.raises(ValueError, match=message):
        convert.load(tmp_path / f"m.{ending}")


def test_classes_of_ones_own(tmp_path: Path) -> None:
    class Twice(rekur.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    model = keras.Sequential([keras.Input((4, 3)), Own(), keras.layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    data = np.ones((2, 4, 3), "float32")
    with pytest.raises(ValueError, match="custom_objects="):
        convert.load(tmp_path / "m.keras")
    _close(convert.load(tmp_path / "m.keras", custom_objects={"Own": Twice}).predict(data), model(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _subclassed().save(tmp_path / "s.keras")
    with pytest.raises(ValueError, match="class of its author's"):
        convert.load(tmp_path / "s.keras")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (rekur.layers.RNN(rekur.cells.janet, 2), "Keras has no such layer"),
        (LSTM(2, peepholes=True), "Keras has no peepholes=True"),
        (LSTM(2, clip=1.0, return_sequences=True), "Keras has no clip=1.0"),
        (LSTM(2, reverse=True, return_sequences=True), "Keras has no reverse=True"),
        (LSTM(3, projection_size=2), "Keras has no projection_size=2"),
        (LSTM(2, zoneout=0.5), "Keras has no zoneout"),
        (Dense(2, activation=rekur.activations.LeakyReLU(0.7)), "Keras has no activation"),
        (rekur.layers.Bidirectional(LSTM(3), merge_mode="sum", residual=True), "Keras has no residual=True"),
        (rekur.layers.Affine(), "Keras has no such layer"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value),
)
def test_what_keras_lacks_is_named(tmp_path: Path, layer: Any, message: str) -> None:
    model = rekur.Sequential([rekur.Input((4, 3)), layer])
    for ending in ("keras", "h5", "weights.h5"):
        with pytest.raises(ValueError, match=message):
            convert.save(model, tmp_path / f"m.{ending}")
    assert not list(tmp_path.iterdir())


def test_reverse_is_go_backwards_where_there_is_one_output(tmp_path: Path, rng: np.random.Generator) -> None:
    model = rekur.Sequential([rekur.Input((4, 3)), LSTM(2, reverse=True)], seed=1)
    convert.save(model, tmp_path / "m.keras")
    data = rng.standard_normal((2, 4, 3)).astype("float32")
    _close(keras.models.load_model(tmp_path / "m.keras")(data), model.predict(data))


def test_initializers_and_rules_come_along(tmp_path: Path) -> None:
    from rekur import constraints, initializers, regularizers

    layer = LSTM(
        2,
        kernel_initializer=initializers.RandomUniform(-0.3, 0.4),
        bias_initializer="ones",
        unit_forget_bias=False,
        kernel_regularizer=regularizers.L1L2(0.1, 0.2),
        recurrent_constraint=constraints.MaxNorm(2.0),
        activity_regularizer="l2",
    )
    convert.save(rekur.Sequential([rekur.Input((4, 3)), layer]), tmp_path / "m.keras")
    there = keras.models.load_model(tmp_path / "m.keras").layers[0]
    assert there.cell.kernel_initializer.maxval == pytest.approx(0.4)
    assert there.cell.kernel_regularizer.l1 == pytest.approx(0.1)
    assert there.cell.recurrent_constraint.max_value == 2
    assert not there.cell.unit_forget_bias
    here, want = convert.load(tmp_path / "m.keras").layers[0].config(), layer.config()
    here["recurrent_initializer"] = "orthogonal"  # Keras's with gain=1
    assert here == want


def _pairs() -> list[tuple[str, str]]:
    page = (Path(__file__).parents[1] / "docs" / "coming-from-keras.md").read_text(encoding="utf-8")
    section = page.split("\n## Files\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(left.strip("`"), right.strip("`")) for left, right in rows]


@pytest.mark.parametrize(("left", "right"), _pairs())
def test_the_pairs_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str, right: str) -> None:
    keras.utils.clear_session()
    monkeypatch.chdir(tmp_path)
    there, inputs = MODELS["recurrent"](keras)
    randomised(there)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there.save("m.keras")
        there.save("m.h5")
        there.save_weights("m.weights.h5")
        want = there(_data(inputs))
        spaces = (
            {"keras": keras, "model": MODELS["recurrent"](keras)[0]},
            {"rekur": rekur, "model": convert.load("m.keras")},
        )
        if "load" in left:
            spaces[1]["model"] = MODELS["recurrent"](rekur)[0]
        for code, space in zip((left, right), spaces, strict=True):
            exec(code, space)
        written = [path for path in tmp_path.iterdir() if path.name.startswith("n.")]
        assert len(written) == ("n." in left)
    if "load" in left:
        _close(spaces[0]["model"](_data(inputs)), want)
        _close(spaces[1]["model"].predict(_data(inputs)), want)
