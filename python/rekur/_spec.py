"""The spec: the JSON that describes a model (docs/spec.md), as Python writes and reads it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from rekur._validate import integer, real

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
    signal: Mapping[str, Any] | None = None,
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
        **({"signal": dict(signal)} if signal else {}),
    }


class Signal(NamedTuple):
    """What the steps of a model are, where they are samples of a signal."""

    sample_rate: float | None = None
    latency: int = 0

    def said(self) -> dict[str, Any]:
        """As a spec and a configuration say it: what is not as it is by default."""
        return {
            **({} if self.sample_rate is None else {"sample_rate": self.sample_rate}),
            **({"latency": self.latency} if self.latency else {}),
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Signal":
        """Of what :meth:`said` gave, which may stand among other keys.

        Raises
        ------
        ValueError, TypeError
            For what is no rate and no latency.
        """
        return cls(sample_rate(said.get("sample_rate"), "sample_rate"), latency(said.get("latency", 0), "latency"))


def sample_rate(value: object, what: str) -> float | None:
    """A rate in Hz, or None."""
    if value is None:
        return None
    rate = real(value, what)
    if not 0 < rate < float("inf"):
        raise ValueError(f"{what}: expected None or a finite number of Hz above 0, got {value!r}")
    return rate


def latency(value: object, what: str) -> int:
    """A number of samples."""
    samples = integer(value, what, 0)
    if samples >= 2**31:
        raise ValueError(f"{what}: expected at most {2**31 - 1} samples, got {samples}")
    return samples


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
