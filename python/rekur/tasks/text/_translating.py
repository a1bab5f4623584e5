"""What a translator is made of: what it gives, rare words, what is copied, and the network."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur import initializers, layers
from rekur.models import Model
from rekur.tasks.text._settings import recurrent_layer
from rekur.tasks.text._vocabulary import UNKNOWN, UNKNOWN_TEXT, Ids, Pieces, Vocabulary

_WHO = "Translator"
_SPREAD = 0.5  # of the numbers that stand for a token, at first
# Words that come no more often are taken for unknown in this share of the pairs that copy them.
_RARE, _HIDDEN = 10, 0.2


class Translation(NamedTuple):
    """A text that was written, and the logarithm of its probability, by which translations are ranked."""

    text: str
    score: float


class Alignment(NamedTuple):
    """Where a translator looked: ``weights`` (written, read), each row the attention paid at one written token."""

    source: list[str]
    written: list[str]
    weights: NDArray[np.float32]


class Rare:
    """Rare words that a pair copies, taken for unknown now and then, so that copying is learned."""

    def __init__(self, source: Vocabulary, texts: list[str], seed: int) -> None:
        counts = Counter(token for text in texts for token in source.split(text)) if source.level == "word" else {}
        self._rare = {token for token, count in counts.items() if count <= _RARE}
        self._rng = np.random.default_rng(seed)

    def hide(self, tokens: list[str], wishes: list[str], read: Ids, written: Ids) -> None:
        """Make some words of both sides unknown, in place."""
        wanted = {wish.lstrip(" ") for wish in wishes}
        hidden = {token for token in dict.fromkeys(tokens) if token in self._rare and token in wanted}
        hidden = {token for token in sorted(hidden) if self._rng.random() < _HIDDEN}
        if hidden:
            read[[at for at, token in enumerate(tokens) if token in hidden]] = UNKNOWN
            written[[at for at, wish in enumerate(wishes) if wish.lstrip(" ") in hidden]] = UNKNOWN


def text_of(target: Vocabulary, written: Ids, unknown: list[str]) -> str:
    """The text of what was written, with the unknown tokens of the source where they are meant."""
    pieces, found = Pieces(target), []
    for k, label in enumerate(written.tolist()):
        number = label - len(target)
        if number < 0:
            found.append(pieces.add(label))
        elif number < len(unknown):
            found.append(f" {unknown[number]}" if target.level == "word" and k else unknown[number])
        else:
            found.append(UNKNOWN_TEXT)
    return "".join([*found, pieces.end()])


def network(
    tokens: dict[str, int], width: int, units: int, cell: Any, attention: str, dropout: float, seed: int
) -> Model:
    table = initializers.RandomNormal(stddev=_SPREAD)
    source = layers.Input((None,), dtype="int32", name="source")
    written = layers.Input((None,), dtype="int32", name="written")
    x = layers.Embedding(tokens["source"], width, embeddings_initializer=table, name="source_tokens")(source)
    x = layers.Dropout(dropout, name="source_dropout")(x) if dropout else x
    half = -(-units // 2)
    one_way = recurrent_layer(cell, half, _WHO, return_sequences=True, return_state=True, name="encoder_cell")
    memory, *ends = layers.Bidirectional(one_way, name="encoder")(x)
    memory = layers.Dropout(dropout, name="memory_dropout")(memory) if dropout else memory
    count = len(ends) // 2
    begins = [
        layers.Concatenate(name=f"bridge_{k}")([ends[k], ends[count + k]])
        for k in range(count)
        if len(ends[k].shape) == 2
    ]
    size = 2 * half
    decoder = layers.AttentionRNN(
        recurrent_layer(cell, size, _WHO),
        attention,
        attention_size=size,
        return_sequences=True,
        return_attention_scores=True,
        name="decoder",
    )
    z = layers.Embedding(tokens["target"], width, embeddings_initializer=table, name="target_tokens")(written)
    z = layers.Dropout(dropout, name="target_dropout")(z) if dropout else z
    z, _ = decoder(z, memory, initial_state=begins if len(begins) == count else None)
    z = layers.Dropout(dropout, name="dropout")(z) if dropout else z
    return Model([source, written], layers.Dense(tokens["target"], name="logits")(z), seed=seed)
