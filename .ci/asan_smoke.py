"""A walk through the extension, for a build with sanitisers: train, predict, save, load, go on, and be refused."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import rekur
from rekur import layers as L

rng = np.random.default_rng(0)


def graph() -> rekur.Model:
    ids, x = rekur.Input((None,), dtype="int32", name="ids"), rekur.Input((None, 5), name="x")
    embedded = L.Embedding(11, 3)(ids)
    recurrent = L.Bidirectional(L.GRU(7, return_sequences=True, reset_after=False))(x)
    recurrent = L.Dropout(0.2)(L.SimpleRNN(9, return_sequences=True)(recurrent))
    y = L.Dense(4, activation="softmax")(L.LSTM(6)(recurrent))
    z = L.Dense(2)(L.GRU(3)(embedded))
    model = rekur.Model([ids, x], [y, z], seed=1)
    model.compile(optimizer="adam", loss=["categorical_crossentropy", "huber"])
    return model


def main() -> None:
    B, T = 13, 9
    x = [rng.integers(0, 11, (B, 6)), rng.normal(size=(B, T, 5))]
    y = [np.eye(4)[rng.integers(0, 4, B)], rng.normal(size=(B, 2))]
    lengths = {"x": rng.integers(0, T + 1, B), "ids": None}
    for isa in rekur.available_isas():
        rekur.set_isa(isa)
        for threads in (1, 3):
            rekur.set_num_threads(threads)
            model = graph()
            model.fit(x, y, batch_size=5, epochs=2, verbose=0)
            model.fit(x, y, batch_size=5, epochs=1, verbose=0, lengths=lengths)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                model.save(path)
                again = rekur.load(path)
                for a, b in zip(model.predict(x), again.predict(x), strict=True):
                    np.testing.assert_array_equal(a, b)
                again.fit(x, y, epochs=1, verbose=0)
                path.write_bytes(path.read_bytes()[:-3])
                for bad in (lambda: rekur.load(path), lambda: model.predict([x[0] + 99, x[1]])):  # noqa: B023
                    try:
                        bad()
                    except (OSError, ValueError):
                        continue
                    raise AssertionError("a broken file or a wrong id was accepted")
            assert all(len(part) == 0 for part in model.predict([x[0][:0], x[1][:0]]))
    print(f"smoke test passed on {', '.join(rekur.available_isas())}")


if __name__ == "__main__":
    sys.exit(main())
