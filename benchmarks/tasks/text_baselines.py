"""What a model of texts has to beat: counts of what followed, words' weights in a linear model, a look-up."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

from benchmarks.tasks.contender import BASELINE, Clock, Contender
from benchmarks.tasks.scores import accuracy
from benchmarks.tasks.texts import CharacterTask, PairTask, TopicTask

ORDER = 5  # characters before the next one that the counts look at


def _counts(task: CharacterTask, seed: int, clock: Clock) -> dict[str, float]:
    """Counts of what followed up to five characters, mixed by Witten and Bell's rule down to equal shares."""
    seen: list[dict[str, Counter[str]]] = [defaultdict(Counter) for _ in range(ORDER + 1)]
    with clock.fitting():
        for k, mark in enumerate(task.train):
            for order in range(min(ORDER, k) + 1):
                seen[order][task.train[k - order : k]][mark] += 1
    totals = [{past: (sum(after.values()), len(after)) for past, after in level.items()} for level in seen]
    marks = len(set(task.train)) + 1
    bits = 0.0
    whole = task.train[-ORDER:] + task.test
    with clock.predicting():
        for k in range(ORDER, len(whole)):
            share = 1 / marks
            for order in range(ORDER + 1):
                past = whole[k - order : k]
                total = totals[order].get(past)
                if total is None:
                    break
                share = (seen[order][past][whole[k]] + total[1] * share) / (total[0] + total[1])
            bits -= math.log2(share)
    return {"bits": bits / len(task.test)}


def _commonest(task: TopicTask, seed: int, clock: Clock) -> dict[str, float]:
    commonest = Counter(task.train_labels).most_common(1)[0][0]
    return {"accuracy": accuracy(task.test_labels, [commonest] * len(task.test))}


def _words(task: TopicTask, seed: int, clock: Clock) -> dict[str, float]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    learner = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    with clock.fitting():
        learner.fit(task.train, task.train_labels)
    with clock.predicting():
        answer = learner.predict(task.test)
    return {"accuracy": accuracy(task.test_labels, answer)}


def _look_up(task: PairTask, seed: int, clock: Clock) -> dict[str, float]:
    """The answer of the training source that shares most pairs of characters with the question."""

    def pairs(text: str) -> frozenset[str]:
        return frozenset(f"^{text}$"[k : k + 2] for k in range(len(text) + 1))

    with clock.fitting():
        holders: dict[str, list[int]] = defaultdict(list)
        for k, (source, _) in enumerate(task.train):
            for pair in pairs(source):
                holders[pair].append(k)
    right = 0
    asked = task.test[:500]
    with clock.predicting():
        for source, target in asked:
            shared: Counter[int] = Counter()
            for pair in pairs(source):
                shared.update(holders.get(pair, ()))
            right += bool(shared) and task.train[shared.most_common(1)[0][0]][1] == target
    return {"exact": right / len(asked)}


def of(kind: type) -> Any:
    return lambda task: isinstance(task, kind)


CONTENDERS = [
    Contender("counts of 5 characters", BASELINE, _counts, random=False, fits=of(CharacterTask)),
    Contender("commonest topic", BASELINE, _commonest, random=False, fits=of(TopicTask)),
    Contender("TF-IDF + logistic regression", BASELINE, _words, ("sklearn",), random=False, fits=of(TopicTask)),
    Contender("nearest source", BASELINE, _look_up, random=False, fits=of(PairTask)),
]
