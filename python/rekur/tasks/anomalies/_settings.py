"""A detector's parameters, checked, and with data at hand nothing left open."""

from typing import Any

from rekur import cells, layers
from rekur._validate import did_you_mean, integer, rate, real, share
from rekur.tasks.anomalies._networks import Design
from rekur.tasks.anomalies._times import per_step as rate_of_text

METHODS = ("forecast", "reconstruction", "nearest")
_WINDOW = 32
_SMOOTHING = 16
LEAST_STEPS = 8  # that a detector learns from


def methods(given: Any, who: str) -> tuple[str, ...]:
    """The methods by name; "auto" are the two that find most together."""
    if isinstance(given, str):
        if given == "auto":
            return ("forecast", "nearest")
        given = (given,)
    if not isinstance(given, (list, tuple)) or not given:
        raise TypeError(f"{who}: method: expected 'auto', a method or several, got {given!r:.80}")
    for name in given:
        if name not in METHODS:
            known = ("auto", *METHODS)
            raise ValueError(f"{who}: method: unknown method {name!r:.60}{did_you_mean(name, known)}; known: {known}")
    if len(set(given)) != len(given):
        raise ValueError(f"{who}: method: the same method twice: {tuple(given)!r}")
    return tuple(given)


def recurrent_layer(cell: Any, who: str) -> Any:
    """What makes a recurrent layer of so many units, of a cell's name or a cell."""
    if isinstance(cell, str):
        known = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}
        if cell.lower() in known:
            return known[cell.lower()]
        if not cell.startswith("_") and hasattr(cells, cell):
            found = getattr(cells, cell)
            return lambda units, **options: layers.RNN(found, units, **options)
        names = [*known, *(name for name in dir(cells) if not name.startswith("_"))]
        raise ValueError(f"{who}: cell: unknown cell {cell!r:.60}{did_you_mean(cell, names)}")
    return lambda units, **options: layers.RNN(cell, units, **options)


def design(estimator: Any, who: str, steps: int) -> Design:
    """The settings for training data whose longest series has so many steps; :func:`check_training` comes before."""
    units = estimator.units
    stack = tuple(units) if isinstance(units, (list, tuple)) else (units,)
    if not stack:
        raise ValueError(f"{who}: units: expected at least one recurrent layer, got {units!r}")
    stack = tuple(integer(each, f"{who}: units") for each in stack)
    chosen = methods(estimator.method, who)
    trained = steps - int(steps * estimator.validation_fraction)
    # Of a window that is only compared all steps may be trained on; a network needs one step behind it.
    most = trained if chosen == ("nearest",) else trained - 1
    part = (
        f"{trained} of the {steps} steps of the longest series are trained on (validation_fraction holds out the rest)"
    )
    window = estimator.window
    if most < 2:
        raise ValueError(f"{who}: validation_fraction: {estimator.validation_fraction!r} leaves too little: {part}")
    if window is None:
        window = max(2, min(_WINDOW, steps // 8, most))
    else:
        window = integer(window, f"{who}: window", 2)
        if window > steps:
            raise ValueError(f"{who}: window: {window} steps, but the longest series has {steps}")
    season = 0 if estimator.season is None else integer(estimator.season, f"{who}: season", 1)
    if 2 * season > steps:
        raise ValueError(f"{who}: season: {season} steps, but the longest series has {steps}: two seasons are needed")
    if window > most:
        raise ValueError(f"{who}: window: {window} steps, but {part}: at most {most}")
    horizon = integer(estimator.horizon, f"{who}: horizon")
    if "forecast" in chosen and season + horizon > trained:
        name, given, other, beside = "horizon", horizon, "season", season
        if season >= trained:
            name, given, other, beside = "season", season, "horizon", horizon
        at_most = f"at most {max(trained - beside, 0)}" + (f" beside a {other} of {beside}" if beside else "")
        raise ValueError(f"{who}: {name}: {given} steps, but {part}: {at_most}")
    smoothing = estimator.smoothing
    smoothing = max(1, min(_SMOOTHING, steps // 8)) if smoothing is None else integer(smoothing, f"{who}: smoothing")
    return Design(
        methods=chosen,
        units=stack,
        cell=recurrent_layer(estimator.cell, who),
        dropout=rate(estimator.dropout, f"{who}: dropout"),
        window=window,
        horizon=horizon,
        season=season,
        smoothing=smoothing,
        latent=integer(estimator.latent, f"{who}: latent"),
        prototypes=integer(estimator.prototypes, f"{who}: prototypes"),
    )


def check_training(estimator: Any, who: str) -> None:
    """Parameters of the training and the threshold.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter.
    """
    for name in ("epochs", "patience"):
        if getattr(estimator, name) is not None:
            integer(getattr(estimator, name), f"{who}: {name}")
    for name in ("batch_size", "ensemble"):
        integer(getattr(estimator, name), f"{who}: {name}")
    if real(estimator.learning_rate, f"{who}: learning_rate") <= 0:
        raise ValueError(f"{who}: learning_rate: expected a positive number, got {estimator.learning_rate!r}")
    share(estimator.validation_fraction, f"{who}: validation_fraction")
    if estimator.validation_fraction > 0.9:
        raise ValueError(f"{who}: validation_fraction: at most 0.9, got {estimator.validation_fraction!r}")
    if estimator.contamination is not None:
        part = real(estimator.contamination, f"{who}: contamination")
        if not 0 < part <= 0.5:
            raise ValueError(f"{who}: contamination: expected a number above 0 and at most 0.5, got {part!r}")
    if estimator.verbose not in (0, 1):
        raise ValueError(f"{who}: verbose: expected 0 or 1, got {estimator.verbose!r}")


def per_step(given: Any, seconds: float | None, who: str) -> float:
    """False alarms a step, of a number or of text such as "1/day" where a step has so many seconds."""
    wished = rate_of_text(given, seconds, who) if isinstance(given, str) else real(given, f"{who}: false_alarms")
    if not 0 < wished < 1:
        raise ValueError(f"{who}: false_alarms: expected alarms a step, above 0 and below 1, got {given!r}")
    return wished
