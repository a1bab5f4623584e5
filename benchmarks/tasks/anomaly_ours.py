"""`rekur.tasks.AnomalyDetector` as it comes, and told the signal's period, as the baselines of windows are."""

from __future__ import annotations

import numpy as np

from benchmarks.tasks.contender import OURS, Clock, Contender
from benchmarks.tasks.scores import alarm_scores, anomaly_scores
from benchmarks.tasks.signals import AnomalyTask


def _contender(name: str, told: bool) -> Contender:
    def run(task: AnomalyTask, seed: int, clock: Clock) -> dict[str, float]:
        from rekur.tasks import AnomalyDetector

        model = AnomalyDetector(random_state=seed, window=task.period if told else None)
        with clock.fitting():
            model.fit(task.train)
        with clock.predicting():
            score = -np.asarray(model.score_samples(task.test))
        stretches = [(alarm.start, alarm.end) for alarm in model.alarms(task.test)]
        return {**anomaly_scores(task, score), **alarm_scores(task, stretches)}

    return Contender(name, OURS, run)


CONTENDERS = [
    _contender("rekur AnomalyDetector", told=False),
    _contender("rekur AnomalyDetector(window=period)", told=True),
]
