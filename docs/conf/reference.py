"""The API reference, made from what the modules export and from their docstrings: one page a module or group of layers.

Each public name is described once, under the module where users write it; another name of the same object is a line
that leads there. A public name or method without a docstring is an error.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

# In the order of the contents: title of the group → modules.
MODULES: dict[str, tuple[str, ...]] = {
    "Models and tasks": ("rekur", "rekur.tasks", "rekur.tasks.report", "rekur.tasks.serve", "rekur.bulk",
                         "rekur.distributed", "rekur.tune", "rekur.models", "rekur.seq2seq", "rekur.hub"),
    "Layers": ("rekur.layers", "rekur.cells", "rekur.activations", "rekur.initializers", "rekur.regularizers",
               "rekur.constraints"),
    "Training": ("rekur.losses", "rekur.metrics", "rekur.optimizers", "rekur.optimizers.schedules", "rekur.callbacks",
                 "rekur.data"),
    "Own equations": ("rekur.ops", "rekur.sequences", "rekur.debug"),
    "Files and other programs": ("rekur.onnx", "rekur.onnx.backend", "rekur.convert", "rekur.torch", "rekur.jax"),
    "Keras's helpers": ("rekur.utils", "rekur.preprocessing", "rekur.preprocessing.text",
                        "rekur.preprocessing.sequence"),
}  # fmt: skip


@dataclass
class Module:
    """A module's public names: what is described on its page, and what is another name of something."""

    name: str
    docs: dict[str, Any] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # name → where it is described
    parts: dict[str, list[str]] = field(default_factory=dict)  # sub-page → names

    @property
    def page(self) -> str:
        return f"docs/api/{self.name}"


class Reference:
    """All modules with their names; ``problems`` are public things without a docstring."""

    def __init__(self) -> None:
        self.modules: dict[str, Module] = {}
        self.problems: list[str] = []
        self._homes: dict[int, str] = {}
        self._kept: list[Any] = []  # so that ids stay theirs
        found = {name: _module(name) for names in MODULES.values() for name in names}
        described = {name: _public(module) for name, module in found.items() if module is not None}
        for name, names in described.items():
            self.modules[name] = Module(name)
            own_first = sorted(names.items(), key=lambda item: item[0] != getattr(item[1], "__name__", ""))
            for key, value in own_first:
                if _home(name, key, value, described) == name and id(value) not in self._homes:
                    self._homes[id(value)] = f"{name}.{key}"
                    self._kept.append(value)
                    self.modules[name].docs[key] = value
        for name, names in described.items():
            module = self.modules[name]
            module.docs = {key: module.docs[key] for key in names if key in module.docs}
            for key, value in names.items():
                if key not in module.docs:
                    module.aliases[key] = self._homes[id(value)]
            if not (found[name].__doc__ or "").strip():
                self.problems.append(name)
            for key, value in module.docs.items():
                if not inspect.getdoc(value):
                    self.problems.append(f"{name}.{key}")

    def where(self, target: str) -> str | None:
        """The name under which what is found at ``target`` (a dotted path) is described."""
        parts = target.split(".")
        for cut in range(len(parts), 0, -1):
            value = _module(".".join(parts[:cut]))
            if value is None:
                continue
            for depth, part in enumerate(parts[cut:], cut):
                try:
                    value = getattr(value, part)
                except (AttributeError, ImportError):
                    return None
                home = self._homes.get(id(value))
                if home is not None:
                    return ".".join([home, *parts[depth + 1 :]])
            return None
        return None

    def exists(self, target: str, module: str | None, cls: str | None) -> bool:
        """Whether a name that is described nowhere is one all the same: a private one, a field, or one of the module in
        which the class that speaks of it is written."""
        speaker = f"{module}.{cls}"
        written = getattr(self.value(speaker), "__module__", None) if cls else None
        paths = (target, f"{speaker}.{target}", f"{module}.{target}", f"{written}.{target}")
        return any(self.value(path) is not None for path in paths)

    def value(self, target: str) -> Any:
        parts = target.split(".")
        for cut in range(len(parts), 0, -1):
            found: Any = _module(".".join(parts[:cut]))
            if found is not None:
                for part in parts[cut:]:
                    fields = getattr(found, "__dataclass_fields__", {})
                    found = getattr(found, part, fields.get(part))
                return found
        return None

    def members(self, cls: type, full: str) -> Iterator[tuple[str, str]]:
        """(directive, name) of the methods and properties that the class's own entry describes."""
        if _mocked(cls):
            return
        for name in sorted(dir(cls)):
            if name.startswith("_"):
                continue
            owners = [c for c in cls.__mro__ if name in vars(c)]
            if not owners:
                continue  # of the metaclass
            owner, value = owners[0], vars(owners[0])[name]
            if owner is not cls and (id(owner) in self._homes or owner.__module__.partition(".")[0] != "rekur"):
                continue
            overrides = any(id(c) in self._homes for c in owners if c is not cls)
            bases = [c for c in cls.__mro__[1:] if id(c) in self._homes]
            if owner is not cls and any(hasattr(c, name) for c in bases):
                continue
            kind = "property" if isinstance(value, property) or type(value).__name__ == "cached_property" else "method"
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if kind == "method" and not inspect.isroutine(function):
                continue  # constants of the class and settings, which are the constructor's parameters
            if function is not None and not _doc(function):
                if overrides:
                    continue  # described, or missed, where the base is
                if not any(_doc(vars(c)[name]) for c in owners[1:]):
                    if kind == "method":
                        self.problems.append(f"{full}.{name}")
                    continue
            yield f"auto{kind}", name


def _doc(value: Any) -> str:
    for part in (value, getattr(value, "__func__", None), getattr(value, "fget", None)):
        if isinstance(text := getattr(part, "__doc__", None), str) and text.strip():
            return text
    return ""


def _mocked(value: Any) -> bool:
    return type(value).__module__.startswith("sphinx.")


def _module(name: str) -> ModuleType | None:
    if not name.startswith("rekur"):
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name and not (error.name or "").startswith(name):
            if name.startswith(error.name or " "):
                return None
            raise
        return None


def _public(module: ModuleType) -> dict[str, Any]:
    names = getattr(module, "__all__", None)
    if names is not None:
        names = [*names, *sorted(set(dir(module)) - {*vars(module), *names})]  # those that are imported when first used
    found = {}
    for name in names if names is not None else dir(module):
        if name.startswith("_") and name != "__version__":
            continue
        value = getattr(module, name)
        if inspect.ismodule(value) or name == "__version__":
            continue
        if names is None:
            of, own = str(getattr(value, "__module__", "")), module.__name__
            parts = (own, own.replace("rekur.", "rekur._", 1))  # rekur.losses: also of rekur._losses
            if not any(of == part or of.startswith(f"{part}.") for part in parts):
                continue
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
        found[name] = value
    return found


def _home(module: str, key: str, value: Any, described: dict[str, dict[str, Any]]) -> str:
    """The module under which a public name is described: the one it is defined below, else the first that has it."""
    of = getattr(value, "__module__", "") or ""
    having = [name for name, names in described.items() if any(v is value for v in names.values())]
    own = [name for name in having if name != "rekur" and (of == name or of.startswith(name + "."))]
    if own and own != ["rekur.models"]:
        return max(own, key=len)
    return having[0]


# ---- pages ----


def _groups() -> dict[str, tuple[str, ...]]:
    """The groups of layers, of the table in docs/layers.md."""
    tools = Path(__file__).parents[2] / ".ci"
    sys.path.insert(0, str(tools))
    try:
        return dict(importlib.import_module("layer_table").GROUPS)
    finally:
        sys.path.remove(str(tools))


def first_sentence(value: Any) -> str:
    """What a table says of a name."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return escape(re.split(r"(?<=[.:]) (?=[A-Z:`])", text)[0].rstrip(":"))


def _title(text: str, mark: str = "=") -> str:
    return f"{text}\n{mark * len(text)}\n\n"


def _table(reference: Reference, module: Module, names: list[str]) -> str:
    if not names:
        return ""
    lines = [".. list-table::", "   :widths: 30 70", "   :class: names", ""]
    for name in names:
        value = module.docs[name]
        role = "class" if inspect.isclass(value) else "func"
        call = name if role == "class" else f"{name}"
        lines += [f"   * - :py:{role}:`{call} <{module.name}.{name}>`", f"     - {first_sentence(value)}"]
    return "\n".join(lines) + "\n\n"


def _entries(reference: Reference, module: Module, names: list[str]) -> str:
    parts = []
    for name in names:
        value, full = module.docs[name], f"{module.name}.{name}"
        if inspect.isclass(value):
            parts.append(f".. autoclass:: {full}\n\n")
            for directive, member in reference.members(value, full):
                parts.append(f"   .. {directive}:: {full}.{member}\n\n")
        elif callable(value):
            parts.append(f".. autofunction:: {full}\n\n")
        else:
            parts.append(f".. autodata:: {full}\n   :no-value:\n\n")
    return "".join(parts)


def _aliases(module: Module, reference: Reference) -> str:
    if not module.aliases:
        return ""
    rows = "".join(
        f"   * - ``{module.name}.{name}``\n     - :py:obj:`{home}`\n" for name, home in sorted(module.aliases.items())
    )
    head = "Other names\n-----------\n\nThe same objects, which are described where the link leads.\n\n"
    return head + ".. list-table::\n   :widths: 50 50\n\n" + rows + "\n"


def write_pages(source: Path) -> Reference:
    """Write docs/api/*.rst below ``source``."""
    reference, folder = Reference(), source / "docs" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    contents = _title("API reference")
    contents += (
        "What is public, module by module. Search finds any name; names with an underscore in front may change.\n\n"
    )
    for group, names in MODULES.items():
        contents += _title(group, "-") + ".. toctree::\n   :maxdepth: 1\n\n"
        if group == "Models and tasks":
            contents += "   command-line\n"
        for name in names:
            module = reference.modules.get(name)
            if module is None:
                continue
            contents += f"   {name}\n"
            docs = list(module.docs)
            if name == "rekur.layers":
                groups = {title: [n for n in listed if n in module.docs] for title, listed in _groups().items()}
                rest = [n for n in docs if not any(n in listed for listed in groups.values())]
                text = _title(name) + f".. automodule:: {name}\n   :no-members:\n\n"
                text += ".. toctree::\n   :hidden:\n\n"
                pages = {**groups, "Base classes and functions": rest}
                text += "".join(f"   rekur.layers-{_slug(title)}\n" for title in pages) + "\n"
                for title, listed in pages.items():
                    text += _title(title, "-") + _table(reference, module, listed)
                    part = _title(f"Layers: {title[:1].lower()}{title[1:]}")
                    part += f".. py:currentmodule:: {name}\n\n"
                    part += _table(reference, module, listed) + _entries(reference, module, listed)
                    (folder / f"rekur.layers-{_slug(title)}.rst").write_text(part, encoding="utf-8")
                text += _aliases(module, reference)
            else:
                text = _title(name) + f".. automodule:: {name}\n   :no-members:\n\n"
                text += f".. py:currentmodule:: {name}\n\n"
                text += _table(reference, module, docs) + _entries(reference, module, docs)
                text += _aliases(module, reference)
            (folder / f"{name}.rst").write_text(text, encoding="utf-8")
        contents += "\n"
    (folder / "index.rst").write_text(contents, encoding="utf-8")
    (folder / "command-line.rst").write_text(command_line(), encoding="utf-8")
    return reference


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def command_line() -> str:
    """The page of the command line: what each command's --help says."""
    import argparse
    import os

    from rekur import cli

    os.environ["COLUMNS"] = "96"
    text = _title("The command line")
    text += "``rekur COMMAND --help`` says the same.\n\n"

    def describe(parser: argparse.ArgumentParser, mark: str) -> str:
        out = _title(parser.prog, mark) + ".. code-block:: text\n\n"
        out += "".join(f"   {line}".rstrip() + "\n" for line in parser.format_help().splitlines()) + "\n"
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child in dict.fromkeys(action.choices.values()):
                    out += describe(child, "-")
        return out

    return text + describe(cli._parser(), "-")


# ---- docstrings: plain text with numpy's sections and a few roles, as reStructuredText ----

_KEPT = re.compile(r"``.*?``|:[\w:]+:`[^`]*`|`[^`]*`_?_?|\*\*[\w ]+\*\*(?!\w)|(?<!\w)\*[A-Za-z][\w ,'-]*\*(?!\w)")


def escape(text: str) -> str:
    """A line of a docstring whose \\|, \\* and trailing underscores are meant as they stand."""
    out, end = [], 0
    for kept in _KEPT.finditer(text):
        out.append(_plain(text[end : kept.start()]))
        out.append(kept[0])
        end = kept.end()
    return "".join([*out, _plain(text[end:])])


def _plain(text: str) -> str:
    text = re.sub(r"[*|]", r"\\\g<0>", text)
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", text)


def docstring(lines: list[str]) -> list[str]:
    """Code that stands indented becomes a block of code; marks that are meant as they stand are escaped."""
    out: list[str] = []
    k, sections = 0, False
    while k < len(lines):
        line = lines[k]
        if k + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[k + 1].strip()) and line.strip():
            sections = True
        before = next((previous for previous in reversed(out) if previous.strip()), "")
        starts = line.startswith("    ") and (not out or not out[-1].strip())
        if starts and not sections and not before.startswith(" ") and not before.lstrip().startswith(("-", "*", "..")):
            block = []
            while k < len(lines) and (not lines[k].strip() or lines[k].startswith("    ")):
                block.append(lines[k])
                k += 1
            if not before.endswith("::"):
                out += [".. code-block:: python", ""]
            out += [*block, ""]
            continue
        if line.lstrip().startswith(">>>"):
            while k < len(lines) and lines[k].strip():
                out.append(lines[k])
                k += 1
            continue
        line = re.sub(r"^(\s*[A-Za-z])([.)])(?=\s|$)", r"\1\\\2", line)  # "H." is no list of one item
        out.append(line if line.lstrip().startswith("..") else escape(line))
        k += 1
    return out


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's: pages before the sources are looked for, docstrings before napoleon, references by identity."""
    from docutils import nodes
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    state: dict[str, Reference] = {}

    def begin(app: Any) -> None:
        from sphinx.ext.autodoc.mock import _MockObject, mock

        _MockObject.__setitem__ = lambda *_: None  # rekur.jax enters its primitives in jax's tables
        with mock(app.config.autodoc_mock_imports):
            state["reference"] = reference = write_pages(Path(app.srcdir))
        for name in sorted(set(reference.problems)):
            logger.warning("%s is public and has no docstring", name)

    def process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        lines[:] = docstring(lines)
        if what in ("property", "attribute", "data") and lines:
            lines[0] = lines[0].replace(":", _COLON)  # else napoleon takes what stands before it for a type

    def restore(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        lines[:] = [line.replace(_COLON, ":") for line in lines]

    def missing(app: Any, env: Any, node: Any, content: Any) -> Any:
        if node.get("refdomain") != "py":
            return None
        target, module, cls = node["reftarget"], node.get("py:module"), node.get("py:class")
        domain = env.get_domain("py")
        for path in (target, f"{module}.{cls}.{target}", f"{module}.{target}", f"rekur.{target}"):
            home = state["reference"].where(path)
            entry = domain.objects.get(home or "") or domain.objects.get(path)
            if entry is not None:
                from sphinx.util.nodes import make_refnode

                return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, home)
        # Types of attributes are words ("ndarray of shape (T,)"), of which Sphinx makes references; roles are literals.
        words = not isinstance(content, nodes.literal)
        if words or target.partition(".")[0] in _OUTSIDE or state["reference"].exists(target, module, cls):
            return nodes.inline("", "", content)
        return None

    app.connect("builder-inited", begin)
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-process-docstring", restore, priority=900)
    app.connect("missing-reference", missing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


_COLON = "\ue000"
# Packages whose names docstrings refer to; their pages are elsewhere.
_OUTSIDE = {
    *sys.stdlib_module_names, "flax", "huggingface_hub", "jax", "keras", "numpy", "onnx", "onnxruntime", "pandas",
    "sklearn", "torch",
}  # fmt: skip
