"""The commands and the program of docs/bulk.md, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import bulk_data
import rekur
from rekur import cli, tasks

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("onnxruntime")

PAGE = (Path(__file__).parents[1] / "docs/bulk.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("data", "words", "steps"):
        Path(name).mkdir()
    model = bulk_data.rows_classifier()
    model.save("model.safetensors")
    three = tasks.SequenceClassifier(units=4, epochs=1, random_state=0)
    x = rng.normal(size=(20, 3)).astype(np.float32)
    three.fit(x, ["a", "b"] * 10).export_onnx("model.onnx")
    columns = {f"c{n}": rng.normal(size=20) for n in range(bulk_data.CHANNELS)}
    trace = pa.array([one[:, 0].tolist() for one in bulk_data.sequences(rng, 20)])
    more = {"id": np.arange(20), "trace": trace, "age": rng.normal(size=20), "weight": rng.normal(size=20)}
    pq.write_table(pa.table({**columns, **more}), "data/0.parquet")
    sentences = [["red", "one"], ["blue"], ["one", "two"]] * 4
    tags = [["C" if word in ("red", "blue") else "O" for word in one] for one in sentences]
    tasks.SequenceTagger(units=4, epochs=1, random_state=0).fit(sentences, tags).save("tagger.safetensors")
    pq.write_table(pa.table({"words": sentences}), "words/0.parquet")
    walks = bulk_data.sequences(rng, 12, 3)
    tasks.SequenceClassifier(units=4, epochs=1, random_state=0).fit(walks, [0, 1] * 6).save("walks.safetensors")
    flat = np.concatenate(walks)
    keys = np.repeat(np.arange(12), [len(walk) for walk in walks])
    steps = {"walk": keys, "t": np.arange(len(keys)), **dict(zip("xyz", flat.T, strict=True))}
    pq.write_table(pa.table(steps), "steps/0.parquet", row_group_size=9)
    signal, static = rekur.layers.Input((None, 1), name="signal"), rekur.layers.Input((2,), name="static")
    state = rekur.layers.GRU(3)(signal)
    y = rekur.layers.Dense(1)(rekur.layers.Concatenate()([state, static]))
    rekur.Model([signal, static], y).save("network.safetensors")
    return tmp_path


def test_commands(place, capsys):
    commands = re.findall(r"^    rekur (predict .*?)(?:  +#.*)?$", PAGE, re.M)
    assert len(commands) >= 6
    for command in commands:
        arguments = shlex.split(command)
        folder = place / arguments[arguments.index("-o") + 1]
        assert cli.main([*arguments, "--overwrite"]) == 0, (command, capsys.readouterr().err)
        assert (folder / "_SUCCESS").exists() or "--shard" in arguments
    assert pq.read_table("who").num_rows == 12 and pq.read_table("tags").num_rows == 12


def test_program(place, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "docs/bulk.md", "exec"), {})
    assert capsys.readouterr().out.strip() == "20 20 0"
