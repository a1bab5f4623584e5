"""`python -m benchmarks.tasks.latency`: how long a fitted estimator takes for one answer, beside its engine and peers.

Each in turns with the others of its line, one thread; the median of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.tasks.contender import Contender
from benchmarks.tasks.forecast_peers import quiet
from benchmarks.turns import Turn, in_turns

Calls = dict[str, Callable[[], object]]
HOURS = 24 * 40


def _hourly() -> np.ndarray[Any, Any]:
    """A day's wave with noise: what is in the numbers makes no difference to the time."""
    hours = np.arange(HOURS)
    return 10 + 5 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(0).normal(0, 1, HOURS)


def forecasting(peers: bool) -> Calls:
    """24 hours ahead of a series of 40 days."""
    from rekur.tasks import Forecaster

    values = _hourly()
    times = np.datetime64("2024-01-01", "h") + np.arange(HOURS)
    model = Forecaster(24, season=24, epochs=1, random_state=0).fit(values)
    dated = Forecaster(24, season=24, epochs=1, random_state=0, time="time", target="value")
    dated.fit({"time": times, "value": values})
    inputs = _inputs_of(model, values)
    calls: Calls = {
        "rekur engine alone": lambda: model.models_[0].predict(inputs, verbose=0),
        "rekur Forecaster.predict(), after the training data": lambda: model.predict(),
        "rekur Forecaster.predict(array)": lambda: model.predict(values),
        "rekur Forecaster.predict(table with times)": lambda: dated.predict({"time": times, "value": values}),
    }
    if peers and not Contender("", "", lambda a, b, c: {}, ("neuralforecast",)).missing():
        import pandas
        import torch
        from neuralforecast import NeuralForecast
        from neuralforecast.models import LSTM

        torch.set_num_threads(1)
        frame = pandas.DataFrame({"unique_id": "a", "ds": times.astype("datetime64[ns]"), "y": values})
        with quiet():
            options = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
            theirs = NeuralForecast([LSTM(h=24, max_steps=2, **options)], freq="h")
            theirs.fit(frame)
        calls["neuralforecast LSTM predict(frame)"] = lambda: theirs.predict(frame)
    return calls


def _inputs_of(model: Any, values: Any) -> Any:
    """What the network is given for the end of a series: found by watching one call."""
    seen: list[Any] = []
    inner = model.models_[0]
    original = type(inner).predict

    def watching(self: Any, x: Any, *rest: Any, **options: Any) -> Any:
        seen.append(x)
        return original(self, x, *rest, **options)

    type(inner).predict = watching
    try:
        model.predict(values)
    finally:
        type(inner).predict = original
    return seen[0]


def classification(peers: bool) -> Calls:
    """One sequence of 150 steps."""
    from rekur.tasks import SequenceClassifier

    generator = np.random.default_rng(0)
    sequences = generator.normal(size=(20, 150, 1)).astype(np.float32)
    labels = np.array(["a", "b"] * 10)
    model = SequenceClassifier(epochs=1, random_state=0).fit(sequences, labels)
    one = sequences[:1]
    calls: Calls = {
        "rekur engine alone": lambda: model.models_[0].predict(one, verbose=0),
        "rekur SequenceClassifier.predict": lambda: model.predict(one),
    }
    if peers and not Contender("", "", lambda a, b, c: {}, ("sktime", "torch")).missing():
        import torch
        from sktime.classification.deep_learning.lstmfcn import LSTMFCNClassifierTorch

        torch.set_num_threads(1)
        theirs = LSTMFCNClassifierTorch(num_epochs=1, random_state=0)
        theirs.fit(sequences.transpose(0, 2, 1).astype(float), labels)
        theirs_one = one.transpose(0, 2, 1).astype(float)
        calls["sktime LSTM-FCN predict"] = lambda: theirs.predict(theirs_one)
    return calls


def anomalies(peers: bool) -> Calls:
    """One more step of a signal, live."""
    from rekur.tasks import AnomalyDetector

    signal = _hourly()
    model = AnomalyDetector(epochs=1, random_state=0).fit(signal)
    stream = model.stream()
    calls: Calls = {"rekur AnomalyDetector.stream, a step": lambda: stream.update(10.0)}
    if peers and not Contender("", "", lambda a, b, c: {}, ("river",)).missing():
        from river import anomaly

        trees = anomaly.HalfSpaceTrees(seed=0)
        for value in signal:
            trees.learn_one({0: value / 20})

        def step() -> None:
            trees.score_one({0: 0.5})
            trees.learn_one({0: 0.5})

        calls["river HalfSpaceTrees, a step"] = step
    return calls


LINES = {"forecasting": forecasting, "classification": classification, "anomalies": anomalies}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(LINES), default=list(LINES))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each, over all rounds (default 2)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args(arguments)
    print("| | time of one answer |\n|---|--:|")
    for name in given.only:
        calls = LINES[name](given.peers)
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            times = in_turns({key: Turn(call) for key, call in calls.items()}, given.seconds, given.rounds)
        for key, seconds in times.items():
            value = statistics.median(seconds)
            print(f"| {key} | {value * 1e3:.3f} ms |" if value < 1 else f"| {key} | {value:.2f} s |")
    loads = [_import_time() for _ in range(3)]
    print(f"| import rekur.tasks, Forecaster, in a new process | {min(loads) * 1e3:.0f} ms |")
    return 0


def _import_time() -> float:
    code = "import time; t = time.perf_counter(); from rekur.tasks import Forecaster; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    raise SystemExit(main())
