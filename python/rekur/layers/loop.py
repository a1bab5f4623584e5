"""Loop: a model of one time step, for every step of a sequence."""

from collections.abc import Mapping
from typing import Any

from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import boolean, integer
from rekur.layers.base import Layer


def _body(value: object, what: str) -> Spec:
    from rekur.models.structure import Structure  # which is made of this package

    if isinstance(value, Structure):
        return value._make_spec()
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a model of one step, or the spec of one, got {value!r}")
    return dict(value)


def _steps(value: object, what: str) -> int:
    return integer(value, what, 1)


def _states(value: object, what: str) -> int:
    return integer(value, what, 0)


class Loop(Layer):
    """A model of one time step, carried out for every step of a sequence, its states handed from step to step.

    Parameters
    ----------
    body : Model or dict
        The model, or its spec. Its inputs are, in this order: ``steps`` inputs that are one step of a sequence, (1, F)
        or int32 (1,); constants, which every step sees whole, such as a memory (None, M); ``states`` states, (units,)
        or (1, C), or (None, 1) with as many numbers as the first constant has steps. Its outputs are one or more of the
        step, (F,) or (1, F), then the next value of each state. What is taken of a model is its description, not its
        weights.
    steps, states : int
        How many of the body's inputs are sequences, the first ones, and states, the last ones.
    return_sequences : bool
        Whether outputs are those of every step, (B, T, F), or of a row's last one, (B, F).
    return_state : bool
        Whether to return the last states too.

    Notes
    -----
    Called on a list: the sequences (B, T, F), the constants (B, …), and initial states, of which the last ones may be
    left out: they are zeros. A recurrent layer in the body has its states as inputs and gives them
    (``return_state=True``). Rows take part for as many steps as they have, and nothing is computed for those that have
    ended. Constants have lengths and masks of their own. Where a row has no step, outputs are zeros, or where a mask
    leaves the step out what they were before.

    In training, masks of a recurrent layer's options are one a sequence, as they promise; a Dropout layer draws anew at
    each step. Layers that add to the loss, and BatchNormalization, cannot stand in a body.

    Weights: those of the body's layers, named loop/LAYER/WEIGHT.
    """

    type = "Loop"
    _keys = ("body", "steps", "states", "return_sequences", "return_state")

    body = Setting(_body)
    steps = Setting(_steps)
    states = Setting(_states)
    return_sequences = Setting(boolean)
    return_state = Setting(boolean)

    def __init__(
        self,
        body: Any,
        steps: int = 1,
        states: int = 0,
        return_sequences: bool = False,
        return_state: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.body = body
        self.steps = steps
        self.states = states
        self.return_sequences = return_sequences
        self.return_state = return_state
