"""haste's LSTM and GRU, by the names of their parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur.convert._dialects import Cell, from_rekur
from rekur.convert._kinds import recurrent, weighted
from rekur.convert._parts import Part
from rekur.convert._recurrent import stack
from rekur.convert._registry import Format
from rekur.convert._source import Source, as_array
from rekur.convert._torch_file import contents, is_torch_file, state_dict

_LEAVES = {"kernel", "recurrent_kernel", "bias", "recurrent_bias"}


def _recognises(source: Source) -> bool:
    """A GRU's names are haste's alone; those of its LSTM are Keras's as well, in another order."""
    leaves = {name.rpartition(".")[2] for name in source.array_names}
    return leaves == _LEAVES


def _parts(source: Source) -> dict[str, Part]:
    what = str(source)
    if is_torch_file(source):
        arrays = {n: as_array(t, n) for n, t in state_dict(contents(source), what, None).items()}
    else:
        arrays = source.arrays()
    groups: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        place, _, leaf = name.rpartition(".")
        groups.setdefault(place, {})[leaf] = array
    if not groups:
        raise ValueError(f"{what}: expected kernel, recurrent_kernel and bias, got no arrays")
    found, seen = {}, dict.fromkeys(groups)
    for place, leaves in groups.items():
        if place.endswith("_reverse") and place.removesuffix("_reverse") in seen:
            continue
        row = [leaves, *([groups[f"{place}_reverse"]] if f"{place}_reverse" in groups else [])]
        kinds = [_kind(place, each, what) for each in row]
        if len(set(kinds)) > 1:
            raise ValueError(f"{what}: '{place}' and '{place}_reverse' are of two kinds")
        cells = [
            Cell(each["kernel"], each["recurrent_kernel"], each.get("bias"), each.get("recurrent_bias")) for each in row
        ]
        found[place] = stack(place, kinds[0], "haste", [cells], what)
    return found


def _kind(place: str, leaves: Mapping[str, Any], what: str) -> str:
    if extra := set(leaves) - _LEAVES:
        raise ValueError(
            f"{what}: '{place}' has {', '.join(sorted(extra))}: there are only haste's LSTM and GRU here, of kernel, "
            "recurrent_kernel, bias and recurrent_bias"
        )
    shape = np.shape(leaves.get("recurrent_kernel", ()))
    if "kernel" not in leaves or len(shape) != 2 or not shape[0] or shape[1] % shape[0]:
        raise ValueError(
            f"{what}: '{place}': expected kernel (F, G·H) and recurrent_kernel (H, G·H), got {list(leaves)}"
        )
    kind = {4: "LSTM", 3: "GRU"}.get(shape[1] // shape[0])
    if kind is None or (kind == "LSTM" and "recurrent_bias" in leaves):
        raise ValueError(f"{what}: '{place}': a recurrent_kernel of shape {shape} is of no LSTM or GRU of haste")
    return kind


def _make(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, layer in weighted(model):
        entry = recurrent(name, layer, "haste", kinds=("LSTM", "GRU"))
        if entry is None:
            raise ValueError(f"layer '{name}' ({type(layer).__name__}): haste has recurrent layers alone")
        for weights, suffix in zip(entry.directions, ("", "_reverse"), strict=False):
            cell = from_rekur("haste", entry.kind, weights, entry.layer.use_bias)
            zeros = np.zeros(cell.kernel.shape[1], np.float32)
            arrays = {"kernel": cell.kernel, "recurrent_kernel": cell.recurrent}
            arrays["bias"] = zeros if cell.bias is None else cell.bias
            if entry.kind == "GRU":
                arrays["recurrent_bias"] = zeros if cell.recurrent_bias is None else cell.recurrent_bias
            found.update({f"{name}{suffix}.{leaf}": np.ascontiguousarray(a) for leaf, a in arrays.items()})
    return found


FORMAT = Format(
    name="haste",
    title="haste",
    given="a `state_dict`: `.pt`, `.safetensors`, a dict of arrays. Of LSTMs say `format=`, since Keras has the same "
    "names in another order",
    recognises=_recognises,
    reads="LSTM (columns i, g, f, o), GRU; order is asked for; `NAME_reverse` beside `NAME` is a second direction",
    writes="LSTM, GRU: a dict of arrays",
    parts=_parts,
    make=_make,
    checked="its equations in float64",
)
