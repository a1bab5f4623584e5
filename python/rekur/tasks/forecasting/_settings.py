"""The parameters of a forecaster, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rekur._validate import boolean, did_you_mean, integer, optional_integer, real
from rekur.tasks.forecasting._network import recurrent_layer
from rekur.tasks.forecasting.distributions import FAMILIES, Family

WHO = "Forecaster"
OUTPUTS = ("quantiles", "point", "mean", *FAMILIES)


@dataclass(frozen=True)
class Settings:
    """What ``fit`` works with."""

    horizon: int
    context: int | None
    season: int | None
    output: str
    quantiles: list[float]
    calibrate: bool
    units: tuple[int, ...]
    cell: Any
    dropout: float
    epochs: int
    batch_size: int
    windows_per_epoch: int
    learning_rate: float
    validation_fraction: float
    patience: int | None
    ensemble: int
    verbose: int

    @property
    def family(self) -> Family | None:
        """Of distributions, where the output is one."""
        return FAMILIES.get(self.output)

    @property
    def options(self) -> dict[str, Any]:
        """Of the network."""
        return {"units": self.units, "cell": self.cell, "dropout": self.dropout}


def check(given: Any) -> Settings:
    """The parameters of an estimator.

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, what was expected and what came.
    """

    def name(parameter: str) -> str:
        return f"{WHO}: {parameter}"

    output = given.output
    if not isinstance(output, str) or output not in OUTPUTS:
        hint = did_you_mean(output, OUTPUTS) if isinstance(output, str) else ""
        raise ValueError(f"{name('output')} must be one of {', '.join(OUTPUTS)}, got {output!r}{hint}")
    share = real(given.validation_fraction, name("validation_fraction"), 0, 1)
    if share >= 1:
        raise ValueError(f"{name('validation_fraction')} must be below 1, got {given.validation_fraction!r}")
    dropout = real(given.dropout, name("dropout"), 0, 1)
    if dropout >= 1:
        raise ValueError(f"{name('dropout')} must be below 1, got {given.dropout!r}")
    rate = real(given.learning_rate, name("learning_rate"), 0)
    if rate == 0:
        raise ValueError(f"{name('learning_rate')} must be above 0, got {given.learning_rate!r}")
    recurrent_layer(given.cell, 1)
    return Settings(
        horizon=integer(given.horizon, name("horizon")),
        context=optional_integer(given.context, name("context")),
        season=optional_integer(given.season, name("season")),
        output=output,
        quantiles=[0.5] if output in ("point", "mean") else levels(given.quantiles, name("quantiles")),
        calibrate=boolean(given.calibrate, name("calibrate")),
        units=sizes(given.units, name("units")),
        cell=given.cell,
        dropout=dropout,
        epochs=integer(given.epochs, name("epochs")),
        batch_size=integer(given.batch_size, name("batch_size")),
        windows_per_epoch=integer(given.windows_per_epoch, name("windows_per_epoch")),
        learning_rate=rate,
        validation_fraction=share,
        patience=optional_integer(given.patience, name("patience")),
        ensemble=integer(given.ensemble, name("ensemble")),
        verbose=integer(given.verbose, name("verbose"), 0),
    )


def sizes(value: Any, what: str) -> tuple[int, ...]:
    """One size, or several, as a tuple of at least one."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError(f"{what} must be a number or several, got {value!r}")
        return tuple(integer(item, what) for item in value)
    return (integer(value, what),)


def levels(value: Sequence[float], what: str) -> list[float]:
    """Quantiles, ascending, each once, with the median among them."""
    try:
        found = sorted({float(q) for q in np.asarray(value, np.float64).reshape(-1)} | {0.5})
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be numbers between 0 and 1, got {value!r}") from None
    if not np.ndim(value) or not len(value) or not all(0 < q < 1 for q in found):
        raise ValueError(f"{what} must be numbers between 0 and 1, got {value!r}")
    return found


def level(value: Any, what: str) -> float:
    """A level of a quantile, or a coverage: between 0 and 1, neither of them, since they would have no bound."""
    number = real(value, what)
    if not 0 < number < 1:
        raise ValueError(f"{what} must be above 0 and below 1, got {value!r}")
    return number
