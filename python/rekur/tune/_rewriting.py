"""A model as its spec and its weights by name, and another one made of such."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rekur._spec import Spec
from rekur._validate import Floats, did_you_mean
from rekur.models import Model, Sequential
from rekur.models.structure import Structure

_ROWS, _STEPS = 3, 7  # of the sequences that two models are compared on
_NEAR = 2e-4  # times the largest output


class Taken(NamedTuple):
    """A model taken apart."""

    model: Any
    spec: Spec
    flat: Model  # of the spec, with the weights: models within it are gone
    weights: dict[str, Floats]

    @classmethod
    def of(cls, model: object, what: str) -> "Taken":
        """Raises TypeError for what is no model, ValueError for one that carries states from batch to batch."""
        if not isinstance(model, Structure):
            raise TypeError(f"{what}: expected a model, got {model!r}")
        model._engine()
        for carried in model._flat().states:
            raise ValueError(f"{what}: {carried.layer!r} is stateful: make the model without that, and set its weights")
        weights = {name: array.copy() for name, array in model.named_weights().items()}
        spec = copy.deepcopy(model.spec)
        return cls(model, spec, filled(spec, weights, 0), weights)

    def entry(self, layer: object, what: str) -> Spec:
        """What the spec says of a layer, given by its name or itself.

        Raises
        ------
        ValueError
            If there is none, naming those that there are.
        """
        name = layer if isinstance(layer, str) else getattr(layer, "name", None)
        entries: dict[str, Spec] = {entry["name"]: entry for entry in self.spec["layers"]}
        if name not in entries:
            names = [known for known, entry in entries.items() if entry["type"] != "Input"]
            raise ValueError(f"{what}: model '{self.model.name}' has no layer {name!r}{did_you_mean(str(name), names)}")
        return entries[name]


def filled(spec: Spec, weights: Mapping[str, Floats], seed: int, sequential: bool = False) -> Any:
    """A model of a spec and weights."""
    made = (Sequential if sequential else Model).from_spec(spec, seed=seed)
    made._assign(dict(weights))
    return made


def finished(taken: Taken, spec: Spec, weights: Mapping[str, Floats]) -> Any:
    """The model that takes the place of another: a Sequential of one, what is trained, compiled as it was."""
    old = taken.model
    listed = isinstance(old, Sequential) and _is_chain(spec)
    model = filled(spec, weights, old.seed, listed)
    old._sync_trained()
    members: dict[str, Any] = {name: member for member, name in model._names.items()}
    for name, trained, rate in old._engine().training:
        if name in members:
            members[name]._trainable, members[name]._lr_scale = trained, rate
    for name in ("_tokenizer", "_seq2seq"):
        if hasattr(old, name):
            setattr(model, name, getattr(old, name))
    given = old._compiled
    if given is not None:
        model.compile(
            copy.deepcopy(given.optimizer),
            given.loss,
            given.metrics,
            given.loss_weights,
            given.seed,
            given.weighted_metrics,
            given.remat,
            given.precision,
        )
    return model


def _is_chain(spec: Spec) -> bool:
    before: str | None = None
    for entry in spec["layers"]:
        if before is not None and entry.get("inputs") != [before]:
            return False
        before = entry["name"]
    return bool(spec["version"] == 1 and spec["outputs"] == [before])


def check_same(before: Taken, spec: Spec, weights: Mapping[str, Floats], refused: str) -> None:
    """Two models on random sequences.

    Raises
    ------
    ValueError
        Beginning with ``refused``, if what they compute differs.
    """
    after = filled(spec, weights, 0)
    x = random_inputs(before)
    old, new = (outputs_of(model, x) for model in (before.flat, after))
    for one, other in zip(old, new, strict=True):
        there = np.isfinite(one)
        largest = float(np.abs(one[there]).max(initial=0.0))
        difference = float(np.abs(one[there] - other[there]).max(initial=0.0))
        if not difference <= _NEAR * max(largest, 1.0):
            raise ValueError(f"{refused}: it would compute something else (by {difference:.2g} of {largest:.2g})")


def random_inputs(taken: Taken) -> Any:
    """Sequences as a model takes them, the same ones each time."""
    rng = np.random.default_rng(0)
    vocabulary = min((e["input_dim"] for e in taken.spec["layers"] if e["type"] == "Embedding"), default=2)
    arrays: list[Any] = []
    for tensor in taken.flat.inputs:
        shape = (_ROWS, *(size or _STEPS for size in tensor.shape[1:]))
        if tensor.dtype == "int32":
            arrays.append(rng.integers(0, vocabulary, shape).astype(np.int32))
        else:
            arrays.append(rng.normal(size=shape).astype(np.float32))
    return arrays[0] if len(arrays) == 1 else arrays


def outputs_of(model: Model, x: Any) -> list[Floats]:
    """What it predicts, as a list whatever their number."""
    found = model.predict(x, verbose=0)
    return found if isinstance(found, list) else [found]
