"""Recurrent layers with options as layers that ONNX can say.

What acts in training alone is left out. Where options change what a step computes, the layer becomes an RNN layer of a
cell with the options in its equations, written by the engine; biases that follow a norm become weights of the cell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur import _core
from rekur._spec import nodes
from rekur.onnx._plan import Layer, recurrent_core

_OPTIONS = ("zoneout", "layer_normalization", "state_clip", "projection_size")  # what changes a step in inference
_KEPT = (
    *("units", "return_sequences", "return_state", "reverse", "residual", "learn_initial_state", "projection_size"),
    "zero_output_for_mask",
)


def plain(spec: Mapping[str, Any], weights: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The same model without options of cells and without shared layers: its spec, and its parameters by name."""
    spec, arrays = _unshared(spec, weights)
    layers = []
    for layer in spec["layers"]:
        core = recurrent_core(layer)
        cell = _cell(core) if core is not None else None
        if core is None or cell is None:
            layers.append(layer)
            continue
        found = {"type": "RNN", "cell": cell, **{key: core[key] for key in _KEPT if key in core}}
        found["use_bias"] = core.get("use_bias", True) and core.get("layer_normalization", "state") == "state"
        both = layer["type"] == "Bidirectional"
        for direction in ("forward/", "backward/") if both else ("",):
            _rename(arrays, f"{layer['name']}/{direction}", found)
        layers.append(
            {**layer, "layer": found} if both else {**found, "name": layer["name"], "inputs": layer["inputs"]}
        )
    return {**spec, "layers": layers}, arrays


def _unshared(spec: Mapping[str, Any], weights: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """A layer for every call, each with its parameters; ``twins`` says which has the same as which one before it."""
    arrays = dict(weights)
    if spec["version"] == 1:
        return spec, arrays
    layers, twins = [], {}
    first: dict[str, str] = {}
    for node in nodes(spec):
        name, owner = node["name"], node.pop("owner")
        layers.append(node)
        if first.setdefault(owner, name) != name:
            twins[name] = first[owner]
        if name != owner:
            own = {p: array for p, array in weights.items() if p.startswith(f"{owner}/")}
            arrays.update({name + p.removeprefix(owner): array for p, array in own.items()})
    plain_spec = {key: value for key, value in spec.items() if key != "calls"}
    return {**plain_spec, "version": 1, "layers": layers, "twins": twins}, arrays


def _cell(core: Layer) -> Any:
    if not any(key in core for key in _OPTIONS):  # and what the engine would not take has an error of its own later
        return None
    text = _core.inference_cell(json.dumps({k: v for k, v in core.items() if k not in ("name", "inputs")}))
    return _with_matrices(json.loads(text), core) if text else None


def _with_matrices(cell: dict[str, Any], core: Layer) -> dict[str, Any]:
    """The cell with the matrices and heads that it had before the options: products stay in their order."""
    before = core["cell"] if core["type"] == "RNN" else {}
    for product, original in zip(cell["recurrent"], before.get("recurrent", ()), strict=False):
        product += original[2:]
    names = [weight["name"] for key in ("weights", "matrices") for weight in before.get(key, ())]
    fixed = [name for name in before.get("fixed", ()) if name in ("kernel", "recurrent_kernel", *names)]
    kept = {key: before[key] for key in ("matrices", "heads") if key in before}
    return {**cell, **kept, **({"fixed": fixed} if fixed else {})}


def _rename(arrays: dict[str, Any], prefix: str, layer: Layer) -> None:
    """A direction's parameters under the names that they have in the RNN layer.

    They stand one after another in both; those after the kernels are rows of as many numbers as there are units, up to
    learned initial states, whose names stay.
    """
    cell, units = layer["cell"], layer["units"]
    alike = {"kernel", "recurrent_kernel", "projection_kernel"}
    alike |= {matrix["name"] for matrix in cell.get("matrices", ())}
    if layer.get("learn_initial_state", False):
        alike |= {f"initial_{state}" for state in cell["states"]}
    own = [name for name in arrays if name.startswith(prefix)]
    rest = [arrays.pop(name) for name in own if name[len(prefix) :] not in alike]
    rows = np.concatenate([np.asarray(array, np.float32).reshape(-1, units) for array in rest]) if rest else None
    names = []
    if layer["use_bias"]:
        names += [("bias", len(cell["kernel"]))] if cell["kernel"] else []
        names += [("recurrent_bias", len(cell["recurrent"]))] if cell.get("recurrent_bias", False) else []
    names += [(weight["name"], 1) for weight in cell.get("weights", ())]
    for name, count in names:
        assert rows is not None
        arrays[prefix + name], rows = rows[:count].reshape(-1), rows[count:]
