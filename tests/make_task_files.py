"""Makes tests/task_files: a file of each estimator, as the version at hand writes it, and what it answered.

Files that are there stay: they are what older versions wrote, and load for ever. A new version of the form gets a new
folder: ``python tests/make_task_files.py tests/task_files/2``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rekur import tasks

FOLDER = Path(__file__).parent / "task_files"
TEXTS = ["red apples", "green pears", "red plums", "green figs"] * 6
SERIES = (np.sin(np.arange(80) / 3) + np.arange(80) / 50).astype(np.float64)
ROWS = np.stack([np.sin(np.arange(12) / (1 + k % 2) + k) for k in range(24)])
SMALL = {"epochs": 1, "random_state": 1}


def made() -> dict[str, Any]:
    """Small estimators by name."""
    wave = np.stack([SERIES, SERIES[::-1]], axis=1)
    words = [text.split() for text in TEXTS]
    tags = [["colour", "fruit"]] * len(words)
    return {
        "forecaster": tasks.Forecaster(3, units=3, context=12, **SMALL).fit(SERIES),
        "classifier": tasks.SequenceClassifier(network="gru", units=3, **SMALL).fit(ROWS, ["a", "b"] * 12),
        "regressor": tasks.SequenceRegressor(network="gru", units=3, **SMALL).fit(ROWS, np.arange(24.0)),
        "tagger": tasks.SequenceTagger(units=3, **SMALL).fit(words, tags),
        "detector": tasks.AnomalyDetector(method="forecast", units=3, window=6, **SMALL).fit(wave),
        "generator": tasks.TextGenerator(units=3, **SMALL).fit(" ".join(TEXTS)),
        "text_classifier": tasks.TextClassifier(units=3, **SMALL).fit(TEXTS, ["warm", "cold"] * 12),
        "translator": tasks.Translator(units=4, **SMALL).fit(TEXTS, [text.upper() for text in TEXTS]),
    }


def answers(name: str, estimator: Any) -> Any:
    """What an estimator says, as JSON has it."""
    if name == "forecaster":
        found = estimator.predict_quantiles()
    elif name == "detector":
        found = estimator.score_samples(np.stack([SERIES, SERIES], axis=1))
    elif name == "generator":
        return [estimator.bits_per_character(TEXTS[0] + " " + TEXTS[1])]
    elif name == "tagger":
        return [[str(tag) for tag in row] for row in estimator.predict([["red", "figs"], ["pears"]])]
    elif name == "translator":
        return [str(text) for text in estimator.predict(TEXTS[:2])]
    elif name == "text_classifier":
        found = estimator.predict_proba(TEXTS[:3])
    elif name == "classifier":
        found = estimator.predict_proba(ROWS[:3])
    else:
        found = estimator.predict(ROWS[:3])
    return np.asarray(found, np.float64).tolist()


def main(folder: Path) -> None:
    folder.mkdir(parents=True)  # never over files that are there
    expected = {}
    for name, estimator in made().items():
        estimator.save(folder / f"{name}.safetensors")
        expected[name] = answers(name, estimator)
    (folder / "answers.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
