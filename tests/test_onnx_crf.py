"""A CRF as Scans: onnxruntime finds the engine's tags and marginals, with lengths, with masks, and without steps."""

import numpy as np
import pytest

import rekur
import rekur.onnx
from harness import floats
from rekur import layers
from rekur.onnx import ExportError

onnxruntime = pytest.importorskip("onnxruntime")


def _model(mode, boundary=True, masked=False):
    front = [layers.Masking(input_shape=(None, 3))] if masked else []
    first = {} if masked else {"input_shape": (None, 3)}
    model = rekur.Sequential(
        [*front, layers.GRU(4, return_sequences=True, **first), layers.Dense(5), layers.CRF(5, mode, boundary)], seed=1
    )
    rng = np.random.default_rng(2)
    model.set_weights([floats(rng, *w.shape) for w in model.get_weights()])
    return model


def _run(path, **inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("mode", ["tags", "marginals"])
@pytest.mark.parametrize("boundary", [True, False])
@pytest.mark.parametrize("opset", [17, 21])
def test_onnxruntime_finds_the_same(tmp_path, rng, mode, boundary, opset):
    model = _model(mode, boundary)
    report = rekur.onnx.export(model, tmp_path / "m.onnx", opset=opset)
    assert report.verification.cases > 0
    for rows, steps in ((5, 9), (1, 1), (3, 2)):
        x = floats(rng, rows, steps, 3)
        np.testing.assert_allclose(_run(tmp_path / "m.onnx", **{model.inputs[0].name: x}), model.predict(x), atol=1e-5)


@pytest.mark.parametrize("mode", ["tags", "marginals"])
def test_lengths_and_masks(tmp_path, rng, mode):
    model = _model(mode)
    rekur.onnx.export(model, tmp_path / "m.onnx", lengths=True)
    x, lengths = floats(rng, 5, 7, 3), np.array([7, 6, 3, 1, 0], np.int32)
    found = _run(tmp_path / "m.onnx", lengths=lengths, **{model.inputs[0].name: x})
    np.testing.assert_allclose(found, model.predict(x, lengths=lengths), atol=1e-5)
    rekur.onnx.export(model, tmp_path / "m.onnx", masks=True)
    mask = rng.random((5, 7)) < 0.6
    mask[4] = False
    found = _run(tmp_path / "m.onnx", mask=mask, **{model.inputs[0].name: x})
    np.testing.assert_allclose(found, model.predict(x, mask=mask), atol=1e-5)
    masked = _model(mode, masked=True)
    x[~mask] = 0
    rekur.onnx.export(masked, tmp_path / "m.onnx")
    found = _run(tmp_path / "m.onnx", **{masked.inputs[0].name: x})
    np.testing.assert_allclose(found, masked.predict(x), atol=1e-5)


def test_the_model_of_the_emissions_goes_out_for_a_decoder_outside(tmp_path, rng):
    model = _model("tags")
    emissions, crf = rekur.Model(model.inputs, model.layers[-1].input), model.layers[-1]
    rekur.onnx.export(emissions, tmp_path / "m.onnx")
    x = floats(rng, 4, 6, 3)
    tags, _ = crf.decode(_run(tmp_path / "m.onnx", **{model.inputs[0].name: x}))
    np.testing.assert_array_equal(tags[0], model.predict(x).argmax(axis=-1))


def test_a_stream_is_refused_by_name(tmp_path):
    model = rekur.Sequential([layers.GRU(4, return_sequences=True, input_shape=(None, 3)), layers.CRF(4)])
    with pytest.raises(ExportError, match="CRF 'crf': tags depend on the steps that are still to come"):
        rekur.onnx.export(model, tmp_path / "m.onnx", streaming=True)
