"""docs/coming-from-keras.md is true: every name and call of its tables, here and, where it is installed, in Keras."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import rekur
from rekur import losses, metrics, optimizers

PAGE = (Path(__file__).parent.parent / "docs" / "coming-from-keras.md").read_text(encoding="utf-8")


def _rows(title):
    """The cells of a section's table, a list a row, without its header."""
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _code(cell):
    return re.findall(r"`([^`]+)`", cell)


SAME = [(kind, name) for kind, names in _rows("The same") for name in _code(names)]
SPELT = [(_code(row[0])[0], _code(row[1])[0]) for row in _rows("Spelt differently")]
MISSING = [(row[0], name) for row in _rows("Not there") for name in _code(row[1]) if row[0] != "own code"]
OBJECTS = ("models", "layers", "losses", "metrics", "optimizers", "initializers", "callbacks", "activations")


def _space(package):
    """What the page's calls are written with: the package's modules, and its layers by their bare names."""
    space = {name: getattr(package, name) for name in OBJECTS}
    space.update({name: getattr(package.layers, name) for name in dir(package.layers) if name[0].isupper()})
    return {**space, "np": np, "Sequential": package.Sequential}


def _ours():
    return {**_space(rekur), "set_random_seed": lambda seed: seed}


def _take_text(kind, name):
    """What a string of that kind stands for; ValueError where there is none."""
    take = {
        "activations": lambda: rekur.activations.to_spec(name, "x", softmax=True),
        "losses": lambda: losses.get(name),
        "metrics": lambda: metrics.get(name),
        "optimizers": lambda: optimizers.get(name),
    }
    return take[kind]()


def _keras_takes_text(keras, kind, name):
    if (kind, name) == ("metrics", "accuracy"):
        return True  # compile's own
    return getattr(keras, kind).get(name) is not None


def test_the_tables_are_read():
    assert len(SAME) > 60
    assert len(SPELT) > 1
    assert len(MISSING) > 8


@pytest.mark.parametrize(("kind", "name"), SAME)
def test_what_is_the_same_is_here(kind, name):
    if name.startswith('"'):
        assert _take_text(kind, name.strip('"')) is not None
    else:
        assert hasattr(getattr(rekur, kind), name)


@pytest.mark.parametrize(("kind", "name"), SAME)
def test_what_is_the_same_is_in_keras(kind, name):
    keras = pytest.importorskip("keras")
    if name.startswith('"'):
        assert _keras_takes_text(keras, kind, name.strip('"'))
    else:
        assert hasattr(getattr(keras, kind), name)


def _without_module(code):
    """A call of something that rekur lacks: where the module or its name is missing, and what is asked for there."""
    head = re.match(r"[A-Za-z_.]+", code).group()
    module, _, name = head.rpartition(".")
    if module.startswith("utils"):
        return rekur, "utils"
    if module == "optimizers.schedules":
        return optimizers, "schedules"
    return getattr(rekur, module or "layers"), name


@pytest.mark.parametrize(("theirs", "mine"), SPELT)
def test_what_is_spelt_differently_says_so_and_works_as_written(theirs, mine):
    module, name = _without_module(theirs)
    if not hasattr(module, name):
        with pytest.raises(AttributeError, match=r"which Keras has|as a string"):
            getattr(module, name)
    else:
        with pytest.raises((TypeError, ValueError, AttributeError), match=r": |as a string"):
            eval(theirs, _ours())
    assert eval(mine, _ours()) is not None


@pytest.mark.parametrize(("theirs", "mine"), SPELT)
def test_what_is_spelt_differently_is_so_in_keras(theirs, mine, tmp_path, monkeypatch):
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    if "TensorBoard" in theirs:
        assert hasattr(keras.callbacks, "TensorBoard")  # making one needs TensorFlow
        return
    eval(theirs, {**_space(keras), "utils": keras.utils})  # set_random_seed gives None


def _error(kind, code):
    """The message for something that is not there."""
    if code.startswith('"'):
        with pytest.raises(ValueError, match=r"is Keras's and not here yet") as caught:
            _take_text(kind, code.strip('"'))
    elif "(" in code:
        with pytest.raises((TypeError, ValueError, AttributeError), match=r": |not here yet") as caught:
            eval(code, _ours())
    else:
        with pytest.raises(AttributeError, match="which Keras has") as caught:
            getattr(getattr(rekur, kind), code)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "code"), MISSING)
def test_what_is_not_there_is_refused_and_never_takes_a_neighbours_place(kind, code):
    message = _error(kind, code)
    assert "did you mean" not in message
    assert "missing" not in message


@pytest.mark.parametrize(("kind", "code"), MISSING)
def test_what_is_not_there_is_in_keras(kind, code):
    keras = pytest.importorskip("keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if code.startswith('"'):
            assert _keras_takes_text(keras, kind, code.strip('"'))
        elif "(" in code:
            assert eval(code, _space(keras)) is not None
        else:
            assert hasattr(getattr(keras, kind), code)


def test_advice_names_only_what_exists():
    from rekur._keras import names

    texts = [text for table in names._KINDS.values() for text in table.values()]
    for text in texts + [cell for title in ("Spelt differently", "Not there") for row in _rows(title) for cell in row]:
        for path in re.findall(r"\brekur((?:\.\w+)+)", text):
            found = rekur
            for name in path[1:].split("."):
                found = getattr(found, name)


def test_readers_find_the_page():
    root = Path(__file__).parent.parent
    assert "docs/coming-from-keras.md" in (root / "README.md").read_text(encoding="utf-8")
