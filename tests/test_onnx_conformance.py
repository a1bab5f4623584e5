"""The recurrent node cases of public suites, on the engine through rekur.onnx.backend.

``onnx.backend.test`` makes its cases when it is asked; Debian's libonnx-testdata holds those of onnx 1.12 as files
(REKUR_ONNX_TESTDATA names another folder of the same form).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rekur import _core
from rekur.onnx import LoadError, backend
from rekur.onnx._import.ops import RULES

OPERATORS = ("RNN", "GRU", "LSTM")
# What onnx 1.23 has; newer ones may have more.
NAMES = {
    "test_simple_rnn_defaults", "test_simple_rnn_with_initial_bias", "test_rnn_seq_length", "test_simple_rnn_batchwise",
    "test_gru_defaults", "test_gru_with_initial_bias", "test_gru_seq_length", "test_gru_batchwise",
    "test_lstm_defaults", "test_lstm_with_initial_bias", "test_lstm_with_peepholes", "test_lstm_batchwise",
}  # fmt: skip
FOLDER = Path(os.environ.get("REKUR_ONNX_TESTDATA", "/usr/share/libonnx-testdata/data/node"))
FROZEN = sorted(NAMES)


def node_cases() -> list[Any]:
    """Those of onnx.backend.test.loader; it makes all operators' cases, here only these operators' are made."""
    from onnx.backend.test.case import node

    for operator in OPERATORS:
        importlib.import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    return [case for case in node._NodeTestCases if any(n.op_type in OPERATORS for n in case.model.graph.node)]


CASES = node_cases()


def need_options(model: onnx.ModelProto) -> None:
    """Peepholes need an engine that has them."""
    (node,) = model.graph.node
    if len(node.input) > 7 and node.input[7]:
        layer = {"type": "LSTM", "name": "lstm", "units": 3, "peepholes": True}
        try:
            _core.infer_layer(json.dumps(layer), [((None, None, 3), "float32")])
        except ValueError as error:
            pytest.skip(f"the engine has no peepholes: {error}")


def run(model: onnx.ModelProto, inputs: list[np.ndarray], expected: list[np.ndarray], rtol: float, atol: float) -> None:
    need_options(model)
    actual = backend.run_model(model, inputs)
    assert len(actual) == len(expected)
    for y, e in zip(actual, expected, strict=True):
        assert y.dtype == e.dtype and y.shape == e.shape
        np.testing.assert_allclose(y, e, rtol=rtol, atol=atol)


def test_all_cases_are_here() -> None:
    assert {case.name for case in CASES} >= NAMES
    if tuple(map(int, onnx.__version__.split(".")[:2])) >= (1, 23):
        assert len(CASES) >= 18


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_node_case(case: Any) -> None:
    for inputs, outputs in case.data_sets:
        run(case.model, list(inputs), list(outputs), case.rtol, max(case.atol, 1e-7))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_node_case_as_run_node(case: Any) -> None:
    need_options(case.model)
    (node,) = case.model.graph.node
    opset = case.model.opset_import[0].version
    for inputs, outputs in case.data_sets:
        for y, e in zip(backend.run_node(node, inputs, opset_version=opset), outputs, strict=True):
            np.testing.assert_allclose(y, e, rtol=case.rtol, atol=max(case.atol, 1e-7))


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_case(name: str) -> None:
    folder = FOLDER / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}: install libonnx-testdata")
    model = onnx.load(folder / "model.onnx")
    for data in sorted(folder.glob("test_data_set_*")):
        inputs, outputs = (
            [read(data / f"{kind}_{k}.pb") for k in range(len(list(data.glob(f"{kind}_*.pb"))))]
            for kind in ("input", "output")
        )
        assert outputs
        run(model, inputs, outputs, 1e-3, 1e-7)


def read(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def test_no_node_case_of_an_operator_that_is_understood_comes_out_wrong() -> None:
    """What the import takes of onnx's own cases is right; everything else it refuses, by name."""
    from onnx.backend.test.case import node

    for operator in RULES:
        with contextlib.suppress(ImportError), np.errstate(all="ignore"):
            importlib.import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    cases = list(node._NodeTestCases)
    passed, wrong = 0, []
    for case in cases:
        try:
            model = backend.RekurBackendRep(case.model)
        except LoadError:
            continue
        for inputs, expected in case.data_sets:
            try:
                actual = model.run(list(inputs))
            except ValueError:  # weights that come as inputs, an axis of another size than the file says
                continue
            right = all(
                y.shape == np.shape(e) and np.allclose(y, e, 1e-4, 1e-5, equal_nan=True)
                for y, e in zip(actual, expected, strict=True)
            )
            passed += right
            wrong += [] if right else [case.name]
    assert not wrong
    assert passed >= 60
