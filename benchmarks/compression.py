"""What fewer bytes cost in accuracy: the demo's forecaster on its hourly weather, on four ranks.

python -m benchmarks.compression [--ranks 4] [--epochs 12] [--seeds 3]

Ranks are processes that are forked here and talk over sockets (tests/ranks.py), a thread each. The learning rate is the
same for all; of each seed the best validation loss of the epochs counts, as early stopping would keep it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("none", {}),
    ("`int8`", {"compression": "int8"}),
    ("`power_sgd`, rank 4", {"compression": {"name": "power_sgd", "rank": 4}}),
    ("`power_sgd`, rank 1", {"compression": {"name": "power_sgd", "rank": 1}}),
    ("`top_k`, share 0.01", {"compression": {"name": "top_k", "share": 0.01}}),
    ("`top_k`, share 0.001", {"compression": {"name": "top_k", "share": 0.001}}),
    ("`local_steps=8`", {"local_steps": 8}),
    ("`local_steps=32`", {"local_steps": 32}),
]


def fit(transport: Any, windows: Any, settings: dict[str, Any], seed: int, epochs: int) -> list[float]:
    """Validation losses of the epochs on one rank."""
    import rekur
    from rekur.demo.run import Options, build

    with rekur.distributed.DataParallel(transport, **settings).scope():
        options = Options(seed=seed)
        model = build(options.context, windows.train.x.shape[2], options)
    watched = (windows.validation.x, windows.validation.y)
    options_of_fit = {"batch_size": 128, "epochs": epochs, "validation_data": watched, "verbose": 0}
    history = model.fit(windows.train.x, windows.train.y, **options_of_fit)
    found: list[float] = history.history["val_loss"]
    return found


def main() -> None:
    import ranks
    import rekur
    from rekur.data import forecast_windows, load
    from rekur.demo.run import Options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the settings, from 0")
    options = parser.parse_args()
    rekur.set_num_threads(1)
    series = load(Options.dataset)
    neighbours = [load(name) for name in series.neighbours]
    windows = forecast_windows(series, Options.context, Options.horizon, neighbours=neighbours)
    print(f"{len(windows.train.x)} windows, {len(windows.validation.x)} of validation, {options.ranks} ranks")
    print("| | best validation loss | of epoch |")
    print("|---|--:|--:|")
    for number, (name, settings) in enumerate(SETTINGS):
        if options.only and number not in options.only:
            continue
        begun = time.monotonic()
        best, epochs = [], []
        for seed in range(1, options.seeds + 1):
            losses = ranks.run(
                options.ranks, lambda t, s=settings, k=seed: fit(t, windows, s, k, options.epochs), timeout=600
            )[0]
            if not isinstance(losses, list):
                raise SystemExit(f"{name}: {losses}")
            best.append(min(losses))
            epochs.append(int(np.argmin(losses)) + 1)
        spread = f" ({min(best):.4f} to {max(best):.4f})" if len(best) > 1 else ""
        print(f"| {name} | {np.mean(best):.4f}{spread} | {', '.join(map(str, epochs))} |", flush=True)
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
