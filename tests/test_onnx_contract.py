"""Every layer of the contract goes out to an ONNX file and comes in again: the same numbers, trainable as before.

The file that was written is the model again, whatever its layers. Read by its nodes alone, as when something in it was
changed, most layers come in, too; what does not stands in one of the tables here, with the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur.onnx
from harness import floats
from onnx_subject import Subject
from rekur import layers as L
from rekur.onnx import ExportError, LoadError
from test_layer_contract import EXAMPLES, Example

# Not loaded by their nodes: what the file says of them no node says alone.
WEIGHTS = "attention whose weights are an output, too, is written without a note of which layer it is"
NOT_LOADED: dict[str, str] = {
    "Broadcast": "of what is repeated, a row at every step alone is loaded",
    "Parameter": "weights repeated over rows and steps are what no node computes of an input",
    "Masking": "a mask is made of comparisons and sorted steps, which no layer is",
    "Loop": "a Scan whose body are the nodes of layers is what no layer's nodes alone say",
    "CRF": "two Scans of a chain of tags are what no layer's nodes alone say",
    "attention with weights": WEIGHTS,
    "four axes": "the import knows (batch, features) and (batch, time, features)",
}
# Loaded as other layers that compute the same, or as nothing where a layer acts in training alone.
TRAINING_ALONE = (
    "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization",
)  # fmt: skip
OTHER_PARAMETERS = (
    *TRAINING_ALONE,
    "BatchNormalization",  # has all four vectors, also where the model left some out
    "LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional",  # options of the layers, as layers beside them
    "LayerNormalization",  # has both vectors, likewise
    "Multiply",
)  # fmt: skip


def reason(example: Example) -> str | None:
    """Why a file of it is not loaded."""
    layer = example.layer
    if layer.get("return_attention_scores", False):
        return NOT_LOADED["attention with weights"]
    if any(len(shape) > 3 for shape, _ in example.inputs):
        return NOT_LOADED["four axes"]
    return NOT_LOADED.get(layer["type"])


def laid_out(y: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The model is batch-first whatever the file is, and an axis of one step has no meaning to it."""
    if y.shape != like.shape and sorted(y.shape) == sorted(like.shape):
        return y.swapaxes(1, 2)
    return y.reshape(like.shape) if y.size == like.size else y


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.type}-{len(e.inputs)}")
def test_every_layer_goes_out_and_comes_in(example: Example, tmp_path: Path) -> None:
    spec = example.spec()
    subject = Subject(spec["layers"], spec["outputs"])
    for lengths in (False, True):
        try:
            rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False, lengths=lengths)
        except ExportError:
            assert lengths  # nothing in the model reads them
            continue
        loaded = rekur.onnx.load(tmp_path / "m.onnx")
        assert loaded.spec == rekur.Model.from_spec(subject.spec).spec
        weights = loaded.named_weights()
        assert weights.keys() == subject.weights.keys()
        for name, array in subject.weights.items():
            np.testing.assert_array_equal(weights[name], array, err_msg=name)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.type}-{len(e.inputs)}")
@pytest.mark.usefixtures("by_nodes")
def test_every_layer_goes_out_and_comes_in_by_its_nodes(
    example: Example, tmp_path: Path, rng: np.random.Generator
) -> None:
    spec = example.spec()
    subject, path = Subject(spec["layers"], spec["outputs"]), tmp_path / "m.onnx"
    report = rekur.onnx.export(subject, path)
    assert report.verification is not None and report.verification.cases > 0
    if reason(example) is not None:
        with pytest.raises(LoadError, match=r"subject|4 axes|5 axes"):
            rekur.onnx.load(path)
        return
    loaded = rekur.onnx.load(path)
    for B, T in ((4, 6), (1, 7)):
        inputs = example.arrays(rng, B, T)
        expected = subject.predict(inputs)
        actual: Any = loaded.predict(inputs if len(inputs) > 1 else inputs[0])
        actual = actual if isinstance(actual, list) else [actual]
        assert len(actual) == len(expected)
        for y, e in zip(actual, expected, strict=True):
            np.testing.assert_allclose(laid_out(y, e), e, atol=1e-5 * max(1.0, float(np.abs(e).max(initial=0))))
    if example.type not in OTHER_PARAMETERS:
        assert sum(w.size for w in loaded.get_weights()) == sum(w.size for w in subject.weights.values())
    rekur.onnx.export(loaded, tmp_path / "again.onnx")  # and out once more, verified


def test_every_reason_is_one_of_some_layer() -> None:
    given = {reason(example) for example in EXAMPLES} - {None}
    assert given == set(NOT_LOADED.values())


# Layers that the Python face puts together of others.
COMPOSED: dict[str, Any] = {
    "RMSNormalization": lambda x: L.RMSNormalization()(x),
    "UnitNormalization": lambda x: L.UnitNormalization()(x),
    "ReLU": lambda x: L.ReLU(1.0, 0.1, 0.2)(x),
    "gelu": lambda x: L.Dense(3, activation="gelu")(x),
    "SeparableConv1D": lambda x: L.SeparableConv1D(5, 3)(x),
    "Maximum": lambda x: L.Maximum()([x, L.Dense(4)(x)]),
    "Minimum": lambda x: L.Minimum()([x, L.Dense(1)(x)]),
    "Average": lambda x: L.Average()([x, L.Dense(4)(x)]),
    "behind a recurrent layer": lambda x: L.RMSNormalization()(L.LSTM(4, return_sequences=True)(x)),
    "of rows": lambda x: L.Maximum()([L.GRU(3)(x), L.LSTM(3)(x)]),
}


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.usefixtures("by_nodes")
def test_composed_layers_go_out_and_come_in_with_their_weights(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    x = L.Input((None, 4))
    model = rekur.Model(x, COMPOSED[name](x), seed=1)
    # inputs of ±50 leave of an LSTM's first steps next to nothing, which a norm makes large: 1.25 times 1e-5 was seen
    rekur.onnx.export(model, tmp_path / "m.onnx", tolerance=3e-5 if name == "behind a recurrent layer" else 1e-5)
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    data = floats(rng, 3, 7, 4)
    np.testing.assert_allclose(loaded.predict(data), model.predict(data), atol=1e-5)
    assert loaded.count_params() == model.count_params()
