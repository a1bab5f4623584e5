"""Other libraries' forecasters with their own defaults: fitted once, then given each origin's history."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.contender import PEER, Clock, Contender
from benchmarks.tasks.forecast_baselines import filled
from benchmarks.tasks.scores import LEVELS, forecast_scores
from benchmarks.tasks.series import ForecastTask, Series

Array = NDArray[np.float64]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lightning's bars, lines and files are of no use in a table."""
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "gluonts", "neuralforecast"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        yield


def _frame(task: ForecastTask, parts: list[tuple[str, Series, int]]) -> Any:
    """Long frame of unique_id, ds, y: the rows before an origin of each part, gaps closed (they take none)."""
    import pandas

    frames = [
        pandas.DataFrame({"unique_id": name, "ds": task.times(one, 0, row), "y": filled(one.values[:row])})
        for name, one, row in parts
    ]
    return pandas.concat(frames, ignore_index=True)


def _of_neuralforecast(model: str, steps: int | None = None, **options: Any) -> Contender:
    """steps: at most so many a window; DeepAR's 1,024 windows a step take hours of two cores where they are longer."""

    def run(task: ForecastTask, seed: int, clock: Clock) -> dict[str, float]:
        from neuralforecast import NeuralForecast, losses
        from neuralforecast import models as theirs

        if model == "DeepAR":
            loss = losses.pytorch.DistributionLoss(distribution="StudentT", quantiles=list(LEVELS))
        else:
            loss = losses.pytorch.MQLoss(quantiles=list(LEVELS))
        short = min(len(one.train) for one in task.series) < 5 * task.horizon
        extra = {"start_padding_enabled": True} if short else {}
        with quiet():
            network = getattr(theirs, model)(
                h=task.horizon,
                input_size=-1,
                loss=loss,
                random_seed=seed + 1,
                enable_progress_bar=False,
                logger=False,
                enable_checkpointing=False,
                **extra,
                **options,
            )
            learner = NeuralForecast(models=[network], freq=task.freq)
            train = _frame(task, [(one.id, one, one.origins[0]) for one in task.series])
            with clock.fitting():
                learner.fit(train)
            # Every origin is a series of its own: one call for all, which is how it is quickest. What a network reads
            # of a history is its last steps; 20 horizons of it are more than that.
            parts = [(f"{one.id}@{row:07}", one, row) for one in task.series for row in one.origins]
            tail = _frame(task, parts).groupby("unique_id").tail(20 * task.horizon)
            with clock.predicting():
                forecast = learner.predict(tail)
        columns = [name for name in forecast.columns if name.startswith(model) and name != model]
        table = forecast.sort_values(["unique_id", "ds"])[columns].to_numpy()
        if table.shape[1] != len(LEVELS):
            raise ValueError(f"expected {len(LEVELS)} quantiles, got columns {columns}")
        table = np.sort(table, axis=1).reshape(-1, task.horizon, len(LEVELS))
        rows = {name: k for k, name in enumerate(sorted(name for name, _, _ in parts))}
        quantiles = [np.stack([table[rows[f"{one.id}@{row:07}"]] for row in one.origins]) for one in task.series]
        return forecast_scores(task, quantiles)

    def fits(task: ForecastTask) -> bool:
        return steps is None or 4 * task.horizon <= steps

    return Contender(f"neuralforecast {model}", PEER, run, needs=("neuralforecast", "torch"), fits=fits)


def _gluonts(task: ForecastTask, seed: int, clock: Clock) -> dict[str, float]:
    import lightning.pytorch as lightning
    import pandas
    import torch
    from gluonts.dataset.common import ListDataset
    from gluonts.torch import DeepAREstimator

    def entries(parts: list[tuple[Series, int]]) -> Any:
        items = [
            {"start": pandas.Period(task.times(one, 0, 1)[0], freq=freq), "target": one.values[:row]}
            for one, row in parts
        ]
        return ListDataset(items, freq=freq)

    freq = {"MS": "M", "YS": "Y", "W-SAT": "W-FRI"}.get(task.freq, task.freq)  # of a period, not of a time
    with quiet(), tempfile.TemporaryDirectory() as folder:
        lightning.seed_everything(seed)
        torch.manual_seed(seed)
        estimator = DeepAREstimator(
            freq=freq,
            prediction_length=task.horizon,
            trainer_kwargs={
                "enable_progress_bar": False,
                "logger": False,
                "enable_model_summary": False,
                "default_root_dir": folder,  # its checkpoints
            },
        )
        train = entries([(one, one.origins[0]) for one in task.series])
        with clock.fitting():
            predictor = estimator.train(train)
        tests = entries([(one, row) for one in task.series for row in one.origins])
        with clock.predicting():
            forecasts = list(predictor.predict(tests))
    table = iter(np.stack([one.quantile(level) for level in LEVELS], axis=-1) for one in forecasts)
    return forecast_scores(task, [np.stack([next(table) for _ in one.origins]) for one in task.series])


def _of_statsforecast(model: str, most: int, season: int) -> Contender:
    """Fitted anew at every origin, on at most `most` steps: that is what these are for."""

    def run(task: ForecastTask, seed: int, clock: Clock) -> dict[str, float]:
        from statsforecast import models as theirs

        widths = [20, 40, 60, 80]
        quantiles = []
        for one in task.series:
            found = []
            for row in one.origins:
                history = filled(one.values[:row])[-most:]
                length = task.season if task.season <= season else 1
                learner = getattr(theirs, model)(season_length=length)
                with warnings.catch_warnings(), clock.fitting():
                    warnings.simplefilter("ignore")
                    answer = learner.forecast(history, task.horizon, level=widths)
                low = [answer[f"lo-{width}"] for width in reversed(widths)]
                high = [answer[f"hi-{width}"] for width in widths]
                found.append(np.stack([*low, answer["mean"], *high], axis=-1))
            quantiles.append(np.stack(found))
        return forecast_scores(task, quantiles)

    def fits(task: ForecastTask) -> bool:
        return model != "AutoARIMA" or task.season == 1

    return Contender(f"statsforecast {model}", PEER, run, needs=("statsforecast",), random=False, fits=fits)


CONTENDERS = [
    _of_statsforecast("AutoETS", 1000, 24),
    _of_statsforecast("AutoARIMA", 1000, 24),
    _of_neuralforecast("LSTM"),
    _of_neuralforecast("DeepAR", steps=50),
    Contender("gluonts DeepAR", PEER, _gluonts, needs=("gluonts", "torch", "lightning")),
]
