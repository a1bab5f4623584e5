"""Packed buffers of cuDNN: one vector of all weights, then of all biases, whose sizes are said beside it.

The same vector is torch's after ``flatten_parameters``, the opaque parameters of tf.compat.v1's CudnnLSTM, CudnnGRU and
CudnnRNN, and the fused parameters of MXNet's RNN operator. By layer and direction stand the matrices of x by gate, each
(H, inputs), then those of h, each (H, H); behind all of them likewise the biases. Gates: i, f, g, o; r, z, n.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from rekur import _files
from rekur._validate import Floats, boolean, did_you_mean, integer
from rekur.convert._dialects import Cell, as_floats, from_rekur
from rekur.convert._kinds import recurrent, weighted
from rekur.convert._parts import Chain
from rekur.convert._recurrent import stack
from rekur.convert._registry import Format
from rekur.convert._source import Source, as_array

_KINDS = {
    "LSTM": ("LSTM", "tanh", 4), "GRU": ("GRU", "tanh", 3),
    "RNN_TANH": ("SimpleRNN", "tanh", 1), "RNN_RELU": ("SimpleRNN", "relu", 1),
}  # fmt: skip
_BIASES = ("double", "input", "recurrent", "none")
_NEEDED = ("kind", "input_size", "hidden_size")
_NPY = b"\x93NUMPY"


def _recognises(source: Source) -> bool:
    if source.path is not None:
        return source.name.endswith(".npy") and source.head.startswith(_NPY)
    shape, dtype = getattr(source.object, "shape", None), getattr(source.object, "dtype", None)
    return dtype is not None and shape is not None and len(shape) == 1


def _buffer(source: Source) -> Floats:
    if source.path is None:
        array = as_array(source.object, "the buffer")
    else:
        try:
            array = np.load(source.path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{source}: it is no whole .npy file of numbers: {error}") from None
    found = as_floats(array, str(source))
    if found.ndim != 1:
        raise ValueError(f"{source}: a packed buffer has one axis, got shape {found.shape}")
    return found


def _parts(
    source: Source,
    kind: str | None = None,
    input_size: int | None = None,
    hidden_size: int | None = None,
    num_layers: int = 1,
    bidirectional: bool = False,
    bias_mode: str | None = None,
) -> Chain:
    buffer, what = _buffer(source), str(source)
    given = {"kind": kind, "input_size": input_size, "hidden_size": hidden_size}
    if missing := [name for name in _NEEDED if given[name] is None]:
        raise ValueError(
            f"{what}: a buffer of {buffer.size} numbers has no shapes: give "
            f"{', '.join(f'{name}=' for name in missing)} (and num_layers=, bidirectional=)"
        )
    if kind not in _KINDS:
        raise ValueError(f"{what}: kind is one of {', '.join(_KINDS)}, got {kind!r}{did_you_mean(str(kind), _KINDS)}")
    I, H = integer(input_size, "input_size"), integer(hidden_size, "hidden_size")
    L, D = integer(num_layers, "num_layers"), 1 + boolean(bidirectional, "bidirectional")
    layer, activation, G = _KINDS[kind]
    inputs = [I if k == 0 else D * H for k in range(L)]
    matrices = sum(D * G * H * (n + H) for n in inputs)
    biases = L * D * G * H  # of one of the two
    mode = _mode(buffer.size, matrices, biases, layer, bias_mode, what)
    counts = {"double": (1, 1), "input": (1, 0), "recurrent": (0, 1), "none": (0, 0)}[mode]
    take = _taker(buffer)
    kernels = [[(take(G * H, n), take(G * H, H)) for _ in range(D)] for n in inputs]
    cells = [
        [Cell(w, r, take(G * H) if counts[0] else None, take(G * H) if counts[1] else None) for w, r in row]
        for row in kernels
    ]
    settings = {"activation": activation} if layer == "SimpleRNN" else {}
    return Chain({"": stack("", layer, "cudnn", cells, what, settings)})


def _mode(size: int, matrices: int, biases: int, layer: str, asked: str | None, what: str) -> str:
    if asked is not None and asked not in _BIASES:
        raise ValueError(
            f"{what}: bias_mode is one of {', '.join(_BIASES)}, got {asked!r}{did_you_mean(asked, _BIASES)}"
        )
    fitting = {"double": 2, "input": 1, "recurrent": 1, "none": 0}
    if asked is None:
        found = [mode for mode, count in fitting.items() if size == matrices + count * biases]
        if len(found) == 2 and layer == "GRU":
            raise ValueError(
                f"{what}: one bias of a GRU may stand beside the product of x or that of h: give bias_mode='input' or "
                "'recurrent'"
            )
        asked = found[0] if found else "double"
    expected = matrices + fitting[asked] * biases
    if size != expected:
        raise ValueError(
            f"{what}: expected {expected} numbers of these sizes with bias_mode='{asked}' ({matrices} of matrices, "
            f"{fitting[asked] * biases} of biases), got {size}"
        )
    return asked


def _taker(buffer: Floats) -> Any:
    at = 0

    def take(*shape: int) -> Floats:
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return buffer[at - count : at].reshape(shape)

    return take


def _make(model: Any) -> Floats:
    matrices, biases = [], []
    sizes: set[tuple[str, int, int, Any]] = set()
    for name, layer in weighted(model):
        entry = recurrent(name, layer, "cuDNN", activations={"SimpleRNN": ("tanh", "relu")})
        if entry is None:
            raise ValueError(
                f"layer '{name}' ({type(layer).__name__}): cuDNN's packed buffers have recurrent layers alone"
            )
        sizes.add((entry.kind, entry.layer.units, len(entry.directions), entry.layer.activation))
        for weights in entry.directions:
            cell = from_rekur("cudnn", entry.kind, weights, entry.layer.use_bias)
            zeros = np.zeros(cell.kernel.shape[0], np.float32)
            matrices += [cell.kernel, cell.recurrent]
            biases += [zeros if b is None else b for b in (cell.bias, cell.recurrent_bias)]
    if len(sizes) > 1:
        raise ValueError(
            f"model '{model.name}': layers of one buffer are of one kind, activation, number of units and directions, "
            f"got {', '.join(str(size) for size in sorted(sizes, key=str))}"
        )
    return np.concatenate([np.ravel(array) for array in (*matrices, *biases)]).astype(np.float32)


def _save(model: Any, path: str) -> None:
    import io

    file = io.BytesIO()
    np.save(file, _make(model), allow_pickle=False)
    _files.write_atomic(os.fspath(path), file.getvalue())


PACKED = Format(
    name="cudnn",
    title="cuDNN, packed buffers; also torch's flattened weights, TensorFlow's CudnnLSTM and MXNet's fused RNN",
    given="a vector: an array, `.npy`",
    recognises=_recognises,
    reads="LSTM, GRU, RNN with tanh or relu, of layers, both directions, with two biases, one or none",
    writes="stacks of equal SimpleRNN, LSTM, GRU, with two biases: an array, `.npy`",
    suffixes=(".npy",),
    parts=_parts,
    save=_save,
    make=_make,
    load_options={
        "kind": "`LSTM`, `GRU`, `RNN_TANH` or `RNN_RELU`",
        "input_size": "features of the input",
        "hidden_size": "units",
        "num_layers": "1 by default",
        "bidirectional": "false by default",
        "bias_mode": "`double`, `input`, `recurrent` or `none`; by default what the number of numbers says",
    },
    checked="torch's cells, packed as cuDNN says",
)


# --- the same by names, as MXNet's Gluon has them ---


def _gluon_names(names: Any) -> Iterator[tuple[str, str, str, str, str, str]]:
    """(name, prefix, direction, layer, side, what)."""
    import re

    for name in names:
        match = re.fullmatch(r"(.*?)([lr])(\d+)_(i2h|h2h)_(weight|bias)", name)
        if match is not None:
            yield (name, *match.groups())


def _is_gluon(source: Source) -> bool:
    names = source.array_names
    return bool(names) and len(list(_gluon_names(names))) == len(names)


def _gluon_parts(source: Source, nonlinearity: str | None = None) -> dict[str, Any]:
    what, arrays = str(source), source.arrays()
    groups: dict[str, dict[tuple[int, str], dict[str, Any]]] = {}
    for name, prefix, side, layer, product, part in _gluon_names(arrays):
        groups.setdefault(prefix, {}).setdefault((int(layer), side), {})[f"{product}_{part}"] = arrays[name]
    if not groups:
        raise ValueError(f"{what}: expected arrays named l0_i2h_weight, l0_h2h_weight, …")
    found = {}
    for prefix, by_place in groups.items():
        name = prefix.rstrip("._")
        layers, sides = max(k for k, _ in by_place) + 1, ["l", "r"][: 1 + any(side == "r" for _, side in by_place)]
        wanted = {(k, side) for k in range(layers) for side in sides}
        if set(by_place) != wanted or any({"i2h_weight", "h2h_weight"} - set(a) for a in by_place.values()):
            raise ValueError(f"{what}: '{prefix}': the weights of its {layers} layers are not complete")
        rows, width = np.shape(by_place[0, "l"]["h2h_weight"])
        kind = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}.get(rows // width) if width and rows % width == 0 else None
        if kind is None:
            raise ValueError(f"{what}: '{prefix}': h2h_weight of shape {(rows, width)} is of no LSTM, GRU or RNN")
        cells = [[_gluon_cell(by_place[k, side]) for side in sides] for k in range(layers)]
        settings = {"activation": nonlinearity} if kind == "SimpleRNN" and nonlinearity in ("tanh", "relu") else {}
        found[name] = stack(name, kind, "cudnn", cells, what, settings)
    return found


def _gluon_cell(arrays: Any) -> Cell:
    return Cell(arrays["i2h_weight"], arrays["h2h_weight"], arrays.get("i2h_bias"), arrays.get("h2h_bias"))


def _gluon_make(model: Any) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for name, layer in weighted(model):
        entry = recurrent(name, layer, "MXNet", activations={"SimpleRNN": ("tanh", "relu")})
        if entry is None:
            raise ValueError(f"layer '{name}' ({type(layer).__name__}): only recurrent layers are written for MXNet")
        for side, weights in zip("lr", entry.directions, strict=False):
            cell = from_rekur("cudnn", entry.kind, weights, entry.layer.use_bias)
            zeros = np.zeros(cell.kernel.shape[0], np.float32)
            arrays = {"i2h_weight": cell.kernel, "h2h_weight": cell.recurrent}
            arrays["i2h_bias"] = zeros if cell.bias is None else cell.bias
            arrays["h2h_bias"] = zeros if cell.recurrent_bias is None else cell.recurrent_bias
            found.update({f"{name}_{side}0_{leaf}": np.ascontiguousarray(a) for leaf, a in arrays.items()})
    return found


GLUON = Format(
    name="mxnet",
    title="MXNet, Gluon's recurrent layers (GluonTS of that time)",
    given="a dict of arrays or `.safetensors` with the names `l0_i2h_weight`, `r0_h2h_bias`, …, behind any prefix",
    recognises=_is_gluon,
    reads="LSTM, GRU, RNN, of layers and directions; a vector of the fused operator is `cudnn`",
    writes="SimpleRNN, LSTM, GRU: a dict of arrays",
    parts=_gluon_parts,
    make=_gluon_make,
    load_options={"nonlinearity": "of an RNN: `tanh` or `relu`"},
    checked="torch's cells, whose order it shares",
)

FORMATS = [PACKED, GLUON]
