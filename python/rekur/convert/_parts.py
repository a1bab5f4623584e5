"""Parts: what a file of named weights has, and how models are made of them in the order that the caller says."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekur._validate import did_you_mean

Made = tuple[Any, Sequence[Any]]  # a layer, and the weights that it gets


@dataclass(frozen=True)
class Part:
    """A recurrent stack, a matrix, a table of embeddings, …, of a file that says no more than that it is there."""

    name: str  # in the file; empty where it has none
    words: str  # what it is: "LSTM, 3 → 16, 2 layers"
    make: Callable[..., list[Made]]  # (**options) -> its layers, in order
    features: int | None  # of its input; None: any number
    options: tuple[str, ...] = ()  # what ``make`` takes
    sequence: bool = False  # whether it reads sequences
    directions: int = 1
    ids: bool = False  # whether its input is ids
    ids_as: str = ""  # the ``kind`` as which it reads ids

    def reads_ids(self, given: Mapping[str, Any]) -> bool:
        return self.ids or (self.ids_as != "" and given.get("kind") == self.ids_as)


class Chain(dict[str, Part]):
    """Parts whose order is known: they are used one behind the other."""


LAST = "last"  # in ``layers``: the last step of the sequence


def ask_for_order(parts: Mapping[str, Part], what: str) -> ValueError:
    """What is to be said where there are several parts and ``layers`` is not given."""
    listed = "; ".join(f"'{part.name}' ({part.words})" for part in parts.values())
    example = ", ".join(repr(name) for name in parts)
    return ValueError(
        f"{what}: it holds the weights of {listed}. It does not say in which order they are used and what stands "
        f"between them: say it by layers=[{example}], with names of activations, 'last' (the last step) and layers of "
        "rekur between; rekur.convert.load_parts gives each by itself"
    )


def chain(
    parts: Mapping[str, Part],
    layers: Iterable[Any],
    what: str,
    options: Mapping[str, Any] | None = None,
    input_shape: Sequence[int | None] | None = None,
    partial: bool = False,
) -> Any:
    """A Sequential of parts, in the order of ``layers``.

    Parameters
    ----------
    parts : dict of Part
    layers : list
        Names of parts, ``(name, options of the part)``, names of activations, ``"last"``, layers of rekur, and
        descriptions ``{"class_name": …, "config": …}`` of them.
    what : str
        Names the source in errors.
    options : dict, optional
        For all parts that take them.
    input_shape : tuple, optional
        Of one row; by default that which the first part reads, with any number of steps.
    partial : bool
        Whether parts may be left out.

    Raises
    ------
    ValueError
        For a name that is none, a part that is named twice or left out, and parts that do not fit each other.
    TypeError
        For an option that the part does not have.
    """
    from rekur.layers import Input
    from rekur.models import Sequential
    from rekur.models.given import give

    if not isinstance(layers, Iterable) or isinstance(layers, (str, bytes, Mapping)):
        raise TypeError(f"layers: expected a list of names and layers, got {layers!r}")
    entries = list(layers)
    made: list[Made] = []
    used: list[Part] = []
    own: list[Any] = []  # layers of parts
    ids = False
    for k, entry in enumerate(entries):
        name, given = entry, {}
        if isinstance(entry, (tuple, list)):
            if len(entry) != 2 or not isinstance(entry[0], str) or not isinstance(entry[1], Mapping):
                raise TypeError(f"layers: expected (name, {{…}}) of a part and its options, got {entry!r}")
            name, given = entry[0], dict(entry[1])
        if isinstance(name, str) and name in parts:
            part = parts[name]
            if part in used:
                raise ValueError(
                    f"layers: '{name}' stands there twice, and a chain takes every layer once; make a Model of what "
                    "rekur.convert.load_parts gives"
                )
            used.append(part)
            ids = ids if made else part.reads_ids(given)
            for key in given:
                if key not in part.options:
                    raise TypeError(f"layers: '{name}' has no option '{key}'{did_you_mean(key, part.options)}")
            common = {key: value for key, value in (options or {}).items() if key in part.options}
            last = part.directions == 1 and "return_sequences" in part.options and entries[k + 1 : k + 2] == [LAST]
            if last:  # the same, without the steps before
                common["return_sequences"] = False
            fresh = part.make(**{**common, **given})
            made += fresh
            own += [layer for layer, _ in fresh]
        elif isinstance(entry, (tuple, list)):
            raise ValueError(f"layers: {what} has no part {name!r}{did_you_mean(name, parts)}")
        elif entry == LAST and made and getattr(made[-1][0], "return_sequences", None) is False:
            continue
        else:
            made.append((_layer(entry, parts, what), ()))
    if not made:
        raise ValueError(f"layers: {what}: expected at least one part")
    if not partial and (left := [part.name for part in parts.values() if part not in used]):
        raise ValueError(
            f"layers: {what} also holds {', '.join(repr(name) for name in left)}: name all parts, or say partial=True "
            "where some are not wanted"
        )
    chained = [layer for layer, _ in made]
    entrance = []
    if not _is_input(chained[0]):
        # Parts of any number of features leave it as it is.
        features = next((part.features for part in used if part.features is not None), None)
        if input_shape is not None:
            if not isinstance(input_shape, (list, tuple)):
                raise TypeError(f"input_shape: expected that of a row, such as (None, 3), got {input_shape!r}")
            shape = tuple(input_shape)
        elif ids:
            shape = (None,)
        elif features is not None and made[0][0] in own:
            shape = (None, features) if any(part.sequence for part in used) else (features,)
        else:
            raise ValueError(f"layers: {what}: {chained[0]!r} comes first: say by input_shape= what a row of it is")
        entrance = [Input(shape, dtype="int32") if ids else Input(shape)]
    model = Sequential([*entrance, *chained])
    give((layer, list(weights)) for layer, weights in made if len(weights))
    return model


def _is_input(layer: Any) -> bool:
    from rekur.layers import InputLayer

    return isinstance(getattr(layer, "layer", layer), InputLayer)


def _layer(entry: Any, parts: Mapping[str, Part], what: str) -> Any:
    """A layer without weights of the file."""
    from rekur.layers import Activation, Layer, Step
    from rekur.layers.symbolic import SymbolicTensor

    if isinstance(entry, (Layer, SymbolicTensor)):
        return entry
    if isinstance(entry, Mapping):
        from rekur.models.configs import deserialize

        return deserialize(entry)
    if entry == LAST:
        return Step(-1)
    if isinstance(entry, str):
        try:
            return Activation(entry)
        except (TypeError, ValueError):
            hint = did_you_mean(entry, [*parts, LAST])
            raise ValueError(f"layers: {what} has no part '{entry}', and it is no activation{hint}") from None
    raise TypeError(f"layers: expected names of parts, activations and layers of rekur, got {entry!r}")
