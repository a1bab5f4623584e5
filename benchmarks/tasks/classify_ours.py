"""`rekur.tasks.SequenceClassifier` as it comes; sequences of any length go in as they are."""

from __future__ import annotations

from typing import Any

from benchmarks.tasks.contender import OURS, Clock, Contender
from benchmarks.tasks.labelled import ClassTask
from benchmarks.tasks.scores import accuracy


def _contender(name: str, **options: Any) -> Contender:
    def run(task: ClassTask, seed: int, clock: Clock) -> dict[str, float]:
        from rekur.tasks import SequenceClassifier

        model = SequenceClassifier(random_state=seed, **options)
        with clock.fitting():
            model.fit(task.train, task.train_labels)
        with clock.predicting():
            answer = model.predict(task.test)
        return {"accuracy": accuracy(task.test_labels, answer)}

    return Contender(name, OURS, run)


CONTENDERS = [
    _contender("rekur SequenceClassifier"),
    _contender('rekur SequenceClassifier(network="lstm_fcn")', network="lstm_fcn"),
]
