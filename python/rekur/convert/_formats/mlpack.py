"""mlpack's parameters: one long column, whose meaning its network says, which is C++."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rekur.convert._audio import effect_of
from rekur.convert._dialects import DIALECTS, Cell, as_floats, from_rekur, to_rekur
from rekur.convert._parts import Made
from rekur.convert._plain import demand_plain
from rekur.convert._registry import Format
from rekur.convert._source import Source

_WHO = "mlpack"
_NETWORK = "[('LSTM', 16), ('Linear', 1), 'sigmoid']"


def _load(
    source: Source,
    network: Iterable[Any] | None = None,
    features: int | None = None,
    reset_after: bool | None = None,
) -> Any:
    """A chain of the layers of ``network``, of ``RNN::Parameters()``.

    mlpack 4 has of an LSTM the matrices of the block input (g), i, f and o, of x, the biases, those of h, then the
    peepholes of i, f, o; of a GRU, which has no biases, those of r, z and the candidate, and h' = (1 − z)⊙h + z⊙n. All
    matrices are stored by columns, (units, features).
    """
    flat, what = _numbers(source), str(source)
    if network is None or features is None:
        raise ValueError(
            f"{what}: mlpack's parameters do not say of which layers they are: give network={_NETWORK} and features= "
            "of the input, as the network was made in C++"
        )
    place = 0

    def take(*shape: int) -> Any:
        nonlocal place
        end = place + int(np.prod(shape))
        if end > flat.size:
            raise ValueError(f"{what}: the network has more parameters than the {flat.size} that there are")
        array, place = flat[place:end].reshape(shape), end
        return array

    from rekur.layers import Input
    from rekur.models import Sequential
    from rekur.models.given import give

    made: list[Made] = []
    width = features
    for entry in network:
        layer, width = _layer(entry, width, take, reset_after, what)
        made.append(layer)
    if place != flat.size:
        raise ValueError(f"{what}: the network has {place} parameters, and here are {flat.size}")
    model = Sequential([Input((None, features)), *(layer for layer, _ in made)])
    give((layer, arrays) for layer, arrays in made if arrays)
    return model


def _numbers(source: Source) -> Any:
    """The column: an array, or a file of one number a line."""
    if source.path is None:
        found = as_floats(source.object, str(source))
    else:
        try:
            text = source.bytes().decode()
            found = as_floats([float(word) for word in text.replace(",", "\n").split()], str(source))
        except ValueError as error:
            raise ValueError(
                f"{source}: expected numbers, one a line, as mlpack writes network.Parameters() to a .csv: {error}"
            ) from None
    if found.ndim > 2 or (found.ndim == 2 and 1 not in found.shape):
        raise ValueError(f"{source}: expected one column of numbers, got shape {found.shape}")
    return found.reshape(-1)


def _layer(entry: Any, width: int, take: Any, reset_after: bool | None, what: str) -> Any:
    """A layer with its weights, and how many features it gives."""
    from rekur.layers import GRU, LSTM, Activation, Dense

    if isinstance(entry, str):
        return (Activation(entry), []), width
    if not isinstance(entry, Sequence) or len(entry) != 2 or not isinstance(entry[1], int) or entry[1] < 1:
        raise ValueError(f"{what}: network: expected {_NETWORK}, got {entry!r}")
    kind, units = str(entry[0]), entry[1]
    if kind == "Linear":
        return (Dense(units), [take(width, units), take(units)]), units
    if kind == "LinearNoBias":
        return (Dense(units, use_bias=False), [take(width, units)]), units
    if kind == "LSTM":
        kernel = np.concatenate([take(width, units) for _ in range(4)], axis=1)
        bias = take(4 * units)
        recurrent = np.concatenate([take(units, units) for _ in range(4)], axis=1)
        arrays = to_rekur("mlpack", kind, Cell(kernel, recurrent, bias), f"{what}: {kind}")
        return (LSTM(units, peepholes=True, return_sequences=True), [*arrays, take(3, units)]), units
    if kind == "GRU":
        if reset_after is None:
            raise ValueError(
                f"{what}: mlpack's GRU resets the state before the product in some versions and after it in others: "
                "give reset_after=False or True"
            )
        kernel, recurrent = (np.concatenate([take(n, units) for _ in range(3)], axis=1) for n in (width, units))
        arrays = to_rekur("mlpack", kind, Cell(kernel, recurrent), f"{what}: {kind}", reset_after)
        return (GRU(units, use_bias=False, reset_after=reset_after, return_sequences=True), arrays), units
    raise ValueError(f"{what}: network: {kind!r} is not read; Linear, LinearNoBias, LSTM, GRU and activations are")


def _made(model: Any) -> Any:
    effect = effect_of(model, _WHO)
    if effect.skip or effect.gain_in != 1 or effect.gain_out != 1:
        raise ValueError(f"{_WHO}: the input cannot be added to the output, or scaled, in a chain of layers")
    parts: list[Any] = []
    dialect = DIALECTS["mlpack"]
    for layer in effect.layers:
        weights = layer.get_weights()
        if layer.type == "Dense":
            if layer.activation != "linear":
                raise ValueError(f"layer '{layer.name}' (Dense): {_WHO} has activations as layers of their own")
            parts += weights
        elif layer.type in ("LSTM", "GRU"):
            around = ("units", "return_sequences", "use_bias", "peepholes", "reset_after", "stateful", "precision")
            demand_plain(layer, _WHO, around)
            if layer.type == "GRU" and layer.use_bias and np.any(weights[2]):
                raise ValueError(f"layer '{layer.name}' (GRU): {_WHO}'s has no biases")
            cell = from_rekur(dialect, layer.type, weights[: 2 + layer.use_bias], layer.use_bias)
            count = 4 if layer.type == "LSTM" else 3
            parts += np.split(cell.kernel, count, axis=1)
            if layer.type == "LSTM":
                zeros = np.zeros(7 * layer.units, np.float32)
                parts.append(zeros[: 4 * layer.units] if cell.bias is None else cell.bias)
            parts += np.split(cell.recurrent, count, axis=1)
            if layer.type == "LSTM":
                parts.append(weights[-1] if layer.peepholes else zeros[: 3 * layer.units])
        elif weights:
            raise ValueError(f"layer '{layer.name}' ({layer.type}): {_WHO} has no such layer")
    return np.concatenate([np.asarray(part, np.float32).reshape(-1) for part in parts])


def _save(model: Any, path: str) -> None:
    from rekur import _files

    text = "\n".join(f"{float(number):.9g}" for number in _made(model))
    _files.write_atomic(path, f"{text}\n".encode())


FORMAT = Format(
    name="mlpack",
    title="mlpack 4",
    given="`network.Parameters()`: a `.csv` of it, or an array, by `format=`",
    recognises=lambda source: False,  # numbers alone tell nothing
    reads="LSTM with peepholes, GRU, Linear; its own archives (`.bin`, `.xml`, `.json`) are C++ objects and not read",
    writes="those layers; by `format=`",
    load=_load,
    save=_save,
    make=_made,
    load_options={
        "network": "its layers, `[('LSTM', 16), ('Linear', 1), 'sigmoid']`",
        "features": "of the input",
        "reset_after": "of a GRU: whether it resets after the product, which differs between versions",
    },
    checked="its equations, by hand",
)
