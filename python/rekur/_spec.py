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
