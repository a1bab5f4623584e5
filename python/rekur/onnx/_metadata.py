"""What a file says of itself: the keys we write into ``metadata_props``, their checks, and how they are read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._model_files import instead_of_onnx
from rekur._spec import Signal
from rekur._validate import as_numeric, as_path
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Interface
from rekur.onnx._plan import Plan, describe
from rekur.onnx._states import STATES_KEY, States

SPEC_KEY = "rekur.spec"
LENGTHS_KEY = "rekur.lengths"  # {lengths input: [inputs it belongs to]}
MASKS_KEY = "rekur.masks"  # {mask input: [inputs it belongs to]}
CLASSES_KEY = "rekur.class_names"  # [name, …]
SCALING_KEY = "rekur.scaling"  # {input: {"mean": [F numbers], "std": [F numbers]}}
SAMPLE_RATE_KEY = "rekur.sample_rate"  # of the signal whose samples the steps are, in Hz
LATENCY_KEY = "rekur.latency"  # by how many of them the output is behind
TOKENIZER_KEY = "rekur.tokenizer"  # what makes the ids of text: {"one": …} or {"several": {name: …}}
QUANTIZED_KEY = "rekur.quantized"  # {"int8": [node, …], "weights": [node, …], "float": {node: reason}}
PREFIX = "rekur."


@dataclass(frozen=True)
class Scaling:
    """How an input was scaled in training: the file wants ``(x - mean) / std``. Both are float64 arrays (F,)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def apply(self, x: Any) -> NDArray[np.float32]:
        """(x − mean) / std over the last axis, float32."""
        return np.asarray((as_numeric(x, "x") - self.mean) / self.std, np.float32)


@dataclass(frozen=True)
class Metadata:
    """What an ONNX file says of itself. Of files not written by rekur, the general fields."""

    producer: str
    version: str
    doc: str
    opset: int
    ir_version: int
    inputs: Interface  # (name, dtype, shape with symbols)
    outputs: Interface
    class_names: list[str] | None = None
    scaling: dict[str, Scaling] = field(default_factory=dict)  # by input
    lengths: dict[str, list[str]] = field(default_factory=dict)  # {lengths input: [inputs it belongs to]}
    masks: dict[str, list[str]] = field(default_factory=dict)  # {mask input: [inputs it belongs to]}
    states: States | None = None  # None: the file has no states of its own
    quantized: dict[str, Any] | None = None
    tokenizer: Any = None  # the model's: TextVectorization, or a dict of them; it makes the ids that the file takes
    sample_rate: float | None = None  # of the signal whose samples the steps are, in Hz
    latency: int = 0  # by how many samples the output is behind
    spec: dict[str, Any] | None = None  # of the model; None also where it was too long for the file
    extra: dict[str, str] = field(default_factory=dict)  # what ``metadata=`` gave


def metadata(path: str | os.PathLike[str]) -> Metadata:
    """What an ONNX file says of itself: who wrote it, its interface, class names, input scaling, states.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no ONNX model, or one of its ``rekur.`` entries does not hold what :func:`export` writes there.
    """
    import onnx

    path = as_path(path, "metadata")
    with open(path, "rb") as file:
        data = file.read()
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which is not ours to name
        raise ValueError(f"{path}: not an ONNX model: {error}{instead_of_onnx(data)}") from error
    if not proto.HasField("graph"):
        raise ValueError(f"{path}: not an ONNX model{instead_of_onnx(data)}")
    try:
        return describe_file(proto)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def describe_file(proto: Any) -> Metadata:
    """The metadata of an ``onnx.ModelProto``."""
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    initial = {array.name for array in proto.graph.initializer}
    opsets = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    classes = _read(texts, CLASSES_KEY, list)
    scaling = _read(texts, SCALING_KEY, dict) or {}
    lengths, masks = ((_read(texts, key, dict) or {}) for key in (LENGTHS_KEY, MASKS_KEY))
    if classes is not None and not all(isinstance(name, str) for name in classes):
        raise ValueError(f"metadata '{CLASSES_KEY}' is not valid: expected a list of texts")
    for key, named in ((LENGTHS_KEY, lengths), (MASKS_KEY, masks)):
        if not all(isinstance(owners, list) and owners for owners in named.values()):
            raise ValueError(f"metadata '{key}' is not valid: expected a list of inputs for each input that it names")
    return Metadata(
        producer=proto.producer_name,
        version=proto.producer_version,
        doc=proto.doc_string,
        opset=max(opsets, default=0),
        ir_version=proto.ir_version,
        inputs=[_value(value) for value in proto.graph.input if value.name not in initial],
        outputs=[_value(value) for value in proto.graph.output],
        class_names=classes,
        scaling={name: _scaling(name, entry) for name, entry in scaling.items()},
        lengths=lengths,
        masks=masks,
        states=States.from_json(texts[STATES_KEY]) if STATES_KEY in texts else None,
        quantized=_read(texts, QUANTIZED_KEY, dict),
        tokenizer=tokenizer_of(texts),
        **signal_of(texts)._asdict(),
        spec=_read(texts, SPEC_KEY, dict),
        extra={key: text for key, text in texts.items() if not key.startswith(PREFIX)},
    )


def signal_of(texts: Mapping[str, str]) -> Signal:
    """What the file says of the signal that it is for."""
    said: dict[str, Any] = {}
    for name, key, kind in (("sample_rate", SAMPLE_RATE_KEY, (int, float)), ("latency", LATENCY_KEY, (int,))):
        if (value := _read(texts, key, kind)) is not None:
            said[name] = value
    try:
        return Signal.of(said)
    except (ValueError, TypeError) as error:
        raise ValueError(f"metadata '{PREFIX}{error}") from None


def signal_entries(said: Mapping[str, Any]) -> dict[str, str]:
    """What of a spec's signal an exported file says."""
    keys = {"sample_rate": SAMPLE_RATE_KEY, "latency": LATENCY_KEY}
    return {keys[name]: json.dumps(value) for name, value in said.items()}


def tokenizer_of(texts: Mapping[str, str]) -> Any:
    """What makes the ids of text, or None if the file says nothing of it."""
    description = _read(texts, TOKENIZER_KEY, dict)
    if description is None:
        return None
    from rekur.data.text import revived

    try:
        return revived(description)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"metadata '{TOKENIZER_KEY}' is not valid: {error!r}") from None


def _read(texts: Mapping[str, str], key: str, kind: type | tuple[type, ...]) -> Any:
    """The JSON under a key, or None if there is none."""
    if key not in texts:
        return None
    try:
        value = json.loads(texts[key])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"metadata '{key}' is not valid: {error}") from None
    if not isinstance(value, kind):
        expected = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"metadata '{key}' is not valid: expected a {expected}, got a {type(value).__name__}")
    return value


def _scaling(name: str, entry: Any) -> Scaling:
    try:
        mean, std = (np.array(entry[key], np.float64) for key in ("mean", "std"))
        if mean.ndim != 1 or mean.shape != std.shape:
            raise ValueError(f"mean of shape {mean.shape} with std of shape {std.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"metadata '{SCALING_KEY}' is not valid for input '{name}': {error!r}") from None
    return Scaling(mean, std)


def _value(value: Any) -> tuple[str, str, tuple[int | str, ...]]:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type":
        return value.name, str(value.type.WhichOneof("value") or "unknown"), ()
    kind = TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
    return value.name, {"float": "float32", "double": "float64"}.get(kind, kind), shape


def general_entries(given: Mapping[str, str]) -> dict[str, str]:
    """The ``metadata=`` of an export, checked."""
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ExportError(f"metadata must be text to text, got {key!r}: {value!r}")
        if key.startswith(PREFIX):
            raise ExportError(f"metadata key '{key}': keys beginning with '{PREFIX}' are taken")
    return dict(given)


def class_entry(names: Sequence[str], outputs: Interface) -> str:
    """The JSON of class names, checked against the model's outputs: one of them must have that many features.

    Two names also go with an output of one feature, the probability of the second.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ExportError(f"class_names must be a sequence of texts, got {names!r}")
    if len(set(names)) < len(names):
        raise ExportError(f"class_names must differ, got {list(names)!r}")
    sizes = {name: shape[-1] for name, _, shape in outputs if len(shape) > 1}
    if len(names) not in sizes.values() and not (len(names) == 2 and 1 in sizes.values()):
        shown = ", ".join(f"'{name}' has {size}" for name, size in sizes.items()) or "the outputs have none"
        raise ExportError(f"class_names: {len(names)} names, but no output has so many features ({shown})")
    return json.dumps(list(names), ensure_ascii=False)


def scaling_entry(given: Mapping[str, Any], plan: Plan) -> str:
    """The JSON of input scaling, checked against the model's inputs."""
    result: dict[str, dict[str, list[float]]] = {}
    for name, pair in given.items():
        if name not in plan.inputs:
            raise ExportError(f"input_scaling: the model has no input '{name}'; it has {plan.inputs}")
        layer = plan.layers[name]
        if layer.get("dtype", "float32") != "float32":
            raise ExportError(f"input_scaling: {describe(layer)} holds ids, which have no scale")
        features = layer["shape"][-1]
        try:
            given_mean, given_std = pair
        except (TypeError, ValueError):
            raise ExportError(f"input_scaling: '{name}': expected (mean, std), got {pair!r}") from None
        try:
            mean, std = (np.asarray(as_numeric(v, "a value"), np.float64) for v in (given_mean, given_std))
        except (TypeError, ValueError) as error:
            raise ExportError(f"input_scaling: '{name}': expected (mean, std): {error}") from None
        for what, array in (("mean", mean), ("std", std)):
            if array.shape not in ((), (features,)):
                raise ExportError(
                    f"input_scaling: '{name}': expected {what} to be a number or of shape ({features},), "
                    f"got shape {array.shape}"
                )
            if not np.isfinite(array).all():
                raise ExportError(f"input_scaling: '{name}': {what} is not finite")
        if not (std > 0).all():
            raise ExportError(f"input_scaling: '{name}': std must be positive")
        result[name] = {
            "mean": np.broadcast_to(mean, features).tolist(),
            "std": np.broadcast_to(std, features).tolist(),
        }
    return json.dumps(result)
