"""Conv1D forward and in training, in turns with torch where it is installed: python -m benchmarks.conv

One line a shape: milliseconds, the share of what this core's multiply-adds reach, and torch's time on as many threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import rekur
from rekur import layers

# rows, steps, features, filters, kernel_size, further arguments
SHAPES = [
    (32, 128, 64, 64, 5, {}),
    (32, 128, 64, 64, 5, {"padding": "same"}),
    (8, 512, 128, 128, 3, {"padding": "causal"}),
    (16, 256, 256, 256, 3, {"padding": "same", "strides": 2}),
    (8, 512, 64, 64, 3, {"padding": "causal", "dilation_rate": 4}),
    (32, 128, 128, 128, 5, {"groups": 128}),
]


def best(run: Callable[[], object], seconds: float = 0.25) -> float:
    """The least of the times of single runs."""
    run()
    least, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - begin)
    return float(least)


def peak(threads: int) -> float:
    """Floating-point operations a second that a product of two matrices reaches here: as near to the peak as NumPy
    comes, on one thread at most."""
    a = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    return 2 * 1024**3 / best(lambda: a @ a, 0.5) * threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak", type=float, help="GFLOP/s of one thread; else NumPy's product says")
    args = parser.parse_args()
    rekur.set_num_threads(args.threads)
    top = args.peak * 1e9 * args.threads if args.peak else peak(args.threads)
    try:
        import torch
    except ImportError:
        torch = None  # type: ignore[assignment]
    else:
        torch.set_num_threads(args.threads)
    print(f"threads {args.threads}   peak taken as {top / 1e9:.0f} GFLOP/s")
    for B, T, F, N, K, more in SHAPES:
        x = np.random.default_rng(0).standard_normal((B, T, F)).astype(np.float32)
        source = rekur.Input((T, F))
        model = rekur.Model(source, layers.Conv1D(N, K, **more)(source))
        engine = model._engine()
        y = engine.predict([x])[0]
        dy = np.ones_like(y)
        flops = 2.0 * y.size * K * F / more.get("groups", 1)

        def train(engine=engine, x=x, dy=dy) -> None:  # type: ignore[no-untyped-def]
            _, tape = engine.forward([x], None, 0, 0)
            engine.backward(tape, [dy])

        forward, training = best(lambda engine=engine, x=x: engine.predict([x])), best(train)  # type: ignore[misc]
        line = f"{B}x{T} {F}->{N} k{K} {more}: forward {forward * 1e3:.3f} ms, {flops / forward / top:.2f} of peak"
        line += f"; training {training * 1e3:.3f} ms, {3 * flops / training / top:.2f}"
        if torch is not None:
            causal = (
                (K - 1) * more.get("dilation_rate", 1) if more.get("padding") != "valid" and "padding" in more else 0
            )
            conv = torch.nn.Conv1d(
                F, N, K, stride=more.get("strides", 1), padding=causal // 2, dilation=more.get("dilation_rate", 1),
                groups=more.get("groups", 1),
            )  # fmt: skip
            tx = torch.from_numpy(np.ascontiguousarray(x.swapaxes(1, 2))).requires_grad_()

            def torch_forward(conv=conv, tx=tx) -> None:  # type: ignore[no-untyped-def]
                with torch.no_grad():
                    conv(tx)

            def torch_train(conv=conv, tx=tx) -> None:  # type: ignore[no-untyped-def]
                conv(tx).sum().backward()

            line += f"; torch {best(torch_forward) * 1e3:.3f} and {best(torch_train) * 1e3:.3f} ms"
        print(line, flush=True)


if __name__ == "__main__":
    main()
