"""onnxruntime against the engine, over batch sizes, time steps, lengths, ordinary and extreme inputs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._errors import VerificationError
from rekur.onnx._plan import Plan, parse_ref

BATCHES = (1, 2, 3, 7)
TIMES = (1, 2, 5, 13)
LARGE = 50.0
SHAKE = 2.0**-21  # four units in the last place of an input of 1
SLACK = 8.0  # how much more than a shaken input rounding on the way may move an output
LENGTHS_KEY = "rekur.lengths"  # metadata: {lengths input: [inputs it belongs to]}

_Feed = dict[str, NDArray[Any]]


class Exportable(Protocol):
    """What the exporter needs of a model: ``rekur.Model`` has it."""

    @property
    def spec(self) -> Mapping[str, Any]: ...
    def named_weights(self) -> Mapping[str, NDArray[np.float32]]: ...
    def predict(self, x: Any, *, lengths: Any = None) -> Any:
        """x: one array, or a list of several; lengths: a dict by input. The outputs likewise, one or a list."""


@dataclass
class OutputDifference:
    """The largest difference seen in one output."""

    name: str
    difference: float = 0.0  # absolute
    allowed: float = 0.0  # what the tolerance came to in that case
    case: str = ""
    judged: int = 0  # cases; in the others the model's numbers overflow float32


@dataclass
class VerifyReport:
    """What :func:`verify` ran and saw. ``print`` it for a table."""

    outputs: list[OutputDifference]
    tolerance: float
    cases: int
    providers: list[str]
    opset: int
    ir_version: int
    file_size: int
    onnxruntime: str
    batches: tuple[int, ...]
    times: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def largest_difference(self) -> float:
        """The largest absolute difference over all outputs and cases."""
        return max((output.difference for output in self.outputs), default=0.0)

    def __str__(self) -> str:
        width = max(6, *(len(output.name) for output in self.outputs))
        lines = [
            f"onnxruntime {self.onnxruntime} ({', '.join(self.providers)}), opset {self.opset}, IR {self.ir_version}, "
            f"{self.file_size:,} bytes",
            f"{self.cases} cases: batches {', '.join(map(str, self.batches))}"
            + "".join(f"; {axis} {', '.join(map(str, steps))}" for axis, steps in self.times.items()),
            f"{'output':<{width}}  largest |difference|   allowed  worst case",
        ]
        lines += [f"{o.name:<{width}}  {o.difference:>20.3g}  {o.allowed:>8.2g}  {o.case}" for o in self.outputs]
        lines += [
            f"{o.name}: {self.cases - o.judged} cases not judged, the model overflows float32 in them"
            for o in self.outputs
            if o.judged < self.cases
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Input:
    name: str
    dtype: str
    shape: tuple[int | None, ...]  # without the batch
    axis: str | None  # inputs of one axis have the same number of steps
    ids: int  # exclusive upper bound of an int32 input
    least: int  # steps the model needs


@dataclass(frozen=True)
class _Case:
    batch: int
    times: Mapping[str, int]
    kind: str  # "normal", "large", "zero"
    full: bool  # every row as long as the sequence

    def __str__(self) -> str:
        time = ", ".join(f"{axis} {steps}" for axis, steps in self.times.items())
        return f"batch {self.batch}" + (f", {time}" if time else "") + f", {self.kind} inputs"


def compare(
    model: Exportable, data: bytes, *, tolerance: float, providers: Sequence[str] | None = None, seed: int = 0
) -> VerifyReport:
    """Run the ONNX model in ``data`` and the engine on the same inputs; see :func:`rekur.onnx.verify`."""
    import onnx
    import onnxruntime

    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which is not ours to name
        raise VerificationError(f"not an ONNX model: {error}") from error
    session = _session(onnxruntime, data, providers)
    lengths_of: dict[str, list[str]] = json.loads(
        {entry.key: entry.value for entry in proto.metadata_props}.get(LENGTHS_KEY, "{}")
    )
    inputs = _inputs(model.spec, session, lengths_of)
    names = [output.name for output in session.get_outputs()]
    if len(names) != len(model.spec["outputs"]):
        raise VerificationError(f"the ONNX model has outputs {names}, the model {list(model.spec['outputs'])}")
    report = VerifyReport(
        outputs=[OutputDifference(name) for name in names],
        tolerance=tolerance,
        cases=0,
        providers=list(session.get_providers()),
        opset=next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")),
        ir_version=proto.ir_version,
        file_size=len(data),
        onnxruntime=onnxruntime.__version__,
        batches=BATCHES,
    )
    rng = np.random.default_rng(seed)
    seen: dict[str, set[int]] = {}
    for case in _cases(inputs, bool(lengths_of)):
        feed = _feed(rng, case, inputs)
        lengths = _lengths(rng, case, inputs, lengths_of)
        expected = _predict(model, [feed[i.name] for i in inputs], lengths)
        shaken = _predict(model, [_shake(rng, feed[i.name]) for i in inputs], lengths)
        feed.update({name: lengths[owners[0]] for name, owners in lengths_of.items()})
        try:
            actual = session.run(None, feed)
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise VerificationError(f"onnxruntime fails at {case}: {error}") from error
        note = str(case) + (f", lengths {_show(lengths)}" if lengths else "")
        for output, y, reference, moved in zip(report.outputs, actual, expected, shaken, strict=True):
            _record(output, y, reference, moved, tolerance, note)
        report.cases += 1
        for axis, steps in case.times.items():
            seen.setdefault(axis, set()).add(steps)
    report.times = {axis: tuple(sorted(steps)) for axis, steps in seen.items()}
    if any(not output.difference <= output.allowed for output in report.outputs):
        raise VerificationError(f"onnxruntime and the engine disagree beyond the tolerance {tolerance:g}\n{report}")
    if any(not output.judged for output in report.outputs):
        raise VerificationError(f"the model overflows float32 in every case, so nothing is proven\n{report}")
    return report


def read(path: str | os.PathLike[str]) -> bytes:
    return Path(path).read_bytes()


def _session(onnxruntime: Any, data: bytes, providers: Sequence[str] | None) -> Any:
    wanted = list(providers) if providers is not None else ["CPUExecutionProvider"]
    missing = set(wanted) - set(onnxruntime.get_available_providers())
    if missing:
        raise VerificationError(
            f"this onnxruntime has no {', '.join(sorted(missing))}; it has {onnxruntime.get_available_providers()}"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they arrive as exceptions too
    try:
        return onnxruntime.InferenceSession(data, options, providers=wanted)
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise VerificationError(f"onnxruntime refuses the model: {error}") from error


def _inputs(spec: Mapping[str, Any], session: Any, lengths_of: Mapping[str, Sequence[str]]) -> list[_Input]:
    """The model's inputs as the spec has them; which share a time axis is read off the ONNX model's symbols."""
    plan = Plan(spec, lengths=False)
    layers = plan.layers
    shapes = {value.name: value.shape for value in session.get_inputs()}
    result: list[_Input] = []
    for text in spec["inputs"]:
        layer = layers[parse_ref(text)[0]]
        name, shape = layer["name"], tuple(layer["shape"])
        if name not in shapes:
            raise VerificationError(f"the ONNX model has no input '{name}'; it has {list(shapes)}")
        dtype = layer.get("dtype", "float32")
        timed = len(shape) == (1 if dtype == "int32" else 2)
        if timed and isinstance(shapes[name][1], int):
            shape = (shapes[name][1], *shape[1:])
        readers = [i for i in layers.values() if i["type"] == "Embedding" and parse_ref(i["inputs"][0])[0] == name]
        ids = min((reader["input_dim"] for reader in readers), default=1)
        time = plan.time[name, 0]
        symbol = shapes[name][1] if timed and shape[0] is None else None
        result.append(_Input(name, dtype, shape, symbol, ids, max(1, time.least if time else 0)))
    if surplus := set(shapes) - {i.name for i in result} - set(lengths_of):
        raise VerificationError(f"the ONNX model has inputs the model does not know: {sorted(surplus)}")
    return result


def _cases(inputs: Sequence[_Input], with_lengths: bool) -> Iterator[_Case]:
    """Every batch size with every number of steps; then zeros and large values. With lengths, also all rows full."""
    axes = {i.axis: i.least for i in inputs if i.axis is not None}

    def times(first: int) -> dict[str, int]:
        # different axes get different numbers of steps, none fewer than the model needs
        return {axis: least - 1 + TIMES[(first + k) % len(TIMES)] for k, (axis, least) in enumerate(axes.items())}

    for batch in BATCHES:
        for first in range(len(TIMES) if axes else 1):
            yield _Case(batch, times(first), "normal", False)
    for kind in ("zero", "large"):
        for batch, first in ((1, 2), (3, 3)):
            yield _Case(batch, times(first), kind, False)
    if with_lengths:
        for batch, first in ((1, 1), (7, 3)):
            yield _Case(batch, times(first), "normal", True)


def _feed(rng: np.random.Generator, case: _Case, inputs: Sequence[_Input]) -> _Feed:
    feed: _Feed = {}
    for i in inputs:
        steps = case.times[i.axis] if i.axis is not None else 1
        shape = (case.batch, *(steps if size is None else size for size in i.shape))
        if i.dtype == "int32":
            ids = np.zeros(shape) if case.kind == "zero" else rng.integers(0, i.ids, shape)
            feed[i.name] = np.asarray(ids, np.int32)
            continue
        x = np.zeros(shape) if case.kind == "zero" else rng.standard_normal(shape)
        if case.kind == "large":
            x = np.copysign(LARGE, x)
        feed[i.name] = x.astype(np.float32)
    return feed


def _lengths(
    rng: np.random.Generator, case: _Case, inputs: Sequence[_Input], lengths_of: Mapping[str, Sequence[str]]
) -> _Feed:
    """Per input of the model that has lengths; random, with an empty and a full row where the batch has room."""
    by_name = {i.name: i for i in inputs}
    result: _Feed = {}
    for owners in lengths_of.values():
        first = by_name[owners[0]]
        steps = case.times[first.axis] if first.axis is not None else first.shape[0]
        assert steps is not None
        rows = np.full(case.batch, steps, np.int32)
        if not case.full:
            rows[:] = rng.integers(0, steps + 1, case.batch)
            if case.batch > 2:
                rows[rng.permutation(case.batch)[:2]] = (0, steps)
        for owner in owners:
            result[owner] = rows
    return result


def _predict(model: Exportable, inputs: Sequence[NDArray[Any]], lengths: _Feed) -> list[NDArray[Any]]:
    x: Any = inputs[0] if len(inputs) == 1 else list(inputs)
    outputs = model.predict(x, lengths=lengths) if lengths else model.predict(x)
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _shake(rng: np.random.Generator, x: NDArray[Any]) -> NDArray[Any]:
    """The same input but for a few units in the last place; ids stay as they are."""
    if x.dtype != np.float32:
        return x
    return np.asarray(x + SHAKE * np.maximum(np.abs(x), 1.0) * rng.choice((-1.0, 1.0), x.shape), np.float32)


def _record(
    output: OutputDifference,
    y: NDArray[Any],
    expected: NDArray[Any],
    shaken: NDArray[Any],
    tolerance: float,
    note: str,
) -> None:
    """Keep the worst case: the one that comes closest to, or goes furthest beyond, what is allowed."""
    if y.shape != expected.shape:
        raise VerificationError(f"output '{output.name}' at {note}: expected shape {expected.shape}, got {y.shape}")
    if not np.isfinite(expected).all():
        if not np.isfinite(y).all():
            return  # overflow in both
        worst, allowed = np.inf, tolerance
    elif not np.isfinite(shaken).all():
        return  # as good as overflow
    else:
        worst = float(np.abs(y.astype(np.float64) - expected).max(initial=0.0))
        worst = np.inf if np.isnan(worst) else worst
        moved = float(np.abs(shaken.astype(np.float64) - expected).max(initial=0.0))
        allowed = max(tolerance * max(1.0, float(np.abs(expected).max(initial=0.0))), SLACK * moved)
    output.judged += 1
    if not output.case or worst / allowed > output.difference / output.allowed:
        output.difference, output.allowed, output.case = worst, allowed, note


def _show(lengths: Mapping[str, NDArray[Any]]) -> str:
    return "; ".join(str(rows.tolist()) for rows in {id(rows): rows for rows in lengths.values()}.values())
