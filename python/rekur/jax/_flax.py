"""Parameters of flax's recurrent cells as parameters of these functions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from rekur.convert import _flax_cells

_BLOCKS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}


def from_flax(variables: Any) -> dict[str, Any]:
    """Parameters of one cell of flax for :func:`lstm`, :func:`gru` or :func:`simple_rnn`.

    It is made of JAX's operations: within a loss, what is trained may stay flax's tree.

    Parameters
    ----------
    variables : mapping
        Of ``nn.LSTMCell``, ``OptimizedLSTMCell``, ``GRUCell`` or ``SimpleCell``, or an ``nn.RNN`` of one: what
        ``init`` gave, its ``"params"`` or the cell's own entry; of flax.nnx the state of a cell or an RNN
        (``nnx.state(module, nnx.Param)``).

    Returns
    -------
    dict
        kernel, recurrent_kernel, bias. flax's carry of an LSTM is (c, h), the state here (h, c).

    Raises
    ------
    ValueError
        If it holds no such cell, or several.
    TypeError
        If it is no mapping.

    Notes
    -----
    The parameters do not tell the cell's ``activation_fn`` and ``gate_fn``; where they are not tanh and sigmoid, give
    ``activation=`` and ``recurrent_activation=`` to the function. A SimpleCell of ``residual=True`` has no equal here.
    """
    what = "rekur.jax.from_flax"
    if not isinstance(variables, Mapping):
        raise TypeError(f"{what}: expected a mapping of parameters, got {type(variables).__name__}")
    found = [tree for _, tree in _cells(variables, "", 0)]
    if len(found) != 1:
        places = ", ".join(f"'{place}'" for place, _ in _cells(variables, "", 0))
        raise ValueError(
            f"{what}: it holds {len(found)} cells ({places}); give the entry of one of them" if found else
            f"{what}: it holds no LSTMCell, OptimizedLSTMCell, GRUCell or SimpleCell of flax: {', '.join(variables)}"
        )  # fmt: skip
    return _flax_cells.weights_of(found[0], what, jnp)[1]


def _cells(tree: Any, place: str, depth: int) -> list[tuple[str, Any]]:
    if not isinstance(tree, Mapping) or depth > 50:
        return []
    if _flax_cells.is_cell(tree):
        return [(place, tree)]
    return [
        found
        for name, child in tree.items()
        for found in _cells(child, f"{place}.{name}" if place else str(name), depth + 1)
    ]


def to_flax(params: Mapping[str, Any], form: str = "linen") -> dict[str, Any]:
    """Parameters of :func:`lstm`, :func:`gru` or :func:`simple_rnn` as those of flax's cell.

    Parameters
    ----------
    params : mapping
        kernel, recurrent_kernel and perhaps bias, of an LSTM, of a GRU with ``reset_after``, or of a simple RNN.
    form : {"linen", "nnx", "nnx_optimized"}
        The tree of linen's cells (``{"params": {"cell": tree}}`` are the variables of an ``nn.RNN``), of nnx's
        LSTMCell, GRUCell and SimpleCell, or of nnx's OptimizedLSTMCell.

    Returns
    -------
    dict
        Where rekur has two biases that are added to each other, flax has their sum; where rekur has none, zeros.

    Raises
    ------
    ValueError
        For parameters that flax's cell has no place for.
    """
    what = "rekur.jax.to_flax"
    for name in ("kernel", "recurrent_kernel"):
        if name not in params or jnp.ndim(params[name]) != 2:
            raise ValueError(f"{what}: expected a matrix '{name}', got {', '.join(params)}")
    rows, columns = jnp.shape(params["recurrent_kernel"])
    kind = _BLOCKS.get(columns // rows) if rows and columns % rows == 0 else None
    if kind is None:
        raise ValueError(f"{what}: a recurrent_kernel of shape {(rows, columns)} is of no cell that flax has")
    return _flax_cells.tree_of(kind, params, form, what, jnp)
