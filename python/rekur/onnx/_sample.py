"""Inputs for a file of which nothing is known but the file: what a caller gives, brought into form, or random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import as_numeric
from rekur.onnx._errors import QuantizationError
from rekur.onnx._metadata import Metadata
from rekur.onnx._weights import RECURRENT

BATCH, STEPS = 4, 32
IDS = 2  # integers of which nothing is known stay below

Feed = dict[str, NDArray[Any]]
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


def as_feed(data: Any, session: Any, described: Metadata) -> Feed:
    """What the caller gives, by input. Left out: lengths (then all rows are full) and states (zeros)."""
    types = {value.name: value.type for value in session.get_inputs()}
    started = {s.initial for s in described.states.states if s.initial} if described.states else set()
    optional = {s.input for s in described.states.states} if described.states else set()
    needed = [name for name in types if name not in described.lengths and name not in optional]
    if isinstance(data, Mapping):
        given = dict(data)
    elif isinstance(data, (list, tuple)):
        if len(data) != len(needed):
            raise QuantizationError(f"data: expected {len(needed)} arrays, for {needed}, got {len(data)}")
        given = dict(zip(needed, data, strict=True))
    else:
        if len(needed) != 1:
            raise QuantizationError(f"data: the file has inputs {needed}; give a list or a dict of arrays")
        given = {needed[0]: data}
    if unknown := set(given) - set(types) - started:
        raise QuantizationError(f"data: the file has no input {sorted(map(str, unknown))}; it has {list(types)}")
    if missing := [name for name in needed if name not in given]:
        raise QuantizationError(f"data: nothing for input {missing}")
    feed = {name: _typed(name, array, types.get(name, "tensor(float)")) for name, array in given.items()}
    for name in described.states.timed_inputs if described.states else ():
        x = feed.get(name)
        if x is None or x.ndim < 2 or not x.shape[1]:
            shape = "nothing" if x is None else f"shape {x.shape}"
            raise QuantizationError(f"data: '{name}': expected sequences, got {shape}")
    return _with_lengths(feed, described)


def _typed(name: str, array: Any, kind: str) -> NDArray[Any]:
    if kind not in _DTYPES:
        raise QuantizationError(f"input '{name}' is a {kind}, which cannot be fed here")
    dtype = np.dtype(_DTYPES[kind])
    try:
        given = as_numeric(array, f"data: '{name}'")
        with np.errstate(all="ignore"):
            typed = np.ascontiguousarray(given, dtype)
    except ValueError as error:
        raise QuantizationError(str(error)) from None
    if dtype.kind in "iu" and (typed != given).any():
        raise QuantizationError(f"data: '{name}': expected whole numbers that {dtype} holds, got {given.dtype}")
    return typed


def random_feed(session: Any, graph: Any, described: Metadata, seed: int) -> Feed:
    """Normal numbers, ids within their table, sequences of 32 steps in a batch of 4."""
    rng = np.random.default_rng(seed)
    sizes: dict[str, int] = {}
    states = described.states
    held = {state.input for state in states.states} if states else set()
    lengths, bounds, time_major = _roles(graph)
    feed: Feed = {}
    # those of which the batch is known come first: their symbols say where it is in the others
    for value in sorted(session.get_inputs(), key=lambda value: value.name not in time_major):
        if value.name in held or value.name in described.lengths:
            continue
        batch_axis = 1 if value.name in time_major else 0
        shape = [_size(dim, axis == batch_axis, sizes) for axis, dim in enumerate(value.shape)]
        if states is not None and states.streaming and value.name in states.timed_inputs:
            shape.insert(1, STEPS)
        if value.name in lengths:
            drawn: NDArray[Any] = np.full(shape, STEPS)
        elif value.type in ("tensor(float)", "tensor(double)", "tensor(float16)"):
            drawn = rng.standard_normal(shape)
        else:
            drawn = rng.integers(0, bounds.get(value.name, IDS), shape)
        feed[value.name] = _typed(value.name, drawn, value.type)
    return _with_lengths(feed, described)


def _size(dim: Any, is_batch: bool, sizes: dict[str, int]) -> int:
    if isinstance(dim, int):
        return dim
    usual = BATCH if is_batch else STEPS
    return sizes.setdefault(dim, usual) if isinstance(dim, str) and dim else usual


def _roles(graph: Any) -> tuple[set[str], dict[str, int], set[str]]:
    """Inputs that are lengths of a recurrent node, exclusive bounds of ids, inputs with the batch as second axis."""
    tables = {array.name: array.dims for array in graph.initializer}
    lengths: set[str] = set()
    bounds: dict[str, int] = {}
    time_major: set[str] = set()
    for node in graph.node:
        if node.op_type in RECURRENT:
            time_major.update(node.input[:1], node.input[5:7])
            lengths.update(filter(None, node.input[4:5]))
        if node.op_type == "Gather" and node.input[0] in tables and tables[node.input[0]]:
            rows = int(tables[node.input[0]][0])
            bounds[node.input[1]] = min(rows, bounds.get(node.input[1], rows))
    return lengths, bounds, time_major


def _with_lengths(feed: Feed, described: Metadata) -> Feed:
    for name, owners in described.lengths.items():
        if name not in feed:
            x = feed.get(owners[0])
            if x is None or x.ndim < 2:
                raise QuantizationError(f"lengths '{name}' belong to '{owners[0]}', which is no sequence of the file")
            feed[name] = np.full(x.shape[0], x.shape[1], np.int32)
    return feed
