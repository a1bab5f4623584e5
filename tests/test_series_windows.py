"""Windows of long series: read where they stand, none across a gap or a border, scaled by training rows alone."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import child
import rekur
from rekur import layers
from rekur.data import bucket, timeseries_dataset_from_array, windows
from rekur.preprocessing.sequence import TimeseriesGenerator
from rekur.training.sources import ByBatches

RANDOM = np.random.default_rng(5)
SERIES = RANDOM.normal(size=300).astype("f")
TABLE = RANDOM.normal(size=(90, 3))


def model(length=12, units=1, features=1):
    made = rekur.Sequential([layers.LSTM(4, input_shape=(length, features)), layers.Dense(units)], seed=3)
    made.compile("adam", "mse")
    return made


def test_windows_are_those_of_the_arrays_and_train_to_the_same_bits():
    found = windows(SERIES, 12, 2)
    x, y = sliding_window_view(SERIES, 12)[:-2, :, None], sliding_window_view(SERIES[12:], 2)
    batch = found.take(slice(0, len(found)))
    np.testing.assert_array_equal(batch.x, x)
    np.testing.assert_array_equal(batch.y, y)
    made, twin = model(units=2), model(units=2)
    history = made.fit(found, epochs=2, verbose=0, validation_data=found)
    expected = twin.fit(x, y, epochs=2, verbose=0, validation_data=(x, y))
    assert history.history == expected.history
    np.testing.assert_array_equal(made.predict(found), twin.predict(x))
    assert made.evaluate(found) == twin.evaluate(x, y)


def test_stride_sampling_rate_and_columns_are_what_they_say():
    found = windows(TABLE, 4, 2, stride=5, targets=[2], covariates=[0, 1], sampling_rate=3)
    batch = found.take(np.array([1, 3]))
    for row, start in enumerate((5, 15)):
        np.testing.assert_array_equal(batch.x[0][row], TABLE[start : start + 12 : 3])
        np.testing.assert_array_equal(batch.x[1][row], TABLE[start + 12 : start + 18 : 3, :2])
        np.testing.assert_array_equal(batch.y[row], TABLE[start + 12 : start + 18 : 3, 2])
    assert found.starts.tolist() == list(range(0, 90 - 15, 5))
    alone = windows(TABLE, 4, 0)
    assert alone.take(slice(0, 2)).y is None and len(alone) == 87
    assert windows(TABLE, 4, 2).take(slice(0, 5)).y.shape == (5, 2, 3)
    np.testing.assert_array_equal(windows(TABLE, 4, 1).take(slice(3, 4)).y, TABLE[7:8])
    own = windows(TABLE, 4, 1, targets=TABLE[:, :1] * 2)
    np.testing.assert_array_equal(own.take(slice(3, 4)).y, TABLE[7:8, :1] * 2)


def test_windows_that_touch_a_gap_or_a_jump_in_time_are_left_out():
    series = SERIES[:60].copy()
    series[[20, 21, 40]] = np.nan
    found = windows(series, 5, 2)
    expected = [s for s in range(60 - 6) if not np.isnan(series[s : s + 7]).any()]
    assert found.starts.tolist() == expected
    assert len(windows(series, 5, 2, gaps="keep")) == 54
    time = np.arange(60)
    time[33:] += 4
    found = windows(SERIES[:60], 5, 2, time=time)
    assert found.starts.tolist() == [s for s in range(54) if not s < 33 <= s + 6]


def test_gaps_are_found_across_the_parts_that_are_looked_at(monkeypatch):
    from rekur.data import gaps

    monkeypatch.setattr(gaps, "_PART", 7)
    for _ in range(30):
        series = RANDOM.normal(size=100)
        series[RANDOM.integers(0, 100, 6)] = np.nan
        time = np.cumsum(np.where(RANDOM.random(100) < 0.1, 3, 1))
        runs = gaps.whole_runs([series[:, None]], time, 100)
        pairs = [a for a in range(99) if any(first <= a and a + 1 < end for first, end in runs)]
        whole = ~np.isnan(series[:-1] + series[1:]) & (np.diff(time) == 1)
        assert pairs == np.flatnonzero(whole).tolist()


def test_series_of_different_lengths_keep_to_themselves_and_bring_static_features():
    several = [SERIES[:30], SERIES[100:120], SERIES[200:205]]
    found = windows(several, 6, 1, static=[[1.0], [2.0], [3.0]])
    assert len(found) == 24 + 14 and set(found.series.tolist()) == {0, 1}
    x, static = found.take(np.array([37, 0, 24])).x
    np.testing.assert_array_equal(static[:, 0], [2, 1, 2])
    np.testing.assert_array_equal(x[0, :, 0], several[1][13:19])
    np.testing.assert_array_equal(x[2, :, 0], several[1][:6])


@pytest.mark.parametrize("options", [{"shares": (0.6, 0.2)}, {"at": [54, 72]}])
def test_no_part_of_a_split_reads_a_row_of_another(options):
    whole = windows(TABLE, 6, 2)
    parts = whole.split(*options.get("shares", ()), at=options.get("at"))
    rows = [{r for s in part.starts.tolist() for r in range(s, s + 8)} for part in parts]
    assert len(parts) == 3 and not rows[0] & rows[1] and not rows[1] & rows[2]
    assert max(rows[0]) < 54 <= min(rows[1]) <= max(rows[1]) < 72 <= min(rows[2])
    with pytest.raises(ValueError, match="part 1 has no window"):
        whole.split(0.95)


def test_a_split_in_time_has_its_border_in_every_series():
    days = np.arange("2024-01-01", "2024-03-31", dtype="M8[D]")
    parts = windows([TABLE, TABLE[:60]], 3, 1, time=[days, days[:60]]).split(at=["2024-02-10"])
    assert parts[0].starts.max() == 36 and parts[1].starts.min() == 40


def test_scalers_see_training_rows_alone_and_travel_in_the_file_and_in_onnx(tmp_path):
    series = np.concatenate([RANDOM.normal(1000, 5, 200), RANDOM.normal(0, 1, 100)])
    series[3] = np.nan
    train, test = windows(series, 12, 3).split(at=[200])
    scaler = train.normalization()
    assert scaler.mean == pytest.approx([np.nanmean(series[:200])])
    assert scaler.variance == pytest.approx([np.nanvar(series[:200])])
    made = rekur.Sequential([scaler, layers.LSTM(4), layers.Dense(3), train.denormalization()], seed=1)
    made.compile("adam", "mse")
    made.fit(train, verbose=0)
    expected = made.predict(test)
    assert made.predict(train).mean() > 900
    made.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(rekur.load(tmp_path / "model.safetensors").predict(test), expected)
    rekur.onnx.export(made, tmp_path / "model.onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "model.onnx")
    x = np.asarray(test.take(slice(0, 5)).x, np.float32)
    np.testing.assert_allclose(
        session.run(None, {session.get_inputs()[0].name: x})[0], expected[:5], rtol=1e-4, atol=1e-3
    )


def test_normalization_adapts_to_what_fit_reads_and_is_fixed_once_called():
    x = RANDOM.normal(3, 2, size=(50, 4, 2))
    for given in (x, (x[k : k + 10] for k in range(0, 50, 10))):
        layer = layers.Normalization()
        layer.adapt(given)
        np.testing.assert_allclose(layer.mean, x.mean((0, 1)))
        np.testing.assert_allclose(layer.variance, x.var((0, 1)))
    made = rekur.Sequential([layers.Input((4, 2)), layer])
    np.testing.assert_allclose(made.predict(x), (x - x.mean((0, 1))) / x.std((0, 1)), atol=1e-5)
    with pytest.raises(AttributeError, match="has been called"):
        layer.adapt(x)
    with pytest.raises(ValueError, match=r"call adapt\(data\)"):
        rekur.Sequential([layers.Input((4, 2)), layers.Normalization()])


def test_stored_series_and_frames_are_read_where_they_stand(tmp_path, monkeypatch):
    from rekur.data import gaps

    np.save(tmp_path / "s.npy", TABLE)
    expected = windows(TABLE, 5, 1).take(np.array([3, 70]))
    stored = np.load(tmp_path / "s.npy", mmap_mode="r")
    np.testing.assert_array_equal(windows(stored, 5, 1).take(np.array([3, 70])).x, expected.x)
    read = []

    class Stored:
        shape, dtype = TABLE.shape, TABLE.dtype

        def __len__(self):
            return len(TABLE)

        def __getitem__(self, index):
            assert isinstance(index, slice)
            read.append(len(TABLE[index]))
            return TABLE[index]

    monkeypatch.setattr(gaps, "_PART", 30)
    found = windows(Stored(), 5, 1)
    train, _ = found.split(0.5)
    np.testing.assert_array_equal(found.take(np.array([3, 70])).x, expected.x)
    assert max(read) == 30 and read.count(30) == 3  # gaps are looked for once, a part at a time
    made = model(5, 3, 3)
    made.fit(train, verbose=0)
    twin = model(5, 3, 3)
    twin.fit(windows(TABLE, 5, 1).split(0.5)[0], verbose=0)
    np.testing.assert_array_equal(made.get_weights()[0], twin.get_weights()[0])
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2024-01-01", periods=90).delete([50])
    frame = pandas.DataFrame(TABLE[:89], columns=["a", "b", "c"], index=days)
    found = windows(frame, 5, 1, targets="b")
    np.testing.assert_array_equal(found.take(slice(3, 4)).y, TABLE[8:9, 1:2])
    assert not {46, 47, 48, 49} & set(found.starts.tolist()) and 50 in found.starts


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: windows(SERIES[:5], 5, 1), "no window: one takes 6 rows"),
        (lambda: windows(TABLE, 5, targets="temperature"), "no column 'temperature'"),
        (lambda: windows(TABLE, 5, covariates=TABLE[:3]), r"covariates: expected as many rows .*\[90\], got \[3\]"),
        (lambda: windows([TABLE, SERIES], 5), "series 1: expected 3 columns"),
        (lambda: windows(TABLE, 5, gaps="fill"), "'skip' or 'keep', got 'fill'"),
        (lambda: windows(TABLE, 5, static=[[1.0], [2.0]]), r"static: expected shape \(1, S\)"),
        (lambda: windows(TABLE, 5, time=np.arange(90)[::-1]), "time must ascend"),
    ],
)
def test_what_makes_no_windows_says_so(call, message):
    with pytest.raises(ValueError, match=message):
        call()


MEMORY = """
import numpy as np, rekur
from rekur import layers
from rekur.data import windows
made = rekur.Sequential([layers.SimpleRNN(2, input_shape=(500, 1)), layers.Dense(1)])
made.compile("sgd", "mse")
made.train_on_batch(np.zeros((32, 500, 1), "f"), np.zeros((32, 1), "f"))
windows(np.zeros(3000, "f"), 500).split(0.5)
before = status("VmHWM")
series = np.ones(8_000_000, "f")
train, test = windows(series, 500).split(0.8)
made.fit(train, steps_per_epoch=5, epochs=2, verbose=0, validation_data=test, validation_steps=2)
assert status("VmHWM") - before <= 1.5 * series.nbytes, (status("VmHWM") - before, series.nbytes)
"""


@child.needs_peaks
def test_millions_of_windows_take_no_more_memory_than_the_series():
    child.run(MEMORY)


# Keras's data set.


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sequence_stride": 3, "sampling_rate": 2},
        {"start_index": 5, "end_index": 70, "sequence_stride": 2},
        {"batch_size": None},
        {"targets": None},
    ],
    ids=str,
)
def test_timeseries_dataset_has_the_numbers_of_keras(options):
    options = {"targets": TABLE[10:, :1], "batch_size": 8, **options}
    found = list(timeseries_dataset_from_array(TABLE, sequence_length=10, **options))
    begin, end = options.get("start_index", 0), options.get("end_index", 90)
    rate, stride = options.get("sampling_rate", 1), options.get("sequence_stride", 1)
    targets = options["targets"]
    count = end - begin - 9 * rate if targets is None else min(end - begin - 9 * rate, 80 - begin)
    starts = range(begin, begin + count, stride)
    x = np.stack([TABLE[s : s + 10 * rate : rate][:10] for s in starts])
    join = np.stack if options["batch_size"] is None else np.concatenate
    np.testing.assert_array_equal(join([b if targets is None else b[0] for b in found]), x)
    if targets is not None:
        np.testing.assert_array_equal(join([b[1] for b in found]), targets[list(starts)])
        assert found[0][0].numpy().shape == found[0][0].shape


def test_timeseries_dataset_trains_in_its_order_or_that_of_its_seed():
    def fitted(**options):
        made = model(10, features=3)
        made.fit(timeseries_dataset_from_array(TABLE, TABLE[10:, :1], 10, batch_size=8, **options), verbose=0)
        return made.get_weights()[0]

    plain = model(10, features=3)
    x = np.stack([TABLE[s : s + 10] for s in range(80)])
    plain.fit(x, TABLE[10:, :1], batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_array_equal(fitted(), plain.get_weights()[0])
    np.testing.assert_array_equal(fitted(shuffle=True, seed=1), fitted(shuffle=True, seed=1))
    assert not np.array_equal(fitted(shuffle=True, seed=1), fitted())
    with pytest.raises(ValueError, match="no window"):
        timeseries_dataset_from_array(TABLE, None, 100)


def test_months_and_rounded_floats_are_no_jumps_in_time():
    series = np.arange(100.0)
    months = np.arange(100).astype("datetime64[M]").astype("datetime64[ns]")
    for time in (months, np.arange(100) * 0.1, np.arange(100, dtype=np.uint8)):
        assert len(windows(series, 5, time=time)) == 95
        assert len(windows(series[:-1], 5, time=np.delete(time, 50))) == 94 - 5
    missing = months.copy()
    missing[50] = "NaT"
    assert len(windows(series, 5, time=missing)) < 90
    with pytest.raises(TypeError, match="windows: time: expected numbers or datetimes"):
        windows(series, 5, time=["monday"] * 100)


# Buckets.

ROWS = [RANDOM.normal(size=(n, 2)) for n in RANDOM.integers(1, 60, 200)]
SUMS = np.array([row.sum() for row in ROWS])


def test_buckets_waste_little_and_lose_no_row_in_any_epoch():
    rows = bucket(ROWS, SUMS, batch_size=16)
    assert rows.waste < 0.1
    for number in range(2):
        arranged = rows.begin_pass(7, number, True)
        order = arranged.places(len(rows))
        assert sorted(order.tolist()) == list(range(200)) and arranged.waste < 0.15
        again = bucket(ROWS, SUMS, batch_size=16).begin_pass(7, number, True)
        np.testing.assert_array_equal(again.places(len(rows)), order)


def test_a_data_set_is_read_elsewhere_while_and_after_fit_reads_it_shuffled():
    series = np.arange(40.0)

    def first(batch):
        return (batch[0] if isinstance(batch, tuple) else batch.x)[:, 0, 0].tolist()

    for rows in (
        bucket([row[:, None] for row in np.split(series, 20)], np.arange(20), batch_size=4),
        timeseries_dataset_from_array(series[:, None], series, 2, batch_size=4, shuffle=True, end_index=22),
        TimeseriesGenerator(series[:, None], series, 2, batch_size=4, shuffle=True, end_index=21),
    ):
        before = [first(rows[k]) for k in range(len(rows))]
        shuffled = ByBatches(rows, True).tasks(7, 0)
        seen = [first(next(shuffled)())]
        assert [first(task()) for task in ByBatches(rows, False).tasks(7, 0)] == before
        seen += [first(task()) for task in shuffled]
        assert sorted(np.concatenate(seen)) == sorted(np.concatenate(before)) and seen != before
        assert [first(rows[k]) for k in range(len(rows))] == before


def test_buckets_train_as_rows_with_lengths_and_predict_in_the_order_given():
    made, twin = model(None, features=2), model(None, features=2)
    made.fit(bucket(ROWS, SUMS, batch_size=200), epochs=2, verbose=0)
    padded = np.zeros((200, 60, 2), "f")
    for k, row in enumerate(ROWS):
        padded[k, : len(row)] = row
    lengths = [len(row) for row in ROWS]
    twin.fit(padded, SUMS, batch_size=200, shuffle=False, epochs=2, verbose=0, lengths=lengths)
    np.testing.assert_allclose(made.get_weights()[0], twin.get_weights()[0], atol=1e-5)
    np.testing.assert_array_equal(twin.predict(bucket(ROWS, batch_size=16)), twin.predict(padded, lengths=lengths))


def test_buckets_take_ids_targets_of_steps_and_weights():
    ids = [[3, 1, 2], [1], [2, 2]]
    batch = bucket(ids, [[1.0, 2, 3], [4.0], [5.0, 6]], [1.0, 0.5, 2.0], batch_size=2)[0]
    np.testing.assert_array_equal(batch.x, [[1, 0], [2, 2]])
    np.testing.assert_array_equal(batch.y, [[4, 0], [5, 6]])
    np.testing.assert_array_equal(batch.lengths, [1, 2])
    np.testing.assert_array_equal(batch.sample_weight, [0.5, 2.0])
    assert batch.x.dtype == np.int32
    with pytest.raises(ValueError, match="bucket: y: expected 3 rows"):
        bucket(ids, [1.0])


@pytest.mark.parametrize("index", [[-1], [289], [3, 500]])
def test_windows_that_are_not_there_are_an_index_error(index):
    with pytest.raises(IndexError, match="of 288"):
        windows(SERIES, 12, 1).take(np.array(index))
