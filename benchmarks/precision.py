"""Layers of eight and sixteen bits beside float32, onnxruntime's int8 and torch's int8 and bfloat16, in turns.

    python -m benchmarks.precision                               # everything: some twenty minutes
    python -m benchmarks.precision --parts bf16                  # products of bf16, inference and training
    python -m benchmarks.precision --kinds lstm,gru --threads 1 --shapes 1,200,64,128 --json precision.json
    python -m benchmarks.precision --isas avx2,baseline          # narrower instruction sets: beside our float32 alone

A shape is B,T,I,H: rows, steps, features, units (of a convolution filters, over kernels of 5 steps).

speed   (part int8) a contender's time over that of our int8: of our float32 at least 2 where H >= 128, and nowhere
        below what noise makes of 1 ("never slower"); of the quickest peer at least 1
error   the deviation of the outputs from our float32's (root of the mean square; the largest is told beside it), with
        the same weights: of onnxruntime's int8 over that of ours at least 1
size    bytes of the layer's weights in float32 over those in int8, with scales and biases, as onnxruntime has them in
        its file beside it
bf16, bf16 training, bf16 error   (part bf16; benchmarks/bf16.py) the same of layers whose products are of bf16: of our
        float32 at least 1.6, in training 1.5, where H >= 256 and B >= 32; of torch's bfloat16 at least 1

onnxruntime runs what `rekur.onnx.quantize` makes of the exported layer (DynamicQuantizeLSTM, MatMulInteger; of GRU,
SimpleRNN and convolution int8 weights and float32 arithmetic). torch's int8 is `quantize_dynamic` with each of its
engines (LSTM, GRU, Linear; it has no other), its bfloat16 the layer in that type, which oneDNN computes where the
processor can. Each has its turn in every round, on as many cores as it has threads; a time is the least of the rounds.

Exit status 0 whether or not bars are met: each line has its own.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import rekur
from benchmarks import bf16
from benchmarks.one_layer import (
    CALLS,
    NAMES,
    ROUNDS,
    Report,
    Shape,
    array_of,
    input_of,
    model_of,
    torch_layer,
    torch_step,
)
from benchmarks.turns import Turn, in_turns
from rekur import _core

Step = Callable[[], Any]

SHAPES: list[Shape] = [
    (1, 200, 64, 128),
    (16, 50, 64, 128),
    (1, 25, 512, 512),
    (1, 100, 32, 32),
    (1, 100, 16, 64),
    (8, 50, 32, 64),
    (64, 50, 128, 256),
    (32, 25, 512, 512),
]
KINDS = ("lstm", "gru", "rnn", "dense", "conv")
NOISE = 0.95  # what a ratio of 1 may be measured as


def ours(kind: str, shape: Shape) -> dict[str, Step]:
    """float32, float32 arithmetic on weights of bf16, int8."""
    x = input_of(shape)
    float32 = model_of(kind, shape)
    made = {"float32": float32, "int8": model_of(kind, shape, "int8")}
    made["bf16 weights"] = rekur.quantize(float32, "bf16").model
    engines = {name: model._engine() for name, model in made.items()}
    return {name: (lambda engine=engine: engine.predict([x])[0]) for name, engine in engines.items()}  # type: ignore[misc]


def onnxruntime_int8(kind: str, shape: Shape, threads: int) -> tuple[Step, int]:
    """What quantize makes of the exported layer, and the bytes of its weights."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "layer.onnx", Path(folder) / "int8.onnx"
        rekur.onnx.export(model_of(kind, shape), source, verify=False)
        rekur.onnx.quantize(source, path, data=input_of(shape), seconds=0, reduce_range=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        size = sum(len(tensor.raw_data) for tensor in onnx.load(path).graph.initializer)
    feed = {"x": input_of(shape)}
    return (lambda: session.run(None, feed)[0]), size


def torch_steps(kind: str, shape: Shape) -> dict[str, Step]:
    """int8 of each engine, and bfloat16."""
    import torch

    x = torch.from_numpy(input_of(shape))
    result = {}
    if kind in ("lstm", "gru", "dense"):
        for engine in ("fbgemm", "onednn"):
            if engine in torch.backends.quantized.supported_engines:
                torch.backends.quantized.engine = engine
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of what comes after it
                    holder = torch.nn.Sequential(torch_layer(kind, shape))
                    narrow = torch.ao.quantization.quantize_dynamic(holder, dtype=torch.qint8)[0]
                result[f"torch {engine}"] = torch_step(kind, narrow, x)
    result["torch bf16"] = torch_step(kind, torch_layer(kind, shape).bfloat16(), x.bfloat16())
    return result


def int8_bytes(kind: str, shape: Shape) -> tuple[int, int]:
    """Bytes of the weights in float32, and in int8 with a float32 scale a column; small matrices stay float32."""
    engine = model_of(kind, shape, "int8")._engine()
    narrow = set(engine.int8_matrices)
    sizes = {name: (math.prod(size), size[-1]) for name, size, _ in engine.parameters}
    after = sum(n + 4 * columns if name in narrow else 4 * n for name, (n, columns) in sizes.items())
    return 4 * sum(n for n, _ in sizes.values()), after


def contenders(kind: str, shape: Shape, threads: int, peers: list[str]) -> tuple[dict[str, Step], int]:
    """Ours and, of the peers, those that are installed; and the bytes of onnxruntime's weights, 0 without it."""
    steps, size = ours(kind, shape), 0
    if "onnxruntime" in peers and find_spec("onnxruntime"):
        steps["onnxruntime"], size = onnxruntime_int8(kind, shape, threads)
    if "torch" in peers and find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        steps.update(torch_steps(kind, shape))
    return steps, size


def measure(report: Report, kind: str, shape: Shape, threads: int, peers: list[str], seconds: float) -> None:
    """One layer's lines."""
    isa, name = _core.isa(), NAMES[kind]
    where = f"{isa} {threads}t"
    steps, size = contenders(kind, shape, threads, peers)
    outputs = {who: array_of(step()) for who, step in steps.items()}
    times = in_turns({who: Turn(step, threads) for who, step in steps.items()}, seconds, ROUNDS, bursts=CALLS)
    best = {who: min(all_of) for who, all_of in times.items()}
    mine = best["int8"]
    bars = {"float32": 2.0 if shape[3] >= 128 else NOISE}
    others = [who for who in best if who not in ("int8", "float32", "bf16 weights")]
    if others:
        bars[min(others, key=lambda who: best[who])] = 1.0
    for who in (w for w in best if w != "int8"):
        note = f"{1e3 * mine:.3f} ms, {who} {1e3 * best[who]:.3f}"
        report.line("speed", name, shape, where, who, best[who] / mine, bars.get(who, 0), note)
    if threads > 1:
        return  # the same bits
    reference = outputs["float32"].astype(np.float64)
    far = {who: np.abs(y - reference) for who, y in outputs.items() if who != "float32"}
    errors = {who: math.sqrt(float(np.mean(y * y))) for who, y in far.items()}
    most = {who: float(y.max()) for who, y in far.items()}
    own = errors["int8"]
    for who in (w for w in errors if w != "int8"):
        if own > 0:
            bar = 1.0 if who == "onnxruntime" and kind in ("lstm", "dense") else 0
            note = f"{own:.1e}, {who} {errors[who]:.1e}; most {most['int8']:.1e}, {most[who]:.1e}"
            report.line("error", name, shape, where, who, errors[who] / own, bar, note)
    before, after = int8_bytes(kind, shape)
    report.line("size", name, shape, where, "float32", before / after, 0, f"{after:,} bytes, onnxruntime {size:,}")


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown: times of int8 and what the others take of it."""
    speed = [row for row in rows if row["part"] == "speed"]
    whos = list(dict.fromkeys(row["who"] for row in speed))
    yield f"| layer | B,T,I,H | | int8, ms | {' | '.join(whos)} |"
    yield "|" + "---|" * (4 + len(whos))
    places = dict.fromkeys((row["kind"], tuple(row["shape"]), row["where"]) for row in speed)
    for kind, shape, where in places:
        own = {r["who"]: r for r in speed if (r["kind"], tuple(r["shape"]), r["where"]) == (kind, shape, where)}
        cells = [f"{own[who]['ratio']:.2f}" if who in own else "" for who in whos]
        first = next(iter(own.values()))["note"].split(" ms")[0]
        yield f"| {kind} | {','.join(map(str, shape))} | {where} | {first} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kinds", default=",".join(KINDS), help="of lstm, gru, rnn, dense and conv, by commas")
    parser.add_argument("--parts", default="int8,bf16", help="of int8 and bf16, by commas")
    parser.add_argument("--shapes", nargs="*", help="B,T,I,H each")
    parser.add_argument("--threads", default="1,2", help="by commas")
    parser.add_argument("--isas", help="instruction sets for ours, by commas; without it all, the widest beside peers")
    parser.add_argument("--peers", default="onnxruntime,torch", help="by commas")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each contender")
    parser.add_argument("--json", help="a file for the figures")
    parser.add_argument("--markdown", action="store_true", help="the times again, as a table")
    options = parser.parse_args()
    shapes = [tuple(int(n) for n in text.split(",")) for text in options.shapes] if options.shapes else SHAPES
    widest, parts = _core.isa(), options.parts.split(",")
    isas = options.isas.split(",") if options.isas else list(_core.available_isas())[::-1]
    print(f"{platform.processor() or platform.machine()}, {', '.join(isas)}")
    report = Report()
    for isa in isas:
        _core.set_isa(isa)
        peers = options.peers.split(",") if isa == widest else []
        for threads in map(int, options.threads.split(",")) if isa == widest else [1]:
            for kind in options.kinds.split(","):
                for shape in shapes:
                    if "int8" in parts:
                        measure(report, kind, shape, threads, peers, options.seconds)
                    if "bf16" in parts and kind in bf16.KINDS:
                        bf16.measure(report, kind, shape, threads, peers, options.seconds)
    report.summary()
    if options.markdown:
        print("\n".join(tables(report.rows)))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rows": report.rows}, file, indent=1)


if __name__ == "__main__":
    main()
