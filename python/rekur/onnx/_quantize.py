"""``quantize``: an ONNX file with its weights in eight bits, and what that costs and gains."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._files import check_writable, write_atomic
from rekur._model_files import instead_of_onnx
from rekur._validate import ONNX, as_path, check_suffix
from rekur.onnx._errors import QuantizationError, VerificationError
from rekur.onnx._graph import MAX_BYTES
from rekur.onnx._metadata import QUANTIZED_KEY, Metadata, describe_file
from rekur.onnx._sample import Feed, as_feed, random_feed
from rekur.onnx._session import EmptyInput, run_session
from rekur.onnx._verify import open_session
from rekur.onnx._weights import (
    DYNAMIC,
    FLOAT,
    INT8,
    WEIGHTS,
    QuantizedNode,
    Weights,
    judge,
    name_nodes,
    name_sequences,
    shrink,
)

TURN = 0.02  # seconds of a turn, at least
ROUNDS = 5  # turns of each, at least


@dataclass
class OutputChange:
    """How far quantisation moved one output, over all values of the data."""

    name: str
    largest: float  # absolute
    mean: float
    magnitude: float  # the largest absolute value of the float file's output


@dataclass
class QuantizeReport:
    """What :func:`quantize` wrote. ``print`` it for a table."""

    path: Path
    size_before: int  # bytes, as one file
    size_after: int
    nodes: list[QuantizedNode]
    changes: list[OutputChange]
    random_data: bool  # True: no data was given, the changes are those on random inputs
    speed: float | None  # time of the float file / time of the quantised one, on one thread; None: not measured
    onnxruntime: str

    @property
    def largest_change(self) -> float:
        """The largest absolute change over all outputs."""
        return max((change.largest for change in self.changes), default=0.0)

    def __str__(self) -> str:
        ratio = self.size_before / self.size_after
        lines = [
            f"{self.path}: {self.size_after:,} bytes; the float file has {self.size_before:,}, {ratio:.2f} times that"
        ]
        if self.speed is not None:
            lines.append(f"speed: {self.speed:.2f} times the float file's (onnxruntime {self.onnxruntime}, one thread)")
        for how in (INT8, WEIGHTS, FLOAT):
            for node in self.nodes:
                if node.how == how:
                    lines.append(f"{how:<12}  {node.op} '{node.name}'" + (f": {node.reason}" if node.reason else ""))
        width = max((len(change.name) for change in self.changes), default=0)
        width = max(width, len("output"))
        lines.append(f"{'output':<{width}}  largest change  mean change  largest value")
        for c in self.changes:
            lines.append(f"{c.name:<{width}}  {c.largest:>14.3g}  {c.mean:>11.3g}  {c.magnitude:>13.3g}")
        lines.append("on random inputs" if self.random_data else "on the given data")
        return "\n".join(lines)


def quantize(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data: Any = None,
    weights_only: bool = False,
    keep: Collection[str] = (),
    reduce_range: bool = True,
    seconds: float = 1.0,
    seed: int = 0,
) -> QuantizeReport:
    """Write an ONNX file with its weights in eight bits: smaller, and, where there are integer kernels, faster.

    LSTM and MatMul go through onnxruntime's own dynamic quantiser (DynamicQuantizeLSTM, MatMulInteger): int8 weights
    with a scale a channel, inputs quantised as they come. What has no such kernel (GRU, RNN, Gemm, Conv, Gather of a
    table) has int8 weights only, which become float32 again when the file is loaded: as fast as before, and less far
    from the float file. The report names every node, what became of it and why. Works for files of :func:`export`,
    sequence and one-step, and for others. The file at ``path`` is only read; ``out`` appears when onnxruntime has
    run it.

    Parameters
    ----------
    path
        The float file.
    out
        The file to write; its folder must exist.
    data
        On what the change of the outputs is measured: an array for the only input, a list in the order of the inputs,
        or a dict by name. For a one-step file whole sequences (B, T, F). Lengths may be left out (full rows), and
        states (zeros). None: random data. Nothing is fitted to it.
    weights_only
        True: int8 weights for LSTM and MatMul too, all arithmetic in float32.
    keep
        Names of nodes that stay in float32, as the report has them.
    reduce_range
        True: integer kernels get weights of 7 bits; processors without VNNI instructions (before about 2019) add
        products of 8 in 16 bits, which overflow. False is closer to the float file, where it is known not to run there.
    seconds
        About how long the two files are timed, in turns; 0: not at all.
    seed
        Of the random data.

    Raises
    ------
    QuantizationError
        onnxruntime does not run one of the files, nothing can be quantised, or an output is no longer finite. A
        ``ValueError``; nothing is written.
    ValueError
        ``out`` ends as a file of another format.
    OSError
        A file cannot be read or written.
    """
    import onnx
    import onnxruntime

    source = Path(as_path(path, "quantize: path"))
    target = Path(check_suffix(out, "quantize: out", ONNX))
    check_writable(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise QuantizationError(f"'{target}' is the float file itself; give another path to write")
    proto, before = _load(onnx, source)
    described = _described(proto)
    session = _open(before, f"'{source}'")
    name_nodes(proto.graph)
    feed = random_feed(session, proto.graph, described, seed) if data is None else as_feed(data, session, described)
    expected = _run(session, described, feed, f"'{source}'" + (" on random data; give data=" if data is None else ""))

    weights = Weights(proto.graph)
    nodes = judge(proto.graph, weights, keep, weights_only)
    if unknown := set(keep) - {node.name for node in nodes}:
        raise QuantizationError(
            f"keep: no node with weights is called {sorted(unknown)}; there are {[node.name for node in nodes]}"
        )
    after = _transform(proto, nodes, reduce_range)
    if not any(node.how in (INT8, WEIGHTS) for node in nodes):
        why = "; ".join(f"{node.op} '{node.name}': {node.reason}" for node in nodes) or "no node has float32 weights"
        raise QuantizationError(f"'{source}': nothing can be quantised: {why}")
    _finish(after, proto, nodes)
    bytes_after: bytes = after.SerializeToString(deterministic=True)
    quantised = _open(bytes_after, "the quantised model")
    actual = _run(quantised, described, feed, "the quantised model")
    changes = [_change(name, e, a) for (name, e), a in zip(expected.items(), actual.values(), strict=True)]
    speed = None
    if seconds > 0:
        speed = _ratio(
            lambda: _run(session, described, feed, ""), lambda: _run(quantised, described, feed, ""), seconds
        )
    write_atomic(target, bytes_after)
    return QuantizeReport(
        path=target,
        size_before=len(before),
        size_after=len(bytes_after),
        nodes=nodes,
        changes=changes,
        random_data=data is None,
        speed=speed,
        onnxruntime=onnxruntime.__version__,
    )


def _load(onnx: Any, path: Path) -> tuple[Any, bytes]:
    """The model with its external data, and the bytes of both as one file."""
    with open(path, "rb"):  # OSError as its own, not as protobuf's
        pass
    try:
        proto = onnx.load(str(path))
    except Exception as error:  # protobuf's own, or what is wrong with external data
        hint = instead_of_onnx(path.read_bytes())
        raise QuantizationError(f"'{path}': not a readable ONNX model: {error}{hint}") from error
    if not path.stat().st_size:
        raise QuantizationError(f"'{path}': not a readable ONNX model{instead_of_onnx(b'')}")
    if proto.ByteSize() > MAX_BYTES:
        raise QuantizationError(f"'{path}': {proto.ByteSize():,} bytes of model do not fit into one ONNX file")
    return proto, proto.SerializeToString(deterministic=True)


def _described(proto: Any) -> Metadata:
    try:
        return describe_file(proto)
    except ValueError as error:
        raise QuantizationError(str(error)) from None


def _open(data: bytes, what: str) -> Any:
    try:
        return open_session(data, threads=1)
    except VerificationError as error:
        raise QuantizationError(f"{what}: {error}") from error


def _run(session: Any, described: Metadata, feed: Feed, what: str) -> dict[str, NDArray[Any]]:
    """The outputs of numbers; of a file with states what whole sequences come to."""
    names = [value.name for value in session.get_outputs()]
    try:
        if described.states is None:
            values = run_session(session, feed)
        else:
            held = {state.output for state in described.states.states}
            names = [name for name in names if name not in held]
            values = described.states.run(session, feed, None, described.lengths)
    except EmptyInput as error:
        raise QuantizationError(f"data: {error}") from None
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise QuantizationError(f"onnxruntime cannot run {what}: {error}") from error
    pairs = zip(names, values, strict=True)
    return {name: y for name, y in pairs if isinstance(y, np.ndarray) and y.dtype.kind in "biuf"}


def _transform(proto: Any, nodes: list[QuantizedNode], reduce_range: bool) -> Any:
    """The quantised copy of a model; `nodes` are put right where onnxruntime's quantiser declines one."""
    planned = [node for node in nodes if node.how == INT8]
    after = _dynamic(proto, planned, reduce_range) if planned else type(proto)()
    if planned:
        made = {node.name for node in after.graph.node}
        for node in planned:
            if node.name in made or f"{node.name}_quant" not in made:
                node.how, node.reason = WEIGHTS, "onnxruntime's quantiser declines it"
    else:
        after.CopyFrom(proto)
    name_sequences(after.graph)
    shrink(after.graph, Weights(after.graph), {node.name for node in nodes if node.how == WEIGHTS})
    return after


def _dynamic(proto: Any, nodes: Sequence[QuantizedNode], reduce_range: bool) -> Any:
    """onnxruntime's dynamic quantiser over these nodes. It writes beside its input, hence the folder."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    copy = type(proto)()
    copy.CopyFrom(proto)
    mark = copy.metadata_props.add()  # without it the quantiser warns, through the root logger
    mark.key, mark.value = "onnx.quant.pre_process", "onnxruntime.quant"
    with tempfile.TemporaryDirectory(prefix="rekur-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        try:
            onnx.save(copy, str(source))
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=sorted(DYNAMIC),
                per_channel=True,
                reduce_range=reduce_range,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=[node.name for node in nodes],
            )
            return onnx.load(str(target))
        except Exception as error:  # whatever the quantiser trips over
            raise QuantizationError(f"onnxruntime's quantiser fails: {error!r}") from error


def _finish(after: Any, proto: Any, nodes: Sequence[QuantizedNode]) -> None:
    """The file says of itself what the float file said, and what was done to it."""
    after.producer_name, after.producer_version = proto.producer_name, proto.producer_version
    after.doc_string = proto.doc_string
    del after.graph.value_info[:]  # shapes that were inferred for the quantiser
    del after.metadata_props[:]
    after.metadata_props.extend(entry for entry in proto.metadata_props if entry.key != QUANTIZED_KEY)
    entry = after.metadata_props.add()
    entry.key = QUANTIZED_KEY
    entry.value = json.dumps(
        {
            "int8": [node.name for node in nodes if node.how == INT8],
            "weights": [node.name for node in nodes if node.how == WEIGHTS],
            "float": {node.name: node.reason for node in nodes if node.how == FLOAT},
        }
    )


def _change(name: str, expected: NDArray[Any], actual: NDArray[Any]) -> OutputChange:
    if expected.shape != actual.shape:
        raise QuantizationError(f"output '{name}': expected shape {expected.shape}, the quantised has {actual.shape}")
    if not expected.size:
        return OutputChange(name, 0.0, 0.0, 0.0)
    finite = np.isfinite(expected)
    if not np.isfinite(actual[finite]).all():
        raise QuantizationError(f"output '{name}' is no longer finite in the quantised model")
    if not finite.any():
        raise QuantizationError(f"output '{name}' is not finite in the float file, so nothing can be compared")
    difference = np.abs(actual[finite].astype(np.float64) - expected[finite].astype(np.float64))
    magnitude = float(np.abs(expected[finite].astype(np.float64)).max())
    return OutputChange(name, float(difference.max()), float(difference.mean()), magnitude)


def _ratio(first: Callable[[], object], second: Callable[[], object], seconds: float) -> float:
    """Time of the first divided by that of the second: in turns, the quickest turn of each."""

    def turn(call: Callable[[], object], count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count

    calls = (first, second)
    counts = [max(1, int(TURN / max(min(turn(call, 1) for _ in range(3)), 1e-7))) for call in calls]
    best = [np.inf, np.inf]
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < ROUNDS or time.perf_counter() < end:
        best = [min(b, turn(call, count)) for b, call, count in zip(best, calls, counts, strict=True)]
        rounds += 1
    return best[0] / best[1]
