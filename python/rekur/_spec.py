"""The spec: the JSON that describes a model (docs/spec.md), as Python writes and reads it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]

FORMAT = "rekur"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
MATRIX = ("GatedLinearAttention", "MLSTM", "SelectiveSSM")  # the types whose state is a matrix
ATTENTION = ("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention")
POSITIONS = ("PositionEmbedding", "SinePositionEncoding", "RotaryEmbedding")
RECURRENT = ("SimpleRNN", "LSTM", "GRU", "RNN", *MATRIX)


def dumps(value: object) -> str:
    """Strict JSON: NaN and infinities are refused."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def check_name(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what}: a name is a string, got {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what}: a name holds letters, digits, '_', '.' and '-' only, got {name!r}")
    return name


def snake_case(name: str) -> str:
    """``SimpleRNN`` → ``simple_rnn``, ``Conv1DTranspose`` → ``conv1d_transpose``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def unique_name(base: str, taken: Mapping[str, object]) -> str:
    """``lstm``, ``lstm_1``, ``lstm_2``, …: the first that is free."""
    name, k = base, 0
    while name in taken:
        k += 1
        name = f"{base}_{k}"
    return name


def model_spec(
    name: str,
    layers: Sequence[Spec],
    inputs: Sequence[str],
    outputs: Sequence[str],
    calls: Sequence[Spec] | None = None,
) -> Spec:
    """Of version 2 where there are calls apart, else of version 1, whose layers have their inputs with them."""
    return {
        "format": FORMAT,
        "version": 1 if calls is None else 2,
        "name": name,
        "layers": list(layers),
        **({} if calls is None else {"calls": list(calls)}),
        "inputs": list(inputs),
        "outputs": list(outputs),
    }


def nodes(spec: Mapping[str, Any]) -> list[Spec]:
    """The inputs and calls of a spec of any version, in topological order.

    Each is its layer's object under the name of its outputs, with ``inputs``, and ``owner``, the layer's name, which
    its weights go by.
    """
    if spec["version"] == 1:
        return [{**layer, "owner": layer["name"]} for layer in spec["layers"]]
    layers = {layer["name"]: layer for layer in spec["layers"]}
    found = [{**layer, "owner": name} for name, layer in layers.items() if layer["type"] == "Input"]
    for call in spec["calls"]:
        name = call.get("name", call["layer"])
        found.append({**layers[call["layer"]], "name": name, "inputs": call["inputs"], "owner": call["layer"]})
    return found


def reference(layer: str, output: int) -> str:
    return f"{layer}:{output}" if output else layer


def split_reference(ref: str) -> tuple[str, int]:
    layer, _, output = ref.partition(":")
    return layer, int(output or 0)


def time_sources(spec: Spec) -> list[int | None]:
    """For each output of the model, the input its time axis comes from; None where it has no time axis."""
    sources: dict[tuple[str, int], int | None] = {}
    for layer in nodes(spec):
        kind, name = layer["type"], layer["name"]
        if kind == "Input":
            features = 0 if layer.get("dtype", "float32") == "int32" else 1
            has_time = len(layer["shape"]) == features + 1
            sources[name, 0] = spec["inputs"].index(name) if has_time and name in spec["inputs"] else None
            continue
        arriving = [sources.get(split_reference(ref)) for ref in layer["inputs"]]
        cell = layer.get("layer", {}) if kind == "Bidirectional" else layer
        if kind in RECURRENT or kind == "Bidirectional":
            sources[name, 0] = arriving[0] if cell.get("return_sequences", False) else None
        elif kind == "Step" or (kind == "Concatenate" and layer.get("axis", -1) == 1):
            sources[name, 0] = None  # gone, or an axis of its own
        elif kind == "Dot":
            sources[name, 0] = arriving[0] if layer["axes"][0] == 2 and arriving[1] is not None else None
        else:
            outputs = len(layer["equations"]["outputs"]) if kind == "Lambda" else 1
            for k in range(outputs):
                sources[name, k] = next((s for s in arriving if s is not None), None)
    return [sources.get(split_reference(ref)) for ref in spec["outputs"]]
