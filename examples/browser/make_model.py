"""Makes what the page runs: trains a forecaster for a few seconds and writes it as a one-step ONNX model.

    python examples/browser/make_model.py

Writes into ``model/`` beside this file: ``forecaster.onnx``, which takes a sample a step and returns a forecast of the
next ones, and ``check.json``: a signal and what the engine forecasts on it, against which the page checks itself; and
``forecaster.safetensors``, from which ``rekur.load`` goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import rekur
from rekur._files import write_atomic
from rekur.layers import GRU, Dense, Input

HORIZON = 24  # samples forecast ahead
STEPS = 192  # of a training sequence
CHECKED = 96  # steps the page compares


def signals(rng: np.random.Generator, count: int, steps: int) -> np.ndarray:
    """(count, steps): rhythms of 16 to 64 samples with overtones and noise, every fourth with disturbances."""
    period = rng.uniform(15, 68, (count, 1))
    turn = 2 * np.pi * (np.arange(steps) / period + rng.uniform(0, 1, (count, 1)))
    amplitude, overtone = rng.uniform(0.7, 1.2, (count, 1)), rng.uniform(0, 0.6, (count, 1))
    noise = rng.uniform(0, 0.25, (count, 1)) * rng.standard_normal((count, steps))
    signal = amplitude * np.sin(turn) + overtone * np.sin(2 * turn + rng.uniform(0, 2 * np.pi, (count, 1))) + noise
    for row in signal[::4]:
        start = rng.integers(steps - 5)
        row[start : start + 5] += rng.uniform(-2, 2)
    return signal.astype(np.float32)


def main(folder: Path, epochs: int, sequences: int) -> None:
    rng = np.random.default_rng(1)
    data = signals(rng, sequences, STEPS + HORIZON)
    x = data[:, :STEPS, None]
    y = np.lib.stride_tricks.sliding_window_view(data[:, 1:], HORIZON, axis=1)

    signal = Input((None, 1), name="signal")
    hidden = GRU(64, return_sequences=True, name="gru")(signal)
    model = rekur.Model(signal, Dense(HORIZON, name="forecast")(hidden), seed=1)
    model.compile(optimizer=rekur.optimizers.Adam(clipnorm=1.0), loss="mean_squared_error")
    cosine = rekur.callbacks.LearningRateScheduler(lambda epoch, _: 0.005 * (1 + np.cos(np.pi * epoch / epochs)))
    model.fit(x, y, batch_size=16, epochs=epochs, validation_split=0.1, callbacks=cosine)

    folder.mkdir(parents=True, exist_ok=True)
    print(rekur.onnx.export(model, folder / "forecaster.onnx", streaming=True))
    model.save(folder / "forecaster.safetensors")
    checked = signals(rng, 1, CHECKED)
    check = {
        "rekur": rekur.__version__,
        "input": "signal",
        "output": "forecast",
        "horizon": HORIZON,
        "signal": checked[0].tolist(),
        "forecast": model.predict(checked[..., None])[0].tolist(),
    }
    write_atomic(folder / "check.json", json.dumps(check).encode())
    print(f"now serve the folder: python -m http.server --bind localhost --directory {folder.parent}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the page's forecaster and write its model folder.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="the folder to write")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--sequences", type=int, default=2048, help="made to train on")
    options = parser.parse_args()
    main(options.out, options.epochs, options.sequences)
