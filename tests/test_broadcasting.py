"""Arithmetic of tensors whose shapes go together: values, gradients, lengths, threads, streams, files, ONNX."""

import numpy as np
import pytest

import rekur
from rekur import Model, layers, ops
from rekur.layers import Input

RANDOM = np.random.default_rng(11)
OPERATIONS = {
    "Add": lambda a, b: a + b,
    "Subtract": lambda a, b: a - b,
    "Multiply": lambda a, b: a * b,
    "Divide": lambda a, b: a / b,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Average": lambda a, b: (a + b) / 2,
}
# Shapes without the batch; what is None in the model, and how NumPy sees them.
SHAPES = [
    ((1, 3), (None, 3)),
    ((None, 3), (1, 1)),
    ((3,), (None, 3)),
    ((1, 3), (None, 1)),
    ((None, 4, 3), (3,)),
    ((1, 4, 1), (None, 1, 3)),
    ((5, 1, 2, 3), (1, 4, 1, 1)),
]


def _arrays(shapes, rows=3, steps=6):
    return [
        RANDOM.normal(1.5, 0.5, (rows, *(steps if n is None else n for n in shape))).astype("f") for shape in shapes
    ]


def _wide(arrays):
    rank = max(a.ndim for a in arrays)
    return [a.reshape(len(a), *(1,) * (rank - a.ndim), *a.shape[1:]) for a in arrays]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("kind", [*OPERATIONS])
def test_joins_take_shapes_that_go_together(kind, shapes):
    for order in (shapes, shapes[::-1]):
        inputs = [Input(shape) for shape in order]
        model = Model(inputs, getattr(layers, kind)()(inputs))
        arrays = _arrays(order)
        expected = OPERATIONS[kind](*_wide(arrays))
        np.testing.assert_allclose(model.predict(arrays), expected, rtol=2e-6)
        # The gradient of Σ w·y by each input is the sum of w·∂y over what its numbers were repeated for.
        weight = RANDOM.normal(size=expected.shape).astype("f")
        _, _, found = model.gradients(arrays, weight)
        for k, array in enumerate(arrays):
            direction = RANDOM.normal(size=array.shape)
            moved = [
                [a + s * direction if i == k else a.astype(float) for i, a in enumerate(arrays)] for s in (1e-4, -1e-4)
            ]
            sums = [(weight * OPERATIONS[kind](*_wide(m))).sum() for m in moved]
            assert (found[k] * direction).sum() == pytest.approx((sums[0] - sums[1]) / 2e-4, rel=1e-3, abs=1e-3)


def test_operators_and_ops_take_them_too_and_keras_gives_the_same():
    row, sequence, steps = Input((1, 3)), Input((5, 3)), Input((5, 1))
    y = ops.maximum(row * sequence, steps) - row + ops.where(steps > 0, row, sequence)
    model = Model([row, sequence, steps], y)
    arrays = _arrays([(1, 3), (5, 3), (5, 1)])
    a, b, c = arrays
    np.testing.assert_allclose(model.predict(arrays), np.maximum(a * b, c) - a + np.where(c > 0, a, b), rtol=1e-5)
    three = Model([row, sequence, steps], layers.Add()([row, sequence, steps]))
    np.testing.assert_allclose(three.predict(arrays), a + b + c, rtol=1e-5)
    for one, other in (((2, 3), (5, 3)), ((5, 3), (5, 2)), ((2,), (5, 3))):
        with pytest.raises(ValueError, match=r"whose axes are of one size or 1|equal shapes"):
            layers.Add()([Input(one), Input(other)])
        with pytest.raises(ValueError, match=r"whose axes are of one size or 1|of one shape"):
            Input(one) + Input(other)
    keras = pytest.importorskip("keras")
    for shapes in (((1, 3), (5, 3)), ((3,), (5, 3)), ((1, 3), (5, 1)), ((4, 3), (3,))):
        theirs = [keras.Input(shape) for shape in shapes]
        ours = [Input(shape) for shape in shapes]
        arrays = _arrays(shapes)
        for kind in ("Add", "Multiply", "Subtract", "Maximum", "Average"):
            expected = keras.Model(theirs, getattr(keras.layers, kind)()(theirs)).predict(arrays, verbose=0)
            found = Model(ours, getattr(layers, kind)()(ours)).predict(arrays)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def _attending():
    """A row that scales a sequence, and recurrent layers around it."""
    x = Input((None, 3), name="x")
    h = layers.LSTM(4, return_sequences=True, name="lstm")(x)
    gate = layers.Dense(4, activation="sigmoid", name="gate")(layers.GlobalAveragePooling1D(name="mean")(h))
    y = layers.Multiply(name="scaled")([h, gate])
    return Model(x, layers.GRU(2, return_sequences=True, name="gru")(y), seed=3)


def test_lengths_go_through_and_a_row_gives_what_it_gives_alone():
    model = _attending()
    x = RANDOM.normal(size=(4, 7, 3)).astype("f")
    lengths = np.array([7, 3, 0, 5])
    together = model.predict(x, lengths=lengths)
    for k, n in enumerate(lengths):
        if n:
            np.testing.assert_allclose(together[k, :n], model.predict(x[k : k + 1, :n])[0], atol=1e-6)
        assert not together[k, n:].any()


def test_training_gives_the_same_bits_for_any_number_of_threads():
    x, y = RANDOM.normal(size=(64, 40, 3)).astype("f"), RANDOM.normal(size=(64, 40, 2)).astype("f")
    found = []
    before = rekur.get_num_threads()
    try:
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            model = _attending()
            model.compile("adam", "mse")
            model.fit(x, y, epochs=2, verbose=0)
            found.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    finally:
        rekur.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_an_open_axis_is_not_repeated_and_says_so():
    a, b = Input((None, 3)), Input((None, 3))
    model = Model([a, b], layers.Add()([a, b]))
    with pytest.raises(ValueError, match=r"time|steps|shape"):
        model.predict([np.ones((2, 1, 3)), np.ones((2, 4, 3))])
    c = Input((None, 1))
    stretched = Model([c, b], layers.Add()([c, b]))
    with pytest.raises(ValueError, match=r"left open|steps|shape"):
        stretched.predict([np.ones((2, 1, 1)), np.ones((2, 4, 3))])


def test_files_and_onnx_hold_it(tmp_path):
    pytest.importorskip("onnxruntime")
    import onnxruntime

    model = _attending()
    x = RANDOM.normal(size=(3, 6, 3)).astype("f")
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(x), model.predict(x))
    for k, shapes in enumerate(SHAPES):
        inputs = [Input(shape, name=f"i{n}") for n, shape in enumerate(shapes)]
        joined = Model(inputs, layers.Add(name="y")(inputs))
        path = tmp_path / f"{k}.onnx"
        rekur.onnx.export(joined, path)
        arrays = _arrays(shapes)
        session = onnxruntime.InferenceSession(path)
        (found,) = session.run(None, dict(zip(["i0", "i1"], arrays, strict=True)))
        np.testing.assert_allclose(found, joined.predict(arrays), rtol=1e-6)
    rekur.onnx.export(model, tmp_path / "m.onnx")
    (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": x})
    np.testing.assert_allclose(found, model.predict(x), atol=1e-5)


def test_tensors_are_stacked_repeated_and_filled():
    a, b, s = Input((3,)), Input((3,)), Input((4, 2))
    made = [
        ops.stack([a, b], axis=1), ops.stack([a, b], axis=-1), ops.repeat(s, 3, axis=1), ops.repeat(a, 2, axis=-1),
        ops.zeros_like(a), ops.ones_like(s), ops.full_like(a, 2.5) + a,
    ]  # fmt: skip
    model = Model([a, b, s], made)
    x, y, z = arrays = _arrays([(3,), (3,), (4, 2)])
    expected = [
        np.stack([x, y], 1), np.stack([x, y], -1), np.repeat(z, 3, 1), np.repeat(x, 2, -1), np.zeros_like(x),
        np.ones_like(z), 2.5 + x,
    ]  # fmt: skip
    for found, wanted in zip(model.predict(arrays), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    x[0, 0] = np.nan
    assert not model.predict(arrays)[4].any()  # whatever the tensor holds
    np.testing.assert_array_equal(ops.stack([x, y]), np.stack([x, y]))
    assert ops.repeat([1, 2], 2).tolist() == [1, 1, 2, 2]
    assert ops.zeros_like(z).shape == z.shape
    for wrong in (lambda: ops.stack([a, s]), lambda: ops.stack([a, s], 1), lambda: ops.repeat(s, 2)):
        with pytest.raises(ValueError, match=r"ops\.(stack|repeat): .*line \d+|ops\.(stack|repeat): "):
            wrong()
