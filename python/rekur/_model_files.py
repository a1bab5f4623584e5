"""Reading a model's file; whatever else stands in a file is recognised, and the error says what to do with it."""

import codecs
import io
import os
from typing import Any

from rekur import _core
from rekur._validate import as_path

_CONVERT = "with set_weights of the same model made here (docs/coming-from-keras.md)"
_KERAS = "rekur.convert.load reads it (docs/convert.md)"
_TORCH = (
    "rekur.convert.load reads its weights (docs/convert.md); rekur.onnx.load a whole model that was exported to ONNX"
)
_ONNX = ("an ONNX model", "read it with rekur.onnx.load")
# What a file begins with, what that is, what to do.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes .h5 and .weights.h5", _KERAS),
    (b"\x93NUMPY", "a NumPy array", f"numpy.load reads it; hand weights over {_CONVERT}"),
    (b"GGUF", "a GGUF file", "there is no reader for it here"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "fetch it with 'git lfs pull'"),
)


def read_model(path: str | os.PathLike[str]) -> tuple[_core.Model, dict[str, Any], dict[str, str]]:
    """The engine's model, further tensors and metadata of a file of :meth:`rekur.Model.save`.

    Raises
    ------
    OSError
        If the file cannot be read or is none; what it is instead is said as far as its first bytes tell.
    TypeError
        For what is no path.
    """
    path = as_path(path, "load")
    try:
        return _core.load(os.fsencode(path))
    except OSError as error:
        found = recognise(path) or _task(path)
        if found is None:
            raise
        name = os.fsdecode(path)
        text = f"cannot read '{name}': it is {found[0]}, not a model of rekur: {found[1]}"
        raise (OSError(text) if error.errno is None else type(error)(error.errno, text)) from None


def _task(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    from rekur.tasks._file import is_task  # which reads models

    return ("a fitted estimator", "rekur.tasks.load reads it") if is_task(path) else None


def recognise(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """What stands at a path and what to do with it; None where that cannot be told, or it looks like a model."""
    try:
        if os.path.isdir(path):
            return _folder(path)
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError:
        return None
    if os.fsdecode(path).endswith((".onnx", ".ort")) and _text(head) is None and head:
        return _ONNX
    return None if _looks_like_safetensors(head) else _recognise(head, os.fsdecode(path))


def instead_of_onnx(data: bytes) -> str:
    """For the error of a reader of ONNX: what the bytes of the file are instead, and what to do, where that is told."""
    head = data[:4096]
    if _looks_like_safetensors(head):
        return "; it is a .safetensors file: rekur.load reads it, rekur.onnx.export writes the model as ONNX"
    found = _recognise(head, io.BytesIO(data))
    return "" if found in (None, _ONNX) else f"; it is {found[0]}: {found[1]}"


def _folder(path: str | os.PathLike[str]) -> tuple[str, str]:
    if os.path.exists(os.path.join(os.fsdecode(path), "saved_model.pb")):
        advice = "open it in TensorFlow, model.save('m.keras'), and read that with rekur.convert.load"
        return "a folder, TensorFlow's SavedModel", f"{advice}; or convert it with tf2onnx for rekur.onnx.load"
    if os.path.exists(os.path.join(os.fsdecode(path), "model.safetensors")):
        return "a folder of the Hugging Face hub", "rekur.hub.from_pretrained reads it"
    return "a folder", "give the path of a file in it"


def _recognise(head: bytes, file: str | io.BytesIO) -> tuple[str, str] | None:
    if not head:
        return "an empty file", "write it again"
    for beginning, what, advice in _BEGINNINGS:
        if head.startswith(beginning):
            return what, advice
    if head.startswith(b"PK\x03\x04"):
        return _archive(file)
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", "convert what it was made of with tf2onnx and read that with rekur.onnx.load"
    if head[0] == 0x80 and len(head) > 1 and head[1] in range(2, 6):
        return "a Python pickle, as older files of PyTorch are", f"reading it could run any code; {_TORCH}"
    return _ONNX if _looks_like_onnx(head) else _text(head)


def _archive(file: str | io.BytesIO) -> tuple[str, str]:
    import zipfile  # for messages alone

    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a ZIP archive, not a whole one", "copy it again"
    if "model.weights.h5" in names or "config.json" in names:
        return "a model of Keras (.keras)", _KERAS
    if any(name.endswith("data.pkl") for name in names):
        return "a file of PyTorch", _TORCH
    if any(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays (.npz)", f"numpy.load reads it; hand weights over {_CONVERT}"
    return "a ZIP archive", "unpack it first"


def _looks_like_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000


def _looks_like_onnx(head: bytes) -> bool:
    # ModelProto: ir_version, then any of its other fields, by tag.
    return (
        len(head) > 2
        and head[0] == 0x08
        and 1 <= head[1] < 0x20
        and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
    )


def _text(head: bytes) -> tuple[str, str] | None:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return None
    start = text.lstrip().lower()
    if not text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return None
    if start.startswith(("<!doctype", "<html", "<?xml")):
        return "a page of HTML or XML", "what was downloaded is not the model"
    if start.startswith("{"):
        advice = "rekur.convert.load reads those of RTNeural, GuitarML and Neural Amp Modeler"
        return "JSON text", f"{advice}, rekur.Model.from_spec makes a model, without weights, of the spec of one"
    return "a text file", "give the path of the model"
