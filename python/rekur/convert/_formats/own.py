"""rekur's own files."""

from typing import Any

from rekur.convert._registry import Format
from rekur.convert._source import Source


def _recognises(source: Source) -> bool:
    return any(key.startswith("rekur") for key in source.safetensors_metadata)


def _load(source: Source) -> Any:
    from rekur.models import load_model

    if source.path is None:
        raise TypeError(f"load: format 'rekur' is a file, got {source}")
    return load_model(source.path)


def _save(model: Any, path: str, weights: str = "float32") -> None:
    model.save(path, weights=weights)


FORMAT = Format(
    name="rekur",
    title="rekur",
    given="`.safetensors` of `model.save`",
    recognises=_recognises,
    reads="all",
    writes="all",
    suffixes=(".safetensors",),
    load=_load,
    save=_save,
    save_options={"weights": "`float32`, `bf16`, `fp16` or `int8`"},
)
