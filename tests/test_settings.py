"""Whatever can be set acts, or setting it raises and says what to do: layers, models, losses, metrics, initialisers."""

import inspect

import numpy as np
import pytest

import rekur
from rekur import activations, initializers, layers, losses, metrics
from rekur.layers import TYPES

X = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)

# For each type of layer: how to make one, and for each parameter another value.
EXAMPLES = {
    "Input": (lambda: layers.InputLayer((5, 4)), {}),
    "Dense": (
        lambda: layers.Dense(4),
        {
            "units": 7,
            "activation": {"name": "elu", "alpha": 0.5},
            "use_bias": False,
            "kernel_initializer": "he_normal",
            "bias_initializer": initializers.Constant(0.3),
        },
    ),
    "Activation": (lambda: layers.Activation("relu"), {"activation": activations.LeakyReLU(0.1)}),
    "Dropout": (lambda: layers.Dropout(0.5), {"rate": 0.25}),
    "Embedding": (
        lambda: layers.Embedding(9, 4),
        {"input_dim": 8, "output_dim": 3, "embeddings_initializer": "glorot_normal", "mask_zero": True},
    ),
    "Broadcast": (layers.Broadcast, {}),
    "Parameter": (lambda: layers.Parameter(3), {"shape": [2, 5], "initializer": "ones", "beside": True}),
    "FoldTime": (layers.FoldTime, {}),
    "UnfoldTime": (layers.UnfoldTime, {}),
    "Masking": (layers.Masking, {"mask_value": -1.0}),
    "LayerNormalization": (
        layers.LayerNormalization,
        {"epsilon": 0.1, "center": False, "scale": False, "gamma_initializer": "zeros", "beta_initializer": "ones"},
    ),
    "Affine": (layers.Affine, {"center": False}),
    "BatchNormalization": (
        layers.BatchNormalization,
        {
            "momentum": 0.5,
            "epsilon": 0.1,
            "center": False,
            "scale": False,
            "gamma_initializer": "zeros",
            "beta_initializer": "ones",
            "moving_mean_initializer": "ones",
            "moving_variance_initializer": "zeros",
        },
    ),
    "RMSNormalization": (layers.RMSNormalization, {"epsilon": 0.1}),
    "UnitNormalization": (layers.UnitNormalization, {}),
    "ReLU": (layers.ReLU, {"max_value": 2.0, "negative_slope": 0.5, "threshold": 0.25}),
    "LeakyReLU": (layers.LeakyReLU, {"negative_slope": 0.5}),
    "ELU": (layers.ELU, {"alpha": 0.5}),
    "PReLU": (layers.PReLU, {"alpha_initializer": "ones", "shared_axes": [1]}),
    "CRF": (
        lambda: layers.CRF(4),
        {
            "units": 3,
            "output_mode": "marginals",
            "use_boundary": False,
            "transition_initializer": "ones",
            "boundary_initializer": "ones",
        },
    ),
    "Softmax": (layers.Softmax, {}),
    "Identity": (layers.Identity, {}),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.5), {"rate": 0.25}),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.5), {"rate": 0.25}),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.5), {"rate": 0.25}),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.5), {"stddev": 0.25}),
    "ActivityRegularization": (layers.ActivityRegularization, {"l1": 0.5, "l2": 0.25}),
    "Dot": (lambda: layers.Dot([2, 2]), {"axes": [1, 1], "normalize": True}),
    "Rescaling": (lambda: layers.Rescaling(2.0), {"scale": [1.0, 2.0, 3.0, 4.0], "offset": 1}),
    "Normalization": (
        lambda: layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=4.0),
        {"mean": 0.5, "variance": [1.0, 2.0, 3.0, 4.0], "invert": True},
    ),
    "Step": (lambda: layers.Step(0), {"index": -2}),
    "Flip": (layers.Flip, {}),
    "Slice": (lambda: layers.Slice(0, 2), {"start": 1, "stop": None}),
    "Concatenate": (layers.Concatenate, {"axis": 2}),
    "Lambda": (
        lambda: layers.Lambda(lambda x, by=2.0: x * by),
        {"function": lambda x, by=1.0: x - by, "arguments": {"by": 0.5}},
    ),
    **{
        name: (getattr(layers, name), {})
        for name in ("Add", "Multiply", "Subtract", "Divide", "Maximum", "Minimum", "Average")
    },
    "Bidirectional": (lambda: layers.Bidirectional(layers.GRU(2)), {"merge_mode": "sum", "residual": True}),
}
RECURRENT = {
    "units": 7,
    "activation": "relu",
    "use_bias": False,
    "return_sequences": True,
    "return_state": True,
    "reverse": True,
    "kernel_initializer": "he_normal",
    "recurrent_initializer": initializers.Orthogonal(0.5),
    "bias_initializer": "ones",
    "clip": 2.0,
    "dropout": 0.25,
    "recurrent_dropout": 0.5,
    "zoneout": {"h": 0.125},
    "layer_normalization": "state",
    "normalization_epsilon": 0.1,
    "gamma_initializer": "zeros",
    "beta_initializer": "ones",
    "state_clip": 3.0,
    "recurrent_weight_dropout": 0.25,
    "projection_size": 2,
    "residual": True,
    "learn_initial_state": True,
}
GATED = {**RECURRENT, "recurrent_activation": {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.5}}
LSTM = {
    **GATED,
    "output_activation": "softsign",
    "unit_forget_bias": False,
    "peepholes": True,
    "coupled_gates": True,
    "peephole_initializer": "ones",
}
MATRIX = {
    "num_heads": 1,
    "key_dim": 4,
    "value_dim": 5,
    "units": 6,
    "output_gate": False,
    "epsilon": 0.1,
    "use_bias": False,
    "reverse": True,
    "return_sequences": True,
    "return_state": True,
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "gamma_initializer": "zeros",
}
EXAMPLES["GatedLinearAttention"] = (
    lambda: layers.GatedLinearAttention(2, 3),
    {**MATRIX, "mode": "gated_delta", "decay_normalizer": 4.0},
)
ATTENTION = {"dropout": 0.25, "use_causal_mask": True, "sliding_window": 3, "return_attention_scores": True}
HEADS = {**ATTENTION, "use_bias": False, "kernel_initializer": "he_normal", "bias_initializer": "ones"}
EXAMPLES["Attention"] = (layers.Attention, {**ATTENTION, "use_scale": True, "score_mode": "concat"})
EXAMPLES["AdditiveAttention"] = (layers.AdditiveAttention, {**ATTENTION, "use_scale": False})
EXAMPLES["MultiHeadAttention"] = (
    lambda: layers.MultiHeadAttention(2, 3),
    {**HEADS, "num_heads": 3, "key_dim": 2, "value_dim": 5, "output_shape": 6},
)
EXAMPLES["GroupQueryAttention"] = (
    lambda: layers.GroupQueryAttention(3, 4, 2),
    {**HEADS, "head_dim": 5, "num_query_heads": 6, "num_key_value_heads": 1},
)
EXAMPLES["PositionEmbedding"] = (
    lambda: layers.PositionEmbedding(9),
    {"sequence_length": 8, "initializer": "ones"},
)
EXAMPLES["SinePositionEncoding"] = (layers.SinePositionEncoding, {"max_wavelength": 100.0})
EXAMPLES["RotaryEmbedding"] = (layers.RotaryEmbedding, {"max_wavelength": 100.0, "scaling_factor": 2.0})
CONVOLUTION = {
    "kernel_size": 2,
    "strides": 2,
    "padding": "same",
    "dilation_rate": 2,
    "activation": "tanh",
    "use_bias": False,
    "bias_initializer": "ones",
}
FILTERS = {**CONVOLUTION, "filters": 6, "kernel_initializer": "he_normal"}
EXAMPLES["Conv1D"] = (lambda: layers.Conv1D(4, 3), {**FILTERS, "groups": 2})
EXAMPLES["Conv1DTranspose"] = (lambda: layers.Conv1DTranspose(4, 3, 3), {**FILTERS, "output_padding": 1})
DEPTHWISE = {**CONVOLUTION, "depth_multiplier": 2, "depthwise_initializer": "he_normal"}
EXAMPLES["DepthwiseConv1D"] = (lambda: layers.DepthwiseConv1D(3), DEPTHWISE)
EXAMPLES["SeparableConv1D"] = (
    lambda: layers.SeparableConv1D(4, 3),
    {**DEPTHWISE, "filters": 6, "pointwise_initializer": "he_normal"},
)
CONV_LSTM = {
    **CONVOLUTION,
    "activation": "relu",
    "filters": 6,
    "kernel_initializer": "he_normal",
    "recurrent_initializer": initializers.Orthogonal(0.5),
    "recurrent_activation": {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.5},
    "unit_forget_bias": False,
    "dropout": 0.25,
    "recurrent_dropout": 0.5,
    "return_sequences": True,
    "return_state": True,
    "go_backwards": True,
    "stateful": True,
    "reverse": True,
}
EXAMPLES["ConvLSTM1D"] = (lambda: layers.ConvLSTM1D(4, 3), CONV_LSTM)
EXAMPLES["ConvLSTM2D"] = (lambda: layers.ConvLSTM2D(4, 3), CONV_LSTM)
for name in ("MaxPooling1D", "AveragePooling1D"):
    EXAMPLES[name] = (getattr(layers, name), {"pool_size": 3, "strides": 1, "padding": "same"})
for name in ("GlobalMaxPooling1D", "GlobalAveragePooling1D"):
    EXAMPLES[name] = (getattr(layers, name), {"keepdims": True})
EXAMPLES["UpSampling1D"] = (layers.UpSampling1D, {"size": 3})
EXAMPLES["Cropping1D"] = (layers.Cropping1D, {"cropping": (2, 0)})
EXAMPLES["ZeroPadding1D"] = (layers.ZeroPadding1D, {"padding": (2, 0)})
EXAMPLES["Padding1D"] = (layers.Padding1D, {"padding": (2, 0), "mode": "edge", "value": 1.0})
EXAMPLES["Flatten"] = (layers.Flatten, {})
EXAMPLES["Reshape"] = (lambda: layers.Reshape((20,)), {"target_shape": (2, -1)})
EXAMPLES["Permute"] = (lambda: layers.Permute((2, 1)), {"dims": (1, 2)})
EXAMPLES["RepeatVector"] = (lambda: layers.RepeatVector(3), {"n": 2})
EXAMPLES["MLSTM"] = (lambda: layers.MLSTM(2, 3), {**MATRIX, "forget_bias_initializer": "ones"})
BOTH = {"layer_normalization": "both"}  # what some parameters are of
EXAMPLES["SimpleRNN"] = (lambda: layers.SimpleRNN(4, **BOTH), RECURRENT)
EXAMPLES["GRU"] = (
    lambda: layers.GRU(4, **BOTH),
    {**{key: value for key, value in GATED.items() if key != "projection_size"}, "reset_after": False},
)
EXAMPLES["SelectiveSSM"] = (
    lambda: layers.SelectiveSSM(2),
    {
        "state_size": 3,
        "conv_kernel": 2,
        "expand": 1,
        "dt_rank": 2,
        "units": 6,
        "use_bias": True,
        "use_conv_bias": False,
        "dt_min": 0.01,
        "dt_max": 0.5,
        "reverse": True,
        "return_sequences": True,
        "return_state": True,
        "kernel_initializer": "he_normal",
        "convolution_initializer": "ones",
        "bias_initializer": "ones",
    },
)
EXAMPLES["RNN"] = (
    lambda: layers.RNN(rekur.cells.peephole_lstm, 4, **BOTH),
    {
        **{key: value for key, value in RECURRENT.items() if key not in ("activation", "clip")},
        "cell": rekur.cells.janet,
        "weight_initializers": {"p_f": "ones"},
    },
)
EXAMPLES["LSTM"] = (lambda: layers.LSTM(4, **BOTH), LSTM)


def step(units):
    """A model of one step, which reads two arrays of one shape."""
    a, b = rekur.Input((1, 4), name="a"), rekur.Input((1, 4), name="b")
    y = layers.Dense(units, name="y")(layers.Concatenate(name="both")([a, b]))
    return rekur.Model([a, b], [y, layers.Add(name="sum")([a, b])])


EXAMPLES["Loop"] = (
    lambda: layers.Loop(step(3)),
    {"body": step(5), "steps": 2, "states": 1, "return_sequences": True, "return_state": True},
)
EXAMPLES["AttentionRNN"] = (
    lambda: layers.AttentionRNN(layers.LSTMCell(4), "concat"),
    {
        "cell": [layers.GRUCell(3), layers.SimpleRNNCell(4)],
        "attention": "general",
        "attention_size": 5,
        "attention_units": 3,
        "num_heads": 2,
        "key_dim": 3,
        "input_feeding": False,
        "coverage": True,
        "return_sequences": True,
        "return_state": True,
        "return_attention_scores": True,
    },
)

# What a constructor refuses, by parameter.
WRONG = {
    "value": "much",
    "body": 3,
    "steps": 0,
    "states": -1,
    "attention": "dott",
    "attention_size": 0,
    "attention_units": 0,
    "input_feeding": 1,
    "coverage": "yes",
    "function": 3,
    "arguments": 3,
    "units": 0,
    "cell": "min_gruu",
    "weight_initializers": {"u": "ones"},
    "activation": "rely",
    "use_bias": 1,
    "kernel_initializer": "he",
    "bias_initializer": 3,
    "rate": 1,
    "mask_zero": "yes",
    "shape": [0],
    "beside": "yes",
    "mask_value": "no",
    "input_dim": 1.5,
    "momentum": 2,
    "moving_mean_initializer": 3,
    "moving_variance_initializer": "he",
    "output_mode": "best",
    "use_boundary": 1,
    "transition_initializer": 3,
    "boundary_initializer": "he",
    "max_value": -1,
    "negative_slope": -1,
    "threshold": -1,
    "alpha": "a",
    "alpha_initializer": 3,
    "shared_axes": [0.5],
    "stddev": 2,
    "l1": -1,
    "l2": -1,
    "axes": [1, 2, 3],
    "normalize": 1,
    "output_dim": -1,
    "embeddings_initializer": None,
    "epsilon": 0,
    "center": "yes",
    "scale": "large",
    "gamma_initializer": "gamma",
    "beta_initializer": "beta",
    "offset": float("nan"),
    "index": "last",
    "start": 0.5,
    "stop": "end",
    "axis": None,
    "mean": "m",
    "variance": -1,
    "invert": 1,
    "merge_mode": "add",
    "num_heads": 0,
    "key_dim": 1.5,
    "value_dim": -1,
    "mode": "gate",
    "output_gate": 1,
    "decay_normalizer": 0,
    "forget_bias_initializer": 3,
    "return_sequences": None,
    "return_state": 0,
    "reverse": "yes",
    "recurrent_initializer": "orthogon",
    "clip": 0,
    "recurrent_activation": "softmax",
    "output_activation": 3,
    "unit_forget_bias": 1,
    "peepholes": 1,
    "coupled_gates": 1,
    "peephole_initializer": "peep",
    "reset_after": "yes",
    "dropout": 1,
    "recurrent_dropout": -0.5,
    "zoneout": {"k": 0.1},
    "layer_normalization": "sum",
    "normalization_epsilon": 0,
    "state_clip": 0,
    "recurrent_weight_dropout": -0.1,
    "projection_size": 4,
    "residual": 1,
    "learn_initial_state": None,
    "state_size": 0,
    "conv_kernel": 0,
    "expand": 1.5,
    "dt_rank": 0,
    "use_conv_bias": 1,
    "dt_min": 0,
    "dt_max": 1e-4,
    "convolution_initializer": "conv",
    "kernel_size": 0,
    "strides": 0,
    "padding": "all",
    "dilation_rate": 0,
    "filters": 0,
    "groups": 0,
    "output_padding": -1,
    "depth_multiplier": 0,
    "depthwise_initializer": "he",
    "pointwise_initializer": "he",
    "pool_size": 0,
    "keepdims": 1,
    "size": 0,
    "cropping": -1,
    "target_shape": "all",
    "dims": (2, 2),
    "n": 0,
    "use_causal_mask": 1,
    "sliding_window": 0,
    "return_attention_scores": "yes",
    "use_scale": 1,
    "score_mode": "dott",
    "output_shape": (3, 4),
    "head_dim": 0,
    "num_query_heads": 1.5,
    "num_key_value_heads": 0,
    "sequence_length": 0,
    "initializer": "he",
    "max_wavelength": 0,
    "scaling_factor": -1,
    "go_backwards": "yes",
    "stateful": "yes",
}
PARAMETERS = [(kind, key) for kind, (_, changes) in EXAMPLES.items() for key in changes]


def parameters_of(cls):
    given = inspect.signature(cls.__init__).parameters
    options = getattr(cls, "_cell_options", ())
    return {p for p in (*given, *options) if p not in ("self", "name", "options", "layer", "input_shape", "equations")}


def connect(layer):
    """A model around the layer."""
    if isinstance(layer, layers.InputLayer):
        return rekur.Model(layer.tensor, layers.LSTM(3)(layer.tensor), seed=1)
    entrance = rekur.Input((5,), dtype="int32") if layer.input_dtype == "int32" else rekur.Input((5, 4))
    entrance = rekur.Input((4,)) if layer.type == "RepeatVector" else entrance
    if layer.type.startswith("ConvLSTM"):
        entrance = rekur.Input((5, 7, 6, 4)[layer.type == "ConvLSTM1D" :], batch_size=2)
    if isinstance(layer, layers.CRF):
        entrance = rekur.Input((5, layer.units), batch_size=2)
    joins = (layers.Concatenate, layers.Add, layers.Multiply, layers.Subtract, layers.Divide, layers.Dot)
    joins += (layers.Maximum, layers.Minimum, layers.Average, layers.Broadcast)
    attention = (layers.Attention, layers.AdditiveAttention, layers.MultiHeadAttention, layers.GroupQueryAttention)
    if isinstance(layer, layers.UnfoldTime):
        return rekur.Model(entrance, layer([layers.FoldTime()(entrance), entrance]), seed=1)
    if isinstance(layer, layers.Loop):
        given = [entrance, entrance if layer.steps == 2 else rekur.Input((1, 4))]
        return rekur.Model(list(dict.fromkeys(given)), layer(given), seed=1)
    several = isinstance(layer, (*joins, *attention, layers.AttentionRNN))
    return rekur.Model(entrance, layer([entrance, entrance] if several else entrance), seed=1)


def test_every_layer_and_every_parameter_is_tried_below():
    assert set(EXAMPLES) == set(TYPES) - {"AddLoss"}  # which add_loss makes, called
    for kind, (_, changes) in EXAMPLES.items():
        if kind != "Input":
            with_axis = kind.endswith("Normalization") or kind == "Softmax"
            one_value = {"data_format", *(["axis"] if with_axis else [])}
            # Of a projection, which goes with no option that reads h; test_layer_options.py.
            apart = {"projection_initializer", *(["projection_size"] if kind == "GRU" else [])}
            assert set(changes) == parameters_of(TYPES[kind]) - one_value - apart
            assert set(changes) <= set(WRONG)


@pytest.mark.parametrize(("kind", "key"), PARAMETERS)
def test_a_parameter_set_before_the_call_is_as_if_constructed_so(kind, key):
    make, changes = EXAMPLES[kind]
    value = changes[key]
    layer = make()
    given = {p: getattr(layer, p) for p in parameters_of(TYPES[kind])}
    if kind == "Bidirectional":
        given["layer"] = layers.GRU(2)
    expected = TYPES[kind](**{**given, key: value})
    before = layer.config()
    setattr(layer, key, value)
    assert getattr(layer, key) == getattr(expected, key)
    assert layer.config() == expected.config()
    # Of an LSTM without peepholes; a Lambda has no equations before it is called.
    idle = key == "peephole_initializer" or kind == "Lambda"
    assert (layer.config() == before) == idle
    one, two = connect(layer), connect(expected)
    assert one.spec == two.spec
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


@pytest.mark.parametrize(("kind", "key"), PARAMETERS)
def test_a_parameter_set_wrongly_is_refused_as_by_the_constructor(kind, key):
    layer = EXAMPLES[kind][0]()
    given = {p: getattr(layer, p) for p in parameters_of(TYPES[kind])}
    if kind == "Bidirectional":
        given["layer"] = layers.GRU(2)
    with pytest.raises((ValueError, TypeError)) as constructed:
        TYPES[kind](**{**given, key: WRONG[key]})
    before = layer.config()
    with pytest.raises(type(constructed.value)) as caught:
        setattr(layer, key, WRONG[key])
    assert str(caught.value) == str(constructed.value)
    assert key in str(caught.value)
    assert layer.config() == before


@pytest.mark.parametrize("kind", EXAMPLES)
def test_nothing_of_a_connected_layer_can_be_set(kind):
    layer = EXAMPLES[kind][0]()
    model = connect(layer)
    spec, weights = model.spec, model.get_weights()
    names = [n for n in dir(layer) if not n.startswith("_") and n not in ("trainable", "lr_scale")]
    assert {"name", "input_shape", *layer._keys} <= set(names)
    for name in names:
        with pytest.raises(AttributeError) as caught:
            setattr(layer, name, EXAMPLES[kind][1].get(name, 3))
        assert repr(layer) in str(caught.value), name
    assert model.spec == spec
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    inner = getattr(layer, "inner", None)
    if inner is not None:
        with pytest.raises(AttributeError, match="has been called: 'units' cannot be set"):
            inner.units = 9


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_misspelt_attribute_is_refused_with_a_suggestion(kind):
    layer = EXAMPLES[kind][0]()
    with pytest.raises(AttributeError, match=r"no attribute 'nam' to set; did you mean 'name'\?"):
        layer.nam = "x"
    for key in EXAMPLES[kind][1]:
        with pytest.raises(AttributeError, match=rf"did you mean '{key}'\?"):
            setattr(layer, f"{key}_", 3)


def test_the_settings_of_an_lstm_that_do_not_go_together_are_refused_in_any_order():
    layer = layers.LSTM(4, bias_initializer="unit_forget")
    before = layer.config()
    with pytest.raises(ValueError, match="coupled_gates leave the forget gate no bias"):
        layer.coupled_gates = True
    assert layer.config() == before
    layer.bias_initializer = "he_normal"
    assert layer.config()["bias_initializer"] == {"name": "unit_forget", "others": "he_normal"}
    layer.coupled_gates = True
    assert layer.config()["bias_initializer"] == "he_normal"
    with pytest.raises(ValueError, match="coupled_gates leave the forget gate no bias"):
        layer.bias_initializer = "unit_forget"
    layer.use_bias = False
    layer.bias_initializer = "unit_forget"  # of a bias that is not there


def test_a_bidirectional_layer_follows_its_inner_layer_until_it_is_called():
    inner = layers.GRU(4)
    layer = layers.Bidirectional(inner)
    inner.units = 6
    assert layer.config()["layer"]["units"] == 6
    with pytest.raises(ValueError, match="must not have reverse=True"):
        inner.reverse = True
    assert not inner.reverse
    for name, value in (("name", "x"), ("input_shape", (5, 4))):
        with pytest.raises(AttributeError, match=f"set '{name}' of Bidirectional"):
            setattr(inner, name, value)
    other = layers.LSTM(2)
    layer.inner = other
    assert layer.config()["layer"]["type"] == "LSTM"
    inner.reverse = True  # it is on its own again
    with pytest.raises(TypeError, match="expected an RNN, SimpleRNN, LSTM or GRU"):
        layer.inner = layers.Dense(3)
    with pytest.raises(AttributeError, match="set inner"):
        layer.layer = inner
    assert layers.Bidirectional(other).inner is not other  # a copy with weights of its own, as in Keras
    with pytest.raises(ValueError, match="is a part of Bidirectional"):
        other(rekur.Input((5, 4)))
    assert connect(layer).output_shape == (None, 4)


def test_values_of_settings_cannot_be_changed_in_place():
    layer = layers.LSTM(4, activation={"name": "elu", "alpha": 0.5})
    scale = layers.Rescaling([1.0, 2.0, 3.0, 4.0])
    both = layers.Bidirectional(layers.GRU(2))
    for change in (
        lambda: layer.activation.update(alpha=2.0),
        lambda: layer.activation.__setitem__("alpha", 2.0),
        lambda: layer.activation.pop("alpha"),
        lambda: scale.scale.append(1.0),
        lambda: scale.scale.sort(),
        lambda: both.layer.clear(),
        lambda: both.layer.__setitem__("units", 9),
    ):
        with pytest.raises(TypeError, match="cannot be changed in place; set the attribute"):
            change()
    given = {"name": "elu", "alpha": 0.5}
    layer.activation = given
    given["alpha"] = 9.0  # the caller's dict is the caller's
    assert layer.activation == {"name": "elu", "alpha": 0.5}
    spec = connect(layer).spec
    spec["layers"][1]["activation"]["alpha"] = 9.0  # and so is a spec
    assert layer.activation["alpha"] == 0.5
    assert type(layer.config()["activation"]) is dict


def test_trainable_and_lr_scale_may_be_set_at_any_time_and_are_checked():
    model = connect(layers.LSTM(4))
    for subject in (model, *model.layers, layers.Dense(3)):
        assert subject.trainable is True
        subject.trainable = False
        assert subject.trainable is False
        subject.trainable = True
        with pytest.raises(TypeError, match="trainable must be True or False, got 0"):
            subject.trainable = 0
    layer = model.layers[1]
    layer.lr_scale = 0.5
    for bad, error in ((-1, ValueError), (float("nan"), ValueError), ("fast", TypeError)):
        with pytest.raises(error, match="LSTM 'lstm': lr_scale must be"):
            layer.lr_scale = bad
    assert layer.lr_scale == 0.5
    with pytest.raises(TypeError, match="trainable must be True or False"):
        rekur.Sequential(trainable="no")


def test_a_name_set_before_the_call_is_the_layers_name():
    layer = layers.LSTM(4)
    layer.name = "front"
    assert connect(layer).spec["layers"][1]["name"] == "front"
    with pytest.raises(ValueError, match="a name holds"):
        layers.Dense(3).name = "a b"


def test_layers_waiting_in_a_sequential_can_still_be_set():
    model = rekur.Sequential([layers.LSTM(4), layers.Dense(2)], seed=1)
    model.layers[0].units = 6
    model.layers[1].name = "head"
    model.name, model.seed = "late", 7
    model.layers[0].input_shape = (5, 4)
    model.compile("adam", "mse")  # the shape is known: this builds it
    expected = rekur.Sequential([layers.LSTM(6, input_shape=(5, 4)), layers.Dense(2, name="head")], name="late", seed=7)
    assert model.spec == expected.spec
    assert np.array_equal(model.predict(X), expected.predict(X))


def test_a_seed_set_after_compile_and_before_the_data_is_that_of_the_fit():
    def fitted(late):
        model = rekur.Sequential([layers.LSTM(4), layers.Dropout(0.5), layers.Dense(2)], seed=1 if late else 7)
        model.compile("adam", "mse")
        if late:
            model.seed = 7
        model.fit(X, X[:, 0, :2], epochs=2, batch_size=2, verbose=0)
        return model.get_weights()

    assert all(np.array_equal(a, b) for a, b in zip(fitted(True), fitted(False), strict=True))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("name", "other", "model 'model' is built: 'name' cannot be set any more; give name= to the constructor"),
        ("seed", 3, "model 'model' is built: its seed has drawn the weights; give seed= to the constructor"),
        ("optimizer", "adam", "model 'model': 'optimizer' cannot be set: call compile(optimizer=…)"),
        ("loss", "mse", "call compile(loss=…)"),
        ("metrics", ["mae"], "call compile(metrics=…)"),
        ("learning_rate", 0.1, "set optimizer.learning_rate"),
        ("layers", [], "make a model of the layers wanted"),
        ("inputs", [], "make a Model(inputs, outputs)"),
        ("outputs", [], "make a Model(inputs, outputs)"),
        ("history", None, "fit makes it"),
        ("weights", [], "set_weights takes them"),
        ("spec", {}, "'spec' can be read, not set"),
        ("input_names", ["x"], "'input_names' can be read, not set"),
        ("output_shape", (None, 3), "'output_shape' can be read, not set"),
        ("metrics_names", [], "'metrics_names' can be read, not set"),
        ("predict", 3, "'predict' can be read, not set"),
        ("stop_trainin", True, "no attribute 'stop_trainin' to set; did you mean 'stop_training'?"),
    ],
)
def test_what_cannot_be_set_of_a_model_says_what_to_do(name, value, message):
    model = connect(layers.LSTM(4))
    with pytest.raises(AttributeError) as caught:
        setattr(model, name, value)
    assert message in str(caught.value)


def test_every_public_name_of_a_model_can_be_set_with_effect_or_raises():
    model = connect(layers.LSTM(4))
    model.compile("adam", "mse")
    act = ("stop_training", "tokenizer", "trainable", "sample_rate", "latency")
    for name in dir(model):
        if not name.startswith("_") and name not in act:
            with pytest.raises(AttributeError):
                setattr(model, name, 3)


def test_the_list_of_layers_cannot_be_changed():
    for model in (connect(layers.LSTM(4)), rekur.Sequential([layers.LSTM(4)])):
        for change in (
            lambda m: m.layers.append(layers.Dense(3)),
            lambda m: m.layers.pop(),
            lambda m: m.layers.__setitem__(0, layers.Dense(3)),
            lambda m: m.layers.__delitem__(0),
            lambda m: m.layers.reverse(),
        ):
            with pytest.raises(TypeError, match="layers is a list to read"):
                change(model)
        assert isinstance(model.layers, list)
        assert [*model.layers] == model.layers[:]


def test_stop_training_takes_what_a_comparison_gives():
    model = connect(layers.LSTM(4))
    model.stop_training = np.float32(1) < 2
    assert model.stop_training is True
    with pytest.raises(TypeError, match="stop_training must be True or False, got 1"):
        model.stop_training = 1


def test_what_a_model_was_given_never_changes():
    for value, key in (
        (losses.Huber(0.5), "delta"),
        (losses.BinaryCrossentropy(from_logits=True), "from_logits"),
        (initializers.Constant(0.5), "value"),
        (initializers.Orthogonal(0.5), "gain"),
        (activations.LeakyReLU(0.5), "alpha"),
    ):
        shown = repr(value)
        assert getattr(value, key) in (0.5, True)
        with pytest.raises(AttributeError, match=f"'{key}' is fixed; make another: {type(value).__name__}"):
            setattr(value, key, 2.0)
        with pytest.raises(TypeError, match="cannot be changed in place"):
            value.parameters[key] = 2.0
        for name in ("name", "parameters", f"{key}s"):
            with pytest.raises(AttributeError):
                setattr(value, name, 2.0)
        assert repr(value) == shown


def test_a_metrics_threshold_acts_in_the_next_pass():
    metric = metrics.BinaryAccuracy(threshold=0.5)
    model = rekur.Sequential([layers.Dense(1, "sigmoid", input_shape=(3,))], seed=1)
    model.compile("sgd", "binary_crossentropy", metrics=[metric])
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.ones(50)
    assert 0 < model.evaluate(x, y)[1] < 1
    metric.threshold = 0.0
    assert model.evaluate(x, y)[1] == 1
    metric.name = "above"
    assert set(model.evaluate(x, y, return_dict=True)) == {"loss", "above"}
    with pytest.raises(AttributeError, match=r"did you mean 'threshold'\?"):
        metric.treshold = 0.3
    with pytest.raises(TypeError, match="threshold must be a number"):
        metric.threshold = "high"
    metric.name = "loss"
    with pytest.raises(ValueError, match="'loss' is there twice"):
        model.evaluate(x, y)


def test_a_metric_of_ones_own_may_hold_whatever_it_likes():
    class Largest(metrics.Metric):
        def reset_state(self):
            self.largest = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.largest = max(self.largest, float(np.max(y_pred)))

        def result(self):
            return self.largest

    model = rekur.Sequential([layers.Dense(1, input_shape=(3,))], seed=1)
    model.compile("sgd", "mse", metrics=[Largest(name="largest")])
    x = np.ones((4, 3), np.float32)
    assert model.evaluate(x, np.ones(4))[1] == pytest.approx(float(model.predict(x).max()))


def test_a_symbolic_tensor_never_changes():
    tensor = layers.LSTM(4)(rekur.Input((5, 4)))
    for name in ("shape", "dtype", "layer", "index", "name", "anything"):
        with pytest.raises(AttributeError, match="a symbolic tensor is what its layer gives"):
            setattr(tensor, name, 3)
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del tensor.shape
