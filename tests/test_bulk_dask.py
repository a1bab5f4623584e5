"""examples/bulk/dask_onnx.py on a cluster of this process, beside bulk prediction with the model that was exported."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bulk_data
from rekur import bulk

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("pandas")
distributed = pytest.importorskip("distributed")
pytest.importorskip("onnxruntime")


EXAMPLE = Path(__file__).parents[1] / "examples/bulk/dask_onnx.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("dask_onnx", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["dask_onnx"] = module
    yield module
    del sys.modules["dask_onnx"]


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as made, distributed.Client(made) as client:
        yield client


def forms() -> dict[str, tuple[dict, list[str]]]:
    """Columns of 90 rows, one of them with nothing in it, and what a model reads of them."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(90, bulk_data.CHANNELS))
    cells[rng.random(cells.shape) < 0.1] = np.nan
    cells[:, -1] = 1.0  # tables' sequences end where nothing follows, those of the graph's fixed input do not
    cells[7] = np.nan
    rows = {f"c{n}": pa.array(cells[:, n], from_pandas=True) for n in range(bulk_data.CHANNELS)}
    lists = [None, *(one.tolist() for one in bulk_data.sequences(rng, 89, 3))]
    texts = [None, *(" ".join(rng.choice(bulk_data.WORDS, 4)) for _ in range(89))]
    return {
        "rows_classifier": (rows, list(rows)),
        "steps_classifier": ({"steps": pa.array(lists)}, ["steps"]),
        "text_classifier": ({"body": texts}, ["body"]),
    }


@pytest.mark.parametrize("name", ["rows_classifier", "steps_classifier", "text_classifier"])
def test_dask(name, example, cluster, tmp_path):
    columns, read = forms()[name]
    table = pa.table({"id": np.arange(90), **columns})
    (tmp_path / "data").mkdir()
    pq.write_table(table.slice(0, 50), tmp_path / "data/0.parquet", row_group_size=20)
    pq.write_table(table.slice(50), tmp_path / "data/1.parquet")
    model = getattr(bulk_data, name)()
    model.export_onnx(tmp_path / "m.onnx")
    rows = example.run(cluster, str(tmp_path / "data"), str(tmp_path / "m.onnx"), str(tmp_path / "out"), read)
    found = pq.read_table(tmp_path / "out").sort_by("id")
    assert rows == 90 and found["id"].to_pylist() == list(range(90))
    assert example.run(cluster, str(tmp_path / "data"), str(tmp_path / "m.onnx"), str(tmp_path / "out"), read) == 0
    if name == "steps_classifier":
        del model.columns_
    options = {} if hasattr(model, "columns_") else {"columns": read}
    bulk.predict(model, tmp_path / "data", tmp_path / "bulk", keep="id", verbose=0, **options)
    expected = pq.read_table(tmp_path / "bulk")
    gone = [row for row, label in enumerate(expected["predicted"].to_pylist()) if label is None]
    assert len(gone) == 1
    labels = found["label"].to_pandas()
    for row, label in enumerate(expected["predicted"].to_pylist()):
        assert labels.isna()[row] if label is None else labels[row] == label
    for place, column in enumerate(expected.column_names[-2:]):
        np.testing.assert_allclose(found[f"probabilities {place}"].to_pandas(), expected[column].to_pandas(), atol=2e-5)


def test_as_a_program(tmp_path):
    """With processes of its own."""
    columns, read = forms()["rows_classifier"]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data/0.parquet", row_group_size=30)
    bulk_data.rows_classifier().export_onnx(tmp_path / "m.onnx")
    command = [sys.executable, EXAMPLE, tmp_path / "data", tmp_path / "m.onnx", tmp_path / "out", "--columns"]
    done = subprocess.run([*map(str, command), ",".join(read)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = pq.read_table(tmp_path / "out")
    assert found.num_rows == 90 and found["probabilities 0"].to_pandas().isna().sum() == 1
