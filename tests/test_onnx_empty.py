"""Empty batches and sequences: onnxruntime would end the process on them, so nothing of ours hands it any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import rekur.onnx
from onnx_subject import sequence_subject
from rekur.onnx import QuantizationError
from test_onnx_stream import session, stack

EMPTY = [(0, 5, 3), (2, 0, 3), (0, 0, 3)]
RUN = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"x": np.ones([int(n) for n in sys.argv[2:]], np.float32)})
"""


@pytest.mark.skipif(not onnxruntime.__version__.startswith("1.32."), reason="seen with onnxruntime 1.32")
@pytest.mark.parametrize(
    ("cell", "shape", "ends"),
    [
        ("LSTM", (0, 5, 3), True),
        ("GRU", (0, 5, 3), True),
        ("GRU", (2, 0, 3), True),
        ("LSTM", (2, 0, 3), False),
        ("SimpleRNN", (0, 5, 3), False),
        ("CRF", (0, 5, 3), True),
        ("CRF", (2, 0, 3), True),
    ],
)
def test_onnxruntime_ends_the_process_on_what_the_docs_name(
    cell: str, shape: tuple[int, ...], ends: bool, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    subject = sequence_subject({"type": cell, "name": "y", "inputs": ["x"], "units": 3}, outputs=["y"])
    rekur.onnx.export(subject, path)
    done = subprocess.run([sys.executable, "-c", RUN, str(path), *map(str, shape)], capture_output=True, timeout=60)
    assert (done.returncode < 0) == ends


@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.parametrize("streaming", [False, True], ids=["pieces", "steps"])
def test_states_run_refuses_empty_batches_and_sequences(
    streaming: bool, shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    rekur.onnx.export(stack("GRU", sequences=False), path, streaming=streaming, states=not streaming)
    states = rekur.onnx.metadata(path).states
    assert states is not None
    with pytest.raises(ValueError, match=rf"input 'x' has shape \({shape[0]}, {shape[1]}, 3\): on an empty"):
        states.run(session(path), {"x": np.zeros(shape, np.float32)})


def test_states_run_refuses_an_empty_piece(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rekur.onnx.export(stack("GRU", sequences=False), path, states=True)
    states = rekur.onnx.metadata(path).states
    assert states is not None
    with pytest.raises(ValueError, match=r"input 'x' has shape \(2, 0, 3\): on an empty sequence"):
        states.run(session(path), {"x": np.zeros((2, 5, 3), np.float32)}, {"x": [slice(0, 5), slice(5, 5)]})


def test_states_run_names_the_input_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rekur.onnx.export(stack("GRU", sequences=False), path, states=True)
    states = rekur.onnx.metadata(path).states
    assert states is not None
    with pytest.raises(ValueError, match=r"nothing for input \['x'\]"):
        states.run(session(path), {})


@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.parametrize("states", [False, True])
def test_quantize_refuses_empty_data(states: bool, shape: tuple[int, ...], tmp_path: Path) -> None:
    path, small = tmp_path / "m.onnx", tmp_path / "small.onnx"
    rekur.onnx.export(stack("GRU", sequences=False), path, states=states)
    with pytest.raises(QuantizationError, match=r"data: '?(input 'x'|x)"):
        rekur.onnx.quantize(path, small, data=np.zeros(shape, np.float32))
    assert not small.exists()


def test_rows_of_length_0_are_no_empty_batch(tmp_path: Path) -> None:
    """All of them: the file keeps the initial states, as the engine does."""
    path = tmp_path / "m.onnx"
    rekur.onnx.export(stack("LSTM", sequences=False), path, states=True, lengths=True)
    described = rekur.onnx.metadata(path)
    assert described.states is not None
    feed = {"x": np.ones((2, 3, 3), np.float32), "lengths": np.zeros(2, np.int32)}
    outputs = described.states.run(session(path), feed, None, described.lengths)
    assert all(np.isfinite(y).all() for y in outputs)
