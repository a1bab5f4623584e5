"""tests/keras_scripts: public programs for Keras, written anew in small; only their imports are not Keras's."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

import rekur

SCRIPTS = sorted((Path(__file__).parent / "keras_scripts").glob("*.py"))
every_script = pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])


def needs(source):
    """The layers that a script's first line names."""
    found = re.match(r"# needs: (.*)\n", source)
    return found.group(1).split() if found else []


@every_script
def test_it_runs_here(path, tmp_path, monkeypatch):
    source = path.read_text(encoding="utf-8")
    missing = [name for name in needs(source) if not hasattr(rekur.layers, name)]
    if missing:
        pytest.skip(f"not here yet: {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    rekur.set_random_seed(1)
    exec(compile(source, str(path), "exec"), {"__name__": path.stem})


@every_script
@pytest.mark.skipif(
    "REKUR_KERAS_SCRIPTS" not in os.environ, reason="slow: REKUR_KERAS_SCRIPTS=1 runs them in Keras, too"
)
def test_it_runs_in_keras(path, tmp_path, monkeypatch):
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("jax") is None:
        pytest.skip("no keras to compare with")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    source = path.read_text(encoding="utf-8")
    for package in re.findall(r"^# Keras needs: (\w+)$", source, re.M):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(1)
    theirs = source.replace("import rekur as keras", "import keras").replace("from rekur", "from keras")
    assert "rekur" not in theirs
    exec(compile(theirs, str(path), "exec"), {"__name__": path.stem})
