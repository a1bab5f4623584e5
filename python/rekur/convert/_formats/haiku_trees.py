"""Parameters of DeepMind's Haiku: a dict of modules' dicts."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur.convert import _trees
from rekur.convert._dialects import Cell, as_floats, from_rekur
from rekur.convert._kinds import recurrent, weighted
from rekur.convert._parts import Made, Part
from rekur.convert._recurrent import stack
from rekur.convert._registry import Format
from rekur.convert._source import Source

_LEAVES = {"w", "b", "w_i", "w_h", "embeddings", "scale", "offset"}
_LSTM = re.compile(r"(?:.*/)?lstm(?:_\d+)?/linear")
_VANILLA = re.compile(r"(?:.*/)?vanilla_rnn(?:_\d+)?")


def _recognises(source: Source) -> bool:
    tree = source.object
    if source.path is not None or not isinstance(tree, Mapping) or not tree:
        return False
    leaves: set[str] = set()
    for module, arrays in tree.items():
        if not isinstance(module, str) or not isinstance(arrays, Mapping):
            return False
        if not all(_trees.is_array(array) for array in arrays.values()):
            return False
        leaves |= {str(name) for name in arrays}
    return bool(leaves & {"w", "w_i", "embeddings"}) and leaves <= _LEAVES


def _parts(source: Source) -> dict[str, Part]:
    what = str(source)
    if not _recognises(source):
        raise TypeError(f"load: format 'haiku' is a dict of modules' dicts of arrays, got {source}")
    tree = {str(n): {str(k): np.asarray(a) for k, a in arrays.items()} for n, arrays in source.object.items()}
    cells: dict[str, tuple[str, Cell]] = {}
    found: dict[str, Part] = {}
    for name, arrays in tree.items():
        if name.endswith("/linear_1") and name.removesuffix("_1") in tree:
            outer = name.removesuffix("/linear_1")
            first = tree[f"{outer}/linear"]
            if _is_vanilla(outer, first, arrays):
                found.pop(f"{outer}/linear", None)
                cells[outer] = "SimpleRNN", Cell(first.get("w"), arrays.get("w"), first.get("b"), arrays.get("b"))
                found[outer] = _recurrent([outer], cells, what)
                continue
        found[name] = _part(name, arrays, cells, what)
    return _trees.paired(found, lambda names: _recurrent(names, cells, what))


def _is_vanilla(outer: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    shapes = [np.shape(arrays.get("w", ())) for arrays in (first, second)]
    return _VANILLA.fullmatch(outer) is not None and len(shapes[0]) == 2 and shapes[1] == (shapes[0][1], shapes[0][1])


def _part(name: str, arrays: Mapping[str, Any], cells: dict[str, tuple[str, Cell]], what: str) -> Part:
    names = set(arrays)
    if {"w_i", "w_h"} <= names <= {"w_i", "w_h", "b"}:
        cells[name] = "GRU", Cell(arrays["w_i"], arrays["w_h"], arrays.get("b"))
        return _recurrent([name], cells, what)
    if "w" in names <= {"w", "b"} and arrays["w"].ndim == 2:
        rows, columns = arrays["w"].shape
        inner = name.endswith("/linear") and not name.endswith("/~/linear")  # an LSTM makes its own when it is called
        may_be = inner and columns % 4 == 0 and columns > 0 and rows > columns // 4 and "b" in names
        if _LSTM.fullmatch(name) and may_be:
            cells[name] = "LSTM", _lstm(arrays, f"{what}: '{name}'")
            return _recurrent([name], cells, what)
        linear = _trees.dense(name, arrays["w"], arrays.get("b"), what)
        return _either(name, linear, arrays, cells, what) if may_be else linear
    if names == {"embeddings"}:
        return _trees.embedding(name, arrays["embeddings"], what)
    if names and names <= {"scale", "offset"} and all(array.ndim == 1 for array in arrays.values()):
        return _trees.layer_norm(name, arrays.get("scale"), arrays.get("offset"), what, "eps")
    return _trees.unknown(name, arrays, what)


def _either(name: str, linear: Part, arrays: Any, cells: dict[str, tuple[str, Cell]], what: str) -> Part:
    """An LSTM of a name of its author's has a Linear within, which any other module may have as well."""

    def make(kind: str | None = None, **given: Any) -> list[Made]:
        if kind == "Linear" and not given:
            return linear.make()
        if kind == "LSTM":
            cells[name] = "LSTM", _lstm(arrays, f"{what}: '{name}'")
            return _recurrent([name], cells, what).make(**given)
        raise ValueError(
            f"{what}: '{name}', a matrix of shape {arrays['w'].shape}, may be a Linear or that of an LSTM: say "
            f"('{name}', {{'kind': 'Linear'}}) or ('{name}', {{'kind': 'LSTM'}}) in layers"
            + f", got kind={kind!r}"
            * (kind is not None)
        )

    return Part(name, f"Linear or LSTM {arrays['w'].shape}", make, None, ("kind", "return_sequences"), True, 2)


def _lstm(arrays: Mapping[str, Any], what: str) -> Cell:
    """Rows of x, then of h; the forget gate adds 1 to what it has."""
    w, b = as_floats(arrays["w"], what), as_floats(arrays["b"], what).copy()
    units = w.shape[1] // 4
    b[2 * units : 3 * units] += 1
    return Cell(w[:-units], w[-units:], b)


def _recurrent(names: Any, cells: Mapping[str, tuple[str, Cell]], what: str) -> Part:
    for name in names:
        if name not in cells:
            raise ValueError(f"{what}: backward: it has no recurrent part '{name}', only {', '.join(cells)}")
    kinds = {cells[name][0] for name in names}
    if len(kinds) > 1:
        raise ValueError(f"{what}: backward: {' and '.join(repr(name) for name in names)} are of two kinds")
    kind = kinds.pop()
    settings = {"activation": "relu"} if kind == "SimpleRNN" else {}
    return stack(names[0], kind, "haiku", [[cells[name][1] for name in names]], what, settings, reset_after=False)


def _make(model: Any) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = {}
    for name, layer in weighted(model):
        found = recurrent(
            name, layer, "Haiku", reset_after=(False,), activations={"SimpleRNN": ("relu",)}, directions=1
        )
        arrays = layer.get_weights()
        if found is not None:
            kind, ((*weights,),) = found.kind, found.directions
            units = weights[1].shape[0]
            cell = from_rekur("haiku", kind, weights, found.layer.use_bias)
            bias = np.zeros(weights[0].shape[1], np.float32) if cell.bias is None else cell.bias
            if kind == "LSTM":
                bias = bias.copy()
                bias[2 * units : 3 * units] -= 1
                tree[f"{name}/lstm/linear"] = {"w": np.concatenate([cell.kernel, cell.recurrent]), "b": bias}
            elif kind == "GRU":
                tree[f"{name}/gru"] = {"w_i": cell.kernel, "w_h": cell.recurrent, "b": bias}
            else:
                tree[f"{name}/vanilla_rnn/linear"] = {"w": cell.kernel, "b": bias}
                tree[f"{name}/vanilla_rnn/linear_1"] = {"w": cell.recurrent, "b": np.zeros_like(bias)}
            continue
        inner = layer.layer if type(layer).__name__ == "TimeDistributed" else layer
        kind = type(inner).__name__
        if kind == "Dense":
            tree[f"{name}/~/linear"] = dict(zip("wb", arrays, strict=False))
        elif kind == "Embedding":
            tree[name] = {"embeddings": arrays[0]}
        elif kind == "LayerNormalization":
            names = [*(["scale"] if inner.scale else []), *(["offset"] if inner.center else [])]
            tree[name] = dict(zip(names, arrays, strict=True))
        else:
            raise ValueError(f"layer '{name}' ({kind}): no layer of these weights is written for Haiku")
    return tree


FORMAT = Format(
    name="haiku",
    title="Haiku",
    given="trees of parameters of hk.transform",
    recognises=_recognises,
    reads="LSTM (1 is added to the forget gate, as there), GRU, VanillaRNN (relu), Linear, Embed, LayerNorm; an LSTM "
    "of another name than `lstm` is said by `kind`",
    writes="LSTM, GRU with `reset_after=False`, SimpleRNN with relu, Dense, Embedding, LayerNormalization: a tree, "
    "modules under the layers' names",
    parts=_parts,
    make=_make,
    checked="dm-haiku",
)
