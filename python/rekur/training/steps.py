"""Which steps of the rows are there: lengths, masks, and where another sequence begins within a row."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rekur._validate import Array, Ints, as_int32, as_numeric, show

if TYPE_CHECKING:
    from rekur.training.batch import Index
    from rekur.training.data import Port

Flags: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Marks:
    """Per input: lengths (B,), masks and resets (B, T); None where nothing is said."""

    lengths: list[Ints | None]
    masks: list[Flags | None]
    resets: list[Flags | None]

    def take(self, index: "Index") -> "Marks":
        """Some rows; a slice copies nothing."""
        if self.engine is None:
            return self

        def some(arrays: list[Any]) -> list[Any]:
            return [None if a is None else np.ascontiguousarray(a[index]) for a in arrays]

        return Marks(some(self.lengths), some(self.masks), some(self.resets))

    @functools.cached_property
    def engine(self) -> Any:
        """As the engine takes it; None where nothing is said."""
        given: dict[str, list[Any]] = {"lengths": self.lengths, "masks": self.masks, "resets": self.resets}
        said = {key: arrays for key, arrays in given.items() if any(a is not None for a in arrays)}
        return said or None


def make_marks(
    lengths: object, mask: object, resets: object, inputs: Sequence[Array], ports: "Sequence[Port]"
) -> Marks:
    """What a call was given, checked.

    Raises
    ------
    ValueError
        For shapes that do not fit, lengths out of range, or an input without a time axis.
    TypeError
        For flags that are neither booleans nor numbers.
    """
    return Marks(
        _each(lengths, "lengths", inputs, ports, _lengths),
        _each(mask, "mask", inputs, ports, _flags),
        _each(resets, "resets", inputs, ports, _flags),
    )


def _each(given: Any, what: str, inputs: Sequence[Array], ports: "Sequence[Port]", make: Any) -> list[Any]:
    """An array for the one input with a time axis, or a dict by input name."""
    from rekur.training.data import per_port

    if given is None:
        return [None] * len(ports)
    timed = [p for p in ports if p.timed]
    if not timed:
        raise ValueError(f"{what}: no input of the model has a time axis")
    named: Mapping[str, Any]
    if isinstance(given, Mapping):
        named = dict(zip([p.name for p in timed], per_port(given, timed, what, default=True), strict=True))
    elif len(timed) == 1:
        named = {timed[0].name: given}
    else:
        names = ", ".join(f"'{p.name}'" for p in timed)
        raise ValueError(f"{what}: several inputs have a time axis; give a dict with any of {names}")
    values = [named.get(p.name) for p in ports]
    return [
        None if v is None else make(v, a, f"{what} of input '{p.name}'")
        for v, a, p in zip(values, inputs, ports, strict=True)
    ]


def _lengths(value: object, array: Array, what: str) -> Ints:
    ints = as_int32(value, what)
    if ints.shape != (len(array),):
        raise ValueError(f"{what}: expected shape ({len(array)},), one length a row, got {show(ints.shape)}")
    steps = array.shape[1]
    wrong = np.flatnonzero((ints < 0) | (ints > steps))
    if len(wrong):
        raise ValueError(
            f"{what}: expected 0 to {steps}, the steps of the input, got {ints[wrong[0]]} at row {wrong[0]}"
        )
    return ints


def _flags(value: object, array: Array, what: str) -> Flags:
    flags = as_numeric(value, what)
    if flags.shape == (*array.shape[:2], 1):
        flags = flags[..., 0]
    if flags.shape != array.shape[:2]:
        raise ValueError(
            f"{what}: expected shape {show(array.shape[:2])}, one flag a step, got {show(np.shape(flags))}"
        )
    wrong = np.argwhere((flags != 0) & (flags != 1))
    if len(wrong):
        row, step = wrong[0]
        raise ValueError(f"{what}: expected True or False, got {flags[row, step]} at row {row}, step {step}")
    return np.ascontiguousarray(flags, dtype=np.uint8)
