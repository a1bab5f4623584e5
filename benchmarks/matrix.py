"""Layers whose state is a matrix a head against onnxruntime's operator LinearAttention, in turns in one run.

    python -m benchmarks.matrix                    # a minute and a half
    python -m benchmarks.matrix --only delta --json matrix.json

Ours is the whole layer: projection, gates, the rule, norm, output projection, of few features; theirs the rule alone. A
figure is K · V · (4, with the delta rule 6) operations a step and head by the least time. Our training step has no
contender. Target: twice theirs. Exit status 0 whether or not targets are met.
"""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

import rekur
from benchmarks.turns import Turn, in_turns
from rekur import _core, layers

MODES = ("linear", "gated", "delta", "gated_delta")
SHAPES = [(1, 50, 8, 64, 64), (4, 50, 4, 32, 32), (1, 1000, 8, 64, 64), (8, 200, 4, 128, 128)]
FEATURES = 16
TARGET = 2.0


def operator(mode: str, B: int, T: int, H: int, K: int, V: int, threads: int) -> Any:
    """A call of onnxruntime's LinearAttention on random numbers."""
    rng = np.random.default_rng(0)
    feed: dict[str, np.ndarray] = {
        "q": rng.standard_normal((B, T, H * K)),
        "k": rng.standard_normal((B, T, H * K)) / np.sqrt(K),
        "v": rng.standard_normal((B, T, H * V)),
    }
    names = ["q", "k", "v", ""]
    if "gated" in mode:
        feed["a"] = -0.1 * rng.random((B, T, H * (K if mode == "gated" else 1)))
    if "delta" in mode:
        feed["b"] = rng.random((B, T, H))
    names += [name if name in feed else "" for name in ("a", "b")]
    feed = {name: value.astype(np.float32) for name, value in feed.items()}
    node = helper.make_node("LinearAttention", names, ["o", "s"], q_num_heads=H, kv_num_heads=H, update_rule=mode)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in feed.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("o", "s")]
    graph = helper.make_graph([node], "rule", values, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default=",".join(MODES), help="modes, by commas")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=0.6, help="for a contender and shape")
    parser.add_argument("--json", help="a file for the figures")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {_core.isa()}, onnxruntime {onnxruntime.__version__}")
    rows, short = [], 0
    for threads in map(int, args.threads.split(",")):
        for mode in args.only.split(","):
            for shape in SHAPES:
                B, T, H, K, V = shape
                layer = layers.GatedLinearAttention(
                    H, K, V, mode, units=8, output_gate=False, return_sequences=True, input_shape=(T, FEATURES)
                )
                model = rekur.Sequential([layer])
                model.compile("sgd", "mse")
                rng = np.random.default_rng(1)
                x, y = rng.standard_normal((B, T, FEATURES)).astype(np.float32), np.zeros((B, T, 8), np.float32)
                turns = {
                    "ours": Turn(lambda m=model, x=x: m.predict_on_batch(x), threads),
                    "onnxruntime": Turn(operator(mode, *shape, threads), threads),
                    "training": Turn(lambda m=model, x=x, y=y: m.train_on_batch(x, y), threads),
                }
                least = {name: min(times) for name, times in in_turns(turns, args.seconds, 3).items()}
                work = B * T * H * K * V * (6 if "delta" in mode else 4)
                ratio = least["onnxruntime"] / least["ours"]
                short += ratio < TARGET
                rows.append({"mode": mode, "shape": shape, "threads": threads, "seconds": least, "ratio": ratio})
                figures = "  ".join(
                    f"{name} {1e3 * s:8.3f} ms {work / s / 1e9:6.1f} GFLOP/s" for name, s in least.items()
                )
                print(f"{threads} {mode:12} {shape!s:24} {figures}  ratio {ratio:5.2f}", flush=True)
    print(f"{short} of {len(rows)} below {TARGET:g}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"isa": _core.isa(), "onnxruntime": onnxruntime.__version__, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
