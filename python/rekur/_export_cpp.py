"""``export_cpp``: a model as one C++ header, for devices without a file system."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._cpp_names import check_namespace, file_namespace, layer_namespace
from rekur._cpp_text import engine_and_target, filled, literal
from rekur._files import write_atomic
from rekur._spec import Signal, Spec
from rekur._validate import WEIGHT_TYPE
from rekur.models import Model

_PIECE = 4000  # characters of one string literal
_LONGEST_STRING = 65_000  # all pieces together: compilers need not take more than 65,536
_MATRICES = {"bf16": "Kernels and embeddings", "fp16": "Kernels and embeddings", "int8": "Matrices"}
_SCALED = {"bf16": "", "fp16": "", "int8": ", and the scale of each of their columns"}
_NUMBER = {"bf16": "::std::uint16_t", "fp16": "::std::uint16_t", "int8": "::std::int8_t"}
_BITS = """\
// What no literal says.
constexpr float bits(::std::uint32_t pattern) noexcept { return ::std::bit_cast<float>(pattern); }

"""
_MODEL = """\
#ifndef REKUR_WEIGHTS_ONLY
#if REKUR_THROWS
// The model, with its weights. Throws rekur::Error if the library is an older one that lacks something it is made of.
inline ::rekur::Model model() {
  ::rekur::Model result{::std::string(spec)};
  result.set_weights(ARGUMENTS);
  return result;
}
#endif
// The same without exceptions.
inline ::rekur::Result<::rekur::Model> try_model() noexcept {
  ::rekur::Result<::rekur::Model> result = ::rekur::try_model(spec);
  if (!result) return result;
  const ::rekur::Status status = ::rekur::try_set_weights(*result, ARGUMENTS);
  if (!status) return status;
  return result;
}
#endif
"""


@dataclass
class CppReport:
    """What was written. ``print`` it for a table."""

    path: Path
    file_size: int
    namespace: str
    parameters: dict[str, tuple[int, ...]]  # C++ name, without the namespace: shape
    weights: str = "float32"  # what the matrices are in

    @property
    def parameter_count(self) -> int:
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.parameters.values())

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.file_size:,} bytes, namespace {self.namespace}, {self.parameter_count:,} parameters"
            + ("" if self.weights == "float32" else f", matrices in {self.weights}")
        ]
        width = max((len(name) for name in self.parameters), default=0)
        lines += [f"{name:<{width}}  {_shape(shape)}" for name, shape in self.parameters.items()]
        return "\n".join(lines)


def export_cpp(
    model: Model | str | os.PathLike[str],
    path: str | os.PathLike[str],
    namespace: str | None = None,
    *,
    weights: str = "float32",
) -> CppReport:
    """Write a model as one C++20 header: its graph as a string, its weights as an array, exact to the bit.

    A program that includes it needs no file: ``NAMESPACE::model()`` is the model (``try_model()`` without exceptions),
    ``NAMESPACE::layer_lstm::kernel`` the kernel of its layer ``lstm``, to fill a fixed-size cell with. The header says
    how.
    The same model gives the same bytes. The file appears whole or not at all; an older one is replaced.

    Parameters
    ----------
    model
        A model, or the path of one saved with ``model.save``.
    path
        The header to write; its folder must exist.
    namespace
        ``a`` or ``a::b``. By default the file's name, as far as C++ allows it: ``tone-2.hpp`` → ``tone_2``.
    weights
        ``"bf16"`` or ``"fp16"``: kernels and embeddings rounded to sixteen bits and kept so, half the bytes;
        :func:`rekur.quantize` tells what that changes. ``"int8"``: the matrices that layers of precision int8 read as
        integers, with their scales, a quarter of the bytes; the model streams the same bits.

    Raises
    ------
    TypeError
        ``model`` is neither.
    ValueError
        The namespace cannot be one, the model has no layers yet, the path ends as a file of another format, a weight
        is too large for fp16 or not finite for int8, or no layer reads a matrix of eight bits.
    OSError
        The model cannot be read or is none, or the header cannot be written.
    """
    weights = WEIGHT_TYPE(weights, "export_cpp: weights")
    engine, target = engine_and_target(model, path, "export_cpp")
    if namespace is None:
        namespace = file_namespace(target.stem)
    space = check_namespace(namespace)
    names = _identifiers(engine)
    data = "".join(_header(engine, space, names, weights)).encode("ascii")
    write_atomic(target, data)
    shapes = {name: tuple(shape) for name, shape, _ in engine.parameters}
    parameters = {"::".join(names[name]): shape for name, shape in shapes.items()}
    return CppReport(target, len(data), space, parameters, weights)


def _header(engine: _core.Model, namespace: str, names: dict[str, list[str]], kind: str) -> Iterator[str]:
    spec = json.loads(engine.spec)
    flat, numbers, scales = _split(engine, kind)
    yield from _introduction(engine, namespace, spec.get("name", "model"))
    special = not np.isfinite(flat).all()
    integers = special or kind != "float32"
    yield "#pragma once\n\n"
    yield "#include <bit>\n" if special else ""
    yield "#include <cstddef>\n#include <cstdint>\n" if integers else "#include <cstddef>\n"
    yield "\n#ifndef REKUR_WEIGHTS_ONLY\n#include <rekur/model.hpp>\n#include <rekur/status.hpp>\n#endif\n\n"
    yield f"namespace {namespace} {{\n\n"
    yield "// The graph, as rekur's documentation of the spec has it.\ninline constexpr char spec[] ="
    yield from _spec_literals(spec)
    yield ";\n\n"
    signal = Signal.of(spec.get("signal", {}))
    yield "// Of the signal whose samples the steps are, in Hz (0: not said); samples that the output is behind.\n"
    yield f"inline constexpr double sample_rate = {signal.sample_rate or 0.0!r};\n"
    yield f"inline constexpr int latency = {signal.latency};\n\n"
    yield _BITS if special else ""
    if kind == "float32":
        yield "// All parameters, one after the other.\n"
        yield f"inline constexpr ::std::size_t weight_count = {len(flat)};\n"
    else:
        yield f"// {_MATRICES[kind]} in {kind}, one after the other{_SCALED[kind]}; then all other parameters.\n"
        yield f"inline constexpr ::std::size_t matrix_count = {len(numbers)};\n"
        yield f"alignas(64) inline constexpr {_NUMBER[kind]} matrices[] = {{"
        yield from filled(map(str, numbers)) if len(numbers) else ["0"]
        yield "};\n\n"
        if kind == "int8":
            yield f"inline constexpr ::std::size_t scale_count = {len(scales)};\n"
            yield "alignas(64) inline constexpr float scales[] = {"
            yield from filled(map(literal, scales))
            yield "};\n\n"
        yield f"inline constexpr ::std::size_t weight_count = {len(flat)};\n"
    yield "alignas(64) inline constexpr float weights[] = {"
    yield from filled(map(literal, flat)) if len(flat) else ["0"]
    yield "};\n\n"
    yield from _parameters(engine, spec, names, _rounded(engine, kind), kind)
    arguments = "{weights, weight_count}"
    if kind == "int8":
        arguments = f"{{matrices, matrix_count}}, {{scales, scale_count}}, {arguments}"
    elif kind != "float32":
        arguments = f"::rekur::WeightType::{kind}, {{matrices, matrix_count}}, {arguments}"
    yield _MODEL.replace("ARGUMENTS", arguments)
    yield f"\n}}  // namespace {namespace}\n"


def _rounded(engine: _core.Model, kind: str) -> set[str]:
    """Names of the matrices that are not written as floats."""
    return set() if kind == "float32" else set(engine.int8_matrices if kind == "int8" else engine.matrices)


def _split(engine: _core.Model, kind: str) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32]]:
    """What is written as floats, what in fewer bits, and the scales of those, in the order of the parameters."""
    none = np.empty(0, np.float32)
    if kind == "float32":
        return engine.get_weights(), np.empty(0, np.uint16), none
    flat, matrices = engine.rounded_weights(kind), _rounded(engine, kind)
    parts: tuple[list[Any], list[Any]] = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
    for name, shape, offset in engine.parameters:
        parts[name in matrices].append(flat[offset : offset + int(np.prod(shape, dtype=np.int64))])
    floats, rounded = map(np.concatenate, parts)
    if kind == "int8":
        return floats, *engine.int8_weights()
    if kind == "fp16":
        return floats, rounded.astype(np.float16).view(np.uint16), none
    return floats, (rounded.view(np.uint32) >> 16).astype(np.uint16), none


def _introduction(engine: _core.Model, namespace: str, name: str) -> Iterator[str]:
    yield f"// The model {json.dumps(name)}, written by `rekur export-cpp`. Do not edit.\n//\n"
    for kind, ports in (("input", engine.inputs), ("output", engine.outputs)):
        for port, shape, dtype in ports:
            axes = ["batch", *("time" if d is None else str(d) for d in shape[1:])]
            yield f"//   {kind:<6}  {port}: {dtype} [{', '.join(axes)}]\n"
    yield f"""//
//   #include <rekur/stream.hpp>
//
//   const rekur::Model model = {namespace}::model();  // for predict, for streams; not const: for a trainer
//   rekur::Stream stream(model);
//   stream.step(x, y);
//
// Without exceptions: {namespace}::try_model() and rekur::try_stream. With REKUR_WEIGHTS_ONLY defined before the
// include there are the numbers alone, which need nothing of rekur: for the fixed-size cells of <rekur/static.hpp>.
"""


def _spec_literals(spec: Spec) -> Iterator[str]:
    """Adjacent string literals, a layer a line, that together are the spec; numbers where they would be too long."""
    head, tail = dict(spec), {key: spec[key] for key in ("inputs", "outputs")}
    for key in ("layers", *tail):
        del head[key]
    calls = head.pop("calls", None)
    lines = [json.dumps(head)[:-1] + ', "layers": [']
    lines += [json.dumps(layer) + ", " for layer in spec["layers"]]
    lines[-1] = lines[-1].removesuffix(", ") + "], "
    if calls is not None:
        lines += ['"calls": [', *(json.dumps(call) + ", " for call in calls)]
        lines[-1] = lines[-1].removesuffix(", ") + "], "
    lines.append(json.dumps(tail)[1:])
    text = "".join(lines)
    assert json.loads(text) == spec
    if len(text) > _LONGEST_STRING:
        yield " {"
        yield from filled(map(str, (text + "\0").encode("ascii")))
        yield "}"
        return
    delimiter = "json"
    while f'){delimiter}"' in text:
        delimiter += "_"
    for line in lines:
        for start in range(0, len(line), _PIECE):
            yield f'\n    R"{delimiter}({line[start : start + _PIECE]}){delimiter}"'


def _identifiers(engine: _core.Model) -> dict[str, list[str]]:
    """By parameter its C++ name in parts: ``["layer_lstm", "kernel"]``, ``["layer_both", "forward", "kernel"]``."""
    layers: dict[str, str] = {}
    result = {}
    for name, _, _ in engine.parameters:
        layer, *rest = name.split("/")
        if layer not in layers:
            layers[layer] = layer_namespace(layer, set(layers.values()))
        result[name] = [layers[layer], *rest]
    return result


def _parameters(
    engine: _core.Model, spec: Spec, names: dict[str, list[str]], rounded: set[str], type: str
) -> Iterator[str]:
    """A namespace a layer (and direction), with its parameters and, where it has a kernel, its sizes."""
    places: dict[str, int] = {}
    ends = [0, 0]  # of floats, of what is in fewer bits
    scales = 0
    for name, shape, _ in engine.parameters:
        places[name] = ends[name in rounded]
        ends[name in rounded] += int(np.prod(shape, dtype=np.int64))
    layers = {layer["name"]: layer for layer in spec["layers"]}
    groups: dict[str, list[tuple[str, tuple[int, ...], int]]] = {}
    for parameter in engine.parameters:
        groups.setdefault(parameter[0].rpartition("/")[0], []).append(parameter)
    for group, parameters in groups.items():
        layer = layers[group.partition("/")[0]]
        space = "::".join(names[parameters[0][0]][:-1])
        yield f"// {layer['type']} '{group}'\nnamespace {space} {{\n"
        yield from _sizes(_owner(layer, group), dict((name, shape) for name, shape, _ in parameters), group)
        for name, shape, _ in parameters:
            own = names[name][-1]
            kind, array = (_NUMBER[type], "matrices") if name in rounded else ("float", "weights")
            yield f"inline constexpr const {kind}* {own} = {array} + {places[name]};  // {_shape(shape)}\n"
            yield f"inline constexpr ::std::size_t {own}_size = {int(np.prod(shape, dtype=np.int64))};\n"
            if type == "int8" and name in rounded:
                yield f"inline constexpr const float* {own}_scales = scales + {scales};  // [{shape[-1]}]\n"
                scales += shape[-1]
        yield f"}}  // namespace {space}\n\n"


def _owner(layer: Spec, group: str) -> Spec:
    """The layer whose parameters these are: the one inside a Bidirectional, or one of a loop's body."""
    for part in group.split("/")[1:]:
        if "body" in layer:
            layer = next(inner for inner in layer["body"]["layers"] if inner["name"] == part)
    return layer.get("layer", layer)  # type: ignore[no-any-return]


def _sizes(layer: dict[str, Any], shapes: dict[str, tuple[int, ...]], group: str) -> Iterator[str]:
    if f"{group}/kernel" in shapes and "units" in layer:
        yield f"inline constexpr int features = {shapes[f'{group}/kernel'][0]};\n"
        yield f"inline constexpr int units = {layer['units']};\n"


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
