"""What a file and the engine are compared on: batches, steps, lengths, masks, ordinary and extreme inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._axes import parse_ref
from rekur.onnx._errors import VerificationError
from rekur.onnx._plan import Plan, has_time_axis
from rekur.onnx._states import States

BATCHES = (1, 2, 3, 7)
TIMES = (1, 2, 5, 13)
LARGE = 50.0
SHAKE = 2.0**-21  # four units in the last place of an input of 1
MORE = 512  # so many steps beyond those above are tried where the model takes only some numbers of them
PIECES = 3  # at most so many of a sequence, where the file carries states from one to the next

Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Input:
    name: str
    dtype: str
    shape: tuple[int | None, ...]  # without the batch
    axis: str | None  # inputs of one axis have the same number of steps; None: no time axis, or a fixed one
    cut: str | None  # inputs of one name here are cut into the same pieces; None: no time axis
    ids: int  # exclusive upper bound of an int32 input
    least: int  # steps the model needs
    most: int  # and takes
    none: tuple[float, ...]  # what a step of nothing else is none for


@dataclass(frozen=True)
class Case:
    batch: int
    times: Mapping[str, int]
    kind: str  # "normal", "large", "zero"
    full: bool  # every row as long as the sequence

    def __str__(self) -> str:
        time = ", ".join(f"{axis} {steps}" for axis, steps in self.times.items())
        return f"batch {self.batch}" + (f", {time}" if time else "") + f", {self.kind} inputs"


def inputs_of(
    spec: Mapping[str, Any], session: Any, lengths_of: Mapping[str, Sequence[str]], states: States | None
) -> list[Input]:
    """The model's inputs as the spec has them; which share a time axis is read off the ONNX model's symbols."""
    plan = Plan(spec, lengths=False)
    layers = plan.layers
    shapes = {value.name: value.shape for value in session.get_inputs()}
    sources = [layers[parse_ref(text)[0]] for text in spec["inputs"]]
    streaming = states is not None and states.streaming
    given = {state.initial for state in states.states} if states else set()
    replaced = {name for name in given if name not in shapes}
    sequences = [layer for layer in sources if has_time_axis(layer) and layer["name"] not in replaced]
    steps = {layer["shape"][0] for layer in sequences} - {None} if streaming else set()
    result: list[Input] = []
    for layer in sources:
        name, shape = layer["name"], tuple(layer["shape"])
        if name not in shapes and name not in replaced:
            raise VerificationError(f"the ONNX model has no input '{name}'; it has {list(shapes)}")
        dtype = layer.get("dtype", "float32")
        cut = None
        if layer in sequences:
            if not streaming and len(shapes[name]) != len(shape) + 1:
                raise VerificationError(f"input '{name}': expected a sequence, the ONNX model has {shapes[name]}")
            cut = "time" if streaming else str(shapes[name][1])
            if streaming:  # all inputs step together
                shape = (min(steps, default=None), *shape[1:])
            elif isinstance(shapes[name][1], int):
                shape = (shapes[name][1], *shape[1:])
        readers = [i for i in layers.values() if i["type"] == "Embedding" and parse_ref(i["inputs"][0])[0] == name]
        ids = min((reader["input_dim"] for reader in readers), default=1)
        time = plan.time[name, 0]
        least = max(1, time.least if time else 0)
        most = time.most if time and time.most else least + TIMES[-1] + MORE
        direct = [i for i in layers.values() if i["type"] != "Input" and parse_ref(i["inputs"][0])[0] == name]
        none = [float(i.get("mask_value", 0)) for i in direct if i["type"] == "Masking"]
        none += [0.0 for i in direct if i["type"] == "Embedding" and i.get("mask_zero", False)]
        own, marked = cut if cut and shape[0] is None else None, tuple(none) if has_time_axis(layer) else ()
        result.append(Input(name, dtype, shape, own, cut, ids, least, most, marked))
    known = {i.name for i in result} | set(lengths_of) | {state.input for state in (states.states if states else ())}
    if surplus := set(shapes) - known:
        raise VerificationError(f"the ONNX model has inputs the model does not know: {sorted(surplus)}")
    timed = {i.name for i in result if i.cut is not None}
    if states is not None and set(states.timed_inputs) != timed:
        raise VerificationError(f"the ONNX model's metadata has steps of {states.timed_inputs}, the model {timed}")
    if not timed.issuperset(owner for owners in lengths_of.values() for owner in owners):
        raise VerificationError(f"the ONNX model's metadata has lengths of {lengths_of}, the model steps of {timed}")
    return result


def cases_of(inputs: Sequence[Input], with_lengths: bool) -> Iterator[Case]:
    """Every batch size with every number of steps; then zeros and large values. With lengths, also all rows full."""
    axes = {i.axis: (i.least, i.most) for i in inputs if i.axis is not None}

    def times(first: int) -> dict[str, int]:
        # different axes get different numbers of steps, none fewer than the model needs
        steps = {axis: TIMES[(first + k) % len(TIMES)] for k, axis in enumerate(axes)}
        return {axis: min(least - 1 + steps[axis], most) for axis, (least, most) in axes.items()}

    for batch in BATCHES:
        for first in range(len(TIMES) if axes else 1):
            yield Case(batch, times(first), "normal", False)
    for kind in ("zero", "large"):
        for batch, first in ((1, 2), (3, 3)):
            yield Case(batch, times(first), kind, False)
    if with_lengths:
        for batch, first in ((1, 1), (7, 3)):
            yield Case(batch, times(first), "normal", True)


def taken(
    cases: Iterator[Case], inputs: Sequence[Input], predict: Callable[[Sequence[NDArray[Any]]], object]
) -> Iterator[Case]:
    """The cases with the next numbers of steps that the model takes: of a Reshape some multiple, of a sum with what was
    pooled and upsampled again an even number.
    """
    found: dict[tuple[int, ...], Mapping[str, int]] = {}
    for case in cases:
        wanted = tuple(case.times.values())
        if wanted not in found:
            found[wanted] = _next_taken(case.times, inputs, predict)
        yield replace(case, times=found[wanted])


def _next_taken(
    times: Mapping[str, int], inputs: Sequence[Input], predict: Callable[[Sequence[NDArray[Any]]], object]
) -> Mapping[str, int]:
    most = {i.axis: i.most for i in inputs}
    refused: ValueError | None = None
    for more in range(MORE if times else 0):
        beyond = {axis: steps + more for axis, steps in times.items()}
        for tried in (beyond, dict.fromkeys(times, max(beyond.values()))):
            if any(steps > most[axis] for axis, steps in tried.items()):
                continue
            feed = feed_of(np.random.default_rng(0), Case(1, tried, "zero", True), inputs)
            try:
                predict([feed[i.name] for i in inputs])
            except ValueError as error:
                refused = refused or error
            else:
                return tried
    if refused is not None:
        shown = ", ".join(f"{axis} {steps}" for axis, steps in times.items())
        raise VerificationError(f"the model takes no sequences of {shown}, nor of up to {MORE} steps more: {refused}")
    return times


def feed_of(rng: np.random.Generator, case: Case, inputs: Sequence[Input]) -> Feed:
    feed: Feed = {}
    for i in inputs:
        steps = case.times[i.axis] if i.axis is not None else 1
        shape = (case.batch, *(steps if size is None else size for size in i.shape))
        if i.dtype == "int32":
            ids = np.zeros(shape) if case.kind == "zero" else rng.integers(0, i.ids, shape)
            if i.none and not case.full:
                ids = np.where(_random_steps(rng, shape, case.full), ids, 0)
            feed[i.name] = np.asarray(ids, np.int32)
            continue
        x = np.zeros(shape) if case.kind == "zero" else rng.standard_normal(shape)
        if case.kind == "large":
            x = np.copysign(LARGE, x)
        for value in i.none:
            x = np.where(_random_steps(rng, shape, case.full), x, value)
        feed[i.name] = x.astype(np.float32)
    return feed


def lengths_for(
    rng: np.random.Generator, case: Case, inputs: Sequence[Input], lengths_of: Mapping[str, Sequence[str]]
) -> Feed:
    """Per input of the model that has lengths; random, with an empty and a full row where the batch has room."""
    by_name = {i.name: i for i in inputs}
    result: Feed = {}
    for owners in lengths_of.values():
        first = by_name[owners[0]]
        steps = case.times[first.axis] if first.axis is not None else first.shape[0]
        assert steps is not None
        rows = np.full(case.batch, steps, np.int32)
        if not case.full:
            rows[:] = rng.integers(0, steps + 1, case.batch)
            if case.batch > 2:
                rows[rng.permutation(case.batch)[:2]] = (0, steps)
        for owner in owners:
            result[owner] = rows
    return result


def _random_mask(rng: np.random.Generator, batch: int, steps: int, full: bool) -> NDArray[np.bool_]:
    """(B, T): of the rows in turn holes, no step at all, padding on the left, on the right, every step."""
    mask = rng.random((batch, steps)) < 0.5
    places, cut = np.arange(steps), int(rng.integers(0, steps + 1))
    first = int(rng.integers(0, 5))  # so that batches of one row see all of them
    for row in range(batch):
        kinds = (mask[row], False, places >= cut, places < cut, True)
        mask[row] = True if full else kinds[(first + row) % len(kinds)]
    return mask


def _random_steps(rng: np.random.Generator, shape: Sequence[int], full: bool) -> NDArray[np.bool_]:
    """The same for a tensor of that shape (B, T, …)."""
    return _random_mask(rng, shape[0], shape[1], full).reshape(shape[0], shape[1], *[1] * (len(shape) - 2))


def masks_for(
    rng: np.random.Generator, case: Case, inputs: Sequence[Input], masks_of: Mapping[str, Sequence[str]]
) -> Feed:
    """Per input of the model that has a mask."""
    by_name = {i.name: i for i in inputs}
    result: Feed = {}
    for owners in masks_of.values():
        first = by_name[owners[0]]
        steps = case.times[first.axis] if first.axis is not None else first.shape[0]
        assert steps is not None
        mask = _random_mask(rng, case.batch, steps, case.full)
        result.update(dict.fromkeys(owners, mask))
    return result


def pieces_of(
    rng: np.random.Generator, inputs: Sequence[Input], feed: Feed, states: States
) -> dict[str, list[slice]] | None:
    """By input with a time axis where it is cut: as many pieces for each, none of them empty."""
    if states.streaming:
        return None
    steps = {i.cut: feed[i.name].shape[1] for i in inputs if i.cut is not None}
    count = int(rng.integers(1, min(PIECES, *steps.values()) + 1))
    cuts: dict[str, list[slice]] = {}
    for axis, total in steps.items():
        inner = sorted(rng.permutation(total - 1)[: count - 1] + 1)
        edges = [0, *map(int, inner), total]
        cuts[axis] = [slice(*edge) for edge in pairwise(edges)]
    return {i.name: cuts[i.cut] for i in inputs if i.cut is not None}


def shake(rng: np.random.Generator, x: NDArray[Any], none: Sequence[float]) -> NDArray[Any]:
    """The same input but for a few units in the last place; ids, and what a mask goes by, stay as they are."""
    if x.dtype != np.float32:
        return x
    moved = np.asarray(x + SHAKE * np.maximum(np.abs(x), 1.0) * rng.choice((-1.0, 1.0), x.shape), np.float32)
    return np.where(np.isin(x, np.asarray(none, np.float32)), x, moved) if none else moved
