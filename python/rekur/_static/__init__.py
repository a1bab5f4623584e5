"""``export_static``: a whole model as a C++ type, for where there is neither a library nor a heap."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rekur import _core
from rekur._cpp_names import check_namespace, file_namespace
from rekur._cpp_text import engine_and_target
from rekur._files import write_atomic
from rekur._spec import Signal
from rekur._static._file import Port, header
from rekur._static._layers import LAYERS
from rekur._static._masks import write_join, write_layer
from rekur._static._writer import Floats, Layer, Writer, lines
from rekur._validate import WEIGHT_TYPE
from rekur.models import Model


@dataclass
class StaticReport:
    """What was written. ``print`` it for a table."""

    path: Path
    file_size: int
    namespace: str
    inputs: dict[str, int]  # argument of step: numbers
    outputs: dict[str, int]
    weight_count: int  # constants, some of them folded
    state_size: int  # floats that a stream of it has as states
    weight_bytes: int  # of the constants, where they lie: flash, .rodata
    weights: str = "float32"  # what the matrices are in

    def __str__(self) -> str:
        rows = [(f"input  {name}", size) for name, size in self.inputs.items()]
        rows += [(f"output {name}", size) for name, size in self.outputs.items()]
        width = max(len(name) for name, _ in rows)
        head = (
            f"{self.path}: {self.file_size:,} bytes, {self.namespace}::Model, {self.weight_count:,} constants of "
            f"{self.weight_bytes:,} bytes, {self.state_size:,} states"
            + ("" if self.weights == "float32" else f", matrices in {self.weights}")
        )
        return "\n".join([head, *(f"{name:<{width}}  [{size}]" for name, size in rows)])


def export_static(
    model: Model | str | os.PathLike[str],
    path: str | os.PathLike[str],
    namespace: str | None = None,
    *,
    weights: str = "float32",
) -> StaticReport:
    """Write a model as a C++ type that needs nothing: no library, no heap, no other file.

    ``NAMESPACE::Model`` in the header has ``step``, which takes pointers to one step's inputs and outputs, ``process``
    for several steps, ``reset``, ``get_state`` and ``set_state``. Its weights are constants; its states are all that an
    object of it holds. It is C++17, throws nothing, and needs no runtime of C++. Its numbers are those of
    ``rekur::Stream``, to the bit where it is compiled for the same instruction set. The same model gives the same
    bytes. The file appears whole or not at all; an older one is replaced.

    Parameters
    ----------
    model
        A model, or the path of one saved with ``model.save``.
    path
        The header to write; its folder must exist.
    namespace
        ``a`` or ``a::b``. By default the file's name, as far as C++ allows it: ``tone-2.hpp`` → ``tone_2``.
    weights
        ``"bf16"`` or ``"fp16"``: kernels and embeddings rounded to sixteen bits and kept so, half the bytes, but for
        a Dense of few outputs; the numbers are those of a stream of ``rekur.quantize(model, weights).model``.
        What layers of precision int8 multiply is integers with a scale a column in any case, a quarter of the bytes;
        ``"int8"`` asks that there be such.

    Raises
    ------
    TypeError
        ``model`` is neither.
    ValueError
        A layer cannot go one step at a time, or has no static form (the message names it and says why); the namespace
        cannot be one, the model has no layers yet, the path ends as a file of another format, ``weights`` is another
        word, a weight is too large for fp16 or not finite for int8, or no layer reads a matrix of eight bits.
    OSError
        The model cannot be read or is none, or the header cannot be written.
    """
    weights = WEIGHT_TYPE(weights, "export_static: weights")
    engine, target = engine_and_target(model, path, "export_static")
    for layer in json.loads(engine.spec)["layers"]:
        if layer.get("precision") == "bf16":
            raise ValueError(
                f"export_static: layer '{layer['name']}' has the precision bf16, whose products have no static form; "
                'a layer of precision float32 has, and weights="bf16" halves its bytes'
            )
    space = check_namespace(file_namespace(target.stem) if namespace is None else namespace)
    text, report = static_header(engine, space, weights)
    data = text.encode("utf-8")
    write_atomic(target, data)
    report.path, report.file_size = target, len(data)
    return report


def static_header(engine: _core.Model, namespace: str, kind: str = "float32") -> tuple[str, StaticReport]:
    """The header of an engine's model, and what is in it."""
    spec = json.loads(engine.spec)
    program: dict[str, Any] = _core.stream_program(engine)
    writer = Writer(kind)
    arrays: list[tuple[str, tuple[int | None, ...], str]] = program["arrays"]
    shapes = [tuple(int(d) if d is not None else 0 for d in shape[1:]) for _, shape, _ in arrays]
    inputs = _ports("input", [(arrays[a][0], shapes[a], arrays[a][2]) for a in program["inputs"]])
    outputs = _ports(
        "output",
        [(name, shapes[a], "float32") for (name, _, _), a in zip(engine.outputs, program["outputs"], strict=True)],
    )
    for port, array in zip(inputs, program["inputs"], strict=True):
        if port.ids:
            writer.arrays[array] = port.identifier
        else:
            writer.arrays[array] = own = writer.name("x")
            writer.line(f"alignas(64) float {own}[{lines(port.size)}] = {{}};")
            writer.line(f"copy<{port.size}>({port.identifier}, {own});")
    layers = {layer["name"]: layer for layer in spec["layers"]}
    weights, int8 = _weights(engine, kind), _int8(engine)
    for step in program["steps"]:
        if all(not arrays[a][0] for a in step["outputs"]):  # flags alone
            write_join(writer, step)
            continue
        described = layers[step["layer"]]
        own_weights, flat = weights.get(step["layer"], ({}, np.zeros(0, np.float32)))
        layer = Layer(
            described["type"],
            step["layer"],
            described,
            own_weights,
            flat,
            [writer.arrays[a] for a in step["inputs"]],
            [shapes[a] for a in step["inputs"]],
            step["outputs"],
            [shapes[a] for a in step["outputs"]],
            step["states"],
            int8.get(step["layer"], frozenset()),
        )
        if layer.type not in LAYERS:
            raise layer.refuse(f"{layer.type} has no static form; a rekur::Stream runs it")
        write_layer(writer, layer, step)
    for port, array in zip(outputs, program["outputs"], strict=True):
        writer.line(f"copy<{port.size}>({writer.arrays[array]}, {port.identifier});")
    signal = Signal.of(spec.get("signal", {}))
    text = "".join(header(str(spec.get("name", "model")), namespace, writer, inputs, outputs, signal))
    report = StaticReport(
        Path(),
        0,
        namespace,
        {port.identifier: port.size for port in inputs},
        {port.identifier: port.size for port in outputs},
        sum(values.size for values in writer.constants.values()),
        sum(state.size for state in writer.states),
        sum(values.nbytes for values in writer.constants.values()),
        kind,
    )
    return text, report


def _ports(kind: str, named: Sequence[tuple[str, tuple[int, ...], str]]) -> list[Port]:
    """``input_`` or ``output_`` before each name, so that no keyword and no macro is met."""
    ports: list[Port] = []
    for name, shape, dtype in named:
        base = identifier = f"{kind}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}".rstrip("_")
        k = 1
        while any(port.identifier == identifier for port in ports):
            k += 1
            identifier = f"{base}_{k}"
        ports.append(Port(name, identifier, int(np.prod(shape, dtype=np.int64)), dtype == "int32"))
    return ports


def _int8(engine: _core.Model) -> dict[str, frozenset[str]]:
    """By layer the names of its parameters that are of eight bits."""
    found: dict[str, set[str]] = {}
    for name in engine.int8_matrices:
        layer, _, parameter = name.partition("/")
        found.setdefault(layer, set()).add(parameter)
    return {layer: frozenset(names) for layer, names in found.items()}


def _weights(engine: _core.Model, kind: str) -> dict[str, tuple[dict[str, Floats], Floats]]:
    """By layer its parameters by name, matrices rounded to `kind`, and all of them one after the other."""
    flat = engine.get_weights() if kind == "float32" else engine.rounded_weights(kind)
    found: dict[str, dict[str, Floats]] = {}
    for name, shape, offset in engine.parameters:
        layer, _, parameter = name.partition("/")
        size = int(np.prod(shape, dtype=np.int64))
        found.setdefault(layer, {})[parameter] = flat[offset : offset + size].reshape(shape)
    return {
        layer: (parameters, np.concatenate([p.reshape(-1) for p in parameters.values()]))
        for layer, parameters in found.items()
    }
