"""Settings that the estimators of texts share, checked; recurrent layers by name."""

from collections.abc import Sequence
from typing import Any

from rekur import layers, optimizers
from rekur._cell import Cell
from rekur._validate import did_you_mean, integer, real, share
from rekur.tasks.text._vocabulary import LEVELS

_NAMED: dict[str, Any] = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}


def level_of(value: Any, who: str, known: Sequence[str] = LEVELS) -> str:
    """A level of tokens by its name."""
    if value not in known:
        raise ValueError(f"{who}: level: expected one of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}")
    return str(value)


def sizes(value: Any, what: str) -> tuple[int, ...]:
    """One size, or several, as a tuple of at least one."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError(f"{what} must be a number or several, got {value!r}")
        return tuple(integer(item, what) for item in value)
    return (integer(value, what),)


def below_one(value: Any, what: str) -> float:
    """A share of 0 or more that leaves something."""
    if (found := share(value, what)) == 1:
        raise ValueError(f"{what} must be below 1, got 1")
    return found


def optional(value: Any, what: str, least: int = 1) -> int | None:
    return None if value is None else integer(value, what, least)


def positive(value: Any, what: str) -> float:
    if not real(value, what, 0) > 0:
        raise ValueError(f"{what} must be above 0, got {value!r}")
    return float(value)


def recurrent_layer(cell: Any, units: int, who: str, **options: Any) -> Any:
    """The layer of recurrence of a cell: "lstm" and "gru" by their layers, any of ``rekur.cells`` or of one's own."""
    if isinstance(cell, str):
        from rekur import cells

        known = [*_NAMED, *(name for name in dir(cells) if name[0].islower())]
        if cell not in known:
            raise ValueError(f"{who}: cell {cell!r} is unknown{did_you_mean(cell, known)}")
        if cell in _NAMED:
            return _NAMED[cell](units, **options)
    elif not isinstance(cell, Cell):
        raise TypeError(f"{who}: cell must be a name, such as 'lstm', or a cell, got {cell!r}")
    return layers.RNN(cell, units, **options)


def falling_adam(rate: float, steps: int, clip: float = 1.0) -> Any:
    """Adam whose rate rises in a tenth of the steps and falls along a cosine: as good as a rate that fits the data."""
    first = max(1, steps // 20)
    schedule = optimizers.schedules.CosineDecay(
        0.1 * rate, max(1, steps - first), alpha=0.02, warmup_target=rate, warmup_steps=first
    )
    return optimizers.Adam(schedule, global_clipnorm=clip)
