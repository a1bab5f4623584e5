"""What layers and models of one's own add to the loss: ``add_loss``, and the numbers of a whole batch that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from rekur import _structure
from rekur._settings import Setting
from rekur._validate import one_of
from rekur.layers.base import Layer
from rekur.layers.own import line
from rekur.layers.symbolic import SymbolicTensor


class AddLoss(Layer):
    """Adds the sum or the mean of all elements of its input to the loss, in ``fit`` and ``evaluate``.

    ``add_loss`` makes it. It gives nothing to read: the layer acts by being part of a model. Steps past a row's length
    count for nothing.

    Parameters
    ----------
    reduction : str
        "sum" or "mean".
    """

    type = "AddLoss"
    _keys = ("reduction",)

    reduction = Setting(one_of("sum", "mean"))

    def __init__(self, reduction: str = "sum", *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.reduction = reduction


def _refusing(what: str) -> Callable[..., NoReturn]:
    def refuse(self: Total, *_: Any) -> NoReturn:
        self._refuse(what)

    return refuse


class Total:
    """A number of a whole batch: sums and means of tensors, each times a factor, and a constant.

    ``ops.mean(x)`` and ``ops.sum(x)`` without an axis give it. Layers compute rows alike, so it can be added to others,
    be multiplied by numbers, and be given to ``add_loss``, and that is all.
    """

    __slots__ = ("constant", "terms")
    __array_ufunc__ = None  # so that NumPy's numbers leave the operators to this class
    shape = ()

    def __init__(self, terms: Sequence[tuple[SymbolicTensor, str, float]], constant: float = 0.0) -> None:
        self.terms = tuple(terms)
        self.constant = constant

    def __repr__(self) -> str:
        return f"<{' + '.join(f'{reduction} of {t.name!r}' for t, reduction, _ in self.terms)} over a batch>"

    def _scaled(self, factor: float) -> Total:
        return Total([(t, reduction, factor * own) for t, reduction, own in self.terms], factor * self.constant)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Total):
            return Total((*self.terms, *other.terms), self.constant + other.constant)
        number = _number(other)
        return self._refuse("be added to a tensor") if number is None else Total(self.terms, self.constant + number)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        number = _number(other)
        return self._refuse("be multiplied by a tensor") if number is None else self._scaled(number)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        number = _number(other)
        return self._refuse("be divided by a tensor") if number is None else self._scaled(1 / number)

    def __neg__(self) -> Total:
        return self._scaled(-1.0)

    def __pos__(self) -> Total:
        return self

    def __bool__(self) -> NoReturn:
        self._refuse("be asked whether it is true")

    __lt__ = __le__ = __gt__ = __ge__ = _refusing("be compared")
    __eq__ = __ne__ = _refusing("be compared")
    __hash__ = object.__hash__
    __pow__ = __rpow__ = __abs__ = __mod__ = __rmod__ = _refusing("be computed with")
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __matmul__ = __rmatmul__ = _refusing("be computed with")
    __getitem__ = __iter__ = __len__ = _refusing("be looked into")
    __int__ = __index__ = _refusing("be a number of Python")

    def __float__(self) -> NoReturn:
        self._refuse("be a number of Python")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self._refuse("be an array")

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot {what}: a number of a whole batch can be added to others, be multiplied by numbers and "
            f"be given to add_loss; axis=-1 reduces row by row ({line()})"
        )


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float, np.generic)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return float(value)
    return None


def total_of(name: str, x: SymbolicTensor) -> Total:
    """``ops.mean(x)`` and ``ops.sum(x)`` of all that a batch holds."""
    return Total([(x, name, 1.0)])


def on_totals(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """An operation of rekur.ops of which an argument is a Total."""
    values = [*given, *options.values()]
    if name in ("sum", "mean", "convert_to_tensor") and isinstance(values[0], Total):
        named = dict(zip(("x", "axis", "keepdims"), given, strict=False), **options)
        if name != "convert_to_tensor" and (named.get("axis") is not None or named.get("keepdims")):
            return values[0]._refuse("be reduced along an axis")
        return values[0]
    if len(values) == 2:
        a, b = values
        if name == "add":
            return a + b
        if name == "subtract":
            return a - b
        if name == "multiply":
            return a * b
        if name in ("divide", "true_divide") and isinstance(a, Total):
            return a / b
    if name == "negative":
        return -values[0]
    total: Total = next(v for v in values if isinstance(v, Total))
    return total._refuse(f"go into ops.{name}")


# What the call that is being traced has added so far: ends of its graph beside its outputs.
_collected: ContextVar[list[SymbolicTensor] | None] = ContextVar("rekur_added_losses", default=None)


@contextmanager
def collecting() -> Iterator[list[SymbolicTensor]]:
    """While a call is traced: what is added to the loss."""
    ends: list[SymbolicTensor] = []
    before = _collected.set(ends)
    try:
        yield ends
    finally:
        _collected.reset(before)


def ends_of(calls: Sequence[Any]) -> list[SymbolicTensor]:
    """What the calls of a graph add to the loss."""
    return [call.outputs[0] for call in calls if isinstance(call.layer, AddLoss)]


def add_to_call(whose: str, loss: Any) -> None:
    """``add_loss`` within a call."""
    ends = _collected.get()
    if ends is None:
        raise ValueError(
            f"{whose}: add_loss belongs into `call` of a layer or model of one's own; a model of inputs and outputs "
            "takes a tensor of its own: model.add_loss(tensor)"
        )
    ends += made_of(whose, loss)


def made_of(whose: str, loss: Any) -> list[SymbolicTensor]:
    """The layers that add it, by their outputs."""
    made: list[SymbolicTensor] = []
    for given in _structure.flatten(loss):
        if isinstance(given, SymbolicTensor):
            if given.dtype != "float32":
                raise TypeError(f"{whose}: add_loss: expected a float32 tensor, got {given!r} ({line()})")
            made.append(AddLoss("sum")(given))
        elif isinstance(given, Total):
            made += _layers_of(given)
        else:
            raise TypeError(
                f"{whose}: add_loss: expected a tensor, ops.mean or ops.sum of one, got {given!r} ({line()})"
            )
    return made


def _layers_of(total: Total) -> list[SymbolicTensor]:
    made: list[SymbolicTensor] = []
    constant = total.constant
    for tensor, reduction, factor in total.terms:
        if factor != 1:
            tensor = tensor * factor
        if constant and reduction == "mean":
            tensor, constant = tensor + constant, 0.0
        made.append(AddLoss(reduction)(tensor))
    if constant:
        from rekur import ops

        made.append(AddLoss("mean")(ops.full_like(total.terms[0][0], constant)))
    return made
