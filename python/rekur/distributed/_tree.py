"""Which rows are whose, and in which order sums are added: a tree over shards, the same for any number of ranks."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rekur._validate import Floats


class Node(NamedTuple):
    """The shards [first, first + 2**level) of a tree, as far as there are so many."""

    level: int
    first: int

    @property
    def end(self) -> int:
        return self.first + (1 << self.level)

    @property
    def parent(self) -> "Node":
        return Node(self.level + 1, self.first >> (self.level + 1) << (self.level + 1))

    @property
    def children(self) -> "tuple[Node, Node]":
        half = self.level - 1
        return Node(half, self.first), Node(half, self.first + (1 << half))


def root(shards: int) -> Node:
    """The node of all shards."""
    return Node((shards - 1).bit_length(), 0)


def rows_of(shard: int, shards: int, rows: int) -> slice:
    """The rows of a batch that a shard has: neighbouring ones, of no shard more than one more than of another."""
    return slice(shard * rows // shards, (shard + 1) * rows // shards)


def owned(rank: int, ranks: int, shards: int) -> range:
    """The shards of a rank: neighbouring ones."""
    return range(rank * shards // ranks, (rank + 1) * shards // ranks)


def owner(shard: int, ranks: int, shards: int) -> int:
    """The rank whose shard this is."""
    found = shard * ranks // shards
    while shard not in owned(found, ranks, shards):
        found += 1
    return found


def frontier(own: range, shards: int) -> list[Node]:
    """The largest nodes that lie within a rank's shards, in order: what it can add up by itself."""

    def cover(node: Node) -> Iterator[Node]:
        if node.first >= min(own.stop, shards) or min(node.end, shards) <= own.start:
            return
        if own.start <= node.first and min(node.end, shards) <= own.stop:
            yield node
        else:
            for child in node.children:
                yield from cover(child)

    return list(cover(root(shards)))


class Sums:
    """Adds up arrays of shards as they come, in the order of the tree; keeps as few of them as that takes.

    A shard without rows is nowhere: what would be added to it is what there is.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self.parts: dict[Node, Floats | None] = {}

    def put(self, node: Node, values: Floats | None) -> None:
        """The sum of a node; it may be overwritten. None: no row is there."""
        self.parts[node] = values
        while node != root(self._shards):
            parent = node.parent
            left, right = parent.children
            if right.first >= self._shards:
                self.parts[parent] = self.parts.pop(left)
            elif left in self.parts and right in self.parts:
                self.parts[parent] = add(self.parts.pop(left), self.parts.pop(right))
            else:
                return
            node = parent

    def whole(self) -> Floats | None:
        """The sum of all."""
        return self.parts[root(self._shards)]


def add(left: Floats | None, right: Floats | None) -> Floats | None:
    """left + right, in left's memory."""
    if left is None or right is None:
        return right if left is None else left
    return np.add(left, right, out=left)
