"""Files of estimators load for ever: those of earlier versions answer as they did (tests/make_task_files.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from make_task_files import FOLDER, answers
from rekur import tasks

FILES = sorted(FOLDER.glob("*/*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_answers_as_it_did(path: Path) -> None:
    expected = json.loads((path.parent / "answers.json").read_text())[path.stem]
    found = answers(path.stem, tasks.load(path))
    if path.stem in ("tagger", "translator"):  # texts
        assert found == expected
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_there_is_one_of_each_estimator() -> None:
    kinds = {type(tasks.load(path)).__name__ for path in FILES}
    estimators = {name for name in dir(tasks) if name != "Estimator" and hasattr(getattr(tasks, name), "save")}
    assert kinds == estimators
