"""Weights of oneDNN's RNN primitives in its plain formats: ldigo and ldgo."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur._validate import Floats
from rekur.convert._dialects import Cell, as_floats, from_rekur
from rekur.convert._kinds import Recurrent, recurrent, weighted
from rekur.convert._parts import Made, Part
from rekur.convert._recurrent import stack
from rekur.convert._registry import Format
from rekur.convert._source import Source

_LEAVES = {"weights_layer", "weights_iter", "bias", "weights_projection", "weights_peephole"}
_KINDS = {1: "SimpleRNN", 3: "GRU", 4: "LSTM"}
_GRUS = {"vanilla_gru": False, "lbr_gru": True}
_MERGES = {"concat": "concat", "sum": "sum"}


def _recognises(source: Source) -> bool:
    leaves = {name.rpartition(".")[2] for name in source.array_names}
    return {"weights_layer", "weights_iter"} <= leaves <= _LEAVES


def _parts(source: Source, primitive: str | None = None, direction: str | None = None) -> dict[str, Part]:
    what = str(source)
    groups: dict[str, dict[str, Any]] = {}
    for name, array in source.arrays().items():
        place, _, leaf = name.rpartition(".")
        groups.setdefault(place, {})[leaf] = as_floats(array, f"{what}: '{name}'")
    if not groups:
        raise ValueError(f"{what}: expected weights_layer and weights_iter, got no arrays")
    return {place: _part(place, leaves, what, primitive, direction) for place, leaves in groups.items()}


def _part(place: str, leaves: Mapping[str, Floats], what: str, primitive: str | None, direction: str | None) -> Part:
    what = f"{what}: '{place}'" if place else what
    if missing := {"weights_layer", "weights_iter"} - set(leaves):
        raise ValueError(f"{what}: it lacks {', '.join(sorted(missing))}")
    if extra := set(leaves) - (_LEAVES - {"weights_peephole"}):
        raise ValueError(f"{what}: {', '.join(sorted(extra))} cannot be read")
    layer, step, bias = leaves["weights_layer"], leaves["weights_iter"], leaves.get("bias")
    if layer.ndim != 5 or step.ndim != 5 or layer.shape[:2] != step.shape[:2] or layer.shape[3:] != step.shape[3:]:
        raise ValueError(
            f"{what}: expected weights_layer and weights_iter of ldigo, (layers, directions, inputs, gates, units), "
            f"got {layer.shape} and {step.shape}"
        )
    L, D, _, G, H = layer.shape
    kind = _KINDS.get(G)
    if kind is None or D not in (1, 2) or L == 0:
        raise ValueError(f"{what}: expected 1, 3 or 4 gates and 1 or 2 directions, got shape {layer.shape}")
    reset_after = _reset_after(kind, bias, primitive, what)
    blocks = 4 if reset_after else G
    if bias is not None and bias.shape != (L, D, blocks, H):
        raise ValueError(f"{what}: expected a bias of ldgo, {(L, D, blocks, H)}, got {bias.shape}")
    projection = leaves.get("weights_projection")
    if projection is not None and (kind != "LSTM" or projection.shape != (L, D, H, step.shape[2])):
        raise ValueError(f"{what}: expected weights_projection {(L, D, H, step.shape[2])}, got {projection.shape}")
    cells = [[_cell(layer, step, bias, projection, k, d, reset_after) for d in range(D)] for k in range(L)]
    if D == 1:
        return stack(place, kind, "onednn", cells, what, reset_after=bool(reset_after))
    if direction not in _MERGES:
        raise ValueError(
            f"{what}: its weights have two directions, and do not say how these are joined: give direction='concat' or "
            "'sum', as in the primitive" + f", got {direction!r}" * (direction is not None)
        )
    return _joined(stack(place, kind, "onednn", cells[:1], what, reset_after=bool(reset_after)), place, kind, cells,
                   what, bool(reset_after), direction)  # fmt: skip


def _reset_after(kind: str, bias: Floats | None, primitive: str | None, what: str) -> bool | None:
    """Of a GRU whether it is the one that resets after the product, linear before reset: its bias has four blocks."""
    if primitive is not None and (primitive not in _GRUS or kind != "GRU"):
        raise ValueError(
            f"{what}: primitive is 'vanilla_gru' or 'lbr_gru', of weights of three gates, got {primitive!r}"
        )
    if kind != "GRU":
        return None
    by_bias = None if bias is None or bias.ndim != 4 else bias.shape[2] == 4
    asked = None if primitive is None else _GRUS[primitive]
    if by_bias is None and asked is None:
        raise ValueError(
            f"{what}: weights of a GRU without a bias may be of two: give primitive='vanilla_gru' or 'lbr_gru'"
        )
    if by_bias is not None and asked is not None and asked != by_bias:
        raise ValueError(f"{what}: a {primitive} has {4 if asked else 3} blocks of biases, got {bias.shape}")  # type: ignore[union-attr]
    return asked if by_bias is None else by_bias


def _cell(
    layer: Floats, step: Floats, bias: Floats | None, projection: Floats | None, k: int, d: int, after: Any
) -> Cell:
    H = layer.shape[4]
    kernel, recurrent = (w[k, d].reshape(w.shape[2], -1) for w in (layer, step))
    m = None if projection is None else projection[k, d]
    if bias is None:
        return Cell(kernel, recurrent, None, None, m)
    b = bias[k, d].reshape(-1)
    if not after:
        return Cell(kernel, recurrent, b, None, m)
    zeros = np.zeros(2 * H, np.float32)
    return Cell(kernel, recurrent, b[: 3 * H], np.concatenate([zeros, b[3 * H :]]), m)


def _joined(first: Part, place: str, kind: str, cells: Any, what: str, after: bool, direction: str) -> Part:
    """Two directions that are joined in one of two ways."""
    if direction == "concat":
        return stack(place, kind, "onednn", cells, what, reset_after=after)
    # Summed, every layer has as many inputs as units.
    stacks = [stack(place, kind, "onednn", [row], what, reset_after=after) for row in cells]

    def make(return_sequences: bool = True, **given: Any) -> list[Made]:
        made: list[Made] = []
        for k, part in enumerate(stacks):
            last = k == len(stacks) - 1
            for layer, weights in part.make(return_sequences=return_sequences or not last, **given):
                layer.merge_mode = "sum"
                if len(stacks) > 1 and place:
                    layer.name = f"{place}_l{k}"
                made.append((layer, weights))
        return made

    return Part(place, first.words, make, first.features, first.options, True, 2)


def _make(model: Any) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for name, layer in weighted(model):
        activations = {"SimpleRNN": ("tanh", "relu", "sigmoid")}
        entry = recurrent(
            name, layer, "oneDNN", reset_after=(True, False), activations=activations, merge_modes=("concat", "sum")
        )
        if entry is None:
            raise ValueError(
                f"layer '{name}' ({type(layer).__name__}): oneDNN's RNN primitives have recurrent layers alone"
            )
        for leaf, array in _arrays(entry).items():
            found[f"{name}.{leaf}"] = np.ascontiguousarray(array, np.float32)
    return found


def _arrays(entry: Recurrent) -> dict[str, Floats]:
    rows: list[list[Any]] = []
    for weights in entry.directions:
        cell = from_rekur("onednn", entry.kind, weights, entry.layer.use_bias)
        H = cell.recurrent.shape[1] // {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}[entry.kind]
        bias = np.zeros(cell.kernel.shape[1], np.float32) if cell.bias is None else cell.bias
        if entry.kind == "GRU" and entry.layer.reset_after:  # biases of the gates are added to each other
            after = np.zeros_like(bias) if cell.recurrent_bias is None else cell.recurrent_bias
            bias = np.concatenate([bias[: 2 * H] + after[: 2 * H], bias[2 * H :], after[2 * H :]])
        blocks = [a.reshape(1, a.shape[0], -1, H) for a in (cell.kernel, cell.recurrent)]
        rows.append([*blocks, bias.reshape(1, -1, H)])
    names = ("weights_layer", "weights_iter", "bias")
    return {name: np.stack([row[k][0] for row in rows])[None] for k, name in enumerate(names)}


FORMAT = Format(
    name="onednn",
    title="oneDNN",
    given="a dict of arrays or `.safetensors`: weights_layer, weights_iter of ldigo, bias of ldgo, weights_projection "
    "of ldio; several primitives with a prefix and a dot",
    recognises=_recognises,
    reads="vanilla RNN, LSTM, vanilla GRU, LBR GRU (told apart by the bias), of layers and directions",
    writes="SimpleRNN, LSTM, both GRUs: a dict of arrays, a primitive a layer",
    parts=_parts,
    make=_make,
    load_options={
        "primitive": "of a GRU without a bias: `vanilla_gru` or `lbr_gru`",
        "direction": "of two directions: `concat` or `sum`",
    },
    checked="its equations in float64",
)
