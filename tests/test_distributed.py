"""rekur.distributed: sums in the order of a tree, steps in parts, ranks of any number with the same bits."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import network
import ranks
import rekur
from rekur import layers
from rekur.distributed import DataParallel, DistributedError
from rekur.distributed._compress import _orthonormal, _product
from rekur.distributed._reduce import SMALL, OrderedReducer, finish
from rekur.distributed._transport import Alone
from rekur.distributed._tree import Node, Sums, frontier, owned, owner, root, rows_of

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="ranks are forked")


# The tree.


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 5, 7, 8, 13, 16, 17])
def test_any_number_of_ranks_adds_up_in_the_same_order(shards):
    rng = np.random.default_rng(shards)
    values = (rng.normal(size=(shards, 50)) * 10.0 ** rng.integers(-6, 7, (shards, 1))).astype(np.float32)
    for rows in (1, shards // 2 + 1, shards, 5 * shards + 3):
        there = [rows_of(s, shards, rows).start < rows_of(s, shards, rows).stop for s in range(shards)]
        one = Sums(shards)
        for s in rng.permutation(shards):
            one.put(Node(0, int(s)), values[s].copy() if there[s] else None)
        whole = one.whole()
        np.testing.assert_allclose(whole, values[there].sum(axis=0, dtype=np.float64), rtol=1e-4, atol=1e-2)
        for count in range(1, shards + 1):
            all_ranks = Sums(shards)
            seen: list[int] = []
            for rank in range(count):
                own = owned(rank, count, shards)
                seen += own
                assert all(owner(s, count, shards) == rank for s in own)
                part = Sums(shards)
                for s in own:
                    part.put(Node(0, s), values[s].copy() if there[s] else None)
                front = frontier(own, shards)
                assert set(front) == set(part.parts)  # what a rank can add up by itself, it has
                for node in front:
                    all_ranks.put(node, part.parts[node])
            assert seen == list(range(shards))
            np.testing.assert_array_equal(all_ranks.whole(), whole)


def test_the_tree_is_not_a_row():
    """The order is that of a tree: ((a + b) + (c + d)), which other orders differ from."""
    rng = np.random.default_rng(0)
    a, b, c, d = rng.normal(size=(4, 1000)).astype(np.float32)
    sums = Sums(4)
    for s, values in enumerate((a, b, c, d)):
        sums.put(Node(0, s), values.copy())
    np.testing.assert_array_equal(sums.whole(), (a + b) + (c + d))
    assert (sums.whole() != ((a + b) + c) + d).any()
    assert root(4) == Node(2, 0)


# A step in parts.


def _model(seed: int = 3, dropout: float = 0.0, normalise: bool = False) -> rekur.Sequential:
    middle = [layers.BatchNormalization()] if normalise else []
    model = rekur.Sequential(
        [
            rekur.Input((None, 4)),
            layers.LSTM(7, return_sequences=True, dropout=dropout),
            *middle,
            layers.GRU(5, recurrent_dropout=dropout),
            layers.Dense(2, kernel_regularizer="l2"),
        ],
        seed=seed,
    )
    return model


def _data(rows: int = 37, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 9, 4)).astype(np.float32), rng.normal(size=(rows, 2)).astype(np.float32)
    return x, y, rng.integers(0, 10, rows).astype(np.int32)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("normalise", [False, True])
def test_one_part_is_a_step(dropout, normalise):
    x, y, lengths = _data()
    results = []
    for apart in (False, True):
        model = _model(dropout=dropout, normalise=normalise)
        model.compile("adam", "huber")
        bound = model._trainer(x)
        for _ in range(3):
            if apart:
                sums = np.full(bound.trainer.sums_size(), np.nan, np.float32)
                found = bound.trainer.add([x], [y], [lengths], None, True, None, [len(x)], len(x), 0, sums)
                added = bound.trainer.finish(sums)
                results.append((found[0] + added, found[1], found[2][0]))
            else:
                found = bound.trainer.step([x], [y], [lengths], None, True, None)
                results.append((found[0], found[1], found[2][0]))
        results.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    for one, other in zip(results[:4], results[4:], strict=True):
        if isinstance(one, tuple):
            assert one[0] == pytest.approx(other[0], rel=1e-12) and one[1] == other[1]
            one, other = one[2], other[2]
        np.testing.assert_array_equal(one, other)


def _losses(kind: str) -> tuple[rekur.Model, list[Any], Any, dict[str, Any]]:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(19, 6, 3)).astype(np.float32)
    inputs = rekur.Input((None, 3))
    steps = layers.LSTM(5, return_sequences=True)(inputs)
    lengths = rng.integers(1, 7, 19).astype(np.int32)
    if kind == "crf":
        model = rekur.Model(inputs, layers.CRF(4)(layers.Dense(4)(steps)), seed=1)
        model.compile("sgd", "crf")
        return model, [x], rng.integers(0, 4, (19, 6)).astype(np.int32), {"lengths": lengths}
    if kind == "ctc":
        model = rekur.Model(inputs, layers.Dense(4)(steps), seed=1)
        model.compile("sgd", rekur.losses.CTC())
        return model, [x], rng.integers(1, 4, (19, 2)).astype(np.int32), {"lengths": np.maximum(lengths, 5)}
    if kind == "two outputs":
        model = rekur.Model(
            inputs, [layers.Dense(2)(steps), layers.Dense(3, "softmax")(layers.Step(-1)(steps))], seed=1
        )
        model.compile("sgd", ["mae", "sparse_categorical_crossentropy"], loss_weights=[0.3, 2.0])
        targets = [rng.normal(size=(19, 6, 2)).astype(np.float32), rng.integers(0, 3, 19).astype(np.int32)]
        return model, [x], targets, {"lengths": lengths}
    if kind == "added":
        steps = layers.ActivityRegularization(l1=0.1, l2=0.2)(steps)
        model = rekur.Model(inputs, layers.Dense(2)(layers.GRU(3)(steps)), seed=1)
        model.compile("sgd", "mse")
        return model, [x], rng.normal(size=(19, 2)).astype(np.float32), {}
    model = rekur.Model(inputs, layers.Dense(2)(layers.GRU(3)(steps)), seed=1)
    loss: Any = "huber"
    if kind in ("esr", "dc", "esr + mse"):
        model = rekur.Model(inputs, layers.Dense(2)(steps), seed=1)
        losses = rekur.losses
        signal = {"esr": losses.ESR(), "dc": losses.DC()}.get(kind) or sum(
            [0.5 * losses.ESR(), 0.5 * losses.MeanSquaredError()]
        )
        model.compile("sgd", signal)
        return model, [x], rng.normal(size=(19, 6, 2)).astype(np.float32), {"lengths": lengths}
    if kind == "own":
        loss = lambda t, p: rekur.ops.mean(rekur.ops.abs(t - p) ** 1.5, axis=-1)  # noqa: E731
    elif kind == "sum":
        loss = rekur.losses.MeanSquaredError(reduction="sum")
    model.compile("sgd", loss)
    options: dict[str, Any] = {"lengths": lengths}
    if kind == "weights":
        options["sample_weight"] = rng.uniform(0, 2, 19).astype(np.float32) * (rng.uniform(size=19) > 0.3)
    return model, [x], rng.normal(size=(19, 2)).astype(np.float32), options


@pytest.mark.parametrize(
    "kind", ["plain", "weights", "sum", "own", "two outputs", "added", "crf", "ctc", "esr", "dc", "esr + mse"]
)
@pytest.mark.parametrize("shards", [1, 3, 8, 32])
def test_parts_add_up_to_the_step(kind, shards):
    """Gradients of all parts are those of the whole batch, and so are losses; of 32 shards some are without a row."""
    whole, x, y, options = _losses(kind)
    before = whole.get_weights()
    loss = whole.train_on_batch(x[0], y, **options)
    with DataParallel(shards=shards).scope():
        apart, x, y, options = _losses(kind)
        np.testing.assert_allclose(apart.test_on_batch(x[0], y, **options), loss, rtol=2e-5)
        np.testing.assert_allclose(apart.train_on_batch(x[0], y, **options), loss, rtol=2e-5)
    for start, one, other in zip(before, whole.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_allclose(other - start, one - start, rtol=2e-3, atol=2e-6)
        assert not np.array_equal(one, start)


def test_what_the_engine_refuses():
    x, y, _ = _data()
    model = _model()
    model.compile("adam", "mse")
    trainer = model._trainer(x).trainer
    size = trainer.sums_size()

    def add(counts: Any = (37,), rows: int = 37, room: int = size) -> None:
        trainer.add([x], [y], None, None, False, None, list(counts), rows, 0, np.zeros(room, np.float32))

    for options, message in [
        ({"counts": ()}, "expected 1 counts, one per output, got 0"),
        ({"counts": (36,)}, "it has 37 rows or steps that count, and the whole batch 36"),
        ({"rows": 36}, "it has 37 rows, and the whole batch 36"),
        ({"room": size - 1}, f"expected room for {size} sums, got {size - 1}"),
    ]:
        with pytest.raises(ValueError, match=message):
            add(**options)
    with pytest.raises(ValueError, match=f"expected {size} sums, got 3"):
        trainer.finish(np.zeros(3, np.float32))
    assert trainer.iterations == 0


# Ranks.


def _fit(parallel: DataParallel, folder: Path | None = None, epochs: int = 2, **changes: Any) -> dict[str, Any]:
    x, y, lengths = _data(101)
    with parallel.scope():
        model = _model(dropout=0.2, normalise=True)
        model.compile("adam", "mse", metrics=["mae"])
        callbacks = [rekur.callbacks.EarlyStopping("val_loss", patience=1)]
        if folder is not None:
            callbacks.append(rekur.callbacks.ModelCheckpoint(str(folder / "{epoch}.safetensors")))
            callbacks.append(rekur.callbacks.CSVLogger(folder / f"{parallel.size}.csv"))
        options = {"batch_size": 16, "lengths": lengths, "validation_split": 0.2, "verbose": 0} | changes
        history = model.fit(x, y, epochs=epochs, callbacks=callbacks, **options)
        loss = model.evaluate(x[:5], y[:5], lengths=lengths[:5])
        shown = model.predict(x[:3], verbose=0)
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    return {"history": history.history, "weights": weights, "loss": loss, "shown": shown, "crc": zlib.crc32(weights)}


def _same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["history"] == other["history"] and one["loss"] == other["loss"] and one["crc"] == other["crc"]
    np.testing.assert_array_equal(one["shown"], other["shown"])


@needs_fork
@pytest.mark.parametrize("shards", [4, 6, 8])
def test_any_number_of_ranks_has_the_same_bits(shards, tmp_path):
    alone = _fit(DataParallel(shards=shards))
    for count in (2, 3, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        found = ranks.run(count, lambda t, f=folder: _fit(DataParallel(t, shards=shards), f))
        for each in found:
            _same(each, alone)
        assert {p.name for p in folder.iterdir()} == {"1.safetensors", "2.safetensors", f"{count}.csv"}
        assert len((folder / f"{count}.csv").read_text().splitlines()) == 3


def _sums_of(transport: Any, shards: int, sizes: list[int], empty: int) -> list[np.ndarray]:
    """What a reducer adds up of seeded values, several ranges of them at once; the last ``empty`` shards have none."""
    reducer = OrderedReducer(transport, shards)
    nodes = frozenset(
        node for front in reducer._fronts for node in front if node.first >= shards - empty
    )  # fmt: skip
    begun = []
    for size in sizes:
        sums = Sums(shards)
        for shard in owned(transport.rank, transport.size, shards):
            rng = np.random.default_rng([size, shard])
            values = (rng.normal(size=size) * 10.0 ** rng.integers(-6, 7)).astype(np.float32)
            sums.put(Node(0, shard), values if shard < shards - empty else None)
        begun.append(reducer.start({node: sums.parts[node] for node in reducer.nodes}, size, nodes))
        begun[0].advance()
    return finish(begun)


@needs_fork
@pytest.mark.parametrize(
    ("count", "shards", "empty"),
    [
        (2, 8, 0),
        (4, 4, 0),
        (5, 8, 0),
        (8, 8, 0),
        (8, 8, 3),
        (9, 11, 0),
        (16, 16, 0),
        (16, 32, 0),
        (16, 16, 5),
        (12, 32, 0),
    ],
)  # fmt: skip
def test_sums_of_many_ranks_are_those_of_one(count, shards, empty):
    sizes = [3, SMALL, SMALL + 1, 0, 2 * SMALL + 77, 1]
    alone = _sums_of(Alone(), shards, sizes, empty)
    for found in ranks.run(count, lambda t: _sums_of(t, shards, sizes, empty)):
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_array_equal(one, other)


class _Late(ranks.Sockets):
    """Messages that arrive later than they do, each rank's by another order."""

    def is_done(self, request: Any) -> bool:
        draw = self.__dict__.setdefault("draw", np.random.default_rng(self.rank))
        if draw.uniform() < 0.1:
            time.sleep(draw.uniform() * 1e-3)
        return bool(draw.uniform() < 0.7 and super().is_done(request))


@needs_fork
@pytest.mark.parametrize(("count", "rows"), [(4, 16), (9, 16), (16, 16), (16, 9)])
def test_late_messages_of_many_ranks(count, rows, monkeypatch):
    """Several sums at once, some of which left while others were computed, are those of one process."""
    monkeypatch.setattr("rekur.distributed._parallel._BUCKET", 1 << 12)

    def fit(transport: Any) -> Any:
        transport.__class__ = _Late
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(rows + 3, 3, 8)).astype(np.float32), rng.normal(size=(rows + 3, 1)).astype(np.float32)
        with DataParallel(transport, shards=16).scope():
            model = rekur.Sequential(
                [layers.LSTM(48, return_sequences=True), layers.BatchNormalization(), layers.GRU(48), layers.Dense(1)],
                seed=1,
            )
            model.compile("adam", "mse", metrics=["mae"])
            history = model.fit(x, y, batch_size=rows, verbose=0, validation_split=0.1)
        return history.history, zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()]))

    alone = ranks.run(1, fit)[0]
    assert ranks.run(count, fit) == [alone] * count


@needs_fork
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 13, 16])
def test_every_rank_gathers_all(count):
    def gather(transport: Any) -> Any:
        rank = transport.rank
        table = np.arange(6, dtype=np.int64).reshape(2, 3) + 100 * rank
        sent = np.full(3, 7 if rank == 0 else rank, np.float32)
        transport.broadcast(sent)
        return transport.gather(table), transport.gather_bytes(b"x" * rank), sent

    for tables, data, sent in ranks.run(count, gather):
        for k, table in enumerate(tables):
            np.testing.assert_array_equal(table, np.arange(6).reshape(2, 3) + 100 * k)
        assert len(tables) == count
        assert data == [b"x" * r for r in range(count)] and sent.tolist() == [7, 7, 7]


@needs_fork
def test_large_layers_travel_while_others_go_backward():
    """More than a bucket of gradients, so that several leave on their way; the bits are those of one process."""
    from rekur.distributed import _parallel

    left: list[int] = []

    def fit(parallel: DataParallel) -> Any:
        leave = _parallel._Flight._leave
        left.clear()

        def counted(self: Any, *given: Any) -> None:
            left.append(1)
            leave(self, *given)

        _parallel._Flight._leave = counted  # type: ignore[method-assign]
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(8, 3, 8)).astype(np.float32), rng.normal(size=(8, 1)).astype(np.float32)
        with parallel.scope():
            model = rekur.Sequential(
                [
                    rekur.Input((None, 8)), layers.LSTM(256, return_sequences=True),
                    layers.LSTM(256, return_sequences=True), layers.BatchNormalization(), layers.LSTM(256),
                    layers.Dense(1),
                ],
                seed=1,
            )  # fmt: skip
            model.compile("sgd", "mse")
            model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        return zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()])), len(left)

    alone = fit(DataParallel(shards=4))
    assert alone[1] == 0
    for found in ranks.run(2, lambda t: fit(DataParallel(t, shards=4))):
        assert found[0] == alone[0] and found[1] >= 2
    for found in ranks.run(3, lambda t: fit(DataParallel(t, shards=4))):
        assert found[0] == alone[0]


@needs_fork
def test_ranks_begin_alike(tmp_path):
    """Seeds of their own, as unseeded models have: rank 0's is everybody's."""

    def fit(transport: Any) -> Any:
        with DataParallel(transport, shards=4).scope():
            model = _model(seed=transport.rank)
            model.compile("adam", "mse")
            x, y, _ = _data()
            model.fit(x, y, batch_size=8, epochs=1, verbose=0)
        return zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()]))

    first, second = ranks.run(2, fit)
    assert first == second == ranks.run(1, fit)[0]


@needs_fork
def test_a_fit_goes_on_with_another_number_of_ranks(tmp_path):
    class Stop(rekur.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model._trainer().trainer.iterations == 9:
                raise KeyboardInterrupt

    def fit(transport: Any, stops: bool) -> Any:
        x, y, lengths = _data(64)
        with DataParallel(transport, shards=4).scope():
            model = _model(dropout=0.2)
            model.compile("adam", "mse", metrics=["mae"])
            callbacks: list[Any] = [rekur.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)]
            if stops:
                callbacks.append(Stop())
            model.fit(x, y, batch_size=8, epochs=3, lengths=lengths, callbacks=callbacks, verbose=0)
        return zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()]))

    (whole,) = ranks.run(1, lambda t: fit(t, False))
    assert all(isinstance(r, RuntimeError) for r in ranks.run(2, lambda t: fit(t, True)))
    assert (tmp_path / "backup").exists()
    assert ranks.run(4, lambda t: fit(t, False)) == [whole] * 4
    assert not (tmp_path / "backup").exists()


@needs_fork
def test_windows_of_sequences_and_stateful_layers():
    def fit(transport: Any) -> Any:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(8, 20, 3)).astype(np.float32), rng.normal(size=(8, 20, 1)).astype(np.float32)
        found = []
        for stateful, options in ((False, {"tbptt": 6}), (True, {})):
            with DataParallel(transport, shards=4).scope():
                model = rekur.Sequential(
                    [
                        rekur.Input(batch_shape=(8, None, 3)),
                        layers.LSTM(5, return_sequences=True, stateful=stateful),
                        layers.Dense(1),
                    ],
                    seed=1,
                )
                model.compile("adam", "mse", metrics=["mae"])
                history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, **options)
            found.append((history.history, zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()]))))
        return found

    alone = ranks.run(1, fit)[0]
    for count in (2, 4):
        for found in ranks.run(count, fit):
            assert found == alone


@needs_fork
@pytest.mark.parametrize("settings", ["int8", {"name": "top_k", "share": 0.2}, {"name": "power_sgd", "rank": 2}])
def test_compressed_gradients_train_nearly_as_well(settings):
    def fit(transport: Any, compression: Any) -> Any:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(256, 12, 3)).astype(np.float32)
        y = x[:, :, :1].cumsum(axis=1)[:, -1] / 4
        with DataParallel(transport, shards=4, compression=compression).scope():
            model = rekur.Sequential([rekur.Input((None, 3)), layers.LSTM(16), layers.Dense(1)], seed=1)
            model.compile(rekur.optimizers.Adam(0.01), "mse")
            history = model.fit(x, y, batch_size=32, epochs=12, verbose=0)
        return history.history["loss"], zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()]))

    plain = ranks.run(2, lambda t: fit(t, None))
    found = ranks.run(2, lambda t: fit(t, settings))
    assert found[0] == found[1] != plain[0]
    assert found[0][0][-1] < 0.15 * found[0][0][0] and found[0][0][-1] < 3 * plain[0][0][-1] + 0.01


@needs_fork
@pytest.mark.parametrize("name", ["int8", "top_k", "power_sgd"])
def test_statistics_of_batches_are_not_compressed(name):
    def step(transport: Any, compression: Any) -> Any:
        x, y, _ = _data(16)
        with DataParallel(transport, shards=4, compression=compression).scope():
            model = _model(normalise=True)
            model.compile("sgd", "mse")
            model.train_on_batch(x, y)
        return {k: v for k, v in model.named_weights().items() if "moving" in k}

    plain, found = (ranks.run(2, lambda t, c=c: step(t, c)) for c in (None, name))
    for key, values in plain[0].items():
        np.testing.assert_allclose(found[0][key], values, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(found[0][key], found[1][key])


@needs_fork
def test_the_transports_own_sum():
    def fit(transport: Any, reduction: str) -> Any:
        transport.sums = 0

        def all_reduce(array: np.ndarray) -> None:
            transport.sums += 1
            array[...] = np.sum(np.stack(transport.gather(array)), axis=0)

        transport.all_reduce = all_reduce
        found = _fit(DataParallel(transport, shards=4, reduction=reduction), epochs=1)
        return found["weights"], transport.sums

    (ordered, none), (fast, some) = (ranks.run(3, lambda t, r=r: fit(t, r))[1] for r in ("ordered", "fast"))
    assert none == 0 and some == 5  # one a step: 80 rows in batches of 16
    np.testing.assert_allclose(fast, ordered, rtol=1e-3, atol=1e-5)
    assert "has no all_reduce" in str(ranks.run(2, lambda t: DataParallel(t, reduction="fast"))[0])


@needs_fork
def test_local_steps():
    def fit(transport: Any, steps: int) -> Any:
        x, y, lengths = _data(96)
        with DataParallel(transport, shards=4, local_steps=steps).scope():
            model = _model()
            model.compile("sgd", "mse", metrics=["mae"])
            history = model.fit(x, y, batch_size=16, epochs=4, lengths=lengths, verbose=0)
        return history.history, zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()]))

    found = ranks.run(2, lambda t: fit(t, 4))
    assert found[0] == found[1]
    assert found[0][0]["loss"][-1] < found[0][0]["loss"][0]
    # One step of plain SGD on each half, then the mean: a step on the whole batch, but for the regulariser's rounding.
    one, whole = ranks.run(2, lambda t: fit(t, 1))[0], ranks.run(2, lambda t: fit(t, 2))[0]
    np.testing.assert_allclose(one[0]["loss"], whole[0]["loss"], rtol=0.02)


@needs_fork
def test_local_steps_draw_noise_of_their_own():
    def fit(transport: Any) -> Any:
        x = np.ones((8, 3, 4), np.float32)
        seen = []
        with DataParallel(transport, shards=4, local_steps=2).scope():
            model = rekur.Sequential([rekur.Input((3, 4)), layers.Dropout(0.5), layers.Flatten()], seed=1)
            model.add(layers.Dense(12, kernel_initializer=rekur.initializers.Identity(), use_bias=False))
            model.compile("sgd", "mse", metrics=[lambda t, p: seen.append(p.copy()) or np.zeros(len(p))])
            model.train_on_batch(x, np.zeros((8, 12), np.float32))
        return seen[-1]

    both = ranks.run(2, fit)[0].reshape(2, 4, 12)
    assert (both == 0).any() and not np.array_equal(both[0] == 0, both[1] == 0)


_PLAIN, _INT8, _LOCAL = {}, {"compression": "int8"}, {"local_steps": 4}  # type: ignore[var-annotated]
_TOP, _POWER = {"name": "top_k", "share": 0.05}, {"name": "power_sgd", "rank": 2}


@needs_fork
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("settings", [_PLAIN, _INT8, {"compression": _TOP}, {"compression": _POWER}, _LOCAL])
def test_bytes_are_as_many_as_the_docs_say(count, settings):
    """docs/distributed.md, "Fewer bytes": of four steps, without the losses, which travel beside them."""

    def steps(transport: Any) -> Any:
        sent = np.zeros(count, np.int64)
        start = transport.start_send

        def start_send(array: np.ndarray, to: int) -> Any:
            sent[to] += array.nbytes
            return start(array, to)

        transport.start_send = start_send
        x, y = np.zeros((8, 3, 16), np.float32), np.zeros((8, 1), np.float32)
        with DataParallel(transport, shards=4, **settings).scope():
            model = rekur.Sequential([rekur.Input((3, 16)), layers.LSTM(64), layers.Dense(1)], seed=1)
            model.compile("adam", "mse")
        model.evaluate(x, y)  # ranks begin alike
        sent[...] = 0
        for _ in range(4):
            model.train_on_batch(x, y)
        bound = model._trainer()
        made = list(bound.distribution._compressors.values())
        shapes = [w.shape for w in model.get_weights()]
        return sent, made[0].sent if made else None, shapes, sum(v.size for v in bound.state().values())

    for rank, (sent, told, shapes, slots) in enumerate(ranks.run(count, steps)):
        others = [r for r in range(count) if r != rank]
        sizes = [int(np.prod(shape)) for shape in shapes]
        n = sum(sizes)
        losses = 4 * 8 * (4 if settings is _LOCAL else 1 + 3 * 4 // count)
        sent = sent[others] - losses
        if settings is _PLAIN:
            assert sent.sum() == pytest.approx(4 * 2 * (count - 1) / count * 4 * n, rel=0.001)
            continue
        if settings is _LOCAL:
            expected = 4 * (n + slots)
            assert slots == 2 * n
        elif settings is _INT8:
            expected = 4 * 260 * -(-n // 256)
            assert expected == pytest.approx(4 * (n + n / 64), rel=0.02)
        elif settings["compression"] is _TOP:
            expected = 4 * 8 * round(0.05 * n)
        else:
            large = [s for s in shapes if len(s) == 2 and 2 * sum(s) < s[0] * s[1]]
            assert large == [(16, 256), (64, 256)]
            expected = 4 * 4 * (sum(2 * sum(s) for s in large) + n - sum(s[0] * s[1] for s in large))
        assert (sent == expected).all(), (sent, expected)
        assert told == (None if settings is _LOCAL else expected)


def test_thin_matrices_are_orthonormal():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(50, 4)).astype(np.float32)
    basis = _orthonormal(columns)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(basis @ (basis.T @ columns), columns, atol=1e-5)
    columns[:, 2] = columns[:, 0] - 3 * columns[:, 1]  # nothing of its own
    basis = _orthonormal(columns)
    np.testing.assert_allclose(basis.T @ basis, np.diag([1, 1, 0, 1]), atol=1e-6)
    np.testing.assert_allclose(basis @ (basis.T @ columns), columns, atol=1e-5)
    assert not _orthonormal(np.zeros((5, 2), np.float32)).any()
    assert np.isnan(_orthonormal(np.full((5, 2), np.nan, np.float32))).all()
    other = rng.normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_allclose(_product(basis, other), basis @ other.T, atol=1e-5)


def test_a_memory_limit_counts_the_sums_and_one_shard_at_a_time():
    x, y = np.zeros((64, 200, 4), np.float32), np.zeros((64, 2), np.float32)

    def fit(limit: int, parallel: DataParallel | None) -> bool:
        with parallel.scope() if parallel else contextlib.nullcontext():
            model = _model()
            model.compile("sgd", "mse")
        try:
            model.fit(x, y, batch_size=64, verbose=0, memory_limit=limit)
        except MemoryError as error:
            assert "a step on a batch of 64 rows" in str(error)
            return False
        return True

    model = _model()
    model.compile("sgd", "mse")
    whole, one = model.memory(64, 200), model.memory(1, 200)
    fits = whole["weights"] * 2 + whole["train_remat"]
    assert fit(fits, None) and not fit(fits - 2000, None)
    assert fit(fits - 2000, DataParallel(shards=64))  # of which each has one row
    least = one["weights"] * 2 + one["train_remat"]
    assert not fit(least + one["weights"], DataParallel(shards=64))
    assert fit(least + 10 * one["weights"], DataParallel(shards=64))


@needs_fork
def test_models_side_by_side():
    """What a model's steps have left out, and how many it has made, is its own, within its scope and behind it."""

    def fit(transport: Any, settings: dict[str, Any], alone: bool) -> Any:
        x, y, _ = _data(32)
        with DataParallel(transport, shards=4, **settings).scope():
            models = [rekur.Sequential([layers.LSTM(5), layers.Dense(2)], seed=k) for k in range(2)]
            for model in models:
                model.compile("sgd", "mse")
        for _ in range(4):
            for model in models[: 1 if alone else 2]:
                model.train_on_batch(x, y)
        return [zlib.crc32(np.concatenate([w.ravel() for w in m.get_weights()])) for m in models[: 1 if alone else 2]]

    for settings in ({}, {"compression": {"name": "top_k", "share": 0.1}}, {"local_steps": 2}):
        both = ranks.run(2, lambda t, s=settings: fit(t, s, False))
        assert both[0] == both[1]
        assert ranks.run(2, lambda t, s=settings: fit(t, s, True))[0][0] == both[0][0]


@needs_fork
def test_estimators_train_so_too():
    def fit(transport: Any) -> Any:
        sent: list[int] = []
        start = transport.start_send
        transport.start_send = lambda array, to: (sent.append(array.nbytes), start(array, to))[1]
        x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
        with DataParallel(transport, shards=4).scope():
            model = rekur.tasks.SequenceClassifier(units=4, epochs=2, random_state=0)
            model.fit(x, np.where(x.sum(axis=1) > 0, "up", "down"))
        assert transport.size == 1 or max(sent) > 200  # gradients
        return zlib.crc32(model.predict_proba(x).tobytes())

    (alone,) = ranks.run(1, fit)
    assert ranks.run(2, fit) == [alone] * 2


@needs_fork
def test_one_rank_tells(capfd):
    def fit(transport: Any) -> None:
        x, y, _ = _data(32)
        callbacks = rekur.callbacks
        with DataParallel(transport, shards=4).scope():
            model = _model()
            model.compile("sgd", "mse")
            told = [
                callbacks.EarlyStopping("loss", min_delta=9, patience=1, verbose=1, restore_best_weights=True),
                callbacks.ReduceLROnPlateau("loss", min_delta=9, patience=1, verbose=1),
                callbacks.LearningRateScheduler(lambda epoch, rate: rate, verbose=1),
            ]
            model.fit(x, y, batch_size=8, epochs=3, verbose=2, callbacks=told)
            model.fit(x, y * np.nan, batch_size=8, verbose=0, callbacks=[callbacks.TerminateOnNaN()])

    ranks.run(3, fit)
    out = capfd.readouterr().out
    for line in (
        "Epoch 2: early stopping",
        "Restoring model weights from the end of the best epoch: 1.",
        "Epoch 2: ReduceLROnPlateau reducing learning rate",
        "Epoch 2: LearningRateScheduler setting",
        "Batch 0: Invalid loss",
        "Epoch 2/3",
    ):
        assert out.count(line) == 1, out


@needs_fork
def test_one_rank_ends_for_all():
    class Stop(rekur.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model._trainer().trainer.iterations == 3:
                self.model.stop_training = True

    def fit(transport: Any) -> Any:
        x, y, _ = _data(64)
        with DataParallel(transport, shards=4).scope():
            model = _model()
            model.compile("sgd", "mse")
            model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[Stop()] if transport.rank else [])
        return model._trainer().trainer.iterations

    assert ranks.run(2, fit) == [3, 3]


@needs_fork
def test_what_ranks_must_have_in_common():
    def fit(transport: Any, what: str) -> Any:
        x, y, _ = _data(40 - 8 * (what == "rows" and transport.rank))
        if what == "data" and transport.rank:
            x = x + 1
        with DataParallel(transport, shards=4 + 4 * (what == "shards" and transport.rank)).scope():
            model = _model(dropout=0.1 * transport.rank if what == "model" else 0.0)
            model.compile("adam" if what != "optimizer" or not transport.rank else "sgd", "mse")
            model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        return "through"

    for what, message in [
        ("model", "rank 1 has another model"),
        ("optimizer", "rank 1 has compiled its model otherwise"),
        ("shards", "rank 1 has other settings of DataParallel"),
        ("rows", "give every rank the same data"),
    ]:
        found = ranks.run(2, lambda t, w=what: fit(t, w), timeout=10)
        assert any(message in str(r) for r in found), (what, found)
        assert all(isinstance(r, RuntimeError) for r in found)
    # Other numbers in as many rows are another share of another batch: nobody can tell.
    assert ranks.run(2, lambda t: fit(t, "data")) == ["through", "through"]


@needs_fork
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("batches", "rank 0 takes a step, and rank 1 is behind an epoch"),
        ("rows", "a batch of 8 rows, and of 7 on rank 1"),
        ("epochs", "rank 0 takes a step, and rank 1 leaves the fit"),
        ("validation", "rank 0 evaluates a batch, and rank 1 is behind an epoch"),
        ("caught", "rank 0 takes a step, and rank 1 begins a fit"),
        ("exit", "rank 0 takes a step, and rank 1 leaves the fit"),
        ("exit in a loss", "rank 0: no answer|rank 1 has gone"),
    ],
)
def test_ranks_that_do_something_else(what, message):
    """Both end at once, and say what each was about to do."""

    def fit(transport: Any) -> None:
        x, y, _ = _data(64)
        other = transport.rank == 1

        def batches(count: int, rows: int = 8) -> Any:
            for k in range(count):
                begin = 8 * (k % 8)
                yield x[begin : begin + rows], y[begin : begin + rows]

        def loss(target: np.ndarray, found: np.ndarray) -> np.ndarray:
            if what == "exit in a loss" and other:
                sys.exit(1)
            return ((target - found) ** 2).sum(axis=-1)

        class Act(rekur.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if batch == 2 and other and what == "exit":
                    sys.exit(3)
                if batch == 2 and other and what == "caught":
                    raise KeyboardInterrupt

        with DataParallel(transport, shards=4).scope():
            model = _model()
            model.compile("sgd", rekur.losses.Numpy(loss, lambda t, p: 2 * (p - t)))
            given = batches(
                {"batches": 3, "epochs": 4}.get(what, 20) if other else 20, 7 if what == "rows" and other else 8
            )
            watched = batches(1 if what == "validation" and other else 9)
            options = {"epochs": 4, "steps_per_epoch": 4, "verbose": 0, "callbacks": [Act()]}
            if what == "validation":
                options |= {"validation_data": watched, "validation_steps": 2}
            try:
                model.fit(given, **options)
            except KeyboardInterrupt:
                model.fit(given, **options)

    begun = time.monotonic()
    found = ranks.run(2, fit, timeout=30)
    assert re.search(message, str(found[0])), found
    if what not in ("exit in a loss", "validation"):
        assert "DistributedError" in str(found[1]), found
    assert time.monotonic() - begun < 15


@needs_fork
def test_all_ranks_may_leave():
    """What all raise in one place is what comes out of each, and the next fit finds them together."""

    class Act(rekur.callbacks.Callback):
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                raise self.error

    def fit(transport: Any) -> Any:
        x, y, _ = _data(64)
        with DataParallel(transport, shards=4).scope():
            model = _model()
            model.compile("sgd", "mse")
            for error in (SystemExit(0), KeyboardInterrupt(), ValueError()):
                with pytest.raises(type(error)):
                    model.fit(x, y, batch_size=8, verbose=0, callbacks=[Act(error)])
            return model.fit(x, y, batch_size=8, verbose=0).history

    found = ranks.run(2, fit, timeout=10)
    assert found[0] == found[1] and len(found[0]["loss"]) == 1


@needs_fork
def test_nan_is_no_drift():
    """The sum of two NaN has the bits of either; ranks are alike all the same, and end as one process does."""

    def fit(transport: Any) -> Any:
        x, y, _ = _data(16)
        y[1], y[5], y[9] = np.nan, -np.nan, np.copysign(np.nan, -1)
        with DataParallel(transport, shards=4).scope():
            model = _model()
            model.compile("sgd", "mse")
            history = model.fit(x, y, batch_size=16, epochs=2, verbose=0)
            stops = model.fit(x, y, batch_size=8, verbose=0, callbacks=[rekur.callbacks.TerminateOnNaN()])
        return repr(history.history), len(stops.history["loss"])

    for count in (1, 2, 4):
        assert ranks.run(count, fit) == [("{'loss': [nan, nan]}", 1)] * count


@needs_fork
def test_a_rank_that_is_not_there_is_missed():
    def fit(transport: Any) -> Any:
        return _fit(DataParallel(transport, shards=4))

    begun = time.monotonic()
    found = ranks.run(3, fit, timeout=2, dies=1)
    assert time.monotonic() - begun < 20
    assert found[1] is None and all(isinstance(found[r], RuntimeError) for r in (0, 2))


def test_settings_that_cannot_be():
    for options, message in [
        ({"shards": 0}, "shards"),
        ({"reduction": "quick"}, "reduction"),
        ({"compression": "int4"}, "int4"),
        ({"compression": {"name": "int8", "blocks": 3}}, "blocks"),
        ({"compression": {"name": "top_k", "share": 0}}, "share must be above 0"),
        ({"compression": "int8", "local_steps": 2}, "goes with"),
        ({"local_steps": 0}, "local_steps"),
        ({"timeout": -1}, "timeout"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            DataParallel(**options)
    with pytest.raises(TypeError, match="expected a DataParallel"):
        rekur.distributed.set_distribution("mpi")  # type: ignore[arg-type]
    assert issubclass(DistributedError, RuntimeError)


# MPI.

mpiexec = shutil.which("mpiexec")
_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
         "OMPI_MCA_hwloc_base_binding_policy": "none", "OMP_NUM_THREADS": "1"}  # fmt: skip
_SCRIPT = """
import sys, time, zlib, os, signal
import numpy as np
import rekur
from rekur import layers
fast = {"reduction": "fast"} if sys.argv[1].startswith("fast") else {}
parallel = rekur.distributed.DataParallel(shards=4, timeout=float(sys.argv[2]), **fast)
rekur.distributed.set_distribution(parallel)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 9, 4)).astype("f4"), rng.normal(size=(64, 1)).astype("f4")
model = rekur.Sequential([rekur.Input((None, 4)), layers.LSTM(64, dropout=0.1), layers.Dense(1)], seed=1)
model.compile("adam", "mse")
class Act(rekur.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and parallel.rank == 1:
            if sys.argv[1] == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            elif sys.argv[1] == "hangs":
                time.sleep(120)
            elif sys.argv[1] == "slow":
                time.sleep(1)
            elif sys.argv[1] == "raises":
                raise ValueError("something in the data")
            elif sys.argv[1] == "exits":
                sys.exit(3)
        if epoch == 1 and sys.argv[1] == "all exit":
            sys.exit(0)
    def on_train_batch_end(self, batch, logs=None):
        if sys.argv[1] == "fast, hangs" and batch == 2:  # in the middle of a step
            all_reduce = parallel.transport.all_reduce
            parallel.transport.all_reduce = lambda array: (parallel.rank and time.sleep(120), all_reduce(array))
model.fit(x, y, batch_size=16, epochs=3, verbose=2, callbacks=[Act()])
sys.stdout.write(f"weights {zlib.crc32(np.concatenate([w.ravel() for w in model.get_weights()]).tobytes())}\\n")
"""


def _started(tmp_path: Path, what: str, timeout: float) -> tuple[list[str], dict[str, str]]:
    """What every rank runs, and in which environment."""
    pytest.importorskip("mpi4py")
    if mpiexec is None:
        pytest.skip("no mpiexec")
    script = tmp_path / "train.py"
    script.write_text(_SCRIPT)
    source = str(Path(rekur.__file__).parents[1])
    environment = {**os.environ, **_ROOT, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    return [sys.executable, str(script), what or "none", str(timeout)], environment


def _mpi(count: int, tmp_path: Path, what: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    work, environment = _started(tmp_path, what, timeout)
    command = [str(mpiexec), "-n", str(count), *work]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)


def _weights(told: str) -> list[str]:
    """What ranks say of their weights; a rank's line may stand behind the beginning of another's."""
    return re.findall(r"weights \d+", told)


def test_mpi_has_the_bits_of_one_process(tmp_path):
    found = set()
    for count in (1, 2, 3):
        done = _mpi(count, tmp_path, "slow" if count == 2 else "")
        assert done.returncode == 0, done.stderr
        told = _weights(done.stdout)
        assert len(told) == count
        assert done.stdout.count("Epoch 3/3") == 1  # one rank prints
        found |= set(told)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("dies", "signal 9"),
        ("hangs", "no answer from rank 1"),
        ("raises", "rank 1 ends by ValueError"),
        ("exits", "leaves the fit"),
        ("fast, hangs", "no answer from rank 1"),
    ],
)
def test_mpi_ends_clearly(what, message, tmp_path):
    begun = time.monotonic()
    done = _mpi(2, tmp_path, what, timeout=5)
    assert done.returncode != 0 and time.monotonic() - begun < 60
    assert message in done.stderr + done.stdout, done.stderr + done.stdout
    assert "weights" not in done.stdout
    assert signal.SIGKILL == 9


def test_mpi_all_ranks_may_exit(tmp_path):
    done = _mpi(2, tmp_path, "all exit")
    assert done.returncode == 0 and "weights" not in done.stdout and "Error" not in done.stderr, done.stderr


def _on_hosts(hosts: Any, tmp_path: Path, what: str, timeout: float) -> subprocess.Popen[str]:
    """One rank on each of two hosts, whose only line is ours."""
    work, environment = _started(tmp_path, what, timeout)  # skips where there is no MPI
    version = subprocess.run([str(mpiexec), "--version"], capture_output=True, text=True).stdout
    if "Open MPI" not in version and "OpenRTE" not in version:
        pytest.skip("other MPIs than Open MPI are told otherwise what hosts there are")
    command = [*hosts.mpiexec(tmp_path, str(mpiexec), 2, ["PYTHONPATH", *_ROOT]), *work]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.skipif(bool(network.why_not()), reason=f"no hosts of our own: {network.why_not()}")
def test_two_hosts_on_a_slow_line(tmp_path):
    alone = _weights(_mpi(1, tmp_path).stdout)
    with network.Hosts(delay=0.002, rate=2e6) as hosts:
        process = _on_hosts(hosts, tmp_path, "", 60)
        told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert _weights(told) == alone * 2


@pytest.mark.skipif(bool(network.why_not()), reason=f"no hosts of our own: {network.why_not()}")
def test_a_line_that_is_cut_ends_both_sides(tmp_path):
    with network.Hosts() as hosts:
        process = _on_hosts(hosts, tmp_path, "slow", 4)
        seen, begun = "", 0.0
        timer = threading.Timer(90, process.kill)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            seen += line
            if line.startswith("Epoch 2/3"):  # rank 1 now sleeps for a second
                hosts.cut, begun = True, time.monotonic()
        timer.cancel()
        process.wait(timeout=60)
    assert process.returncode != 0 and time.monotonic() - begun < 45, seen
    assert "no answer from rank 1" in seen, seen
    assert "weights" not in seen
    # The other side, of which nobody here hears any more, has ended as well.
    deadline = time.monotonic() + 30
    while subprocess.run(["pgrep", "-f", str(tmp_path / "train.py")], capture_output=True).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.2)
