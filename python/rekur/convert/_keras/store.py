"""Weights of a file of Keras, in HDF5: only what is asked for is read, and nothing outside of the file."""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from rekur.convert._dialects import as_floats
from rekur.convert._keras import probe
from rekur.convert._keras.entries import Entry, groups, is_model, places, tops
from rekur.convert._needs import needed

# A member of an archive that is larger, and so much larger than what is stored of it, is no model.
_LARGE, _EXPANSION = 1 << 28, 100
_WEIGHTS = "model.weights.h5"


def member(path: str, name: str) -> bytes:
    """A member of an archive, in memory.

    Raises
    ------
    ValueError
        If the archive is broken, or lacks it, or it would grow beyond all measure.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(name)
            if info.file_size > _LARGE and info.file_size > _EXPANSION * info.compress_size:
                raise ValueError(
                    f"'{path}': its member '{name}' says that {info.compress_size} bytes become {info.file_size}"
                )
            return archive.read(info)
    except KeyError:
        raise ValueError(f"'{path}': there is no '{name}' in the archive") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"'{path}': the archive is broken: {error}") from None
    except zipfile.zlib.error as error:  # type: ignore[attr-defined]
        raise ValueError(f"'{path}': the archive is broken: {error}") from None


@contextmanager
def opened(source: "str | bytes", what: str) -> Iterator[Any]:
    """An HDF5 file, by its path or its bytes.

    Raises
    ------
    ImportError
        Without h5py.
    ValueError
        If it is broken.
    """
    h5py = needed("h5py", "reading and writing HDF5 files")
    probe.check(source, what)
    try:
        file = h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r")
    except OSError as error:
        raise ValueError(f"{what}: its HDF5 is broken: {error}") from None
    try:
        with file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # h5py's, of what it meets within
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{what}: its HDF5 is broken: {error}") from None


class Store:
    """The weights of layers, by their entries."""

    def arrays(self, entry: Entry) -> list[Any]:
        """Datasets of a layer, in the order of ``get_weights``."""
        raise NotImplementedError

    def lacks(self, entry: Entry) -> bool:
        """Whether the file has no weights of a layer or model that it has elsewhere already."""
        return False


class Groups(Store):
    """Of Keras 3: groups named after classes and attributes."""

    def __init__(self, file: Any, model: Entry, what: str) -> None:
        self._file, self._what = file, what
        self._places = {id(entry): place for entry, place in places(model)}
        # The first files of that form have another name for what is `layers` now.
        self._old = "_layer_checkpoint_dependencies" in file and "layers" not in file
        self._models = dict(_models(model, ""))

    def lacks(self, entry: Entry) -> bool:
        place = self._models.get(id(entry)) or self._places.get(id(entry))
        return place is not None and item(self._file, self._spelt(place.rstrip("/")), self._what) is None

    def _spelt(self, place: str) -> str:
        return place.replace("layers/", "_layer_checkpoint_dependencies/") if self._old else place

    def arrays(self, entry: Entry) -> list[Any]:
        found: list[Any] = []
        for group, count in groups(entry):
            place = self._spelt(f"{self._places[id(entry)]}{group}".rstrip("/") + "/vars")
            node = item(self._file, place, self._what)
            if node is None:
                if count:
                    raise ValueError(f"{self._what}: there is no group '{place}' in it: weights are missing")
                continue
            names = sorted(node, key=lambda name: int(name) if name.isdigit() else -1)
            if count is not None and len(names) < count:
                raise ValueError(f"{self._what}: '{place}': expected {count} arrays, got {len(names)}")
            found += [item(node, name, self._what) for name in names[:count]]
        return found


def _models(model: Entry, place: str) -> Iterator[tuple[int, str]]:
    """Models within, by the ids of their entries."""
    for entry, inner in tops(model, place):
        if is_model(entry):
            yield id(entry), inner
            yield from _models(entry, inner)


class Legacy(Store):
    """Of Keras 2, and Keras 3's .h5: a group a layer, whose ``weight_names`` are in order."""

    def __init__(self, file: Any, model: Entry, what: str) -> None:
        self._what = what
        self._root = item(file, "model_weights", what) if "model_weights" in file else file
        if self._root is None:
            raise ValueError(f"{what}: there is no group 'model_weights' in it")
        self._owners: dict[int, tuple[Entry, tuple[str, ...]]] = {}
        for top in model["config"]["layers"]:
            if is_model(top):
                for entry, names in _within(top, (_name(top),)):
                    self._owners[id(entry)] = (top, names)
            else:
                self._owners[id(top)] = (top, ())

    def arrays(self, entry: Entry) -> list[Any]:
        top, names = self._owners[id(entry)]
        group = item(self._root, _name(top), self._what)
        if group is None:
            return []
        listed = texts(group, "weight_names")
        if names:  # of a model within: those whose name says so
            wanted = names[-1]
            listed = [name for name in listed if wanted in name.split("/")[:-1]]
        return [item(group, name, self._what) for name in listed]


class Objects(Store):
    """Of a model of Keras in memory: its layers' own weights."""

    def __init__(self, model: Any, entry: Entry) -> None:
        self._layers: dict[int, Any] = {}
        self._add(model, entry)

    def _add(self, model: Any, entry: Entry) -> None:
        by_name = {layer.name: layer for layer in model.layers}
        for inner in entry["config"]["layers"]:
            layer = by_name.get(_name(inner))
            if layer is None:
                continue
            if is_model(inner):
                self._add(layer, inner)
            else:
                self._layers[id(inner)] = layer

    def arrays(self, entry: Entry) -> list[Any]:
        layer = self._layers.get(id(entry))
        return [] if layer is None else [np.asarray(array) for array in layer.get_weights()]


def _name(entry: Entry) -> str:
    return str(entry.get("name") or entry["config"]["name"])


def _within(model: Entry, names: tuple[str, ...]) -> Iterator[tuple[Entry, tuple[str, ...]]]:
    for entry in model["config"]["layers"]:
        inner = (*names, _name(entry)) if "name" in entry or "name" in entry.get("config", {}) else names
        if is_model(entry):
            yield from _within(entry, inner)
        else:
            yield entry, inner


def item(group: Any, name: str, what: str) -> Any:
    """A group or dataset of this very file; None where there is none.

    Raises
    ------
    ValueError
        For a link into another file.
    """
    h5py = needed("h5py", "reading HDF5 files")
    node = group
    for part in name.split("/"):
        if not part:
            continue
        if not isinstance(node, h5py.Group):
            return None
        link = node.get(part, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"{what}: '{name}' is a link into another file, '{link.filename}', which is not followed")
        node = node[part]
    if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
        raise ValueError(f"{what}: '{name}' has its numbers in another file, which is not read")
    return node


def texts(group: Any, name: str) -> list[str]:
    """A list of texts among the attributes, which may be cut into several: ``names0``, ``names1``, …."""
    if name in group.attrs:
        found = list(group.attrs[name])
    else:
        found, k = [], 0
        while f"{name}{k}" in group.attrs:
            found += list(group.attrs[f"{name}{k}"])
            k += 1
    return [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in found]


def text(group: Any, name: str) -> str | None:
    """A text among the attributes."""
    value = group.attrs.get(name)
    if value is None:
        return None
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def read(dataset: Any, shape: tuple[int, ...], what: str) -> Any:
    """The numbers of a dataset, once its shape is the one expected: what a file says of sizes costs nothing.

    Raises
    ------
    ValueError
        If the shape is another, or there are no numbers in it.
    """
    if dataset is None or not hasattr(dataset, "shape"):
        raise ValueError(f"{what}: expected an array of shape {shape}, got none")
    if tuple(dataset.shape) != shape:
        raise ValueError(f"{what}: expected an array of shape {shape}, got {tuple(dataset.shape)}")
    array = np.asarray(dataset[()])
    if f"{array.dtype}" == "bfloat16":  # ml_dtypes'
        array = array.astype(np.float32)
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # bfloat16
        array = (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return as_floats(array, what)


def weights_of_archive(path: str) -> bytes:
    """The HDF5 file within an archive."""
    return member(path, _WEIGHTS)


def is_legacy(file: Any) -> bool:
    """Whether a file of weights is of Keras 2's form."""
    return "model_weights" in file or "layer_names" in file.attrs or "layer_names0" in file.attrs


def size_of(path: str) -> int:
    return os.path.getsize(path)


def compiled_text(file: Any) -> Mapping[str, str | None]:
    """The texts of a file of a whole model."""
    return {key: text(file, key) for key in ("model_config", "training_config")}
