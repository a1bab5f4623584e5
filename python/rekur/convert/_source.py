"""What is read: a path or an object, with what tells formats apart looked at once."""

import functools
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from rekur._model_files import recognise

# Their variables are read by TensorFlow alone: there is no library of them without it.
_TENSORFLOW = "open it in TensorFlow and write model.save('model.keras') there"
_TEXT_LIMIT = 1 << 30  # bytes of a JSON text that is read


class Source:
    """A path, or an object in memory, that is to be converted."""

    def __init__(self, given: Any) -> None:
        self.path: str | None = None
        self.object: Any = None
        if isinstance(given, (str, bytes, os.PathLike)):
            self.path = os.fsdecode(given)
        elif given is None:
            raise TypeError("load: expected a path or an object, got None")
        else:
            self.object = given

    def __str__(self) -> str:
        if self.path is not None:
            return f"'{self.path}'"
        return f"an object of type {type(self.object).__name__}"

    @property
    def is_file(self) -> bool:
        return self.path is not None and not self.is_folder

    @functools.cached_property
    def is_folder(self) -> bool:
        return self.path is not None and os.path.isdir(self.path)

    @property
    def name(self) -> str:
        """The file's name in lower case; empty for an object."""
        return "" if self.path is None else os.path.basename(self.path).lower()

    def check_readable(self) -> None:
        """Raises OSError if it is a path at which nothing can be read."""
        if self.path is not None and not self.is_folder:
            with open(self.path, "rb"):
                pass

    def description(self) -> str:
        """What it is, as far as that can be told, for an error."""
        if self.path is None:
            return f"it is of type {type(self.object).__name__}"
        if self.name.endswith(".index") or ".data-" in self.name or self.name == "checkpoint":
            return f"it looks like a part of a checkpoint of TensorFlow: {_TENSORFLOW}"
        if os.path.exists(os.path.join(self.path, "saved_model.pb")):
            return f"it is TensorFlow's SavedModel: {_TENSORFLOW}"
        if not self.head and not self.is_folder:
            return "the file is empty"
        found = recognise(self.path)
        if found is not None and found[0] == "JSON text":
            _ = self.json  # which says what is wrong with it
        if self.is_folder and found is not None:
            return f"it is {found[0]}: {found[1]}"
        return "its beginning tells nothing" if found is None else f"it is {found[0]}"

    @functools.cached_property
    def head(self) -> bytes:
        """The first bytes of a file."""
        if not self.is_file:
            return b""
        assert self.path is not None
        with open(self.path, "rb") as file:
            return file.read(4096)

    def bytes(self, limit: int = _TEXT_LIMIT) -> bytes:
        """All of a file.

        Raises
        ------
        ValueError
            If it has more than ``limit`` bytes.
        """
        assert self.path is not None
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise ValueError(f"{self}: it has {size} bytes, more than the {limit} that are read of such a file")
            return file.read(limit + 1)

    @functools.cached_property
    def zip_names(self) -> frozenset[str]:
        """Names of the members of a ZIP archive; none if it is no whole one."""
        if not self.head.startswith(b"PK"):
            return frozenset()
        assert self.path is not None
        try:
            with zipfile.ZipFile(self.path) as archive:
                return frozenset(archive.namelist())
        except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
            return frozenset()

    @property
    def is_hdf5(self) -> bool:
        return self.head.startswith(b"\x89HDF\r\n\x1a\n")

    @property
    def is_safetensors(self) -> bool:
        head = self.head
        return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000

    @functools.cached_property
    def _safetensors_header(self) -> dict[str, Any]:
        """The header of a .safetensors file; empty where it is none, or broken."""
        if not self.is_safetensors:
            return {}
        assert self.path is not None
        with open(self.path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            try:
                header = json.loads(file.read(size))
            except (ValueError, RecursionError):
                return {}
        return header if isinstance(header, dict) else {}

    @property
    def safetensors_metadata(self) -> dict[str, str]:
        """``__metadata__`` of a .safetensors file; empty where there is none."""
        found = self._safetensors_header.get("__metadata__")
        return found if isinstance(found, dict) else {}

    @property
    def array_names(self) -> list[str]:
        """Names of the tensors of a .safetensors file, or of a flat dict of arrays in memory."""
        if self.path is not None:
            return [name for name in self._safetensors_header if name != "__metadata__"]
        if not isinstance(self.object, Mapping) or not all(isinstance(key, str) for key in self.object):
            return []
        return list(self.object) if all(hasattr(value, "shape") for value in self.object.values()) else []

    def arrays(self) -> dict[str, Any]:
        """The tensors of a .safetensors file, or of a flat dict in memory, as NumPy arrays; bf16 as float32.

        Raises
        ------
        OSError
            If the file is broken.
        ValueError
            If a type of numbers is one that NumPy lacks.
        """
        if self.path is None:
            return {name: as_array(self.object[name], name) for name in self.array_names}
        from rekur import _core

        try:
            return dict(_core.read_safetensors(os.fsencode(self.path))[1])
        except TypeError as error:
            raise ValueError(str(error)) from None

    @functools.cached_property
    def json(self) -> Any:
        """A JSON text, parsed; a dict in memory as it is; None where it is neither.

        Raises
        ------
        ValueError
            If a text that begins as JSON does not go on so.
        """
        if self.path is None:
            return self.object if isinstance(self.object, dict) else None
        head = self.head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not head.startswith((b"{", b"[")) or self.is_safetensors:
            return None
        return parse_json(self.bytes(), str(self))

    @functools.cached_property
    def json_if_any(self) -> Any:
        """The same, None where it is broken: for telling formats apart."""
        try:
            return self.json
        except ValueError:
            return None


def as_array(value: Any, what: str) -> Any:
    """A NumPy array of one of another library's; sixteen bits of torch's kind become float32.

    Raises
    ------
    ValueError
        For a tensor that has no plain array: a quantised, sparse or meta one.
    """
    if isinstance(value, np.ndarray):
        return value
    if type(value).__module__.partition(".")[0] == "torch":
        try:
            value = value.detach().cpu()
            return (value.float() if f"{value.dtype}" in ("torch.bfloat16", "torch.float16") else value).numpy()
        except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
            raise ValueError(f"'{what}' is no plain tensor: {error}") from None
    return np.asarray(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in an object")
    return found


def parse_json(text: "bytes | str", what: str) -> Any:
    """JSON, with errors that name the file.

    Raises
    ------
    ValueError
        For what is no JSON, or nested too deeply.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(f"{what}: its JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{what}: it begins as JSON and is no UTF-8 text: {error}") from None
    except ValueError as error:
        raise ValueError(f"{what}: it begins as JSON and is none: {error}") from None
