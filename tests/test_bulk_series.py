"""Bulk prediction of series: covariates, zones, several targets, detectors that know their times; several answers."""

from __future__ import annotations

import numpy as np
import pytest

import bulk_data
from rekur import bulk, tasks
from rekur.tasks._commands._forecasts import predictions
from rekur.tasks._series import read_series
from rekur.tasks._tables import read_table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def run(model, table, folder, group=13, **options):
    folder.mkdir()
    pq.write_table(table, folder / "a.parquet", row_group_size=group)
    report = bulk.predict(model, folder / "a.parquet", folder / "out", unit_rows=40, batch_size=9, verbose=0, **options)
    assert report.complete
    return report, pq.read_table(folder / "out")


def covariates(rng, shops, hours):
    """Steps with past, future and static covariates and, behind the last target, 6 rows of what is known ahead."""
    table = bulk_data.series_table(rng, shops, hours + 6)
    count = len(table["load"])
    ahead = np.tile(np.arange(hours + 6) >= hours, len(shops))
    table["load"] = np.where(ahead, np.nan, table["load"])
    table["other"] = np.where(ahead, np.nan, rng.normal(size=count))
    table["wind"] = rng.normal(size=count)
    table["holiday"] = rng.choice(["yes", "no", "half"], count)
    table["region"] = np.repeat(["north" if n % 2 else "south" for n in range(len(shops))], hours + 6)
    return table


def as_table(columns):
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def test_covariates_and_several_targets(tmp_path):
    rng = np.random.default_rng(0)
    model = tasks.Forecaster(
        horizon=6, context=24, epochs=1, units=4, random_state=0, time="time", target=["load", "other"],
        series="shop", past=["wind"], future=["holiday"], static=["region"],
    )  # fmt: skip
    model.fit(covariates(rng, ["a", "b"], 120))
    table = as_table(covariates(rng, ["p", "q", "r", "s"], 30))
    report, found = run(model, table, tmp_path / "1")
    assert not report.notes
    known = read_series(read_table(table), like=model._ends.without_series())
    expected = predictions(model, known, [0.8])
    for name in expected:
        if name not in ("shop", "time"):
            assert found[name].to_pylist() == [float(value) for value in expected[name]], name
    assert found["shop"].to_pylist() == expected["shop"]
    assert [str(one) for one in found["time"].to_pylist()] == list(expected["time"])


def test_zones_and_texts_of_times(tmp_path):
    rng = np.random.default_rng(1)
    zone = "Europe/Berlin"
    model = tasks.Forecaster(horizon=6, context=24, epochs=1, units=4, random_state=0, time="time", target="load",
                             series="shop", time_zone=zone)  # fmt: skip
    model.fit(bulk_data.series_table(rng, ["a"], 150, "2024-03-01"))
    columns = bulk_data.series_table(rng, ["p", "q"], 40, "2024-10-26T00")  # over the hour that comes twice
    local = as_table(columns)
    texts = local.set_column(1, "time", pa.array([str(time)[:16] for time in columns["time"]]))
    _, one = run(model, local, tmp_path / "1")
    _, two = run(model, texts, tmp_path / "2")
    known = read_series(read_table(local), like=model._ends.without_series())
    expected = predictions(model, known, [0.8])
    assert one["load"].to_pylist() == [float(value) for value in expected["load"]]
    assert one["load"].equals(two["load"]) and one["time"].equals(two["time"])
    assert one["time"].type == pa.timestamp("ns")


def test_a_forecaster_of_columns_without_names(tmp_path):
    rng = np.random.default_rng(2)
    model = tasks.Forecaster(horizon=4, context=12, epochs=1, units=4, random_state=0)
    model.fit([rng.normal(size=60), rng.normal(size=70)])
    table = pa.table({"k": [1] * 20 + [2] * 15, "v": rng.normal(size=35)})
    _, found = run(model, table, tmp_path / "1", columns="v", key="k")
    expected = model.predict([table["v"].to_numpy()[:20], table["v"].to_numpy()[20:]])
    assert found["v"].to_pylist() == np.concatenate(expected).ravel().tolist()
    with pytest.raises(ValueError, match="trained on columns without names; name its 1 column"):
        run(model, table, tmp_path / "2", key="k")


def test_one_bad_series_is_named(tmp_path):
    rng = np.random.default_rng(3)
    model = bulk_data.forecaster()
    table = as_table(bulk_data.series_table(rng, ["p", "q"], 30))
    times = table["time"].to_pylist()
    times[35] = times[35].replace(year=1700)
    table = table.set_column(1, "time", pa.array(times, pa.timestamp("us")))
    with pytest.raises(bulk.Unfinished, match=r"'a.parquet': series shop='q', from row 30 on: time: "):
        run(model, table, tmp_path / "1")


def test_a_detector_that_knows_its_times(tmp_path):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(4)
    columns = bulk_data.series_table(rng, ["a"], 150)
    frame = pandas.DataFrame({"time": columns["time"], "load": columns["load"]})
    model = tasks.AnomalyDetector(epochs=1, units=4, window=8, random_state=0, time="time").fit(frame)
    asked = pandas.DataFrame(bulk_data.series_table(rng, ["p", "q"], 40)).drop(index=[5, 6, 50])
    asked.loc[[0, 1, 79], "load"] = np.nan
    pieces = [part[["time", "load"]] for _, part in asked.groupby("shop")]
    expected = np.concatenate([-np.asarray(model.score_samples(part)) for part in pieces])
    _, found = run(model, pa.Table.from_pandas(asked, preserve_index=False), tmp_path / "1", key="shop")
    assert found["score"].to_pylist() == expected.tolist()
    _, alone = run(model, pa.Table.from_pandas(pieces[0], preserve_index=False), tmp_path / "2")  # a file is a series
    assert alone["score"].to_pylist() == expected[: len(pieces[0])].tolist()


def test_numbers_and_labels_that_are_several(tmp_path):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    model = tasks.SequenceRegressor(units=4, epochs=1, random_state=0).fit(x, x[:, :2])
    table = pa.table({f"c{n}": x[:, n] for n in range(5)})
    _, found = run(model, table, tmp_path / "1", columns=[f"c{n}" for n in range(5)])
    for place in range(2):
        assert found[f"predicted {place + 1}"].to_pylist() == model.predict(x)[:, place].tolist()
    texts = [" ".join(rng.choice(bulk_data.WORDS, 4)) for _ in range(40)]
    labels = np.array([["red" in text, "one" in text] for text in texts]).astype(int)
    several = tasks.TextClassifier(epochs=1, units=4, random_state=0).fit(texts, labels)
    _, found = run(several, pa.table({"body": texts}), tmp_path / "2", columns="body")
    for place, label in enumerate(several.classes_.tolist()):
        assert found[f"predicted {label}"].to_pylist() == several.predict(texts)[:, place].tolist()
        assert found[f"probability of {label}"].to_pylist() == several.predict_proba(texts)[:, place].tolist()
