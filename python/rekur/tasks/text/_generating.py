"""What a generator of texts is made of: texts as rows that are read side by side, and the network."""

from typing import Any

import numpy as np

from rekur import initializers, layers
from rekur.models import Model
from rekur.tasks.text._settings import recurrent_layer
from rekur.tasks.text._vocabulary import FIRST, MARK, UNKNOWN, Ids, Vocabulary

_WHO = "TextGenerator"
SPREAD = 1.0  # of the numbers that stand for a token, at first: the usual 0.05 learns nothing for hundreds of steps


def named(vocabulary: Vocabulary) -> str:
    return {"character": "character", "word": "word", "byte_pairs": "token"}[vocabulary.level]


def split_texts(encoded: list[Ids], held: float, through: bool) -> tuple[list[Ids], list[Ids]]:
    """What is learned from, and the end that is held out."""
    total = sum(map(len, encoded))
    if not held or total < 20:
        return encoded, []
    if through:
        at = len(encoded[0]) - max(1, round(held * total))
        return [encoded[0][:at]], [encoded[0][at:]]
    if len(encoded) < 2:
        return encoded, []
    kept, count = len(encoded), 0
    while kept > 1 and count < held * total:
        kept -= 1
        count += len(encoded[kept])
    return encoded[:kept], encoded[kept:]


def arranged(texts: list[Ids], through: bool, rows: int, window: int) -> tuple[dict[str, Any], int]:
    """Texts as rows that are read side by side, each from where the one before ended; and windows of an epoch."""
    parts: list[Any] = []
    for ids in texts:
        parts += [[MARK], ids]
    if not through:
        parts.append([MARK])
    whole = np.concatenate(parts).astype(np.int32)
    count = len(whole) - 1
    rows = max(1, min(rows, count // (8 * window)))
    steps = -(-count // rows)
    lengths = np.full(rows, steps, np.int32)
    x, y = np.zeros((rows, steps), np.int32), np.zeros((rows, steps), np.int32)
    for k in range(rows):
        begin = min(k * steps, count)
        end = min(begin + steps, count)
        lengths[k] = end - begin
        x[k, : end - begin], y[k, : end - begin] = whole[begin:end], whole[begin + 1 : end + 1]
    return {"x": x, "y": y, "lengths": lengths}, -(-steps // window)


def network(tokens: int, width: int, units: tuple[int, ...], cell: Any, dropout: float, seed: int) -> Model:
    ids = layers.Input((None,), dtype="int32", name="tokens")
    table = initializers.RandomNormal(stddev=SPREAD)
    x = layers.Embedding(tokens, width, embeddings_initializer=table, name="embedding")(ids)
    for k, size in enumerate(units):
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout_{k}")(x)
        x = recurrent_layer(cell, size, _WHO, return_sequences=True, name=f"recurrent_{k}")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return Model(ids, layers.Dense(tokens, name="logits")(x), seed=seed)


def befriend_unknown(model: Model, learned: list[Ids]) -> None:
    """Give what is not known the mean of what is, where it never stood in a text: its numbers were never trained."""
    counts = np.bincount(np.concatenate(learned), minlength=2)
    if counts[UNKNOWN]:
        return
    weights = model.get_weights()
    table = weights[0].copy()
    seen = counts[: len(table)].astype(np.float64)
    seen = np.pad(seen, (0, len(table) - len(seen)))
    seen[:FIRST] = 0
    table[UNKNOWN] = (seen[:, None] * table).sum(axis=0) / seen.sum()
    weights[0] = table
    model.set_weights(weights)
