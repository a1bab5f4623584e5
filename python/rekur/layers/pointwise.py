"""Lambda: equations of one's own as a layer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from rekur._settings import Setting, frozen
from rekur._spec import Spec
from rekur.layers.base import Layer
from rekur.layers.symbolic import SymbolicTensor


def _function(value: object, what: str) -> Any:
    if value is not None and not callable(value):
        raise TypeError(f"{what} must be a function of a row, got {value!r}")
    return value


def _arguments(value: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a dict of keyword arguments, got {value!r}")
    return dict(value or {})


class Lambda(Layer):
    """y = f(x), f a function of a row written in :mod:`rekur.ops`, at every row and time step alike.

    The function is called once, with symbols, when the layer is connected. What it does is recorded as data: it trains
    (gradients are derived), runs in streams and in C++, is saved with the model and exported to ONNX like any layer.

    Parameters
    ----------
    function : callable
        Of one symbol, or where the layer is called on a list, of a list of symbols, as in Keras. It returns a value, or
        several as a list or tuple.
    arguments : dict, optional
        Further keyword arguments of the function.

    Raises
    ------
    TypeError, ValueError
        When the layer is connected, for what equations cannot say (an ``if`` on a symbol, indexing, other libraries'
        functions), naming the line.

    Notes
    -----
    A function that looks at more than a row (``x[:, -1, :]``, ``ops.concatenate``, ``ops.mean`` over time) is traced
    over whole tensors instead, as the call of a layer of one's own is, and saved as the layers that it makes.

    Inputs ``(B, F)`` or ``(B, T, F)``; several of equal shapes, or some with one feature, which goes with every feature
    of the others. An output has the shape of the inputs, or one feature where a reduction gave it. Weights: none.
    Keras's ``output_shape`` is not needed: shapes follow from the equations.
    """

    type = "Lambda"
    _keys = ("equations",)
    _idle: ClassVar[dict[str, object]] = {"output_shape": None, "mask": None}

    function = Setting(_function)
    arguments = Setting(_arguments)

    def __init__(
        self,
        function: Callable[..., Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        equations: Spec | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        if (function is None) == (equations is None):
            raise TypeError(f"{self!r}: expected a function of a row, such as lambda x: x * rekur.ops.sigmoid(x)")
        self.function = function
        self.arguments = arguments
        self._equations: Spec | None = frozen(equations)

    @property
    def equations(self) -> Spec | None:
        """What was recorded, as the spec holds it; None before the layer is called."""
        return self._equations

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor], **options: Any) -> Any:
        self._listed = len(inputs) if isinstance(inputs, (list, tuple)) else None
        return super().__call__(inputs, **options)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if self._parts is None:
            self._trace_or_whole(inputs)
        return super()._connect(inputs)

    def _trace_or_whole(self, inputs: list[SymbolicTensor]) -> None:
        """Equations of a row where the function is that; else it is traced over whole tensors, into layers."""
        try:
            self._trace(self._listed)
        except (TypeError, ValueError, AttributeError) as error:
            if self.function is None:
                raise
            self._whole = True
            try:
                self._open_up(inputs)
            except (TypeError, ValueError, AttributeError, IndexError, NotImplementedError) as other:
                self._whole, self._parts = False, None
                # What equations cannot say is the plainer message, unless the function speaks of whole tensors.
                raise (error if not isinstance(other, (NotImplementedError, IndexError)) else other) from None

    _listed: int | None = None  # how many inputs stand in a list; None, where one comes by itself
    _whole = False  # whether the function is of whole tensors

    def get_config(self) -> dict[str, Any]:
        """With the function itself, where it was not recorded as equations yet."""
        found = super().get_config()
        if self._equations is None:
            del found["equations"]
            found.update({"function": self.function, "arguments": dict(self.arguments)})
        return found

    def _is_composed(self) -> bool:
        return self._whole

    def _saved_as_graph(self) -> bool:
        return self._whole

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        given = inputs[0] if self._listed is None else list(inputs)
        assert self.function is not None
        made = self.function(given, **dict(self.arguments))
        outputs = list(made) if isinstance(made, (list, tuple)) else [made]
        if not outputs:
            raise TypeError(f"{self!r}: the function must return a value or several, got {made!r}")
        for output in outputs:
            if not isinstance(output, SymbolicTensor):
                raise TypeError(f"{self!r}: the function must return what it made of its inputs, got {output!r}")
        return outputs

    def _was_set(self, name: str) -> None:
        self._equations = None  # another function is recorded when the layer is called
        super()._was_set(name)

    def _trace(self, listed: int | None) -> None:
        """Record the equations, once. ``listed``: how many inputs stand in a list; None, where one comes by itself."""
        if self._equations is not None:
            return
        from rekur.ops import trace

        function, arguments = self.function, dict(self.arguments)
        assert function is not None
        names = ["x"] if listed is None else [f"x{k}" for k in range(listed)]
        found = trace(
            lambda values: function(values if listed is not None else values[0], **arguments),
            names,
            repr(self),
            as_list=True,
        )
        self._equations = frozen(found)

    def __getstate__(self) -> dict[str, Any]:
        state = {**super().__getstate__(), "_whole": False}
        if self._equations is not None:
            state["function"] = None  # what it recorded is all that the layer is; functions cannot always be pickled
        return state
