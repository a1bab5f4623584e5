"""Further layers that change nothing at first, in the spirit of Net2DeeperNet, Chen et al., arXiv:1511.05641.

No recurrent layer is the identity, but x + h is while h is zero: a further recurrent layer has ``residual=True``, and
what its cell writes into the state begins at zero. Training takes it from there.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur._random import draw_seed
from rekur._spec import Spec, check_name, nodes, split_reference, unique_name
from rekur._validate import Floats, integer
from rekur.optimizers import SGD
from rekur.tune._rewriting import Taken, check_same, filled, finished, outputs_of, random_inputs
from rekur.tune._units import CELLS, UNITS

_IDENTITIES = ("linear", "relu")  # f(f(x)) = f(x)
_WRITES = {"GRU": (2, 3), "LSTM": (2, 4)}  # which block of how many is what the cell writes into its state
_STEP, _STEEPEST = 1e-3, 100.0


def deepen(model: Any, layer: Any, *, name: str | None = None, seed: int | None = None) -> Any:
    """A model like another with one more layer behind a layer, of its kind, that computes the same.

    Parameters
    ----------
    model : Model
        It stays as it is.
    layer : str or Layer
        By its name or itself: a recurrent layer of any cell, whose output the new one, of as many units, adds its own
        to (``residual=True``); a Bidirectional with ``return_sequences``, likewise; or Dense, behind which comes a
        Dense that begins as the identity or, by the activation, is added to what it reads.
    name : str, optional
        Of the new layer; by default that of ``layer`` and a number.
    seed : int, optional
        Of the weights that do not begin at zero.

    Returns
    -------
    Model, or a Sequential of one
        Compiled as ``model`` was; the optimiser begins anew. Models within the model are taken apart.

    Raises
    ------
    ValueError
        If there is no layer of its kind that would change nothing, saying why.
    TypeError
        If ``model`` is no model.
    """
    what = "tune.deepen"
    taken = Taken.of(model, what)
    entry = taken.entry(layer, what)
    kind, known = entry["type"], {each["name"]: each for each in [*taken.spec["layers"], *nodes(taken.spec)]}
    if name is not None and check_name(name, f"{what}: name") in known:
        raise ValueError(f"{what}: name: model '{taken.model.name}' has a layer '{name}' already")
    new_name = name or unique_name(re.sub(r"_\d+$", "", entry["name"]), known)
    drawn = draw_seed() if seed is None else integer(seed, f"{what}: seed", 0)
    calls = [node for node in nodes(taken.spec) if node["owner"] == entry["name"]]
    refused = f"{what}: there is no layer to put behind '{entry['name']}' ({kind}) that changes nothing"
    if len(calls) != 1:
        raise ValueError(f"{refused}: it is called {len(calls)} times")
    call = next(c for c in taken.flat._order if c.layer.name == entry["name"])
    if sum(len(tensor.shape) == 3 for tensor in call.inputs) > 1:
        raise ValueError(f"{refused}: its cell takes more than one input at each step")
    width = int(call.outputs[0].shape[-1] or 0)
    if kind in CELLS:
        entry, added = _recurrent(entry, width)
    elif kind == "Bidirectional":
        added = _bidirectional(entry, width, refused)
    elif kind == "Dense":
        added = _dense(entry, width)
    else:
        raise ValueError(f"{refused}: expected a recurrent layer, a Bidirectional or Dense")
    further: list[Spec] = [{**added, "name": new_name}]
    if kind == "Dense" and entry["activation"] not in _IDENTITIES:
        further.append({"type": "Add", "name": unique_name(f"{new_name}.sum", known)})
    spec = _with(taken.spec, entry, calls[0]["name"], further)
    weights = dict(taken.weights)
    try:
        fresh = filled(spec, weights, drawn)
    except ValueError as error:
        raise ValueError(f"{refused}: {error}") from None
    for path, array in fresh.named_weights().items():
        if path not in weights:
            weights[path] = _beginning(path, array.copy(), spec, further[0], kind)
    check_same(taken, spec, weights, refused)
    _check_learns(taken, spec, weights, refused)
    return finished(taken, spec, weights)


def _recurrent(entry: Spec, width: int) -> tuple[Spec, Spec]:
    added = copy.deepcopy(entry)
    for key in ("projection_size", "projection_initializer"):
        added.pop(key, None)
    added.update(units=width, return_state=False, residual=True)
    return {**entry, "return_sequences": True}, added


def _bidirectional(entry: Spec, width: int, refused: str) -> Spec:
    added = copy.deepcopy(entry)
    inner = added["layer"]
    if not inner["return_sequences"]:
        raise ValueError(f"{refused}: it gives no sequence (return_sequences=True); put one behind a layer before it")
    for key in ("projection_size", "projection_initializer"):
        inner.pop(key, None)
    inner.update({UNITS[inner["type"]]: width // (2 if entry["merge_mode"] == "concat" else 1), "return_state": False})
    return {**added, "residual": True}


def _dense(entry: Spec, width: int) -> Spec:
    return {**copy.deepcopy(entry), "units": width}


def _with(spec: Spec, entry: Spec, call: str, further: list[Spec]) -> Spec:
    """The spec with layers behind a call of a layer: what read its first output reads theirs."""
    last = further[-1]["name"]

    def moved(refs: list[str]) -> list[str]:
        return [last if split_reference(ref) == (call, 0) else ref for ref in refs]

    found = {**spec, "outputs": moved(spec["outputs"]), "layers": []}
    flat = spec["version"] == 1
    reads = [[call], [call, further[0]["name"]]]
    for each in spec["layers"]:
        each = dict(entry if each["name"] == entry["name"] else each)
        if "inputs" in each:
            each["inputs"] = moved(each["inputs"])
        found["layers"].append(each)
        if each["name"] == entry["name"]:
            for new, inputs in zip(further, reads, strict=False):
                plain = {key: value for key, value in new.items() if key != "inputs"}
                found["layers"].append({**plain, "inputs": inputs} if flat else plain)
    if not flat:
        found["calls"] = []
        for each in spec["calls"]:
            found["calls"].append({**each, "inputs": moved(each["inputs"])})
            if each.get("name", each["layer"]) == call:
                for new, inputs in zip(further, reads, strict=False):
                    found["calls"].append({"layer": new["name"], "name": new["name"], "inputs": inputs})
    return found


def _beginning(path: str, array: Floats, spec: Spec, added: Spec, kind: str) -> Floats:
    """What a weight of the new layer begins with."""
    weight = path.rpartition("/")[2]
    if kind == "Dense":
        if weight == "kernel" and added["activation"] in _IDENTITIES:
            return np.eye(len(array), dtype=np.float32)
        return np.zeros_like(array)
    inner = added.get("layer", added)
    normalised = inner.get("layer_normalization")
    if normalised in ("state", "both"):
        return np.zeros_like(array) if weight in ("state_gamma", "state_beta") else array
    written = ("kernel_gamma", "recurrent_gamma", "bias") if normalised else ("kernel", "recurrent_kernel", "bias")
    if weight not in (*written, "recurrent_bias"):
        return array
    at, gates = _WRITES.get(inner["type"], (0, 1))
    if inner.get("coupled_gates"):
        at, gates = 1, 3
    array.reshape(*array.shape[:-1], gates, -1)[..., at, :] = 0.0  # the gates stay as they were drawn
    return array


def _without_rules(spec: Spec) -> Spec:
    """For a step of training: rules move weights, too, and tags of a chain have no gradient."""
    plain = copy.deepcopy(spec)
    for entry in plain["layers"]:
        for key in ("constraints", "regularizers"):
            entry.pop(key, None)
        if entry["type"] == "CRF":
            entry["output_mode"] = "marginals"
    return plain


def _check_learns(before: Taken, spec: Spec, weights: Mapping[str, Floats], refused: str) -> None:
    """A step of training on random sequences.

    Raises
    ------
    ValueError
        If no weight of the new layer moves, as where its cell ends in a rectifier, or they move too far.
    """
    model = filled(_without_rules(spec), weights, 0)
    x = random_inputs(before)
    y = [np.float32(1) + found for found in outputs_of(model, x)]
    model.compile(SGD(_STEP), "mean_squared_error")
    model.train_on_batch(x, y[0] if len(y) == 1 else y)
    moved = [
        float(np.abs(array - weights[path]).max()) / _STEP
        for path, array in model.named_weights().items()
        if path not in before.weights
    ]
    if not max(moved, default=0.0) > 0:
        raise ValueError(f"{refused} and can learn: what its cell gives cannot leave zero")
    if not max(moved) < _STEEPEST:
        raise ValueError(f"{refused} and can learn: its gradients would be {max(moved):.2g} at first")
