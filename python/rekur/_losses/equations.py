"""A loss function traced to equations: what ``compile(loss=function)`` makes of it (docs/losses.md).

To the function each of y_true and y_pred is a row of features. It may look at some of them, ``y_pred[..., :1]``, and
use arrays of one number a feature; both become inputs of the equations, of which the engine knows where they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rekur._trace import Symbol, Trace, evaluate

_NAMES = ("y_true", "y_pred")
_MOST_INPUTS = 32  # as in the engine
_MOST_NUMBERS = 1 << 16
Config = dict[str, Any]


class LossTrace(Trace):
    """The trace of a loss of an output of rank 2 or, with a time axis, 3 and so many features."""

    def __init__(self, what: str, rank: int, features: int | None) -> None:
        super().__init__(_NAMES, what)
        self._rank, self._features = rank, features
        self.pieces: list[Any] = []

    def _piece(self, source: Any) -> Symbol:
        if source not in self.pieces:
            if len(self.pieces) + len(_NAMES) == _MOST_INPUTS:
                raise self.error(
                    f"more than {_MOST_INPUTS - len(_NAMES)} arrays and parts of y_true and y_pred", ValueError
                )
            self.pieces.append(source)
        return self._record(["piece", self.pieces.index(source)])

    def array(self, values: Any) -> Symbol:
        numbers = np.asarray(values)
        if any(isinstance(v, Symbol) for v in numbers.flat):
            raise self.error("symbols in an array: equations see all features alike")
        if numbers.dtype.kind not in "biuf" or numbers.size == 0 or numbers.shape[-1] != numbers.size:
            raise self.error(
                f"an array in a loss is one number a feature, got {numbers.dtype} of shape {numbers.shape}", ValueError
            )
        if numbers.size > _MOST_NUMBERS:
            raise self.error(f"an array in a loss has at most {_MOST_NUMBERS} numbers, got {numbers.size}", ValueError)
        with np.errstate(over="ignore"):
            numbers = numbers.reshape(-1).astype(np.float32)
        if not np.isfinite(numbers).all():
            raise self.error("an array in a loss must hold finite float32 numbers", ValueError)
        return self._piece([float(v) for v in numbers])

    def item(self, symbol: Symbol, key: Any) -> Symbol:
        name = symbol._name
        if not name:
            raise self.error(
                "only y_true and y_pred themselves can be indexed: take the features first, then compute", TypeError
            )
        keys = list(key) if isinstance(key, tuple) else [key]
        if keys and keys[0] is Ellipsis:
            keys = keys[1:]
        elif len(keys) == self._rank and all(k == slice(None) for k in keys[:-1]):
            keys = keys[-1:]
        else:
            keys = []
        if len(keys) != 1:
            raise self.error(
                f"{name} can be indexed by features alone, {name}[..., k] or {name}[..., a:b]: rows and time steps do "
                "not see each other in equations"
            )
        start, stop = self._range(keys[0], name)
        piece: Config = {"of": name}
        if start:
            piece["start"] = start
        if stop is not None:
            piece["stop"] = stop
        self._inside(name, start, stop)
        return symbol if len(piece) == 1 else self._piece(piece)

    def _range(self, key: Any, name: str) -> tuple[int, int | None]:
        if isinstance(key, slice) and key.step in (None, 1):
            bounds = [key.start, key.stop]
        elif isinstance(key, (int, np.integer)) and not isinstance(key, (bool, np.bool_)):
            bounds = [key, key + 1 if key != -1 else None]
        else:
            raise self.error(f"features of {name} are taken by a whole number or by a:b, got {key!r}")
        for bound in bounds:
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, np.integer))):
                raise self.error(f"features of {name} are taken by a whole number or by a:b, got {key!r}")
        return int(bounds[0] or 0), None if bounds[1] is None else int(bounds[1])

    def _inside(self, name: str, start: int, stop: int | None) -> None:
        n = self._features if name == "y_pred" else None
        if n is None:
            return  # the engine finds out
        first, last = (b + n if b < 0 else b for b in (start, n if stop is None else stop))
        if not 0 <= first < last <= n:
            end = "end" if stop is None else stop
            raise self.error(f"features [{start}, {end}) do not lie within the {n} of {name}", ValueError)


def trace_loss(function: Callable[[Any, Any], Any], label: str, shape: Sequence[int | None]) -> Config:
    """The engine's form of a loss: ``label``, ``equations`` and, where they are not y_true and y_pred, ``inputs``.

    Raises
    ------
    TypeError, ValueError
        For anything that equations cannot say, naming the line where it was said.
    """
    recorder = LossTrace(f"loss '{label}'", len(shape), shape[-1])
    returned = function(*recorder.symbols)
    if isinstance(returned, (list, tuple)):
        raise recorder.error(f"a loss is one value, got {len(returned)} of them")
    equations = recorder.finish(returned)
    return {"label": label, **_with_inputs(equations, recorder.pieces)}


def _with_inputs(equations: Config, pieces: Sequence[Any]) -> Config:
    """Pieces among the nodes made inputs, and all values numbered anew."""
    first, used = len(_NAMES), sorted({node[1] for node in equations["nodes"] if node[0] == "piece"})
    if not used:
        return {"equations": equations}
    numbers = {k: k for k in range(first)}
    nodes: list[list[Any]] = []
    for value, node in enumerate(equations["nodes"], first):
        if node[0] == "piece":
            numbers[value] = first + used.index(node[1])
        else:
            numbers[value] = first + len(used) + len(nodes)
            nodes.append(node if node[0] == "constant" else [node[0], *(numbers[v] for v in node[1:])])
    names = [*_NAMES, *(f"piece_{k}" for k in range(len(used)))]
    outputs = [numbers[value] for value in equations["outputs"]]
    return {
        "equations": {"inputs": names, "nodes": nodes, "outputs": outputs},
        "inputs": [*_NAMES, *(pieces[k] for k in used)],
    }


def check_target(config: Config, features: int, what: str) -> None:
    """Throw ValueError, beginning with ``what``, for a target of so many features of which some are asked for."""
    for source in config.get("inputs", ()):
        if isinstance(source, dict) and source["of"] == "y_true":
            start, stop = source.get("start", 0), source.get("stop")
            first, last = (b + features if b < 0 else b for b in (start, features if stop is None else stop))
            if not 0 <= first < last <= features:
                end = "end" if stop is None else stop
                raise ValueError(
                    f"{what}: loss '{config['label']}' takes features [{start}, {end}) of y_true, which has {features}"
                )


def values_of(config: Config, y_true: Any, y_pred: Any) -> np.ndarray[Any, Any]:
    """The loss of each row or step in float64, of arrays of shape (…, features): the engine's reference."""
    arrays = {"y_true": np.asarray(y_true, np.float64), "y_pred": np.asarray(y_pred, np.float64)}
    given = []
    for source in config.get("inputs", _NAMES):
        if isinstance(source, str):
            given.append(arrays[source])
        elif isinstance(source, dict):
            given.append(arrays[source["of"]][..., source.get("start", 0) : source.get("stop")])
        else:
            given.append(np.asarray(source, np.float32).astype(np.float64))
    value = np.asarray(evaluate(config["equations"], given)[0], np.float64)
    shape = arrays["y_pred"].shape[:-1]
    return np.broadcast_to(value.mean(axis=-1) if value.ndim else value, shape)
