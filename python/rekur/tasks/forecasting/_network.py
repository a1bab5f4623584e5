"""The network of a forecaster: raw windows in, forecasts out; scaling, gaps and calendar are layers of it.

Inputs (those that the data has): ``target`` (L, K), NaN where missing; ``past`` (L, P); ``future`` (L + H, Q);
``phase`` (L + H, C), how far in each period a step lies, from 0 to 1; ``static`` (S,).

A window is seen from its own last value, in units of its own scale (how far it usually moves), so that one network
serves series of all sizes. An encoder reads it; a decoder of the same kind begins with the encoder's states and reads
what is known of each step ahead: calendar, covariates, the values of one and two seasons ago. What it says is added to
the value of a season ago and to a linear map of the window.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import rekur
from rekur import layers, ops
from rekur._validate import did_you_mean
from rekur.models import Model
from rekur.tasks._front import standardised
from rekur.tasks.forecasting._plan import Columns, Plan
from rekur.tasks.forecasting.distributions import Family

_PLACE = 4  # numbers that say which step ahead it is, learned
_NAMED: dict[str, Any] = {"gru": layers.GRU, "lstm": layers.LSTM, "simple_rnn": layers.SimpleRNN}


@rekur.cell
def hold(x: Any, h: Any) -> Any:
    """The last value that was there: h' = x, or h where x is missing."""
    return ops.where(ops.isnan(x), h, x)


class Window(NamedTuple):
    """A window in its own units, and what brings forecasts back: tensors."""

    values: Any  # (B, L, K), zeros where nothing was seen yet
    missing: Any  # (B, L, K), 1 where the value is missing
    location: Any  # (B, 1, K), the last value
    scale: Any  # (B, 1, K)


class Networks(NamedTuple):
    """One network, twice: the weights are the same."""

    training: Model  # gives the head's numbers, in the window's units, then location and scale
    raw: Model  # gives what a user reads


def recurrent_layer(cell: Any, units: int, **options: Any) -> Any:
    """The layer of recurrence of a cell by name.

    Raises
    ------
    ValueError, TypeError
        For a name that there is not.
    """
    if isinstance(cell, str):
        from rekur import cells

        known = [*_NAMED, *(name for name in dir(cells) if name[0].islower() and name not in _NAMED)]
        if cell not in known:
            raise ValueError(f"Forecaster: cell {cell!r} is unknown{did_you_mean(cell, known)}")
        if cell in _NAMED:
            return _NAMED[cell](units, **options)
    elif not hasattr(cell, "name"):
        raise TypeError(f"Forecaster: cell must be a name, such as 'gru', or a cell of rekur.cells, got {cell!r}")
    return layers.RNN(cell, units, **options)


def window_of(target: Any, least: Sequence[float], distance: int) -> Window:
    """A raw target (B, L, K) as a window in its own units.

    The scale is the mean of how far neighbouring values differ and of how far values ``distance`` steps apart do, and a
    tenth of the deviation.
    """
    flags = layers.Lambda(_there_or_nan, name="window.flags")(target)
    both = layers.Concatenate(name="window.both")([target, flags])
    count = target.shape[-1]
    held = layers.RNN(hold, 2 * count, return_sequences=True, name="window.hold")(both)
    filled, seen = held[..., :count], held[..., count:]
    location = filled[:, -1:]
    share = layers.GlobalAveragePooling1D(keepdims=True)(seen) + 1e-9
    mean = layers.GlobalAveragePooling1D(keepdims=True)(filled) / share
    away = (filled - mean) * seen
    deviation = ops.sqrt(layers.GlobalAveragePooling1D(keepdims=True)(away * away) / share)
    size = layers.GlobalAveragePooling1D(keepdims=True)(ops.abs(filled)) / share
    moved = _moved(filled, seen, 1)
    if distance > 1:
        moved = 0.5 * moved + 0.5 * _moved(filled, seen, distance)
    floor = [float(value) for value in least]
    moves_by = layers.Rescaling([1.0 / value for value in floor])(moved + 0.1 * deviation + 1e-4 * size)
    scale = layers.Rescaling(floor, name="window.scale")(ops.maximum(moves_by, 1.0))
    values = (filled - location) / scale * seen
    missing = layers.Lambda(_is_missing, name="window.missing")(target)
    return Window(values, missing, location, scale)


def _moved(filled: Any, seen: Any, distance: int) -> Any:
    """The mean difference of values so many steps apart, (B, 1, K)."""
    there = seen[:, :-distance]
    away = ops.abs(filled[:, distance:] - filled[:, :-distance]) * there
    mean = layers.GlobalAveragePooling1D(keepdims=True)(away)
    return mean / (layers.GlobalAveragePooling1D(keepdims=True)(there) + 1e-9)


def _there_or_nan(x: Any) -> Any:
    return x * 0.0 + 1.0


def _is_missing(x: Any) -> Any:
    return ops.where(ops.isnan(x), 1.0, 0.0)


def inputs_of(plan: Plan) -> dict[str, Any]:
    """The inputs by name."""
    whole = plan.context + plan.horizon
    found = {"target": rekur.Input((plan.context, plan.targets), name="target")}
    if plan.past.names:
        found["past"] = rekur.Input((plan.context, len(plan.past.names)), name="past")
    if plan.future.names:
        found["future"] = rekur.Input((whole, len(plan.future.names)), name="future")
    if plan.periods:
        found["phase"] = rekur.Input((whole, len(plan.periods)), name="phase")
    if plan.static.names:
        found["static"] = rekur.Input((len(plan.static.names),), name="static")
    return found


def columns_of(x: Any, known: Columns, name: str) -> list[Any]:
    """Covariates as features: numbers standardised, categories as one feature each."""
    parts = []
    at = known.numbers
    if at:
        numbers = x if len(at) == len(known.names) else _picked(x, at)
        parts.append(standardised(numbers, known.statistics(), f"{name}."))
    for place, count in enumerate(known.categories):
        if count:
            parts.append(_one_of(x[..., place : place + 1], count, f"{name}.category_{place}"))
    return parts


def _picked(x: Any, at: Sequence[int]) -> Any:
    parts = [x[..., place : place + 1] for place in at]
    return _joined(parts)


def _joined(parts: Sequence[Any], name: str | None = None) -> Any:
    return parts[0] if len(parts) == 1 else layers.Concatenate(name=name)(list(parts))


def _one_of(x: Any, count: int, name: str) -> Any:
    """A code (…, 1) as one feature a category, all zero where it is missing or unknown."""
    made = layers.Dense(count, use_bias=False, trainable=False, name=f"{name}.codes")
    made._begin_with([np.ones((1, count), np.float32)])
    away = layers.Rescaling(1.0, [-float(code) for code in range(count)], name=f"{name}.away")(made(x))
    return layers.Lambda(_is_none, name=name)(away)


def _is_none(x: Any) -> Any:
    return ops.where(ops.abs(x) < 0.5, 1.0, 0.0)


def _circle(x: Any) -> Any:
    turn = 2.0 * float(np.pi) * x
    return [ops.sin(turn), ops.cos(turn)]


def _known(plan: Plan, given: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """What is known of each step: of the window, and ahead of it."""
    behind: list[Any] = []
    ahead: list[Any] = []
    if "past" in given:
        behind += columns_of(given["past"], plan.past, "past")
    both: list[Any] = columns_of(given["future"], plan.future, "future") if "future" in given else []
    if "phase" in given:
        both += layers.Lambda(_circle, name="phase.circle")(given["phase"])
    for part in both:
        behind.append(part[:, : plan.context])
        ahead.append(part[:, plan.context :])
    if "static" in given:
        whole = columns_of(given["static"], plan.static, "static")
        static = _joined(whole, "static.all")
        behind.append(layers.RepeatVector(plan.context, name="static.behind")(static))
        ahead.append(layers.RepeatVector(plan.horizon, name="static.ahead")(static))
    return behind, ahead


def seasonal(values: Any, lag: int, horizon: int) -> Any:
    """Of each step ahead the value ``lag`` steps before, or as many times ``lag`` as are known: (B, H, K)."""
    context = values.shape[1]
    block = values[:, context - lag :] if lag < context else values
    if horizon < lag:
        return block[:, :horizon]
    if horizon == lag:
        return block
    times, rest = divmod(horizon, lag)
    parts = [block] * times + ([block[:, :rest]] if rest else [])
    return layers.Concatenate(axis=1)(parts)


def linear(values: Any, horizon: int) -> Any:
    """A linear map of the window to the steps ahead, the same for all series: (B, H, K)."""
    context, count = values.shape[1:]
    rows = layers.Reshape((count, context))(values) if count == 1 else layers.Permute((2, 1))(values)
    told = layers.Dense(horizon, kernel_initializer="zeros", name="linear")(rows)
    return layers.Reshape((horizon, count))(told) if count == 1 else layers.Permute((2, 1))(told)


def spread(x: Any, count: int, located: Sequence[int]) -> Any:
    """(B, H, K) as the features of a head, K · count: each series' number where the head locates, 0 elsewhere."""
    targets = x.shape[-1]
    if count == 1:
        return x
    shares = np.zeros((targets, targets * count), np.float32)
    for k in range(targets):
        shares[k, [k * count + place for place in located]] = 1.0
    made = layers.Dense(targets * count, use_bias=False, trainable=False)
    made._begin_with([shares])
    return made(x)


def head_of(
    plan: Plan, window: Window, given: dict[str, Any], count: int, located: Sequence[int], options: dict[str, Any]
) -> Any:
    """The head's numbers, (B, H · K, count), in the window's units."""
    behind, ahead = _known(plan, given)
    encoded = layers.Concatenate(name="encoder.input")([window.values, window.missing, *behind])
    lags = [seasonal(window.values, lag, plan.horizon) for lag in plan.lags]
    place = layers.Parameter((plan.horizon, _PLACE), "glorot_uniform", beside=True, name="place")(
        layers.RepeatVector(plan.horizon)(layers.Reshape((plan.targets,))(window.location))
    )
    steps = _joined([*lags, *ahead, place], "decoder.input")
    x, y = encoded, steps
    for number, units in enumerate(options["units"]):
        last = number == len(options["units"]) - 1
        found = recurrent_layer(
            options["cell"], units, return_sequences=not last, return_state=True, name=f"encoder_{number}"
        )(x)
        x, states = found[0], list(found[1:])
        decoder = recurrent_layer(options["cell"], units, return_sequences=True, name=f"decoder_{number}")
        y = decoder(y, initial_state=states)
        if options["dropout"]:
            y = layers.Dropout(options["dropout"])(y)
            x = x if last else layers.Dropout(options["dropout"])(x)
    told = layers.Dense(plan.targets * count, name="head")(layers.Concatenate(name="decoder.all")([y, steps]))
    base = linear(window.values, plan.horizon)
    if plan.season in plan.lags:
        base = base + layers.Rescaling(plan.season_weight, name="season")(lags[plan.lags.index(plan.season)])
    return by_target(told + spread(base, count, located), count)


def by_target(x: Any, count: int) -> Any:
    """(B, H, K · count) as (B, H · K, count): a row for each step and target, so that equations see one target."""
    steps, features = x.shape[1:]
    return x if features == count else layers.Reshape((steps * features // count, count))(x)


def by_step(x: Any, targets: int) -> Any:
    """The inverse of :func:`by_target`: (B, H, K · count)."""
    if targets == 1:
        return x
    rows, count = x.shape[1:]
    return layers.Reshape((rows // targets, targets * count))(x)


def each(x: Any, horizon: int) -> Any:
    """Of a window, (B, 1, K), as a row for each step and target: (B, H · K, 1)."""
    targets = x.shape[-1]
    flat = layers.RepeatVector(horizon)(layers.Reshape((targets,))(x))
    return by_target(flat, 1)


def monotone(x: Any, count: int) -> Any:
    """Quantiles that do not cross: from the middle out, each at least (at most) as large as the one before it."""
    if count == 1:
        return x

    def in_order(values: Any) -> Any:
        own = [values[..., j : j + 1] for j in range(count)]
        middle = (count - 1) // 2
        for j in range(middle + 1, count):
            own[j] = ops.maximum(own[j], own[j - 1])
        for j in range(middle - 1, -1, -1):
            own[j] = ops.minimum(own[j], own[j + 1])
        return ops.concatenate(own, axis=-1)

    return layers.Lambda(in_order, name="in_order")(x)


def quantile_networks(plan: Plan, count: int, options: dict[str, Any], seed: int) -> Networks:
    """Networks whose head has ``count`` quantiles, or points, a series."""
    given = inputs_of(plan)
    window = window_of(given["target"], plan.least_scale, plan.distance)
    head = head_of(plan, window, given, count, range(count), options)
    training = Model(list(given.values()), _with_scale(head, window, plan.horizon), seed=seed)
    offset = layers.Parameter((plan.horizon * plan.targets, count), "zeros", beside=True, name="calibration")
    offset.trainable = False
    moved = monotone(head + offset(head), count)
    raw = moved * each(window.scale, plan.horizon) + each(window.location, plan.horizon)
    return Networks(training, Model(list(given.values()), by_step(raw, plan.targets), seed=seed))


def family_networks(plan: Plan, family: Family, options: dict[str, Any], seed: int) -> Networks:
    """Networks whose head has the numbers of a family of distributions; ``raw`` gives its parameters."""
    given, count = inputs_of(plan), family.count
    window = window_of(given["target"], plan.least_scale, plan.distance)
    head = head_of(plan, window, given, count, [0], options)
    training = Model(list(given.values()), _with_scale(head, window, plan.horizon), seed=seed)
    factor = layers.Parameter((plan.horizon * plan.targets, 1), "ones", beside=True, name="calibration")
    factor.trainable = False
    numbers = [head[..., j : j + 1] for j in range(count)]
    location, scale = each(window.location, plan.horizon), each(window.scale, plan.horizon)
    found = _joined(family.network(numbers, location, scale, factor(head)), "parameters")
    return Networks(training, Model(list(given.values()), by_step(found, plan.targets), seed=seed))


def _with_scale(head: Any, window: Window, horizon: int) -> Any:
    return layers.Concatenate(name="with_scale")([head, each(window.location, horizon), each(window.scale, horizon)])
