"""The model card: what was trained, how large it is, how it is used elsewhere."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import rekur
from rekur.tasks.report._canvas import clean
from rekur.tasks.report._content import Code, Content, Facts, Folded, Section, Table
from rekur.tasks.report._numbers import MISSING as MISSING
from rekur.tasks.report._numbers import duration, number, plural, size


@dataclass(frozen=True)
class Card:
    """What is told of a model.

    Attributes
    ----------
    estimator
        Its class.
    network
        Its layers, a line each.
    parameters
        Trained numbers of one network.
    members
        Networks whose answers are averaged.
    settings
        Arguments of the constructor that are not the default.
    seconds
        That training took.
    files
        What was written: (name, bytes, what it is).
    use
        Lines to copy, by where they run: "Python", "ONNX", "C++", "Command line".
    more
        Further facts.
    versions
        What it was made with.
    """

    estimator: str
    network: Sequence[str] = ()
    parameters: int | None = None
    members: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    files: Sequence[tuple[str, int, str]] = ()
    use: Mapping[str, str] = field(default_factory=dict)
    more: Sequence[tuple[str, Any]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


_FILES = {
    ".safetensors": "the model: load it in Python, serve it",
    ".onnx": "the model for any ONNX runtime, preprocessing included",
    ".hpp": "the model as C++",
    ".h": "the model as C++",
    ".csv": "a table",
    ".txt": "a text",
    ".parquet": "a table",
    ".html": "this report",
    ".png": "a picture",
    ".svg": "a picture",
}


def card_of(
    estimator: Any,
    *,
    files: Sequence[str | os.PathLike[str]] = (),
    seconds: float | None = None,
    more: Sequence[tuple[str, Any]] = (),
) -> Card:
    """The card of a fitted estimator.

    Parameters
    ----------
    estimator
        Of :mod:`rekur.tasks`.
    files
        What was written of it; those that are there are listed with their sizes, and how they are used is told.
    seconds
        That training took.
    more
        Further facts.
    """
    models = list(getattr(estimator, "models_", ()) or ())
    defaults = {name: p.default for name, p in estimator._parameters().items()}
    settings = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name in ("random_state",) or not _same(value, defaults.get(name))
    }
    paths = [Path(os.fsdecode(file)) for file in files]
    paths = [path for path in paths if path.is_file()]
    listed = [(path.name, path.stat().st_size, _FILES.get(path.suffix.lower(), "")) for path in paths]
    return Card(
        estimator=type(estimator).__name__,
        network=_layers(models[0]) if models else (),
        parameters=_count(models[0]) if models else None,
        members=max(len(models), 1),
        settings=settings,
        seconds=seconds,
        files=listed,
        use=_use(estimator, paths),
        more=more,
        versions={
            "rekur": rekur.__version__,
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "instruction set": rekur.isa(),
        },
    )


def _same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except (TypeError, ValueError):
        return one is other


def _layers(model: Any) -> list[str]:
    lines = []
    for layer in getattr(model, "layers", ()):
        config = layer.get_config() if hasattr(layer, "get_config") else {}
        size_of = next((config[key] for key in ("units", "filters", "output_dim") if config.get(key)), None)
        trained = _count(layer)
        text = type(layer).__name__ + (f"({size_of})" if isinstance(size_of, int) else "")
        lines.append(f"{text}: {number(trained)} parameters" if trained else text)
    return lines


def _count(part: Any) -> int | None:
    try:
        return int(part.count_params())
    except (AttributeError, TypeError, ValueError):
        return None


def _use(estimator: Any, paths: Sequence[Path]) -> dict[str, str]:
    """Lines to copy for each file."""
    use: dict[str, str] = {}
    call = {
        "Forecaster": "forecast = model.predict()",
        "TextGenerator": 'text = model.generate("How it begins", 200)',
        "Translator": "translations = model.translate(texts)",
        "TextClassifier": "labels = model.predict(texts)",
        "AnomalyDetector": "scores = model.score_samples(new_data)  # the lower, the more unusual",
    }.get(type(estimator).__name__, "answers = model.predict(new_data)")
    written = type(estimator).__name__ == "TextGenerator"
    for path in paths:
        name = path.name
        if path.suffix == ".safetensors":
            use["Python"] = f"import rekur.tasks\n\nmodel = rekur.tasks.load({name!r})\nmodel.summary()\n{call}"
            predict = "" if written else f"rekur predict {_quoted(name)} new_data.csv\n"
            use["Command line"] = f"{predict}rekur serve {_quoted(name)}"
        elif path.suffix == ".onnx":
            use["ONNX"] = _onnx_use(path)
        elif path.suffix in (".hpp", ".h"):
            use["C++"] = f'#include "{name}"  // docs/embedding.md of rekur leads from there to a running program'
    return use


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)


def _onnx_use(path: Path) -> str:
    lines = ["import onnxruntime", "", f"session = onnxruntime.InferenceSession({path.name!r})"]
    try:
        import onnx

        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # any reader's error: the report is written without
        return "\n".join([*lines, f"# {type(error).__name__}: its inputs could not be read"])
    fixed = {initializer.name for initializer in graph.initializer}
    given = [value for value in graph.input if value.name not in fixed]
    for value in given:
        lines.append(f"# {value.name}: {_type_of(value, onnx)}")
    feed = ", ".join(f"{value.name!r}: …" for value in given)
    lines.append(f"answers = session.run(None, {{{feed}}})")
    for value in graph.output:
        lines.append(f"# {value.name}: {_type_of(value, onnx)}")
    return "\n".join(lines)


def _type_of(value: Any, onnx: Any) -> str:
    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower().replace("float", "float32", 1)
    kind = {"float3216": "float16", "double": "float64"}.get(kind, kind)
    shape = [d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?") for d in tensor.shape.dim]
    return f"{kind} ({', '.join(shape)})"


def card_section(card: Card) -> Section:
    """The last part of a report."""
    facts: list[tuple[str, Any]] = [("Estimator", card.estimator)]
    if card.network:
        # Layers that learn: the others, which only rearrange, stand below.
        trained = [line.partition(":")[0] for line in card.network if ":" in line] or list(card.network)
        facts.append(("Network", " → ".join(trained)))
    if card.parameters is not None:
        networks = f", in each of {card.members} networks" if card.members > 1 else ""
        facts.append(("Parameters", f"{number(card.parameters)}{networks}"))
    if card.seconds is not None:
        facts.append(("Trained in", duration(card.seconds)))
    if "random_state" in card.settings:
        seed = card.settings["random_state"]
        facts.append(("Seed (random_state)", "none: another training gives another model" if seed is None else seed))
    facts += list(card.more)
    content: list[Content] = [Facts(facts)]
    if card.files:
        rows = [[name, size(count), what] for name, count, what in card.files]
        content.append(Table(["File", "Size", "What it is"], rows, caption="Files"))
    content += [Code(text, f"Use it: {where}") for where, text in card.use.items()]
    settings = [(name, _shown(value)) for name, value in card.settings.items() if name != "random_state"]
    if settings:
        content.append(Folded(plural(len(settings), "setting") + " other than the default", [Facts(settings)]))
    if card.network:
        content.append(Folded("Layers", [Code("\n".join(card.network))]))
    if card.versions:
        content.append(Folded("Made with", [Facts(list(card.versions.items()))]))
    return Section("Model card", content)


def _shown(value: Any) -> str:
    text = clean(repr(value))
    return text if len(text) <= 200 else f"{text[:199]}…"
