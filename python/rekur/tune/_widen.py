"""Wider layers that compute what they did: Net2WiderNet, Chen et al., arXiv:1511.05641.

A new unit is a copy of an old one: it gets the same numbers, so it gives the same. What reads the unit shares each of
its weights out among the copies, at random, so that they add up to the old weight. Copies with different outgoing
weights get different gradients: that tells them apart in training, and nothing is lost before it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._random import draw_seed
from rekur._spec import Spec
from rekur._validate import Floats, integer, real
from rekur.tune._rewriting import Taken, check_same, finished
from rekur.tune._units import CELLS, UNITS, Slot, Units

_Index = NDArray[np.int64]
_LEAST_SHARE = 0.25  # of what the largest share of a weight may be, the least


def growing_layers(model: Any) -> dict[str, tuple[int, int]]:
    """The layers that :func:`widen` can make wider.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of (units, step) by name
        How many units a layer has, and of what the number of new units has to be a multiple: 1 for most, the units
        themselves where something normalises over them. Layers that become wider together stand there once.
    """
    taken = Taken.of(model, "tune.growing_layers")
    found: dict[str, tuple[int, int]] = {}
    seen: set[int] = set()
    for name, slot in _units_of(taken).growing().items():
        if id(slot) not in seen:
            seen.add(id(slot))
            found[name] = (slot.size, slot.size if slot.whole else 1)
    return found


def widen(model: Any, layer: Any, units: int, *, noise: float = 0.0, seed: int | None = None) -> Any:
    """A model like another, one of whose layers has more units, that computes the same.

    Parameters
    ----------
    model : Model
        It stays as it is.
    layer : str or Layer
        A recurrent layer of any cell, a Bidirectional, Dense, Embedding or Conv1D (its filters), by its name or itself.
        Layers whose outputs are added to its own become as wide.
    units : int
        More than it has. Where a layer normalises over the units, a multiple of those, since each has to be repeated
        as often as the others.
    noise : float
        Standard deviation of what is added to the weights that copies read by, in units of those weights' own standard
        deviation. 0 by default: copies differ in what reads them already.
    seed : int, optional
        Of which units are copied, of the shares and of the noise.

    Returns
    -------
    Model, or a Sequential of one
        Compiled as ``model`` was; the optimiser begins anew. Models within the model are taken apart.

    Raises
    ------
    ValueError
        If the layer cannot become wider: its units are an output of the model, say, or what reads them does so one by
        one. Where the two do not compute the same on random sequences, which happens with cells whose units see each
        other otherwise than by a mean, a sum or a maximum, nothing is made either.
    TypeError
        If ``model`` is no model.

    Notes
    -----
    Net2WiderNet (Chen et al., arXiv:1511.05641), with shares of the outgoing weights drawn at random between the
    copies in place of equal ones. In training dropout draws masks for each copy.
    """
    what = "tune.widen"
    taken = Taken.of(model, what)
    entry = taken.entry(layer, what)
    name = entry["name"]
    rng = np.random.default_rng(draw_seed() if seed is None else integer(seed, f"{what}: seed", 0))
    spread = real(noise, f"{what}: noise", 0.0)
    found = _units_of(taken)
    slot = found.own.get(name)
    if slot is None:
        raise ValueError(f"{what}: layer '{name}' ({entry['type']}) has no units that could become more")
    slot = slot.root
    wanted = integer(units, f"{what}: units")
    if wanted <= slot.size:
        raise ValueError(f"{what}: units must be more than the {slot.size} that layer '{name}' has, got {wanted}")
    if slot.pinned:
        raise ValueError(f"{what}: the units of layer '{name}' cannot become more: {slot.pinned}")
    if slot.whole and wanted % slot.size:
        raise ValueError(
            f"{what}: units must be a multiple of the {slot.size} that layer '{name}' has, since {slot.whole}; "
            f"got {wanted}"
        )
    index = _copies(slot.size, wanted, rng)
    spec, weights = _wider(taken, found, slot, index, rng)
    check_same(taken, spec, weights, f"{what}: layer '{name}' ({entry['type']}) cannot become wider")
    if spread:
        _disturb(taken, found, slot, weights, spread, rng)
    return finished(taken, spec, weights)


def _units_of(taken: Taken) -> Units:
    entries = {entry["name"]: entry for entry in taken.spec["layers"]}
    return Units(entries, taken.flat._order, taken.flat._outputs)


def _copies(size: int, wanted: int, rng: np.random.Generator) -> _Index:
    """Which old unit each unit is: all of them first, then copies, none of a unit twice before all have one."""
    rounds = [np.arange(size)]
    while sum(map(len, rounds)) < wanted:
        rounds.append(rng.permutation(size))
    return np.concatenate(rounds)[:wanted]


class _Wide:
    """The weights of one layer after some slot has grown."""

    def __init__(self, grown: Slot, index: _Index, rng: np.random.Generator) -> None:
        self._grown, self._index, self._rng = grown, index, rng

    def of(self, slots: list[Slot]) -> _Index | None:
        """Which old feature each feature is; None: all are as they were."""
        if not any(slot.root is self._grown for slot in slots):
            return None
        parts, at = [], 0
        for slot in slots:
            parts.append(at + (self._index if slot.root is self._grown else np.arange(slot.size)))
            at += slot.size
        return np.concatenate(parts)

    @staticmethod
    def columns(array: Floats, index: _Index | None, size: int) -> Floats:
        """Blocks of ``size`` along the last axis, each with its units copied."""
        if index is None:
            return array
        blocks = array.reshape(*array.shape[:-1], array.shape[-1] // size, size)[..., index]
        return np.ascontiguousarray(blocks.reshape(*array.shape[:-1], -1))

    def rows(self, array: Floats, index: _Index | None, axis: int = 0) -> Floats:
        """What multiplies features: each weight shared out among the copies of its feature."""
        if index is None:
            return array
        wide = np.moveaxis(array, axis, 0)[index].astype(np.float64)
        shares = self._rng.uniform(_LEAST_SHARE, 1.0, wide.shape)
        totals = np.zeros((array.shape[axis], *wide.shape[1:]))
        np.add.at(totals, index, shares)
        wide *= shares / totals[index]
        return np.ascontiguousarray(np.moveaxis(wide, 0, axis), dtype=np.float32)


def _wider(
    taken: Taken, found: Units, grown: Slot, index: _Index, rng: np.random.Generator
) -> tuple[Spec, dict[str, Floats]]:
    spec, wide = taken.spec, _Wide(grown, index, rng)
    entries = {}
    for entry in spec["layers"]:
        made = entries[entry["name"]] = dict(entry)
        reads = wide.of(found.reads.get(entry["name"], []))
        if entry["name"] in grown.layers:
            if entry["type"] == "Bidirectional":
                made["layer"] = {**entry["layer"], UNITS[entry["layer"]["type"]]: len(index)}
            else:
                made[UNITS[entry["type"]]] = len(index)
        elif entry["type"] == "Rescaling" and reads is not None:
            for key in ("scale", "offset"):
                if isinstance(entry.get(key), (list, tuple)):
                    made[key] = [entry[key][k] for k in reads]
    weights = {}
    for path, array in taken.weights.items():
        name, _, rest = path.partition("/")
        weights[path] = _weight(wide, entries[name], rest.split("/")[-1], array, found, name)
    return {**spec, "layers": list(entries.values())}, weights


def _weight(wide: _Wide, entry: Spec, weight: str, array: Floats, found: Units, name: str) -> Floats:
    """One weight of a layer, by its name in it."""
    kind = entry.get("layer", entry)["type"]
    reads = wide.of(found.reads.get(name, []))
    own = found.own.get(name)
    if own is None:  # it has a number for each feature that it reads
        return array if reads is None else np.ascontiguousarray(array[..., reads])
    size, index = own.root.size, wide.of([own])
    if weight == "kernel":
        return wide.columns(wide.rows(array, reads, array.ndim - 2), index, size)
    if kind not in CELLS:
        return wide.columns(array, index, size)
    if weight == "projection_kernel":
        return wide.rows(array, index)
    projected = f"{name}:projection" in found.own
    if weight == "initial_h" and projected:
        return array
    if weight == "recurrent_kernel":
        return wide.columns(array if projected else wide.rows(array, index), index, size)
    if array.shape == (size, size):  # a matrix of the cell's own
        array = wide.rows(array, index)
    return wide.columns(array, index, size)


def _disturb(
    taken: Taken, found: Units, grown: Slot, weights: dict[str, Floats], spread: float, rng: np.random.Generator
) -> None:
    """Noise on what the copies read by."""
    for path, array in weights.items():
        name, _, rest = path.partition("/")
        if name not in grown.layers or not rest.endswith("kernel") or rest.endswith("projection_kernel"):
            continue
        wide = array.shape[-1] // (taken.weights[path].shape[-1] // grown.size)
        blocks = array.reshape(*array.shape[:-1], -1, wide)
        copies = blocks[..., grown.size :]
        copies += rng.normal(0.0, spread * float(taken.weights[path].std()), copies.shape).astype(np.float32)
