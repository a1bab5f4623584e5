"""What a classifier of texts is made of: its labels, rows held out, the network, and what it is worth."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur import initializers, layers
from rekur.callbacks import Callback
from rekur.models import Model
from rekur.tasks.classification._calibration import calibration_error, log_loss, temperature
from rekur.tasks.classification._targets import read_labels
from rekur.tasks.text._settings import recurrent_layer
from rekur.tasks.text._vocabulary import Ids

if TYPE_CHECKING:
    from rekur.tasks.text.classifier import TextClassifier

Floats = NDArray[np.float64]
_WHO = "TextClassifier"
# Of the numbers that stand for a token, at first: words that are hardly ever met are to say nothing.
SPREAD = {"word": 0.05, "character": 0.5}
LEAST_HELD = 10  # texts; of fewer there is nothing to be learned about a network


def read_targets(y: Any, count: int) -> tuple[NDArray[Any], NDArray[Any], bool]:
    """The classes, each text's as places in them or (N, C) of 0 and 1, and whether it is the latter."""
    shape = np.shape(y) if not hasattr(y, "shape") else tuple(y.shape)
    if len(shape) == 2 and shape[1] > 1:
        given = np.asarray(y)
        if given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
            raise ValueError(f"{_WHO}: y: of shape {shape} it is to have a column of 0 and 1 for each class")
        if len(given) != count:
            raise ValueError(
                f"{_WHO}: Found input variables with inconsistent numbers of samples: [{count}, {len(given)}]"
            )
        return np.arange(shape[1]), given.astype(np.int64), True
    labels = read_labels(y, count, _WHO)
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{_WHO}: Classifier can't train when only one class is present: {classes.tolist()[0]!r}")
    return classes, places.ravel(), False


def as_targets(targets: NDArray[Any], multilabel: bool) -> NDArray[Any]:
    return targets.astype(np.float32 if multilabel else np.int32)


def split_rows(
    targets: NDArray[Any], share: float, multilabel: bool, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to learn from and rows held out: of each class its share, at least one stays to be learned from."""
    count = len(targets)
    if share * count < LEAST_HELD:
        return np.arange(count), np.arange(0)
    if multilabel:
        order = rng.permutation(count)
        at = round(share * count)
        return np.sort(order[at:]), np.sort(order[:at])
    kept: list[int] = []
    owed = 0.0  # what rounding has left, so that the whole share comes out
    for label in range(int(targets.max()) + 1):
        rows = rng.permutation(np.flatnonzero(targets == label))
        owed += share * len(rows)
        taken = min(int(owed), len(rows) - 1)
        owed -= taken
        kept += rows[:taken].tolist()
    held = np.zeros(count, bool)
    held[kept] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def network(
    tokens: dict[str, int], classes: int, width: int, units: int, cell: Any, dropout: float, seed: int
) -> Model:
    inputs, parts = [], []
    for level, size in tokens.items():
        ids = layers.Input((None,), dtype="int32", name=level)
        inputs.append(ids)
        table = initializers.RandomNormal(stddev=SPREAD[level])
        if level == "word":
            x = layers.Embedding(size, width, embeddings_initializer=table, name="words")(ids)
            x = layers.SpatialDropout1D(dropout, name="words_dropout")(x)
            parts.append(layers.GlobalAveragePooling1D(name="words_mean")(x))
        else:
            x = layers.Embedding(size, width // 2 or 1, embeddings_initializer=table, name="characters")(ids)
            x = layers.Conv1D(2 * units, 5, padding="same", activation="relu", name="letters")(x)
            x = layers.MaxPooling1D(3, padding="same", name="syllables")(x)
            x = layers.Dropout(0.5 * dropout, name="characters_dropout")(x)
        layer = recurrent_layer(cell, units, _WHO, return_sequences=True, name=f"{level}_{units}")
        x = layers.Bidirectional(layer, name=f"{level}_recurrent")(x)
        parts += [layers.GlobalMaxPooling1D(name=f"{level}_largest")(x)]
        parts += [layers.GlobalAveragePooling1D(name=f"{level}_mean")(x)]
    x = layers.Concatenate(name="features")(parts)
    x = layers.Dropout(dropout, name="features_dropout")(x)
    return Model(inputs, layers.Dense(classes, name="logits")(x), seed=seed)


def sigmoid(logits: NDArray[Any]) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float64), -700, 700)))
    return found


class Warm(Callback):
    """Makes ``val_loss`` the held-out loss of calibrated probabilities.

    A network that goes on learning becomes too sure before it stops to tell more: calibrated, it has gained.
    """

    def __init__(
        self, estimator: "TextClassifier", rows: list[tuple[Ids, ...]], targets: NDArray[Any], multilabel: bool
    ) -> None:
        self._estimator, self._rows, self._targets, self._multilabel = estimator, rows, targets, multilabel

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logits = self._estimator._logits(self.model, self._rows)
        if np.isfinite(logits).all():
            scores, labels = as_classes(logits, self._targets, self._multilabel)
            logs["val_loss"] = log_loss(temperature(scores, labels)(scores), labels)


def as_classes(logits: NDArray[Any], targets: NDArray[Any], multilabel: bool) -> tuple[Floats, NDArray[Any]]:
    """Scores and labels of single classes: of several labels each column is two classes, it is not and it is."""
    scores = np.asarray(logits, np.float64)
    if not multilabel:
        return scores, targets
    return np.stack([np.zeros(scores.size), scores.ravel()], axis=1), targets.ravel()


def cool(model: Model, logits: NDArray[Any], targets: NDArray[Any], multilabel: bool) -> float:
    """Divide what a network gives by the temperature that suits held-out texts best; which it was."""
    scale = float(temperature(*as_classes(logits, targets, multilabel)).scale[0])
    weights = model.get_weights()
    weights[-2], weights[-1] = weights[-2] * np.float32(scale), weights[-1] * np.float32(scale)
    model.set_weights(weights)
    return 1 / scale


def measured(probabilities: Floats, targets: NDArray[Any], multilabel: bool) -> dict[str, Any]:
    """What probabilities were worth."""
    if multilabel:
        labels = targets.ravel()
        both = np.stack([1 - probabilities.ravel(), probabilities.ravel()], axis=1)
        right = float(((probabilities >= 0.5) == targets).all(axis=1).mean())
    else:
        labels, both = targets, probabilities
        right = float((probabilities.argmax(axis=1) == targets).mean())
    return {
        "labels": labels.astype(np.int64),
        "predicted": both.argmax(axis=1).astype(np.int64),
        "confidence": both.max(axis=1),
        "accuracy": right,
        "log_loss": log_loss(np.log(np.maximum(both, 1e-300)), labels),
        "calibration_error": calibration_error(both, labels),
    }
