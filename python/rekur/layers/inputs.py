"""Where data enters a model."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import integer
from rekur.layers.base import Layer, with_batch
from rekur.layers.symbolic import Call, SymbolicTensor, feature_shape


def _dtype_name(dtype: object, what: str) -> str:
    try:
        name = np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = str(dtype)
    if name in ("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64"):
        return "int32"  # as the data will be, whose ids are checked to fit
    if name not in ("float32", "int32"):
        raise ValueError(f"{what} must be 'float32' or 'int32', got {dtype!r} (data of other dtypes is converted)")
    return str(name)


def _batch_size(value: object, what: str) -> int | None:
    return None if value is None else integer(value, what)


class InputLayer(Layer):
    """Where data enters a model.

    Parameters
    ----------
    shape : tuple
        Of one row: ``(T, F)`` or ``(None, F)`` for sequences, ``(F,)`` for features; ``(T,)`` or ``(None,)`` for the
        ids of an Embedding.
    dtype : {"float32", "int32"}
        Other integers are taken for int32. An input that an Embedding reads becomes int32.
    batch_size : int, optional
        The rows of every batch, which stateful layers ask for: fit, evaluate and predict check it then.
    batch_shape : tuple, optional
        ``(batch_size, *shape)``, in place of both.
    name : str, optional
    """

    type = "Input"
    _keys = ("shape", "dtype")
    _further: ClassVar[Spec] = {"batch_size": None, "batch_shape": None}

    shape = Setting(feature_shape)
    dtype = Setting(_dtype_name)
    batch_size = Setting(_batch_size)

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
        **options: Any,
    ) -> None:
        shape = options.pop("input_shape", None) if shape is None else shape
        shape, batch_size = with_batch(shape, options)
        super().__init__(name, options)
        self.shape = shape
        self.batch_size = batch_size
        self.dtype = "float32" if dtype is None else dtype
        self._begin()

    def _hold_ids(self, what: str) -> None:
        """Become the int32 input of ``what``: Keras's inputs are float32 where nobody says more, and hold ids all the
        same."""
        if self._home is not None and self._home._native is not None:
            raise ValueError(f"{what}: {self!r} is the float32 input of a model that is built already")
        self._hold("int32")

    def _hold(self, dtype: str) -> None:
        """Become an input of another dtype: see Embedding."""
        vars(self)["dtype"] = dtype
        object.__setattr__(self.tensor, "dtype", dtype)

    @property
    def name(self) -> str:
        return self._name or "input"

    @name.setter
    def name(self, name: str) -> None:
        self._may_set("name")

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def config(self) -> Spec:
        return {**super().config(), **({} if self.batch_size is None else {"batch_size": self.batch_size})}

    def _engine_config(self) -> Spec:
        return super().config()

    def _begin(self) -> None:
        call = Call(self, [])
        call.give([((None, *self.shape), self.dtype)])
        self._calls = [call]

    def __call__(self, inputs: SymbolicTensor | Sequence[SymbolicTensor], **options: Any) -> Any:
        raise ValueError(f"{self!r} takes no inputs: it is where a model begins")

    @property
    def tensor(self) -> SymbolicTensor:
        return self._calls[0].outputs[0]


def Input(
    shape: Sequence[int | None] | None = None, *, dtype: Any = "float32", name: str | None = None, **options: Any
) -> SymbolicTensor:
    """A symbolic tensor where data enters a model; see :class:`InputLayer` for the parameters."""
    return InputLayer(shape, dtype=dtype, name=name, **options).tensor
