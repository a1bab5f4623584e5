"""ONNX files, by rekur.onnx."""

from typing import Any

from rekur._model_files import recognise
from rekur.convert._registry import Format
from rekur.convert._source import Source


def _recognises(source: Source) -> bool:
    if source.path is None:
        return type(source.object).__name__ == "ModelProto"
    found = recognise(source.path)
    return found is not None and found[0] == "an ONNX model"


def _load(source: Source, **options: Any) -> Any:
    from rekur import onnx

    if source.path is None:
        raise TypeError(f"load: format 'onnx' is a file, got {source}; onnx.save writes one")
    return onnx.load(source.path, **options)


def _save(model: Any, path: str, **options: Any) -> None:
    from rekur import onnx

    onnx.export(model, path, **options)


FORMAT = Format(
    name="onnx",
    title="ONNX",
    given="`.onnx`",
    recognises=_recognises,
    reads="graphs: [onnx.md](onnx.md)",
    writes="all layers: [onnx.md](onnx.md)",
    suffixes=(".onnx",),
    load=_load,
    save=_save,
    load_options=None,
    save_options=None,
    checked="onnxruntime",
)
