"""Layers of rekur as Keras describes them; what Keras lacks is named."""

from collections.abc import Mapping
from typing import Any

from rekur.convert._plain import _IN_TRAINING

_RULED = ("kernel_initializer", "bias_initializer")
_CELL = ("units", "activation", "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer",
         "dropout", "recurrent_dropout")  # fmt: skip
_TIME = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
_CONVOLUTION = ("kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias", "bias_initializer")
_CONV_LSTM = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "recurrent_activation",
              "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer", "dropout",
              "recurrent_dropout", "return_sequences", "return_state", "go_backwards", "stateful")  # fmt: skip
_HEADS = ("use_bias", "dropout", *_RULED)
# By class the arguments that Keras's has, which have the same names and meaning here.
KEYS: dict[str, tuple[str, ...]] = {
    "Dense": ("units", "activation", "use_bias", *_RULED),
    "Activation": ("activation",),
    "Embedding": ("input_dim", "output_dim", "embeddings_initializer", "mask_zero"),
    "Masking": ("mask_value",),
    "SimpleRNN": (*_CELL, *_TIME),
    "LSTM": (*_CELL, "recurrent_activation", "unit_forget_bias", *_TIME),
    "GRU": (*_CELL, "recurrent_activation", "reset_after", *_TIME),
    "ConvLSTM1D": _CONV_LSTM,
    "ConvLSTM2D": _CONV_LSTM,
    "Conv1D": ("filters", "groups", "kernel_initializer", *_CONVOLUTION),
    "Conv1DTranspose": ("filters", "output_padding", "kernel_initializer", *_CONVOLUTION),
    "DepthwiseConv1D": ("depth_multiplier", "depthwise_initializer", *_CONVOLUTION),
    "SeparableConv1D": ("filters", "depth_multiplier", "depthwise_initializer", "pointwise_initializer", *_CONVOLUTION),
    "MaxPooling1D": ("pool_size", "strides", "padding"),
    "AveragePooling1D": ("pool_size", "strides", "padding"),
    "GlobalMaxPooling1D": ("keepdims",),
    "GlobalAveragePooling1D": ("keepdims",),
    "UpSampling1D": ("size",),
    "Cropping1D": ("cropping",),
    "ZeroPadding1D": ("padding",),
    "Flatten": (),
    "Reshape": ("target_shape",),
    "Permute": ("dims",),
    "RepeatVector": ("n",),
    "Dropout": ("rate",),
    "SpatialDropout1D": ("rate",),
    "GaussianDropout": ("rate",),
    "AlphaDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "ActivityRegularization": ("l1", "l2"),
    "LayerNormalization": ("epsilon", "center", "scale", "beta_initializer", "gamma_initializer"),
    "RMSNormalization": ("epsilon",),
    "BatchNormalization": ("momentum", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer",
                           "moving_mean_initializer", "moving_variance_initializer"),
    "UnitNormalization": (),
    "Normalization": ("axis", "mean", "variance", "invert"),
    "Rescaling": ("scale", "offset"),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "PReLU": ("alpha_initializer", "shared_axes"),
    "Softmax": (),
    "Identity": (),
    "Concatenate": ("axis",),
    "Dot": ("axes", "normalize"),
    **dict.fromkeys(("Add", "Multiply", "Subtract", "Maximum", "Minimum", "Average"), ()),
    "Attention": ("use_scale", "score_mode", "dropout"),
    "AdditiveAttention": ("use_scale", "dropout"),
    "MultiHeadAttention": ("num_heads", "key_dim", "value_dim", "output_shape", *_HEADS),
    "GroupQueryAttention": ("head_dim", "num_query_heads", "num_key_value_heads", *_HEADS),
}  # fmt: skip
# Of the call in Keras.
CALL_OPTIONS = ("use_causal_mask", "return_attention_scores")
_UNTRAINED = {"SpatialDropout1D"}  # whose constructor has no `trainable`
# Activations of Keras that this library computes by their names.
_ACTIVATIONS = {
    "linear", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "softsign", "softplus", "hard_sigmoid", "softmax", "gelu",
    "silu", "swish", "mish", "selu", "relu6", "celu", "exponential", "hard_silu", "hard_swish", "hard_tanh",
    "hard_shrink", "soft_shrink", "tanh_shrink", "squareplus", "log_sigmoid", "log_softmax", "sparse_plus",
    "sparse_sigmoid",
}  # fmt: skip


class Unknown(ValueError):
    """What Keras lacks."""


def entry_of(layer: Any, name: str | None = None) -> dict[str, Any]:
    """Keras's entry of a layer.

    Raises
    ------
    ValueError
        For a layer or a setting that Keras lacks.
    """
    cls = type(layer).__name__
    name = name or layer.name
    if cls == "Bidirectional":
        config = _bidirectional(layer)
    elif cls == "TimeDistributed":
        config = {"layer": entry_of(layer.layer)}
    elif cls == "StackedRNN":
        cls, config = "RNN", _stacked(layer)
    elif cls in KEYS:
        cls, config = _changed(layer, cls)
        if getattr(layer, "_by_cell", False):
            cls, config = "RNN", _of_cell(layer, config)
    else:
        raise Unknown(f"layer '{name}' ({layer.type}): Keras has no such layer")
    common = {"name": name, "dtype": "float32", **({} if cls in _UNTRAINED else {"trainable": layer.trainable})}
    return entry(cls, {**common, **config})


def _of_cell(layer: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an RNN of a cell, of those of its layer."""
    around = {key: config[key] for key in _TIME}
    inner = {key: value for key, value in config.items() if key not in _TIME}
    return {**around, "cell": entry(f"{layer.type}Cell", {"name": f"{layer.name}_cell", **inner})}


def entry(cls: str, config: Mapping[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": cls, "config": dict(config), "registered_name": None}


def _changed(layer: Any, cls: str) -> tuple[str, dict[str, Any]]:
    """The class and settings of a layer whose class both have."""
    _check_rest(layer, cls)
    if cls == "Activation" and isinstance(layer.activation, Mapping):
        # Activations with parameters are layers in Keras.
        given = dict(layer.activation)
        if given.get("name") == "leaky_relu":
            return "LeakyReLU", {"negative_slope": given["alpha"]}
        if given.get("name") == "elu":
            return "ELU", {"alpha": given["alpha"]}
    config = {key: _value(layer, key) for key in KEYS[cls]}
    if cls in ("SimpleRNN", "LSTM", "GRU") and layer.reverse:
        config["go_backwards"] = True
    if cls == "PReLU" and config["shared_axes"] is None:
        del config["shared_axes"]
    return cls, {**config, **_rules(layer)}


def _check_rest(layer: Any, cls: str) -> None:
    """Refuse what is neither in KEYS nor as a plain layer has it."""
    skipped = {*KEYS[cls], *CALL_OPTIONS, *_IN_TRAINING}
    found = {}
    for key, value in layer.config().items():
        if key in skipped or value is None or value is False or (key == "normalization_epsilon"):
            continue
        if key == "reverse" and not layer.return_sequences:
            continue  # the same as go_backwards, where there is one output
        if key in ("axis", "shared_axes", "data_format", "regularizers", "constraints", "activity_regularizer"):
            continue
        if key == "precision" and value == "float32":
            continue
        found[key] = value
    for key in ("dropout", "recurrent_dropout"):
        found.pop(key, None)
    if getattr(layer, "recurrent_weight_dropout", 0.0):
        found["recurrent_weight_dropout"] = layer.recurrent_weight_dropout
    if found:
        listed = ", ".join(f"{key}={value!r}" for key, value in found.items())
        raise Unknown(f"layer '{layer.name}' ({layer.type}): Keras has no {listed}")


def _value(layer: Any, key: str) -> Any:
    value = getattr(layer, key)
    if key in ("activation", "recurrent_activation"):
        return _activation(value, layer, key)
    if key.endswith("_initializer"):
        return _initializer(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _activation(value: Any, layer: Any, key: str) -> str:
    name = value.get("name") if isinstance(value, Mapping) else value
    usual = {"leaky_relu": 0.2, "elu": 1.0}
    parameters = isinstance(value, Mapping) and len(value) > 1 and "equations" not in value
    if parameters and (name not in usual or value.get("alpha") != usual[name]):
        name = None
    if isinstance(value, Mapping) and "equations" in value:
        from rekur import activations

        known = name in activations.LIBRARY and activations.to_spec(name, "", softmax=True) == dict(value)
        name = name if known else None
    if name not in _ACTIVATIONS:
        raise Unknown(f"layer '{layer.name}' ({layer.type}): Keras has no {key}={value!r}")
    return str(name)


_INITIALIZERS = {
    "constant": ("Constant", {"value": "value"}),
    "uniform": ("RandomUniform", {"low": "minval", "high": "maxval"}),
    "normal": ("RandomNormal", {"mean": "mean", "stddev": "stddev"}),
    "truncated_normal": ("TruncatedNormal", {"mean": "mean", "stddev": "stddev"}),
    "variance_scaling": ("VarianceScaling", {k: k for k in ("scale", "mode", "distribution")}),
    "orthogonal": ("Orthogonal", {"gain": "gain"}),
    "identity": ("Identity", {"gain": "gain"}),
}
_PLAIN_INITIALIZERS = {
    "zeros": "Zeros", "ones": "Ones", "glorot_uniform": "GlorotUniform", "glorot_normal": "GlorotNormal",
    "he_uniform": "HeUniform", "he_normal": "HeNormal", "lecun_uniform": "LecunUniform",
    "lecun_normal": "LecunNormal",
}  # fmt: skip


def _initializer(value: Any) -> Any:
    """Keras's of an initialiser; zeros for one that Keras lacks, whose weights are in the file anyway."""
    name = value.get("name") if isinstance(value, Mapping) else value
    if name in _PLAIN_INITIALIZERS:
        return entry(_PLAIN_INITIALIZERS[name], {}, "keras.initializers")
    if name in _INITIALIZERS:
        cls, keys = _INITIALIZERS[name]
        given = value if isinstance(value, Mapping) else {}
        config = {theirs: given[ours] for ours, theirs in keys.items() if ours in given}
        return entry(cls, config, "keras.initializers")
    return entry("Zeros", {}, "keras.initializers")


_RULES = {
    "l1": ("L1", "regularizers"), "l2": ("L2", "regularizers"), "l1_l2": ("L1L2", "regularizers"),
    "orthogonal": ("OrthogonalRegularizer", "regularizers"), "max_norm": ("MaxNorm", "constraints"),
    "unit_norm": ("UnitNorm", "constraints"), "min_max_norm": ("MinMaxNorm", "constraints"),
    "non_neg": ("NonNeg", "constraints"),
}  # fmt: skip


def _rules(layer: Any) -> dict[str, Any]:
    """Regularizers and constraints, by the names of Keras's arguments."""
    found: dict[str, Any] = {}
    for kind in ("regularizer", "constraint"):
        given = layer._rules.get(f"{kind}s", {})
        for name, parameter in layer._ruled.items():
            if (rule := given.get(parameter)) is not None:
                found[f"{name}_{kind}"] = _rule(rule)
    if layer._activity is not None:
        found["activity_regularizer"] = _rule(layer._activity)
    return found


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    cls, module = _RULES[rule["name"]]
    return entry(cls, {key: value for key, value in rule.items() if key != "name"}, f"keras.{module}")


def _bidirectional(layer: Any) -> dict[str, Any]:
    if layer.residual:
        raise Unknown(f"layer '{layer.name}' (Bidirectional): Keras has no residual=True")
    forward = entry_of(layer.inner, f"forward_{layer.inner.name}")
    if layer._backward is not None:
        backward = entry_of(layer._backward, f"backward_{layer._backward.name}")
    else:
        backward = entry_of(layer.inner, f"backward_{layer.inner.name}")
    backward["config"]["go_backwards"] = True
    return {"layer": forward, "backward_layer": backward, "merge_mode": layer.merge_mode}


def _stacked(layer: Any) -> dict[str, Any]:
    from rekur.layers.cells import BuiltInCell

    cells = []
    for k, cell in enumerate(layer._cell._cells):
        if not isinstance(cell, BuiltInCell):
            raise Unknown(f"layer '{layer.name}' (RNN): Keras has no {cell!r}")
        of = cell._layer
        _check_rest(of, of.type)
        keys = [key for key in KEYS[of.type] if key not in _TIME]
        config = {"name": f"{of.type.lower()}_cell_{k}", **{key: _value(of, key) for key in keys}, **_rules(of)}
        cells.append(entry(cell.type, config))
    config = {key: getattr(layer, key) for key in ("return_sequences", "return_state", "go_backwards", "stateful")}
    return {**config, "cell": entry("StackedRNNCells", {"cells": cells})}
