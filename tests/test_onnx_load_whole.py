"""ONNX import of what export wrote: the model itself comes back, and nothing is taken on trust."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats
from rekur import layers as L
from rekur.onnx import LoadError


def shared() -> rekur.Model:
    a, b, encoder = L.Input((5, 3)), L.Input((5, 3)), L.LSTM(4, dropout=0.1, kernel_regularizer="l2")
    return rekur.Model([a, b], L.Dense(2)(L.Concatenate()([encoder(a), encoder(b)])), seed=1)


def masked() -> rekur.Model:
    x = L.Input((None,), dtype="int32")
    h = L.LSTM(4, return_sequences=True, reverse=True)(L.Embedding(7, 3, mask_zero=True)(x))
    return rekur.Model(x, L.GlobalAveragePooling1D()(L.Dropout(0.3)(h)), seed=1)


def images() -> rekur.Model:
    x = L.Input((None, 5, 6, 2))
    h = L.BatchNormalization()(L.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(x))
    return rekur.Model(x, L.TimeDistributed(L.Flatten())(h), seed=1)


def attended() -> rekur.Model:
    x = L.Input((None, 4))
    y, weights = L.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)
    return rekur.Model(x, [L.Activation("softmax")(y), weights], seed=1)


def nested() -> rekur.Model:
    inner = rekur.Sequential([L.Input((None, 4)), L.Conv1D(5, 3, padding="causal", activation="relu"), L.GRU(3)])
    inner.trainable = False
    x = L.Input((None, 4))
    return rekur.Model(x, L.Dense(1)(inner(x)), seed=1)


def coupled() -> rekur.Model:
    x = L.Input((None, 3))
    return rekur.Model(x, L.Bidirectional(L.LSTM(4, coupled_gates=True, peepholes=True))(x), seed=1)


MODELS: dict[str, Callable[[], rekur.Model]] = {
    made.__name__: made for made in (shared, masked, images, attended, nested, coupled)
}


def arrays_of(model: rekur.Model, rng: np.random.Generator) -> list[np.ndarray]:
    shapes = [[3, *(size or 5 for size in i.shape[1:])] for i in model.inputs]
    ids = [i.dtype == "int32" for i in model.inputs]
    return [rng.integers(0, 7, s, np.int32) if d else floats(rng, *s) for s, d in zip(shapes, ids, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_the_model_itself_comes_back(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model, path = MODELS[name](), tmp_path / "m.onnx"
    for array in (weights := model.get_weights()):
        array += 0.1 * np.abs(floats(rng, *array.shape))
    model.set_weights(weights)
    rekur.onnx.export(model, path, verify=False)
    loaded = rekur.onnx.load(path, seed=2)
    assert loaded.spec == model.spec and loaded.seed == 2
    x = arrays_of(model, rng)
    actual, expected = loaded.predict(x), model.predict(x)
    for y, e in zip(*((a if isinstance(a, list) else [a]) for a in (actual, expected)), strict=True):
        np.testing.assert_array_equal(y, e)
    again = tmp_path / "again.onnx"
    rekur.onnx.export(loaded, again, verify=False)
    assert again.read_bytes() == path.read_bytes()


def edited(path: Path, change: Callable[[onnx.ModelProto], Any]) -> None:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file whose nodes alone are not loaded."""
    path = tmp_path / "m.onnx"
    rekur.onnx.export(masked(), path, verify=False)
    return path


def test_changed_weights_come_in_as_the_file_has_them(written: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        (table,) = (t for t in model.graph.initializer if t.name.endswith("/embeddings"))
        table.CopyFrom(onnx.numpy_helper.from_array(np.arange(21, dtype=np.float32).reshape(7, 3), table.name))

    edited(written, change)
    loaded = rekur.onnx.load(written)
    np.testing.assert_array_equal(loaded.layers[1].get_weights()[0].ravel(), np.arange(21))


def test_tensors_and_nodes_by_other_names_are_the_same_model(written: Path) -> None:
    before = rekur.onnx.load(written)

    def change(model: onnx.ModelProto) -> None:
        kept = {v.name for v in (*model.graph.input, *model.graph.output)} | {""}
        for node in model.graph.node:
            node.name, node.doc_string = "", ""
            for names in (node.input, node.output):
                names[:] = [n if n in kept else f"t/{n}" for n in names]
        for tensor in model.graph.initializer:
            tensor.name = f"t/{tensor.name}"

    edited(written, change)
    after = rekur.onnx.load(written)
    assert after.spec == before.spec
    for a, b in zip(after.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def other_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Not").op_type = "Identity"


def other_attribute(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "TopK").attribute[0].i ^= 1


def other_constant(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "int32/0")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(1, np.int32), tensor.name))


def one_bias_of_two(model: onnx.ModelProto) -> None:
    """What is zeros in every file that export writes."""
    tensor = next(t for t in model.graph.initializer if t.name.endswith("/B"))
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[:, -1] = 1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def swapped_operands(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Where")
    node.input[1], node.input[2] = node.input[2], node.input[1]


def another_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-2].output[0]


def another_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, ["batch"]))


CHANGES = (
    other_operator, other_attribute, other_constant, one_bias_of_two, swapped_operands, another_output, another_input,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_file_is_not_what_its_metadata_says(change: Callable[[Any], None], written: Path) -> None:
    edited(written, change)
    with pytest.raises(LoadError):
        rekur.onnx.load(written)


def with_spec(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    def entry(model: onnx.ModelProto) -> None:
        (found,) = (e for e in model.metadata_props if e.key == "rekur.spec")
        spec = json.loads(found.value)
        change(spec)
        found.value = json.dumps(spec)

    edited(path, entry)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "units": lambda spec: spec["layers"][2].update(units=2**30),
    "features": lambda spec: spec["layers"][1].update(output_dim=2**40),
    "another type": lambda spec: spec["layers"][2].update(type="GRU"),
    "no type": lambda spec: spec["layers"][2].update(type=None),
    "no layers": lambda spec: spec.update(layers=[]),
    "layers that are none": lambda spec: spec.update(layers=[[]]),
    "no inputs": lambda spec: spec.pop("inputs"),
    "a ring": lambda spec: spec["layers"][1].update(inputs=[spec["layers"][2]["name"]]),
    "depth": lambda spec: spec["layers"][2].update(more=[[[[[]]]]]),
    "other order": lambda spec: spec["layers"][2].update(reverse=False),
    "no mask": lambda spec: spec["layers"][1].update(mask_zero=False),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_description_that_the_nodes_do_not_bear_out_is_not_believed(name: str, written: Path) -> None:
    with_spec(written, HOSTILE[name])
    start = time.process_time()
    with pytest.raises(LoadError):
        rekur.onnx.load(written)
    assert time.process_time() - start < 1


def test_layers_without_weights_cannot_ask_for_memory(tmp_path: Path) -> None:
    x = L.Input((None, 4))
    rekur.onnx.export(rekur.Model(x, L.LayerNormalization(scale=False, center=False)(x)), tmp_path / "m.onnx")
    with_spec(tmp_path / "m.onnx", lambda spec: spec["layers"][0].update(shape=[None, 2**40]))
    start = time.process_time()
    assert rekur.onnx.load(tmp_path / "m.onnx").input_shape[-1] == 4
    assert time.process_time() - start < 1


def test_a_description_that_makes_no_model_is_read_node_by_node(tmp_path: Path) -> None:
    x = L.Input((None, 4))
    model = rekur.Model(x, L.Dense(2, name="d")(x))
    rekur.onnx.export(model, tmp_path / "m.onnx")
    with_spec(tmp_path / "m.onnx", lambda spec: spec["layers"][1].update(kernel_initializer="no such"))
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_beside_the_file_are_read(written: Path, tmp_path: Path) -> None:
    before, apart = rekur.onnx.load(written), tmp_path / "apart" / "m.onnx"
    apart.parent.mkdir()
    onnx.save(onnx.load(written), apart, save_as_external_data=True, location="weights", size_threshold=0)
    for a, b in zip(rekur.onnx.load(apart).get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
