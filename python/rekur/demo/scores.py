"""How good a forecast is, in degrees, beside the naive ones on the very same targets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekur.data import Part

_Forecast = NDArray[np.float64]
HOURS = (1, 6, 12, 24)  # shown one by one


@dataclass(frozen=True)
class Score:
    """Errors of a forecast of shape (B, horizon), in °C."""

    mae: float
    rmse: float
    by_hour: NDArray[np.float64]  # (horizon,): mean absolute error of each hour ahead

    @classmethod
    def of(cls, forecast: _Forecast, target: _Forecast) -> "Score":
        error = forecast - target
        by_hour: NDArray[np.float64] = np.abs(error).mean(axis=0)
        return cls(float(np.abs(error).mean()), float(np.sqrt((error**2).mean())), by_hour)

    def skill(self, naive: "Score") -> float:
        """Share of the naive forecast's mean absolute error that is gone, in percent."""
        return 100 * (1 - self.mae / naive.mae)


def scores(forecast: _Forecast, part: Part) -> dict[str, Score]:
    """The model's score, and those of two forecasts that need no model."""
    latest = np.broadcast_to(part.latest[:, None], part.target.shape)
    return {
        "rekur LSTM": Score.of(forecast, part.target),
        "same hour yesterday": Score.of(part.yesterday, part.target),
        "latest reading": Score.of(latest, part.target),
    }


def table(all_scores: Mapping[str, Score]) -> list[str]:
    """Lines of a table: a row a forecast, the first one's skill against each of the others."""
    model = next(iter(all_scores.values()))
    horizon = len(model.by_hour)
    hours = [hour for hour in HOURS if hour <= horizon]
    head = f"{'':22}{'MAE':>8}{'RMSE':>8}   " + "".join(f"{f'+{hour} h':>7}" for hour in hours) + f"{'skill':>9}"
    lines = [head]
    for name, score in all_scores.items():
        ahead = "".join(f"{score.by_hour[hour - 1]:7.2f}" for hour in hours)
        skill = "" if score is model else f"{model.skill(score):8.1f}%"
        lines.append(f"{name:22}{score.mae:8.3f}{score.rmse:8.3f}   {ahead}{skill}")
    return lines
