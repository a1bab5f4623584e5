"""What Keras's scripts read of a model and its layers: weights by their names, whether it is built and compiled."""

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers


def test_weights_are_attributes_of_a_layer_by_their_names():
    model = Sequential(
        [layers.Embedding(7, 3, name="ids"), layers.LSTM(2), layers.LayerNormalization(), layers.Dense(4, name="head")]
    )
    dense = model.layers[-1]
    alone = layers.Dense(4, name="alone")
    with pytest.raises(AttributeError, match="Dense 'alone' has no 'kernel': it is there once the layer is part"):
        alone.kernel  # noqa: B018 - it belongs to no model
    assert not hasattr(Sequential([alone]).layers[0], "bias")
    assert (dense.kernel.name, dense.kernel.path, dense.kernel.shape) == ("kernel", "head/kernel", (2, 4))
    assert model.get_layer("ids").embeddings.shape == (7, 3)
    assert model.layers[1].recurrent_kernel.shape == (2, 8)
    assert model.layers[2].gamma.shape == (2,)
    dense.bias.assign([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(dense.get_weights()[1], [1, 2, 3, 4])
    with pytest.raises(AttributeError):
        dense.kernel = np.zeros((2, 4))
    plain = Sequential([layers.Dense(1, use_bias=False, input_shape=(2,))])
    assert not hasattr(plain.layers[0], "bias")


def test_what_loops_of_ones_own_ask_a_model():
    model = Sequential([layers.Dense(1)])
    assert (model.built, model.compiled) == (False, False)
    model.compile("sgd", "mse", metrics=["mae"])
    assert (model.built, model.compiled) == (False, True)
    x = np.ones((4, 2))
    first = model.test_on_batch(x, np.zeros(4))
    assert model.built
    model.reset_metrics()
    assert model.test_on_batch(x, np.zeros(4)) == first
    rekur.utils.clear_session()
    assert Sequential([layers.Dense(1)]).layers[0].name == "dense"


@pytest.mark.parametrize("calls_base", [False, True])
@pytest.mark.parametrize("says", [False, True])
def test_a_model_of_ones_own_makes_its_layers_in_build(calls_base, says):
    class Own(rekur.Model):
        shapes = ()

        def build(self, input_shape):
            self.shapes = (*self.shapes, input_shape)
            self.head = layers.Dense(input_shape[-1])
            if calls_base:
                super().build(input_shape)
            if says:
                self.built = True

        def call(self, inputs):
            return self.head(inputs)

    own = Own()
    assert not own.built
    x = np.ones((4, 3))
    assert own(x).shape == (4, 3)
    own.compile("sgd", "mse")
    own.fit(x, x, verbose=0)
    assert own.built and own.shapes == ((None, 3),)
    assert own.count_params() == 12
