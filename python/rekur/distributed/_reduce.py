"""Sums over ranks, in the order of the tree."""

from collections.abc import Generator, Sequence

import numpy as np

from rekur._validate import Floats
from rekur.distributed._transport import FEW, Exchange, Transport
from rekur.distributed._tree import Node, Sums, add, frontier, owned, root

SMALL = 1 << 14  # floats: below, what a message costs by itself matters more than its bytes

Rounds = Generator[Exchange, None, Floats]  # exchanges one after the other, and the sum that they end with


class Reduction:
    """A range of the sums on its way through the tree. Its first round has begun; :func:`finish` sees to the others."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._exchange: Exchange | None = None
        self.next()

    def next(self) -> None:
        """Begin the next round; ``total`` is there when none is left."""
        try:
            self._exchange = next(self._rounds)
        except StopIteration as end:
            self._exchange, self.total = None, end.value

    def advance(self) -> None:
        """Let the round that has begun go on."""
        if self._exchange is not None:
            self._exchange.advance()

    def go_on(self) -> bool:
        """Wait for the round that has begun and begin the next one; False: there was none."""
        if self._exchange is None:
            return False
        self._exchange.wait()
        self.next()
        return True


def finish(reductions: Sequence[Reduction]) -> list[Floats]:
    """The sums of reductions that all ranks began in this order.

    They go on round by round, each while the others travel. A round begins when its turn comes and not when it could:
    so messages leave every rank in the same order, which is what tells them apart.
    """
    left = list(reductions)
    while left:
        left = [each for each in left if each.go_on()]
    return [each.total for each in reductions]


class OrderedReducer:
    """Adds up what the ranks' nodes hold, to the bit what one process adds up.

    Where each rank has one node of the same level, partners at distance 1, 2, 4 … add up level by level. Few values
    they exchange whole (recursive doubling). Of many each keeps a half, a quarter … of what it has, until every rank
    has a piece of the sum, and they give these back the same way (recursive halving and doubling). Else, and among few
    ranks, who need not take turns, the values are cut into as many pieces as there are ranks, every rank gets its piece
    of all nodes at once, adds it up in the order of the tree, and gives it to all. Both move 2 (R - 1) / R of the
    values to and from each rank, the least that there is.
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
        return Reduction(self._rounds(parts, size, empty))

    def _rounds(self, parts: dict[Node, Floats | None], size: int, empty: frozenset[Node]) -> Rounds:
        if self._transport.size == 1:
            return _there(next(iter(parts.values())), size)
        if self._doubles and not empty:
            own = parts[self.nodes[0]]
            assert own is not None
            if size <= SMALL:
                return self._by_doubling(own)
            if self._transport.size > FEW:
                return self._by_halving(own)
        return self._by_pieces(parts, size, empty)

    def _by_doubling(self, own: Floats) -> Rounds:
        distance = 1
        while distance < self._transport.size:
            other = self._transport.rank ^ distance
            theirs = np.empty_like(own)
            yield self._transport.start_exchange([(other, own)], [(other, theirs)])
            own = own + theirs  # addition commutes: both have the bits of left + right
            distance *= 2
        return own

    def _by_halving(self, own: Floats) -> Rounds:
        transport, size = self._transport, own.size
        begin, end = 0, size  # the part of the values that ``own`` is
        given: list[slice] = []
        while (distance := 1 << len(given)) < transport.size:
            other, middle = transport.rank ^ distance, (begin + end) // 2
            halves = [slice(begin, middle), slice(middle, end)]
            kept, sent = halves if transport.rank < other else reversed(halves)
            theirs = np.empty(kept.stop - kept.start, np.float32)
            yield transport.start_exchange([(other, own[sent.start - begin : sent.stop - begin])], [(other, theirs)])
            own = own[kept.start - begin : kept.stop - begin] + theirs
            given.append(sent)
            begin, end = kept.start, kept.stop
        found = np.empty(size, np.float32)
        found[begin:end] = own
        while given:
            sent = given.pop()
            other = transport.rank ^ (1 << len(given))
            yield transport.start_exchange([(other, found[begin:end])], [(other, found[sent])])
            begin, end = min(begin, sent.start), max(end, sent.stop)
        return found

    def _by_pieces(self, parts: dict[Node, Floats | None], size: int, empty: frozenset[Node]) -> Rounds:
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
        yield transport.start_exchange(sends, receives)
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
        yield transport.start_exchange([(rank, own) for rank in others], [(rank, found[cut[rank]]) for rank in others])
        return found


def _there(total: Floats | None, size: int) -> Rounds:
    """What needs no message."""
    yield from ()
    return np.zeros(size, np.float32) if total is None else total


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

    def _rounds(self, parts: dict[Node, Floats | None], size: int, empty: frozenset[Node]) -> Rounds:
        total: Floats | None = None
        for node in self.nodes:
            total = add(total, parts[node])
        values = np.zeros(size, np.float32) if total is None else total
        if self._transport.size > 1:
            self._transport.all_reduce(values)  # type: ignore[attr-defined]
        return _there(values, size)
