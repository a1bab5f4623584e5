"""What the exporter knows of a spec before it emits the first node: references, live layers, time axes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rekur._spec import ATTENTION, RECURRENT, nodes
from rekur.onnx._errors import ExportError

Layer = Mapping[str, Any]
Ref = tuple[str, int]  # (layer, output)

READ_LENGTHS = (*RECURRENT, "Bidirectional", "Step", "Flip", *ATTENTION)  # the types that treat a row by its length


def parse_ref(text: str) -> Ref:
    """``"lstm"`` → ``("lstm", 0)``, ``"lstm:2"`` → ``("lstm", 2)``."""
    name, _, index = text.partition(":")
    return name, int(index) if index else 0


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
    assert core is not None
    return 1 + (len(core["cell"].get("step_inputs", ())) if core["type"] == "RNN" else 0)


def sequences_read(layer: Layer) -> list[str]:
    """The inputs of a layer whose lengths it reads."""
    return list(layer["inputs"]) if layer["type"] in ATTENTION else list(layer["inputs"][:1])


def has_time_axis(layer: Layer) -> bool:
    """Whether an Input is a sequence: (T, F) of float32, or (T,) of int32 for an Embedding."""
    return len(layer["shape"]) == (1 if layer.get("dtype", "float32") == "int32" else 2)


def outputs_with_time(layer: Layer) -> int:
    """How many of a layer's outputs can have a time axis, the first ones; the others are states."""
    return len(layer["equations"]["outputs"]) if layer["type"] == "Lambda" else 1


def joins_steps(layer: Layer) -> bool:
    """Whether a Concatenate puts steps behind one another, where its inputs have a time axis."""
    return bool(layer["type"] == "Concatenate" and layer.get("axis", -1) == 1)


CONVOLUTIONS = ("Conv1D", "DepthwiseConv1D", "Conv1DTranspose")
CHANGE_STEPS = (
    *CONVOLUTIONS, "MaxPooling1D", "AveragePooling1D", "UpSampling1D", "Cropping1D", "ZeroPadding1D"
)  # fmt: skip
OWN_STEPS = ("GlobalMaxPooling1D", "GlobalAveragePooling1D", "Flatten", "Reshape", "Permute", "RepeatVector")


def steps_after(layer: Layer, steps: int) -> int:
    """The steps of the output for those of the input, of a layer that changes them; 0 where there are too few."""
    kind, padding = layer["type"], layer.get("padding", "valid")
    if kind == "UpSampling1D":
        return steps * int(layer.get("size", 2))
    if kind == "Cropping1D":
        return max(steps - sum(layer["cropping"]), 0)
    if kind == "ZeroPadding1D":
        return steps + int(sum(padding))
    taps = layer.get("kernel_size", layer.get("pool_size", 2))
    stride = layer.get("strides") or (1 if kind in CONVOLUTIONS else taps)
    span = (taps - 1) * layer.get("dilation_rate", 1) + 1
    if kind == "Conv1DTranspose":
        more = layer.get("output_padding")
        if more is not None:
            return int((steps - 1) * stride + (span % 2 if padding == "same" else span) + more)
        return int(steps * stride + (0 if padding == "same" else max(span - stride, 0)))
    return int(max((steps - (span if padding == "valid" else 1)) // stride + 1, 0))


def keeps_time(layer: Layer) -> bool:
    """Whether outputs of a layer have the time axis of its inputs."""
    if layer["type"] in (*CHANGE_STEPS, *OWN_STEPS):
        return False
    if layer["type"] == "Step" or joins_steps(layer) or (layer["type"] == "Dot" and layer["axes"][0] == 1):
        return False
    core = recurrent_core(layer)
    return core is None or bool(core.get("return_sequences", False))


@dataclass(frozen=True)
class TimeAxis:
    """A time axis, shared by every input that is joined with it somewhere in the graph."""

    inputs: tuple[str, ...]
    size: int | str  # fixed, or the symbol that stands for it
    lengths: str | None  # the graph input that holds the rows' lengths
    least: int = 0  # fewer steps than this the model refuses
    most: int | None = None  # and more than this


@dataclass(frozen=True)
class State:
    """A state (batch, units) of a recurrent layer as an input and an output of the file."""

    layer: str
    input: str
    output: str
    units: int
    initial: str | None = None  # the model's input that holds its value before the first step, or
    start: tuple[float, ...] | None = None  # each row's value then, `units` numbers; without either: zeros


class Plan:
    """The spec read once. ``time[ref]`` is the time axis of a tensor, ``wanted`` the outputs somebody reads.

    ``states``, ``replaced`` and ``streaming`` are set by ``hold_states``: states by layer, the inputs of the model that
    state inputs stand for, and whether every tensor is one step, without a time axis. ``timed`` are those with one in
    the model.
    """

    def __init__(self, spec: Mapping[str, Any] | str, lengths: bool) -> None:
        self.spec: Mapping[str, Any] = json.loads(spec) if isinstance(spec, str) else spec
        self.layers: dict[str, Layer] = {node["name"]: node for node in nodes(self.spec)}
        self.inputs: list[str] = [parse_ref(text)[0] for text in self.spec["inputs"]]
        self.outputs: list[Ref] = [parse_ref(text) for text in self.spec["outputs"]]
        self.live, self.wanted = self._reachable()
        sources = self._time_sources()
        axes = self._time_axes(sources, lengths)
        self.time: dict[Ref, TimeAxis | None] = {ref: axes[root] if root else None for ref, root in sources.items()}
        self.axes: list[TimeAxis] = list(dict.fromkeys(axes.values()))
        self.timed: frozenset[Ref] = frozenset(ref for ref, root in sources.items() if root)
        self.states: dict[str, tuple[State, ...]] = {}
        self.replaced: set[str] = set()
        self.streaming = False

    def _reachable(self) -> tuple[list[Layer], set[Ref]]:
        wanted: set[Ref] = set(self.outputs)
        live: list[Layer] = []
        for layer in reversed(self.layers.values()):
            if any(name == layer["name"] for name, _ in wanted):
                live.append(layer)
                wanted.update(parse_ref(text) for text in layer.get("inputs", ()))
        return live[::-1], wanted

    def _time_sources(self) -> dict[Ref, str | None]:
        """For every tensor the input its time axis comes from; inputs whose axes are joined count as one."""
        parent: dict[str, str] = {}

        def root(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        sources: dict[Ref, str | None] = {}
        for layer in self.layers.values():
            name = layer["name"]
            if layer["type"] == "Input":
                timed = has_time_axis(layer)
                if timed:
                    parent[name] = name
                sources[name, 0] = name if timed else None
                continue
            given = [source for text in layer["inputs"] if (source := sources.get(parse_ref(text))) is not None]
            side = 1 if layer["type"] in ATTENTION else 0  # the query's axis is its own
            for other in given[side + 1 :] if layer["type"] != "Dot" and not joins_steps(layer) else ():
                parent[root(other)] = root(given[side])
            for k in range(outputs_with_time(layer)):
                sources[name, k] = given[0] if given and keeps_time(layer) else None
        return {ref: root(source) if source else None for ref, source in sources.items()}

    def _time_axes(self, sources: Mapping[Ref, str | None], lengths: bool) -> dict[str, TimeAxis]:
        groups: dict[str, list[str]] = {}
        for name in self.inputs:
            if source := sources[name, 0]:
                groups.setdefault(source, []).append(name)
        readers = [layer for layer in self.live if layer["type"] in READ_LENGTHS]
        read = {sources.get(parse_ref(text)) for layer in readers for text in sequences_read(layer)}
        if lengths and not read:
            raise ExportError(
                "lengths=True: the model has no recurrent layer, no attention, no Step and no Flip that could use them"
            )
        least: dict[str | None, int] = {}
        most: dict[str | None, int] = {}
        for layer in self.live:
            if layer["type"] == "Step":
                source, index = sources.get(parse_ref(layer["inputs"][0])), layer["index"]
                least[source] = max(least.get(source, 0), -index if index < 0 else index + 1)
            if layer["type"] == "PositionEmbedding":
                source, rows = sources.get(parse_ref(layer["inputs"][0])), layer["sequence_length"]
                most[source] = min(most.get(source, rows), rows)
        axes: dict[str, TimeAxis] = {}
        for source, members in groups.items():
            fixed = {size for name in members if (size := self.layers[name]["shape"][0]) is not None}
            if len(fixed) > 1:
                raise ExportError(f"inputs {', '.join(members)} are joined but have {sorted(fixed)} time steps")
            symbol = "time" if len(groups) == 1 else f"{members[0]}_time"
            wired = lengths and source in read
            count = sum(group in read for group in groups)
            label = self._free("lengths" if count == 1 else f"{members[0]}_lengths") if wired else None
            size = fixed.pop() if fixed else symbol
            if source:
                least[source] = self._least_steps(sources, source, least.get(source, 0))
            axes[source] = TimeAxis(tuple(members), size, label, least.get(source, 0), most.get(source))
        return axes

    def _least_steps(self, sources: Mapping[Ref, str | None], source: str, least: int) -> int:
        """Steps of an axis that leave every layer that changes them a step."""
        changing = [layer for layer in self.live if layer["type"] in CHANGE_STEPS]

        def enough(steps: int) -> bool:
            found = {ref: steps for ref, root in sources.items() if root == source}
            for layer in self.live:
                name = layer["name"]
                given = [found[ref] for text in layer.get("inputs", ()) if (ref := parse_ref(text)) in found]
                if layer in changing and given:
                    found[name, 0] = steps_after(layer, given[0])
                    if found[name, 0] < 1:
                        return False
                elif given and keeps_time(layer):
                    found.update({(name, k): given[0] for k in range(outputs_with_time(layer))})
            return True

        return next((steps for steps in range(max(least, 1), 1 << 16) if enough(steps)), least) if changing else least

    def _free(self, name: str) -> str:
        while name in self.layers:
            name += "_"
        return name
