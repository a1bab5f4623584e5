"""Live sequences: one time step a call, the states carried along."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rekur import _core
from rekur._spec import sample_rate as check_rate
from rekur._validate import Floats, as_float32, as_int32, integer, show
from rekur.models.structure import Structure
from rekur.training.data import Port
from rekur.training.steps import make_marks


def engine_of(model: Any, what: str) -> _core.Model:
    """The engine's model of one of rekur's."""
    if not isinstance(model, Structure):
        raise TypeError(f"{what}: expected a model, got {model!r}")
    return model._engine()


class Stream:
    """A model one step at a time: what ``predict`` gives of the whole sequence, to the bit, when it comes step by step.

    Parameters
    ----------
    model : Model
        Its weights are taken as they are now.
    batch : int
        Sequences that go side by side.
    whole : list of str
        Inputs that do not step but are there as a whole before the first step, such as what an encoder gives: sequences
        that attention reads, and vectors. :meth:`begin` takes them.
    sample_rate : float, optional
        Of the steps to come, in Hz; by default the model's own, ``model.sample_rate``. Above it the states of recurrent
        layers are read as many steps back as the rates differ by, on the line between two steps, so that they live as
        long as at the model's rate; :attr:`rate_match` says what comes of a rate. None is refused for being another
        than the model's.

    Raises
    ------
    ValueError
        Naming the layer that cannot go one step at a time, and why; for a rate that is no finite number above 0, or is
        more than 4096 times the model's.

    Examples
    --------
    >>> stream = rekur.Stream(model)
    >>> for x in readings:  # (features,) each
    ...     y = stream.step(x)
    """

    def __init__(
        self, model: Any, batch: int = 1, whole: Sequence[str] = (), *, sample_rate: float | None = None
    ) -> None:
        names = [whole] if isinstance(whole, str) else list(whole)
        rate = check_rate(sample_rate, "Stream: sample_rate") or 0.0
        self._core = _core.Stream(engine_of(model, "Stream"), integer(batch, "Stream: batch"), names, rate)
        self._inputs, self._outputs = self._core.inputs, self._core.outputs

    def __repr__(self) -> str:
        return f"<Stream of {self.rows} rows: {', '.join(name for name, _, _ in self._inputs)}>"

    @property
    def rows(self) -> int:
        """How many sequences there are: the batch, or where inputs are whole none before :meth:`begin`."""
        return self._core.rows

    @property
    def rate_match(self) -> str:
        """How the stream goes at the rate of its steps.

        ``"same"``: it is the model's, or none was given. ``"matched"``: it is higher, and all that steps carry on goes
        by it. ``"partly"``: it is higher, but convolutions, attention, positions, masks or states that are matrices go
        by steps. ``"too_low"``: it is lower, and ``"unknown"``: the model does not say its own; the stream runs as if
        it were the model's then.
        """
        return self._core.rate_match

    def _arrays(self, x: Any, steps: int | None) -> tuple[list[Any], bool]:
        """What the engine takes, and whether a row's axis was left out."""
        given = x if isinstance(x, (list, tuple)) and len(self._inputs) > 1 else [x]
        if isinstance(x, Mapping):
            given = [x.get(name) for name, _, _ in self._inputs]
            if unknown := [name for name in x if name not in {n for n, _, _ in self._inputs}]:
                raise ValueError(f"Stream: no input is named '{unknown[0]}'")
        if len(given) != len(self._inputs):
            raise ValueError(f"Stream: expected {len(self._inputs)} arrays, one an input, got {len(given)}")
        arrays, single = [], False
        rows = self.rows
        for value, (name, shape, dtype) in zip(given, self._inputs, strict=True):
            what = f"Stream: input '{name}'"
            array: Any = as_int32(value, what) if dtype == "int32" else as_float32(value, what)
            rank = len(shape) + (steps is not None)
            if rows == 1 and array.ndim == rank - 1:
                array, single = array[None], True
            expected = (rows, *([None] if steps is not None else []), *shape[1:])
            fits = array.ndim == rank and all(e in (None, n) for e, n in zip(expected, array.shape, strict=True))
            if not fits:
                hint = "" if rows else "; begin comes first"
                raise ValueError(f"{what}: expected shape {show(expected)}, got {show(array.shape)}{hint}")
            arrays.append(array)
        return arrays, single

    def _given(self, outputs: list[Floats], single: bool) -> Any:
        found = [y[0] for y in outputs] if single else outputs
        return found[0] if len(found) == 1 else found

    def step(self, x: Any) -> Any:
        """The outputs of one step.

        Parameters
        ----------
        x : array_like of shape (rows, …), a step of the input; of one row also (…); a list or dict of several inputs

        Returns
        -------
        float32 ndarray of shape (rows, …), or without that axis where ``x`` had none; a list of several outputs
        """
        arrays, single = self._arrays(x, None)
        return self._given(self._core.step(arrays), single)

    def process(self, x: Any) -> Any:
        """The outputs of several steps, which are to the bit what they are one by one.

        Parameters
        ----------
        x : array_like of shape (rows, T, …), or of one row (T, …)

        Returns
        -------
        float32 ndarray of shape (rows, T, …), or (T, …)
        """
        arrays, single = self._arrays(x, 0)
        steps = arrays[0].shape[1]
        if any(a.shape[1] != steps for a in arrays):
            raise ValueError(f"Stream: inputs of different numbers of steps: {[a.shape[1] for a in arrays]}")
        outputs = self._core.process([np.ascontiguousarray(np.moveaxis(a, 1, 0)) for a in arrays], steps)
        return self._given([np.ascontiguousarray(np.moveaxis(y, 0, 1)) for y in outputs], single)

    def begin(self, arrays: Mapping[str, Any], lengths: Any = None, mask: Any = None) -> None:
        """Sequences begin, with what does not step.

        Parameters
        ----------
        arrays : dict of array_like by input name
            Of those that are whole (rows, T, features) or (rows, features), and of those that are nothing but initial
            states. Any number of rows from 1 to the stream's batch.
        lengths, mask : dict by input name, optional
            Which steps of a whole sequence there are: (rows,) numbers, (rows, T) flags.

        Raises
        ------
        ValueError
            For what does not fit; nothing is changed then.
        """
        given, marks = beginnings(self._core.beginnings, arrays, lengths, mask, "Stream")
        self._core.begin(given, marks)

    def select(self, rows: Sequence[int]) -> None:
        """Go on from these rows, in this order: some of them, or one several times, at most the batch.

        Raises
        ------
        ValueError
            For a row that there is not, and for none or too many.
        """
        self._core.select([integer(row, "Stream: rows", 0) for row in rows])

    def reset(self, row: int | None = None) -> None:
        """The beginning of a sequence: every state zero, or learned. Of all rows, or of one."""
        self._core.reset(None if row is None else integer(row, "Stream: row", 0))

    @property
    def states(self) -> dict[str, Floats]:
        """All states by name, (rows, units) each; setting them takes such a dict, of all or of some.

        At a rate above the model's, ``"lstm/h"`` is what the next step reads; ``"lstm/h/past"`` (rows, n, units), the
        states before it that are to be read later, the latest first.
        """
        flat, found, at = self._core.get_state(), {}, 0
        for name, shape, _ in self._core.states:
            size = int(np.prod(shape))  # type: ignore[arg-type]
            found[name] = flat[at : at + size].reshape(shape)
            at += size
        return found

    @states.setter
    def states(self, given: Mapping[str, Any]) -> None:
        known = self.states
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"Stream: no state is named '{name}'; there are {', '.join(known) or 'none'}")
            array = as_float32(value, f"Stream: state '{name}'")
            if array.shape != known[name].shape:
                raise ValueError(
                    f"Stream: state '{name}': expected shape {show(known[name].shape)}, got {show(array.shape)}"
                )
            known[name] = array
        parts = [known[name].reshape(-1) for name, _, _ in self._core.states]
        self._core.set_state(np.concatenate(parts) if parts else np.zeros(0, np.float32))


def beginnings(
    described: Sequence[tuple[str, Any, str]], arrays: Mapping[str, Any], lengths: Any, mask: Any, what: str
) -> tuple[list[Floats], Any]:
    """What a stream begins with as the engine takes it, and which steps there are."""
    names = [name for name, _, _ in described]
    if not isinstance(arrays, Mapping):
        raise TypeError(f"{what}: expected a dict of arrays by input name, got {type(arrays).__name__}")
    if unknown := [name for name in arrays if name not in names]:
        raise ValueError(
            f"{what}: '{unknown[0]}' is no input that it begins with; there are {', '.join(names) or 'none'}"
        )
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"{what}: '{missing[0]}' is missing of what it begins with: {', '.join(names)}")
    given = [as_float32(arrays[name], f"{what}: '{name}'") for name in names]
    for (name, shape, _), array in zip(described, given, strict=True):
        if array.ndim != len(shape) or any(
            e not in (None, n) for e, n in zip(shape[1:], array.shape[1:], strict=False)
        ):
            raise ValueError(f"{what}: '{name}': expected shape {show(shape)}, got {show(array.shape)}")
    ports = [Port(name, tuple(shape), dtype, len(shape) == 3, "") for name, shape, dtype in described]
    if not any(port.timed for port in ports) and lengths is None and mask is None:
        return given, None
    return given, make_marks(lengths, mask, None, given, ports).engine
