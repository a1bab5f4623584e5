"""Makes the models beside this file, which ``probe.c`` runs on every target: ``python make_models.py``.

They are committed, so that bits can be compared where there is no Python. Each has in it what one part of the library
computes, so that a smaller build leaves a whole file out and not a piece of one. Weights are drawn, not trained.
"""

from pathlib import Path

import numpy as np

import rekur
from rekur import Model, cells
from rekur import layers as L


def cells_compiled() -> Model:
    """Every cell that is compiled in, with more units than a vector has lanes and fewer than two."""
    x = L.Input((None, 3))
    rows = [
        L.LSTM(5, return_sequences=True)(x),
        L.LSTM(6, peepholes=True, return_sequences=True)(x),
        L.LSTM(3, coupled_gates=True, activation="softsign", return_sequences=True)(x),
        L.GRU(7, return_sequences=True)(x),
        L.GRU(4, reset_after=False, return_sequences=True)(x),
        L.SimpleRNN(9, return_sequences=True)(x),
    ]
    wide = L.LSTM(21, return_sequences=True)(L.Concatenate()(rows))
    return Model(x, L.Dense(2)(wide))


def equations() -> Model:
    """Cells and layers that are interpreted."""
    x = L.Input((None, 3))
    y = L.RNN(cells.light_gru, 6, return_sequences=True)(x)
    y = L.Activation("gelu")(y)
    return Model(x, L.Dense(2, activation="softplus")(y))


def matrices() -> Model:
    """Layers whose state is a matrix."""
    x = L.Input((None, 3))
    y = L.MLSTM(2, 4, return_sequences=True)(x)
    y = L.GatedLinearAttention(2, 3, return_sequences=True)(y)
    return Model(x, L.SelectiveSSM(3, return_sequences=True)(y))


def around() -> Model:
    """Layers around recurrence."""
    x = L.Input((None, 3))
    y = L.Conv1D(6, 3, padding="causal", activation="relu")(x)
    y = L.LayerNormalization()(y)
    y = L.MultiHeadAttention(2, 4, use_causal_mask=True, sliding_window=8)(y, y)
    return Model(x, L.Dense(4, activation="softmax")(y))


def integers() -> Model:
    """Products of eight bits."""
    x = L.Input((None, 3))
    y = L.LSTM(17, return_sequences=True, precision="int8")(x)
    return Model(x, L.Dense(5, precision="int8")(y))


def halves() -> Model:
    """Weights of sixteen bits."""
    x = L.Input((None, 3))
    y = L.GRU(24, return_sequences=True)(x)
    return Model(x, L.Dense(2)(y))


def main() -> None:
    here = Path(__file__).parent
    for make in (cells_compiled, equations, matrices, around, integers, halves):
        rekur.set_random_seed(1)
        model = make()
        rng = np.random.default_rng(0)
        model.set_weights([(w + 0.1 * rng.standard_normal(w.shape)).astype(np.float32) for w in model.get_weights()])
        if make is halves:
            model = rekur.quantize(model, "fp16", data=rng.standard_normal((2, 8, 3)).astype(np.float32)).model
        model.save(here / f"{make.__name__}.safetensors")


if __name__ == "__main__":
    main()
