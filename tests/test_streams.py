"""rekur.Stream: predict's bits step by step, whole inputs, rows that go on, mistakes."""

import numpy as np
import pytest

import rekur
from rekur import layers

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def recurrent(kind, units=17, seed=1):
    made = {
        "lstm": lambda: layers.LSTM(units, return_sequences=True),
        "gru": lambda: layers.GRU(units, return_sequences=True),
        "program": lambda: layers.RNN(rekur.cells.min_gru, units, return_sequences=True),
        "projected": lambda: layers.LSTM(units, projection_size=5, return_sequences=True),
        "normal": lambda: layers.GRU(units, layer_normalization="sums", return_sequences=True),
        "int8": lambda: layers.LSTM(65, return_sequences=True, precision="int8"),
        "attention": lambda: layers.MultiHeadAttention(2, 3, use_causal_mask=True, sliding_window=4),
        "conv": lambda: layers.Conv1D(5, 3, padding="causal"),
        "mlstm": lambda: layers.MLSTM(2, 4, return_sequences=True),
        "ssm": lambda: layers.SelectiveSSM(4, return_sequences=True),
    }[kind]()
    x = layers.Input((None, 3))
    y = made(x, x) if kind == "attention" else made(x)
    return rekur.Model(x, layers.Dense(2)(y), seed=seed)


KINDS = ("lstm", "gru", "program", "projected", "normal", "int8", "attention", "conv", "mlstm", "ssm")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_predict_step_by_step(kind, isa):
    model, x = recurrent(kind), floats(3, 7, 3)
    stream = rekur.Stream(model, batch=3)
    expected = model.predict(x)
    np.testing.assert_array_equal(np.stack([stream.step(x[:, t]) for t in range(7)], axis=1), expected)
    stream.reset()
    np.testing.assert_array_equal(stream.process(x), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_go_on_in_any_order(kind, isa):
    model, x = recurrent(kind), floats(4, 9, 3)
    stream = rekur.Stream(model, batch=6)
    stream.process(np.concatenate([x, x[:2]])[:, :3])
    for rows in ([3, 1], [1, 0, 1, 1, 0, 0], [5, 4, 3, 2, 1, 0], [2]):
        stream.select(rows)
        assert stream.rows == len(rows)
    # 3, 1 → 1, 3, 1, 1, 3, 3 → 3, 3, 1, 1, 3, 1 → 1
    assert stream.states.keys() or kind == "conv"
    np.testing.assert_array_equal(stream.process(x[1:2, 3:]), model.predict(x[1:2])[:, 3:])


def test_one_sequence_needs_no_axis_of_rows():
    model, x = recurrent("lstm"), floats(1, 5, 3)
    stream = rekur.Stream(model)
    assert stream.step(x[0, 0]).shape == (2,)
    assert stream.step(x[:, 1]).shape == (1, 2)
    assert stream.process(x[0, 2:]).shape == (3, 2)
    assert stream.process(x[:, :0]).shape == (1, 0, 2)


def test_states_are_read_and_set():
    model, x = recurrent("lstm"), floats(2, 6, 3)
    stream = rekur.Stream(model, batch=2)
    stream.process(x[:, :3])
    kept = stream.states
    assert {name: value.shape for name, value in kept.items()} == {"lstm/h": (2, 17), "lstm/c": (2, 17)}
    expected = stream.process(x[:, 3:])
    stream.reset()
    stream.states = kept
    np.testing.assert_array_equal(stream.process(x[:, 3:]), expected)
    with pytest.raises(ValueError, match="no state is named 'h'; there are lstm/h, lstm/c"):
        stream.states = {"h": kept["lstm/h"]}
    with pytest.raises(ValueError, match=r"'lstm/h': expected shape \(2, 17\), got \(17,\)"):
        stream.states = {"lstm/h": np.zeros(17)}
    stream.reset(1)
    assert (stream.states["lstm/h"][1] == 0).all()
    assert (stream.states["lstm/h"][0] != 0).all()


def cross(kind):
    """A decoder that reads a memory (T, 4) and begins with a state."""
    x, memory, h = (
        layers.Input((None, 3), name="x"),
        layers.Input((None, 4), name="memory"),
        layers.Input((4,), name="h"),
    )
    d = layers.GRU(4, return_sequences=True)(x, initial_state=h)
    made = {
        "dot": lambda: layers.Attention(use_scale=True)([d, memory]),
        "concat": lambda: layers.Attention(score_mode="concat", use_scale=True)([d, memory]),
        "additive": lambda: layers.AdditiveAttention()([d, memory]),
        "heads": lambda: layers.MultiHeadAttention(2, 3, 5)(d, memory),
        "groups": lambda: layers.GroupQueryAttention(3, 4, 2)(d, memory),
        "key": lambda: layers.Attention()([d, memory, memory]),
        "scores": lambda: layers.Attention(return_attention_scores=True)([d, memory]),
    }[kind]()
    outputs = made if isinstance(made, list | tuple) else [made]
    outputs = [layers.Dense(2)(outputs[0]), *outputs[1:]]
    return rekur.Model([x, memory, h], outputs if len(outputs) > 1 else outputs[0], seed=2)


CROSS = ("dot", "concat", "additive", "heads", "groups", "key", "scores")


@pytest.mark.parametrize("kind", CROSS)
@pytest.mark.parametrize("steps", [1, 5, 129, 300])
def test_whole_inputs_are_read_at_every_step(kind, steps, isa):
    model = cross(kind)
    x, memory, h = floats(3, 4, 3), floats(3, steps, 4), floats(3, 4)
    lengths = np.array([steps, 1, max(steps - 2, 1)])
    expected = model.predict([x, memory, h], lengths={"memory": lengths})
    stream = rekur.Stream(model, batch=5, whole=["memory"])
    assert stream.rows == 0
    with pytest.raises(ValueError, match="begin comes first"):
        stream.step(x[:, 0])
    stream.begin({"memory": memory, "h": h}, lengths={"memory": lengths})
    found = [stream.step(x[:, t]) for t in range(2)]
    stream.select([2, 0, 2])
    found += [stream.step(x[[2, 0, 2], t]) for t in range(2, 4)]
    for k, y in enumerate(expected if isinstance(expected, list) else [expected]):
        steps_of = [f[k] if isinstance(f, list) else f for f in found]
        for t in range(2):
            np.testing.assert_array_equal(steps_of[t], y[:, t])
        for t in range(2, 4):
            np.testing.assert_array_equal(steps_of[t], y[[2, 0, 2], t])
    # Another sequence of another length.
    stream.begin({"memory": memory[:1, :1], "h": h[:1]})
    whole = model.predict([x[:1], memory[:1, :1], h[:1]])
    whole = whole[0] if isinstance(whole, list) else whole
    first = stream.step(x[:1, 0])
    np.testing.assert_array_equal(first[0] if isinstance(first, list) else first, whole[:, 0])


def test_masks_of_whole_inputs_leave_holes():
    model = cross("dot")
    x, memory, h = floats(2, 3, 3), floats(2, 6, 4), floats(2, 4)
    mask = np.array([[1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0]], bool)
    stream = rekur.Stream(model, batch=2, whole=["memory"])
    stream.begin({"memory": memory, "h": h}, mask={"memory": mask})
    expected = model.predict([x, memory, h], mask={"memory": mask})
    np.testing.assert_array_equal(np.stack([stream.step(x[:, t]) for t in range(3)], axis=1), expected)
    # What is paid to each step stands where the step does.
    model = cross("scores")
    stream = rekur.Stream(model, batch=2, whole=["memory"])
    stream.begin({"memory": memory, "h": h}, mask={"memory": mask})
    expected = model.predict([x, memory, h], mask={"memory": mask})
    for found, right in zip(stream.step(x[:, 0]), expected, strict=True):
        np.testing.assert_array_equal(found, right[:, 0])
    stream.select([1, 0])
    for found, right in zip(stream.step(x[[1, 0], 1]), expected, strict=True):
        np.testing.assert_array_equal(found, right[[1, 0], 1])


def test_a_whole_vector_is_there_at_every_step():
    x, vector = layers.Input((None, 3), name="x"), layers.Input((3,), name="vector")
    y = layers.GRU(5, return_sequences=True)(layers.Add()([x, vector]))
    model = rekur.Model([x, vector], y, seed=1)
    a, v = floats(3, 4, 3), floats(3, 3)
    stream = rekur.Stream(model, batch=3, whole=["vector"])
    stream.begin({"vector": v})
    expected = model.predict([a, v])
    np.testing.assert_array_equal(stream.step(a[:, 0]), expected[:, 0])
    stream.select([2, 0])
    np.testing.assert_array_equal(stream.step(a[[2, 0], 1]), expected[[2, 0], 1])


def test_rows_begin_with_learned_states():
    x, memory = layers.Input((None, 3), name="x"), layers.Input((None, 4), name="memory")
    y = layers.LSTM(4, return_sequences=True, learn_initial_state=True)(x)
    model = rekur.Model([x, memory], layers.Attention()([y, memory]), seed=1)
    model.set_weights([RNG.normal(size=w.shape) for w in model.get_weights()])
    stream = rekur.Stream(model, batch=4, whole=["memory"])
    for rows in (3, 4, 1):
        a, b = floats(rows, 5, 3), floats(rows, 6, 4)
        stream.begin({"memory": b})
        expected = model.predict([a, b])
        np.testing.assert_array_equal(stream.process(a[:, :3]), expected[:, :3])
        stream.reset(0)
        found = stream.process(np.concatenate([a[:1, :2], a[1:, 3:]]))
        np.testing.assert_array_equal(found, np.concatenate([expected[:1, :2], expected[1:, 3:]]))


def test_several_steps_together_read_what_is_whole():
    a = floats(3, 9, 3)
    for kind in CROSS:
        model, memory, h = cross(kind), floats(3, 5, 4), floats(3, 4)
        stream = rekur.Stream(model, batch=3, whole=["memory"])
        stream.begin({"memory": memory, "h": h})
        expected, found = model.predict([a, memory, h]), stream.process(a)
        for y, right in zip(*([v] if isinstance(v, np.ndarray) else v for v in (found, expected)), strict=True):
            np.testing.assert_array_equal(y, right)
    x, vector = layers.Input((None, 3), name="x"), layers.Input((3,), name="vector")
    both = layers.Add()([x, layers.Dense(3, "tanh")(vector)])
    model = rekur.Model([x, vector], layers.GRU(5, return_sequences=True)(layers.Multiply()([both, vector])), seed=1)
    v = floats(3, 3)
    stream = rekur.Stream(model, batch=3, whole=["vector"])
    stream.begin({"vector": v})
    expected = model.predict([a, v])
    np.testing.assert_array_equal(stream.process(a[:, :5]), expected[:, :5])
    stream.select([2, 1])
    np.testing.assert_array_equal(stream.process(a[[2, 1], 5:]), expected[[2, 1], 5:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.pop("h"), "'h' is missing of what it begins with: memory, h"),
        (lambda g: g.update(c=1), "'c' is no input that it begins with; there are memory, h"),
        (lambda g: g.update(h=np.zeros((2, 4))), r"'h': expected 3 rows, got 2"),
        (lambda g: g.update(h=np.zeros((3, 5))), r"'h': expected shape \(None, 4\), got \(3, 5\)"),
        (lambda g: g.update(memory=np.zeros((3, 2, 3))), r"'memory': expected shape \(None, None, 4\)"),
        (lambda g: g.update(h=np.zeros((0, 4)), memory=np.zeros((0, 2, 4))), "expected float32 of shape"),
    ],
)
def test_what_does_not_fit_changes_nothing(change, message):
    model = cross("dot")
    good = {"memory": floats(3, 5, 4), "h": floats(3, 4)}
    stream, other = (rekur.Stream(model, batch=3, whole=["memory"]) for _ in range(2))
    x = floats(3, 3)
    for s in (stream, other):
        s.begin(good)
    bad = dict(good)
    change(bad)
    with pytest.raises(ValueError, match=message):
        stream.begin(bad)
    np.testing.assert_array_equal(stream.step(x), other.step(x))


def test_mistakes_name_themselves():
    model = cross("dot")
    with pytest.raises(ValueError, match="the model has no input 'mem' that could be whole"):
        rekur.Stream(model, whole=["mem"])
    with pytest.raises(ValueError, match="its values are another sequence than its queries"):
        rekur.Stream(model)
    stream = rekur.Stream(model, batch=2, whole=["memory"])
    with pytest.raises(ValueError, match="expected at most 2 rows, got 3"):
        stream.begin({"memory": floats(3, 5, 4), "h": floats(3, 4)})
    with pytest.raises(ValueError, match=r"row 1 is|lengths.*expected 0 to 5|got 6"):
        stream.begin({"memory": floats(2, 5, 4), "h": floats(2, 4)}, lengths={"memory": [5, 6]})
    stream.begin({"memory": floats(2, 5, 4), "h": floats(2, 4)})
    for rows, message in (([], "expected 1 to 2 rows"), ([0, 1, 0], "expected 1 to 2 rows"), ([2], "no row 2 among 2")):
        with pytest.raises(ValueError, match=message):
            stream.select(rows)
    with pytest.raises(ValueError, match=r"input 'x': expected shape \(2, 3\), got \(2, 4\)"):
        stream.step(np.zeros((2, 4)))
    x, memory = layers.Input((None, 3), name="x"), layers.Input((None, 3), name="memory")
    wrong = rekur.Model([x, memory], layers.Add()([x, layers.Dense(3)(memory)]))
    with pytest.raises(ValueError, match=r"Dense 'dense'.*its input 'memory' is there as a whole"):
        rekur.Stream(wrong, whole=["memory"])
    with pytest.raises(TypeError, match="Stream: expected a model"):
        rekur.Stream("model")
    with pytest.raises(ValueError, match="Bidirectional"):
        rekur.Stream(rekur.Sequential([layers.Bidirectional(layers.LSTM(3), input_shape=(None, 2))]))


def test_a_whole_input_may_be_an_output():
    x, vector = layers.Input((None, 3), name="x"), layers.Input((5000,), name="vector")
    y = layers.GRU(4, return_sequences=True)(x)
    model = rekur.Model([x, vector], [layers.Dense(2)(y), vector, layers.Dropout(0.5)(vector)], seed=1)
    a, v = floats(3, 4, 3), floats(3, 5000)
    stream = rekur.Stream(model, batch=3, whole=["vector"])
    stream.begin({"vector": v})
    expected = model.predict([a, v])[0]
    for t, rows in ((0, [0, 1, 2]), (1, [2, 0, 1]), (2, [1])):
        stream.select([[0, 1, 2], [2, 0, 1], [2]][t])
        found = stream.step(a[rows, t])
        np.testing.assert_array_equal(found[0], expected[rows, t])
        for copy in found[1:]:
            np.testing.assert_array_equal(copy, v[rows])
    memory = layers.Input((None, 4), name="memory")
    context = layers.Attention()([layers.GRU(4, return_sequences=True)(x), memory])
    with pytest.raises(ValueError, match="it is an output, and there as a whole"):
        rekur.Stream(rekur.Model([x, memory], [context, memory]), whole=["memory"])


def _two_memories():
    x, a, b = layers.Input((1, 3)), layers.Input((None, 4)), layers.Input((None, 4))
    h = layers.Input((4,))
    y, after = layers.GRU(4, return_sequences=True, return_state=True)(x, initial_state=h)
    out = layers.Concatenate()([layers.Attention()([y, a]), layers.Attention()([y, b])])
    body = rekur.Model([x, a, b, h], [out, after])
    x, a, b = (layers.Input((None, n), name=name) for n, name in ((3, "x"), (4, "a"), (4, "b")))
    return rekur.Model([x, a, b], layers.Loop(body, states=1, return_sequences=True)([x, a, b]), seed=1)


def test_a_loop_over_two_whole_inputs_needs_the_same_steps_of_them():
    model, x, a, b = _two_memories(), floats(2, 4, 3), floats(2, 5, 4), floats(2, 5, 4)
    stream = rekur.Stream(model, batch=2, whole=["a", "b"])
    for lengths in ({}, {"a": np.array([5, 3]), "b": np.array([5, 3])}):
        stream.begin({"a": a, "b": b}, lengths=lengths)
        expected = model.predict([x, a, b], lengths=lengths)
        np.testing.assert_array_equal(stream.process(x), expected)
    with pytest.raises(ValueError, match=r"'b': row 0 has other steps than 'a', which .* reads with it"):
        stream.begin({"a": a, "b": b}, lengths={"a": np.array([5, 5]), "b": np.array([2, 3])})


def test_a_loop_within_a_loop_is_refused():
    inner = rekur.Model(*_body_of_gru())
    x, h = layers.Input((1, 3)), layers.Input((4,))
    y, after = layers.Loop(inner, states=1, return_sequences=True, return_state=True)([x, h])
    model_x = layers.Input((None, 3), name="x")
    outer = layers.Loop(rekur.Model([x, h], [y, after]), states=1, return_sequences=True)(model_x)
    with pytest.raises(ValueError, match="its body has a loop of its own"):
        rekur.Stream(rekur.Model(model_x, outer))


def _body_of_gru():
    x, h = layers.Input((1, 3)), layers.Input((4,))
    y, after = layers.GRU(4, return_sequences=True, return_state=True)(x, initial_state=h)
    return [x, h], [y, after]
