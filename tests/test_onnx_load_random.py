"""ONNX import: random graphs over all layer types, exported and loaded, compute what they computed before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rekur
from harness import assert_close
from onnx_subject import Subject
from rekur.onnx import ExportError
from test_random_graphs import RandomGraph

pytestmark = pytest.mark.usefixtures("by_nodes")

SIZES = (1, 2, 3, 5)


def round_trip(seed: int, path: Path) -> bool:
    """Whether the exporter took the graph."""
    graph = RandomGraph(seed, layers=7, batch=3, steps=5, sizes=SIZES, rate=0.0, equations=False)
    subject = Subject(graph.spec["layers"], graph.spec["outputs"])
    lengths = any(rows is not None for rows in graph.lengths)
    try:
        rekur.onnx.export(subject, path, lengths=lengths, verify=False)
    except ExportError:  # an LSTM with one of its two states, no recurrent layer that could use the lengths
        return False
    model = rekur.onnx.load(path)
    names = subject.spec["inputs"]
    assert model.input_names == names
    inputs = dict(zip(names, graph.inputs, strict=True))
    rows = {name: r for name, r in zip(names, graph.lengths, strict=True) if r is not None} if lengths else None
    expected = subject.predict(graph.inputs, lengths=rows)
    actual = model.predict(inputs, lengths=rows)
    for y, e in zip(actual if isinstance(actual, list) else [actual], expected, strict=True):
        assert np.isnan(e).any() or (np.abs(e) > 1e4).any() or assert_close(y, e, 1e-5) is None
    return True


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_random_graphs(first: int, tmp_path: Path) -> None:
    assert sum(round_trip(seed, tmp_path / "m.onnx") for seed in range(first, first + 20)) > 5
