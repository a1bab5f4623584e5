"""A search on the demo's hourly weather: a better forecast at half the demo's latency.

    python -m benchmarks.tune [--trials 60] [--seeds 5] [--folder DIR] [--workers 1]

The demo's network is trained as the demo does it. The budget is half of what one forecast of it takes, and half of a
step of its stream. Models are chosen by the validation part alone. Then the network that was found and the demo's are
trained anew from other seeds, and all of them meet the test part, which nothing has seen before.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import rekur
from rekur import tune
from rekur.data import Windows, forecast_windows, load
from rekur.demo.run import Options, build
from rekur.demo.scores import Score

DATASET = "jfk"
EPOCHS, PATIENCE, BATCH = 20, 3, 128


def data() -> Windows:
    """The demo's windows."""
    series, given = load(DATASET), Options()
    return forecast_windows(series, given.context, given.horizon, neighbours=[load(n) for n in series.neighbours])


def error(model: Any, windows: Windows) -> float:
    """Mean absolute error on the test part, in °C."""
    x = windows.test.x[:, -model.input_shape[1] :]
    forecast = windows.degrees(windows.test, model.predict(x, batch_size=256))
    return Score.of(forecast, windows.test.target).mae


def train(model: Any, windows: Windows, batch: int) -> float:
    """As the demo does; the least loss on the validation part."""
    steps = model.input_shape[1]
    stop = rekur.callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True)
    held = (windows.validation.x[:, -steps:], windows.validation.y)
    x = windows.train.x[:, -steps:]
    history = model.fit(
        x, windows.train.y, batch_size=batch, epochs=EPOCHS, validation_data=held, callbacks=[stop], verbose=0
    )
    return float(min(history.history["val_loss"]))


def space(windows: Windows) -> tune.Recurrent:
    """What is searched."""
    _, steps, features = windows.train.x.shape
    return tune.Recurrent(
        (steps, features),
        windows.train.y.shape[1],
        cell=["lstm", "gru", "mgu", "janet"],
        units=(16, 96),
        layers=(1, 3),
        linear=False,  # it would have to see the whole window, and could not go step by step
        window=[24, 36, 48, 72],
        dropout=(0.0, 0.6),
        learning_rate=(3e-4, 1e-2),
        batch_size=[64, 128, 256],
        loss="mean_absolute_error",
    )


def grow(windows: Windows, budget: dict[str, float], folder: Path | None) -> None:
    """From a GRU of 4 units on."""
    begin = time.monotonic()
    rekur.set_random_seed(1)
    small = {"cell": "gru", "layers": 1, "units": 4, "skips": False, "dropout": 0.1, "window": 48}
    model, own = space(windows).of({**small, "learning_rate": 1e-3, "batch_size": BATCH})
    grown = tune.grow(
        model,
        windows.train.x,
        windows.train.y,
        validation_data=(windows.validation.x, windows.validation.y),
        budget=budget,
        folder=folder,
        seed=1,
        **own,
    )
    print(f"{grown}\n{time.monotonic() - begin:.0f} s\n")
    for number in (0, grown.best.number):
        print(f"the model of trial {number}: test MAE {error(grown.model(number), windows):.3f} °C")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5, help="trainings of either network from other seeds")
    parser.add_argument("--folder", type=Path, help="keep the search here, and go on with it")
    parser.add_argument("--grow", action="store_true", help="let a small network grow instead")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    windows = data()
    demo = build(windows.train.x.shape[1], windows.train.x.shape[2], Options())
    budget = {"latency": tune.latency(demo) / 2, "step": tune.step(demo) / 2}
    print(f"the demo's network: {1e6 * tune.latency(demo):.1f} µs a forecast, {1e9 * tune.step(demo):.0f} ns a step")
    begin = time.monotonic()
    if options.grow:
        grow(windows, budget, options.folder)
        return
    found = tune.search(
        space(windows),
        windows.train.x,
        windows.train.y,
        validation_data=(windows.validation.x, windows.validation.y),
        budget=budget,
        trials=options.trials,
        epochs=EPOCHS,
        patience=PATIENCE,
        folder=options.folder,
        workers=options.workers,
        seed=1,
    )
    print(f"{found}\n{time.monotonic() - begin:.0f} s\n")
    print(f"the model of trial {found.best.number}: test MAE {error(found.best_model, windows):.3f} °C")
    rows: dict[str, list[tuple[float, float]]] = {"demo": [], "found": []}
    for seed in range(1, options.seeds + 1):
        rekur.set_random_seed(1000 + seed)
        ours, own = space(windows).of(found.best.params)
        theirs = build(windows.train.x.shape[1], windows.train.x.shape[2], Options(seed=seed))
        rows["demo"].append((train(theirs, windows, BATCH), error(theirs, windows)))
        rows["found"].append((train(ours, windows, own["batch_size"]), error(ours, windows)))
    print(f"{'':8}{'latency':>9}{'validation loss':>17}{'test MAE, °C':>14}   of {options.seeds} seeds")
    for name, model in (("demo", demo), ("found", found.best_model)):
        losses, errors = np.array(rows[name]).T
        print(f"{name:8}{1e6 * tune.latency(model):6.1f} µs{losses.mean():17.4f}{errors.mean():14.3f}   ", end="")
        print(" ".join(f"{each:.3f}" for each in errors))


if __name__ == "__main__":
    main()
