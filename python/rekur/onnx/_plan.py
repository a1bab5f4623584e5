"""What the exporter knows of a spec before it emits the first node: references, live layers, time axes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rekur._spec import ATTENTION, RECURRENT, nodes
from rekur.onnx._axes import BATCH, AxisTable, Ref, TimeAxis, parse_ref, rows_of
from rekur.onnx._errors import ExportError

Layer = Mapping[str, Any]


MEAN, MOST = "GlobalAveragePooling1D", "GlobalMaxPooling1D"
IMAGES = ("ConvLSTM1D", "ConvLSTM2D")  # recurrent layers whose states are images
CONVOLUTIONS = ("Conv1D", "DepthwiseConv1D", "Conv1DTranspose")
RESHAPING = ("Flatten", "Reshape", "Permute")
# of several steps each: what they have of those past a row's length are zeros
POOLING, RESAMPLING = ("MaxPooling1D", "AveragePooling1D"), ("UpSampling1D", "Cropping1D", "ZeroPadding1D", "Padding1D")
WINDOWED = (*CONVOLUTIONS, *POOLING, *RESAMPLING, *RESHAPING)
# the types that treat a row by its length
READ_LENGTHS = (
    *RECURRENT,
    "Bidirectional",
    *IMAGES,
    *WINDOWED,
    "Step",
    "Flip",
    "Dot",
    MEAN,
    MOST,
    "CRF",
    "Loop",
    *ATTENTION,
)
READ_MASKS = (*RECURRENT, "Bidirectional", *IMAGES, MEAN, "CRF", "Loop", *ATTENTION)  # … by its mask


def steps_to_pad(layer: Layer) -> int:
    """The fewest steps that runtimes pad by steps of the sequence itself; 0: any number."""
    most = max(layer["padding"])
    return most + (layer["mode"] == "reflect") if layer.get("mode") in ("reflect", "wrap") and most else 0


def describe(layer: Layer) -> str:
    """``LSTM 'lstm_1'``: how every message names a layer."""
    return f"{layer['type']} '{layer['name']}'"


def recurrent_core(layer: Layer) -> Layer | None:
    """The object with units and options of a recurrent layer (Bidirectional: of the layer it wraps), else None."""
    if layer["type"] == "Bidirectional":
        core: Layer = layer["layer"]
        return core
    return layer if layer["type"] in RECURRENT else None


def sequences_of(layer: Layer) -> int:
    """How many inputs of a recurrent layer are sequences, the first ones; the others are initial states."""
    core = recurrent_core(layer)
    if core is None:  # a ConvLSTM, or a layer that has sequences only
        return 1 if layer["type"] in IMAGES else len(layer["inputs"])
    return 1 + (len(core["cell"].get("step_inputs", ())) if core["type"] == "RNN" else 0)


def sequences_read(layer: Layer) -> list[str]:
    """The inputs of a layer whose lengths it reads."""
    if layer["type"] == "Dot":
        return [text for text, axis in zip(layer["inputs"], layer["axes"], strict=True) if axis == 1]
    return list(layer["inputs"]) if layer["type"] in (*ATTENTION, "Loop") else list(layer["inputs"][:1])


def has_time_axis(layer: Layer) -> bool:
    """Whether an Input is a sequence: (T, …, F) of float32, or (T, …) of int32 for an Embedding."""
    return len(layer["shape"]) >= (1 if layer.get("dtype", "float32") == "int32" else 2)


def joins_steps(layer: Layer) -> bool:
    """Whether a Concatenate puts steps behind one another, where its inputs have a time axis."""
    return bool(layer["type"] == "Concatenate" and layer.get("axis", -1) == 1)


@dataclass(frozen=True)
class State:
    """A state (batch, units) of a layer as an input and an output of the file."""

    layer: str
    input: str
    output: str
    units: int
    initial: str | None = None  # the model's input that holds its value before the first step, or
    start: tuple[float, ...] | None = None  # each row's value then, `units` numbers; without either: zeros


class Plan:
    """The spec read once. ``time[ref]`` is the time axis of a tensor, ``wanted`` the outputs somebody reads.

    ``common[name]`` is the axis of the steps that all inputs of a layer have; ``shapes`` and ``rows`` say how an output
    lies: the engine's shape, and what stands for the number of its rows. ``timed`` are those with a time axis in the
    model.

    The others are set by ``hold_states``: ``states`` by layer; ``kept``, what a layer also has to keep for steps that a
    mask leaves out, ``y`` or ``x``; ``replaced``, the inputs of the model that state inputs stand for; ``streaming``,
    whether every tensor is one step, without a time axis, and then ``masks``, where the axes are that say which rows
    have it; ``pieces``, whether every sequence is a part of one.
    """

    def __init__(self, spec: Mapping[str, Any] | str, lengths: bool, masks: bool = False) -> None:
        self.spec: Mapping[str, Any] = json.loads(spec) if isinstance(spec, str) else spec
        self.layers: dict[str, Layer] = {node["name"]: node for node in nodes(self.spec)}
        self.inputs: list[str] = [parse_ref(text)[0] for text in self.spec["inputs"]]
        self.outputs: list[Ref] = [parse_ref(text) for text in self.spec["outputs"]]
        self.live, self.wanted = self._reachable()
        table = AxisTable(self.spec)
        for layer in self.layers.values():
            if layer["type"] in ATTENTION:  # the query's axis is its own
                value, *key = (table.of[parse_ref(text)] for text in layer["inputs"][1:])
                for other in key:
                    table.unite(value, other)
            if layer["type"] == "Broadcast":  # those of more than one step are one
                read = [parse_ref(text) for text in layer["inputs"]]
                long = [table.of[ref] for ref in read if table.of[ref] >= 0 and table.shapes[ref][1] != 1]
                for other in long[1:]:
                    table.unite(long[0], other)
            if layer["type"] == "Dot" and list(layer["axes"]) == [1, 1]:  # sums along both
                one, two = (table.of[parse_ref(text)] for text in layer["inputs"])
                if one >= 0 and two >= 0:
                    table.unite(one, two)
        own = self._input_axes(table, lengths, masks)
        axes = table.named(own, self._free)
        self.time: dict[Ref, TimeAxis | None] = {ref: axes[k] if k >= 0 else None for ref, k in table.of.items()}
        self.common: dict[str, TimeAxis | None] = {n: axes[k] if k >= 0 else None for n, k in table.common.items()}
        self.shapes = table.shapes
        self.rows = rows_of(list(self.layers.values()), BATCH)
        self.axes: list[TimeAxis] = list(own.values())
        self.timed: frozenset[Ref] = frozenset(ref for ref, axis in self.time.items() if axis)
        self.states: dict[str, tuple[State, ...]] = {}
        self.kept: dict[str, dict[str, State]] = {}
        self.replaced: set[str] = set()
        self.streaming = self.pieces = False
        self.masks: tuple[dict[Ref, TimeAxis | None], dict[str, TimeAxis | None]] = ({}, {})

    def all_states(self) -> list[State]:
        """In the order of the layers."""
        return [state for name, own in self.states.items() for state in (*own, *self.kept.get(name, {}).values())]

    def _reachable(self) -> tuple[list[Layer], set[Ref]]:
        wanted: set[Ref] = set(self.outputs)
        live: list[Layer] = []
        for layer in reversed(self.layers.values()):
            if any(name == layer["name"] for name, _ in wanted):
                live.append(layer)
                wanted.update(parse_ref(text) for text in layer.get("inputs", ()))
        return live[::-1], wanted

    def _input_axes(self, table: AxisTable, lengths: bool, masks: bool) -> dict[int, TimeAxis]:
        roots = table.roots()
        readers = [layer for layer in self.live if layer["type"] in (READ_MASKS if masks else READ_LENGTHS)]
        read = [table.of[parse_ref(text)] for layer in readers for text in sequences_read(layer)]
        wired = {origin for axis in read if axis >= 0 for origin in table.origins(axis)}
        if masks and not wired:
            raise ExportError("masks=True: the model has no recurrent layer and no attention that could use them")
        if lengths and not wired:
            raise ExportError(
                "lengths=True: the model has no layer that could use them: none that is recurrent or looks along time"
            )
        steps, most = [], []
        for layer in self.live:
            if layer["type"] == "Step":
                index = layer["index"]
                steps.append((table.of[parse_ref(layer["inputs"][0])], -index if index < 0 else index + 1))
            if layer["type"] == "Padding1D" and (needs := steps_to_pad(layer)):
                steps.append((table.of[parse_ref(layer["inputs"][0])], needs))
            if layer["type"] == "PositionEmbedding":
                most.append((table.of[parse_ref(layer["inputs"][0])], layer["sequence_length"]))
        bounds = table.bounds(steps, most)
        axes: dict[int, TimeAxis] = {}
        for root in roots:
            members = table.members(root)
            fixed = {size for name in members if (size := self.layers[name]["shape"][0]) is not None}
            if len(fixed) > 1:
                raise ExportError(f"inputs {', '.join(members)} are joined but have {sorted(fixed)} time steps")
            symbol = "time" if len(roots) == 1 else f"{members[0]}_time"
            labels = {}
            for label, wanted in (("lengths", lengths), ("mask", masks)):
                if wanted and root in wired:
                    labels[label] = self._free(label if len(wired) == 1 else f"{members[0]}_{label}")
            size = fixed.pop() if fixed else symbol
            least, greatest = bounds[root]
            axes[root] = TimeAxis(
                members, size, labels.get("lengths"), least or 0, greatest, labels.get("mask")
            )  # fmt: skip
        return axes

    def _free(self, name: str) -> str:
        while name in self.layers:
            name += "_"
        return name
