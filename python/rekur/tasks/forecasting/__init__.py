"""Forecasts: :class:`Forecaster`, scores, baselines, calibration."""

from rekur.tasks.forecasting import baselines, conformal, distributions, scores
from rekur.tasks.forecasting._forecaster import Forecaster

__all__ = ["Forecaster", "baselines", "conformal", "distributions", "scores"]
