"""What is no array, or not all there: masks, missing values, data sets, generators. Refused at once, everywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import layers, losses, metrics, ops
from rekur._validate import as_float32

X, Y = np.ones((4, 3, 2), np.float32), np.ones((4, 1), np.float32)


def model() -> rekur.Model:
    x = rekur.Input((None, 2), name="x")
    h = rekur.Input((3,), name="h")
    built = rekur.Model([x, h], layers.Dense(1)(layers.GRU(3)(x, initial_state=h)))
    built.compile("sgd", "mse", metrics=["mae"])
    return built


class Dataset:
    """As torch's and Keras's data sets are: a length, items, and never an IndexError."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return X[0], Y[0]


class Loader:
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield X, Y


class Listed(Sequence):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: Any) -> Any:
        return 1.0


STATE = np.zeros((4, 3), np.float32)
PLACES: dict[str, Callable[[rekur.Model, Any], Any]] = {
    "x": lambda m, v: m.fit([v, STATE], Y, verbose=0),
    "x by name": lambda m, v: m.predict({"x": v, "h": STATE}),
    "initial state": lambda m, v: m.predict([X, v]),
    "y": lambda m, v: m.fit([X, STATE], v, verbose=0),
    "y in a list": lambda m, v: m.fit([X, STATE], [v], verbose=0),
    "sample_weight": lambda m, v: m.train_on_batch([X, STATE], Y, sample_weight=v),
    "lengths": lambda m, v: m.predict([X, STATE], lengths=v),
    "validation x": lambda m, v: m.fit([X, STATE], Y, verbose=0, validation_data=([v, STATE], Y)),
    "validation y": lambda m, v: m.fit([X, STATE], Y, verbose=0, validation_data=([X, STATE], v)),
    "evaluate": lambda m, v: m.evaluate([v, STATE], Y),
    "test_on_batch": lambda m, v: m.test_on_batch([X, STATE], v),
    "set_weights": lambda m, v: m.set_weights([v, *m.get_weights()[1:]]),
    "layer.set_weights": lambda m, v: m.layers[-1].set_weights([v, np.zeros(1)]),
    "output_gradients": lambda m, v: m.gradients([X, STATE], v),
    "a metric's target": lambda m, v: metrics.MeanSquaredError().update_state(v, Y),
    "a metric's output": lambda m, v: metrics.MeanSquaredError().update_state(Y, v),
    "a metric's target, over all rows": lambda m, v: metrics.OverAllRows(np.mean).update_state(v, Y),
    "a loss's target": lambda m, v: losses.MeanSquaredError()(v, Y),
    "a loss's output": lambda m, v: losses.MeanSquaredError()(Y, v),
    "ops": lambda m, v: ops.sigmoid(v),
    "ops, the second": lambda m, v: ops.add(1.0, v),
    "ops.one_hot": lambda m, v: ops.one_hot(v, 3),
    "ops.cast": lambda m, v: ops.cast(v, "float32"),
}
SHAPES = {
    **dict.fromkeys(("x", "x by name", "validation x", "evaluate"), (4, 3, 2)),
    **{"initial state": (4, 3), "lengths": (4,), "sample_weight": (4,), "set_weights": (2, 9)},
    "layer.set_weights": (3, 1),
}
WRONG = {
    "Dataset": Dataset(),
    "Loader": Loader(),
    "Listed": Listed(),
    "generator": (row for row in X),
    "map": map(np.sum, X),
    "zip": zip(X, Y, strict=True),
    "set": {1.0, 2.0},
    "dict_values": {"a": 1.0}.values(),
    "str": "x",
    "bytes": b"xxxx",
    "object": object(),
    "list of Dataset": [Dataset()],
    "nested": [[1.0, Dataset()]],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_masked_arrays_are_refused_with_advice(place: str, dtype: type) -> None:
    values = np.zeros(SHAPES.get(place, (4, 1)), dtype)
    masked = np.ma.masked_array(values, mask=np.arange(values.size).reshape(values.shape) == 1)
    with pytest.raises(ValueError, match=r"1 of \d+ values are masked, the first at \(.*\).*\.filled.*sample_weight="):
        PLACES[place](model(), masked)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_array_is_a_type_error_at_once(place: str, wrong: str) -> None:
    built = model()
    before = built.get_weights()
    with pytest.raises((TypeError, ValueError), match=r"expected|dict with these keys"):
        PLACES[place](built, WRONG[wrong])
    for a, b in zip(before, built.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", ["Dataset", "Listed", "list of Dataset", "nested", "Loader"])
def test_data_sets_name_themselves_and_what_to_do(wrong: str) -> None:
    with pytest.raises(TypeError, match=r"got a (Dataset|Listed|Loader); data sets and loaders are not read"):
        as_float32(WRONG[wrong], "x")


@pytest.mark.parametrize("value", [3, "xy", X, {1.0}])
def test_validation_data_that_is_no_pair_is_a_type_error(value: Any) -> None:
    before = (m := model()).get_weights()
    with pytest.raises(TypeError, match="validation_data must be "):
        m.fit([X, STATE], Y, verbose=0, validation_data=value)
    with pytest.raises(ValueError, match=r"validation_data must be .*got 1 entries"):
        m.fit([X, STATE], Y, verbose=0, validation_data=(X,))
    assert all(np.array_equal(a, b) for a, b in zip(m.get_weights(), before, strict=True))


def test_sequential_looks_before_it_builds() -> None:
    for value in ([Dataset()], np.ma.masked_array(np.ones((2, 2)), mask=[[True, False]] * 2)):
        unbuilt = rekur.Sequential([layers.Dense(1)])
        with pytest.raises((TypeError, ValueError), match=r"x: "):
            unbuilt.predict(value)


def test_masks_inside_arrays_of_arrays_are_seen() -> None:
    rows = np.empty(2, object)
    rows[:] = [np.ma.masked_array(np.ones(3), mask=[False, True, False]), np.ones(3)]
    with pytest.raises(ValueError, match=r"x: 1 of 3 values are masked, the first at \(1,\)"):
        as_float32(rows, "x")
    rows[0] = np.ones(3)
    with pytest.raises(TypeError, match="x: expected numbers, got an array of dtype object"):
        as_float32(rows, "x")


def test_masks_inside_lists_are_seen() -> None:
    rows = [np.ma.masked_array([1.0, 2.0], mask=[False, True]), np.zeros(2)]
    with pytest.raises(ValueError, match="1 of 2 values are masked"):
        as_float32(rows, "x")
    with pytest.raises(ValueError, match="masked"):
        as_float32([1.0, np.ma.masked], "x")


def test_a_mask_that_hides_nothing_may_pass() -> None:
    x, built = np.ma.masked_array(X), model()
    np.testing.assert_array_equal(built.predict([x, STATE]), built.predict([X, STATE]))
    np.testing.assert_array_equal(as_float32(np.ma.masked_array([1.0, 2.0], mask=False), "x"), [1, 2])


@pytest.mark.parametrize(
    "value", [[1, 2.5], (1, 2), range(3), deque([1.0, 2.0]), np.float64(3), 4, True, [[1], [2]], memoryview(np.ones(3))]
)
def test_what_numpy_reads_rightly_is_read(value: Any) -> None:
    np.testing.assert_array_equal(as_float32(value, "x"), np.asarray(value, np.float32))


def test_objects_that_make_arrays_of_themselves_are_read() -> None:
    class Lazy:
        """As h5py, zarr, torch and xarray do."""

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> float:
            return 1.0

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.ones(2, dtype or np.float64)

    np.testing.assert_array_equal(as_float32(Lazy(), "x"), [1, 1])


def test_pandas_missing_values_are_named_by_row_and_column() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": pandas.array([1, None, 3], dtype="Int64")})
    with pytest.raises(ValueError, match=r"x: row 1, column 'b' is missing \(1 of 3 are\).*fillna"):
        as_float32(frame, "x")
    with pytest.raises(ValueError, match=r"y: row 2 is missing"):
        as_float32(pandas.Series([1, 2, None], dtype="Int64"), "y")
    with pytest.raises(ValueError, match=r"y: row 0 is missing \(None\)"):
        as_float32(np.array([None, 1.0], dtype=object), "y")
    for values in (pandas.array([1.5, None], dtype="Float64"), pandas.array([True, None], dtype="boolean")):
        with pytest.raises(ValueError, match="row 1 is missing"):
            as_float32(values, "y")
    complete = pandas.DataFrame({"a": [1.0, 2.0], "b": pandas.array([1, 2], dtype="Int64")})
    np.testing.assert_array_equal(as_float32(complete.astype("float32"), "x"), [[1, 1], [2, 2]])
    np.testing.assert_array_equal(as_float32(pandas.Series([1.0, np.nan]), "y"), [1, np.nan])  # NaN is a number


def test_polars_nulls_are_named_by_row_and_column() -> None:
    polars = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"x: row 1, column 'b' is missing"):
        as_float32(polars.DataFrame({"a": [1.0, 2.0], "b": [1, None]}), "x")
    with pytest.raises(ValueError, match=r"y: row 0 is missing"):
        as_float32(polars.Series([None, 1.0]), "y")
    np.testing.assert_array_equal(as_float32(polars.DataFrame({"a": [1.0, 2.0]}), "x"), [[1], [2]])


def test_a_list_around_the_only_target_is_no_data() -> None:
    plain = rekur.Sequential([layers.Dense(1, input_shape=(2,))])
    plain.compile("sgd", "mse")
    x, y = np.ones((4, 2)), np.arange(4.0)
    expected = plain.evaluate(x, y)
    for given in ([y], (y,), [y[:, None]], [y.tolist()], y.tolist(), {"dense": y}):
        assert plain.evaluate(x, given) == expected
    assert plain.evaluate(x[:1], [3.0]) == plain.evaluate(x[:1], [[3.0]]) == plain.evaluate(x[:1], np.array([3.0]))
    classes = rekur.Sequential([layers.Dense(3, activation="softmax", input_shape=(2,))])
    classes.compile("sgd", "sparse_categorical_crossentropy")
    assert classes.evaluate(x, [np.array([0, 1, 2, 0])]) == classes.evaluate(x, [0, 1, 2, 0])


@pytest.mark.parametrize(
    ("share", "rows", "trained"), [(0.9, 10, 1), (0.7, 10, 3), (0.1, 10, 9), (0.25, 10, 7), (0.2, 5, 4)]
)
def test_validation_split_counts_rows_not_binary_fractions(share: float, rows: int, trained: int) -> None:
    built = rekur.Sequential([layers.Dense(1, input_shape=(1,))])
    built.compile("sgd", "mse")
    seen: list[int] = []
    watch = rekur.callbacks.LambdaCallback(on_train_batch_end=lambda batch, _: seen.append(batch))
    built.fit(np.ones((rows, 1)), np.ones(rows), batch_size=1, verbose=0, validation_split=share, callbacks=watch)
    assert len(seen) == trained


@pytest.mark.parametrize(
    ("share", "rows", "left"), [(0.99, 10, "train on"), (0.5, 1, "train on"), (1.0, 4, "train on")]
)
def test_a_validation_split_that_leaves_nothing_says_how_many(share: float, rows: int, left: str) -> None:
    built = rekur.Sequential([layers.Dense(1, input_shape=(1,))])
    built.compile("sgd", "mse")
    with pytest.raises(ValueError, match=rf"trains on 0 and validates with {rows}: nothing is left to {left}"):
        built.fit(np.ones((rows, 1)), np.ones(rows), verbose=0, validation_split=share)


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m.keras", "m.onnx", "m.pt", "m.pkl", "m.npz", "m.JSON", "m.hpp"])
def test_a_model_is_not_saved_under_the_name_of_another_format(name: str, tmp_path: Any) -> None:
    built = rekur.Sequential([layers.Dense(1, input_shape=(1,))])
    for save in (built.save, built.save_weights):
        with pytest.raises(ValueError, match=r"a model is saved as \.safetensors, got"):
            save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    for fine in ("m.safetensors", "m", "m.v1", "m.backup"):
        built.save(tmp_path / fine)


def test_what_is_wrong_with_validation_data_is_said_of_it(tmp_path: Any) -> None:
    m = rekur.Sequential([layers.Dense(1, input_shape=(2,))])
    m.compile("sgd", "mse")
    x, y = np.ones((4, 2)), np.ones(4)
    np.save(tmp_path / "x.npy", np.ones((4, 3)))
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    wrong: list[Any] = [(x[:, :1], y), (x, y[:3]), (x[:0], y[:0]), (x, y, np.ones(3)), (stored, y)]
    wrong += [iter([(x[:, :1], y)]), iter([(x, y), (x, y[:3])]), iter([(x, np.array(["a"] * 4))])]
    for given in wrong:
        with pytest.raises((ValueError, TypeError), match=r"^validation_data: ") as found:
            m.fit(x, y, verbose=0, validation_data=given)
        assert str(found.value).count("validation_data") == 1
    with pytest.raises(ValueError, match=r"^input 'input'"):
        m.fit(x[:, :1], y, verbose=0, validation_data=(x, y))

    def broken() -> Any:
        yield x, y
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match=r"^the disk is full$"):
        m.fit(x, y, verbose=0, validation_data=broken())


@pytest.mark.parametrize("key", ["0", "a", 0.5, None, (0,), np.array([0, 1])])
def test_keys_of_class_weight_are_classes(key: Any) -> None:
    m = rekur.Sequential([layers.Dense(3, activation="softmax", input_shape=(2,))])
    m.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=r"class_weight: the keys are classes, whole numbers|unhashable"):
        m.fit(np.ones((4, 2)), [0, 1, 2, 0], verbose=0, class_weight={key: 2.0})
    m.fit(np.ones((4, 2)), [0, 1, 2, 0], verbose=0, class_weight={np.int64(0): 2.0, 1.0: 3.0})


def test_a_function_in_the_place_of_data_is_to_be_called() -> None:
    m = rekur.Sequential([layers.Dense(1, input_shape=(2,))])
    m.compile("sgd", "mse")
    with pytest.raises(TypeError, match="got a function; call it, and give what it returns"):
        m.fit(lambda: iter([]), verbose=0)


def _masked(shape: tuple[int, ...] = (30, 2)) -> Any:
    return np.ma.masked_array(np.arange(float(np.prod(shape))).reshape(shape), np.arange(np.prod(shape)) == 3)


@pytest.mark.parametrize(
    "call",
    {
        "windows: series": lambda: rekur.data.windows(_masked(), 5),
        "windows: series 1": lambda: rekur.data.windows([np.ones((30, 2)), _masked()], 5),
        "windows: targets": lambda: rekur.data.windows(np.ones((30, 2)), 5, targets=_masked()),
        "windows: covariates": lambda: rekur.data.windows(np.ones((30, 2)), 5, 2, covariates=_masked()),
        "windows: time": lambda: rekur.data.windows(np.ones((30, 2)), 5, time=_masked((30,))),
        "bucket: x 1": lambda: rekur.data.bucket([np.ones((3, 2)), _masked()]),
        "pad_sequences: sequence 1": lambda: rekur.utils.pad_sequences([[1, 2], _masked((4,))]),
    }.items(),
    ids=lambda pair: pair[0],
)
def test_masks_are_refused_where_data_is_made_ready(call: Any) -> None:
    where, function = call
    with pytest.raises(ValueError, match=rf"^{where}.*: 1 of \d+ values are masked, the first at"):
        function()


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda: rekur.utils.pad_sequences(["ab"]), ValueError, "sequence 0: expected a list, got 'ab'"),
        (lambda: rekur.utils.pad_sequences([[1], [np.nan]]), ValueError, "sequence 1: int32 has no nan: .*'float32'"),
        (lambda: rekur.utils.pad_sequences([[1, -np.inf]], dtype="int64"), ValueError, "int64 has no -inf"),
        (lambda: rekur.utils.to_categorical([-1, 2]), ValueError, "expected indices from 0 on, got -1"),
        (lambda: rekur.data.bucket(None), TypeError, "bucket: x: expected a list of sequences, got None"),
        (lambda: rekur.data.bucket(["ab"]), TypeError, "bucket: x 0: expected numbers, got 'ab'"),
        (lambda: layers.Normalization().adapt("ab"), TypeError, "Normalization 'normalization': adapt: expected an ar"),
        (lambda: layers.Normalization().adapt(3.0), TypeError, "adapt: expected an array, or batches of arrays"),
        (lambda: rekur.data.TextVectorization().adapt(3), TypeError, "TextVectorization: expected texts, got 3"),
        (lambda: rekur.data.TextVectorization(max_tokens=1), ValueError, "max_tokens must be at least 2, got 1"),
    ],
)
def test_what_data_is_made_of_is_named_where_it_is_wrong(function: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        function()
    np.testing.assert_array_equal(rekur.utils.pad_sequences([[np.nan]], dtype="float32"), [[np.nan]])
