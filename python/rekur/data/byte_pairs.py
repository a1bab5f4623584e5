"""Byte pairs: text as pieces of its UTF-8 bytes, of which the frequent ones were joined (Sennrich et al., 2016).

A token is a text of the characters U+0000 to U+00FF, one a byte. Two neighbours are joined where what they make is in
the vocabulary, the earliest entry first, so the vocabulary is all there is to know.
"""

import heapq
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

BYTES = [chr(byte) for byte in range(256)]
_PIECES = re.compile(r"\s*\S+|\s+")  # a word with the space before it: nothing is lost


def as_bytes(text: str) -> str:
    """A text as a token's characters."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def as_text(tokens: Iterable[str]) -> str:
    """The text of some tokens; bytes that are no text become U+FFFD."""
    return "".join(tokens).encode("latin-1", "replace").decode("utf-8", "replace")


def pieces(text: str) -> list[str]:
    """What is joined by itself."""
    return [as_bytes(piece) for piece in _PIECES.findall(text)]


def learn(counts: Mapping[str, int], size: int | None) -> list[str]:
    """The tokens of pieces of a text: all bytes, and then what was joined, in order.

    Until there are ``size`` tokens, or no pair comes twice. Of pairs that are as frequent the first in order is joined.
    """
    words = [list(piece) for piece in sorted(counts)]
    weights = [counts[piece] for piece in sorted(counts)]
    frequency: Counter[tuple[str, str]] = Counter()
    places: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for number, symbols in enumerate(words):
        for pair in itertools.pairwise(symbols):
            frequency[pair] += weights[number]
            places[pair].add(number)
    heap = [(-count, pair) for pair, count in frequency.items()]
    heapq.heapify(heap)
    found = list(BYTES)
    known = set(found)
    while heap and (size is None or len(found) < size):
        count, pair = heapq.heappop(heap)
        if -count != frequency[pair]:
            continue  # it has changed since
        if -count < 2:
            break
        joined = pair[0] + pair[1]
        if joined not in known:
            known.add(joined)
            found.append(joined)
        changed: set[tuple[str, str]] = set()
        for number in sorted(places.pop(pair)):
            for old in itertools.pairwise(words[number]):
                frequency[old] -= weights[number]
                changed.add(old)
            words[number] = _joined(words[number], pair)
            for new in itertools.pairwise(words[number]):
                frequency[new] += weights[number]
                places[new].add(number)
                changed.add(new)
        frequency[pair] = 0
        for other in changed:
            if frequency[other] > 0 and other != pair:
                heapq.heappush(heap, (-frequency[other], other))
    return found


def _joined(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    found: list[str] = []
    k = 0
    while k < len(symbols):
        if k + 1 < len(symbols) and (symbols[k], symbols[k + 1]) == pair:
            found.append(symbols[k] + symbols[k + 1])
            k += 2
        else:
            found.append(symbols[k])
            k += 1
    return found


def encode(piece: str, ranks: Mapping[str, int]) -> list[str]:
    """A piece as tokens of a vocabulary, whose entries are given with their places."""
    symbols = list(piece)
    while len(symbols) > 1:
        rank, pair = min((ranks.get(a + b, len(ranks) + 2), (a, b)) for a, b in itertools.pairwise(symbols))
        if rank > len(ranks) + 1:
            break
        symbols = _joined(symbols, pair)
    return symbols
