"""The functions: arguments are looked at here, then one primitive is bound."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rekur import layers
from rekur._cell import Cell, as_cell
from rekur._spec import Spec, dumps
from rekur._validate import boolean, did_you_mean, integer
from rekur.jax import _arguments, _primitives
from rekur.jax._plan import Key, Plan

Params = Mapping[str, Any]
_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
_NAMES = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}
_COMMON = (
    "use_bias", "layer_normalization", "normalization_epsilon", "state_clip", "projection_size", "residual",
    "learn_initial_state", "precision",
)  # fmt: skip
_BUILT_IN = ("activation", "clip")
_OPTIONS = {
    "LSTM": (
        *_COMMON, *_BUILT_IN, "recurrent_activation", "output_activation", "peepholes", "coupled_gates",
    ),
    "GRU": (*_COMMON, *_BUILT_IN, "recurrent_activation", "reset_after"),
    "SimpleRNN": (*_COMMON, *_BUILT_IN),
    "RNN": _COMMON,
}  # fmt: skip
_DRAWN = ("kernel_initializer", "recurrent_initializer", "bias_initializer")
_INITIALIZERS = {
    "LSTM": (*_DRAWN, "unit_forget_bias", "peephole_initializer", "projection_initializer"),
    "GRU": (*_DRAWN, "projection_initializer"),
    "SimpleRNN": (*_DRAWN, "projection_initializer"),
    "RNN": (*_DRAWN, "weight_initializers", "projection_initializer"),
}
_RANDOM = ("dropout", "recurrent_dropout", "recurrent_weight_dropout", "zoneout")


def lstm(
    params: Params,
    x: Any,
    initial_state: Any = None,
    lengths: Any = None,
    *,
    reverse: bool = False,
    time_major: bool = False,
    resets: Any = None,
    **options: Any,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """An LSTM over sequences; the equations are those of :class:`rekur.layers.LSTM`.

    Parameters
    ----------
    params : dict of arrays
        ``kernel`` (F, 4H), ``recurrent_kernel`` (H, 4H), ``bias`` (4H,), the columns of i, f, g and o, and what options
        bring with them. :func:`rekur.jax.init` makes them, :func:`rekur.jax.from_flax` has them of flax.
    x : array of shape (…, T, F)
        Any number of axes for the rows, one row where there are none. float32; of float16 and bfloat16 it is computed
        in float32, and outputs and states have x's type.
    initial_state : (h, c), each of shape (…, H), optional
        Zeros by default.
    lengths : integers of shape (…), optional
        Steps that each row has, 0 to T: flax's ``seq_lengths``. Outputs behind them are 0, the last state is that of
        the row's last step.
    reverse : bool
        Whether each row is read from its end. Outputs stand in the order of the input, as with ``keep_order=True`` in
        flax.
    time_major : bool
        Whether x, outputs and resets have the time axis first: (T, …, F).
    resets : booleans of shape (…, T), optional
        Where another sequence begins: states are zeros (or the learned ones) before such a step.
    **options
        ``activation``, ``recurrent_activation``, ``output_activation``, ``use_bias``, ``clip``, ``peepholes``,
        ``coupled_gates``, ``layer_normalization``, ``normalization_epsilon``, ``state_clip``, ``projection_size``,
        ``residual``, ``learn_initial_state``, ``precision``, as :class:`rekur.layers.LSTM` has them.

    Returns
    -------
    (outputs, (h, c))
        Outputs (…, T, H) and the last states, each (…, H).

    Raises
    ------
    TypeError
        For float64 and for options that do not exist or draw at random.
    ValueError
        For parameters that are missing, too many or of another shape, and for shapes that do not fit one another.
    NotImplementedError
        Where a transformation asks for forward-mode or second derivatives.
    """
    return _layer("LSTM", None, params, x, initial_state, lengths, reverse, time_major, resets, {}, options)


def gru(
    params: Params,
    x: Any,
    initial_state: Any = None,
    lengths: Any = None,
    *,
    reverse: bool = False,
    time_major: bool = False,
    resets: Any = None,
    **options: Any,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """A GRU over sequences; the equations are those of :class:`rekur.layers.GRU`.

    ``params``: kernel (F, 3H), recurrent_kernel (H, 3H), the columns of z, r and n, and bias (2, 3H), of the input's
    products and the recurrent ones; (3H,) with ``reset_after=False``. ``initial_state``: an array (…, H) or a tuple of
    it. The last state is a tuple of one. Options are ``activation``, ``recurrent_activation``, ``reset_after``,
    ``use_bias``, ``clip`` and those of any cell; all else is as in :func:`lstm`.
    """
    return _layer("GRU", None, params, x, initial_state, lengths, reverse, time_major, resets, {}, options)


def simple_rnn(
    params: Params,
    x: Any,
    initial_state: Any = None,
    lengths: Any = None,
    *,
    reverse: bool = False,
    time_major: bool = False,
    resets: Any = None,
    **options: Any,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """An Elman network over sequences; the equation is that of :class:`rekur.layers.SimpleRNN`.

    ``params``: kernel (F, H), recurrent_kernel (H, H), bias (H,). ``initial_state``: an array (…, H) or a tuple of it.
    The last state is a tuple of one. Options are ``activation``, ``use_bias``, ``clip`` and those of any cell; all else
    is as in :func:`lstm`.
    """
    return _layer("SimpleRNN", None, params, x, initial_state, lengths, reverse, time_major, resets, {}, options)


def rnn(
    cell: Any,
    params: Params,
    x: Any,
    initial_state: Any = None,
    lengths: Any = None,
    *,
    step_inputs: Mapping[str, Any] | None = None,
    reverse: bool = False,
    time_major: bool = False,
    resets: Any = None,
    units: int | None = None,
    **options: Any,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Any cell over sequences: one of :mod:`rekur.cells`, its name, or one of your own (:func:`rekur.cell`).

    Parameters
    ----------
    cell : Cell, function or str
    params : dict of arrays
        The weights that :class:`rekur.layers.RNN` has for the cell, by the same names. What the cell keeps fixed has
        gradient 0.
    x, lengths, reverse, time_major, resets
        As in :func:`lstm`.
    initial_state : array or tuple of arrays (…, H), optional
        One for each of the cell's states.
    step_inputs : dict of arrays (…, T, 1) or (…, T, H), optional
        What the cell takes at a step beside x, by name; those that have a number without data may be left out.
    units : int, optional
        H, where no weight and no initial state tells it.
    **options
        The cell's hyper-parameters, and ``use_bias``, ``layer_normalization``, ``normalization_epsilon``,
        ``state_clip``, ``projection_size``, ``residual``, ``learn_initial_state``, ``precision``.

    Returns
    -------
    (outputs, states)
        The cell's first state at every step, (…, T, H), and a tuple of its last states, each (…, H).

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As :func:`lstm`, and what :class:`rekur.layers.RNN` raises for a cell.
    """
    found = as_cell(cell, "rekur.jax.rnn: cell")
    if units is not None:
        options = {**options, "units": integer(units, "rekur.jax.rnn: units")}
    given = dict(step_inputs or {})
    return _layer("RNN", found, params, x, initial_state, lengths, reverse, time_major, resets, given, options)


def init(
    cell: Any,
    key: Any,
    features: int,
    units: int,
    *,
    step_inputs: Sequence[str] = (),
    **options: Any,
) -> dict[str, jax.Array]:
    """Parameters as a new layer of rekur has them: Keras's initialisers.

    Parameters
    ----------
    cell : "lstm", "gru", "simple_rnn", a Cell, or the name of one of :mod:`rekur.cells` (``rekur.cells.lstm`` for that)
    key : int or JAX key
        A seed, or a key of ``jax.random``, which must not be traced.
    features, units : int
        F and H.
    step_inputs : sequence of str
        Names of the step inputs that the cell will be given.
    **options
        Those that the layer will be called with, and initialisers: ``kernel_initializer``, ``recurrent_initializer``,
        ``bias_initializer``, …, as the layers of :mod:`rekur.layers` have them.

    Raises
    ------
    TypeError, ValueError
        For what the layer of :mod:`rekur.layers` would refuse.
    """
    import rekur

    kind, found = (_NAMES[cell], None) if isinstance(cell, str) and cell in _NAMES else ("RNN", None)
    if kind == "RNN":
        found = as_cell(cell, "rekur.jax.init: cell")
    what = f"rekur.jax.init of {found.name if found else kind}"
    _known(kind, found, options, what, more=_INITIALIZERS[kind])
    features, units = integer(features, f"{what}: features"), integer(units, f"{what}: units")
    if isinstance(key, jax.core.Tracer):
        raise TypeError(f"{what}: the key is traced; parameters are made outside of jit")
    if isinstance(key, jax.Array) and key.ndim + jnp.issubdtype(key.dtype, jax.dtypes.prng_key) > 0:
        seed = int(jax.random.bits(key, dtype=jnp.uint32))
    else:
        seed = integer(key, f"{what}: key", 0)
    layer = _made(kind, found, units, options)
    inputs = [rekur.Input((None, features), name="x")]
    inputs += [rekur.Input((None, 1), name=f"step.{name}") for name in step_inputs]
    named = dict(zip(step_inputs, inputs[1:], strict=True))
    model = rekur.Model(inputs, layer(inputs[0], **named), seed=seed)
    names = [name.split("/", 1)[1] for name, _, _ in model._engine().parameters]
    return {name: jnp.asarray(array) for name, array in zip(names, layer.get_weights(), strict=True)}


# --- settings ---


def _known(kind: str, cell: Cell | None, options: Mapping[str, Any], what: str, more: Sequence[str] = ()) -> None:
    known = [*_OPTIONS[kind], *more, *(cell.parameters if cell else ()), *(("units",) if kind == "RNN" else ())]
    for name in options:
        if name in _RANDOM:
            raise TypeError(
                f"{what}: '{name}' draws at random, which a pure function does not: drop elements of x, of the "
                "outputs or of the parameters by jax.random"
            )
        if name not in known:
            raise TypeError(f"{what} has no option '{name}'{did_you_mean(name, known)}")


def _made(kind: str, cell: Cell | None, units: int, options: Mapping[str, Any]) -> Any:
    kwargs = {name: value for name, value in options.items() if name != "units"}
    if cell is None:
        return getattr(layers, kind)(units, **kwargs)
    return layers.RNN(cell, units, **kwargs)


@functools.lru_cache(maxsize=256)
def _plan(
    kind: str,
    cell: Cell | None,
    units: int,
    options: tuple[tuple[str, Any], ...],
    reverse: bool,
    features: int,
    steps: tuple[tuple[str, int], ...],
    states: int,
    lengths: bool,
    resets: bool,
) -> Plan:
    layer = _made(kind, cell, units, {**dict(options), "reverse": reverse})
    if cell is not None:
        vars(layer)["_given"] = tuple(name for name, _ in steps)
    spec: Spec = layer.spec()
    spec = {key: value for key, value in spec.items() if key not in ("name", "inputs")}
    return _plan_of(Key(dumps(spec), features, tuple(size for _, size in steps), states, lengths, resets))


@functools.lru_cache(maxsize=256)
def _plan_of(key: Key) -> Plan:
    import json

    return Plan(key, json.loads(key.layer))


def _settled(options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Options as values that can be looked up: they are part of the layer, not data."""
    found = {}
    for name, value in options.items():
        if isinstance(value, jax.core.Tracer):
            raise TypeError(f"{what}: option '{name}' is traced, and must be known when the layer is: {value}")
        if isinstance(value, (jax.Array, np.ndarray)) and value.ndim == 0:
            value = value.item()
        if isinstance(value, Mapping):
            value = _Frozen(value)
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"{what}: option '{name}' must be a name, a number, a truth value or an object, got "
                f"{type(value).__name__}: {value!r}"
            ) from None
        found[name] = value
    return found


class _Frozen(dict[str, Any]):
    """A dict that does not change from here on."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self)))


def _units(kind: str, cell: Cell | None, params: Params, state: Sequence[Any], options: Any, what: str) -> int:
    if cell is None:
        gates = _GATES[kind] - bool(options.get("coupled_gates"))
        if "kernel" not in params:
            raise ValueError(f"{what}: params have no 'kernel', only {sorted(params)}")
        return _part(params, "kernel", gates, what)
    if "units" in options:
        return int(options["units"])
    program = cell.spec(()) if not any(v is None for v in cell.step_inputs.values()) else cell.spec()
    own = sum(len(product) == 2 for product in program["recurrent"])
    if "kernel" in params and program["kernel"]:
        return _part(params, "kernel", len(program["kernel"]), what)
    if "recurrent_kernel" in params and own:
        return _part(params, "recurrent_kernel", own, what)
    for name in cell.weights:
        if name in params:
            return int(np.shape(params[name])[-1])
    if state:
        return int(np.shape(state[-1])[-1])
    raise ValueError(f"{what}: no weight and no initial state tells the number of units: give units=")


def _part(params: Params, name: str, parts: int, what: str) -> int:
    shape = np.shape(params[name])
    if len(shape) != 2 or shape[1] % parts or not shape[1]:
        raise ValueError(f"{what}: params['{name}'] must have a multiple of {parts} columns, got shape {shape}")
    return int(shape[1]) // parts


# --- arguments ---


def _layer(
    kind: str,
    cell: Cell | None,
    params: Params,
    x: Any,
    initial_state: Any,
    lengths: Any,
    reverse: bool,
    time_major: bool,
    resets: Any,
    steps: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    what = f"rekur.jax.rnn of {cell.name}" if cell else f"rekur.jax.{next(k for k, v in _NAMES.items() if v == kind)}"
    _known(kind, cell, options, what)
    options = _settled(options, what)
    if not isinstance(params, Mapping):
        raise TypeError(f"{what}: params must be a dict of arrays by name, got {type(params).__name__}")
    reverse, time_major = boolean(reverse, f"{what}: reverse"), boolean(time_major, f"{what}: time_major")
    x = _arguments.floats(x, f"{what}: x")
    if x.ndim < 2:
        raise ValueError(f"{what}: x must have the shape (…, T, F), got {x.shape}")
    order = _arguments.Order(x, time_major)
    states = _arguments.states(initial_state, 2 if kind == "LSTM" else len(cell.states) if cell else 1, what)
    named = _arguments.steps_of(cell, steps, what)
    units = _units(kind, cell, params, states, options, what)
    timed = [
        order.timed(_arguments.floats(value, f"{what}: {name}"), f"{what}: {name}", units)
        for name, value in named.items()
    ]
    widths = tuple((name, int(array.shape[-1])) for name, array in zip(named, timed, strict=True))
    given = lengths is not None, resets is not None
    plan = _plan(
        kind, cell, units, tuple(sorted(options.items())), reverse, int(x.shape[-1]), widths, len(states), *given
    )
    operands = [*_arguments.weights(plan, params, what), order.rows(x).astype(jnp.float32), *timed]
    for k, (state, size) in enumerate(zip(states, plan.output_features[1:], strict=False)):
        operands.append(order.state(state, size, f"{what}: initial_state[{k}]"))
    if lengths is not None:
        operands.append(order.lengths(lengths, f"{what}: lengths"))
    if resets is not None:
        operands.append(order.resets(resets, f"{what}: resets"))
    y, *last = _primitives.call(plan, operands)
    return order.back(y).astype(x.dtype), tuple(s.reshape(*order.batch, s.shape[-1]).astype(x.dtype) for s in last)
