"""``load``, and what the backend needs besides: how the file's inputs and outputs lie in the model's."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import as_path, check_data, one_of
from rekur.onnx._errors import LoadError
from rekur.onnx._import.finish import Finished, finish
from rekur.onnx._import.int8 import narrowed, widen
from rekur.onnx._import.known import DTYPES
from rekur.onnx._import.part import Shape, flattened, part_of, sized
from rekur.onnx._import.read import check_envelope, read_model
from rekur.onnx._import.values import Refused
from rekur.onnx._import.walk import branches, walk
from rekur.onnx._import.whole import whole
from rekur.onnx._int8 import floating
from rekur.onnx._metadata import signal_of, tokenizer_of

if TYPE_CHECKING:
    from rekur.models import Model


_FLOAT32 = one_of("float32")


@dataclass(frozen=True)
class Loaded:
    model: Model
    finished: Finished


def load(
    path: str | os.PathLike[str],
    *,
    inputs: Iterable[str] | Mapping[str, Shape | None] | None = None,
    outputs: Iterable[str] | None = None,
    bind: Mapping[str, Any] | None = None,
    sizes: Mapping[Any, int] | None = None,
    constants: Mapping[str, Any] | None = None,
    precision: str | None = None,
    seed: int | None = None,
) -> Model:
    """A trainable model of an ONNX file: of any exporter, as far as layers here compute what its nodes do.

    A file that :func:`export` wrote and nobody changed gives the model that was exported, whatever its layers; files of
    one step (``streaming=True``), with states as inputs and outputs and with weights of eight bits are read node by
    node, and weights that only ``add_loss`` reads are in no file.
    Of others, RNN, LSTM and GRU nodes with every attribute become recurrent layers, what exporters write around them
    (Gemm, Transpose, Reshape, Shape, …) becomes layers or nothing at all; docs/onnx.md has the table. Weights become
    parameters, to be trained further with ``compile`` and ``fit``.

    Where the file has a layer's weights as integers of eight bits (DequantizeLinear, or Cast and Mul, before the node;
    DynamicQuantizeLSTM; MatMulInteger of a DynamicQuantizeLinear), with a scale a column or one for all, the layer gets
    ``precision="int8"``.

    The model is batch-first, whatever the file is: an input that is ``(T, B, F)`` in the file is ``(B, T, F)`` here,
    and outputs likewise. An input of rows' lengths becomes the ``lengths=`` of ``predict``, ``fit`` and ``evaluate``.
    Inputs and outputs keep the file's names, with ``_`` for characters that a name cannot have; one that holds several
    states ``(directions, B, H)`` becomes as many of ``(B, H)``: ``h0_0``, ``h0_1``, …. Layers are named after the
    file's nodes. What makes ids of text, where the file says it, is ``model.tokenizer``.

    Parameters
    ----------
    path
        The file, of opset 7 or newer. External data is read from the file's own folder only, through no link.
    inputs, outputs
        Names of tensors anywhere in the file: the model begins and ends there instead of at the file's own inputs and
        outputs. A mapping of ``inputs`` gives shapes, None for an axis of any size, of tensors whose shape the file
        does not tell: ``inputs={"features": (None, None, 80)}``.
    bind
        Inputs that are no inputs of the model but have this value once and for all, by their names in the file:
        ``{"sr": 16000}`` of a model that chooses a branch by the sampling rate. What depends on it alone is computed
        while loading. Anything that ``numpy.asarray`` takes, of the shape that the file says; it is converted to the
        file's element type.
    sizes
        Axes of inputs that have this size from here on, by their symbols in the file, ``{"sequence": 576}``, or, where
        they have none, by input and axis: ``{("x", 1): 576}``.
    constants
        An older name of ``bind``.
    precision
        ``"float32"``: all layers compute in float32, with the weights that integers of the file stand for. None: those
        whose weights are integers of eight bits there are of eight bits.
    seed
        Of dropout and the order of the rows in training; see :class:`rekur.Model`.

    Raises
    ------
    LoadError
        The file is damaged, or a node does what no layer can; the message names it. A ``ValueError``.
    ValueError
        A name in ``bind`` is no input of the file, or its value does not fit; ``inputs`` or ``outputs`` name no tensor,
        or not all that is needed; no input has an axis of ``sizes``; ``precision`` is something else.
    TypeError
        A value in ``bind`` is no array; ``inputs`` or ``outputs`` are no names.
    OSError
        The file cannot be read.
    """
    source = Path(as_path(path, "load"))
    if precision is not None:
        _FLOAT32(precision, "load: precision")
    if bind is not None and constants is not None:
        raise ValueError("load: bind and constants are two names of one thing; give one of them")
    bind = bind if bind is not None else constants
    check_mappings(bind, sizes)
    narrow = precision is None
    widened = widen(read_model(source), source.parent)
    proto = widened.proto
    part = inputs is not None or outputs is not None
    bind = dict(bind or {})
    if part:
        proto, bind = _part(proto, source, inputs, outputs, bind, sizes or {})
    elif sizes:
        proto = sized(proto, sizes)
    model = None
    if not bind and not part and not sizes and (found := whole(proto, source.parent)) is not None:
        spec, weights = found
        with suppress(ValueError):  # what its nodes bear out, but makes no model, is read node by node
            model = _model(spec if narrow else floating(spec), weights, seed)
    if model is None:
        scales = widened.scales if narrow else set()
        model = build(proto, source.parent, constants_of(proto, bind), seed, scales).model
    try:
        texts = {entry.key: entry.value for entry in proto.metadata_props}
        model.tokenizer = tokenizer_of(texts)
        model._set_signal(signal_of(texts))
    except ValueError as error:
        raise LoadError(f"{source}: {error}") from None
    return model


def check_mappings(bind: Any, sizes: Any) -> None:
    for word, given, what in (("bind", bind, "inputs and their values"), ("sizes", sizes, "axes and their sizes")):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"load: {word}: expected a dict of {what}, got {given!r:.80}")


def _part(
    proto: Any,
    source: Path,
    inputs: Iterable[str] | Mapping[str, Shape | None] | None,
    outputs: Iterable[str] | None,
    bind: Mapping[str, Any],
    sizes: Mapping[Any, int],
) -> tuple[Any, dict[str, Any]]:
    """The part of the file, and what is bound in it; sizes may be of the file's own inputs or of those chosen."""
    own = {key: size for key, size in sizes.items() if not isinstance(key, tuple) or key[0] in _inputs(proto)}
    proto = sized(proto, own)
    stored = {tensor.name for tensor in proto.graph.initializer}
    known = {name: value for name, value in bind.items() if name in _inputs(proto) - stored}
    if known:
        proto = flattened(proto, branches(proto, source.parent, constants_of(proto, known)))
    proto = part_of(proto, inputs, outputs, bind)
    left = {name: value for name, value in bind.items() if name not in known or name in _inputs(proto)}
    return sized(proto, {key: size for key, size in sizes.items() if key not in own}), left


def _inputs(proto: Any) -> set[str]:
    return {value.name for value in proto.graph.input}


def _model(spec: Mapping[str, Any], weights: Mapping[str, NDArray[np.float32]], seed: int | None) -> Model:
    from rekur import _core
    from rekur._spec import dumps
    from rekur.models import Model

    model = Model._of_core(_core.Model(dumps(dict(spec))), seed)
    model._assign(weights)
    return model


def constants_of(proto: Any, bind: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The constants as the file's inputs have them."""
    inputs = {value.name: value.type.tensor_type for value in proto.graph.input}
    stored = {tensor.name for tensor in proto.graph.initializer}
    result: dict[str, NDArray[Any]] = {}
    for name, value in bind.items():
        if name not in inputs or name in stored:
            known = [given for given in inputs if given not in stored]
            raise ValueError(f"bind: the file has no input {name!r}; it has {known}")
        dtype = DTYPES.get(inputs[name].elem_type)
        if dtype is None:
            raise ValueError(f"bind: input '{name}' has elements of type {inputs[name].elem_type}, not understood")
        check_data(value, f"bind: input '{name}'")
        try:
            given = np.asarray(value)
            array = given.astype(dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"bind: input '{name}': {error}") from None
        if np.dtype(dtype).kind in "iub" and (given.dtype.kind not in "iubf" or (array != given).any()):
            raise ValueError(f"bind: input '{name}' is of {np.dtype(dtype)}, which {value!r} does not fit")
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in inputs[name].shape.dim]
        fits = len(sizes) == array.ndim and all(n in (None, m) for n, m in zip(sizes, array.shape, strict=True))
        if inputs[name].HasField("shape") and not fits:
            shown = ", ".join("?" if size is None else str(size) for size in sizes)
            raise ValueError(f"bind: input '{name}' has shape ({shown}), got shape {array.shape}")
        result[name] = array
    return result


def build(
    proto: Any,
    folder: Path | None,
    bound: Mapping[str, NDArray[Any]] | None = None,
    seed: int | None = None,
    scales: Collection[float] = (),
) -> Loaded:
    """bound: inputs of the graph that are constants this time; scales: of weights that were integers."""
    from rekur import _core
    from rekur._spec import dumps
    from rekur.models import Model

    check_envelope(proto, "the model")
    try:
        finished = finish(walk(proto, folder, bound or {}), proto.graph.name)
        spec, weights = narrowed(finished.spec, finished.weights, scales)
        finished = replace(finished, spec=spec, weights=weights)
        core = _core.Model(dumps(finished.spec))
        model = Model._of_core(core, seed)
        flat = core.get_weights()
    except LoadError:
        raise
    except (Refused, ValueError) as error:
        raise LoadError(f"the file's layers do not make a model: {error}") from None
    expected = {name for name, _, _ in core.parameters}
    if expected != set(finished.weights):
        raise LoadError(f"the file's weights do not make a model: {sorted(expected ^ set(finished.weights))}")
    for name, shape, offset in core.parameters:
        array = finished.weights[name]
        if array.shape != tuple(shape):
            raise LoadError(f"parameter '{name}': expected shape {tuple(shape)}, the file has {array.shape}")
        flat[offset : offset + array.size] = np.ravel(array)
    core.set_weights(flat)
    return Loaded(model, finished)
