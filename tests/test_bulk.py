"""Bulk prediction: what parts hold, for every kind of model, is what the model says of the same rows in memory."""

from __future__ import annotations

import datetime
import decimal
import json

import numpy as np
import pytest

import bulk_data
import rekur
from rekur import bulk, tasks
from rekur.tasks._commands import classify, detect
from rekur.tasks._commands._examples import Layout, read_examples
from rekur.tasks._commands._forecasts import predictions
from rekur.tasks._series import SeriesSet, read_series
from rekur.tasks._tables import read_table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def models():
    names = (
        "rows_classifier", "steps_classifier", "steps_tagger", "regressor", "text_classifier", "detector", "forecaster",
    )  # fmt: skip
    return {name: getattr(bulk_data, name)() for name in names}


def write(path, columns, groups=None):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=groups)
    return table


def run(model, source, out, **options):
    report = bulk.predict(model, source, out, verbose=0, **options)
    assert report.complete and (out / "_SUCCESS").exists() and not (out / ".claims").exists()
    return report, pq.read_table(out)


def same(found, expected):
    """To the bit, with nulls for None and NaN."""
    found = found.to_pylist()
    expected = [None if value is None or value != value else value for value in expected]
    assert found == expected


def random_rows(count, seed=10):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, bulk_data.CHANNELS))
    values[rng.random(values.shape) < 0.1] = np.nan
    values[rng.random(count) < 0.2, 4:] = np.nan  # shorter ones
    return values


def as_columns(values):
    return {f"c{n}": pa.array(values[:, n], from_pandas=True) for n in range(values.shape[1])}


def test_rows_are_sequences(models, tmp_path):
    values = random_rows(900)
    values[[5, 500]] = np.nan  # nothing to tell these from
    table = pa.table({"id": np.arange(900) * 7, **as_columns(values)})
    write(tmp_path / "data/a.parquet", table.slice(0, 400), 90)
    write(tmp_path / "data/b.parquet", table.slice(0, 0))
    write(tmp_path / "data/sub/c.parquet", table.slice(400), 500)
    (tmp_path / "data/_hidden.parquet").write_bytes(b"no data")
    (tmp_path / "data/notes.txt").write_text("no data")
    model = models["rows_classifier"]
    report, found = run(model, tmp_path / "data", tmp_path / "out", keep="id", unit_rows=200, batch_size=64)
    assert (report.rows_in, report.rows_out, report.untold, report.files) == (900, 900, 2, 3)
    assert found["id"].to_pylist() == (np.arange(900) * 7).tolist()
    assert found["file"].to_pylist() == ["a.parquet"] * 400 + ["sub/c.parquet"] * 500
    assert found["row"].to_pylist() == [*range(400), *range(500)]
    assert found["predicted"][5].as_py() is None and found["probability of up"][500].as_py() is None

    layout = Layout.of_state(dict(model.columns_))
    examples = read_examples(read_table(table), layout, [], labels=False)
    expected = classify.Answers(model, layout, examples).columns()
    for name in ("predicted", "probability of up", "probability of down"):
        column = np.asarray(expected[name], object)
        column[[5, 500]] = None
        same(found[name], column.tolist())
    said = json.loads((tmp_path / "out/_SUCCESS").read_text())
    assert said["rows_in"] == said["rows_out"] == 900 and said["model"]["kind"] == "SequenceClassifier"
    assert bulk.predict(model, tmp_path / "data", tmp_path / "out", keep=["id"], unit_rows=200, verbose=0).written == 0


@pytest.mark.parametrize("options", [{"unit_rows": 1, "batch_size": 1}, {"unit_rows": 37, "batch_size": 1000}])
def test_units_and_batches_make_no_difference(models, tmp_path, options):
    write(tmp_path / "a.parquet", as_columns(random_rows(120)), 10)
    _, one = run(models["rows_classifier"], tmp_path / "a.parquet", tmp_path / "one")
    _, two = run(models["rows_classifier"], tmp_path / "a.parquet", tmp_path / "two", **options)
    assert one.equals(two)


def steps_data(rng, walks, key=str):
    """Steps in no order within each walk, with gaps."""
    rows = {"walk": [], "t": [], "a": [], "kind": []}
    for walk in range(walks):
        steps = int(rng.integers(1, 9))
        rows["walk"] += [key(walk)] * steps
        rows["t"] += rng.permutation(steps).tolist()
        rows["a"] += [None if rng.random() < 0.1 else float(value) for value in rng.normal(size=steps)]
        rows["kind"] += rng.choice(["x", "y", " y", "z", None], steps).tolist()
    return pa.table(rows)


@pytest.mark.parametrize("kind", ["steps_classifier", "steps_tagger"])
@pytest.mark.parametrize("group", [1, 3, 7, 1000])
@pytest.mark.parametrize("key", [lambda n: f"w{n}", int])
def test_rows_are_steps(models, tmp_path, kind, group, key):
    """Groups go over the borders of batches, row groups, parts and files."""
    table = steps_data(np.random.default_rng(20), 60, key)
    half = len(table) // 2
    write(tmp_path / "data/0.parquet", table.slice(0, half), group)
    write(tmp_path / "data/1.parquet", table.slice(0, 0))
    write(tmp_path / "data/2.parquet", table.slice(half, 1))
    write(tmp_path / "data/3.parquet", table.slice(half + 1), group)
    model = models[kind]
    report, found = run(model, tmp_path / "data", tmp_path / "out", unit_rows=max(group, 5), batch_size=4, keep="a")
    layout = Layout.of_state(dict(model.columns_))
    examples = read_examples(read_table(table), layout, [], labels=False)
    answers = classify.Answers(model, layout, examples)
    expected = answers.columns()
    assert report.rows_in == len(table)
    names = ["predicted", *(name for name in expected if str(name).startswith("probability"))]
    if kind == "steps_tagger":
        order = np.argsort(np.concatenate(examples.rows))
        assert found["walk"].to_pylist() == table["walk"].to_pylist() and found["a"].equals(table["a"])
        for name in names:
            same(found[name], [expected[name][place] for place in order])
    else:
        assert [str(one) for one in found["walk"].to_pylist()] == expected["walk"]
        assert sum(found["rows"].to_pylist()) == len(table)
        gone = [bool(np.isnan(np.asarray(one, float)).all()) for one in examples.sequences]
        for name in names:
            same(found[name], [None if no else value for value, no in zip(expected[name], gone, strict=True)])


def test_steps_without_a_key_and_keys_that_come_back(models, tmp_path):
    table = pa.table({
        "walk": ["a", "a", None, None, "b", "c"], "t": [1, 2, 3, 4, 5, 6], "a": [1.0, 2, 3, 4, 5, None],
        "kind": ["x"] * 5 + ["y"],
    })  # fmt: skip
    write(tmp_path / "a.parquet", table, 1)
    report, found = run(models["steps_classifier"], tmp_path / "a.parquet", tmp_path / "out", unit_rows=2)
    assert found["walk"].to_pylist() == ["a", None, None, "b", "c"] and report.untold == 2
    assert [value is None for value in found["predicted"].to_pylist()] == [False, True, True, False, False]
    again = pa.table({"walk": ["b", "a", "a"], "t": [1, 2, 3], "a": [1.0, 2, 3], "kind": ["x"] * 3})
    write(tmp_path / "data/a.parquet", table, 1)
    write(tmp_path / "data/b.parquet", again, 1)
    for rows in (1, 100):  # in another part: seen at the end; in the same one: at once
        with pytest.raises(ValueError, match=r"(?s)walk='(a|b)' do not stand together: .*row \d of 'a.parquet', and"):
            bulk.predict(
                models["steps_classifier"], tmp_path / "data", tmp_path / f"out{rows}", unit_rows=rows, verbose=0
            )
        assert not (tmp_path / f"out{rows}/_SUCCESS").exists()


def test_lists_of_numbers(models, tmp_path):
    rng = np.random.default_rng(30)
    x = [one.astype(np.float32) for one in bulk_data.sequences(rng, 50)]
    model = models["regressor"]
    expected = list(model.predict(x))
    pairs = pa.array([one.tolist() for one in x], pa.list_(pa.list_(pa.float32(), 2)))
    first, second = (pa.array([one[:, n].tolist() for one in x]) for n in range(2))
    write(tmp_path / "a.parquet", {"pairs": pairs, "first": first, "second": second}, 20)
    for columns in ("pairs", ["first", "second"]):
        out = tmp_path / f"out-{len(columns)}"
        _, found = run(model, tmp_path / "a.parquet", out, columns=columns, unit_rows=20, batch_size=7)
        same(found["predicted"], expected)
    holes = pa.array([None, [], [[1.0, None], None, [2.0, 3.0]], [[None, None]], [[float("inf"), 1.0]] * 3])
    write(tmp_path / "b.parquet", {"pairs": holes})
    report, found = run(model, tmp_path / "b.parquet", tmp_path / "holes", columns="pairs")
    some = model.predict([np.array([[1, np.nan], [np.nan, np.nan], [2, 3]]), np.array([[np.nan, 1.0]] * 3)])
    same(found["predicted"], [None, None, some[0], None, some[1]])
    assert report.untold == 3
    # The same steps as rows of a key.
    keys = np.repeat(np.arange(50), [len(one) for one in x])
    flat = np.concatenate(x)
    shuffled = np.random.default_rng(0).permutation(len(keys))
    shuffled = shuffled[np.argsort(keys[shuffled], kind="stable")]
    rows = {"k": keys[shuffled], "when": shuffled, "p": flat[shuffled, 0], "q": flat[shuffled, 1]}
    write(tmp_path / "c.parquet", rows, 11)
    _, found = run(
        model, tmp_path / "c.parquet", tmp_path / "keys", columns=["p", "q"], key="k", time="when", unit_rows=30
    )
    same(found["predicted"], expected)


def test_texts(models, tmp_path):
    rng = np.random.default_rng(40)
    texts = [" ".join(rng.choice(bulk_data.WORDS, 5)) for _ in range(60)] + ["12", "007", " red ", "", None, "NA"]
    model = models["text_classifier"]
    write(tmp_path / "a.parquet", {"body": pa.array(texts).dictionary_encode()}, 9)
    report, found = run(model, tmp_path / "a.parquet", tmp_path / "out", unit_rows=9, batch_size=4)
    told = [text.strip() for text in texts[:-3]]
    same(found["predicted"], [*model.predict(told), None, None, None])
    same(found["probability of colour"], [*model.predict_proba(told)[:, 0], None, None, None])
    assert report.untold == 3


def test_tags_of_words(tmp_path):
    sentences = [["the", "red", "one"], ["blue"], ["one", "two"], ["red", "blue", "two", "the"]] * 5
    tags = [["C" if word in ("red", "blue") else "O" for word in one] for one in sentences]
    model = tasks.SequenceTagger(units=4, epochs=1, random_state=0).fit(sentences, tags)
    asked = [["red", "two"], ["the"], ["blue", "new", "one"]]
    write(tmp_path / "a.parquet", {"words": [asked[0], None, *asked[1:], []]})
    report, found = run(model, tmp_path / "a.parquet", tmp_path / "out", columns="words")
    expected = model.predict(asked)
    assert found["predicted"].to_pylist() == [expected[0], None, *expected[1:], None] and report.untold == 2
    shares = [one[:, 0].tolist() for one in model.predict_proba(asked)]
    assert found["probability of C"].to_pylist() == [shares[0], None, *shares[1:], None]


def test_scores_of_a_detector(models, tmp_path):
    rng = np.random.default_rng(50)
    table = pa.table(bulk_data.series_table(rng, ["a", "b", "c", "d"], 60))
    load = table["load"].to_numpy().copy()
    load[[5, 70, 71, 119]] = np.nan
    keep = np.ones(len(load), bool)
    keep[[10, 11, 12, 200]] = False  # gaps in time
    table = table.set_column(2, "load", pa.array(load, from_pandas=True)).filter(pa.array(keep))
    write(tmp_path / "a.parquet", table, 13)
    model = models["detector"]
    report, found = run(model, tmp_path / "a.parquet", tmp_path / "out", unit_rows=20, batch_size=9, keep="time")
    known = read_series(read_table(table), like=SeriesSet.of_state(dict(model.columns_)))
    scored = detect.Scored(model, known)
    expected = {}
    for series, scores in zip(known.series, scored.scores, strict=True):
        times = known.timeline.times(series.start, len(series))
        expected |= {(series.id, time): score for time, score in zip(times.tolist(), scores.tolist(), strict=True)}
    when = table["time"].to_numpy().astype("M8[ns]").tolist()
    wanted = [expected.get(pair) for pair in zip(table["shop"].to_pylist(), when, strict=True)]
    same(found["score"], wanted)
    same(found["alarm"], [None if score is None else score > model.threshold_ for score in wanted])
    assert report.rows_out == len(table) and report.untold == sum(score is None for score in wanted) == 1
    assert found["time"].equals(table["time"])


def test_a_detector_that_a_program_saved(tmp_path):
    rng = np.random.default_rng(51)
    x = rng.normal(size=(150, 2))
    model = tasks.AnomalyDetector(epochs=1, units=4, window=8, random_state=0).fit(x)
    write(tmp_path / "data/a.parquet", {"p": x[:90, 0], "q": x[:90, 1], "k": [1] * 40 + [2] * 50}, 20)
    write(tmp_path / "data/b.parquet", {"p": x[90:, 0], "q": x[90:, 1], "k": [2] * 30 + [3] * 30}, 20)
    _, found = run(model, tmp_path / "data", tmp_path / "files", columns=["p", "q"])  # a file is a series
    same(found["score"], np.concatenate([-model.score_samples(x[:90]), -model.score_samples(x[90:])]))
    _, found = run(model, tmp_path / "data", tmp_path / "keys", columns=["p", "q"], key="k", unit_rows=20)
    pieces = [x[:40], x[40:120], x[120:]]
    same(found["score"], np.concatenate([-one for one in model.score_samples(pieces)]))
    assert found["k"].to_pylist() == [1] * 40 + [2] * 80 + [3] * 30


def test_forecasts(models, tmp_path):
    rng = np.random.default_rng(60)
    columns = bulk_data.series_table(rng, ["a", "b", "c", "d", "e"], 40)
    gone = columns["shop"] == "c"
    columns["load"][gone] = np.nan
    table = pa.table({**columns, "load": pa.array(columns["load"], from_pandas=True)})
    write(tmp_path / "a.parquet", table, 17)
    model = models["forecaster"]
    report, found = run(model, tmp_path / "a.parquet", tmp_path / "out", unit_rows=50, batch_size=10)
    known = read_series(read_table(table), like=model._ends.without_series())
    expected = predictions(model, known, [0.8])
    there = [shop != "c" for shop in found["shop"].to_pylist()]
    assert found["shop"].to_pylist() == [shop for shop in "abcde" for _ in range(6)] and report.untold == 1
    assert found["step"].to_pylist() == [*range(1, 7)] * 5
    for name in ("load", "load-lo-80", "load-hi-80"):
        told = iter(expected[name])
        same(found[name], [next(told) if one else None for one in there])
    first = found["time"].to_pylist()[0]
    assert first == datetime.datetime(2024, 3, 2, 16) and found["time"].null_count == 6
    _, found = run(model, tmp_path / "a.parquet", tmp_path / "q", quantiles=[0.25, 0.5])
    expected = predictions(model, known, [], [0.25, 0.5])
    name = next(name for name in expected if "0.25" in name)
    same(found[name].drop_null(), expected[name])


def test_plain_models(tmp_path):
    rng = np.random.default_rng(70)
    steps = rekur.layers.Input((None, 2), name="steps")
    fixed = rekur.layers.Input((3,), name="fixed")
    states = rekur.layers.LSTM(4, return_sequences=True)(steps)
    last = rekur.layers.LSTM(3)(states)
    outputs = [
        rekur.layers.Dense(2, name="pair")(rekur.layers.Concatenate()([last, fixed])),
        rekur.layers.Dense(1, name="one")(last),
        rekur.layers.Dense(2, name="each")(states),
    ]
    model = rekur.Model([steps, fixed], outputs, seed=0)
    x = [one.astype(np.float32) for one in bulk_data.sequences(rng, 30)]
    y = rng.normal(size=(30, 3)).astype(np.float32)
    columns = {"s": pa.array([one.tolist() for one in x]), **{f"f{n}": y[:, n] for n in range(3)}}
    write(tmp_path / "a.parquet", columns, 8)
    model.save(tmp_path / "m.safetensors")
    named = {"steps": "s", "fixed": ["f0", "f1", "f2"]}
    _, found = run(
        tmp_path / "m.safetensors", tmp_path / "a.parquet", tmp_path / "out", columns=named, batch_size=5, unit_rows=8
    )
    lengths = np.array([len(one) for one in x])
    padded = np.zeros((30, lengths.max(), 2), np.float32)
    for row, one in zip(padded, x, strict=True):
        row[: len(one)] = one
    pair, one, each = model.predict({"steps": padded, "fixed": y}, lengths={"steps": lengths}, verbose=0)
    assert found["pair"].to_pylist() == pair.tolist() and found["one"].to_pylist() == one[:, 0].tolist()
    assert found["each"].to_pylist() == [row[:n].tolist() for row, n in zip(each, lengths, strict=True)]
    for wrong, message in (
        ("s", "expected a dict"),
        ({"steps": "s"}, r"expected the inputs \['steps', 'fixed'\]"),
        ({**named, "fixed": ["f0"]}, "expected 3 values a row, got 1"),
        ({**named, "fixed": ["s", "f0"]}, "lists and numbers stand together"),
        ({**named, "steps": "f0"}, "expected 2 channels in each step, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            bulk.predict(model, tmp_path / "a.parquet", tmp_path / "no", columns=wrong, verbose=0, overwrite=True)


@pytest.mark.parametrize("kind", ["int8", "int64", "uint64", "float16", "decimal", "bool", "text", "dictionary"])
def test_types_of_numbers(models, tmp_path, kind):
    rng = np.random.default_rng(80)
    values = rng.integers(0, 2, (40, bulk_data.CHANNELS)) * (1 if kind == "bool" else 3)
    made = {}
    for n in range(bulk_data.CHANNELS):
        plain = [None if row % 7 == n else int(value) for row, value in enumerate(values[:, n])]
        if kind == "decimal":
            array = pa.array([None if v is None else decimal.Decimal(f"{v}.25") for v in plain], pa.decimal128(9, 2))
        elif kind == "bool":
            array = pa.array([None if v is None else bool(v) for v in plain])
        elif kind == "text":
            array = pa.array([None if v is None else f" {v}" for v in plain])
        elif kind == "dictionary":
            array = pa.array([None if v is None else v for v in plain], pa.int32()).dictionary_encode()
        else:
            array = pa.array(plain, pa.float64()).cast(getattr(pa, kind)())
        made[f"c{n}"] = array
    table = pa.table(made)
    write(tmp_path / "a.parquet", table, 11)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=11)
    extra = 0.25 if kind == "decimal" else 0.0
    rows = np.arange(40)[:, None] % 7 == np.arange(bulk_data.CHANNELS)
    _, expected = run_rows(models, np.where(rows, np.nan, values + extra), tmp_path / "expected")
    for name in ("a.parquet", "a.arrow"):
        _, found = run(models["rows_classifier"], tmp_path / name, tmp_path / f"out-{name}", unit_rows=11, batch_size=3)
        assert found.drop_columns("file").equals(expected.drop_columns("file"))


def run_rows(models, values, folder):
    write(folder / "data.parquet", as_columns(values))
    return run(models["rows_classifier"], folder / "data.parquet", folder / "out")


def test_partitions_patterns_lists_and_datasets(models, tmp_path):
    from pyarrow import dataset

    table = pa.table(as_columns(random_rows(60)))
    for year, part in ((2023, table.slice(0, 20)), (2024, table.slice(20))):
        write(tmp_path / f"data/year={year}/region=north%20sea/x.parquet", part, 10)
    model = models["rows_classifier"]
    _, one = run(model, tmp_path / "data", tmp_path / "1", keep=["year", "region"])
    assert one["year"].to_pylist() == [2023] * 20 + [2024] * 40 and one["region"][0].as_py() == "north sea"
    _, two = run(model, str(tmp_path / "data/*/*/x.parquet"), tmp_path / "2", keep=["year", "region"])
    listed = sorted((tmp_path / "data").rglob("*.parquet"))
    _, three = run(model, listed, tmp_path / "3", keep=["year", "region"])
    given = dataset.dataset(tmp_path / "data", format="parquet", partitioning="hive")
    _, four = run(model, given, tmp_path / "4", keep=["year", "region"])
    _, five = run(model, f"file://{tmp_path / 'data'}", tmp_path / "5", keep=["year", "region"])
    for other in (two, three, four, five):
        assert other.drop_columns("file").equals(one.drop_columns("file"))
    with pytest.raises(ValueError, match="named twice"):
        bulk.predict(model, [listed[0], listed[0]], tmp_path / "6", verbose=0)
    with pytest.raises(ValueError, match="InMemoryDataset has no files"):
        bulk.predict(model, dataset.dataset(table), tmp_path / "6", verbose=0)
    for wrong in (tmp_path / "nothing.parquet", tmp_path / "none-*.parquet", 7):
        with pytest.raises((ValueError, OSError), match="source: "):
            bulk.predict(model, wrong, tmp_path / "6", verbose=0)
    assert not (tmp_path / "6").exists()


def test_wrong_arguments(models, tmp_path):
    write(tmp_path / "data/a.parquet", {**as_columns(random_rows(9)), "file": list("abcdefghi"), "body": ["x"] * 9})
    data, model = tmp_path / "data/a.parquet", models["rows_classifier"]
    write(tmp_path / "lacks/a.parquet", {"c0": [1.0]})
    nested = pa.table({**as_columns(random_rows(2)), "s": [{"a": 1}, {"a": 2}]}).set_column(0, "c0", [[[1], [2]]])
    write(tmp_path / "nested.parquet", nested)
    for options, message in (
        ({"columns": "c0"}, "columns: the model knows the columns"),
        ({"key": "id"}, "key: the model knows"),
        ({"keep": "no"}, "keep: 'a.parquet' has no column 'no'"),
        ({"keep": "file"}, "keep: 'file' is a name"),
        ({"keep": 3}, "keep: expected the name of a column"),
        ({"shard": (3, 2)}, "shard: expected I from 1 to N"),
        ({"shard": "1/2"}, "shard: expected"),
        ({"batch_size": 0}, "batch_size"),
        ({"coverage": [0.8]}, "coverage: it is of a Forecaster"),
        ({"source": tmp_path / "lacks"}, "columns: 'a.parquet' has no column 'c1'"),
        ({"source": tmp_path / "nested.parquet"}, "'nested.parquet': column 'c0': expected numbers, got list"),
        ({"out": tmp_path / "data/out", "source": tmp_path / "data"}, "lies in the data's folder"),
        ({"out": data}, "is a file; expected a folder"),
        ({"model": models["regressor"]}, "columns: a SequenceRegressor that a program saved"),
        ({"model": models["regressor"], "columns": ["c0", "c0"]}, "a column is named twice"),
        ({"model": models["regressor"], "columns": "c0", "time": "c1"}, "time: it orders the rows of a key"),
        ({"model": models["text_classifier"], "columns": "body"}, "columns: the model knows"),
    ):
        given = {"model": model, "source": data, "out": tmp_path / "out", "overwrite": True, "verbose": 0, **options}
        with pytest.raises((ValueError, TypeError), match=message):
            bulk.predict(given.pop("model"), given.pop("source"), given.pop("out"), **given)
    with pytest.raises(TypeError, match="model: expected a path"):
        bulk.predict(3, data, tmp_path / "out")
    with pytest.raises(ValueError, match="no bulk prediction of a TextGenerator"):
        generator = tasks.TextGenerator(epochs=1, units=4, random_state=0).fit(["abc abc abc abc abc"] * 3)
        bulk.predict(generator, data, tmp_path / "out")


@pytest.mark.parametrize("name", ["rows_classifier", "steps_classifier", "steps_tagger", "text_classifier"])
def test_onnx_files(models, tmp_path, name):
    """Within rounding of what the estimator says; labels and texts are strings of the graph."""
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(90)
    model = models[name]
    model.export_onnx(tmp_path / "m.onnx")
    if name == "text_classifier":
        given = [" ".join(rng.choice(bulk_data.WORDS, 4)) for _ in range(30)]
        columns, read = {"body": given}, "body"
    elif name == "rows_classifier":
        given = rng.normal(size=(30, bulk_data.CHANNELS)).astype(np.float32)
        columns, read = as_columns(given), [f"c{n}" for n in range(bulk_data.CHANNELS)]
    else:
        given = [one.astype(np.float32) for one in bulk_data.sequences(rng, 30, 3)]
        columns, read = {"steps": pa.array([one.tolist() for one in given])}, "steps"
    write(tmp_path / "a.parquet", columns, 11)
    _, found = run(tmp_path / "m.onnx", tmp_path / "a.parquet", tmp_path / "out", columns=read, batch_size=7)
    told = [one.tolist() if name == "steps_tagger" else one for one in map(np.asarray, model.predict(given))]
    assert found["tags" if name == "steps_tagger" else "label"].to_pylist() == [
        one if isinstance(one, list) else one.item() for one in told
    ]
    for one, expected in zip(found["probabilities"].to_pylist(), model.predict_proba(given), strict=True):
        np.testing.assert_allclose(one, expected, atol=2e-5)


def test_onnx_without_lengths(tmp_path):
    pytest.importorskip("onnxruntime")
    x = [one.astype(np.float32) for one in bulk_data.sequences(np.random.default_rng(91), 30)]
    model = rekur.Sequential([rekur.layers.Input((None, 2)), rekur.layers.GRU(4), rekur.layers.Dense(1, name="y")])
    rekur.onnx.export(model, tmp_path / "m.onnx")
    write(tmp_path / "a.parquet", {"steps": pa.array([one.tolist() for one in x])})
    _, found = run(tmp_path / "m.onnx", tmp_path / "a.parquet", tmp_path / "out", columns="steps")
    expected = [float(model.predict(one[None])[0, 0]) for one in x]
    np.testing.assert_allclose(found.column(found.num_columns - 1).to_pylist(), expected, atol=2e-5)


@pytest.mark.parametrize("time", ["integers", "dates", "texts", "two columns", "times with a zone", "missing"])
def test_what_orders_the_steps(tmp_path, time):
    """As the same table is read in memory."""
    rng = np.random.default_rng(95)
    walks = [f"w{n}" for n in range(12) for _ in range(n % 5 + 1)]
    steps = rng.permutation(len(walks))
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(step)) for step in steps]
    hours = [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=int(step)) for step in steps]
    columns = {
        "integers": {"t": pa.array(steps, pa.int16())},
        "dates": {"t": pa.array(days)},
        "texts": {"t": [f"{day:%d.%m.%Y}" for day in days]},
        "two columns": {"t": [f"{hour:%Y-%m-%d}" for hour in hours], "u": [f"{hour:%H:%M}" for hour in hours]},
        "times with a zone": {"t": pa.array(hours, pa.timestamp("ms", "Europe/Berlin"))},
        "missing": {"t": pa.array([None if step % 4 == 0 else float(step) for step in steps])},
    }[time]
    table = pa.table({"walk": walks, **columns, "a": rng.normal(size=len(walks)), "kind": ["x"] * len(walks)})
    model = bulk_data.steps_classifier()
    layout = {**bulk_data.steps_layout("classes").state(), "time": list(columns)}
    model.columns_ = layout
    write(tmp_path / "a.parquet", table, 7)
    _, found = run(model, tmp_path / "a.parquet", tmp_path / "out", unit_rows=7, batch_size=5)
    examples = read_examples(read_table(table), Layout.of_state(layout), [], labels=False)
    expected = classify.Answers(model, Layout.of_state(layout), examples).columns()
    same(found["probability of 1"], expected["probability of 1"])


def test_types_of_keys(models, tmp_path):
    """Of every type, in both kinds of files; the column's name has a point in it."""
    rng = np.random.default_rng(97)
    number = np.repeat(np.arange(20), rng.integers(1, 6, 20))
    texts = [f"k{n:02d}" for n in number]
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(n)) for n in number]
    keys = {
        "large": pa.array(texts, pa.large_string()),
        "dictionary": pa.array(texts).dictionary_encode(),
        "bytes": pa.array([text.encode() for text in texts]),
        "days": pa.array(days),
        "times": pa.array(days).cast(pa.timestamp("us", "UTC")),
        "fractions": pa.array(number * 1.5),
        "unsigned": pa.array(number, pa.uint64()),
    }
    values = rng.normal(size=(2, len(number)))
    expected = models["regressor"].predict([values[:, number == n].T for n in range(20)])
    for name, key in keys.items():
        table = pa.table({"k.x": key, "p": values[0], "q": values[1], "k": number})
        write(tmp_path / f"{name}.parquet", table, 7)
        with pa.OSFile(str(tmp_path / f"{name}.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        for ending in ("parquet", "arrow"):
            _, found = run(
                models["regressor"], tmp_path / f"{name}.{ending}", tmp_path / f"{name}-{ending}",
                columns=["p", "q"], key="k.x", unit_rows=14, batch_size=3,
            )  # fmt: skip
            same(found["predicted"], expected)
