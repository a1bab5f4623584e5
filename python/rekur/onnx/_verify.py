"""onnxruntime against the engine, over batch sizes, time steps, lengths, ordinary and extreme inputs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rekur._model_files import instead_of_onnx
from rekur.onnx._errors import VerificationError
from rekur.onnx._feeds import (
    BATCHES,
    PIECES,
    Feed,
    cases_of,
    feed_of,
    inputs_of,
    lengths_for,
    masks_for,
    pieces_of,
    shake,
    taken,
)
from rekur.onnx._int8 import floating, has_precision, matrices, round_matrices
from rekur.onnx._metadata import describe_file
from rekur.onnx._overflow import products_overflow
from rekur.onnx._session import EmptyInput, run_session

SLACK = 8.0  # how much more than a shaken input rounding on the way may move an output
INTEGER_OPERATORS = ("DynamicQuantizeLSTM", "DynamicQuantizeLinear")  # of files that make integers of activations
OVERFLOW = (
    "\non this processor onnxruntime's products of eight bits overflow (x86 without VNNI adds them in 16 bits), which "
    "is no fault of the file: verify it where it is to run, or write a file of integers=False, which runs here"
)
# of onnxruntime's execution providers: TensorFloat-32 rounds the factors of products to 10 bits
DEFAULTS: dict[str, dict[str, str]] = {"CUDAExecutionProvider": {"use_tf32": "0"}}

Providers = Sequence[str | tuple[str, Mapping[str, Any]]]


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
    rounding: float | None = None  # where products are rounded: what that changes in the engine


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
        lines += [
            f"{o.name}: with its products rounded the engine itself is up to {o.rounding:.2g} from float32 with the "
            "same weights"
            for o in self.outputs
            if o.rounding is not None
        ]
        return "\n".join(lines)


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
    twin = in_float32(model)
    integers = any(node.op_type in INTEGER_OPERATORS for node in proto.graph.node)
    judged = model if twin is None or integers else twin
    lengths_of, masks_of, states = described.lengths, described.masks, described.states
    inputs = inputs_of(model.spec, session, {**lengths_of, **masks_of}, states)
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
    # What differs a little at a step of a loop differs more at the next: one other input does not tell how much.
    shakes = 4 if any(layer["type"] == "Loop" for layer in model.spec["layers"]) else 1
    rng = np.random.default_rng(seed)
    seen: dict[str, set[int]] = {}
    cases = cases_of(inputs, bool(lengths_of or masks_of))
    for case in taken(cases, inputs, lambda feeds: _predict(model, feeds, {}, {})):
        feed = feed_of(rng, case, inputs)
        lengths = lengths_for(rng, case, inputs, lengths_of)
        masks = masks_for(rng, case, inputs, masks_of)
        given = [feed[i.name] for i in inputs]
        expected = _predict(judged, given, lengths, masks)
        shaken = [
            _predict(judged, [shake(rng, feed[i.name], i.none) for i in inputs], lengths, masks) for _ in range(shakes)
        ]
        if twin is not None:
            other = _predict(model if judged is twin else twin, given, lengths, masks)
            for output, one, two in zip(report.outputs, expected, other, strict=True):
                _measure_rounding(output, one, two)
            shaken = [other] if integers else shaken
        feed.update({name: lengths[owners[0]] for name, owners in lengths_of.items()})
        feed.update({name: masks[owners[0]] for name, owners in masks_of.items()})
        try:
            if states is None:
                actual = run_session(session, feed)
            else:
                actual = states.run(session, feed, pieces_of(rng, inputs, feed, states), lengths_of)
        except EmptyInput as error:
            raise VerificationError(f"nothing to verify: {error}") from None
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise VerificationError(f"onnxruntime fails at {case}: {error}") from error
        note = str(case) + (f", lengths {_show(lengths)}" if lengths else "") + (", random masks" if masks else "")
        for output, y, reference, *moved in zip(report.outputs, actual, expected, *shaken, strict=True):
            _record(output, y, reference, moved, tolerance, note)
        report.cases += 1
        for axis, steps in case.times.items():
            seen.setdefault(axis, set()).add(steps)
    report.times = {axis: tuple(sorted(steps)) for axis, steps in seen.items()}
    if any(not output.difference <= output.allowed for output in report.outputs):
        overflow = integers and report.providers[0] == "CPUExecutionProvider" and products_overflow()
        raise VerificationError(
            f"onnxruntime and the engine disagree beyond the tolerance {tolerance:g}\n{report}{OVERFLOW * overflow}"
        )
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


def _predict(model: Exportable, inputs: Sequence[NDArray[Any]], lengths: Feed, masks: Feed) -> list[NDArray[Any]]:
    x: Any = inputs[0] if len(inputs) == 1 else list(inputs)
    given: dict[str, Any] = {**({"lengths": lengths} if lengths else {}), **({"mask": masks} if masks else {})}
    outputs = model.predict(x, **given)
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _record(
    output: OutputDifference,
    y: NDArray[Any],
    expected: NDArray[Any],
    shaken: Sequence[NDArray[Any]],
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
    elif not all(np.isfinite(other).all() for other in shaken):
        return  # as good as overflow
    else:
        worst = float(np.abs(y.astype(np.float64) - expected).max(initial=0.0))
        worst = np.inf if np.isnan(worst) else worst
        moved = max(float(np.abs(other.astype(np.float64) - expected).max(initial=0.0)) for other in shaken)
        allowed = max(tolerance * max(1.0, float(np.abs(expected).max(initial=0.0))), SLACK * moved)
    output.judged += 1
    if not output.case or worst / allowed > output.difference / output.allowed:
        output.difference, output.allowed, output.case = worst, allowed, note


def _measure_rounding(output: OutputDifference, one: NDArray[Any], two: NDArray[Any]) -> None:
    if np.isfinite(one).all() and np.isfinite(two).all():
        far = float(np.abs(one.astype(np.float64) - two).max(initial=0.0))
        output.rounding = max(far, output.rounding or 0.0)


def in_float32(model: Exportable) -> Exportable | None:
    """A model whose products are of eight bits or of bf16 in float32, with the weights that integers stand for; None of
    any other.
    """
    given: Any = model.spec
    spec = json.loads(given) if isinstance(given, str) else given
    narrow = matrices(spec)
    compiled = getattr(getattr(model, "_compiled", None), "precision", "float32")
    if not narrow and not has_precision(spec, "bf16") and compiled == "float32":
        return None
    import rekur

    twin = rekur.Model.from_spec(floating(spec))
    twin._assign(round_matrices(model.named_weights(), narrow))
    return twin


def _show(lengths: Mapping[str, NDArray[Any]]) -> str:
    return "; ".join(str(rows.tolist()) for rows in {id(rows): rows for rows in lengths.values()}.values())
