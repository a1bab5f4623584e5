"""Modules of Equinox, whose classes say what they are. A .eqx file holds arrays alone: it needs such a module."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rekur.convert import _trees
from rekur.convert._dialects import Cell, from_rekur
from rekur.convert._kinds import recurrent, weighted
from rekur.convert._needs import needed
from rekur.convert._parts import Part
from rekur.convert._recurrent import single, stack
from rekur.convert._registry import Format
from rekur.convert._source import Source


def _is_module(value: Any) -> bool:
    return any(c.__name__ == "Module" and c.__module__.startswith("equinox") for c in type(value).__mro__)


def _recognises(source: Source) -> bool:
    return source.name.endswith(".eqx") if source.path is not None else _is_module(source.object)


def _module(source: Source, like: Any) -> Any:
    if source.path is None:
        if like is not None:
            raise TypeError("load: like= is the module of a .eqx file; a module is read as it is")
        return source.object
    if not _is_module(like):
        raise ValueError(
            f"{source}: a file of equinox.tree_serialise_leaves holds arrays without names: give like=, a module of "
            "the same shapes" + f", got {type(like).__name__}" * (like is not None)
        )
    eqx = needed("equinox", "reading .eqx files")
    try:
        return eqx.tree_deserialise_leaves(source.path, like)
    except OSError:
        raise
    except Exception as error:  # of NumPy's reader, of leaves that differ in shape, …
        raise ValueError(f"{source}: its arrays are not those of the module that like= gave: {error}") from None


def _children(value: Any, place: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Modules within, each before its own."""
    if depth > 100:
        raise ValueError("the module is nested more than 100 levels deep")
    if _is_module(value):
        yield place, value
        if _kind(value) in _MAKERS:
            return
        inner: Any = [(f.name, getattr(value, f.name, None)) for f in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, (list, tuple)):
        inner = enumerate(value)
    else:
        return
    for name, child in inner:
        yield from _children(child, f"{place}.{name}" if place else str(name), depth + 1)


def _kind(module: Any) -> str:
    """The name of a class of Equinox's own; empty for a class of somebody else's."""
    cls = type(module)
    return cls.__name__ if cls.__module__.startswith("equinox.nn") else ""


def _parts(source: Source, like: Any = None) -> dict[str, Part]:
    module, what, cells = _module(source, like), str(source), {}
    found: dict[str, Part] = {}
    for place, child in _children(module, ""):
        kind = _kind(child)
        if kind in ("LSTMCell", "GRUCell"):
            cells[place] = child
            found[place] = _recurrent([place], cells, what)
        elif kind in _MAKERS:
            found[place] = _MAKERS[kind](place, child, what)
        elif _kind(child) and any(_trees.is_array(v) for v in vars(child).values()):
            arrays = {name: np.asarray(v) for name, v in vars(child).items() if _trees.is_array(v)}
            found[place] = _trees.unknown(f"{place} ({kind})", arrays, what)
    if not found:
        raise ValueError(f"{what}: it has no LSTMCell, GRUCell, Linear, Embedding, LayerNorm or RMSNorm of Equinox")
    return _trees.paired(found, lambda names: _recurrent(names, cells, what))


def _recurrent(names: Any, cells: Mapping[str, Any], what: str) -> Part:
    row, kinds = [], set()
    for name in names:
        if name not in cells:
            raise ValueError(f"{what}: backward: it has no recurrent part '{name}', only {', '.join(cells)}")
        cell = cells[name]
        kinds.add(kind := _kind(cell).removesuffix("Cell"))
        bias, after = (None if b is None else np.asarray(b) for b in (cell.bias, getattr(cell, "bias_n", None)))
        if kind == "GRU" and after is not None:
            after = np.concatenate([np.zeros(2 * after.size, np.float32), after])
        row.append(Cell(np.asarray(cell.weight_ih), np.asarray(cell.weight_hh), bias, after))
    if len(kinds) > 1:
        raise ValueError(f"{what}: backward: {' and '.join(repr(name) for name in names)} are of two kinds")
    return stack(names[0], kinds.pop(), "equinox", [row], what)


def _linear(name: str, module: Any, what: str) -> Part:
    if np.ndim(module.weight) != 2 or "scalar" in (module.in_features, module.out_features):
        raise ValueError(f"{what}: '{name}': there is no Linear of scalars here")
    return _trees.dense(name, np.asarray(module.weight).T, module.bias, what)


def _embedding(name: str, module: Any, what: str) -> Part:
    return _trees.embedding(name, module.weight, what)


def _norm(name: str, module: Any, what: str) -> Part:
    from rekur.layers import LayerNormalization, RMSNormalization

    if len(module.shape) != 1:
        raise ValueError(f"{what}: '{name}': normalisation is over the last axis, and here over {module.shape}")
    weight, bias = module.weight, module.bias
    arrays = [np.asarray(a) for a in (weight, bias) if a is not None]

    def layer(label: str | None) -> Any:
        if _kind(module) == "LayerNorm":
            return LayerNormalization(
                epsilon=float(module.eps), scale=weight is not None, center=bias is not None, name=label
            )
        return RMSNormalization(epsilon=float(module.eps), name=label)

    if _kind(module) == "RMSNorm" and (weight is None or bias is not None):
        raise ValueError(f"{what}: '{name}': there is only an RMSNorm with a weight and without a bias here")
    return single(name, _kind(module), layer, arrays, int(module.shape[0]))


_MAKERS = {
    "LSTMCell": None, "GRUCell": None,
    "Linear": _linear, "Embedding": _embedding, "LayerNorm": _norm, "RMSNorm": _norm,
}  # type: Any  # fmt: skip


def _make(model: Any) -> dict[str, Any]:
    eqx, jax = needed("equinox", "modules of Equinox"), needed("jax", "modules of Equinox")
    key, tree = jax.random.PRNGKey(0), {}

    def filled(module: Any, **arrays: Any) -> Any:
        named = {name: array for name, array in arrays.items() if array is not None}
        where = [name for name in named if getattr(module, name) is not None]
        values = [jax.numpy.asarray(named[name]) for name in where]
        return eqx.tree_at(lambda m: [getattr(m, name) for name in where], module, values)

    for name, layer in weighted(model):
        found = recurrent(name, layer, "Equinox", kinds=("LSTM", "GRU"))
        arrays = layer.get_weights()
        if found is not None:
            both = [_cell(found.kind, w, found.layer.use_bias, eqx, key, filled) for w in found.directions]
            tree[name] = both[0] if len(both) == 1 else {"forward": both[0], "backward": both[1]}
            continue
        inner = layer.layer if type(layer).__name__ == "TimeDistributed" else layer
        kind = type(inner).__name__
        if kind == "Dense":
            made = eqx.nn.Linear(*arrays[0].shape, use_bias=len(arrays) > 1, key=key)
            tree[name] = filled(made, weight=arrays[0].T, bias=arrays[1] if len(arrays) > 1 else None)
        elif kind == "Embedding":
            tree[name] = eqx.nn.Embedding(weight=jax.numpy.asarray(arrays[0]))
        elif kind == "LayerNormalization":
            size = arrays[0].shape
            made = eqx.nn.LayerNorm(size, eps=inner.epsilon, use_weight=inner.scale, use_bias=inner.center)
            names = [*(["weight"] if inner.scale else []), *(["bias"] if inner.center else [])]
            tree[name] = filled(made, **dict(zip(names, arrays, strict=True)))
        else:
            raise ValueError(f"layer '{name}' ({kind}): no layer of these weights is written for Equinox")
    return tree


def _cell(kind: str, weights: list[Any], use_bias: bool, eqx: Any, key: Any, filled: Any) -> Any:
    units, features = weights[1].shape[0], weights[0].shape[0]
    cell = from_rekur("equinox", kind, weights, use_bias)
    made = (eqx.nn.LSTMCell if kind == "LSTM" else eqx.nn.GRUCell)(features, units, use_bias, key=key)
    bias, after = cell.bias, cell.recurrent_bias
    if kind == "GRU" and bias is not None and after is not None:  # those of the gates are added to each other
        bias = np.concatenate([bias[: 2 * units] + after[: 2 * units], bias[2 * units :]])
        return filled(made, weight_ih=cell.kernel, weight_hh=cell.recurrent, bias=bias, bias_n=after[2 * units :])
    return filled(made, weight_ih=cell.kernel, weight_hh=cell.recurrent, bias=bias)


FORMAT = Format(
    name="equinox",
    title="Equinox",
    given="modules, dicts and lists of them within one; `.eqx` with `like=`",
    recognises=_recognises,
    reads="LSTMCell, GRUCell, Linear, Embedding, LayerNorm, RMSNorm; order and activations are asked for; a cell that "
    'reads from the end is said by `(name, {"backward": other})`',
    writes="LSTM, GRU, Dense, Embedding, LayerNormalization: a dict of modules by the layers' names",
    parts=_parts,
    make=_make,
    load_options={"like": "of a `.eqx` file: a module of the same shapes"},
    needs="equinox",
    checked="equinox",
)
