"""Sums over ranks, in the order of the tree."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rekur._validate import Floats
from rekur.distributed._transport import Exchange, Transport
from rekur.distributed._tree import Node, Sums, add, frontier, owned, root

SMALL = 1 << 14  # floats: below, what a message costs by itself matters more than its bytes


@dataclass
class Reduction:
    """A range of the sums on its way through the tree: begun, and finished."""

    finish: Callable[[], Floats]
    advance: Callable[[], Any] = field(default=lambda: None)


class OrderedReducer:
    """Adds up what the ranks' nodes hold, to the bit what one process adds up.

    Of few values all ranks that are partners exchange them whole, level by level (recursive doubling), where each rank
    has one node of the same level; else the values are cut into as many pieces as there are ranks, every rank gets its
    piece of all nodes, adds it up in the order of the tree, and gives it to all. That moves 2 (R - 1) / R of the values
    to and from each rank, the least that there is, for any number of ranks.
    """

    def __init__(self, transport: Transport, shards: int) -> None:
        self._transport, self._shards = transport, shards
        self._fronts = [frontier(owned(r, transport.size, shards), shards) for r in range(transport.size)]
        levels = {node.level for front in self._fronts for node in front}
        whole = 1 << root(shards).level == shards
        self._doubles = whole and len(levels) == 1 and all(len(front) == 1 for front in self._fronts)

    @property
    def nodes(self) -> list[Node]:
        """What this rank has to add up by itself."""
        return self._fronts[self._transport.rank]

    def start(self, parts: dict[Node, Floats | None], size: int, empty: frozenset[Node]) -> Reduction:
        """Begin to add up the ``size`` values of all ranks; ``empty``: nodes of any rank that no row is in."""
        if self._transport.size == 1:
            total = next(iter(parts.values()))
            return Reduction(lambda: np.zeros(size, np.float32) if total is None else total)
        if self._doubles and size <= SMALL and not empty:
            return Reduction(lambda: self._double(parts))
        return self._by_pieces(parts, size, empty)

    def _double(self, parts: dict[Node, Floats | None]) -> Floats:
        transport = self._transport
        (node,) = self.nodes
        own = parts[node]
        assert own is not None
        distance = 1
        while distance < transport.size:
            other = transport.rank ^ distance
            theirs = np.empty_like(own)
            transport.exchange([(other, own)], [(other, theirs)])
            own = own + theirs  # addition commutes: both have the bits of left + right
            distance *= 2
        return own

    def _by_pieces(self, parts: dict[Node, Floats | None], size: int, empty: frozenset[Node]) -> Reduction:
        transport, ranks, me = self._transport, self._transport.size, self._transport.rank
        cut = [slice(rank * size // ranks, (rank + 1) * size // ranks) for rank in range(ranks)]
        width = cut[me].stop - cut[me].start
        others = [rank for rank in range(ranks) if rank != me]
        mine = [node for node in self.nodes if node not in empty]
        sends, receives = [], []
        theirs: dict[Node, Floats] = {}
        for rank in others:
            for node in mine:
                values = parts[node]
                assert values is not None
                sends.append((rank, values[cut[rank]]))
            for node in self._fronts[rank]:
                if node not in empty:
                    theirs[node] = np.empty(width, np.float32)
                    receives.append((rank, theirs[node]))
        exchange: Exchange = transport.start_exchange(sends, receives)

        def finish() -> Floats:
            exchange.wait()
            sums = Sums(self._shards)
            for front in self._fronts:
                for node in front:
                    if node in empty:
                        sums.put(node, None)
                    elif node in theirs:
                        sums.put(node, theirs[node])
                    else:
                        values = parts[node]
                        assert values is not None
                        sums.put(node, values[cut[me]].copy())
            piece = sums.whole()
            found = np.empty(size, np.float32)
            found[cut[me]] = 0 if piece is None else piece
            own = found[cut[me]].copy()
            transport.exchange([(rank, own) for rank in others], [(rank, found[cut[rank]]) for rank in others])
            return found

        return Reduction(finish, exchange.advance)


class FastReducer(OrderedReducer):
    """The transport's own sum, in whatever order: the last bits depend on the number of ranks.

    Raises
    ------
    TypeError
        If the transport has none (``all_reduce``).
    """

    def __init__(self, transport: Transport, shards: int) -> None:
        super().__init__(transport, shards)
        if transport.size > 1 and not hasattr(transport, "all_reduce"):
            raise TypeError(f"reduction='fast': a {type(transport).__name__} has no all_reduce of its own")

    def start(self, parts: dict[Node, Floats | None], size: int, empty: frozenset[Node]) -> Reduction:
        """Begin to add up the values of all ranks."""
        total: Floats | None = None
        for node in self.nodes:
            total = add(total, parts[node])
        values = np.zeros(size, np.float32) if total is None else total
        if self._transport.size > 1:
            self._transport.all_reduce(values)  # type: ignore[attr-defined]
        return Reduction(lambda: values)
