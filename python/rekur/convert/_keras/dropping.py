"""Masks of a file of Keras: where a call gets another than comes with its input here, the input is changed to that."""

from dataclasses import dataclass, field
from typing import Any

from rekur.convert._keras.entries import Entry
from rekur.convert._keras.mask_values import Mask, Place
from rekur.convert._keras.masks import Call, Flow, State, of_keras_2

Where = tuple[int, int]  # the id of an entry, the number of its call
Changes = dict[Where, dict[Place, Place | None]]  # by tensor another that has the mask; None: there is to be no mask


@dataclass
class Changing(Flow):
    """Finds the calls before which masks are dropped or taken from another tensor."""

    what: str = ""
    changes: Changes = field(default_factory=dict)
    _seen: dict[tuple[int, int, Place], tuple[Place | None, bool]] = field(default_factory=dict)

    def settle(self, call: Call) -> None:
        where = (id(call.entry), call.number)
        states: list[State] = []
        for place, state, mask in zip(call.places, call.states, call.keras, strict=True):
            other: Place | None = None
            if mask is not None and mask != state.here:
                other = next((p for p, s in call.others.items() if s.here == mask), None)
                if other is None or not isinstance(mask, frozenset):
                    raise ValueError(self._refusal(call, mask))
            states.append(State(mask, mask, state.tensor))
            if mask != state.here:
                self.changes.setdefault(where, {})[place] = other
        call.states = states

    def uneven(self, call: Call) -> None:
        try:
            super().uneven(call)
        except ValueError as error:
            raise ValueError(f"{self.what}: {error}") from None

    def called(self, call: Call) -> None:
        changed = self.changes.get((id(call.entry), call.number), {})
        for place, state in zip(call.places, call.states, strict=True):
            now = (changed.get(place), place in changed and state.here is None)
            key = (id(call.entry), call.number, place)
            before = self._seen.setdefault(key, now)
            # Where it has no mask anyway, dropping it changes nothing.
            if before != now and (state.here is not None or before[0] is not None or not now[1]):
                raise ValueError(
                    f"{self.what}: '{call.name}' is part of a model that is called several times, with a mask and "
                    "without one, which is not read: give each call a model of its own"
                )

    def _refusal(self, call: Call, mask: Mask) -> str:
        if call.explicit and not (isinstance(mask, tuple) and mask[0] == "or"):
            return (
                f"{self.what}: the call of '{call.name}' is given mask= by hand, another than the one that comes with "
                "its input; here masks come with the tensors, from Masking and Embedding(mask_zero=True), or with "
                "mask= of predict"
            )
        return (
            f"{self.what}: the call of '{call.name}' gets another mask than here, where a step of several tensors is "
            "there if it is in all of them, not in one: give the layers before it one mask"
        )


def changes_of(model: Entry, what: str) -> Changes:
    """Before which calls of a model the masks of which tensors change.

    Raises
    ------
    ValueError
        For a mask that a call cannot get here, naming the layer.
    """
    if of_keras_2(model):
        return {}
    flow = Changing(what=what)
    flow.follow(model)
    return flow.changes


def with_mask_of(tensor: Any, other: Any) -> Any:
    """The same sequence with the mask of another one, without a mask for None."""
    from rekur.layers import Concatenate, Cropping1D, Reshape

    shape = tensor.shape
    if len(shape) < 3:
        return tensor
    tensor = (Cropping1D(0) if len(shape) == 3 else Reshape((-1, *shape[2:])))(tensor)
    return tensor if other is None else Concatenate()([tensor, other])[..., : shape[-1]]
