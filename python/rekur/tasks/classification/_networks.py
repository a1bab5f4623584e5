"""Networks over sequences: recurrent, convolutional with recurrence, LSTM-FCN; their forms and the graph of each."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rekur import layers
from rekur._cell import Cell
from rekur._validate import did_you_mean, integer, real
from rekur.models import Model
from rekur.tasks._front import Statistics, standardised

# What each name stands for: the form, and the cell that the name holds.
FORMS: dict[str, tuple[str, str | None]] = {
    "auto": ("rnn_fcn", None),
    "rnn": ("rnn", None),
    "gru": ("rnn", "gru"),
    "lstm": ("rnn", "lstm"),
    "cnn_rnn": ("cnn_rnn", None),
    "cnn_gru": ("cnn_rnn", "gru"),
    "cnn_lstm": ("cnn_rnn", "lstm"),
    "rnn_fcn": ("rnn_fcn", None),
    "gru_fcn": ("rnn_fcn", "gru"),
    "lstm_fcn": ("rnn_fcn", "lstm"),
}
_KERNELS = (8, 5, 3)
_POOLED = 64  # steps that a recurrent layer behind convolutions is to read, about
_LONGEST = 512  # steps that convolutions are to read, about


class Architecture(NamedTuple):
    """A network by its sizes; plain values, so that a file holds it."""

    form: str  # "rnn", "cnn_rnn", "rnn_fcn"
    cell: Any  # "gru", "lstm", the name of another layer of recurrence, or a cell
    units: tuple[int, ...]
    filters: tuple[int, ...]
    kernels: tuple[int, ...]
    squeeze: bool  # squeeze-and-excite blocks behind convolutions
    shorten: int  # so many steps are averaged into one before anything reads them
    pool: int  # so many steps are averaged into one before recurrence reads them
    dropout: float
    causal: bool


def architecture(
    who: str,
    *,
    network: Any,
    cell: Any,
    units: Any,
    filters: Any,
    dropout: Any,
    causal: bool,
    channels: int,
    steps: int,
) -> Architecture:
    """The network that the settings of an estimator say, for sequences of so many channels and about so many steps.

    Raises
    ------
    ValueError, TypeError
        Naming the estimator and the parameter.
    """
    if not isinstance(network, str):
        raise TypeError(f"{who}: network must be one of {', '.join(FORMS)}, got {network!r}")
    if network not in FORMS:
        raise ValueError(f"{who}: network {network!r} is unknown{did_you_mean(network, FORMS)}")
    form, named = FORMS[network]
    if named is not None and cell is not None and cell != named:
        raise ValueError(f"{who}: network={network!r} says its cell, and cell={cell!r} is another; leave one out")
    cell = cell if cell is not None else named or "gru"
    recurrent_layer(cell, 1, who)  # an unknown one is told now
    published = network == "lstm_fcn"  # whose sizes are those of its paper
    usual_units = {"rnn": (64,), "cnn_rnn": (32,), "rnn_fcn": (8,) if published else (32,)}[form]
    usual_filters = () if form == "rnn" else (128, 256, 128) if published else (64, 128, 64)
    if filters is not None and form == "rnn":
        raise ValueError(f"{who}: filters are of convolutions, which network={network!r} has none of")
    units = usual_units if units is None else sizes(units, f"{who}: units")
    filters = usual_filters if filters is None else sizes(filters, f"{who}: filters")
    if dropout is None:
        dropout = 0.2 if form == "rnn" else 0.8 if published else 0.0
    dropout = real(dropout, f"{who}: dropout", 0.0, 1.0)
    if dropout == 1.0:
        raise ValueError(f"{who}: dropout must be below 1, got 1")
    shorten = 1 if causal or form == "rnn" else max(1, steps // _LONGEST)
    pool = 1 if causal or form == "rnn" else max(1, min(8, steps // shorten // _POOLED))
    kernels = tuple(_KERNELS[min(n, len(_KERNELS) - 1)] for n in range(len(filters)))
    squeeze = form == "rnn_fcn" and channels > 1 and not causal
    return Architecture(form, cell, units, filters, kernels, squeeze, shorten, pool, dropout, bool(causal))


def sizes(value: Any, what: str) -> tuple[int, ...]:
    """One size, or several, as a tuple of at least one."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError(f"{what} must be a number or several, got {value!r}")
        return tuple(integer(item, what) for item in value)
    return (integer(value, what),)


def recurrent_layer(cell: Any, units: int, who: str, **options: Any) -> layers.Layer:
    """The layer of recurrence of a cell: "gru" and "lstm" by their layers, any of ``rekur.cells`` or of one's own."""
    named: dict[str, Any] = {"gru": layers.GRU, "lstm": layers.LSTM, "simple_rnn": layers.SimpleRNN}
    if isinstance(cell, str):
        from rekur import cells

        known = [*named, *(name for name in dir(cells) if name[0].islower())]
        if cell not in known:
            raise ValueError(f"{who}: cell {cell!r} is unknown{did_you_mean(cell, known)}")
        if cell in named:
            made: layers.Layer = named[cell](units, **options)
            return made
    elif not isinstance(cell, Cell):
        raise TypeError(f"{who}: cell must be a name, such as 'gru', or a cell, got {cell!r}")
    return layers.RNN(cell, units, **options)


def features(x: Any, made: Architecture) -> Any:
    """What a network makes of sequences (B, T, F): numbers of shape (B, K)."""
    if made.shorten > 1:
        x = layers.AveragePooling1D(made.shorten, padding="same", name="shorten")(x)
    if made.form == "rnn":
        return _recurrent(x, made, mean=True)
    if made.form == "cnn_rnn":
        h = _convolutions(x, made)
        pooled = layers.AveragePooling1D(made.pool, padding="same", name="pool")(h) if made.pool > 1 else h
        read = _recurrent(pooled, made, mean=False)
        if made.causal:
            return read
        return layers.Concatenate(name="features")([layers.GlobalAveragePooling1D(name="mean")(h), read])
    pooled = layers.AveragePooling1D(made.pool, padding="same", name="pool")(x) if made.pool > 1 else x
    read = _recurrent(pooled, made, mean=False)
    read = layers.Dropout(made.dropout, name="drop")(read) if made.dropout else read
    h = _convolutions(x, made)  # a causal network has its last step, since the mean over all needs those to come
    mean = layers.Step(-1, name="last")(h) if made.causal else layers.GlobalAveragePooling1D(name="mean")(h)
    return layers.Concatenate(name="features")([mean, read])


def each_step(x: Any, made: Architecture) -> Any:
    """Convolutions, if there are any, and recurrent layers over them: (B, T, K)."""
    x = _convolutions(x, made)
    for n, units in enumerate(made.units, 1):
        layer = recurrent_layer(made.cell, units, "network", return_sequences=True, name=f"recurrent_{n}")
        x = (layer if made.causal else layers.Bidirectional(layer, name=f"both_{n}"))(x)
        if n < len(made.units) and made.dropout:
            x = layers.Dropout(made.dropout, name=f"between_{n}")(x)
    return x


def _convolutions(x: Any, made: Architecture) -> Any:
    padding = "causal" if made.causal else "same"
    for n, (count, kernel) in enumerate(zip(made.filters, made.kernels, strict=True), 1):
        x = layers.Conv1D(
            count, kernel, padding=padding, use_bias=False, kernel_initializer="he_uniform", name=f"convolution_{n}"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"normalised_{n}")(x)
        x = layers.Activation("relu", name=f"relu_{n}")(x)
        if made.squeeze and n < len(made.filters):
            x = _squeezed(x, count, n)
    return x


def _squeezed(x: Any, count: int, n: int) -> Any:
    """Squeeze-and-excite: channels weighed by what their means say. Hu et al., arXiv:1709.01507."""
    mean = layers.GlobalAveragePooling1D(keepdims=True, name=f"squeeze_{n}")(x)
    few = layers.Dense(max(1, count // 16), "relu", use_bias=False, name=f"few_{n}")(mean)
    weight = layers.Dense(count, "sigmoid", use_bias=False, name=f"excite_{n}")(few)
    return layers.Multiply(name=f"weighed_{n}")([x, weight])


def _recurrent(x: Any, made: Architecture, mean: bool) -> Any:
    """Recurrent layers, one on the other: what they end with, and the mean of their steps where that is asked for."""
    for n, units in enumerate(made.units, 1):
        final = n == len(made.units)
        whole = not final or (mean and not made.causal)
        layer = recurrent_layer(made.cell, units, "network", return_sequences=whole, name=f"recurrent_{n}")
        x = (layer if made.causal else layers.Bidirectional(layer, name=f"both_{n}"))(x)
        if not final and made.dropout:
            x = layers.Dropout(made.dropout, name=f"between_{n}")(x)
    if made.causal or not mean:
        return x
    parts = [layers.GlobalAveragePooling1D(name="mean")(x), layers.GlobalMaxPooling1D(name="largest")(x)]
    return layers.Concatenate(name="features")(parts)


def network(made: Architecture, known: Statistics, outputs: int, seed: int | None, name: str | None = None) -> Model:
    """A model from raw sequences (B, T, F) to scores (B, outputs)."""
    x = layers.Input((None, len(known.mean)), name="values")
    h = features(standardised(x, known), made)
    if made.dropout and made.form != "rnn_fcn":
        h = layers.Dropout(made.dropout, name="drop")(h)
    return Model(x, layers.Dense(outputs, name="scores")(h), seed=seed, name=name)


def ensemble(models: Sequence[Model], channels: int, behind: Any = None) -> Model:
    """The mean of networks as one model over one input, which shares their weights."""
    x = layers.Input((None, channels), name="values")
    parts = [model(x) for model in models]
    y = layers.Average(name="mean_of_networks")(parts) if len(parts) > 1 else parts[0]
    return Model(x, behind(y) if behind is not None else y)


def described(made: Architecture) -> str:
    """A sentence for ``summary``."""
    cell = made.cell if isinstance(made.cell, str) else getattr(made.cell, "__name__", repr(made.cell))
    direction = "forwards" if made.causal else "in both directions"
    units = " and ".join(str(n) for n in made.units)
    recurrent = f"{cell.upper() if cell in ('gru', 'lstm') else cell} of {units} units {direction}"
    if made.form == "rnn":
        return recurrent
    filters = ", ".join(f"{n} of {k} steps" for n, k in zip(made.filters, made.kernels, strict=True))
    how = "read by" if made.form == "cnn_rnn" else "beside"
    return f"convolutions with {filters}, {how} a {recurrent}"


def cell_name(cell: Any) -> str:
    """How a cell is called."""
    return cell if isinstance(cell, str) else str(getattr(cell, "name", None) or cell)
