"""Stacks of recurrent layers, and single other layers, as parts of a file of weights."""

from collections.abc import Mapping, Sequence
from typing import Any

from rekur._spec import check_name
from rekur._validate import Floats
from rekur.convert._dialects import GATES, Cell, Dialect, to_rekur
from rekur.convert._parts import Made, Part

_ACTIVATIONS = ("tanh", "relu")


def stack(
    name: str,
    kind: str,
    dialect: "Dialect | str",
    cells: Sequence[Sequence[Cell]],
    what: str,
    settings: Mapping[str, Any] | None = None,
    reset_after: bool | None = None,
    dropout: float = 0.0,
) -> Part:
    """Recurrent layers one above the other, each of one direction or of both.

    Parameters
    ----------
    name : str
        Of the part.
    kind : {"SimpleRNN", "LSTM", "GRU"}
    dialect : Dialect or str
    cells : by layer, by direction
    what : str
        For errors.
    settings : dict, optional
        Further arguments of every layer. A SimpleRNN without ``activation`` among them asks for it, since its weights
        do not tell.
    reset_after : bool, optional
        Of a GRU, where the dialect has both.
    dropout : float
        Between the layers, in training.

    Raises
    ------
    ValueError
        If shapes do not belong together.
    """
    given = dict(settings or {})
    weights = [
        [to_rekur(dialect, kind, cell, f"{what}: layer {k} of '{name}'", reset_after) for cell in row]
        for k, row in enumerate(cells)
    ]
    widths = [_widths(found, kind) for row in weights for found in row[:1]]
    features = widths[0][0]
    directions = len(weights[0])
    for k, row in enumerate(weights):
        wanted = features if k == 0 else widths[k - 1][2] * directions
        for found in row:
            if found[0].shape[0] != wanted or _widths(found, kind)[1:] != widths[k][1:]:
                raise ValueError(
                    f"{what}: layer {k} of '{name}': expected kernels for {wanted} features and {widths[k][1]} units, "
                    f"got {found[0].shape} and {found[1].shape}"
                )
    asks = kind == "SimpleRNN" and "activation" not in given
    shown = "RNN" if kind == "SimpleRNN" else kind
    words = f"{shown}, {features} → {widths[-1][2]}" + (f", {len(weights)} layers" if len(weights) > 1 else "")
    words += ", both directions" if directions == 2 else ""

    def make(return_sequences: bool = True, nonlinearity: str | None = None) -> list[Made]:
        own = dict(given)
        if asks:
            if nonlinearity not in _ACTIVATIONS:
                raise ValueError(
                    f"{what}: '{name}' is an RNN, whose weights do not say its activation: give nonlinearity='tanh' or "
                    f"'relu'" + ("" if nonlinearity is None else f", got {nonlinearity!r}")
                )
            own["activation"] = nonlinearity
        made: list[Made] = []
        for k, row in enumerate(weights):
            last = k == len(weights) - 1
            layer = _layer(
                kind,
                row,
                {**own, "return_sequences": return_sequences or not last},
                reset_after_of(dialect, reset_after),
            )
            label = _label(name, f"_l{k}" if len(weights) > 1 else "")
            made.append((_wrapped(layer, directions, label), [array for found in row for array in found]))
            if dropout and not last:
                made.append((_dropout(dropout), ()))
        return made

    options = ("return_sequences", "nonlinearity") if asks else ("return_sequences",)
    return Part(name, words, make, features, options, True, directions)


def reset_after_of(dialect: "Dialect | str", given: bool | None) -> bool:
    from rekur.convert._dialects import DIALECTS

    entry = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    return True if given is None and entry.reset_after is None else bool(entry.reset_after if given is None else given)


def _widths(weights: Sequence[Floats], kind: str) -> tuple[int, int, int]:
    """Features of x, units, features of the output."""
    return weights[0].shape[0], weights[0].shape[1] // GATES[kind], weights[1].shape[0]


def _layer(kind: str, row: Sequence[Sequence[Floats]], given: Mapping[str, Any], reset_after: bool) -> Any:
    from rekur import layers

    _, units, out = _widths(row[0], kind)
    projected = out != units
    arguments: dict[str, Any] = {**given, "use_bias": len(row[0]) - 2 - projected > 0}
    if projected:
        arguments["projection_size"] = out
    if kind == "GRU":
        arguments["reset_after"] = reset_after
    return getattr(layers, kind)(units, **arguments)


def _wrapped(layer: Any, directions: int, name: str | None) -> Any:
    from rekur.layers import Bidirectional

    if directions == 2:
        return Bidirectional(layer, name=name)
    if name is not None:
        layer.name = name
    return layer


def _dropout(rate: float) -> Any:
    from rekur.layers import Dropout

    return Dropout(rate)


def _label(name: str, further: str = "") -> str | None:
    """The name of the layer of a part; None where the part's is no name here."""
    try:
        return check_name(name + further, "layer") if name else None
    except ValueError:
        return None


def single(
    name: str,
    words: str,
    layer: Any,
    weights: Sequence[Any],
    features: int | None,
    sequence: bool = False,
) -> Part:
    """A part of one layer; ``layer(name)`` makes it."""

    def make() -> list[Made]:
        return [(layer(_label(name)), weights)]

    return Part(name, words, make, features, (), sequence)
