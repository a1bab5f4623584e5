"""Gradients in fewer bytes. What a step leaves out is added to the next one (error feedback).

Seide, Fu, Droppo, Li & Yu, 1-bit stochastic gradient descent, Interspeech 2014 (error feedback); Aji & Heafield, Sparse
communication for distributed gradient descent, EMNLP 2017 (the largest values alone); Vogels, Karimireddy & Jaggi,
PowerSGD, NeurIPS 2019.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rekur._validate import Floats, did_you_mean, integer, real
from rekur.distributed._transport import Transport

Parameters = Sequence[tuple[str, tuple[int, ...], int]]  # name, shape, where it begins in the sums


class Compressor:
    """Adds up the sums of all ranks, which travel as fewer bytes; every rank gets the same bits."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._left: Floats | None = None  # what has not been sent yet
        self.sent = 0  # bytes that this rank has sent to each other one, so far

    def reduce(self, sums: Floats, parameters: Parameters) -> Floats:
        """The sum over ranks of ``sums`` and of what earlier steps have left out, nearly."""
        if self._left is None or self._left.size != sums.size:
            self._left = np.zeros_like(sums)
        wanted = sums + self._left
        if not np.isfinite(wanted).all():  # nothing can be left of it for later: NaN is told to all
            self._left = np.zeros_like(sums)
            wanted = np.full_like(sums, np.nan)
        total, told = self._reduce(wanted, parameters)
        self._left = np.where(np.isfinite(wanted), wanted - told, 0).astype(np.float32)
        return total

    def _reduce(self, wanted: Floats, parameters: Parameters) -> tuple[Floats, Floats]:
        """The sum of what all ranks tell, and what this rank has told."""
        raise NotImplementedError

    def _gather(self, array: Any) -> list[Any]:
        self.sent += array.nbytes
        return self._transport.gather(array)


class Int8(Compressor):
    """Integers of eight bits, with a scale for each ``block`` of neighbours: a quarter of the bytes."""

    def __init__(self, transport: Transport, block: int = 256) -> None:
        super().__init__(transport)
        self._block = integer(block, "compression 'int8': block", 1)

    def _reduce(self, wanted: Floats, parameters: Parameters) -> tuple[Floats, Floats]:
        blocks = -(-wanted.size // self._block)
        padded = np.zeros(blocks * self._block, np.float32)
        padded[: wanted.size] = wanted
        table = padded.reshape(blocks, self._block)
        scales = np.abs(table).max(axis=1) / np.float32(127)
        with np.errstate(invalid="ignore", divide="ignore"):
            numbers = np.where(scales[:, None] > 0, np.rint(table / scales[:, None]), 0).astype(np.int8)
        packed = np.concatenate([scales.view(np.uint8), numbers.reshape(-1).view(np.uint8)])
        total, own = np.zeros_like(padded), padded
        for rank, theirs in enumerate(self._gather(packed)):
            factor = theirs[: 4 * blocks].copy().view(np.float32)
            told = theirs[4 * blocks :].view(np.int8).reshape(table.shape).astype(np.float32) * factor[:, None]
            total += told.reshape(-1)
            if rank == self._transport.rank:
                own = told.reshape(-1)
        return total[: wanted.size], own[: wanted.size]


class TopK(Compressor):
    """The largest values alone, a ``share`` of them, with their places."""

    def __init__(self, transport: Transport, share: float = 0.01) -> None:
        super().__init__(transport)
        self._share = real(share, "compression 'top_k': share", 0, 1)
        if self._share == 0:
            raise ValueError("compression 'top_k': share must be above 0, got 0")

    def _reduce(self, wanted: Floats, parameters: Parameters) -> tuple[Floats, Floats]:
        count = max(1, round(self._share * wanted.size))
        size = np.where(np.isnan(wanted), np.inf, np.abs(wanted))
        places = np.sort(np.argpartition(size, wanted.size - count)[wanted.size - count :]).astype(np.int32)
        packed = np.concatenate([places.view(np.uint8), wanted[places].view(np.uint8)])
        total, own = np.zeros_like(wanted), np.zeros_like(wanted)
        own[places] = wanted[places]
        for theirs in self._gather(packed):
            where = theirs[: 4 * count].copy().view(np.int32)
            total[where] += theirs[4 * count :].copy().view(np.float32)
        return total, own


class PowerSGD(Compressor):
    """Matrices as products of two thin ones of ``rank`` columns, by a power iteration that goes on step by step."""

    def __init__(self, transport: Transport, rank: int = 4) -> None:
        super().__init__(transport)
        self._rank = integer(rank, "compression 'power_sgd': rank", 1)
        self._queries: dict[str, Floats] = {}

    def _reduce(self, wanted: Floats, parameters: Parameters) -> tuple[Floats, Floats]:
        ranks = self._transport.size
        matrices: list[tuple[str, Any]] = []
        thin = np.ones(wanted.size, bool)
        for name, shape, at in parameters:
            if len(shape) < 2:
                continue
            rows, columns = int(np.prod(shape[:-1])), shape[-1]
            if self._rank * (rows + columns) < rows * columns:
                part = slice(at, at + rows * columns)
                matrices.append((name, (part, wanted[part].reshape(rows, columns))))
                thin[part] = False
        total, own = np.zeros_like(wanted), np.zeros_like(wanted)
        plain = np.sum(np.stack(self._gather(wanted[thin])), axis=0) if thin.any() else wanted[:0]
        total[thin], own[thin] = plain, wanted[thin]
        if not matrices:
            return total, own
        for name, (_, matrix) in matrices:
            if name not in self._queries:
                generator = np.random.default_rng(sum(map(ord, name)) + 7919 * matrix.shape[1])
                shape = (matrix.shape[1], self._rank)
                self._queries[name] = generator.normal(size=shape).astype(np.float32)
        left = self._summed([matrix @ self._queries[name] for name, (_, matrix) in matrices])
        bases = [_orthonormal(p) for p in left]
        right = self._summed([m.T @ basis for (_, (_, m)), basis in zip(matrices, bases, strict=True)])
        for (name, (part, _)), basis, query in zip(matrices, bases, right, strict=True):
            told = np.isfinite(query).all(axis=0) & query.any(axis=0)  # a column of nothing would stay so
            self._queries[name] = np.where(told, query, self._queries[name])
            total[part] = _product(basis, query).reshape(-1)
            own[part] = total[part] / np.float32(ranks)
        return total, own

    def _summed(self, matrices: list[Any]) -> list[Any]:
        every = np.sum(np.stack(self._gather(np.concatenate([m.reshape(-1) for m in matrices]))), axis=0)
        cuts = np.cumsum([m.size for m in matrices])[:-1]
        return [part.reshape(m.shape) for part, m in zip(np.split(every, cuts), matrices, strict=True)]


# What every rank computes of what all have told has the same bits on all of them, whatever processors and BLAS they
# have: element by element, and sums one after another.


def _orthonormal(columns: Floats) -> Floats:
    """A basis of what columns span, by Gram and Schmidt, twice over; what the others span already becomes zero."""
    basis = np.array(columns.T, np.float64)
    for k, column in enumerate(basis):
        before = _length(column)
        for _ in range(2):
            for other in basis[:k]:
                column -= np.cumsum(other * column)[-1] * other
        length = _length(column)
        column *= 1 / length if length > 1e-7 * before else length * 0
    found: Floats = basis.T.astype(np.float32)
    return found


def _length(column: Floats) -> float:
    return float(np.sqrt(np.cumsum(column * column)[-1]))


def _product(left: Floats, right: Floats) -> Floats:
    """left · rightᵀ, of few columns."""
    found: Floats = left[:, :1] * right[:, 0]
    for k in range(1, left.shape[1]):
        found += left[:, k : k + 1] * right[:, k]
    return found


_KNOWN: dict[str, Any] = {"int8": Int8, "top_k": TopK, "power_sgd": PowerSGD}


def make_compressor(given: Any, transport: Transport) -> Compressor | None:
    """What ``DataParallel`` was given as ``compression``.

    Raises
    ------
    ValueError, TypeError
        For an unknown name or settings that it does not have.
    """
    if given is None:
        return None
    settings = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = settings.pop("name", None)
    if name not in _KNOWN:
        raise ValueError(f"DataParallel: compression {name!r} is unknown{did_you_mean(str(name), list(_KNOWN))}")
    try:
        found: Compressor = _KNOWN[name](transport, **settings)
    except TypeError as error:
        raise TypeError(f"DataParallel: compression {name!r}: {error}") from None
    return found
