"""One recurrent layer as the engine runs it: what is known of it before data arrives, and calls on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._spec import Spec, dumps, model_spec, reference

Floats = NDArray[np.float32]
NO_TOKEN = np.zeros(2, np.uint32)  # names nothing that was kept


class Key(NamedTuple):
    """What an engine depends on; equal keys have one plan."""

    layer: str  # the layer's spec as JSON, without name and inputs
    features: int
    steps: tuple[int, ...]  # features of the step inputs that are given
    states: int  # how many initial states are given
    lengths: bool
    resets: bool


class Plan:
    """A layer with the inputs of a call.

    Attributes
    ----------
    spec : str
        Of a model of this layer alone, whose outputs are every step's and the last states.
    parameters : list of (name, shape)
        In the engine's order.
    output_features : list of int
        Of the outputs at every step, then of each state.
    weights, inputs, operands : int
        How many weights there are; inputs, which are x, step inputs and initial states; and both with lengths and
        resets.
    """

    def __init__(self, key: Key, layer: Spec) -> None:
        widths = [key.features, *key.steps]
        self.key = key
        self.name = f"{layer['type']}({layer['units']})"
        made = _core.Model(dumps(_spec(layer, widths, [])))
        self.output_features: list[int] = [int(shape[-1] or 0) for _, shape, _ in made.outputs]
        self.spec = dumps(_spec(layer, widths, self.output_features[1 : 1 + key.states]))
        self.parameters = [(name.split("/", 1)[1], tuple(shape)) for name, shape in _core.parameter_shapes(self.spec)]
        self.weights = len(self.parameters)
        self.inputs = len(widths) + key.states
        self.operands = self.weights + self.inputs + key.lengths + key.resets

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.key == other.key

    def __repr__(self) -> str:  # what a jaxpr shows
        return self.name

    def _steps(self, lengths_and_resets: Sequence[Any]) -> Any:
        given = iter(lengths_and_resets)
        timed = 1 + len(self.key.steps)
        steps: dict[str, Any] = {}
        for name, there in (("lengths", self.key.lengths), ("resets", self.key.resets)):
            if there:
                steps[name] = [np.ascontiguousarray(next(given))] * timed + [None] * (self.inputs - timed)
        return steps or None

    def run(self, weights: Sequence[Any], operands: Sequence[Any], keep: bool) -> list[Any]:
        """The outputs at every step and the last states; keep: and the token of what the backward pass may find.

        weights: all, cut anywhere. operands: inputs, lengths, resets.
        """
        inputs, steps = [_dense(x) for x in operands[: self.inputs]], self._steps(operands[self.inputs :])
        outputs, token = _core.layer_run(self.spec, [_dense(w) for w in weights], inputs, steps, keep)
        return [*outputs, token] if keep else list(outputs)

    def back(
        self,
        weights: Sequence[Any],
        operands: Sequence[Any],
        token: Any,
        gradients: Sequence[Any],
        wanted: Sequence[bool],
    ) -> list[Floats]:
        """Gradients of the wanted ones of weights and inputs. gradients: of run's outputs, None where none arrived."""
        inputs, steps = [_dense(x) for x in operands[: self.inputs]], self._steps(operands[self.inputs :])
        arrived = [None if g is None else _dense(g) for g in gradients]
        token = np.ascontiguousarray(token, np.uint32)
        return _core.layer_back(self.spec, [_dense(w) for w in weights], inputs, steps, token, arrived, list(wanted))


def _dense(x: Any) -> Floats:
    array: Floats = np.require(np.asarray(x), np.float32, ["C", "A"])
    return array


def _spec(layer: Spec, widths: Sequence[int], states: Sequence[int]) -> Spec:
    names = ["x", *(f"step{k}" for k in range(len(widths) - 1))]
    inputs = [_input(name, None, width) for name, width in zip(names, widths, strict=True)]
    inputs += [_input(f"state{k}", size) for k, size in enumerate(states)]
    named = [entry["name"] for entry in inputs]
    whole = {**layer, "name": "rnn", "return_sequences": True, "return_state": True}
    shapes: list[Any] = [((None, None, width), "float32") for width in widths]
    outputs = len(_core.infer_layer(dumps(whole), shapes))
    return model_spec(
        "jax", [*inputs, {**whole, "inputs": named}], named, [reference("rnn", k) for k in range(outputs)]
    )


def _input(name: str, *shape: int | None) -> Spec:
    return {"type": "Input", "name": name, "shape": list(shape), "dtype": "float32"}
