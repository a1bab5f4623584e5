"""Keras's files: .keras, .h5 of a whole model, and files of weights, which need a model to go into."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from rekur.convert._keras import store as stores
from rekur.convert._keras.build import Builder, set_weights
from rekur.convert._keras.compiled import compile_as
from rekur.convert._keras.entries import places
from rekur.convert._keras.write import described, save_archive, save_legacy, save_weights
from rekur.convert._needs import needed
from rekur.convert._registry import Format
from rekur.convert._source import Source, parse_json

_OPTIONS = {
    "custom_objects": "classes of yours, of rekur's layers, by the names that the file has",
    "compile": "whether to compile as the file says (`True`)",
    "partial": "whether the file may have weights that the model has no layer for",
}


def _is_keras(source: Source) -> bool:
    return _is_object(source) or _is_archive(source)


def _is_object(source: Source) -> bool:
    """Whether it is a model of Keras in memory."""
    kinds = type(source.object).__mro__ if source.path is None else ()
    return any(c.__name__ == "Model" and c.__module__.startswith("keras.src.models") for c in kinds)


def _is_archive(source: Source) -> bool:
    return "config.json" in source.zip_names and any(n.startswith("model.weights.") for n in source.zip_names)


def _is_whole_hdf5(source: Source) -> bool:
    return source.is_hdf5 and not source.name.endswith(".weights.h5")


def _load_archive(
    source: Source, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, partial: bool = False
) -> Any:
    if _is_object(source):
        return _load_object(source, custom_objects, compile)
    path = _path(source, "keras")
    what = str(source)
    entry = parse_json(stores.member(path, "config.json"), f"{what}: config.json")
    if "model.weights.h5" not in source.zip_names:
        raise ValueError(f"{what}: its weights are no HDF5 file: save it with weights_format='h5'")
    compiled = entry.get("compile_config") if isinstance(entry, Mapping) and compile else None
    with stores.opened(stores.weights_of_archive(path), what) as file:
        return _built(entry, stores.Groups, file, what, custom_objects, compiled, partial)


def _load_object(source: Source, custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    """Of the description that the object gives of itself, and its weights."""
    theirs, what = source.object, str(source)
    if not theirs.built:
        raise ValueError(f"{what}: model '{theirs.name}' has no weights yet: build it, or call it on data")
    entry = parse_json(theirs.to_json(), what)
    compiled = theirs.get_compile_config() if compile and theirs.compiled else None
    return _built(entry, lambda file, made, _: stores.Objects(file, made), theirs, what, custom_objects, compiled)


def _make(model: Any) -> Any:
    """A model of Keras in memory."""
    import os
    import tempfile

    keras = needed("keras", "making a model of Keras")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        save_archive(model, path)
        return keras.models.load_model(path)


def _load_legacy(
    source: Source, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, partial: bool = False
) -> Any:
    what = str(source)
    with stores.opened(_path(source, "keras-h5"), what) as file:
        texts = stores.compiled_text(file)
        if texts["model_config"] is None:
            raise ValueError(
                f"{what}: it has weights alone, without the model: make the model here, of layers of the same "
                "settings, and give load(…, format='keras-weights', into=model)"
            )
        entry = parse_json(texts["model_config"], f"{what}: model_config")
        text = texts["training_config"] if compile else None
        compiled = None if text is None else parse_json(text, f"{what}: training_config")
        return _built(entry, stores.Legacy, file, what, custom_objects, compiled, partial)


def _built(entry: Any, kind: Any, file: Any, what: str, custom: Any, compiled: Any, partial: bool = False) -> Any:
    if not isinstance(entry, Mapping) or not {"class_name", "config"} <= entry.keys():
        raise ValueError(f"{what}: it has no description of a model")
    if isinstance(entry["config"], list):  # of Keras's first versions
        entry = {**entry, "config": {"layers": entry["config"]}}
    if not isinstance(entry["config"], Mapping) or "layers" not in entry["config"]:
        raise ValueError(
            f"{what}: it is a {entry['class_name']}, a class of its author's whose layers only its code knows, and no "
            "code of a file is run: save a Sequential or a functional model, or weights for into="
        )
    try:
        found = kind(file, entry, what)
        builder = Builder(what, found, custom)
        model = builder.model(entry)
        model._engine()
        set_weights(builder.made, found, what, bool(partial))
    except RecursionError:
        raise ValueError(f"{what}: its layers are nested too deeply") from None
    except (KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{what}: its description of a model is broken: {type(error).__name__} {error}") from None
    except TypeError as error:
        raise ValueError(f"{what}: {error}") from None
    except ValueError as error:
        if what in str(error):
            raise
        raise ValueError(f"{what}: {error}") from None
    if isinstance(compiled, Mapping):
        compile_as(model, compiled, what)
    return model


def _load_weights(source: Source, into: Any = None, partial: bool = False) -> Any:
    from rekur.models import Model

    what = str(source)
    if not isinstance(into, Model):
        raise ValueError(
            f"{what}: it has weights alone, without the model: make the model here, of layers of the same settings, "
            f"and give into=model{'' if into is None else f', got {into!r}'}; a .keras file says both"
        )
    into._engine()  # whose weights stay where the file is refused
    entry, layers = described(into, masks=False)
    path = _path(source, "keras-weights")
    opened: AbstractContextManager[Any] = stores.opened(
        stores.weights_of_archive(path) if _is_archive(source) else path, what
    )
    with opened as file:
        kind: Any = stores.Legacy if stores.is_legacy(file) else stores.Groups
        made = [(inner, layers[id(inner)]) for inner, _ in places(entry)]
        set_weights(made, kind(file, entry, what), what, bool(partial))
    return into


def _path(source: Source, name: str) -> str:
    if source.path is None:
        raise TypeError(f"load: format '{name}' is a file, got {source}")
    return source.path


FORMATS = (
    Format(
        name="keras",
        title="Keras 3",
        given="`.keras`; a model in memory",
        recognises=_is_keras,
        reads="Sequential and functional models of the layers that both have, operations of `keras.ops` between them, "
        "models within models, what it was compiled with; not the optimizer's state",
        writes="Sequential and functional models of the layers that Keras has",
        suffixes=(".keras",),
        load=_load_archive,
        save=save_archive,
        make=_make,
        load_options=_OPTIONS,
        needs="h5py",
        checked="keras",
    ),
    Format(
        name="keras-h5",
        title="Keras 2, and Keras 3's `.h5`",
        given="`.h5`, `.hdf5` of a whole model",
        recognises=_is_whole_hdf5,
        reads="as `keras`; `CuDNNLSTM` and `CuDNNGRU` too",
        writes="as `keras`",
        suffixes=(".h5", ".hdf5"),
        load=_load_legacy,
        save=save_legacy,
        load_options=_OPTIONS,
        needs="h5py",
        checked="keras",
    ),
    Format(
        name="keras-weights",
        title="Keras, weights",
        given="`.weights.h5`, `.h5` of `save_weights`",
        recognises=lambda source: source.is_hdf5 and source.name.endswith(".weights.h5"),
        reads="weights, into a model that you have made",
        writes="weights of the layers that Keras has",
        suffixes=(".weights.h5",),
        load=_load_weights,
        save=save_weights,
        load_options={"into": "the model that takes the weights", "partial": _OPTIONS["partial"]},
        needs="h5py",
        checked="keras",
    ),
)
