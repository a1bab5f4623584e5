"""Sizes that a description says against the arrays of the file: drawing weights of a size nobody has takes minutes."""

from collections.abc import Iterator
from typing import Any

from rekur.convert._keras.entries import Entry
from rekur.convert._keras.store import Store

_BLOCKS = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}


def check_sizes(entry: Entry, store: Store, what: str) -> None:
    """Refuse a layer whose arrays are of another size than it says.

    Raises
    ------
    ValueError
        Naming the layer.
    """
    if entry["class_name"] not in ("Dense", "Embedding", "Bidirectional", "TimeDistributed", "RNN", *_BLOCKS):
        return
    try:
        shapes = [tuple(array.shape) for array in store.arrays(entry)]
        wanted = list(_wanted(entry))
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # whoever makes the layer or reads its weights says what it is
    for shape, sizes in zip(shapes, wanted, strict=False):
        if len(shape) == len(sizes) and any(n is not None and n != m for n, m in zip(sizes, shape, strict=True)):
            shown = ", ".join("any" if n is None else str(n) for n in sizes)
            raise ValueError(
                f"{what}: weights of '{entry['config'].get('name')}' ({entry['class_name']}): expected an array of "
                f"shape ({shown}), got {shape}"
            )


def _wanted(entry: Entry) -> Iterator[tuple[Any, ...]]:
    """The shapes of a layer's arrays, as far as its settings say them."""
    cls, config = str(entry["class_name"]).removesuffix("Cell"), entry["config"]
    if cls in _BLOCKS:
        units, width = config["units"], _BLOCKS[cls] * config["units"]
        yield None, width
        yield units, width
        if config.get("use_bias", True):
            yield (width,) if cls != "GRU" or not config.get("reset_after", True) else (2, width)
    elif cls == "Dense":
        yield None, config["units"]
        if config.get("use_bias", True):
            yield (config["units"],)
    elif cls == "Embedding":
        yield config["input_dim"], config["output_dim"]
    elif cls == "Bidirectional":
        yield from _wanted(config["layer"])
        yield from _wanted(config.get("backward_layer") or config["layer"])
    elif cls == "TimeDistributed":
        yield from _wanted(config["layer"])
    elif cls == "RNN":
        yield from _wanted(config["cell"])
    elif cls == "StackedRNNCells":
        for cell in config["cells"]:
            yield from _wanted(cell)
    else:
        raise KeyError(cls)
