"""rekur/_core.pyi says what the built extension has: every name, argument and default, in both directions."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import rekur
from rekur import _core

STUB = ast.parse((Path(rekur.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
VALUES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}


def public(names: Any) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def has_decorator(node: ast.FunctionDef, name: str) -> bool:
    return any(ast.unparse(decorator).rpartition(".")[2] == name for decorator in node.decorator_list)


def members(node: ast.ClassDef) -> tuple[dict[str, ast.FunctionDef], set[str], set[str]]:
    """Methods, properties and properties with a setter of a class in the stub."""
    methods, properties, settable = {}, set(), set()
    for item in node.body:
        if not isinstance(item, ast.FunctionDef):
            continue
        if has_decorator(item, "property"):
            properties.add(item.name)
        elif has_decorator(item, "setter"):
            settable.add(item.name)
        else:
            methods[item.name] = item
    return methods, properties, settable


def stub_arguments(node: ast.FunctionDef) -> list[tuple[str, bool]]:
    """(name, has a default) of each argument but self."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    optional = len(node.args.defaults)
    pairs = [(argument.arg, index >= len(arguments) - optional) for index, argument in enumerate(arguments)]
    return [pair for pair in pairs if pair[0] != "self"]


def split(text: str) -> list[str]:
    """Pieces between the commas that stand in no bracket."""
    pieces, depth, begin = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            pieces.append(text[begin:position])
            begin = position + 1
    return [piece.strip() for piece in [*pieces, text[begin:]] if piece.strip()]


def built_arguments(function: Any) -> list[tuple[str, bool]]:
    """The same, from the signature pybind11 writes into the first line of a docstring."""
    line = (function.__doc__ or "").strip().splitlines()[0]
    found = re.match(r"\w+\((.*)\) -> ", line)
    assert found, f"no signature in {line!r}"
    result = []
    for piece in split(found[1]):
        name, _, rest = piece.partition(":")
        if name.strip() not in ("self", "/", "*"):
            result.append((name.strip(), " = " in rest))
    return result


def test_the_stub_names_what_the_module_has() -> None:
    stub = CLASSES.keys() | FUNCTIONS.keys()
    hidden = stub - public(stub)  # for the tests alone
    assert stub == public(dir(_core)) | {name for name in hidden if hasattr(_core, name)}
    assert not VALUES ^ {"__version__"}
    assert isinstance(_core.__version__, str)
    assert {name for name in stub if inspect.isclass(getattr(_core, name))} == CLASSES.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_of_functions(name: str) -> None:
    assert stub_arguments(FUNCTIONS[name]) == built_arguments(getattr(_core, name))


@pytest.mark.parametrize("name", CLASSES)
def test_members_of_classes(name: str) -> None:
    built = getattr(_core, name)
    methods, properties, settable = members(CLASSES[name])
    assert public(methods) | properties == public(vars(built))
    assert settable <= properties
    for entry in properties:
        found = vars(built)[entry]
        assert isinstance(found, property), entry
        assert (found.fset is not None) == (entry in settable), entry
    for entry, node in methods.items():
        assert stub_arguments(node) == built_arguments(getattr(built, entry)), entry


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(rekur.__file__).parent / "py.typed").is_file()
