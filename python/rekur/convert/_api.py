"""What users call: load, save and what stands beside them."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rekur import _files
from rekur._validate import as_path, did_you_mean
from rekur.convert import _parts, _registry
from rekur.convert._registry import Format
from rekur.convert._source import Source

# Of every format that has parts alone.
CHAIN_OPTIONS = {
    "layers": "the order in which parts are used, and what stands between them",
    "input_shape": "the shape of a row, where the number of steps is fixed",
    "partial": "whether parts may be left out",
}


def detect(path_or_object: Any) -> Format:
    """The format of a file or an object.

    Raises
    ------
    ValueError
        If it is of none, or may be of several.
    OSError
        If the file cannot be read.
    """
    return _registry.recognised(Source(path_or_object))


def info(path_or_object: Any, format: str | None = None) -> dict[str, Any]:
    """What a file says of itself that is no part of the model: its format, sample rate, author, ….

    Parameters
    ----------
    path_or_object, format
        As of :func:`load`.

    Raises
    ------
    ValueError, OSError
        As of :func:`load`.
    """
    source, entry = _found(path_or_object, format)
    return {"format": entry.name, **(entry.info(source) if entry.info is not None else {})}


def load(path_or_object: Any, format: str | None = None, **options: Any) -> Any:
    """A model of what another program wrote.

    Parameters
    ----------
    path_or_object : path, or an object of another library
    format : str, optional
        The name of one of :func:`formats`; by default what the source's own first bytes or type say.
    **options
        What the format asks for: docs/convert.md. Formats that have weights alone take ``layers``, a list of the names
        of their parts in the order in which they are used, with layers of rekur, names of activations and ``"last"``
        (the last step) between; ``(name, {…})`` gives a part options of its own, such as ``return_sequences``.
        ``input_shape`` is that of a row, ``partial=True`` lets parts be left out.

    Returns
    -------
    Model, or a Sequential where it is a chain of layers

    Raises
    ------
    ValueError
        If what is read is broken, has what rekur lacks (it is named), or leaves open what the numbers depend on (the
        argument that decides is named).
    TypeError
        For an option that the format does not have.
    ImportError
        If a package is missing that reads the format; the message names the extra.
    OSError
        If the file cannot be read.
    """
    source, entry = _found(path_or_object, format)
    if entry.load is not None:
        _registry.check_options(entry, options, entry.load_options, "load")
        with _naming(source):
            return entry.load(source, **options)
    if entry.parts is None:
        raise ValueError(f"load: format {entry.name!r} is written only")
    known = entry.load_options or {}
    _registry.check_options(entry, options, {**known, **CHAIN_OPTIONS}, "load")
    own = {key: value for key, value in options.items() if key in known}
    layers: Sequence[Any] | None = options.get("layers")
    parts = entry.parts(source, **own)
    if layers is None:
        if len(parts) != 1 and not isinstance(parts, _parts.Chain):
            raise _parts.ask_for_order(parts, str(source))
        layers = list(parts)
    return _parts.chain(
        parts, layers, str(source), own, options.get("input_shape"), bool(options.get("partial", False))
    )


@contextlib.contextmanager
def _naming(source: Source) -> Iterator[None]:
    """What is wrong with a file, or with a layer that it says, is said with the file's name."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError or source.path is None or str(source) in str(error):
            raise
        raise ValueError(f"{source}: {error}") from error


def load_parts(
    path_or_object: Any,
    format: str | None = None,
    *,
    names: Iterable[str] | None = None,
    each: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The parts of a file of weights, each as a model, by their names in the file.

    Parameters
    ----------
    path_or_object, format
        As of :func:`load`.
    names : list of str, optional
        The parts that are wanted; all by default.
    each : dict, optional
        By the name of a part its options, as ``layers`` of :func:`load` has them: ``{"table": {"kind": "Embedding"}}``.
    **options
        As of :func:`load`, without those that say how parts go together.

    Returns
    -------
    dict of Sequential

    Raises
    ------
    ValueError
        As of :func:`load`, and for a format that describes whole models.
    """
    source, entry = _found(path_or_object, format)
    if entry.parts is None:
        raise ValueError(f"load_parts: format {entry.name!r} describes whole models: use rekur.convert.load")
    _registry.check_options(entry, options, entry.load_options, "load_parts")
    parts, of = entry.parts(source, **options), dict(each or {})
    wanted = list(parts) if names is None else list(names)
    for name in (*of, *wanted):
        if name not in parts:
            raise ValueError(f"load_parts: {source} has no part '{name}'{did_you_mean(name, parts)}")
    return {name: _parts.chain({name: parts[name]}, [(name, dict(of.get(name, {})))], str(source)) for name in wanted}


def save(model: Any, path: str | os.PathLike[str], format: str | None = None, **options: Any) -> None:
    """Write a model in the form of another program.

    The path holds the old file or the whole new one, never a piece.

    Parameters
    ----------
    model : Model
    path : str or path
        Its ending says the format, unless ``format`` does.
    format : str, optional
        The name of one of :func:`formats`.
    **options
        What the format takes: docs/convert.md.

    Raises
    ------
    ValueError
        If the other program has no such model: what it lacks is named, and nothing is written.
    TypeError
        For an option that the format does not have.
    ImportError
        If a package is missing that writes the format.
    OSError
        If the file cannot be written.
    """
    checked = os.fsdecode(as_path(path, "save"))
    entry = _registry.by_suffix(checked) if format is None else _registry.named(format)
    if entry.save is None:
        raise ValueError(f"save: format {entry.name!r} is read only")
    _registry.check_options(entry, options, entry.save_options, "save")
    _check_model(model, "save")
    _files.check_writable(checked)
    entry.save(model, checked, **options)


def to_object(model: Any, format: str, **options: Any) -> Any:
    """A model as an object of another library: a state_dict of arrays, a tree of parameters, ….

    Parameters
    ----------
    model : Model
    format : str
    **options
        What the format takes: docs/convert.md.

    Raises
    ------
    ValueError
        If the other program has no such model, or the format has no objects.
    """
    entry = _registry.named(format)
    if entry.make is None:
        raise ValueError(f"to_object: format {entry.name!r} has files alone: use rekur.convert.save")
    _registry.check_options(entry, options, entry.save_options, "to_object")
    _check_model(model, "to_object")
    return entry.make(model, **options)


def _found(path_or_object: Any, format: str | None) -> tuple[Source, Format]:
    source = Source(path_or_object)
    if format is None:
        return source, _registry.recognised(source)
    source.check_readable()
    return source, _registry.named(format)


def _check_model(model: Any, what: str) -> None:
    from rekur.models import Model

    if not isinstance(model, Model):
        raise TypeError(f"{what}: expected a model of rekur, got {model!r}")
    model._engine()
