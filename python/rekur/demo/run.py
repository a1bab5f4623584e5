"""The demo itself: read, train, score, save, export, verify, draw."""

import csv
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur._files import write_atomic
from rekur.data import Hourly, Part, Windows, forecast_windows, load
from rekur.demo.plot import draw
from rekur.demo.scores import Score, scores, table

TOLERANCE = 1e-3  # °C, between the engine's and onnxruntime's forecasts


@dataclass(frozen=True)
class Options:
    """What ``rekur demo`` may be told. ``limit`` keeps the last so many hours of the series (0: all)."""

    out: Path = Path("rekur-demo")
    dataset: str = "jfk"
    epochs: int = 20
    seed: int = 1
    quiet: bool = False
    limit: int = 0
    context: int = 72
    horizon: int = 24
    units: int = 96


@dataclass(frozen=True)
class Result:
    """What came out. ``scores`` are on the test part, in °C; ``onnx_mae`` is the same error computed by onnxruntime."""

    scores: dict[str, Score]
    onnx_mae: float
    onnx_difference: float
    files: dict[str, Path] = field(default_factory=dict)
    seconds: float = 0.0


def build(context: int, features: int, options: Options) -> rekur.Sequential:
    """An LSTM that reads ``context`` hours and says how far each of the next ones is from the last reading."""
    layers = rekur.layers
    model = rekur.Sequential(
        [
            layers.LSTM(options.units, input_shape=(context, features)),
            layers.Dropout(0.3),
            layers.Dense(options.horizon),
        ],
        name="forecaster",
        seed=options.seed,
    )
    optimizer = rekur.optimizers.Adam(learning_rate=1e-3, global_clipnorm=1.0)
    model.compile(optimizer=optimizer, loss="mean_absolute_error", seed=options.seed)
    return model


def run(options: Options) -> Result:
    """Everything, step by step; prints as it goes unless ``options.quiet``.

    Raises ``rekur.data.MissingData`` or ImportError when an extra is not installed, OSError when the folder cannot be
    written and ``rekur.onnx.VerificationError`` when onnxruntime disagrees.
    """
    say: Callable[[str], None] = (lambda text: None) if options.quiet else (lambda text: print(text, flush=True))
    import matplotlib  # noqa: F401 - asked for before a minute of training, not after

    begin = time.monotonic()
    series = load(options.dataset)
    if options.limit:
        series = series.last(options.limit)
    options.out.mkdir(parents=True, exist_ok=True)
    neighbours = [load(name) for name in series.neighbours]
    if options.limit:
        neighbours = [other.last(options.limit) for other in neighbours]
    windows = forecast_windows(series, options.context, options.horizon, neighbours=neighbours)
    _introduce(series, windows, options, say)

    model = build(options.context, windows.train.x.shape[2], options)
    stop = rekur.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
    history = model.fit(
        windows.train.x,
        windows.train.y,
        batch_size=128,
        epochs=options.epochs,
        validation_data=(windows.validation.x, windows.validation.y),
        callbacks=[stop],
        verbose=0 if options.quiet else 1,
    )
    sys.stderr.flush()
    best = int(np.argmin(history.history["val_loss"])) + 1
    say(f"Kept the weights of epoch {best} of {len(history.epoch)}: the best on the validation part.\n")

    test = windows.test
    forecast = windows.degrees(test, model.predict(test.x, batch_size=256))
    results = scores(forecast, test)
    _report_scores(results, test, say)

    files = {
        "model": options.out / "forecaster.safetensors",
        "onnx": options.out / "forecaster.onnx",
        "plot": options.out / "forecast.png",
        "table": options.out / "forecasts.csv",
    }
    model.save(files["model"])
    report = rekur.onnx.export(model, files["onnx"])
    through_onnx = windows.degrees(test, _run_onnx(files["onnx"], test.x))
    difference = float(np.abs(through_onnx - forecast).max())
    onnx_mae = Score.of(through_onnx, test.target).mae
    if not difference <= TOLERANCE:
        raise rekur.onnx.VerificationError(f"onnxruntime's forecasts differ from the engine's by {difference:.3g} °C")
    assert report.verification is not None
    say("ONNX, run by onnxruntime:")
    say(f"  {report.verification.cases} made-up cases: largest difference {report.largest_difference:.2g}")
    say(f"  the whole test part: MAE {onnx_mae:.3f} °C, largest difference {difference:.2g} °C\n")

    draw(files["plot"], series, test, forecast, results)
    _write_csv(files["table"], series, test, forecast)
    seconds = time.monotonic() - begin
    say(f"Written in {seconds:.0f} s:")
    for path in files.values():
        say(f"  {path.resolve()}  ({path.stat().st_size / 1024:.0f} KB)")
    return Result(results, onnx_mae, difference, files, seconds)


def _introduce(series: Hourly, windows: Windows, options: Options, say: Callable[[str], None]) -> None:
    first, last = series.time(0), series.time(len(series) - 1)
    say(f"{series.title}: {series.source}")
    note = f", {series.spikes} failed readings taken out" if series.spikes else ""
    missing = f"{series.missing} without a reading" if series.missing != 1 else "one without a reading"
    say(f"  {len(series):,} hours from {first:%d %B %Y} to {last:%d %B %Y}, {missing}{note}")
    say(f"  task: the next {options.horizon} hours of temperature from the last {options.context} hours of")
    say(f"        {', '.join(windows.scaling.names)}")
    for label, part in (("train", windows.train), ("validation", windows.validation), ("test", windows.test)):
        begin, end = series.time(int(part.row[0])), series.time(int(part.row[-1]) + options.horizon - 1)
        also = f", with those of {', '.join(series.neighbours)}" if label == "train" and series.neighbours else ""
        say(f"  {label:10} {len(part):6,} windows{also}, forecasting {begin:%d %b} to {end:%d %b}")
    say(f"  engine: {rekur.isa()}, {rekur.num_threads()} threads; seed {options.seed}\n")


def _report_scores(results: dict[str, Score], test: Part, say: Callable[[str], None]) -> None:
    say(f"Test part, {test.target.size:,} forecast hours that training never saw; errors in °C")
    for line in table(results):
        say(f"  {line}")
    say("")


def _run_onnx(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pieces = [session.run(None, {name: x[i : i + 256]})[0] for i in range(0, len(x), 256)]
    return np.concatenate(pieces)


def _write_csv(path: Path, series: Hourly, part: Part, forecast: NDArray[np.float64]) -> None:
    """One forecast a day, at the hour of the first test window: a row for each hour ahead."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["issued", "hours_ahead", "time", "observed_c", "forecast_c", "same_hour_yesterday_c"])
    for index in range(len(part)):
        row = int(part.row[index])
        if (row - int(part.row[0])) % 24:
            continue
        issued = series.time(row - 1).isoformat(" ", "minutes")
        for hour in range(forecast.shape[1]):
            values = (part.target[index, hour], forecast[index, hour], part.yesterday[index, hour])
            when = series.time(row + hour).isoformat(" ", "minutes")
            writer.writerow([issued, hour + 1, when, *(f"{value:.2f}" for value in values)])
    write_atomic(path, stream.getvalue().encode())
