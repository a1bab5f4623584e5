"""Layers and weights come in Keras's order: ``set_weights(keras_model.get_weights())`` is right on any model.

The random graphs are built by both libraries side by side where Keras is installed. The table of orders was written
down from Keras 3.15 and needs nothing.
"""

import importlib.util
import os

import numpy as np
import pytest

import rekur
from rekur import layers as ours


def keras_or_skip():
    if importlib.util.find_spec("keras") is None:
        pytest.skip("no keras to compare with")
    backend = next((b for b in ("jax", "torch", "tensorflow") if importlib.util.find_spec(b)), None)
    if backend is None:
        pytest.skip("keras has no backend")
    os.environ.setdefault("KERAS_BACKEND", backend)
    return pytest.importorskip("keras")


# Graphs, each a function of a library's layers that gives (inputs, outputs), and the order that Keras 3.15 gives them.


def branches_called_in_the_other_order(L):
    a, b = L.Input((7, 3), name="a"), L.Input((7, 3), name="b")
    y = L.LSTM(4, return_sequences=True, name="l1")(b)
    x = L.Bidirectional(L.GRU(4, return_sequences=True), name="bi")(a)
    z = L.LSTM(3, name="l2")(L.Concatenate(name="c")([x, y]))
    w = L.Dense(3, name="d0")(L.LSTM(5, name="l3")(y))
    s = L.Add(name="s")([w, z])
    return [a, b], [L.Dense(1, name="o1")(s), L.Dense(2, name="o2")(w)]


def short_branch_first(L):
    x = L.Input((5,), name="x")
    short = L.Dense(4, name="short")(x)
    long = L.Dense(4, name="long2")(L.Dense(4, name="long1")(x))
    return [x], [L.Dense(2, name="head")(L.Concatenate(name="join")([short, long]))]


def outputs_of_different_depth(L):
    x, unused = L.Input((6, 2), name="x"), L.Input((3,), name="unused")
    h = L.GRU(3, return_sequences=True, name="g1")(x)
    early = L.Dense(1, name="early")(h)
    late = L.Dense(1, name="late")(L.GRU(3, name="g2")(h))
    return [unused, x], [late, early]


def states_from_another_input(L):
    x, h = L.Input((6, 2), name="x"), L.Input((4,), name="h")
    state = L.Dense(3, name="encode")(h)
    y, last = L.GRU(3, return_state=True, name="g")(x, initial_state=state)
    return [h, x], [L.Add(name="sum")([y, last]), L.Dense(2, name="aside")(h)]


def skip_over_a_stack(L):
    x = L.Input((6, 4), name="x")
    skip = L.Dense(5, name="skip")(x)
    y = L.LayerNormalization(name="n")(x)
    y = L.SimpleRNN(5, return_sequences=True, name="r1")(y)
    y = L.SimpleRNN(5, return_sequences=True, name="r2")(y)
    return [x], [L.LSTM(2, name="top")(L.Multiply(name="gate")([skip, y]))]


ORDERS = {
    branches_called_in_the_other_order: "b a l1 bi l3 c d0 l2 s o1 o2",
    short_branch_first: "x long1 short long2 join head",
    outputs_of_different_depth: "x g1 g2 unused late early",
    states_from_another_input: "h x encode g sum aside",
    skip_over_a_stack: "x n r1 skip r2 gate top",
}


@pytest.mark.parametrize("graph", ORDERS, ids=lambda graph: graph.__name__)
def test_layers_stand_in_the_order_keras_gives_them(graph):
    model = rekur.Model(*graph(ours))
    names = ORDERS[graph].split()
    assert [layer.name for layer in model.layers] == names
    assert [entry["name"] for entry in model.spec["layers"]] == names
    owners = [name.partition("/")[0] for name in model.named_weights()]
    assert owners == sorted(owners, key=names.index)


@pytest.mark.parametrize("graph", ORDERS, ids=lambda graph: graph.__name__)
def test_the_table_is_what_keras_says(graph):
    keras = keras_or_skip()
    model = keras.Model(*graph(keras.layers))
    assert [layer.name for layer in model.layers] == ORDERS[graph].split()


def test_the_order_of_a_file_stays(tmp_path):
    # The same graph in the order of the calls, as it was written once.
    spec = rekur.Model(*short_branch_first(ours), seed=1).spec
    by_calls = [spec["layers"][k] for k in (0, 2, 1, 3, 4, 5)]
    assert [entry["name"] for entry in by_calls] == ["x", "short", "long1", "long2", "join", "head"]
    model = rekur.Model.from_spec({**spec, "layers": by_calls})
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert [layer.name for layer in again.layers] == [entry["name"] for entry in by_calls]
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_names_without_a_number_go_to_the_layer_called_first():
    x = rekur.Input((5,))
    short = ours.Dense(4)(x)
    long = ours.Dense(4)(ours.Dense(4)(x))
    model = rekur.Model(x, ours.Concatenate()([short, long]))
    assert [layer.name for layer in model.layers] == ["input", "dense_1", "dense", "dense_2", "concatenate"]


# Side by side. A recipe is a list of draws, so that both libraries build the same graph.


def random_graph(L, seed):
    rng = np.random.default_rng(seed)
    count = iter(range(1000))

    def name(kind):
        return f"{kind}{next(count)}"

    def pick(pool):
        return pool[int(rng.integers(len(pool)))]

    sequences = [L.Input((6, 4), name=name("s")) for _ in range(int(rng.integers(1, 3)))]
    rows = [L.Input((4,), name=name("r")) for _ in range(int(rng.integers(0, 3)))]
    inputs = [*sequences, *rows]
    if rng.random() < 0.5:
        ids = L.Input((6,), dtype="int32", name=name("ids"))
        inputs.append(ids)
        sequences.append(L.Embedding(9, 4, name=name("embedding"))(ids))
    used = set()

    def take(pool, n=1):
        taken = [pick(pool) for _ in range(n)]
        used.update(id(t) for t in taken)
        return taken

    for _ in range(int(rng.integers(4, 12))):
        kind = int(rng.integers(10))
        if kind < 4:
            cell = [L.SimpleRNN, L.GRU, L.LSTM][int(rng.integers(3))]
            sequence = bool(rng.random() < 0.6)
            source = take(sequences)[0]
            if kind == 0:
                layer = L.Bidirectional(cell(2, return_sequences=sequence), name=name("bi"))
                made = layer(source)
            elif kind == 1 and rows and cell is not L.LSTM:
                state = take(rows)[0]
                made = cell(4, return_sequences=sequence, name=name("cell"))(source, initial_state=state)
            elif kind == 2:
                made, *states = cell(4, return_sequences=sequence, return_state=True, name=name("cell"))(source)
                rows += states
            else:
                made = cell(4, return_sequences=sequence, name=name("cell"))(source)
            (sequences if sequence else rows).append(made)
            continue
        pool = sequences if rng.random() < 0.5 or not rows else rows
        if kind < 6:
            pool.append(L.Dense(4, activation="tanh", name=name("dense"))(take(pool)[0]))
        elif kind == 6:
            pool.append(L.LayerNormalization(name=name("norm"))(take(pool)[0]))
        elif kind == 7:
            pool.append(L.Activation("relu", name=name("act"))(take(pool)[0]))
        elif kind == 8:
            pool.append([L.Add, L.Multiply][int(rng.integers(2))](name=name("merge"))(take(pool, 2)))
        else:
            joined = L.Concatenate(name=name("join"))(take(pool, int(rng.integers(2, 4))))
            pool.append(L.Dense(4, name=name("dense"))(joined))

    start = {id(t) for t in inputs}
    ends = [t for t in [*sequences, *rows] if id(t) not in used and id(t) not in start]
    order = rng.permutation(len(ends))
    return inputs, [ends[k] for k in order]


@pytest.mark.parametrize("seed", range(12))
def test_weights_of_a_random_keras_model_give_its_outputs(seed):
    keras = keras_or_skip()
    mine = rekur.Model(*random_graph(ours, seed))
    theirs = keras.Model(*random_graph(keras.layers, seed))
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]

    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 0.5, w.shape).astype(np.float32) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    mine.set_weights(theirs.get_weights())
    data = [
        rng.integers(0, 9, (5, *t.shape[1:])).astype(np.int32)
        if t.dtype == "int32"
        else rng.normal(size=(5, *t.shape[1:])).astype(np.float32)
        for t in mine._inputs
    ]
    got, expected = mine.predict(data), theirs.predict(data, verbose=0)
    if not isinstance(got, list):
        got, expected = [got], [expected]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_gates_and_biases_of_every_cell_stand_as_in_keras():
    keras = keras_or_skip()
    for reset_after in (True, False):
        pair = []
        for L, Sequential in ((keras.layers, keras.Sequential), (ours, rekur.Sequential)):
            pair.append(
                Sequential(
                    [
                        L.Input((6,), dtype="int32"),
                        L.Embedding(9, 4),
                        L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="ave"),
                        L.GRU(3, return_sequences=True, reset_after=reset_after),
                        L.LayerNormalization(),
                        L.SimpleRNN(5),
                        L.Dense(2, activation="softmax"),
                    ]
                )
            )
        theirs, mine = pair
        rng = np.random.default_rng(3)
        theirs.set_weights([rng.normal(0, 0.7, w.shape).astype(np.float32) for w in theirs.get_weights()])
        mine.set_weights(theirs.get_weights())
        assert [type(a).__name__ for a in mine.layers] == [type(b).__name__ for b in theirs.layers]
        x = rng.integers(0, 9, (8, 6)).astype(np.int32)
        np.testing.assert_allclose(mine.predict(x), theirs.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
