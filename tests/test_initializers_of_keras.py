"""Keras's initialisers beyond the named cases: their moments, seeds of their own, arrays."""

import numpy as np
import pytest

import rekur
from rekur import initializers, layers


def drawn(initializer, shape=(200, 100), seed=1):
    x = rekur.Input((shape[0],))
    model = rekur.Model(x, layers.Dense(shape[1], use_bias=False, kernel_initializer=initializer)(x), seed=seed)
    return model.get_weights()[0]


def test_truncated_normals_lie_within_two_deviations():
    w = drawn(initializers.TruncatedNormal(1.0, 0.5))
    assert np.abs(w - 1).max() <= 1.0 and abs(w.mean() - 1) < 0.01 and abs(w.std() - 0.5 * 0.8796) < 0.01


@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 200), ("fan_out", 100), ("fan_avg", 150)])
def test_variance_scaling_has_its_variance(mode, fan, distribution):
    w = drawn(initializers.VarianceScaling(3.0, mode, distribution))
    np.testing.assert_allclose(w.var(), 3.0 / fan, rtol=0.05)


def test_variance_scaling_holds_the_named_cases():
    a = drawn(initializers.VarianceScaling(2.0, "fan_avg", "uniform", seed=4))
    b = drawn(initializers.VarianceScaling(2.0, "fan_avg", "uniform", seed=4))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        drawn("glorot_uniform"), drawn(initializers.VarianceScaling(1.0, "fan_avg", "uniform"))
    )
    np.testing.assert_array_equal(drawn("he_normal"), drawn(initializers.VarianceScaling(2.0, "fan_in")))


def test_identity_is_a_matrix_with_a_diagonal():
    np.testing.assert_array_equal(drawn(initializers.Identity(2.0), (5, 3)), 2 * np.eye(5, 3))
    x = rekur.Input((3,))
    with pytest.raises(ValueError, match="'identity' is for a matrix"):
        rekur.Model(x, layers.Dense(2, bias_initializer="identity")(x)).get_weights()


@pytest.mark.parametrize("name", ["RandomNormal", "RandomUniform", "GlorotUniform", "HeNormal", "Orthogonal"])
def test_a_seed_of_its_own_gives_the_same_numbers_in_every_model(name):
    make = getattr(initializers, name)
    np.testing.assert_array_equal(drawn(make(seed=3), seed=1), drawn(make(seed=3), seed=2))
    assert (drawn(make(seed=3)) != drawn(make(seed=4))).any()
    assert (drawn(make(), seed=1) != drawn(make(), seed=2)).any()


def test_a_seed_is_part_of_the_model_and_its_file(tmp_path):
    x = rekur.Input((3,))
    model = rekur.Model(x, layers.Dense(2, kernel_initializer=initializers.HeNormal(seed=7))(x))
    model.save(tmp_path / "m.safetensors")
    assert rekur.load(tmp_path / "m.safetensors").layers[-1].kernel_initializer == {"name": "he_normal", "seed": 7}


def test_an_array_is_the_table_of_an_embedding_and_of_nothing_else():
    table = np.arange(12.0).reshape(4, 3)
    ids = rekur.Input((2,), dtype="int32")
    layer = layers.Embedding(4, 3, embeddings_initializer=initializers.Constant(table), trainable=False)
    model = rekur.Model(ids, layer(ids))
    np.testing.assert_array_equal(model.predict(np.array([[1, 3]]), verbose=0), table[[[1, 3]]])
    with pytest.raises(ValueError, match="the table of an Embedding"):
        layers.Dense(3, kernel_initializer=initializers.Constant(table))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.VarianceScaling(0.0), "scale must be above 0"),
        (lambda: initializers.VarianceScaling(mode="fan"), "mode"),
        (lambda: initializers.VarianceScaling(distribution="gamma"), "distribution"),
        (lambda: initializers.HeNormal(seed=-1), "seed"),
        (lambda: initializers.Zeros(seed=1), "seed"),
        (lambda: initializers.TruncatedNormal(stddev=-1.0), "stddev"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
