"""onnxruntime against the engine, over batch sizes, time steps, lengths, ordinary and extreme inputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rekur._model_files import instead_of_onnx
from rekur.onnx._axes import parse_ref
from rekur.onnx._errors import VerificationError
from rekur.onnx._metadata import describe_file
from rekur.onnx._plan import Plan, has_time_axis
from rekur.onnx._session import EmptyInput, run_session
from rekur.onnx._states import States

BATCHES = (1, 2, 3, 7)
TIMES = (1, 2, 5, 13)
LARGE = 50.0
SHAKE = 2.0**-21  # four units in the last place of an input of 1
SLACK = 8.0  # how much more than a shaken input rounding on the way may move an output
PIECES = 3  # at most so many of a sequence, where the file carries states from one to the next

# of onnxruntime's execution providers: TensorFloat-32 rounds the factors of products to 10 bits
DEFAULTS: dict[str, dict[str, str]] = {"CUDAExecutionProvider": {"use_tf32": "0"}}

Providers = Sequence[str | tuple[str, Mapping[str, Any]]]
_Feed = dict[str, NDArray[Any]]


class Exportable(Protocol):
    """What the exporter needs of a model: ``rekur.Model`` has it."""

    @property
    def spec(self) -> Mapping[str, Any]: ...
    def named_weights(self) -> Mapping[str, NDArray[np.float32]]: ...
    def predict(self, x: Any, *, lengths: Any = None, mask: Any = None) -> Any:
        """x: one array, or a list of several; lengths, mask: dicts by input, given where the file has them. The outputs
        likewise, one or a list.
        """


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
    mode: str = ""  # how sequences were fed where not as a whole

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
            + "".join(f"; {axis} {', '.join(map(str, steps))}" for axis, steps in self.times.items())
            + (f"; {self.mode}" if self.mode else ""),
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
    axis: str | None  # inputs of one axis have the same number of steps; None: no time axis, or a fixed one
    cut: str | None  # inputs of one name here are cut into the same pieces; None: no time axis
    ids: int  # exclusive upper bound of an int32 input
    least: int  # steps the model needs
    most: int  # and takes
    none: tuple[float, ...]  # what a step of nothing else is none for


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
    model: Exportable, data: bytes, *, tolerance: float, providers: Providers | None = None, seed: int = 0
) -> VerifyReport:
    """Run the ONNX model in ``data`` and the engine on the same inputs; see :func:`rekur.onnx.verify`."""
    import onnx
    import onnxruntime

    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which is not ours to name
        raise VerificationError(f"not an ONNX model: {error}{instead_of_onnx(data)}") from error
    if not data:
        raise VerificationError(f"not an ONNX model{instead_of_onnx(data)}")
    session = open_session(data, providers)
    try:
        described = describe_file(proto)
    except ValueError as error:
        raise VerificationError(str(error)) from None
    lengths_of, masks_of, states = described.lengths, described.masks, described.states
    inputs = _inputs(model.spec, session, {**lengths_of, **masks_of}, states)
    held = {state.output for state in states.states} if states else set()
    names = [output.name for output in session.get_outputs() if output.name not in held]
    if len(names) != len(model.spec["outputs"]):
        raise VerificationError(f"the ONNX model has outputs {names}, the model {list(model.spec['outputs'])}")
    report = VerifyReport(
        outputs=[OutputDifference(name) for name in names],
        tolerance=tolerance,
        cases=0,
        providers=list(session.get_providers()),
        opset=described.opset,
        ir_version=proto.ir_version,
        file_size=len(data),
        onnxruntime=onnxruntime.__version__,
        batches=BATCHES,
        mode="" if states is None else "one step at a time" if states.streaming else f"in up to {PIECES} pieces",
    )
    rng = np.random.default_rng(seed)
    seen: dict[str, set[int]] = {}
    for case in _cases(inputs, bool(lengths_of or masks_of)):
        feed = _feed(rng, case, inputs)
        lengths = _lengths(rng, case, inputs, lengths_of)
        masks = _masks(rng, case, inputs, masks_of)
        expected = _predict(model, [feed[i.name] for i in inputs], lengths, masks)
        shaken = _predict(model, [_shake(rng, feed[i.name], i.none) for i in inputs], lengths, masks)
        feed.update({name: lengths[owners[0]] for name, owners in lengths_of.items()})
        feed.update({name: masks[owners[0]] for name, owners in masks_of.items()})
        try:
            if states is None:
                actual = run_session(session, feed)
            else:
                actual = states.run(session, feed, _pieces(rng, inputs, feed, states), lengths_of)
        except EmptyInput as error:
            raise VerificationError(f"nothing to verify: {error}") from None
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise VerificationError(f"onnxruntime fails at {case}: {error}") from error
        note = str(case) + (f", lengths {_show(lengths)}" if lengths else "") + (", random masks" if masks else "")
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


def open_session(data: bytes, providers: Providers | None = None, threads: int = 0) -> Any:
    """An onnxruntime session of a model in memory; by default on the CPU. threads: 0 as onnxruntime likes."""
    import onnxruntime

    wanted = [(p, DEFAULTS.get(p, {})) if isinstance(p, str) else p for p in providers or ["CPUExecutionProvider"]]
    available = onnxruntime.get_available_providers()
    if missing := sorted({name for name, _ in wanted} - set(available)):
        raise VerificationError(f"this onnxruntime has no {', '.join(missing)}; it has {available}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they arrive as exceptions too
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            data, options, providers=[name for name, _ in wanted], provider_options=[dict(own) for _, own in wanted]
        )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise VerificationError(f"onnxruntime refuses the model: {error}") from error


def _inputs(
    spec: Mapping[str, Any], session: Any, lengths_of: Mapping[str, Sequence[str]], states: States | None
) -> list[_Input]:
    """The model's inputs as the spec has them; which share a time axis is read off the ONNX model's symbols."""
    plan = Plan(spec, lengths=False)
    layers = plan.layers
    shapes = {value.name: value.shape for value in session.get_inputs()}
    sources = [layers[parse_ref(text)[0]] for text in spec["inputs"]]
    streaming = states is not None and states.streaming
    steps = {layer["shape"][0] for layer in sources if has_time_axis(layer)} - {None} if streaming else set()
    replaced = {state.initial for state in states.states} if states else set()
    result: list[_Input] = []
    for layer in sources:
        name, shape = layer["name"], tuple(layer["shape"])
        if name not in shapes and name not in replaced:
            raise VerificationError(f"the ONNX model has no input '{name}'; it has {list(shapes)}")
        dtype = layer.get("dtype", "float32")
        cut = None
        if has_time_axis(layer):
            if not streaming and len(shapes[name]) != len(shape) + 1:
                raise VerificationError(f"input '{name}': expected a sequence, the ONNX model has {shapes[name]}")
            cut = "time" if streaming else str(shapes[name][1])
            if streaming:  # all inputs step together
                shape = (min(steps, default=None), *shape[1:])
            elif isinstance(shapes[name][1], int):
                shape = (shapes[name][1], *shape[1:])
        readers = [i for i in layers.values() if i["type"] == "Embedding" and parse_ref(i["inputs"][0])[0] == name]
        ids = min((reader["input_dim"] for reader in readers), default=1)
        time = plan.time[name, 0]
        least = max(1, time.least if time else 0)
        most = time.most if time and time.most else least + TIMES[-1]
        direct = [i for i in layers.values() if i["type"] != "Input" and parse_ref(i["inputs"][0])[0] == name]
        none = [float(i.get("mask_value", 0)) for i in direct if i["type"] == "Masking"]
        none += [0.0 for i in direct if i["type"] == "Embedding" and i.get("mask_zero", False)]
        own, marked = cut if cut and shape[0] is None else None, tuple(none) if has_time_axis(layer) else ()
        result.append(_Input(name, dtype, shape, own, cut, ids, least, most, marked))
    known = {i.name for i in result} | set(lengths_of) | {state.input for state in (states.states if states else ())}
    if surplus := set(shapes) - known:
        raise VerificationError(f"the ONNX model has inputs the model does not know: {sorted(surplus)}")
    timed = {i.name for i in result if i.cut is not None}
    if states is not None and set(states.timed_inputs) != timed:
        raise VerificationError(f"the ONNX model's metadata has steps of {states.timed_inputs}, the model {timed}")
    if not timed.issuperset(owner for owners in lengths_of.values() for owner in owners):
        raise VerificationError(f"the ONNX model's metadata has lengths of {lengths_of}, the model steps of {timed}")
    return result


def _cases(inputs: Sequence[_Input], with_lengths: bool) -> Iterator[_Case]:
    """Every batch size with every number of steps; then zeros and large values. With lengths, also all rows full."""
    axes = {i.axis: (i.least, i.most) for i in inputs if i.axis is not None}

    def times(first: int) -> dict[str, int]:
        # different axes get different numbers of steps, none fewer than the model needs
        steps = {axis: TIMES[(first + k) % len(TIMES)] for k, axis in enumerate(axes)}
        return {axis: min(least - 1 + steps[axis], most) for axis, (least, most) in axes.items()}

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
            if i.none and not case.full:
                ids = np.where(_random_steps(rng, shape, case.full), ids, 0)
            feed[i.name] = np.asarray(ids, np.int32)
            continue
        x = np.zeros(shape) if case.kind == "zero" else rng.standard_normal(shape)
        if case.kind == "large":
            x = np.copysign(LARGE, x)
        for value in i.none:
            x = np.where(_random_steps(rng, shape, case.full), x, value)
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


def _random_mask(rng: np.random.Generator, batch: int, steps: int, full: bool) -> NDArray[np.bool_]:
    """(B, T): of the rows in turn holes, no step at all, padding on the left, on the right, every step."""
    mask = rng.random((batch, steps)) < 0.5
    places, cut = np.arange(steps), int(rng.integers(0, steps + 1))
    first = int(rng.integers(0, 5))  # so that batches of one row see all of them
    for row in range(batch):
        kinds = (mask[row], False, places >= cut, places < cut, True)
        mask[row] = True if full else kinds[(first + row) % len(kinds)]
    return mask


def _random_steps(rng: np.random.Generator, shape: Sequence[int], full: bool) -> NDArray[np.bool_]:
    """The same for a tensor of that shape (B, T, …)."""
    return _random_mask(rng, shape[0], shape[1], full).reshape(shape[0], shape[1], *[1] * (len(shape) - 2))


def _masks(
    rng: np.random.Generator, case: _Case, inputs: Sequence[_Input], masks_of: Mapping[str, Sequence[str]]
) -> _Feed:
    """Per input of the model that has a mask."""
    by_name = {i.name: i for i in inputs}
    result: _Feed = {}
    for owners in masks_of.values():
        first = by_name[owners[0]]
        steps = case.times[first.axis] if first.axis is not None else first.shape[0]
        assert steps is not None
        mask = _random_mask(rng, case.batch, steps, case.full)
        result.update(dict.fromkeys(owners, mask))
    return result


def _pieces(
    rng: np.random.Generator, inputs: Sequence[_Input], feed: _Feed, states: States
) -> dict[str, list[slice]] | None:
    """By input with a time axis where it is cut: as many pieces for each, none of them empty."""
    if states.streaming:
        return None
    steps = {i.cut: feed[i.name].shape[1] for i in inputs if i.cut is not None}
    count = int(rng.integers(1, min(PIECES, *steps.values()) + 1))
    cuts: dict[str, list[slice]] = {}
    for axis, total in steps.items():
        inner = sorted(rng.permutation(total - 1)[: count - 1] + 1)
        edges = [0, *map(int, inner), total]
        cuts[axis] = [slice(*edge) for edge in pairwise(edges)]
    return {i.name: cuts[i.cut] for i in inputs if i.cut is not None}


def _predict(model: Exportable, inputs: Sequence[NDArray[Any]], lengths: _Feed, masks: _Feed) -> list[NDArray[Any]]:
    x: Any = inputs[0] if len(inputs) == 1 else list(inputs)
    given: dict[str, Any] = {**({"lengths": lengths} if lengths else {}), **({"mask": masks} if masks else {})}
    outputs = model.predict(x, **given)
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _shake(rng: np.random.Generator, x: NDArray[Any], none: Sequence[float]) -> NDArray[Any]:
    """The same input but for a few units in the last place; ids, and what a mask goes by, stay as they are."""
    if x.dtype != np.float32:
        return x
    moved = np.asarray(x + SHAKE * np.maximum(np.abs(x), 1.0) * rng.choice((-1.0, 1.0), x.shape), np.float32)
    return np.where(np.isin(x, np.asarray(none, np.float32)), x, moved) if none else moved


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
