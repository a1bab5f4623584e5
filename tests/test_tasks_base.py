"""The base of rekur.tasks: parameters, files, pickles, sequences, layers in front, training with one bar."""

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import layers
from rekur.tasks import Estimator, NotFittedError, _file, load
from rekur.tasks._fitting import Diverged, fit_networks
from rekur.tasks._front import standardised, statistics
from rekur.tasks._sequences import read_sequences


class Mean(Estimator):
    _kind = "test.mean"

    def __init__(self, shift: Any = 0.0, *, units: Any = 3, random_state: Any = None, inner: Any = None) -> None:
        self.shift, self.units, self.random_state, self.inner = shift, units, random_state, inner

    def fit(self, X: Any, y: Any = None) -> "Mean":
        self._forget()
        self.models_ = [_model(seed, self.units) for seed in self._seeds(2)]
        self.again_ = self.models_[0]
        self.mean_ = np.asarray(X).mean()
        self.names_ = ["a", "b"]
        self.labels_ = np.array(["x", "yy"])
        self.days_ = np.array(["2020-01-01", "NaT"], "datetime64[ns]")
        self.odd_ = {"nan": float("nan"), "inf": -np.inf, 3: (1, True, None), "$x": np.float32(0.5), "big": 2**70}
        self.objects_ = np.array(["a", None, 3], dtype=object)
        return self


def _model(seed: int, units: int = 3) -> rekur.Model:
    x = layers.Input((None, 2))
    return rekur.Model(x, layers.Dense(1)(layers.GRU(units)(x)), seed=seed)


def test_parameters_are_scikit_learns():
    estimator = Mean(2.5, inner=Mean(1))
    assert estimator.get_params(deep=False) == {
        "shift": 2.5, "units": 3, "random_state": None, "inner": estimator.inner,
    }  # fmt: skip
    assert estimator.get_params()["inner__shift"] == 1
    assert repr(estimator) == "Mean(shift=2.5, inner=Mean(shift=1))"
    assert estimator.set_params(inner__shift=7, units=(4,)) is estimator
    assert (estimator.inner.shift, estimator.units) == (7, (4,))
    with pytest.raises(ValueError, match=r"Invalid parameter 'unit'.*did you mean 'units'"):
        estimator.set_params(unit=3)
    assert repr(Mean(np.zeros(2))).startswith("Mean(shift=array(")


def test_what_is_not_fitted_says_so(tmp_path):
    with pytest.raises(NotFittedError, match="Mean instance is not fitted"):
        Mean().save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.raises(exceptions.NotFittedError):
        Mean()._check_fitted()
    with pytest.raises(NotFittedError):
        Mean()._check_fitted()


def test_scikit_learn_clones():
    base = pytest.importorskip("sklearn.base")
    estimator = Mean(1.5, inner=Mean(2), random_state=3).fit([1.0])
    twin = base.clone(estimator)
    assert twin is not estimator and not twin.__sklearn_is_fitted__() and twin.inner is not estimator.inner
    assert twin.get_params()["inner__shift"] == 2


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_state_comes_back(tmp_path, way):
    estimator = Mean(0.5, units=5, random_state=7).fit([1.0, 2.0])
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    if way == "file":
        estimator.save(tmp_path / "m.safetensors")
        other = Mean.load(tmp_path / "m.safetensors")
        assert type(load(tmp_path / "m.safetensors")) is Mean
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(estimator))
    else:
        other = copy.deepcopy(estimator)
    assert other.get_params() == estimator.get_params()
    for one, two in zip(estimator.models_, other.models_, strict=True):
        assert two is not one
        np.testing.assert_array_equal(one.predict(x, verbose=0), two.predict(x, verbose=0))
    assert other.again_ is other.models_[0]  # one model in two places is one again
    assert (other.mean_, other.names_) == (1.5, ["a", "b"])
    np.testing.assert_array_equal(other.labels_, estimator.labels_)
    np.testing.assert_array_equal(other.days_, estimator.days_)
    assert other.days_.dtype == estimator.days_.dtype and other.labels_.dtype == estimator.labels_.dtype
    assert np.isnan(other.odd_["nan"]) and other.odd_["inf"] == -np.inf and other.odd_[3] == (1, True, None)
    assert other.odd_["big"] == 2**70 and other.odd_["$x"] == 0.5
    assert other.objects_.tolist() == ["a", None, 3]


def test_one_seed_is_the_models(tmp_path):
    assert Mean(random_state=7)._seeds(1) == [7]
    assert Mean(random_state=7)._seeds(3)[0] == 7 and len(set(Mean(random_state=7)._seeds(3))) == 3
    assert Mean(random_state=7)._seeds(3) == Mean(random_state=7)._seeds(3)
    assert Mean(random_state=np.random.RandomState(1))._seeds(2) == Mean(random_state=np.random.RandomState(1))._seeds(
        2
    )
    rekur.set_random_seed(3)
    drawn = Mean()._seeds(2)
    rekur.set_random_seed(3)
    assert Mean()._seeds(2) == drawn
    for wrong in (-1, "1", 1.5):
        with pytest.raises((ValueError, TypeError), match="Mean: random_state"):
            Mean(random_state=wrong)._seeds(1)
    generator = Mean(random_state=np.random.default_rng(1)).fit([1.0])
    generator.save(tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors").random_state is None


def test_what_no_file_holds_is_named(tmp_path):
    estimator = Mean(shift=lambda x: x).fit([1.0])
    with pytest.raises(TypeError, match=r"state\.params\.shift is a function"):
        estimator.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    estimator = Mean().fit([1.0])
    estimator.odd_ = np.array([1 + 2j])
    with pytest.raises(TypeError, match=r"state\.learned\.odd_ is an array of complex128"):
        estimator.save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="safetensors"):
        estimator.save(tmp_path / "m.pkl")
    assert not list(tmp_path.iterdir())


def test_files_of_others_are_told(tmp_path):
    Mean().fit([1.0]).save(tmp_path / "m.safetensors")
    with pytest.raises(OSError, match=r"it is a fitted estimator, not a model of rekur: rekur\.tasks\.load reads it"):
        rekur.load(tmp_path / "m.safetensors")
    _model(1).save(tmp_path / "model.safetensors")
    with pytest.raises(OSError, match=r"holds no estimator of rekur\.tasks; it looks like a model: rekur\.load"):
        load(tmp_path / "model.safetensors")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07\x12\x04rest")
    with pytest.raises(OSError, match="an ONNX model"):
        load(tmp_path / "a.onnx")
    with pytest.raises(OSError):
        load(tmp_path / "none.safetensors")

    class Other(Estimator):
        _kind = "test.other"

    with pytest.raises(ValueError, match="holds a Mean, not a Other"):
        Other.load(tmp_path / "m.safetensors")


def test_hostile_files_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    Mean().fit([1.0]).save(path)
    metadata, tensors = rekur._core.read_safetensors(str(path).encode())
    content = json.loads(metadata[_file.KEY])

    def altered(change: Any, fewer: Any = ()) -> None:
        other = copy.deepcopy(content)
        change(other)
        kept = {name: array for name, array in tensors.items() if name not in fewer}
        rekur._core.write_safetensors(str(path).encode(), {_file.KEY: json.dumps(other)}, kept)

    def setting(*place: Any) -> Any:
        *way, last, value = place

        def change(tree: Any) -> None:
            for step in way:
                tree = tree[step]
            tree[last] = value

        return change

    learned = content["state"]["learned"]
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    for change, message in (
        (setting("version", 2), "update rekur"),
        (setting("version", "1"), "not a valid"),
        (setting("kind", "test.unknown"), "does not know"),
        (setting("kind", 3), "not a valid"),
        (setting("state", []), "not a valid"),
        (setting("state", "learned", {"evil": 1}), "unexpected attribute"),
        (setting("state", "learned", {"__class__": 1}), "unexpected attribute"),
        (setting("state", "params", {"nonsense": 1}), "unknown parameter"),
        (setting("state", "learned", "mean_", {"$": "code"}), "unknown kind"),
        (setting("state", "learned", "mean_", {"$": "array", "name": "no"}), "not a valid"),
        (setting("state", "learned", "mean_", deep), "nested"),
        (setting("state", "learned", "models_", 0, "spec", {}), "not a valid"),
        (setting("state", "learned", "models_", 0, "spec", "layers", []), "not a valid"),
        (setting("state", "learned", "labels_", "shape", [7]), "not a valid"),
        (setting("state", "learned", "days_", "dtype", "M8[zz]"), "not a valid"),
    ):
        altered(change)
        with pytest.raises(ValueError, match=message):
            load(path)
    weight = next(name for name in tensors if name.startswith(learned["models_"][0]["name"]))
    altered(lambda tree: None, [weight])
    with pytest.raises(ValueError, match="not a valid"):
        load(path)
    rekur._core.write_safetensors(str(path).encode(), {_file.KEY: "{"}, {})
    with pytest.raises(ValueError, match="not a valid"):
        load(path)
    Mean().fit([1.0]).save(path)
    whole = path.read_bytes()
    for part in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:part])
        with pytest.raises((OSError, ValueError)):
            load(path)


# Sequences.


def test_sequences_of_every_form():
    table = read_sequences(np.arange(6.0).reshape(2, 3))
    assert (table.values.shape, table.lengths, table.table, table.n_features_in()) == ((2, 3, 1), None, True, 3)
    cube = read_sequences(np.zeros((2, 3, 4)))
    assert (cube.features, cube.table, cube.n_features_in()) == (4, False, 4)
    ragged = read_sequences([np.ones((2, 3)), np.ones((5, 3)), np.full((1, 3), np.nan)])
    assert ragged.lengths is not None and ragged.lengths.tolist() == [2, 5, 1]
    assert ragged.values.shape == (3, 5, 3) and not ragged.values[0, 2:].any() and np.isnan(ragged.values[2, 0]).all()
    assert ragged.take([0, 2]).values.shape == (2, 2, 3)
    assert read_sequences([[1, 2], [3, 4]]).table and not read_sequences([np.ones(2), np.ones(2)]).table
    objects = np.empty(2, object)
    objects[:] = [[1.0, 2.0], [3.0]]
    assert read_sequences(objects).values[:, :, 0].tolist() == [[1, 2], [3, 0]]
    assert np.isnan(read_sequences(np.array([[1, None], [2, 3]], object)).values[0, 1, 0])
    assert read_sequences([["1.5", "2"]]).values[0, 0, 0] == 1.5
    pandas = pytest.importorskip("pandas")
    frame = read_sequences(pandas.DataFrame({"a": [1.0, 2], "b": [np.nan, 3]}))
    assert frame.table and frame.names is not None and frame.names.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "got None"),
        ("text", "got a str"),
        ({"a": 1}, "got a dict"),
        ([], "0 sample"),
        (np.zeros((0, 3)), "0 sample"),
        (np.zeros((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1"),
        (np.zeros(3), "Expected 2D array, got 1D.*Reshape your data"),
        ([1.0, 2.0], "Reshape your data"),
        (np.zeros((1, 2, 3, 4)), "expected an array of shape"),
        (np.zeros((2, 2), complex), "Complex data not supported"),
        (np.array([[1, np.inf]]), r"infinity.*\(0, 1\)"),
        (np.array([[1, 1e300]]), "too large for float32"),
        ([[1, 2], [3, "x"]], "could not convert string to float: 'x'"),
        ([np.ones((2, 3)), np.ones((2, 2))], "sequence 1: it has 2 channels, the first one has 3"),
        ([np.ones((2, 3)), None], "sequence 1: expected a sequence of numbers, got None"),
        ([[[1, 2], [3]], [[1, 2]]], "sequence 0: its steps have different numbers"),
        ([np.ones(2), np.ma.masked_array(np.ones(2), [0, 1])], "sequence 1: 1 of 2 values are masked"),
        ([np.ones((2, 3)), np.ones((1, 2, 3))], r"sequence 1: expected shape \(T,\) or \(T, F\)"),
        ([np.ones(3), np.ones(0)], "sequence 1 has 0 steps, at least 1"),
        (np.ma.masked_array(np.ones((2, 2)), [[0, 1], [0, 0]]), "masked"),
        (np.array([["a", "b"]]), "could not convert"),
        (np.array([["2020-01-01"]], "datetime64[D]"), "datetime64"),
    ],
)
def test_what_are_no_sequences(given, message):
    with pytest.raises((ValueError, TypeError), match=f"data: .*{message}"):
        read_sequences(given, "data")


# Layers in front.


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("missing", [(), (0,), (0, 1, 4), (1, 3)])
def test_layers_in_front_standardise(features, missing):
    rng = np.random.default_rng(features)
    values = rng.normal(50, 3, size=(6, 7, features)) * (10.0 ** np.arange(features))
    lengths = rng.integers(1, 8, 6)
    gone = [channel for channel in missing if channel < features]
    for channel in gone:
        values[0, 0, channel] = np.nan
        values[4, :, channel] = np.nan
    known = statistics(values, lengths)
    valid = np.arange(7) < lengths[:, None]
    mean = np.array([np.nanmean(values[..., f][valid]) for f in range(features)])
    deviation = np.array([np.nanstd(values[..., f][valid]) for f in range(features)])
    np.testing.assert_allclose(known.mean, mean)
    np.testing.assert_allclose(known.deviation, deviation)
    assert np.flatnonzero(known.missing).tolist() == gone
    x = layers.Input((None, features))
    model = rekur.Model(x, standardised(x, known))
    expected = (values - mean) / deviation
    absent = np.isnan(expected)
    expected[absent] = 0
    expected = np.concatenate([expected, absent[..., gone]], axis=-1)
    np.testing.assert_allclose(model.predict(values, verbose=0), expected, rtol=1e-4, atol=2e-4)


def test_constant_and_unseen_channels_are_left_alone():
    known = statistics(np.stack([np.full(5, 1e6), np.full(5, np.nan), np.arange(5.0)], axis=-1))
    assert known.deviation[:2].tolist() == [1, 1] and known.mean[:2].tolist() == [1e6, 0]


# Training.


def _compiled(seed: int, rate: float = 0.01) -> rekur.Model:
    model = _model(seed)
    model.compile(optimizer=rekur.optimizers.Adam(rate), loss="mse")
    return model


def test_networks_are_trained_from_seeds(capsys):
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(40, 5, 2)), "y": rng.normal(size=(40, 1))}
    arguments = {"epochs": 4, "who": "Mean", "validation": (data["x"], data["y"]), "patience": 2, "verbose": 1}
    models, histories = fit_networks(_compiled, [3, 4], data, **arguments)
    assert [model.seed for model in models] == [3, 4] and set(histories[0]) >= {"loss", "val_loss"}
    again, _ = fit_networks(_compiled, [4], data, **arguments)
    np.testing.assert_array_equal(again[0].predict(data["x"], verbose=0), models[1].predict(data["x"], verbose=0))
    assert "Mean - " in capsys.readouterr().err


def test_a_training_that_diverges_says_so():
    data = {"x": np.full((4, 5, 2), np.nan), "y": np.zeros((4, 1))}
    with pytest.raises(Diverged, match=r"Mean: the loss is nan in epoch 1: .*learning_rate"):
        fit_networks(_compiled, [1], data, epochs=1, who="Mean")
