"""Parameters of flax: trees of linen and of nnx, and files of flax.serialization."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur import _files
from rekur.convert import _flax_cells, _trees
from rekur.convert._dialects import Cell
from rekur.convert._kinds import recurrent, weighted
from rekur.convert._needs import needed
from rekur.convert._parts import Part
from rekur.convert._recurrent import stack
from rekur.convert._registry import Format
from rekur.convert._source import Source

_LEAVES = {"kernel", "bias", "scale", "embedding"}
_ORDER = ("kernel", "recurrent_kernel", "bias")
_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)  # the first byte of a dict in MessagePack


def _recognises(source: Source) -> bool:
    if source.path is not None:
        return source.name.endswith(".msgpack") and source.head[:1] != b"" and source.head[0] in _MAPS
    if _is_module(source.object):
        return True
    if not isinstance(source.object, Mapping) or source.array_names:
        return False
    try:
        leaves = {str(name) for _, tree in _trees.nodes(source.object) for name, a in tree.items() if _is_leaf(a)}
    except ValueError:
        return False
    return bool(leaves & {"kernel", "embedding"}) and leaves <= _LEAVES


def _is_module(value: Any) -> bool:
    return any(c.__name__ == "Module" and c.__module__.startswith("flax.nnx") for c in type(value).__mro__)


def _is_leaf(value: Any) -> bool:
    """An array, or one of nnx's variables."""
    return _trees.is_array(value) or (hasattr(value, "shape") and not isinstance(value, Mapping))


def _tree(source: Source) -> Mapping[Any, Any]:
    if source.path is not None:
        needed("flax", "reading files of flax.serialization")
        from flax import serialization

        try:
            tree = serialization.msgpack_restore(source.bytes())
        except Exception as error:  # msgpack's own, UnicodeDecodeError, NumPy's, RecursionError, …
            raise ValueError(f"{source}: it is no whole file of flax.serialization: {error}") from None
    elif _is_module(source.object):
        from flax import nnx

        tree = nnx.to_pure_dict(nnx.state(source.object, nnx.Param))
    else:
        tree = source.object
    if not isinstance(tree, Mapping):
        raise ValueError(f"{source}: expected a dict of parameters, got {type(tree).__name__}")
    if isinstance(tree.get("params"), Mapping):
        tree = tree["params"]
    return dict(tree)


def _parts(source: Source) -> dict[str, Part]:
    what, found, cells = str(source), {}, {}
    inside: list[str] = []
    directions: dict[str, set[str]] = {}
    for place, tree in _trees.nodes(_tree(source)):
        if any(place.startswith(f"{outer}.") for outer in inside):
            continue
        name = place.removesuffix(".cell") if place != "cell" else ""
        if _flax_cells.is_cell(tree) or _flax_cells.other_cell(tree):
            inside.append(place)
            if not place:
                inside.append("")
            if _flax_cells.is_cell(tree):
                cells[name] = tree
                outer, _, last = name.rpartition(".")
                if last in ("forward_rnn", "backward_rnn"):
                    directions.setdefault(outer, set()).add(last)
                found[name] = _recurrent([name], cells, what)
            else:
                found[name] = _trees.unknown(f"{name} ({_flax_cells.other_cell(tree)})", {}, what)
            if not place:
                break
            continue
        leaves = {str(key): np.asarray(value) for key, value in tree.items() if _is_leaf(value)}
        if leaves:
            found[name] = _layer(name, leaves, what)
    found = _trees.paired(found, lambda names: _recurrent(names, cells, what))
    for outer, sides in directions.items():  # nnx.Bidirectional names its two
        if len(sides) == 2:
            places = [f"{outer}.{side}" if outer else side for side in ("forward_rnn", "backward_rnn")]
            found = {
                (outer if key == places[0] else key): (
                    _recurrent(places, cells, what, outer) if key == places[0] else part
                )
                for key, part in found.items()
                if key != places[1]
            }
    if not found:
        raise ValueError(f"{what}: it holds no arrays")
    return found


def _recurrent(names: "list[str] | Any", cells: Mapping[str, Any], what: str, name: str | None = None) -> Part:
    kinds, row = [], []
    for each in names:
        if each not in cells:
            raise ValueError(f"{what}: backward: it has no recurrent part '{each}', only {', '.join(cells)}")
        kind, weights = _flax_cells.weights_of(cells[each], f"{what}: '{each}'")
        bias = weights.get("bias")
        first, second = (bias[0], bias[1]) if bias is not None and bias.ndim == 2 else (bias, None)
        kinds.append(kind)
        row.append(Cell(weights["kernel"], weights["recurrent_kernel"], first, second))
    if len(set(kinds)) > 1:
        raise ValueError(f"{what}: backward: '{names[0]}' is {kinds[0]} and '{names[1]}' {kinds[1]}")
    return stack(names[0] if name is None else name, kinds[0], "rekur", [row], what, reset_after=True)


def _layer(name: str, leaves: Mapping[str, Any], what: str) -> Part:
    names = set(leaves)
    if names <= {"kernel", "bias"} and "kernel" in names and leaves["kernel"].ndim == 2:
        return _trees.dense(name, leaves["kernel"], leaves.get("bias"), what)
    if names == {"embedding"}:
        return _trees.embedding(name, leaves["embedding"], what)
    if names <= {"scale", "bias"} and all(array.ndim == 1 for array in leaves.values()):
        return _trees.layer_norm(name, leaves.get("scale"), leaves.get("bias"), what, "epsilon")
    return _trees.unknown(name, leaves, what)


def _make(model: Any, form: str = "linen") -> dict[str, Any]:
    what, tree = f"model '{model.name}'", {}
    for name, layer in weighted(model):
        found = recurrent(name, layer, "flax's cells", activations={"SimpleRNN": ("tanh", "relu")})
        arrays = layer.get_weights()
        if found is not None:
            cells = [
                _flax_cells.tree_of(
                    found.kind, dict(zip(_ORDER, weights, strict=False)), form, f"{what}: layer '{name}'"
                )
                for weights in found.directions
            ]
            sides = ("forward_rnn", "backward_rnn")
            tree[name] = (
                {side: {"cell": cell} for side, cell in zip(sides, cells, strict=True)}
                if len(cells) == 2
                else {"cell": cells[0]}
            )
            continue
        inner = layer.layer if type(layer).__name__ == "TimeDistributed" else layer
        kind = type(inner).__name__
        if kind == "Dense":
            tree[name] = dict(zip(("kernel", "bias"), arrays, strict=False))
        elif kind == "Embedding":
            tree[name] = {"embedding": arrays[0]}
        elif kind == "LayerNormalization":
            names = [*(["scale"] if inner.scale else []), *(["bias"] if inner.center else [])]
            tree[name] = dict(zip(names, arrays, strict=True))
        else:
            raise ValueError(f"layer '{name}' ({kind}): no layer of these weights is written for flax")
    return {"params": tree}


def _save(model: Any, path: str, form: str = "linen") -> None:
    tree = _make(model, form)
    needed("flax", "writing files of flax.serialization")
    from flax import serialization

    _files.write_atomic(os.fspath(path), serialization.msgpack_serialize(tree))


_FORM = {
    "form": "`linen`, `nnx` or `nnx_optimized`: the cells of linen, of nnx, or nnx's OptimizedLSTMCell and the others"
}

FORMAT = Format(
    name="flax",
    title="flax",
    given="trees of parameters of linen (`variables`, `params`) and nnx (states, pure dicts, modules); `.msgpack` of "
    "flax.serialization",
    recognises=_recognises,
    reads="`nn.RNN` of LSTMCell, OptimizedLSTMCell, GRUCell, SimpleCell with their default activations, Dense, Embed, "
    'LayerNorm; the second direction of linen\'s Bidirectional is said by `(name, {"backward": other})`',
    writes="recurrent layers, Dense, Embedding, LayerNormalization; also a tree",
    suffixes=(".msgpack",),
    parts=_parts,
    save=_save,
    make=_make,
    save_options=_FORM,
    needs="flax",
    checked="flax",
)
