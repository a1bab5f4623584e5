"""Cells that an exporter wrote as arithmetic: LSTMCell, GRUCell, RNNCell of PyTorch, and Keras's unrolled layers.

A cell is told by its equations, not by the nodes of one exporter; what its gates are of (``linear``) gives its weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rekur.onnx._import.linear import Linear, Matrix, Source, linear, numbers, source_of
from rekur.onnx._import.recurrent import STATES
from rekur.onnx._import.values import Tensor

ZERO_ONE = ({"scale": -1.0, "offset": 1.0},)  # 1 − x


@dataclass(eq=False)
class Cell:
    """One step of a layer: what makes its next states of an input and its states."""

    type: str  # of the layer
    units: int
    h: Tensor  # the next states
    c: Tensor | None
    x: list[tuple[Source, Matrix]]  # inputs and their matrices, by gates side by side in the layer's order
    h0: Source | Matrix | None  # the states before: tensors, rows that are constant, or None where nothing tells
    c0: Source | Matrix | None
    recurrent: Matrix | None  # None where the state before is zeros
    bias: Matrix
    options: dict[str, Any] = field(default_factory=dict)


def activation_of(tensor: Tensor) -> tuple[Any, Tensor] | None:
    """The activation that makes a tensor, and of what."""
    layer = tensor.layer
    if layer.type == "Activation" and tensor.port == "y":
        return layer.options["activation"], layer.inputs[0]
    return None


def factors(tensor: Tensor) -> Iterator[tuple[Tensor, Tensor | Matrix]]:
    """A product, its factors in both orders; a constant one, a row, is always the second."""
    layer = tensor.layer
    if tensor.port != "y":
        return
    if layer.type == "Multiply" and len(layer.inputs) == 2:
        yield layer.inputs[0], layer.inputs[1]
        yield layer.inputs[1], layer.inputs[0]
    elif layer.type == "Rescaling" and not np.any(layer.options["offset"]):
        yield layer.inputs[0], np.broadcast_to(numbers(layer, "scale"), (tensor.features,))


def terms(tensor: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """A sum of two, in both orders."""
    layer = tensor.layer
    if layer.type == "Add" and len(layer.inputs) == 2 and tensor.port == "y":
        yield layer.inputs[0], layer.inputs[1]
        yield layer.inputs[1], layer.inputs[0]


@dataclass
class Cells:
    """The cells of a graph, each looked for once; cells of equal weights have the same arrays."""

    known: dict[int, tuple[Tensor, list[Cell]]] = field(default_factory=dict)
    matrices: dict[tuple[tuple[int, ...], bytes], Matrix] = field(default_factory=dict)

    def of(self, tensor: Tensor) -> list[Cell]:
        """Those that a tensor may be the next state h of: more than one where input and state could change places."""
        if id(tensor) not in self.known:
            found = _of_layer(tensor) or _lstm(tensor) or _gru(tensor) or _simple(tensor)
            for cell in found:
                cell.x = [(source, self._one(matrix)) for source, matrix in cell.x]
                cell.recurrent = None if cell.recurrent is None else self._one(cell.recurrent)
            self.known[id(tensor)] = tensor, found
        return self.known[id(tensor)][1]

    def _one(self, matrix: Matrix) -> Matrix:
        key = matrix.shape, hashlib.sha256(np.ascontiguousarray(matrix).tobytes()).digest()
        return self.matrices.setdefault(key, matrix)


WEIGHTS = {"kernel", "recurrent_kernel", "bias"}


def _of_layer(h: Tensor) -> list[Cell]:
    """A recurrent node of one step, as a loop over it has it at each."""
    layer = h.layer
    x = layer.inputs[0].layer if layer.inputs else None
    if layer.type not in STATES or h.port != "h" or layer.lengths or layer.options.get("reverse"):
        return []
    if x is None or x.type != "RepeatVector" or x.options["n"] != 1 or not layer.parameters.keys() <= WEIGHTS:
        return []
    if len(layer.inputs) != 1 + len(layer.states) or layer.options.get("learn_initial_state"):
        return []
    kernel, recurrent = (layer.parameters[key].astype(np.float64) for key in ("kernel", "recurrent_kernel"))
    gates = kernel.shape[1] * (2 if layer.options.get("reset_after") else 1)
    held = layer.parameters.get("bias")
    bias = np.zeros(gates) if held is None else held.astype(np.float64).reshape(-1)
    options = {key: value for key, value in layer.options.items() if key not in ("units", "use_bias")}
    starts = [source_of(tensor) for tensor in layer.inputs[1:]]
    c0 = starts[1] if layer.type == "LSTM" else None
    source = [(source_of(x.inputs[0]), kernel)]
    return [Cell(layer.type, h.features, h, layer.states.get("c"), source, starts[0], c0, recurrent, bias, options)]


def _lstm(h: Tensor) -> list[Cell]:
    """h = o⊙φ(c), c = f⊙c₀ + i⊙g."""
    for gate, squashed in factors(h):
        o = activation_of(gate)
        out = activation_of(squashed) if isinstance(squashed, Tensor) else None
        if o is None or out is None:
            continue
        c = out[1]
        for kept, new in terms(c):
            for forget, before in factors(kept):
                f = activation_of(forget)
                if f is None or f[0] != o[0]:
                    continue
                for one, two in factors(new):
                    i = activation_of(one)
                    g = activation_of(two) if isinstance(two, Tensor) else None
                    if i is None or g is None or i[0] != o[0]:
                        continue
                    options = {"recurrent_activation": o[0], "activation": g[0]}
                    if out[0] != g[0]:
                        options["output_activation"] = out[0]
                    gates = [linear(t) for t in (i[1], f[1], g[1], o[1])]
                    before_c = source_of(before) if isinstance(before, Tensor) else before
                    made = _assembled("LSTM", h, c, gates, before_c, options)
                    if made:
                        return made
    return []


def _assembled(
    type: str, h: Tensor, c: Tensor | None, gates: Sequence[Linear | None], c0: Any, options: dict[str, Any]
) -> list[Cell]:
    """Cells whose gates are of one state and of inputs; one for each source that may be the state."""
    units = h.features
    known = [gate for gate in gates if gate is not None and gate.bias.size == units]
    if len(known) != len(gates):
        return []
    sources = {source.key: source for gate in known for source, _ in gate.terms}
    bias = np.concatenate([gate.bias for gate in known])

    def matrix(source: Source) -> Matrix:
        return _side_by_side(source, units, [gate.of(source) for gate in known])

    found = []
    for state in [source for source in sources.values() if source.features == units]:
        if len(sources) > 1:
            rest = [(source, matrix(source)) for source in sources.values() if source is not state]
            found.append(Cell(type, units, h, c, rest, state, c0, matrix(state), bias, dict(options)))
    if not isinstance(c0, Source) or type == "SimpleRNN":  # the first step: its state may be zeros and not be there
        rest = [(source, matrix(source)) for source in sources.values()]
        found.append(Cell(type, units, h, c, rest, None, c0, None, bias, dict(options)))
    return found


def _side_by_side(source: Source, units: int, blocks: Sequence[Matrix | None]) -> Matrix:
    """The matrices of a source's gates; None: the gate does not read it."""
    return np.hstack([np.zeros((source.features, units)) if block is None else block for block in blocks])


def _gru(h: Tensor) -> list[Cell]:
    """h = (1 − z)⊙n + z⊙h₀, also as n + z⊙(h₀ − n)."""
    for update, candidate, before, flipped in (*_mixed(h), *_moved(h)):
        z, n = activation_of(update), activation_of(candidate)
        if z is None or n is None or (flipped and z[0] != "sigmoid"):
            continue
        gate = linear(z[1])
        if gate is None:
            continue
        if flipped:  # 1 − σ(a) = σ(−a)
            gate = Linear(tuple((source, -matrix) for source, matrix in gate.terms), -gate.bias)
        options = {"recurrent_activation": z[0], "activation": n[0]}
        made = _reset_after(h, gate, n[1], before, options) or _reset_before(h, gate, n[1], before, options)
        if made is not None:
            return [made]
    return []


def _complement(tensor: Tensor) -> Tensor | None:
    """x of a 1 − x."""
    layer = tensor.layer
    fits = layer.type == "Rescaling" and layer.options in ZERO_ONE and tensor.port == "y"
    return layer.inputs[0] if fits else None


def _mixed(h: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor | Matrix, bool]]:
    """(update gate, candidate, state before, whether it is 1 − the update gate)."""
    for one, two in terms(h):
        for gate, before in factors(one):
            for other, new in factors(two):
                if not isinstance(new, Tensor):
                    continue
                if _complement(other) is gate:
                    yield gate, new, before, False
                if _complement(gate) is other:
                    yield other, new, before, True


def _moved(h: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor | Matrix, bool]]:
    """The same of a + gate⊙(b − a): a may be the candidate, or the state before."""
    for start, change in terms(h):
        for gate, difference in factors(change):
            if not isinstance(difference, Tensor) or difference.port != "y":
                continue
            layer = difference.layer
            if layer.type == "Subtract" and layer.inputs[1] is start:
                yield gate, start, layer.inputs[0], False
                yield gate, layer.inputs[0], start, True
            elif layer.type == "Rescaling" and layer.options["scale"] == -1.0 and layer.inputs[0] is start:
                yield gate, start, np.broadcast_to(numbers(layer, "offset"), (h.features,)), False


def _reset_after(
    h: Tensor, z: Linear, candidate: Tensor, before: Tensor | Matrix, options: dict[str, Any]
) -> Cell | None:
    """n = φ(x W + r⊙(h₀ R + b))."""
    for plain, product in terms(candidate):
        of_x = linear(plain)
        for gate, inner in factors(product):
            r = activation_of(gate)
            reset = linear(r[1]) if r is not None and r[0] == options["recurrent_activation"] else None
            if reset is None or of_x is None:
                continue
            if isinstance(before, Tensor):
                of_h = linear(inner) if isinstance(inner, Tensor) else None
                state = source_of(before)
                if of_h is None or of_h.keys != {state.key} or state.key in of_x.keys:
                    continue
                block, row = of_h.of(state), of_h.bias
            else:
                state, block = None, None
                if isinstance(inner, Tensor):
                    continue
                row = inner
            return _gru_cell(h, (z, reset, of_x), state, before, block, row, options)
    return None


def _reset_before(
    h: Tensor, z: Linear, candidate: Tensor, before: Tensor | Matrix, options: dict[str, Any]
) -> Cell | None:
    """n = φ(x W + (r⊙h₀) R + b)."""
    found = linear(candidate)
    if found is None:
        return None
    if not isinstance(before, Tensor):
        return None if before.any() else _first_before(h, z, found, options)
    for source, matrix in found.terms:
        for gate, other in factors(source.tensor) if source.step is None else ():
            r = activation_of(gate)
            if other is not before or r is None or r[0] != options["recurrent_activation"]:
                continue
            reset = linear(r[1])
            rest = Linear(tuple(term for term in found.terms if term[0] is not source), found.bias)
            if reset is not None and source_of(before).key not in rest.keys:
                return _gru_cell(h, (z, reset, rest), source_of(before), before, matrix, None, options)
    return None


def _first_before(h: Tensor, z: Linear, found: Linear, options: dict[str, Any]) -> Cell | None:
    """The first step on a state of zeros: its reset gate has nothing to do, and nothing tells what it is."""
    zeros = np.zeros(h.features)
    return _gru_cell(h, (z, None, found), None, zeros, None, None, options)


def _gru_cell(
    h: Tensor,
    gates: tuple[Linear, Linear | None, Linear],
    state: Source | None,
    before: Tensor | Matrix,
    block: Matrix | None,
    after: Matrix | None,
    options: dict[str, Any],
) -> Cell | None:
    units = h.features
    known = [gate for gate in gates if gate is not None]
    if any(gate.bias.size != units for gate in known):
        return None
    sources = {source.key: source for gate in known for source, _ in gate.terms}
    inputs = [source for key, source in sources.items() if state is None or key != state.key]
    if not inputs:
        return None

    def blocks(source: Source) -> list[Matrix | None]:
        return [gate.of(source) if gate is not None else None for gate in gates]

    x = [(source, _side_by_side(source, units, blocks(source))) for source in inputs]
    recurrent = None if state is None else _side_by_side(state, units, [*blocks(state)[:2], block])
    biases = [np.zeros(units) if gate is None else gate.bias for gate in gates]
    bias = np.concatenate(biases)
    if after is not None:
        bias = np.concatenate([bias, np.zeros(2 * units), after])
    options = {**options, "reset_after": after is not None}
    if gates[1] is None:
        options["unknown"] = slice(units, 2 * units)
    return Cell("GRU", units, h, None, x, state or np.asarray(before), None, recurrent, bias, options)


def _simple(h: Tensor) -> list[Cell]:
    """h = φ(x W + h₀ R + b)."""
    found = activation_of(h)
    gate = linear(found[1]) if found is not None else None
    if found is None or gate is None or not gate.terms:
        return []
    return _assembled("SimpleRNN", h, None, [gate], None, {"activation": found[0]})
