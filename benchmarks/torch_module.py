"""rekur.torch against torch.nn: module against module, in turns inside one process.

    python -m benchmarks.torch_module             # layers, packed layers, cells; 1 and 2 threads: about 15 minutes
    python -m benchmarks.torch_module --what packed --cells gru --threads 1 --set regimes
    python -m benchmarks.torch_module --what layer --shapes 16,50,64,128 --modes train
    python -m benchmarks.torch_module --models    # the training scripts of examples/torch

A shape is B,T,I,H. Both modules have the same parameters and are given the same tensors. *infer* is a call under
torch.inference_mode, *train* a call with autograd and its backward pass: gradients of the input and all parameters,
which an optimiser's step changes in between (it is not timed apart, and the same for both), so that ours packs its
weights anew. *bi* is both directions; *packed* is a packed sequence whose lengths are spread evenly from 1 to T;
*cell* is a step (T is left out), with (h, c) given. Times are the quickest of a round's parts, the minimum over the
rounds. A ratio is torch's time divided by ours: below 1 is a loss, which the summary lists.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import rekur
import rekur.torch
from benchmarks.layers import SETS
from benchmarks.native import ALL_CORES, use_cores
from benchmarks.turns import SETTLE, WARM, quickest

KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
WHAT = ("layer", "bi", "packed", "packed-bi", "cell")
CELL_SHAPES = tuple(f"{B},1,{H},{H}" for B in (1, 2, 4, 8, 64) for H in (8, 32, 64, 128, 256, 512))


def listed(kind: Callable[[str], object], known: object = None) -> Callable[[str], list]:
    def parse(text: str) -> list:
        values = [kind(part) for part in text.split(",")]
        if known is not None and not set(values) <= set(known):
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {text!r}")
        return values

    return parse


def shape(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if len(sizes) != 4 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"expected B,T,I,H, got {text!r}")
    return sizes


class Case(NamedTuple):
    what: str
    cell: str
    B: int
    T: int
    I: int
    H: int
    mode: str
    threads: int

    def __str__(self) -> str:
        return f"{self.what:9} {self.cell:4} {self.B},{self.T},{self.I},{self.H} {self.mode} {self.threads}t"


def modules(case: Case) -> tuple[torch.nn.Module, torch.nn.Module]:
    """torch's and ours, with the same parameters."""
    name = KINDS[case.cell] + ("Cell" if case.what == "cell" else "")
    torch.manual_seed(1)
    options = {} if case.what == "cell" else {"batch_first": True, "bidirectional": case.what.endswith("bi")}
    theirs = getattr(torch.nn, name)(case.I, case.H, **options)
    ours = getattr(rekur.torch, name)(case.I, case.H, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def step_of(case: Case, module: torch.nn.Module) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((case.B, case.T, case.I), dtype=np.float32))
    hx: object = None
    given: object = x
    if case.what == "cell":
        x = given = x[:, 0].contiguous()
        h = torch.zeros(case.B, case.H)
        hx = (h, torch.zeros(case.B, case.H)) if case.cell == "lstm" else h
    if case.what.startswith("packed"):
        lengths = torch.linspace(case.T, 1, case.B).round().long()
        given = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)

    if case.mode == "infer":
        module.eval()

        def infer() -> object:
            with torch.inference_mode():
                return module(given, hx)

        return infer

    if case.what.startswith("packed"):
        data = given.data.detach().requires_grad_(True)
        given = torch.nn.utils.rnn.PackedSequence(data, given.batch_sizes, given.sorted_indices, given.unsorted_indices)
    else:
        data = given = x.requires_grad_(True)
    parameters = list(module.parameters())
    with torch.no_grad():
        y = module(given, hx)
    y = y[0] if isinstance(y, tuple) and not isinstance(y, torch.nn.utils.rnn.PackedSequence) else y
    dy = torch.ones_like(y.data)

    def train() -> object:
        data.grad = None
        for parameter in parameters:
            parameter.grad = None
        y = module(given, hx)
        if case.what != "cell" or case.cell == "lstm":
            y = y[0]
        out = y.data if isinstance(y, torch.nn.utils.rnn.PackedSequence) else y
        out.backward(dy)
        with torch.no_grad():  # as after an optimiser's step: nothing packed survives
            parameters[0][0, 0] += 1e-7
            parameters[1][0, 0] += 1e-7
        return data.grad

    return train


def run(step: Callable[[], object]) -> Callable[[int], float]:
    def timed(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            step()
        return time.perf_counter() - start

    return timed


def measure(case: Case, seconds: float, rounds: int) -> tuple[float, float]:
    """Seconds a step of torch's module and of ours: the minimum over rounds in turns."""
    use_cores(case.threads)
    torch.set_num_threads(case.threads)
    rekur.set_num_threads(case.threads)  # counts the cores that there are now
    timed = [run(step_of(case, module)) for module in modules(case)]
    once = []
    for t in timed:
        t(1)
        once.append(max(min(t(1) for _ in range(3)), 1e-7))
    best = [float("inf"), float("inf")]
    rounds = min(rounds, max(3, int(4 * seconds / max(once))))
    for _ in range(rounds):
        for i, t in enumerate(timed):
            count = max(1, int(seconds / rounds / once[i]))
            time.sleep(SETTLE if case.threads > 1 else 0.0)
            t(max(1, int(WARM / once[i])))
            best[i] = min(best[i], quickest(t, count))
    use_cores(len(ALL_CORES))
    return best[0], best[1]


def scripts(threads: list[int], rounds: int) -> None:
    """The training scripts of examples/torch, as they are and with torch's modules: seconds of 50 steps, and losses."""
    use_cores(len(ALL_CORES))
    for path in sorted((Path(__file__).parent.parent / "examples" / "torch").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for n in threads:
            torch.set_num_threads(n)
            rekur.set_num_threads(n)
            best: dict[str, float] = {}
            losses: dict[str, list[float]] = {}
            for _ in range(rounds):
                for package in ("torch.nn", "rekur.torch"):
                    space: dict[str, object] = {"__name__": path.stem}
                    exec(text.replace("from rekur.torch import", f"from {package} import"), space)
                    start = time.perf_counter()
                    found = space["main"](50)
                    best[package] = min(best.get(package, float("inf")), time.perf_counter() - start)
                    losses[package] = found if isinstance(found, list) else found[0]
            apart = float(np.max(np.abs(np.subtract(*losses.values()))))
            print(
                f"{path.stem:20} {n}t: torch {best['torch.nn']:.2f} s, ours {best['rekur.torch']:.2f} s, ratio "
                f"{best['torch.nn'] / best['rekur.torch']:.2f}; losses {losses['torch.nn'][0]:.3f} -> "
                f"{losses['torch.nn'][-1]:.3f}, at most {apart:.1e} apart"
            )


def cases(args: argparse.Namespace) -> list[Case]:
    found = []
    for threads in args.threads:
        for mode in args.modes:
            for what in args.what:
                for sizes in args.shapes or [shape(s) for s in (CELL_SHAPES if what == "cell" else SETS[args.set])]:
                    found += [Case(what, cell, *sizes, mode, threads) for cell in args.cells]
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", type=listed(str, WHAT), default=",".join(WHAT))
    parser.add_argument("--set", choices=SETS, default="published", help="shapes of layers, unless --shapes")
    parser.add_argument("--shapes", nargs="+", type=shape, metavar="B,T,I,H")
    parser.add_argument("--cells", type=listed(str, KINDS), default="lstm,gru,rnn")
    parser.add_argument("--modes", type=listed(str, ("infer", "train")), default="infer,train")
    parser.add_argument("--threads", type=listed(int), default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each of the two, a case")
    parser.add_argument("--models", action="store_true", help="the scripts of examples/torch instead")
    args = parser.parse_args(argv)
    print(f"rekur {rekur.__version__}, ISA {rekur.isa()}, torch {torch.__version__}")
    if args.models:
        scripts(args.threads, args.rounds)
        return 0
    print(f"{'case':44} {'torch µs':>10} {'ours µs':>10} {'ratio':>6}")
    ratios: dict[Case, float] = {}
    for case in cases(args):
        theirs, ours = measure(case, args.seconds, args.rounds)
        ratios[case] = theirs / ours
        print(f"{case!s:44} {theirs * 1e6:10.1f} {ours * 1e6:10.1f} {ratios[case]:6.2f}", flush=True)
    for key in sorted({(c.what, c.cell, c.mode, c.threads) for c in ratios}):
        own = [r for c, r in ratios.items() if (c.what, c.cell, c.mode, c.threads) == key]
        print(f"{key[0]:9} {key[1]:4} {key[2]} {key[3]}t: geometric mean {float(np.exp(np.mean(np.log(own)))):.2f}, "
              f"least {min(own):.2f}")  # fmt: skip
    lost = [c for c, r in ratios.items() if r < 1]
    print("losses: " + ("; ".join(f"{c} {ratios[c]:.2f}" for c in lost) or "none"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
