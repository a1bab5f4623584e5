"""`rekur.tasks.TextGenerator`, `TextClassifier` and `Translator` as they come."""

from __future__ import annotations

from benchmarks.tasks.contender import OURS, Clock, Contender
from benchmarks.tasks.scores import accuracy
from benchmarks.tasks.text_baselines import of
from benchmarks.tasks.texts import CharacterTask, PairTask, TopicTask


def _characters(task: CharacterTask, seed: int, clock: Clock) -> dict[str, float]:
    from rekur.tasks import TextGenerator

    model = TextGenerator(random_state=seed)
    with clock.fitting():
        model.fit(task.train)
    with clock.predicting():
        bits = model.bits_per_character(task.test)
    return {"bits": bits}


def _topics(task: TopicTask, seed: int, clock: Clock) -> dict[str, float]:
    from rekur.tasks import TextClassifier

    model = TextClassifier(random_state=seed)
    with clock.fitting():
        model.fit(task.train, task.train_labels)
    with clock.predicting():
        answer = model.predict(task.test)
    return {"accuracy": accuracy(task.test_labels, answer)}


def _pairs(task: PairTask, seed: int, clock: Clock) -> dict[str, float]:
    from rekur.tasks import Translator

    model = Translator(random_state=seed)
    with clock.fitting():
        model.fit([source for source, _ in task.train], [target for _, target in task.train])
    with clock.predicting():
        answer = model.predict([source for source, _ in task.test])
    return {"exact": accuracy([target for _, target in task.test], list(answer))}


CONTENDERS = [
    Contender("rekur TextGenerator", OURS, _characters, fits=of(CharacterTask)),
    Contender("rekur TextClassifier", OURS, _topics, fits=of(TopicTask)),
    Contender("rekur Translator", OURS, _pairs, fits=of(PairTask)),
]
