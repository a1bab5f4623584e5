"""Data-parallel steps on 1, 2 and 4 ranks of this machine against a model of their time, and what it says of 1024.

python -m benchmarks.distributed [--ranks 1 2 4] [--lines 0.0005:125e6] [--models small large]

T(R) = C / R + u + messages, in seconds: C, what the gradients of the whole batch take one rank; u, the update, which
every rank makes; and of messages a latency (alpha), what one costs its sender (omega), and the seconds of a byte
(beta). Only C, u and T on one rank are taken from training itself; alpha, omega and beta are measured by messages
alone. What is predicted for ranks that are not here is thus nothing that was fitted to ranks that are.

Each rank has one thread and a core of its own, as far as there are cores. `--lines DELAY:RATE` adds two hosts, network
namespaces joined by a line of that delay (seconds, each way) and rate (bytes a second); it needs root.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# units, inputs, steps, rows a shard; gradients of some 4 kB to 16 MB
MODELS = {
    "small": (32, 8, 50, 16),
    "medium": (256, 64, 50, 8),
    "large": (1024, 64, 20, 8),
}
SHARDS = 8
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "REKUR_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
# Networks of which the prediction is made: seconds of a message on its way, and seconds of a byte.
NETWORKS = {"10 Gbit/s Ethernet": (30e-6, 1 / 1.1e9), "100 Gbit/s, RDMA": (3e-6, 1 / 11e9)}


def messages(ranks: int, floats: int, net: dict[str, float], shards: int = SHARDS) -> float:
    """Seconds of a step's messages on so many ranks, none of which overlaps with anything."""
    from rekur.distributed._reduce import SMALL
    from rekur.distributed._transport import FEW

    if ranks == 1:
        return 0.0
    alpha, omega, beta = net["alpha"], net["omega"], net["beta"]
    rounds = math.ceil(math.log2(ranks))
    table = 8 * 3 * math.ceil(shards / ranks)  # losses of a rank's shards
    at_once = (ranks - 1) * omega + alpha
    in_turns = rounds * (omega + alpha)
    few = ranks <= FEW
    # Two gatherings: what ranks do next, and their losses.
    gather = 2 * (at_once if few else in_turns) + (ranks - 1) * (5 * 8 + table) * beta
    power = ranks & (ranks - 1) == 0
    if power and floats <= SMALL:
        return gather + in_turns + rounds * 4 * floats * beta
    piece = 2 * (ranks - 1) / ranks * 4 * floats * beta
    return gather + 2 * (in_turns if power and not few else at_once) + piece


def model(name: str) -> Any:
    import rekur
    from rekur import layers

    units, inputs, _, _ = MODELS[name]
    made = rekur.Sequential([rekur.Input((None, inputs)), layers.LSTM(units), layers.Dense(1)], seed=1)
    made.compile("adam", "mse")
    return made


def data(name: str, shards: int = SHARDS) -> tuple[Any, Any]:
    _, inputs, steps, rows = MODELS[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows * shards, steps, inputs)).astype(np.float32)
    return x, rng.normal(size=(rows * shards, 1)).astype(np.float32)


def median_of(call: Any, seconds: float) -> float:
    """Median seconds of a call, all of which take so long together; all ranks make as many."""
    call()
    begun = time.perf_counter()
    call()
    times = []
    for _ in range(_most(max(5, min(400, int(seconds / max(time.perf_counter() - begun, 1e-6)))))):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def step_of(name: str, seconds: float) -> float:
    """Median seconds from one step of a fit to the next."""
    from rekur.callbacks import Callback

    class Watch(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            times.append(time.perf_counter())

    trained = model(name)
    x, y = data(name)
    times: list[float] = []
    batches = 4
    while True:
        times.clear()
        rows = len(x) * batches
        trained.fit(
            np.resize(x, (rows, *x.shape[1:])), np.resize(y, (rows, 1)), batch_size=len(x), epochs=1, shuffle=False,
            verbose=0, callbacks=[Watch()],
        )  # fmt: skip
        found = float(np.median(np.diff(times)))
        more = _most(max(10, min(400, int(seconds / found))))
        if batches >= more:
            return found
        batches = more


def _most(count: int) -> int:
    """The largest of all ranks' numbers."""
    return int(max(each[0] for each in _parallel().transport.gather(np.array([count], np.int64))))


def _parallel() -> Any:
    import rekur

    return rekur.distributed.distribution()


def rank(names: list[str], ping: bool) -> dict[str, Any]:
    """What one rank measures."""
    import rekur

    parallel = rekur.distributed.DataParallel(shards=SHARDS, timeout=120)
    rekur.distributed.set_distribution(parallel)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[parallel.rank % len(cores)]})
    found: dict[str, Any] = {"ranks": parallel.size}
    for name in names:
        trained = model(name)
        found[name] = {"step": step_of(name, 4.0), "floats": trained.count_params()}
        if parallel.size == 1:
            x, y = data(name)
            trained.train_on_batch(x, y)
            bound = trained._bound
            sums = np.zeros(bound.trainer.sums_size(), np.float32)
            found[name]["update"] = median_of(lambda bound=bound, sums=sums: bound.trainer.finish(sums), 0.5)
    if ping and parallel.size >= 2:
        found["net"] = network(parallel.transport)
    return found


def network(transport: Any) -> dict[str, float]:
    """alpha, omega and beta of messages between ranks 0 and 1."""

    def swap(size: int, count: int) -> float:
        sent, got = np.zeros(size, np.uint8), [np.empty(size, np.uint8) for _ in range(count)]

        def once() -> None:
            if transport.rank < 2:
                other = 1 - transport.rank
                transport.exchange([(other, sent)] * count, [(other, each) for each in got])

        return median_of(once, 1.5)

    one, many = swap(8, 1), swap(8, 32)
    omega = max((many - one) / 31, 0.0)
    large = 1 << 22
    beta = max((swap(large, 1) - one) / large, 0.0)
    return {"alpha": max(one - omega, 0.0), "omega": omega, "beta": beta}


def run(ranks: int, names: list[str], line: tuple[float, float] | None = None) -> dict[str, Any]:
    """What rank 0 of so many has measured; `line`: on two hosts."""
    mpiexec = shutil.which("mpiexec")
    if mpiexec is None:
        raise SystemExit("no mpiexec: install an MPI, such as Debian's openmpi-bin")
    environment = {**os.environ, **ENVIRONMENT}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "python"), environment.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        work = [sys.executable, "-m", "benchmarks.distributed", "--as-rank", str(out), "--models", *names]
        if line is None:
            subprocess.run([mpiexec, "-n", str(ranks), *work], env=environment, check=True, cwd=ROOT, timeout=600)
        else:
            sys.path.insert(0, str(ROOT / "tests"))
            import network as hosts_of_our_own

            with hosts_of_our_own.Hosts(delay=line[0], rate=line[1]) as hosts:
                command = hosts.mpiexec(Path(folder), mpiexec, ranks, ["PYTHONPATH", *ENVIRONMENT])
                subprocess.run([*command, *work], env=environment, check=True, cwd=ROOT, timeout=600)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def table(names: list[str], counts: list[int], lines: list[tuple[float, float]]) -> None:
    """Measure, and print what docs/distributed.md has."""
    alone = run(1, names)
    cores = len(os.sched_getaffinity(0))
    print("| model | ranks | between | step, ms | the model says | of one rank's speed |")
    print("|---|--:|---|--:|--:|--:|")
    begun = [(count, None) for count in counts if count > 1] + [(2, line) for line in lines]
    net: dict[str, float] = {}
    for count, line in [(1, None), *begun]:
        found = alone if count == 1 else run(count, names, line)
        net = found.get("net", net)
        where = "-" if count == 1 else "memory" if line is None else f"{line[0] * 1e3:g} ms, {line[1] * 8e-6:g} Mbit/s"
        for name in names:
            one, seen = alone[name], found[name]
            compute = (one["step"] - one["update"]) / min(count, cores)
            update = one["update"] * max(1.0, count / cores)
            said = compute + update + messages(count, one["floats"], net)
            print(
                f"| {name}, {4 * one['floats'] / 1e6:.2g} MB | {count} | {where} | {1e3 * seen['step']:.2f} | "
                f"{1e3 * said:.2f} | {one['step'] / seen['step']:.2f} |"
            )
        if count > 1:
            told = f"alpha {1e6 * net['alpha']:.0f} µs, omega {1e6 * net['omega']:.1f} µs, "
            print(f"({count} ranks, {where}: {told}1 / beta {1e-6 / max(net['beta'], 1e-15):.0f} MB/s)")
        if count == 2 and line is None:
            here = net
    print("\nEfficiency with one shard a rank, whose rows stay as many (weak scaling), and every message waited for:\n")
    print("| model, network | step of one rank, ms | 8 | 64 | 1024 ranks |")
    print("|---|--:|--:|--:|--:|")
    omega = here["omega"] if counts != [1] else 3e-6
    for name in names:
        one = alone[name]
        own = (one["step"] - one["update"]) / SHARDS + one["update"]
        for title, (alpha, beta) in NETWORKS.items():
            far = {"alpha": alpha, "omega": omega, "beta": beta}
            cells = [f"{own / (own + messages(r, one['floats'], far, r)):.2f}" for r in (8, 64, 1024)]
            print(f"| {name}, {title} | {1e3 * own:.2f} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--lines", nargs="*", default=[], metavar="DELAY:RATE")
    parser.add_argument("--as-rank", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        found = rank(options.models, ping=True)
        if _parallel().writes:
            options.as_rank.write_text(json.dumps(found))
        return
    lines = [(float(delay), float(rate)) for delay, rate in (line.split(":") for line in options.lines)]
    table(options.models, options.ranks, lines)


if __name__ == "__main__":
    main()
