"""Exported models on CUDAExecutionProvider: do they agree with the engine, which nodes stay on the CPU, how fast.

    python -m benchmarks.onnx_gpu                      # needs a GPU and onnxruntime-gpu; else says so and ends with 0
    python -m benchmarks.onnx_gpu --provider CPUExecutionProvider    # the same table without a GPU

For each model: the largest difference between engine and GPU over the cases of rekur.onnx.verify, what was allowed,
milliseconds a call and those of onnxruntime's CPU at a batch of 64 sequences of 100 steps (one-step files: one
step), in turns, the quickest of each, and the nodes that onnxruntime's own profile has on the CPU. The GPU's times
hold the copies to it and back. TensorFloat-32, which would round the products to 10 bits, is off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rekur
from rekur import layers
from rekur.onnx import VerificationError

GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
ROWS, STEPS, FEATURES = 64, 100, 32
TURN = 0.05  # seconds


def models(units: int) -> Iterator[tuple[str, rekur.Model, dict[str, Any]]]:
    """(name, model, options of the export)."""

    def of(*stack: Any) -> rekur.Model:
        return rekur.Sequential([rekur.Input((None, FEATURES), name="x"), *stack], seed=1)

    for kind in (layers.SimpleRNN, layers.LSTM, layers.GRU):
        name = kind.__name__
        yield name, of(kind(units, return_sequences=True)), {}
        yield f"{name}, lengths", of(kind(units, return_sequences=True)), {"lengths": True}
        yield f"{name}, bidirectional", of(layers.Bidirectional(kind(units))), {}
        yield f"{name}, one step", of(kind(units, return_sequences=True)), {"streaming": True}
        yield f"{name}, in pieces", of(kind(units, return_sequences=True)), {"states": True}
    yield "GRU, reset before", of(layers.GRU(units, reset_after=False)), {}
    yield "LSTM, hard_sigmoid", of(layers.LSTM(units, recurrent_activation="hard_sigmoid")), {}
    stacked = [layers.LSTM(units, return_sequences=True), layers.LSTM(units), layers.Dense(5, activation="softmax")]
    yield "two LSTM, Dense, softmax", of(*stacked), {}


def feed_of(session: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feed: dict[str, np.ndarray] = {}
    for value in session.get_inputs():
        shape = [ROWS if d == "batch" else STEPS if d == "time" else d for d in value.shape]
        if value.type == "tensor(int32)":
            feed[value.name] = np.full(shape, STEPS, np.int32)
        elif value.name == "x":
            feed[value.name] = rng.standard_normal(shape, dtype=np.float32)
        else:
            feed[value.name] = np.zeros(shape, np.float32)
    return feed


def open_session(path: Path, providers: list[Any], profile: Path | None = None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def on_the_cpu(path: Path, providers: list[Any]) -> list[str]:
    """The operators of which onnxruntime's profile has a node on the CPU, with their numbers."""
    session = open_session(path, providers, path.with_suffix(""))
    session.run(None, feed_of(session))
    profile = Path(session.end_profiling())
    events = json.loads(profile.read_text(encoding="utf-8"))
    profile.unlink()
    nodes = {
        (event["name"], event["args"]["op_name"])
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider") == CPU
    }
    ops = [op for _, op in nodes]
    return [f"{ops.count(op)} {op}" for op in sorted(set(ops))]


def quickest(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Milliseconds a call of each: in turns, the quickest turn."""

    def turn(call: Callable[[], object], count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count

    counts = [max(1, int(TURN / max(min(turn(call, 1) for _ in range(3)), 1e-6))) for call in calls]
    best = [np.inf] * len(calls)
    for _ in range(rounds):
        best = [min(b, turn(call, n)) for b, call, n in zip(best, calls, counts, strict=True)]
    return [1e3 * b for b in best]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx_gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--provider", default=GPU, help=f"onnxruntime's execution provider ({GPU})")
    parser.add_argument("--units", type=int, default=128, help="hidden units (128)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each (10)")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="see rekur.onnx.verify (1e-5)")
    options = parser.parse_args(arguments)
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if options.provider not in available:
        print(f"onnxruntime {onnxruntime.__version__} has no {options.provider} here, only {', '.join(available)}")
        return 0
    settings = {"use_tf32": "0"} if options.provider == GPU else {}
    providers: list[Any] = [(options.provider, settings)]
    if options.provider != CPU:
        providers.append(CPU)
    print(f"onnxruntime {onnxruntime.__version__}, {options.provider}, {options.units} units")
    print(f"{'model':<26} {'difference':>10} {'allowed':>8} {'ms':>9} {'CPU ms':>9}  on the CPU")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for name, model, export in models(options.units):
            rekur.onnx.export(model, path, **export)
            session = open_session(path, providers)
            if session.get_providers()[0] != options.provider:
                print(f"{options.provider} cannot be started on this machine: onnxruntime fell back to the CPU")
                return 0
            worst = ""
            try:
                report = rekur.onnx.verify(model, path, providers=providers, tolerance=options.tolerance)
                output = max(report.outputs, key=lambda o: o.difference / o.allowed)
                worst = f"{output.difference:>10.2g} {output.allowed:>8.2g}"
            except VerificationError as error:
                failed += 1
                worst = f"{'DISAGREES':>19}"
                print(error, file=sys.stderr)
            reference = open_session(path, [CPU])
            feed = feed_of(session)
            times = quickest([lambda s=s, feed=feed: s.run(None, feed) for s in (session, reference)], options.rounds)
            fallen = ", ".join(on_the_cpu(path, providers)) or "nothing"
            print(f"{name:<26} {worst} {times[0]:>9.3f} {times[1]:>9.3f}  {fallen}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
