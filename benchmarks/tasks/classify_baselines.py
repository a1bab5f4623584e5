"""What a classifier has to beat: the commonest class, and the nearest neighbour under dynamic time warping."""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmarks.tasks.contender import BASELINE, Clock, Contender
from benchmarks.tasks.labelled import ClassTask
from benchmarks.tasks.scores import accuracy


def _commonest(task: ClassTask, seed: int, clock: Clock) -> dict[str, float]:
    commonest = Counter(task.train_labels.tolist()).most_common(1)[0][0]
    return {"accuracy": accuracy(task.test_labels, np.full(len(task.test), commonest))}


def _nearest(task: ClassTask, seed: int, clock: Clock) -> dict[str, float]:
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    train, test = ([one.T.astype(float) for one in part] for part in (task.train, task.test))
    learner = KNeighborsTimeSeriesClassifier(distance="dtw")
    with clock.fitting():
        learner.fit(train, task.train_labels)
    with clock.predicting():
        answer = learner.predict(test)
    return {"accuracy": accuracy(task.test_labels, answer)}


CONTENDERS = [
    Contender("commonest class", BASELINE, _commonest, random=False),
    Contender("1-NN, DTW (aeon)", BASELINE, _nearest, needs=("aeon",), random=False),
]
