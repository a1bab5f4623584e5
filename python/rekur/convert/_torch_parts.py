"""The parts of a state_dict of PyTorch: layers recognised by the names and shapes of their tensors."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rekur._validate import did_you_mean
from rekur.convert._dialects import Cell, as_floats
from rekur.convert._parts import Made, Part
from rekur.convert._recurrent import _label, single, stack

_LEAF = re.compile(r"(weight|bias)_(ih|hh|hr)(?:_l(0|[1-9]\d{0,3})(_reverse)?)?")
_IDLE = {"num_batches_tracked"}
_BY_BLOCKS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}

Arrays = Mapping[str, Any]


def parts_of(arrays: Arrays, what: str) -> dict[str, Part]:
    """Parts by name, in the order in which their tensors stand there.

    Raises
    ------
    ValueError
        If the tensors of a recurrent layer are not complete or do not fit each other.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        place, _, leaf = name.rpartition(".")
        groups.setdefault(place, {})[leaf] = array
    return {name: _part(name, leaves, what) for name, leaves in groups.items()}


def _part(name: str, leaves: dict[str, Any], what: str) -> Part:
    shapes = {leaf: tuple(np.shape(array)) for leaf, array in leaves.items() if leaf not in _IDLE}
    if any(_LEAF.fullmatch(leaf) for leaf in leaves):
        return _recurrent(name, leaves, what)
    weight, bias = shapes.get("weight"), shapes.get("bias")
    if set(shapes) <= {"weight", "bias"} and weight is not None:
        if len(weight) == 2 and bias == (weight[0],):
            return _linear(name, leaves, what)
        if len(weight) == 2 and bias is None:
            return _choice(name, leaves, what, {"Linear": _linear_of, "Embedding": _embedding_of}, weight)
        if len(weight) == 3:
            return _choice(name, leaves, what, {"Conv1d": _conv_of, "ConvTranspose1d": _transposed_of}, weight)
        if len(weight) == 1:
            return _choice(name, leaves, what, {"LayerNorm": _norm_of, "RMSNorm": _rms_of}, weight)
    if {"running_mean", "running_var"} <= set(shapes) <= {"weight", "bias", "running_mean", "running_var"}:
        return _choice(name, leaves, what, {"BatchNorm1d": _batch_norm_of}, shapes["running_mean"])
    return _unknown(name, leaves, shapes, what)


def _unknown(name: str, leaves: Arrays, shapes: Mapping[str, Any], what: str) -> Part:
    listed = ", ".join(f"{leaf[:80]} {shape}" for leaf, shape in shapes.items())
    hint = ""
    if set(shapes) == {"weight"}:
        hint = "; a PReLU is layers.PReLU among `layers`, with partial=True, and its weight is set by set_weights"

    def make() -> list[Made]:
        raise ValueError(f"{what}: '{name}' is no layer that is known here: it has {listed}{hint}")

    return Part(name, f"unknown: {listed}", make, None)


# Recurrent layers.


def _recurrent(name: str, leaves: dict[str, Any], what: str) -> Part:
    found: dict[tuple[int, bool], dict[str, Any]] = {}
    cells: set[bool] = set()
    for leaf, array in leaves.items():
        match = _LEAF.fullmatch(leaf)
        if match is None:
            raise ValueError(
                f"{what}: '{name}' has tensors of a recurrent layer, and '{leaf[:80]}', which is none of it"
            )
        part, side, layer, backward = match.groups()
        cells.add(layer is None)
        found.setdefault((int(layer or 0), bool(backward)), {})[f"{part}_{side}"] = array
    if len(cells) > 1:
        raise ValueError(f"{what}: '{name}' has tensors of a layer (weight_ih_l0) and of a cell (weight_ih)")
    layers = max(layer for layer, _ in found) + 1
    directions = 1 + any(backward for _, backward in found)
    if len(found) != layers * directions:
        raise ValueError(
            f"{what}: '{name}': expected tensors of {layers} layers in {directions} directions, got those of "
            + ", ".join(f"l{layer}{'_reverse' * backward}" for layer, backward in sorted(found))
        )
    every = {leaf for arrays in found.values() for leaf in arrays}
    every |= {f"bias_{side}" for side in ("ih", "hh") if any(leaf.startswith("bias_") for leaf in every)}
    missing = [
        leaf + ("" if True in cells else f"_l{layer}{'_reverse' * backward}")
        for (layer, backward), arrays in sorted(found.items())
        for leaf in sorted(every - arrays.keys())
    ]
    if missing:
        raise ValueError(
            f"{what}: '{name}': tensors are missing: {', '.join(missing[:8])}; torch has them for all layers and "
            "directions, or for none"
        )
    kinds = {_kind(name, arrays, what) for arrays in found.values()}
    if len(kinds) != 1:
        raise ValueError(f"{what}: '{name}': its layers are of several kinds: {', '.join(sorted(kinds))}")
    rows = [[_cell(found[layer, backward]) for backward in (False, True)[:directions]] for layer in range(layers)]
    return stack(name, kinds.pop(), "torch", rows, what)


def _cell(arrays: Arrays) -> Cell:
    return Cell(
        arrays["weight_ih"],
        arrays["weight_hh"],
        arrays.get("bias_ih"),
        arrays.get("bias_hh"),
        arrays.get("weight_hr"),
    )


def _kind(name: str, arrays: Arrays, what: str) -> str:
    """By the rows of weight_hh (G·H, H): torch's kinds differ in G."""
    for leaf in ("weight_ih", "weight_hh"):
        if leaf not in arrays or np.ndim(arrays[leaf]) != 2:
            came = f"one of shape {np.shape(arrays[leaf])}" if leaf in arrays else "none"
            raise ValueError(f"{what}: '{name}': expected a matrix {leaf}, got {came}")
    rows, width = np.shape(arrays["weight_hh"])
    if "weight_hr" in arrays:
        return "LSTM"
    kind = _BY_BLOCKS.get(rows // width) if width and rows % width == 0 else None
    if kind is None or np.shape(arrays["weight_ih"])[0] != rows:
        raise ValueError(
            f"{what}: '{name}': expected weight_hh of (4·H, H) of an LSTM, (3·H, H) of a GRU or (H, H) of an RNN, and "
            f"weight_ih with as many rows; got {(rows, width)} and {np.shape(arrays['weight_ih'])}"
        )
    return kind


# Others. ``kind`` and what the tensors do not tell are asked for.


def _choice(
    name: str, leaves: dict[str, Any], what: str, kinds: Mapping[str, Callable[..., Any]], shape: tuple[int, ...]
) -> Part:
    """A part whose tensors may be of several kinds of layers, or do not say all of it."""
    needs: dict[str, tuple[str, ...]] = {
        "Linear": (), "Embedding": (), "Conv1d": ("stride", "padding", "dilation"),
        "ConvTranspose1d": ("stride", "padding", "dilation", "output_padding"),
        "LayerNorm": ("eps",), "RMSNorm": ("eps",), "BatchNorm1d": ("eps",),
    }  # fmt: skip
    options = ("kind", *dict.fromkeys(key for kind in kinds for key in needs[kind]), "groups")

    def make(kind: str | None = None, **given: Any) -> list[Made]:
        if kind is None and len(kinds) == 1:
            kind = next(iter(kinds))
        if kind is None or kind not in kinds:
            asked = " or ".join(f"kind='{entry}'" for entry in kinds)
            came = "" if kind is None else f", got {kind!r}{did_you_mean(kind, kinds)}"
            raise ValueError(
                f"{what}: '{name}', a weight of shape {shape}, may be of several layers: say ('{name}', {{…}}) in "
                f"layers with {asked}{came}"
            )
        if missing := [key for key in needs[kind] if key not in given]:
            raise ValueError(
                f"{what}: '{name}': the weights of a {kind} do not say its {', '.join(missing)}: give "
                f"('{name}', {{…}}) in layers, as it was made in torch"
            )
        made: list[Made] = kinds[kind](name, leaves, what, **given)
        return made

    is_ids = "Embedding" in kinds
    features = shape[1] if len(shape) > 1 else shape[0]
    words = " or ".join(f"{kind} {shape}" for kind in kinds)
    return Part(name, words, make, features, options, len(shape) == 3, ids_as="Embedding" if is_ids else "")


def _linear(name: str, leaves: dict[str, Any], what: str) -> Part:
    out, features = np.shape(leaves["weight"])
    ((_, weights),) = _linear_of(name, leaves, what)

    def layer(label: str | None) -> Any:
        from rekur.layers import Dense

        return Dense(out, name=label)

    return single(name, f"Linear, {features} → {out}", layer, weights, features)


def _arrays(leaves: Arrays, what: str, *names: str) -> list[Any]:
    return [as_floats(leaves[name], f"{what}: {name}") for name in names if name in leaves]


def _linear_of(name: str, leaves: Arrays, what: str) -> list[Made]:
    from rekur.layers import Dense

    weight, *bias = _arrays(leaves, f"{what}: '{name}'", "weight", "bias")
    return [(Dense(weight.shape[0], use_bias=bool(bias), name=_label(name)), [weight.T, *bias])]


def _embedding_of(name: str, leaves: Arrays, what: str) -> list[Made]:
    from rekur.layers import Embedding

    (weight,) = _arrays(leaves, f"{what}: '{name}'", "weight")
    return [(Embedding(*weight.shape, name=_label(name)), [weight])]


def _norm_of(name: str, leaves: Arrays, what: str, eps: float) -> list[Made]:
    from rekur.layers import LayerNormalization

    arrays = _arrays(leaves, f"{what}: '{name}'", "weight", "bias")
    layer = LayerNormalization(epsilon=eps, scale="weight" in leaves, center="bias" in leaves, name=_label(name))
    return [(layer, arrays)]


def _rms_of(name: str, leaves: Arrays, what: str, eps: float) -> list[Made]:
    from rekur.layers import RMSNormalization

    if "bias" in leaves:
        raise ValueError(f"{what}: '{name}': an RMSNorm has no bias, and here is one")
    return [(RMSNormalization(epsilon=eps, name=_label(name)), _arrays(leaves, f"{what}: '{name}'", "weight"))]


def _batch_norm_of(name: str, leaves: Arrays, what: str, eps: float, momentum: float = 0.1) -> list[Made]:
    from rekur.layers import BatchNormalization

    layer = BatchNormalization(
        momentum=1 - momentum,
        epsilon=eps,
        scale="weight" in leaves,
        center="bias" in leaves,
        name=_label(name),
    )
    return [(layer, _arrays(leaves, f"{what}: '{name}'", "weight", "bias", "running_mean", "running_var"))]


def one(value: Any, what: str) -> int:
    """An argument of a convolution along one axis, which torch also has as a tuple."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{what}: expected an integer, got {value!r}")
    return value


def _conv_of(
    name: str, leaves: Arrays, what: str, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> list[Made]:
    from rekur.layers import Conv1D, ZeroPadding1D

    where = f"{what}: '{name}'"
    weight, *bias = _arrays(leaves, where, "weight", "bias")
    before: list[Made] = []
    mode = padding if isinstance(padding, str) else "valid"
    if not isinstance(padding, str) and (pad := one(padding, f"{where}: padding")):
        before = [(ZeroPadding1D(pad), ())]
    layer = Conv1D(
        weight.shape[0],
        weight.shape[2],
        strides=one(stride, f"{where}: stride"),
        padding=mode,
        dilation_rate=one(dilation, f"{where}: dilation"),
        groups=groups,
        use_bias=bool(bias),
        name=_label(name),
    )
    return [*before, (layer, [weight.transpose(2, 1, 0), *bias])]


def _transposed_of(
    name: str,
    leaves: Arrays,
    what: str,
    stride: Any,
    padding: Any,
    dilation: Any,
    output_padding: Any,
    groups: int = 1,
) -> list[Made]:
    from rekur.layers import Conv1DTranspose, Cropping1D

    where = f"{what}: '{name}'"
    if groups != 1:
        raise ValueError(f"{where}: Conv1DTranspose has no groups here, got {groups}")
    weight, *bias = _arrays(leaves, where, "weight", "bias")
    pad, further = one(padding, f"{where}: padding"), one(output_padding, f"{where}: output_padding")
    layer = Conv1DTranspose(
        weight.shape[1],
        weight.shape[2],
        strides=one(stride, f"{where}: stride"),
        output_padding=further,
        dilation_rate=one(dilation, f"{where}: dilation"),
        use_bias=bool(bias),
        name=_label(name),
    )
    made: list[Made] = [(layer, [weight.transpose(2, 1, 0), *bias])]
    return [*made, (Cropping1D(pad), ())] if pad else made
