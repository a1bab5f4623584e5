"""Weights of a file of Keras, in HDF5: only what is asked for is read, and nothing outside of the file."""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rekur.convert._dialects import as_floats
from rekur.convert._keras import probe
from rekur.convert._keras.entries import Entry, class_of, groups, is_model, tops
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

    def check_all_read(self, idle: Sequence[Entry]) -> None:
        """Refuse weights that no layer has taken; ``idle`` are entries whose weights count for nothing here."""


class Groups(Store):
    """Of Keras 3: groups named after classes and attributes."""

    def __init__(self, file: Any, model: Entry, what: str) -> None:
        self._file, self._what = file, what
        self._read: set[str] = set()
        # The first files of that form have another name for what is `layers` now.
        self._old = "_layer_checkpoint_dependencies" in file and "layers" not in file
        self._models: dict[int, str] = {}
        self._places: dict[int, str] = {}
        self._find(model, "", "")

    def _find(self, model: Entry, ours: str, theirs: str) -> None:
        """Where the file has a model's layers: by their names where it has the same, else by their order."""
        classes: dict[str, list[tuple[Entry, str]]] = {}
        for entry, place in tops(model, ours):
            classes.setdefault(class_of(entry), []).append((entry, theirs + place[len(ours) :]))
        for listed in classes.values():
            names = [_name(entry) for entry, _ in listed]
            there = [self._named(place) for _, place in listed]
            found = dict(zip(there, (place for _, place in listed), strict=True))
            by_name = len(found) == len(listed) and set(found) == set(names)
            if not by_name:
                self._check_names(names, there)
            for (entry, place), name in zip(listed, names, strict=True):
                at = found[name] if by_name else place
                self._places[id(entry)] = at
                if is_model(entry):
                    self._models[id(entry)] = at
                    self._find(entry, at, at)

    def _named(self, place: str) -> str | None:
        """The name of the layer whose weights are at a place."""
        node = item(self._file, self._spelt(f"{place}vars"), self._what)
        return None if node is None else text(node, "name")

    def _check_names(self, ours: Sequence[str], theirs: Sequence[str | None]) -> None:
        for name, there in zip(ours, theirs, strict=True):
            # Names that were given, not counted.
            if there is not None and there != name and there in ours and not re.search(r"(^|_)\d+$", there):
                raise ValueError(
                    f"{self._what}: it has the weights of '{there}' where the model has '{name}', and other names "
                    "differ: give the model's layers the names they have in the file"
                )

    def check_all_read(self, idle: Sequence[Entry]) -> None:
        if self._old or "layers" not in self._file:
            return
        without = tuple(f"layers/{self._places[id(e)].removeprefix('layers/')}" for e in idle if id(e) in self._places)
        left = [
            name
            for name in _datasets(self._file["layers"], "layers")
            if name not in self._read and not name.startswith(without) and "seed_generator" not in name
        ]
        _refuse_left(left, self._what)

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
            self._read |= {f"{place}/{name}" for name in names[:count]}
        return found


def _datasets(node: Any, place: str) -> Iterator[str]:
    """The names of the datasets in a group of this very file."""
    h5py = needed("h5py", "reading HDF5 files")
    waiting, seen = [(node, place)], set()
    while waiting:
        here, name = waiting.pop()
        if isinstance(here, h5py.Dataset):
            yield name
        elif isinstance(here, h5py.Group) and here.id not in seen:
            seen.add(here.id)
            for key in here:
                if isinstance(here.get(key, getlink=True), h5py.HardLink):
                    waiting.append((here[key], f"{name}/{key}"))


def _refuse_left(left: Sequence[str], what: str) -> None:
    if left:
        more = f" and {len(left) - 6} more" if len(left) > 6 else ""
        raise ValueError(
            f"{what}: it also has weights that the model has no layer for: {', '.join(sorted(left)[:6])}{more}; say "
            "partial=True where they are not wanted"
        )


class Legacy(Store):
    """Of Keras 2, and Keras 3's .h5: a group a layer, whose ``weight_names`` are in order."""

    def __init__(self, file: Any, model: Entry, what: str) -> None:
        self._what = what
        self._root = item(file, "model_weights", what) if "model_weights" in file else file
        if self._root is None:
            raise ValueError(f"{what}: there is no group 'model_weights' in it")
        self._read: set[str] = set()
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
            listed = _of_path(listed, names)
        self._read |= {f"{_name(top)}/{name}" for name in listed}
        return [item(group, name, self._what) for name in listed]

    def check_all_read(self, idle: Sequence[Entry]) -> None:
        without = tuple(f"{_name(self._owners[id(e)][0])}/" for e in idle if id(e) in self._owners)
        left = [
            name
            for key in self._root
            if key not in ("optimizer_weights", "top_level_model_weights")
            for name in _datasets(self._root[key], key)
            if name not in self._read and not name.startswith(without) and "seed" not in name.rpartition("/")[2]
        ]
        _refuse_left(left, self._what)


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


def _of_path(listed: Sequence[str], names: Sequence[str]) -> list[str]:
    """The weights of a layer of models within, by the names of these and its own.

    A weight's name has those of all models around it, or of the innermost, or the layer's own alone, by the version of
    Keras: the longest of these that any name has.
    """
    for k in range(len(names)):
        path = list(names[k:])
        found = [
            name
            for name in listed
            if any(name.split("/")[j : j + len(path)] == path for j in range(name.count("/") - len(path) + 1))
        ]
        if found:
            return found
    return []


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


def compiled_text(file: Any) -> Mapping[str, str | None]:
    """The texts of a file of a whole model."""
    return {key: text(file, key) for key in ("model_config", "training_config")}
