"""`rekur.tasks.Forecaster` as it comes: horizon, columns and the season are all that it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.contender import OURS, Clock, Contender
from benchmarks.tasks.scores import LEVELS, forecast_scores
from benchmarks.tasks.series import ForecastTask, Series


def columns(task: ForecastTask, parts: list[tuple[str, Series, int]], last: int | None = None) -> dict[str, Any]:
    """A table of the rows before an origin of each part, the last ones of them, as a dict of columns."""
    begins = [0 if last is None else max(0, row - last) for _, _, row in parts]
    return {
        "series": np.concatenate([[name] * (row - begin) for begin, (name, _, row) in zip(begins, parts, strict=True)]),
        "time": np.concatenate(
            [task.times(one, begin, row) for begin, (_, one, row) in zip(begins, parts, strict=True)]
        ),
        "value": np.concatenate([one.values[begin:row] for begin, (_, one, row) in zip(begins, parts, strict=True)]),
    }


def quantiles(task: ForecastTask, model: Any) -> list[NDArray[np.float64]]:
    """Forecasts from every origin in one call, each origin a series that the model has not seen: (origins, H, 9)."""
    parts = [(f"{one.id}@{row:07}", one, row) for one in task.series for row in one.origins]
    last = 2 * max(task.season, task.horizon, int(model.plan_["context"]))
    table = model.predict_quantiles(columns(task, parts, last), quantiles=LEVELS)
    order = np.lexsort((table["time"], table["series"]))
    whole = np.stack([np.asarray(table[f"value {level:g}"], float)[order] for level in LEVELS], axis=-1)
    whole = whole.reshape(len(parts), task.horizon, len(LEVELS))
    place = {name: k for k, name in enumerate(sorted(name for name, _, _ in parts))}
    return [np.stack([whole[place[f"{one.id}@{row:07}"]] for row in one.origins]) for one in task.series]


def fitted(task: ForecastTask, seed: int, clock: Clock) -> Any:
    from rekur.tasks import Forecaster

    model = Forecaster(
        task.horizon, time="time", target="value", series="series", season=task.season, random_state=seed
    )
    train = columns(task, [(one.id, one, one.origins[0]) for one in task.series])
    with clock.fitting():
        model.fit(train)
    return model


def _run(task: ForecastTask, seed: int, clock: Clock) -> dict[str, float]:
    model = fitted(task, seed, clock)
    with clock.predicting():
        answer = quantiles(task, model)
    return forecast_scores(task, answer)


CONTENDERS = [Contender("rekur Forecaster", OURS, _run)]
