"""What estimators of texts understood and learned, as lines of text."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rekur.tasks.text.classifier import TextClassifier
    from rekur.tasks.text.generator import TextGenerator
    from rekur.tasks.text.translator import Translator

_TOKENS = {"character": "characters", "word": "words", "byte_pairs": "byte pairs"}


def lines_of(rows: list[tuple[str, str]]) -> str:
    """Names and what they stand for, one a line."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in rows)


def cell_name(cell: Any) -> str:
    return cell if isinstance(cell, str) else type(cell).__name__


def of_network(model: Any) -> str:
    """A network in a line."""
    kinds = [type(layer).__name__ for layer in model.layers if type(layer).__name__ not in ("InputLayer", "Dropout")]
    return f"{' → '.join(kinds)}, {model.count_params():,} parameters"


def of_vocabulary(state: dict[str, Any]) -> str:
    tokens = state["tokens"]
    first = [t for t in tokens if state["level"] != "word" or t.strip(" ")[:1].isalnum()][:12]
    shown = " ".join("␣" if token == " " else repr(token.strip(" "))[1:-1] for token in first)
    if state["level"] == "byte_pairs":
        return f"{len(tokens):,} byte pairs"
    return f"{len(tokens):,} {_TOKENS[state['level']]}: {shown}{' …' if len(tokens) > 12 else ''}"


def of_generator(estimator: "TextGenerator") -> str:
    """The lines of a generator."""
    estimator._check_fitted()
    said, state, held = estimator.trained_on_, estimator.vocabulary_, estimator.held_out_
    kind = _TOKENS[state["level"]]
    count = "one text" if estimator.through_ else f"{said['texts']:,} texts"
    rows = [
        ("TextGenerator", f"of {kind}"),
        ("read", f"{count}, {said['characters']:,} characters, {said['tokens']:,} {kind}"),
        ("vocabulary", of_vocabulary(state)),
    ]
    if estimator.unknown_:
        rows.append(("unknown", f"{estimator.unknown_:,} {kind} of the texts are in no vocabulary of this size"))
    rows.append(("network", of_network(estimator.models_[0])))
    history = estimator.history_
    if held is None:
        rows.append(("trained", f"{len(history['loss'])} epochs, {history['loss'][-1] / math.log(2):.3f} bits a token"))
    else:
        best = min(range(len(history["val_loss"])), key=history["val_loss"].__getitem__)
        rows.append(("trained", f"{len(history['loss'])} epochs, the weights are those of epoch {best + 1}"))
        rows.append(
            (
                "held out",
                f"the last {held['characters']:,} characters: {held['bits_per_character']:.3f} bits per character, "
                f"perplexity {held['perplexity']:.2f} a token",
            )
        )
    return lines_of(rows)


def of_classifier(estimator: "TextClassifier") -> str:
    """The lines of a classifier."""
    estimator._check_fitted()
    said, held = estimator.trained_on_, estimator.held_out_
    names = [str(label) for label in estimator.classes_.tolist()]
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    several = "a text may have several; " if estimator.multilabel_ else ""
    rows = [
        ("TextClassifier", f"by {' and '.join(f'{level}s' for level in estimator.vocabularies_)}"),
        ("read", f"{said['texts']:,} texts, {said['held_out']:,} of them held out"),
        ("classes", f"{len(names)}: {several}{shown}"),
    ]
    if said["empty"]:
        rows.append(("empty", f"{said['empty']:,} texts say nothing"))
    if said["longer"]:
        limits = " or ".join(f"{length} {level}s" for level, length in estimator.lengths_.items())
        rows.append(("longer", f"{said['longer']:,} texts have more than {limits}; what is behind is not read"))
    rows += [("vocabulary", of_vocabulary(state)) for state in estimator.vocabularies_.values()]
    count = len(estimator.models_)
    rows.append(("network", f"{'' if count == 1 else f'{count} of '}{of_network(estimator.models_[0])}"))
    epochs = [len(history["loss"]) for history in estimator.history_]
    rows.append(("trained", f"{', '.join(map(str, epochs))} epochs"))
    if held is not None:
        warm = ", ".join(f"{value:.2f}" for value in estimator.temperatures_)
        rows.append(
            (
                "held out",
                f"{held['accuracy']:.1%} right, log loss {held['log_loss']:.3f}, calibration error "
                f"{held['calibration_error']:.3f} (temperature {warm})",
            )
        )
    return lines_of(rows)


def of_translator(estimator: "Translator") -> str:
    """The lines of a translator."""
    estimator._check_fitted()
    said, held, history = estimator.trained_on_, estimator.held_out_, estimator.history_
    source, target = estimator.source_vocabulary_, estimator.target_vocabulary_
    rows = [
        ("Translator", f"{_TOKENS[source['level']]} to {_TOKENS[target['level']]}"),
        ("read", f"{said['pairs']:,} pairs, {said['source']:,} characters to {said['target']:,}"),
        ("source", of_vocabulary(source)),
        ("target", of_vocabulary(target)),
    ]
    for side in ("source", "target"):
        if said[f"unknown_{side}"]:
            rows.append(("unknown", f"{said[f'unknown_{side}']:,} {side}s have tokens that are not in the vocabulary"))
    rows.append(("network", of_network(estimator.models_[0])))
    losses = history.get("val_loss", history["loss"])
    best = min(range(len(losses)), key=losses.__getitem__) + 1 if held is not None else len(losses)
    rows.append(("trained", f"{len(losses)} epochs, the weights are those of epoch {best}"))
    if held is not None:
        rows.append(
            (
                "held out",
                f"{held['pairs']:,} pairs: {held['exact']:.1%} exactly right, character error rate "
                f"{held['character_error_rate']:.2%}",
            )
        )
    return lines_of(rows)
