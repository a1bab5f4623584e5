"""Recurrent state as inputs and outputs of a file: for one step at a time, or for a long sequence in pieces.

A file with states names them in its metadata (``rekur.states``), so whoever runs it needs nothing but the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._spec import ATTENTION, MATRIX, POSITIONS
from rekur._validate import check_data
from rekur.onnx._along import carried, steps_of, words
from rekur.onnx._axes import TimeAxis, parse_ref
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import mask_of
from rekur.onnx._matrix import Attention
from rekur.onnx._plan import Layer, Plan, State, describe, recurrent_core, sequences_of
from rekur.onnx._recurrent import CELLS
from rekur.onnx._scan import state_width
from rekur.onnx._selective import Sizes
from rekur.onnx._session import check_filled, run_session

STATES_KEY = "rekur.states"


@dataclass(frozen=True)
class States:
    """How a file with states is run. Between runs, each state's output becomes its input."""

    streaming: bool  # True: an input in `timed_inputs` is one step (batch, F); False: a piece (batch, time, F)
    timed_inputs: tuple[str, ...]
    timed_outputs: tuple[str, ...]  # the outputs that the sequence model has for every step
    states: tuple[State, ...]

    def to_json(self) -> str:
        """The text that an exported file's metadata holds."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> States:
        """Raises ValueError for anything that :meth:`to_json` did not write."""
        try:
            read = json.loads(text)
            states = tuple(
                State(**{**entry, "start": tuple(entry["start"]) if entry.get("start") is not None else None})
                for entry in read["states"]
            )
            result = States(bool(read["streaming"]), tuple(read["timed_inputs"]), tuple(read["timed_outputs"]), states)
            names = [*result.timed_inputs, *result.timed_outputs]
            names += [text for s in states for text in (s.layer, s.input, s.output, s.initial or "")]
            if not all(isinstance(name, str) for name in names) or not all(type(s.units) is int for s in states):
                raise TypeError("names must be text and units whole numbers")
            for s in states:
                if s.start is not None and (len(s.start) != s.units or not np.isfinite(s.start).all()):
                    raise TypeError("start must be a number a unit")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"metadata '{STATES_KEY}' is not valid: {error!r}") from None
        return result

    def start(self, feed: Mapping[str, NDArray[Any]], batch: int) -> dict[str, NDArray[Any]]:
        """The states before the first step: what the model's inputs give, else what the model has learned, or zeros."""
        result: dict[str, NDArray[Any]] = {}
        for state in self.states:
            given = feed.get(state.input, feed.get(state.initial) if state.initial else None)
            start = np.zeros(state.units, np.float32) if state.start is None else np.asarray(state.start, np.float32)
            result[state.input] = np.tile(start, (batch, 1)) if given is None else given.reshape(batch, state.units)
        return result

    def run(
        self,
        session: Any,
        feed: Mapping[str, NDArray[Any]],
        pieces: Mapping[str, Sequence[slice]] | None = None,
        lengths_of: Mapping[str, Sequence[str]] | None = None,
    ) -> list[NDArray[Any]]:
        """Whole sequences through an onnxruntime session, step by step or in pieces; the model's outputs as a whole.

        feed: by input, what a sequence model takes: (batch, time, F). pieces: by timed input its cuts, equally many
        for all; None: every step of its own, or for a file that takes sequences all in one piece.
        lengths_of: {lengths input: the inputs it belongs to}.

        Raises
        ------
        ValueError
            A timed input is missing, or an input or a piece is empty, on which onnxruntime would end the process.
        """
        for name, x in feed.items():
            check_data(x, f"input '{name}'")
        lengths_of = lengths_of or {}
        if missing := [name for name in (*self.timed_inputs, *lengths_of) if name not in feed]:
            raise ValueError(f"nothing for input {missing}; the file's sequences are {list(self.timed_inputs)}")
        check_filled(feed)
        if pieces is None:
            steps = {name: feed[name].shape[1] for name in self.timed_inputs}
            if self.streaming:
                pieces = {name: [slice(t, t + 1) for t in range(count)] for name, count in steps.items()}
            else:
                pieces = {name: [slice(0, count)] for name, count in steps.items()}
        wanted = {value.name for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        held = {state.output for state in self.states}
        now = self.start(feed, next(iter(feed.values())).shape[0])
        fixed = {name: x for name, x in feed.items() if name in wanted and name not in (*pieces, *lengths_of)}
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names if name not in held}
        for k in range(len(next(iter(pieces.values())))):
            piece = {name: feed[name][:, cuts[k]] for name, cuts in pieces.items()}
            if self.streaming:
                piece = {name: x[:, 0] for name, x in piece.items()}
            for name, owners in lengths_of.items():
                cut = pieces[owners[0]][k]
                piece[name] = np.clip(feed[name] - cut.start, 0, cut.stop - cut.start).astype(np.int32)
            outputs = dict(zip(names, run_session(session, {**fixed, **piece, **now}), strict=True))
            now = {state.input: outputs[state.output] for state in self.states}
            for name, values in parts.items():
                values.append(outputs[name])
        join = np.stack if self.streaming else np.concatenate
        return [
            np.asarray(join(values, axis=1)) if name in self.timed_outputs else values[-1]
            for name, values in parts.items()
        ]


def hold_states(plan: Plan, streaming: bool, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Give every layer of the plan that needs steps before the present ones state inputs and outputs; refuse what then
    has no meaning.

    An input of the model that is nothing but an initial state gives way to the state inputs: what it would have held
    is fed to them at the first step.

    Raises
    ------
    ExportError
        XX
    """
    option, unit = words(streaming)
    if not plan.axes:
        raise ExportError(f"{option}: no input of the model has a time axis")
    plan.timed = frozenset(ref for ref, axis in plan.time.items() if steps_of(axis))
    taken = set(plan.layers) | {axis.lengths for axis in plan.axes if axis.lengths}

    def free(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def named(layer: Layer, key: str, units: int, initial: str | None = None, start: Any = None) -> State:
        name = layer["name"]
        return State(name, free(f"{name}_{key}_in"), free(f"{name}_{key}_out"), units, initial, start)

    read: set[str] = {name for name, _ in plan.outputs}
    started: set[str] = set()
    shapes = {name: array.shape for name, array in weights.items()}
    for layer in plan.live:
        core, first = recurrent_core(layer), sequences_of(layer) if "inputs" in layer else 0
        read.update(parse_ref(text)[0] for text in layer.get("inputs", ())[:first])
        if core is None:
            sizes = carried(plan, layer, streaming)
        elif streaming or steps_of(plan.time[parse_ref(layer["inputs"][0])]):
            sizes = state_sizes(core, layer["name"], shapes)
            if layer["type"] == "Bidirectional" or core.get("reverse", False):
                raise ExportError(
                    f"{describe(layer)}: {option}: it reads the sequence from its end, which {unit} does not know"
                )
            kept = _kept(plan, layer, core, streaming)
        else:
            sizes = {}  # what it reads is there as a whole in every piece
        given = layer.get("inputs", ())[first:]
        if not sizes:
            read.update(parse_ref(text)[0] for text in given)
            continue
        if len(given) > len(sizes):
            raise ExportError(f"{describe(layer)}: expected at most {len(sizes)} initial states, got {len(given)}")
        initial = [
            _initial(plan, layer, text, units, option, unit) for text, units in zip(given, sizes.values(), strict=False)
        ]
        started.update(initial)
        plan.states[layer["name"]] = tuple(
            named(
                layer,
                key,
                units,
                given,
                _learned(core, f"{layer['name']}/initial_{key}", weights) if core and given is None else None,
            )
            for (key, units), given in zip_longest(sizes.items(), initial)
        )
        if core is not None:
            plan.kept[layer["name"]] = {key: named(layer, key, units) for key, units in kept.items()}
    if not streaming and not plan.states:
        raise ExportError(f"{option}: the model has no layer with a state that could be held")
    plan.replaced = started - read
    if also := [name for name in started & read if len(plan.layers[name]["shape"]) > 1]:
        raise ExportError(f"{option}: input '{also[0]}' is an initial state, and is read as a sequence, too")
    plan.axes = [axis for axis in plan.axes if not plan.replaced.issuperset(axis.inputs)]
    if streaming:
        _drop_time(plan)
    else:  # a piece may be shorter than the sequence
        plan.pieces = True
        several = len(plan.axes) > 1
        renamed = {axis: replace(axis, size=f"{axis.inputs[0]}_time" if several else "time") for axis in plan.axes}
        plan.axes = list(renamed.values())
        plan.time = {ref: _resized(axis, renamed) for ref, axis in plan.time.items()}
        plan.common = {name: _resized(axis, renamed) for name, axis in plan.common.items()}


def _kept(plan: Plan, layer: Layer, core: Layer, streaming: bool) -> dict[str, int]:
    """What a recurrent layer also keeps, with sizes, where a row may have no step at hand: its last output where that
    is no state of its, and x at the last step there was where a last output has it added.
    """
    axis, masked = plan.time[parse_ref(layer["inputs"][0])], bool(mask_of(plan, layer))
    last = not core.get("return_sequences", False)
    ends = masked or bool(axis is not None and axis.lengths)
    units = int(plan.shapes[layer["name"], 0][-1] or 0)
    output = core["type"] in MATRIX and (ends if last and not streaming else masked)
    return {**({"y": units} if output else {}), **({"x": units} if ends and last and layer.get("residual") else {})}


def _learned(core: Layer, name: str, weights: Mapping[str, NDArray[np.float32]]) -> tuple[float, ...] | None:
    if not core.get("learn_initial_state", False):
        return None
    return tuple(float(value) for value in weights[name])


def state_sizes(core: Layer, name: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """A recurrent layer's states by their names, with their sizes; shapes: of the model's parameters."""
    if core["type"] in (*ATTENTION, *POSITIONS):
        return {}
    if core["type"] == "SelectiveSSM":
        return {"s": Sizes.of(name, shapes).state}
    if core["type"] in ("GatedLinearAttention", "MLSTM"):
        return {"s": Attention.of(core).state}
    names = core["cell"]["states"] if core["type"] == "RNN" else CELLS[core["type"]].states
    return {state: state_width(core, k) for k, state in enumerate(names)}


def _drop_time(plan: Plan) -> None:
    fixed = sorted({axis.size for axis in plan.axes if isinstance(axis.size, int)})
    if len(fixed) > 1:
        raise ExportError(f"streaming=True: all inputs step together, but the model's have {fixed} time steps")
    plan.streaming, plan.masks = True, (plan.time, plan.common)
    plan.time, plan.common = dict.fromkeys(plan.time), dict.fromkeys(plan.common)
    plan.axes = []


def _resized(axis: TimeAxis | None, renamed: Mapping[TimeAxis, TimeAxis]) -> TimeAxis | None:
    """The same of sequences as long as a piece: of those that are made of them, too, whose steps are theirs."""
    if axis is None:
        return None
    if axis.change is not None and steps_of(axis):
        before = _resized(axis.before, renamed)
        assert before is not None
        return replace(axis, size=before.size, before=before)
    sizes = {known.inputs: new.size for known, new in renamed.items()}
    return replace(axis, size=sizes[axis.inputs]) if axis.inputs in sizes else axis


def _initial(plan: Plan, layer: Layer, text: str, units: int, option: str, unit: str) -> str:
    """The input of the model that an initial state comes from."""
    source = plan.layers.get(parse_ref(text)[0])
    if source is None:
        raise ExportError(f"{describe(layer)}: its input '{text}' does not exist")
    if source["type"] != "Input":
        raise ExportError(
            f"{describe(layer)}: {option}: its initial state is computed by {describe(source)}, and {unit} cannot tell "
            "whether it is the first; make the initial state an input of the model"
        )
    if math.prod(size or 0 for size in source["shape"]) != units:
        raise ExportError(f"{describe(layer)}: expected initial states (batch, {units}), got {tuple(source['shape'])}")
    name: str = source["name"]
    return name


def latest(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """``Step`` with index −1 in a one-step model: the step at hand."""
    return list(inputs)
