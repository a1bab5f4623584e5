"""What may be chosen: ranges and lists, asked of a trial; networks and estimators made of that."""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import rekur
from rekur import layers as layers_
from rekur._validate import did_you_mean, integer
from rekur.models import Model

_WIDE = 10  # a range this many times as high as low is searched by its logarithm
_PLAIN = (bool, int, float, str, type(None))


def suggest(trial: Any, name: str, choices: Any) -> Any:
    """What a trial takes of some choices.

    Parameters
    ----------
    trial : optuna.trial.Trial
    name : str
        Of the parameter.
    choices
        A tuple ``(low, high)`` of two numbers is a range, both included: of whole numbers if both are, by the logarithm
        if ``high`` is ten times ``low`` or more, which then must be above 0. A list is several values, whatever they
        are. Anything else is what is taken, and no choice.

    Raises
    ------
    ValueError
        For an empty list, or a range whose first number is the larger.
    RuntimeError
        If earlier trials of the study had other values in the list, or another kind of choice, of that name.
    """
    if isinstance(choices, list):
        return _one_of(trial, name, choices)
    if not _is_range(choices):
        return choices
    low, high = choices
    if low > high:
        raise ValueError(f"{name}: expected a range (low, high), got {choices!r}, whose first number is the larger")
    if low == high:
        return low
    by_logarithm = low > 0 and high >= _WIDE * low
    if all(isinstance(value, Integral) for value in choices):
        return _asked(trial, name, trial.suggest_int, int(low), int(high), log=by_logarithm)
    return _asked(trial, name, trial.suggest_float, float(low), float(high), log=by_logarithm)


def _is_range(choices: Any) -> bool:
    return (
        isinstance(choices, tuple)
        and len(choices) == 2
        and all(not isinstance(v, bool) and isinstance(v, Real) and math.isfinite(v) for v in choices)
    )


def _asked(trial: Any, name: str, ask: Callable[..., Any], *choices: Any, **options: Any) -> Any:
    try:
        return ask(name, *choices, **options)
    except ValueError as error:
        if not hasattr(trial, "study"):
            raise
        raise RuntimeError(
            f"{name}: the study '{trial.study.study_name}' was begun with other choices than these, "
            f"{choices[0] if len(choices) == 1 else choices!r}: give another name ({error})"
        ) from None


def _one_of(trial: Any, name: str, choices: list[Any]) -> Any:
    if not choices:
        raise ValueError(f"{name}: expected choices, got an empty list")
    if len(choices) == 1:
        return choices[0]
    labels = _labels(choices)
    if len(set(map(repr, labels))) < len(labels):
        raise ValueError(f"{name}: two of the choices are called alike: {labels}")
    taken = _asked(trial, name, trial.suggest_categorical, labels)
    return choices[labels.index(taken)]


def _labels(choices: list[Any]) -> list[Any]:
    """Of values, as a storage holds them."""
    return [value if isinstance(value, _PLAIN) else getattr(value, "name", None) or repr(value) for value in choices]


def _named(value: Any, choices: Any) -> Any:
    """The choice that a label stands for, if it is one."""
    if isinstance(choices, list) and isinstance(value, _PLAIN) and value in (labels := _labels(choices)):
        return choices[labels.index(value)]
    return value


class Recurrent:
    """Recurrent networks to be searched: called with a trial, a compiled model of what the trial takes.

    Every parameter from ``cell`` on is a value, a list of values, or a range ``(low, high)``, as :func:`suggest` has
    them.

    Parameters
    ----------
    input_shape : tuple
        ``(T, F)``: steps and features of a row of data; T may be None.
    outputs : int
        Units of the Dense layer at the end.
    cell : str or Cell
        ``"lstm"``, ``"gru"``, ``"simple_rnn"``, another name of :mod:`rekur.cells`, or a cell.
    units : int
        Of each recurrent layer and direction.
    layers : int
        How many of them.
    skips : bool
        Whether layers after the first add what they give to what they read (``residual=True``).
    linear : bool
        Whether a linear map of the whole window is added to the output (with T None, or ``sequences``: of each step),
        as in Zeng et al., arXiv:2205.13504. Without ``sequences`` such a model cannot go step by step.
    bidirectional : bool
    dropout : float
        Behind each recurrent layer.
    window : int, optional
        How many of the T steps are read, the last ones; None: all.
    learning_rate : float
        Of Adam, with gradients clipped to a norm of 1.
    batch_size : int
    sequences : bool
        Whether the output is one at every step, ``(B, T, outputs)``, or ``(B, outputs)``; not searched.
    activation : str or object, optional
        Of the last layer; not searched, nor are:
    loss : str, Loss or function
    metrics : list, optional

    Raises
    ------
    ValueError, TypeError
        For shapes and cells that there are not; of a choice when it is taken.
    """

    def __init__(
        self,
        input_shape: Sequence[int | None],
        outputs: int,
        *,
        cell: Any = ["gru", "lstm"],  # noqa: B006 - never changed
        units: Any = (8, 128),
        layers: Any = (1, 3),
        skips: Any = [False, True],  # noqa: B006
        linear: Any = [False, True],  # noqa: B006
        bidirectional: Any = False,
        dropout: Any = (0.0, 0.5),
        window: Any = None,
        learning_rate: Any = (5e-4, 1e-2),
        batch_size: Any = [32, 64, 128],  # noqa: B006
        sequences: bool = False,
        activation: Any = None,
        loss: Any = "mean_squared_error",
        metrics: Any = None,
    ) -> None:
        shape = tuple(input_shape)
        if len(shape) != 2 or shape[1] is None:
            raise ValueError(f"tune.Recurrent: input_shape must be (steps, features), got {input_shape!r}")
        self._steps = None if shape[0] is None else integer(shape[0], "tune.Recurrent: input_shape")
        self._features = integer(shape[1], "tune.Recurrent: input_shape")
        self._outputs = integer(outputs, "tune.Recurrent: outputs")
        if sequences and window is not None:
            raise ValueError("tune.Recurrent: window: with sequences=True every step has an output: give none")
        self._choices = {
            "cell": cell,
            "layers": layers,
            "units": units,
            "skips": skips,
            "linear": linear,
            "bidirectional": bidirectional,
            "dropout": dropout,
            "window": window,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
        }
        for each in cell if isinstance(cell, list) else [cell]:
            _layer(each, 1)
        self._sequences, self._activation, self._loss, self._metrics = sequences, activation, loss, metrics

    def __call__(self, trial: Any) -> tuple[Model, dict[str, Any]]:
        """A compiled model, and what goes to ``fit`` with it."""
        return self._made({name: suggest(trial, name, choices) for name, choices in self._choices.items()})

    def of(self, params: Mapping[str, Any]) -> tuple[Model, dict[str, Any]]:
        """The same of given parameters, such as those of a trial: a new model, to be trained anew.

        Parameters
        ----------
        params : dict
            ``found.best.params``. What is no choice need not stand there.

        Raises
        ------
        ValueError
            For a choice that is left open, and a parameter that there is not.
        """
        for name in params:
            if name not in self._choices:
                raise ValueError(f"tune.Recurrent: there is no {name!r}{did_you_mean(name, self._choices)}")
        taken = {}
        for name, choices in self._choices.items():
            if name in params:
                taken[name] = _named(params[name], choices)
            elif isinstance(choices, list) or _is_range(choices):
                raise ValueError(f"tune.Recurrent: {name} is to be chosen, of {choices!r}; give it")
            else:
                taken[name] = choices
        return self._made(taken)

    def _made(self, taken: dict[str, Any]) -> tuple[Model, dict[str, Any]]:
        batch_size = taken.pop("batch_size")
        return self._model(**taken), {"batch_size": batch_size}

    def _model(
        self,
        cell: Any,
        layers: int,
        units: int,
        skips: bool,
        linear: bool,
        bidirectional: bool,
        dropout: float,
        window: int | None,
        learning_rate: float,
    ) -> Model:
        steps = self._steps
        if window is not None:
            if steps is not None and window > steps:
                raise ValueError(f"tune.Recurrent: window must be at most the {steps} steps, got {window}")
            steps = integer(window, "tune.Recurrent: window")
        count = integer(layers, "tune.Recurrent: layers")
        entrance = rekur.Input((steps, self._features), name="x")
        x: Any = entrance
        for number in range(count):
            further = skips and number > 0
            options: dict[str, Any] = {"return_sequences": self._sequences or number < count - 1}
            name = f"recurrent_{number}"
            if bidirectional:
                # The output of one without sequences is of both ends, and nothing that could be added to.
                plain = further and options["return_sequences"]
                x = layers_.Bidirectional(_layer(cell, units, **options), residual=plain, name=name)(x)
            else:
                x = _layer(cell, units, residual=further, name=name, **options)(x)
            if dropout:
                x = layers_.Dropout(dropout, name=f"dropout_{number}")(x)
        y = layers_.Dense(self._outputs, name="output")(x)
        if linear:
            seen: Any = entrance
            if not self._sequences:
                seen = layers_.Flatten(name="window")(entrance) if steps else layers_.Step(-1, name="last")(entrance)
            y = layers_.Add(name="sum")([y, layers_.Dense(self._outputs, use_bias=False, name="linear")(seen)])
        if self._activation is not None:
            y = layers_.Activation(self._activation, name="activation")(y)
        model = Model(entrance, y)
        optimizer = rekur.optimizers.Adam(learning_rate=learning_rate, global_clipnorm=1.0)
        model.compile(optimizer, self._loss, metrics=self._metrics)
        return model


def _layer(cell: Any, units: int, **options: Any) -> Any:
    from rekur.tasks.forecasting._network import recurrent_layer  # imported when somebody searches

    try:
        return recurrent_layer(cell, units, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("Forecaster: ", "tune.Recurrent: ")) from None


# What is searched of an estimator where nothing is said, of what it has.
_OF_ESTIMATORS: dict[str, Any] = {
    "cell": ["gru", "lstm"],
    "units": [16, 32, 64, 128, (32, 32), (64, 64)],
    "dropout": (0.0, 0.5),
    "learning_rate": (5e-4, 1e-2),
    "batch_size": [32, 64, 128],
}


def space_of(estimator: Any, given: Any) -> dict[str, Any]:
    """What is searched of an estimator.

    Raises
    ------
    ValueError, TypeError
        For what is no dict, or a parameter that it does not have.
    """
    known = estimator.get_params(deep=False)
    if given is None:
        return {name: choices for name, choices in _OF_ESTIMATORS.items() if name in known}
    if not isinstance(given, Mapping):
        raise TypeError(f"space: expected a dict of choices by parameter, got {given!r}")
    for name in given:
        if name not in known:
            raise ValueError(f"space: {type(estimator).__name__} has no {name!r}{did_you_mean(name, known)}")
    return dict(given)
