"""Layers of one's own: ``call`` is run once, with symbolic tensors, and what it calls is what the layer is."""

from __future__ import annotations

import inspect
import sys
from typing import Any, NoReturn

import numpy as np

from rekur import _structure
from rekur._trace import at_line
from rekur._validate import integer, show
from rekur.layers.inputs import InputLayer
from rekur.layers.symbolic import SymbolicTensor

_OURS = __file__.rpartition("layers")[0]


def line() -> str:
    """Where in the user's code we are."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return at_line(frame.f_code.co_filename, frame.f_lineno)


class Training:
    """What ``training`` is while a call is traced: to be handed on to layers, which know by themselves."""

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "`training` is neither true nor false while a call is traced, which happens once for both: hand it on to "
            f"layers (Dropout and its like act in training alone) ({line()})"
        )

    def __repr__(self) -> str:
        return "<training>"


TRAINING = Training()


def has_own_call(made: type) -> bool:
    """Whether a class outside rekur says what its layers or models do."""
    found = inspect.getattr_static(made, "call", None)
    return inspect.isfunction(found) and found.__module__.partition(".")[0] != "rekur"


def further(call: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments that Keras hands to a ``call`` that asks for them."""
    names = inspect.signature(call).parameters
    added: dict[str, Any] = {}
    if "training" in names and given.get("training") is None:
        added["training"] = TRAINING
    return added


def call_layer(self: Any, *arguments: Any, **options: Any) -> Any:
    """Connect the layer to its inputs: symbolic tensors, by themselves or in lists, tuples and dicts; what else there
    is among the arguments is handed to ``call`` as it is. With arrays the outputs are computed.

    Returns
    -------
    What ``call`` returns, with the tensors of this call.

    Raises
    ------
    TypeError, ValueError
        For what cannot be traced, naming the line.
    """
    given = (arguments, options)
    tensors = [leaf for leaf in _structure.flatten(given) if isinstance(leaf, SymbolicTensor)]
    if not tensors:
        return at_once(self, given)
    here = _structure.description(given, lambda leaf: "tensor" if isinstance(leaf, SymbolicTensor) else repr(leaf))
    if self._calls and here != vars(self).get("_given_structure", here):
        raise ValueError(f"{self!r} was called before with other arguments; make another layer")
    vars(self)["_given"], vars(self)["_given_structure"] = given, here
    try:
        made = self._connect(tensors)
        self._calls[-1].given = given
    finally:
        vars(self).pop("_given", None)
    outputs = made if isinstance(made, list) else [made]
    return _structure.like(self._returned, outputs)


def is_traced() -> bool:
    """Whether a call of a layer or model of one's own is being traced."""
    from rekur.layers.added import _collected  # which is made of this module

    return _collected.get() is not None


def at_once(layer: Any, given: Any) -> Any:
    """What a layer gives for arrays, computed; the first call makes its weights."""
    from rekur.models import Model

    arguments, options = given
    mask = options.get("mask")
    if mask is not None and not layer._own:
        given = arguments, {key: value for key, value in options.items() if key != "mask"}
    else:
        mask = None
    arrays = [np.asarray(leaf) for leaf in _structure.flatten(given) if _is_array(leaf)]
    if not arrays:
        raise TypeError(f"{layer!r}: expected symbolic tensors or arrays among its arguments, got {given[0]!r}")
    kinds = [(a.shape[1:], layer.input_dtype if a.dtype.kind in "iub" else "float32") for a in arrays]
    key = _structure.description((kinds, given), lambda leaf: "array" if _is_array(leaf) else repr(leaf))
    alone = vars(layer).setdefault("_alone", {})
    if key not in alone:
        entrances = [InputLayer(shape, dtype=dtype, name=f"x{k}").tensor for k, (shape, dtype) in enumerate(kinds)]
        rest = iter(entrances)
        again, named = _structure.mapped(lambda leaf: next(rest) if _is_array(leaf) else leaf, given)
        found = layer(*again, **named)
        alone[key] = Model(entrances, _structure.flatten(found)), found
    model, found = alone[key]
    if is_traced() and model.trainable_weights:
        raise ValueError(
            f"{layer!r}: called on numbers while a call is traced, it would stay what it is now and not be trained: "
            f"call it on a tensor; layers.PositionEmbedding has a row of weights for each step ({line()})"
        )
    marks = {} if mask is None else {"mask": {"x0": mask}}
    outputs = model.predict(arrays, batch_size=max(len(arrays[0]), 1), verbose=0, **marks)
    return _structure.like(found, outputs if isinstance(outputs, list) else [outputs])


def _is_array(leaf: Any) -> bool:
    return not isinstance(leaf, SymbolicTensor) and hasattr(leaf, "__array__") and np.ndim(leaf) > 0


def wants_arrays(inputs: Any) -> bool:
    """Whether a layer is called on data: an array, or a list that holds some."""
    if isinstance(inputs, SymbolicTensor):
        return False
    leaves = _structure.flatten(inputs)
    return bool(leaves) and all(_is_array(leaf) for leaf in leaves)


def compose(self: Any, inputs: list[SymbolicTensor]) -> Any:
    """The layer's call, run on the entrances of its parts."""
    rest = iter(inputs)
    given = vars(self).pop("_given", None)
    if given is None:  # a Sequential's layer, or one of a model's
        given = ((inputs[0] if len(inputs) == 1 else list(inputs),), {})
    arguments, options = _structure.mapped(lambda leaf: next(rest) if isinstance(leaf, SymbolicTensor) else leaf, given)
    if not self.built:
        shapes = [tensor.shape for tensor in inputs]
        self.build(shapes[0] if len(shapes) == 1 else shapes)
        vars(self)["_built"] = True
    returned = self.call(*arguments, **{**options, **further(self.call, options)})
    leaves = _structure.flatten(returned)
    for leaf in leaves:
        if not isinstance(leaf, SymbolicTensor):
            raise TypeError(f"{self!r}: call must return what it made of its inputs, got {leaf!r}")
    if self._own_weights:
        from rekur.layers.weights import check_products  # which is made of this module

        check_products(self, leaves)
    vars(self)["_returned"] = _structure.mapped(lambda _: None, returned)
    same = [tensor for tensor in leaves if tensor in inputs or leaves.count(tensor) > 1]
    if same:
        from rekur.layers.core import Activation

        done: set[int] = set()
        for k, tensor in enumerate(leaves):
            if tensor in inputs or id(tensor) in done:
                leaves[k] = Activation("linear", name=f"output_{k}")(tensor)
            done.add(id(tensor))
    return leaves


def shape_of(shape: Any, what: str) -> tuple[int, ...]:
    """The shape of a weight."""
    whole = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return tuple(integer(n, f"{what}: shape {show(whole)}: a dimension") for n in whole)
