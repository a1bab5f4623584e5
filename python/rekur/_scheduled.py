"""Scheduled sampling: what Seq2Seq.fit reads where some of the labels so far are the model's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._generation import Labels
from rekur._random import epoch_order
from rekur._validate import boolean, integer, real
from rekur.training.data import make_inputs
from rekur.training.pydataset import PyDataset

if TYPE_CHECKING:
    from rekur.seq2seq import Seq2Seq


class Scheduled(PyDataset):
    """Batches whose labels so far are in part the model's own."""

    def __init__(
        self,
        owner: Seq2Seq,
        inputs: dict[str, Any],
        targets: Labels,
        marks: dict[str, Any],
        rate: Any,
        options: dict[str, Any],
    ) -> None:
        super().__init__(workers=0)
        self._owner, self._targets, self._rate = owner, targets, rate
        names = [port.name for port in owner.model._ports()[0]]
        arrays = make_inputs([inputs[name] for name in names], owner.model._ports()[0])
        self._inputs = dict(zip(names, arrays, strict=True))
        self._marks = marks
        size = options.pop("batch_size", None)
        self._size = 32 if size is None else integer(size, "fit: batch_size")
        weights = options.pop("sample_weight", None)
        self._weights = None if weights is None else np.asarray(weights)
        if self._weights is not None and len(self._weights) != len(targets):
            raise ValueError(f"fit: sample_weight: expected {len(targets)} rows, got {len(self._weights)}")
        self._shuffled = boolean(options.pop("shuffle", True), "fit: shuffle")
        self._epoch = integer(options.get("initial_epoch", 0), "fit: initial_epoch", 0)
        self._order = np.arange(len(targets))

    def __len__(self) -> int:
        return -(-len(self._targets) // self._size)

    def on_epoch_end(self) -> None:
        self._epoch += 1

    def begin_pass(self, seed: int, number: int, shuffle: bool) -> Scheduled:
        """The rows in the order in which fit takes those of arrays, and not batches in another one."""
        if self._shuffled:
            self._order = epoch_order(seed, number, len(self._targets))
        return self

    def _rows_of(self, index: int) -> NDArray[np.int64]:
        return self._order[index * self._size : (index + 1) * self._size]

    def __getitem__(self, index: int) -> Any:
        from rekur.training.batch import Batch

        rows = self._rows_of(index)
        inputs = {name: array[rows] for name, array in self._inputs.items()}
        said = {what: {k: np.asarray(v)[rows] for k, v in given.items()} for what, given in self._marks.items()}
        rate = self._rate(self._epoch) if callable(self._rate) else self._rate
        rate = real(rate, "fit: scheduled_sampling", 0, 1)
        if rate > 0:
            self._mix(inputs, said, rate, index)
        weights = None if self._weights is None else self._weights[rows]
        return Batch(inputs, self._targets[rows], weights, said["lengths"], said.get("mask"), None)

    def _mix(self, inputs: dict[str, Any], said: dict[str, Any], rate: float, index: int) -> None:
        """Put labels that the model draws where right ones stood."""
        owner, name = self._owner, self._owner._labels
        counts = said["lengths"][name]
        sources = {k: v for k, v in inputs.items() if k != name}
        lengths = {k: v for k, v in said["lengths"].items() if k != name}
        given, masks = owner.encode(sources, lengths or None, said.get("mask"))
        prompts = [row[:count] for row, count in zip(inputs[name], counts, strict=True)]
        seed = (owner.model.seed + 1_000_003 * self._epoch + index) % 2**63  # as the order of rows goes by it
        options = {"steps": 1, "sample": True, "seed": seed, "mixed": rate}
        for row, path in zip(inputs[name], owner._search(given, masks, prompts, options), strict=True):
            row[: len(path[0][0])] = path[0][0]
