"""Tags of steps as entities, and scores of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Span(NamedTuple):
    """Steps ``begin`` … ``end`` − 1 that are one entity."""

    kind: str
    begin: int
    end: int


def are_entities(tags: Sequence[Any]) -> bool:
    """Whether tags are of a scheme of entities: "O", and "B-", "I-" (perhaps "E-", "L-", "S-", "U-") with a kind."""
    texts = [tag for tag in tags if isinstance(tag, str)]
    if len(texts) != len(tags) or "O" not in texts:
        return False
    return any(tag != "O" for tag in texts) and all(
        tag == "O" or (tag[1:2] == "-" and tag[0] in "BIELSU") for tag in texts
    )


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of a sequence of tags, in the schemes IOB1, IOB2, BIOES and BILOU.

    An entity begins at "B-", "S-", "U-", and where "I-" or an end follows nothing of its kind, as conlleval has it.
    """
    found: list[Span] = []
    begin, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        goes_on = bool(kind) and name == kind and mark in ("I", "E", "L")
        if kind and not goes_on:
            found.append(Span(kind, begin, place))
            kind = ""
        if mark != "O" and not goes_on:
            begin, kind = place, name
        if mark in ("E", "L", "S", "U") and kind:
            found.append(Span(kind, begin, place + 1))
            kind = ""
    return found


def entity_scores(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and how many there are, of each kind of entity and of all ("micro").

    An entity is right if its kind and both its ends are.
    """
    counts: dict[str, list[int]] = {}
    for true_tags, tags in zip(truth, answers, strict=True):
        true, told = set(spans(true_tags)), set(spans(tags))
        for place, part in enumerate((true & told, told, true)):
            for span in part:
                counts.setdefault(span.kind, [0, 0, 0])[place] += 1
    counts = dict(sorted(counts.items()))
    counts["micro"] = [sum(values) for values in zip(*counts.values(), strict=True)] if counts else [0, 0, 0]
    scores = {}
    for kind, (right, told_count, true_count) in counts.items():
        precision = right / told_count if told_count else 0.0
        recall = right / true_count if true_count else 0.0
        f1 = 2 * right / (told_count + true_count) if told_count + true_count else 0.0
        scores[kind] = {"precision": precision, "recall": recall, "f1": f1, "support": true_count}
    return scores
