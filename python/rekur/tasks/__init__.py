"""Estimators: from a table of numbers, or texts, to a deployed model, in scikit-learn's words.

:class:`Forecaster`, :class:`SequenceClassifier`, :class:`SequenceRegressor`, :class:`SequenceTagger`,
:class:`AnomalyDetector`, :class:`TextGenerator`, :class:`TextClassifier`, :class:`Translator`. Each is seeded, saves as
one file with everything in it, exports ONNX with its preprocessing, and explains itself by ``summary()`` and
``plot()``. :func:`load` reads the file of any of them, and :func:`read_series` shows how a table is understood. They
need none of scikit-learn, pandas and matplotlib; ``plot`` asks for the last, and where the others are installed their
frames, pipelines and searches take part.
"""

import importlib
from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute
from rekur.tasks._estimator import Estimator, NotFittedError, load

if TYPE_CHECKING:
    from rekur.tasks import report, serve
    from rekur.tasks._series import Series, SeriesSet, read_series
    from rekur.tasks._timeline import Timeline
    from rekur.tasks.anomalies import AnomalyDetector
    from rekur.tasks.classification import SequenceClassifier, SequenceRegressor, SequenceTagger
    from rekur.tasks.forecasting import Forecaster
    from rekur.tasks.text import TextClassifier, TextGenerator, Translator

# Where each class stands; imported when first used.
_CLASSES: dict[str, str] = {
    "AnomalyDetector": "anomalies",
    "Forecaster": "forecasting",
    "SequenceClassifier": "classification",
    "TextClassifier": "text",
    "SequenceRegressor": "classification",
    "SequenceTagger": "classification",
    "TextGenerator": "text",
    "Translator": "text",
    "Series": "_series",
    "SeriesSet": "_series",
    "Timeline": "_timeline",
    "read_series": "_series",
}
_MODULES = ("report", "serve")

__all__ = [
    "AnomalyDetector",
    "Estimator",
    "Forecaster",
    "NotFittedError",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "Series",
    "SeriesSet",
    "TextClassifier",
    "TextGenerator",
    "Timeline",
    "Translator",
    "load",
    "read_series",
    "report",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"rekur.tasks.{name}")
    if name in _CLASSES:
        return getattr(importlib.import_module(f"rekur.tasks.{_CLASSES[name]}"), name)
    no_attribute(__name__, "estimator", name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_CLASSES})
