"""How programs lay out the weights of recurrent layers: gate orders, axes, biases, resets. The one place that knows.

Letters are those of rekur's equations: i, f, g (the candidate), o of an LSTM; z (what keeps the old state), r, n (the
candidate) of a GRU. rekur has kernels ``(I, G·H)`` with the columns of i, f, g, o and z, r, n, one bias, and of a GRU
that resets after the product two, ``(2, 3H)``: b_W, which stands beside x W, and b_R beside h R.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rekur._validate import Floats


@dataclass(frozen=True)
class Dialect:
    """What a program's arrays mean."""

    title: str
    lstm: str = "ifgo"  # the order of the blocks
    gru: str = "zrn"
    rows: bool = False  # whether a kernel is (G·H, in), as torch's, rather than (in, G·H)
    biases: int = 1  # of LSTM and SimpleRNN; two are added to each other
    gru_biases: int = 2  # of a GRU that resets after the product; two stay apart
    reset_after: bool | None = None  # of its GRU; None: either, and the format says which
    z_keeps: bool = True  # h' = (1 − z)⊙n + z⊙h; else h' = (1 − z)⊙h + z⊙n


DIALECTS: Mapping[str, Dialect] = {
    "rekur": Dialect("rekur"),
    "keras": Dialect("Keras"),
    "torch": Dialect("PyTorch", gru="rzn", rows=True, biases=2, reset_after=True),
    "onnx": Dialect("ONNX", lstm="iofg", rows=True, biases=2),
    "rtneural": Dialect("RTNeural", reset_after=True),
    "nam": Dialect("Neural Amp Modeler", rows=True, reset_after=True),
    "mlpack": Dialect("mlpack", lstm="gifo", gru="rzn", gru_biases=1, z_keeps=False),
    "haste": Dialect("haste", lstm="igfo", reset_after=True),
    "onednn": Dialect("oneDNN"),
    "cudnn": Dialect("cuDNN", gru="rzn", rows=True, biases=2, reset_after=True),
    "haiku": Dialect("Haiku", lstm="igfo", gru_biases=1, z_keeps=False),
    "equinox": Dialect("Equinox", gru="rzn", rows=True, reset_after=True),
}

GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}


class Cell(NamedTuple):
    """The arrays of one direction of a layer, in a dialect; None where there is none."""

    kernel: Any  # of x
    recurrent: Any  # of h
    bias: Any = None  # beside x W, or the only one
    recurrent_bias: Any = None  # beside h R
    projection: Any = None  # of the output of an LSTM


def reorder(array: Floats, before: str, after: str) -> Floats:
    """Blocks of the last axis, one a letter, from one order into another."""
    if before == after:
        return array
    blocks = dict(zip(before, np.split(array, len(before), axis=-1), strict=True))
    return np.concatenate([blocks[letter] for letter in after], axis=-1)


def _opposed(array: Floats, units: int) -> Floats:
    """Blocks z, r, n with z as 1 − z: 1 − σ(v) = σ(−v)."""
    return np.concatenate([-array[..., :units], array[..., units:]], axis=-1)


def order_of(dialect: Dialect, kind: str) -> str:
    return {"LSTM": dialect.lstm, "GRU": dialect.gru}.get(kind, "h")


def to_rekur(
    dialect: "Dialect | str", kind: str, cell: Cell, what: str, reset_after: bool | None = None
) -> list[Floats]:
    """Weights of rekur's layer, in the order of its ``get_weights``, of arrays of another program.

    Parameters
    ----------
    dialect : Dialect, or the name of one in DIALECTS
    kind : {"SimpleRNN", "LSTM", "GRU"}
    cell : Cell
    what : str
        Names the layer in errors.
    reset_after : bool, optional
        Of a GRU, where the dialect has both.

    Raises
    ------
    ValueError
        If shapes do not belong together, or numbers are no finite float32.
    """
    if isinstance(dialect, str):
        dialect = DIALECTS[dialect]
    ours, theirs = order_of(DIALECTS["rekur"], kind), order_of(dialect, kind)
    if reset_after is None:
        reset_after = True if dialect.reset_after is None else dialect.reset_after

    def matrix(array: Any, name: str) -> Floats:
        found = as_floats(array, f"{what}: {name}")
        if found.ndim != 2:
            raise ValueError(f"{what}: {name}: expected a matrix, got shape {found.shape}")
        return np.ascontiguousarray(found.T) if dialect.rows else found

    kernel, recurrent = matrix(cell.kernel, "kernel"), matrix(cell.recurrent, "recurrent kernel")
    width, count = recurrent.shape[1], GATES[kind]
    if width % count or kernel.shape[1] != width:
        raise ValueError(
            f"{what}: expected kernels of {count} blocks, as wide as each other, for {kind}; got {kernel.shape[1]} and "
            f"{width} columns"
        )
    units = width // count
    if recurrent.shape[0] != units and cell.projection is None:
        raise ValueError(f"{what}: a recurrent kernel of {units} units has {units} rows, got {recurrent.shape[0]}")

    def vector(array: Any, name: str) -> Floats | None:
        if array is None:
            return None
        found = as_floats(array, f"{what}: {name}").reshape(-1)
        if found.size != width:
            raise ValueError(f"{what}: {name}: expected {width} numbers, got {found.size}")
        return reorder(found, theirs, ours)

    kernel, recurrent = reorder(kernel, theirs, ours), reorder(recurrent, theirs, ours)
    first, second = vector(cell.bias, "bias"), vector(cell.recurrent_bias, "recurrent bias")
    if kind == "GRU" and not dialect.z_keeps:
        kernel, recurrent = _opposed(kernel, units), _opposed(recurrent, units)
        first, second = (None if a is None else _opposed(a, units) for a in (first, second))
    found = [kernel, recurrent]
    if first is not None or second is not None:
        zeros = np.zeros(width, np.float32)
        first, second = zeros if first is None else first, zeros if second is None else second
        found.append(np.stack([first, second]) if kind == "GRU" and reset_after else first + second)
    if cell.projection is not None:
        projection = matrix(cell.projection, "projection")
        if kind != "LSTM" or projection.shape != (units, recurrent.shape[0]):
            raise ValueError(
                f"{what}: a projection of {units} units to {recurrent.shape[0]} has shape "
                f"({units}, {recurrent.shape[0]}), got {projection.shape}"
            )
        found.append(projection)
    return found


def from_rekur(dialect: "Dialect | str", kind: str, weights: list[Floats], use_bias: bool = True) -> Cell:
    """Arrays of another program of the weights of rekur's layer: kernel, recurrent kernel, bias, projection kernel.

    Where the other program has two biases that it adds, the second is zeros. Without a bias here there is none there.
    """
    if isinstance(dialect, str):
        dialect = DIALECTS[dialect]
    ours, theirs = order_of(DIALECTS["rekur"], kind), order_of(dialect, kind)
    units = weights[1].shape[1] // GATES[kind]

    def turned(array: Floats) -> Floats:
        if kind == "GRU" and not dialect.z_keeps:
            array = _opposed(array, units)
        return reorder(array, ours, theirs)

    def matrix(array: Floats) -> Floats:
        return np.ascontiguousarray(array.T) if dialect.rows else array

    first = second = None
    rest = list(weights[2:])
    if use_bias:
        bias = turned(rest.pop(0))
        first, second = (bias[0], bias[1]) if bias.ndim == 2 else (bias, None)
        if second is None and (dialect.gru_biases if kind == "GRU" else dialect.biases) == 2:
            second = np.zeros_like(first)
    projection = matrix(rest[0]) if rest else None
    return Cell(matrix(turned(weights[0])), matrix(turned(weights[1])), first, second, projection)


def as_floats(array: Any, what: str) -> Floats:
    """An array as float32.

    Raises
    ------
    ValueError
        If it holds no floating-point numbers (integers are quantised weights, whose scales are elsewhere), or
        one that float32 cannot hold.
    """
    try:
        found = np.asarray(array)
        whole = "iu" if isinstance(array, (list, tuple, int)) else ""  # written so in a text
        if found.dtype.kind not in f"f{whole}":
            raise TypeError(f"floating-point numbers are needed, here are some of type {found.dtype}")
        with np.errstate(over="ignore"):
            floats = np.asarray(found, np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: expected an array of numbers: {error}") from None
    if not np.isfinite(floats).all() and np.isfinite(found.astype(np.float64)).all():
        raise ValueError(f"{what}: a number is too large for float32")
    return floats
