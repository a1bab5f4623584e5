"""Attention by blocks against torch's scaled_dot_product_attention and onnxruntime's operator Attention, in turns.

    python -m benchmarks.attention                     # some two minutes
    python -m benchmarks.attention --threads 2 --json attention.json

Heads of width 64 over T steps, each head a row of its own, without projections: forward, and forward and backward with
the gradients of queries, keys and values. A figure is 4 · 64 operations a pair of steps forward (of causal ones those
that are seen) and 3.5 times that with the backward pass, by the least time; *peak* is its fraction of the multiply-adds
that cpp/bench/roofline.cpp reached. Target: 0.7 of the peak forward at T >= 256, and not slower than torch.
Peers that are not installed are left out. Exit status 0 whether or not targets are met.
"""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import numpy as np

from benchmarks.native import Unavailable, fma_peak
from benchmarks.turns import Turn, in_turns
from rekur import _core

WIDTH = 64
SHAPES = [(32, 128), (32, 256), (16, 512), (8, 1024), (8, 2048)]  # heads, steps
TARGET = 0.7


def ours(x: list[np.ndarray], causal: bool) -> dict[str, Any]:
    names = ["q", "v", "k"]
    entrances = [{"type": "Input", "name": n, "shape": [None, WIDTH], "dtype": "float32"} for n in names]
    layer = {"type": "Attention", "name": "y", "inputs": names, "use_scale": True, "use_causal_mask": causal}
    spec = {"format": "rekur", "version": 1, "name": "attention", "layers": [*entrances, layer]}
    model = _core.Model(json.dumps({**spec, "inputs": names, "outputs": ["y"]}))
    model.set_weights(np.full(1, WIDTH**-0.5, np.float32))
    dy = np.ones_like(x[0])

    def train() -> None:
        _, tape = model.forward(x, None, 0, 0)
        model.backward(tape, [dy])

    return {"ours": lambda: model.predict(x, None), "ours training": train}


def torch_turns(x: list[np.ndarray], causal: bool, threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    q, v, k = (torch.from_numpy(a)[None] for a in x)
    learned = [t.clone().requires_grad_() for t in (q, k, v)]
    dy = torch.ones_like(q)
    attend = torch.nn.functional.scaled_dot_product_attention

    def forward() -> None:
        with torch.no_grad():
            attend(q, k, v, is_causal=causal)

    def train() -> None:
        torch.autograd.grad(attend(*learned, is_causal=causal), learned, dy)

    return {"torch": forward, "torch training": train}


def onnxruntime_turns(x: list[np.ndarray], causal: bool, threads: int) -> dict[str, Any]:
    import onnxruntime
    from onnx import TensorProto, helper

    node = helper.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=int(causal))
    shape = [1, *x[0].shape]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("q", "k", "v")]
    graph = helper.make_graph(
        [node], "attention", values, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"q": x[0][None], "v": x[1][None], "k": x[2][None]}
    return {"onnxruntime": lambda: session.run(None, feed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=0.5, help="for a contender and shape")
    parser.add_argument("--json", help="a file for the figures")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {_core.isa()}")
    rows, short = [], 0
    for threads in map(int, args.threads.split(",")):
        try:
            peak: float | None = fma_peak(_core.isa(), threads)
        except Unavailable as why:
            print(f"left out: peak: {why}")
            peak = None
        for causal in (False, True):
            for heads, steps in SHAPES:
                rng = np.random.default_rng(0)
                x = [rng.standard_normal((heads, steps, WIDTH)).astype(np.float32) for _ in range(3)]
                steps_of = ours(x, causal)
                for peer in (torch_turns, onnxruntime_turns):
                    try:
                        steps_of |= peer(x, causal, threads)
                    except Exception as why:
                        print(f"left out: {peer.__name__}: {str(why)[:80]}")
                turns = {name: Turn(step, threads) for name, step in steps_of.items()}
                least = {name: min(times) for name, times in in_turns(turns, args.seconds, 3).items()}
                pairs = steps * (steps + 1) / 2 if causal else steps * steps
                work = {n: 4.0 * heads * pairs * WIDTH * (3.5 if "training" in n else 1) for n in least}
                rates = {n: work[n] / s / 1e9 for n, s in least.items()}
                share = None if peak is None else rates["ours"] / peak
                short += share is not None and share < TARGET and steps >= 256
                rows.append(
                    {
                        "heads": heads,
                        "steps": steps,
                        "causal": causal,
                        "threads": threads,
                        "seconds": least,
                        "peak": share,
                    }
                )
                figures = "  ".join(f"{n} {1e3 * s:7.2f} ms {rates[n]:6.1f}" for n, s in least.items())
                label = "–" if share is None else f"{share:.2f}"
                print(
                    f"{threads} {'causal' if causal else 'full':6} {heads:3} x {steps:<5} peak {label}  {figures}",
                    flush=True,
                )
    print(f"{short} below {TARGET:g} of the peak")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"isa": _core.isa(), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
