"""An Embedding of the numbers of the steps, as transformers of one's own spell their positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rekur._validate import show
from rekur.layers.own import is_traced, line
from rekur.layers.symbolic import SymbolicTensor
from rekur.layers.weights import Weighed

if TYPE_CHECKING:
    from rekur.layers.embedding import Embedding


class Steps:
    """0, 1, 2, … for as many steps as a tensor turns out to have: ``ops.arange`` up to a size that is left open."""

    def __repr__(self) -> str:
        return "<the numbers of the steps>"


class Positions(Weighed):
    """The rows 0, 1, 2, … of an Embedding: beside a tensor a PositionEmbedding."""

    def __init__(self, table: Embedding, count: int | None) -> None:
        self._table, self._count = table, count

    def __repr__(self) -> str:
        return f"<rows of {self._table!r}, one for each step>"

    def at(self, x: SymbolicTensor) -> SymbolicTensor:
        table = self._table
        if len(x.shape) != 3 or x.shape[-1] != table.output_dim or self._count not in (None, x.shape[1]):
            rows = "T" if self._count is None else self._count
            raise ValueError(
                f"{self!r}: expected a tensor of shape (B, {rows}, {table.output_dim}), got {show(x.shape)} ({line()})"
            )
        found: SymbolicTensor = as_layer(table)(x)
        return found


def as_layer(table: Embedding) -> Any:
    """The layer that has the table for its steps."""
    from rekur.layers.position import PositionEmbedding

    known = vars(table).get("_by_step")
    if known is None:
        if table._calls or table.mask_zero or table._rules:
            why = "mask_zero" if table.mask_zero else "a regularizer or constraint"
            why = "it reads ids elsewhere" if table._calls else why
            raise ValueError(f"{table!r} of the numbers of the steps: {why} does not go with that ({line()})")
        known = PositionEmbedding(table.input_dim, table.embeddings_initializer, name=table._name)
        known._begin_with(table._initial_weights)
        known.trainable, known.lr_scale = table.trainable, table.lr_scale
        vars(table)["_by_step"] = known
    return known


def of(table: Embedding, inputs: Any) -> Positions | None:
    """What the table gives for the numbers of the steps, in a call that is traced; None for anything else."""
    if isinstance(inputs, Steps):
        return Positions(table, None)
    if not isinstance(inputs, np.ndarray) or inputs.ndim != 1 or inputs.dtype.kind not in "iu" or not is_traced():
        return None
    return Positions(table, len(inputs)) if (inputs == np.arange(len(inputs))).all() else None
