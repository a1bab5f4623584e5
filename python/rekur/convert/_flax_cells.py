"""The parameters of flax's recurrent cells: of linen, whose gates have names, and of nnx, where most are one matrix.

Works on arrays of NumPy and, given ``jax.numpy``, on those of JAX, traced ones too. Of linen's cells i, f, g, o of an
LSTM and z, r, n of a GRU are children ``ii``, ``hi``, …; nnx spells ``if`` ``if_`` and has ``dense_i`` and ``dense_h``
with the columns of i, f, g, o and of r, z, n. A GRU resets after the product; of its recurrent biases there is at most
that of n.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur._validate import did_you_mean

FORMS = ("linen", "nnx", "nnx_optimized")
GATES = {"LSTM": "ifgo", "GRU": "zrn", "SimpleRNN": "h"}
_NNX = {"LSTM": "ifgo", "GRU": "rzn", "SimpleRNN": "h"}
_BY_BLOCKS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}
_LINEN = {
    "LSTM": {f"{side}{gate}" for side in "ih" for gate in "ifgo"},
    "GRU": {f"{side}{gate}" for side in "ih" for gate in "zrn"},
    "SimpleRNN": {"i", "h"},
}
_OTHERS = {"MGUCell": {"if", "in", "hf", "hn"}, "ConvLSTMCell": {"ih", "hh"}}


def is_cell(tree: Any) -> bool:
    """Whether a subtree is one cell's."""
    return kind_of(tree) is not None


def kind_of(tree: Any) -> str | None:
    """``"LSTM"``, ``"GRU"`` or ``"SimpleRNN"``; None where it is no cell that rekur has a layer for."""
    if not isinstance(tree, Mapping):
        return None
    names = _names(tree)
    if set(names) == {"dense_i", "dense_h"}:
        shape = np.shape(_leaf(names["dense_h"], "kernel"))
        return _BY_BLOCKS.get(shape[1] // shape[0]) if len(shape) == 2 and shape[0] else None
    return next((kind for kind, wanted in _LINEN.items() if set(names) == wanted), None)


def other_cell(tree: Any) -> str | None:
    """The name of a cell of flax that rekur has no layer for."""
    names = set(_names(tree)) if isinstance(tree, Mapping) else set()
    return next((name for name, wanted in _OTHERS.items() if names == wanted), None)


def _names(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name).rstrip("_"): child for name, child in tree.items()}


def _leaf(child: Any, name: str) -> Any:
    return child.get(name) if isinstance(child, Mapping) else None


def weights_of(tree: Mapping[str, Any], what: str, xp: Any = np) -> tuple[str, dict[str, Any]]:
    """The kind, and kernel, recurrent_kernel and bias as rekur has them: of a GRU two rows of biases.

    Raises
    ------
    ValueError
        If it is no such cell, or its arrays do not belong together.
    """
    kind = kind_of(tree)
    if kind is None:
        other = other_cell(tree)
        listed = ", ".join(str(name) for name in tree)
        raise ValueError(
            f"{what}: rekur has no layer for flax's {other}" if other else
            f"{what}: expected the parameters of an LSTMCell, OptimizedLSTMCell, GRUCell or SimpleCell, got {listed}"
        )  # fmt: skip
    names, gates = _names(tree), GATES[kind]
    if "dense_i" in names:
        parts = [_split(names[f"dense_{side}"], kind, f"{what}: dense_{side}", xp) for side in "ih"]
    elif kind == "SimpleRNN":
        parts = [{"h": _dense(names[side], f"{what}: {side}", xp)} for side in "ih"]
    else:
        parts = [{g: _dense(names[f"{side}{g}"], f"{what}: {side}{g}", xp) for g in gates} for side in "ih"]
    units = parts[1][gates[0]][0].shape[0]
    features = parts[0][gates[0]][0].shape[0]
    for side, rows, part in zip("ih", (features, units), parts, strict=True):
        for gate, (kernel, bias) in part.items():
            if kernel.shape != (rows, units) or (bias is not None and bias.shape != (units,)):
                shown = kernel.shape if kernel.shape != (rows, units) else bias.shape
                raise ValueError(f"{what}: {side}{gate}: expected ({rows}, {units}) and ({units},), got {shown}")
    found = {
        "kernel": xp.concatenate([parts[0][g][0] for g in gates], axis=1),
        "recurrent_kernel": xp.concatenate([parts[1][g][0] for g in gates], axis=1),
    }
    rows_of_biases = [[part[g][1] for g in gates] for part in parts]
    if all(bias is None for row in rows_of_biases for bias in row):
        return kind, found
    zeros = xp.zeros((units,), found["kernel"].dtype)
    first, second = (xp.concatenate([zeros if b is None else b for b in row]) for row in rows_of_biases)
    return kind, {**found, "bias": xp.stack([first, second]) if kind == "GRU" else first + second}


def _dense(child: Any, what: str, xp: Any) -> tuple[Any, Any]:
    kernel, bias = _leaf(child, "kernel"), _leaf(child, "bias")
    if kernel is None or np.ndim(kernel) != 2 or set(child) - {"kernel", "bias"}:
        came = ", ".join(child) if isinstance(child, Mapping) else type(child).__name__
        raise ValueError(f"{what}: expected a matrix 'kernel' and perhaps a 'bias', got {came}")
    return xp.asarray(kernel), None if bias is None else xp.asarray(bias)


def _split(child: Any, kind: str, what: str, xp: Any) -> dict[str, tuple[Any, Any]]:
    kernel, bias = _dense(child, what, xp)
    gates = _NNX[kind]
    if kernel.shape[1] % len(gates) or (bias is not None and bias.shape != (kernel.shape[1],)):
        raise ValueError(f"{what}: expected {len(gates)} blocks of columns and as many biases, got {kernel.shape}")
    kernels = xp.split(kernel, len(gates), axis=1)
    biases = [None] * len(gates) if bias is None else xp.split(bias, len(gates))
    return {gate: (k, b) for gate, k, b in zip(gates, kernels, biases, strict=True)}


def tree_of(kind: str, weights: Mapping[str, Any], form: str, what: str, xp: Any = np) -> dict[str, Any]:
    """The parameters of flax's cell of rekur's weights.

    Parameters
    ----------
    form : {"linen", "nnx", "nnx_optimized"}
        linen's LSTMCell, OptimizedLSTMCell, GRUCell, SimpleCell; nnx's LSTMCell, GRUCell, SimpleCell; nnx's
        OptimizedLSTMCell.

    Raises
    ------
    ValueError
        For weights that flax's cell has no place for.
    """
    if form not in FORMS:
        raise ValueError(
            f"{what}: form must be one of {', '.join(FORMS)}, got {form!r}{did_you_mean(str(form), FORMS)}"
        )
    if extra := set(weights) - {"kernel", "recurrent_kernel", "bias"}:
        raise ValueError(f"{what}: flax's cell has no {', '.join(sorted(extra))}")
    gates, count = GATES[kind], len(GATES[kind])
    kernel, recurrent = xp.asarray(weights["kernel"]), xp.asarray(weights["recurrent_kernel"])
    units = recurrent.shape[0]
    if recurrent.shape != (units, count * units) or kernel.shape[1:] != recurrent.shape[1:]:
        raise ValueError(f"{what}: kernels of shapes {kernel.shape} and {recurrent.shape} are none of flax's {kind}")
    bias = weights.get("bias")
    bias = xp.zeros((count * units,), kernel.dtype) if bias is None else xp.asarray(bias)
    if kind == "GRU" and bias.ndim == 1 and weights.get("bias") is not None:
        raise ValueError(f"{what}: flax's GRUCell resets after the product (reset_after=True), with two rows of biases")
    first, second = (bias[0], bias[1]) if bias.ndim == 2 else (bias, None)
    inputs = dict(zip(gates, xp.split(kernel, count, axis=1), strict=True))
    states = dict(zip(gates, xp.split(recurrent, count, axis=1), strict=True))
    biases = dict(zip(gates, xp.split(first, count), strict=True))
    after = None
    if kind == "GRU":
        of_state = [xp.zeros((units,), kernel.dtype)] * 3 if second is None else xp.split(second, 3)
        biases = {"z": biases["z"] + of_state[0], "r": biases["r"] + of_state[1], "n": biases["n"]}
        after = of_state[2]
    if form == "linen" or (form == "nnx" and kind == "LSTM"):
        return _named(kind, inputs, states, biases, after, "if" if form == "linen" else "if_")
    if after is not None and (not hasattr(after, "aval") or _is_known(after)) and np.any(np.asarray(after)):
        raise ValueError(f"{what}: nnx's GRUCell has no bias beside the product of n and h, which is not zero here")
    order = _NNX[kind]
    on_h = kind == "LSTM"
    joined = xp.concatenate([biases[g] for g in order])
    dense = [{"kernel": xp.concatenate([part[g] for g in order], axis=1)} for part in (inputs, states)]
    dense[on_h]["bias"] = joined
    return {"dense_i": dense[0], "dense_h": dense[1]}


def _is_known(array: Any) -> bool:
    """Whether an array's numbers can be looked at."""
    try:
        np.asarray(array)
    except Exception:  # a tracer of JAX has an error of its own for it
        return False
    return True


def _named(kind: str, inputs: Any, states: Any, biases: Any, after: Any, forget: str) -> dict[str, Any]:
    if kind == "SimpleRNN":
        return {"i": {"kernel": inputs["h"], "bias": biases["h"]}, "h": {"kernel": states["h"]}}
    found: dict[str, Any] = {}
    for gate in GATES[kind]:
        x, h = {"kernel": inputs[gate]}, {"kernel": states[gate]}
        (h if kind == "LSTM" else x)["bias"] = biases[gate]
        if gate == "n":
            h["bias"] = after
        found[forget if gate == "f" else f"i{gate}"] = x
        found[f"h{gate}"] = h
    return found
