"""Arguments that Keras has and rekur does not: which values ask for nothing, and what to do instead of the others."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rekur._validate import did_you_mean


class Foreign(NamedTuple):
    """An argument of Keras's."""

    idle: Callable[[Any], bool]  # whether a value asks for nothing (its default, what is done anyway) and may be given
    advice: str


Table = dict[str, Foreign]


def _values(*allowed: object) -> Callable[[Any], bool]:
    def idle(value: Any) -> bool:
        if value is None or isinstance(value, (bool, int, float, str, list, tuple, np.generic)):
            return any(value == a for a in allowed)
        return False

    return idle


def _anything(value: object) -> bool:
    return True


def _is_float32(value: Any) -> bool:
    if value is None:
        return True
    name = getattr(value, "name", value)  # TensorFlow's dtypes and Keras's policies have one
    try:
        return bool(np.dtype(name) == np.float32)
    except TypeError:
        return str(name) == "float32"


def _is_no_training(value: object) -> bool:
    return value is None or value is False or type(value).__name__ == "Training"


def _is_label(value: object) -> bool:
    return value is None or isinstance(value, str)


_none = _values(None)
_SEED = Foreign(_none, "a model has one seed, from which all is drawn: give seed= to it, or call rekur.set_random_seed")
_FLOAT32 = Foreign(_is_float32, "all is computed in float32")
_LAYER_FLOAT32 = Foreign(
    _is_float32,
    "arrays and weights are float32; precision= of a layer or of compile says in what products are computed",
)
_WEIGHTS = Foreign(_none, "call set_weights on the layer once it is part of a model")
_LORA = Foreign(_none, "low-rank adapters are not here yet: the whole layer is trained")
_QUANTIZATION = Foreign(
    _none, "precision='int8' says it of a layer; rekur.quantize and model.quantize round a trained model"
)


def _regularizer(what: str) -> Foreign:
    how = "" if what == "activity" else "; weight_decay= of the optimizer draws weights to zero too"
    return Foreign(_none, f"regularizers of this layer are not here yet{how}")


def _penalties(*parameters: str) -> Table:
    table = {f"{p}_regularizer": _regularizer(p) for p in parameters}
    limit = Foreign(
        _none, "constraints of this layer are not here yet; a callback's on_train_batch_end may call set_weights"
    )
    return {**table, **{f"{p}_constraint": limit for p in parameters}}


_LAYER: Table = {
    "dtype": _LAYER_FLOAT32,
    "autocast": Foreign(_anything, "all is float32"),
    "activity_regularizer": _regularizer("activity"),
    "weights": _WEIGHTS,
    "input_dim": Foreign(_none, "use input_shape="),
    "input_length": Foreign(_none, "use input_shape="),
}

_RECURRENT: Table = {
    "seed": _SEED,
    # How Keras computes, not what.
    "unroll": Foreign(_values(False, True), "leave it out: it changes no numbers"),
    "implementation": Foreign(_values(0, 1, 2), "leave it out: it changes no numbers"),
    "use_cudnn": Foreign(_values("auto", None, False, True), "leave it out: it changes no numbers"),
    "time_major": Foreign(_values(False), "arrays are (rows, steps, features): swap the axes with numpy.swapaxes"),
    "input_dim": Foreign(_none, "use input_shape=(steps, features); steps may be None"),
    "input_length": Foreign(_none, "use input_shape=(steps, features); steps may be None"),
}

_DRAWS: Table = {"seed": _SEED}

_HEADS: Table = {
    **_penalties("kernel", "bias"),
    "seed": _SEED,
    "use_gate": Foreign(_values(False), "multiply the output by a Dense layer's with activation='sigmoid'"),
    "flash_attention": Foreign(_anything, "attention goes by blocks always"),
}

_INPUT: Table = {
    "sparse": Foreign(_values(None, False), "inputs are NumPy arrays: call toarray() on a sparse matrix"),
    "ragged": Foreign(_values(None, False), "pad the rows at their end and give lengths= to fit, evaluate and predict"),
    "tensor": Foreign(_none, "data is given to fit and predict"),
    "input_tensor": Foreign(_none, "data is given to fit and predict"),
    "optional": Foreign(_values(False), "every input of a model gets data"),
}

_LAYERS: dict[str, Table] = {
    "Input": _INPUT,
    "SimpleRNN": _RECURRENT,
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "RNN": _RECURRENT,
    "Dense": {
        "lora_rank": _LORA,
        "lora_alpha": _LORA,
        "quantization_config": _QUANTIZATION,
    },
    "Embedding": {
        "lora_rank": _LORA,
        "lora_alpha": _LORA,
        "quantization_config": _QUANTIZATION,
    },
    "Dropout": {
        "noise_shape": Foreign(
            _none, "each element is dropped by itself; SpatialDropout1D drops a feature in all steps"
        ),
        "seed": _SEED,
    },
    "AlphaDropout": {"noise_shape": Foreign(_none, "each element is dropped by itself"), "seed": _SEED},
    **dict.fromkeys(("SpatialDropout1D", "GaussianDropout", "GaussianNoise", "ConvLSTM1D", "ConvLSTM2D"), _DRAWS),
    "Lambda": {
        "output_shape": Foreign(_none, "leave it out: the shape follows from the function"),
        "mask": Foreign(_none, "masks follow the time axis by themselves"),
    },
    "LayerNormalization": {"rms_scaling": Foreign(_values(False), "RMSNormalization divides by the root mean square")},
    "BatchNormalization": {
        "synchronized": Foreign(_values(False), "a model is trained on one machine"),
        "renorm": Foreign(_values(False), "renormalisation of batches is not here yet"),
        "renorm_clipping": Foreign(_none, "renormalisation of batches is not here yet"),
        "renorm_momentum": Foreign(_values(0.99), "renormalisation of batches is not here yet"),
    },
    "Conv1D": _penalties("kernel", "bias"),
    "Conv1DTranspose": _penalties("kernel", "bias"),
    "DepthwiseConv1D": _penalties("depthwise", "bias"),
    "SeparableConv1D": _penalties("depthwise", "pointwise", "bias"),
    "Attention": _DRAWS,
    "AdditiveAttention": _DRAWS,
    "MultiHeadAttention": {
        **_HEADS,
        "attention_axes": Foreign(_values(None, 1, (1,), [1]), "attention goes over the time axis: there is no other"),
    },
    "GroupQueryAttention": _HEADS,
    "RotaryEmbedding": {
        "sequence_axis": Foreign(_values(1), "axis 1 is the time axis"),
        "feature_axis": Foreign(_values(-1), "the last axis has the features"),
    },
}

_OPTIMIZER: Table = {
    "name": Foreign(_is_label, "leave it out: an optimizer has no name of its own"),
    "loss_scale_factor": Foreign(_values(None, 1), "all is float32, whose gradients need no scaling"),
    "jit_compile": Foreign(_anything, "there is nothing to compile"),
    "decay": Foreign(_values(None, 0), "learning_rate= takes a schedule of rekur.optimizers.schedules"),
}

_LOSS: Table = {
    "name": Foreign(_is_label, "leave it out: logs name the loss of an output after the output"),
    "dtype": _FLOAT32,
}

_METRIC: Table = {"dtype": _FLOAT32}

_ACTIVATION: Table = {
    "negative_slope": Foreign(_none, "it is called alpha"),
    "max_value": Foreign(_none, "layers.ReLU has a ceiling, max_value=; 'relu6' is one of 6"),
    "name": Foreign(_none, "name the layer"),
}

_MODEL: Table = {
    "dtype": _FLOAT32,
    "autocast": Foreign(_anything, "all is float32"),
}

_AXIS: Table = {"axis": Foreign(_values(-1), "classes stand on the last axis, axis=-1")}
_EACH_ROW: Table = {"axis": Foreign(_values(None, -1), "each row or step has a value of its own, axis=-1")}
_FANS: Table = {
    "input_axes": Foreign(_none, "the fans are those of the whole matrix"),
    "output_axes": Foreign(_none, "the fans are those of the whole matrix"),
}
_CLASSES: dict[str, Table] = {
    **dict.fromkeys(
        (
            *("BinaryCrossentropy", "CategoricalCrossentropy", "CosineSimilarity"),
            *("BinaryFocalCrossentropy", "CategoricalFocalCrossentropy", "MeanIoU", "IoU"),
            *("PearsonCorrelation", "ConcordanceCorrelation"),
        ),
        _AXIS,
    ),
    "OneHotIoU": _AXIS,
    "OneHotMeanIoU": _AXIS,
    "Dice": _EACH_ROW,
    "Tversky": _EACH_ROW,
    "SparseCategoricalCrossentropy": {
        **_AXIS,
        "ignore_class": Foreign(_none, "the loss takes it; a metric leaves out what has a sample weight of 0"),
    },
    "SparseTopKCategoricalAccuracy": {
        "from_sorted_ids": Foreign(_values(False), "outputs are scores of classes; sort no ids of them"),
    },
    **dict.fromkeys(
        ("VarianceScaling", "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"),
        _FANS,
    ),
}

_KINDS: dict[str, Table] = {
    "optimizer": _OPTIMIZER,
    "loss": _LOSS,
    "metric": _METRIC,
    "initializer": {},
    "activation": _ACTIVATION,
    "model": _MODEL,
    "call": {
        "training": Foreign(_is_no_training, "leave it out: fit trains, predict and evaluate do not"),
        "mask": Foreign(_none, "Masking and mask_zero make one, and fit, evaluate and predict take mask="),
    },
    "attention call": {
        **dict.fromkeys(
            ("mask", "query_mask", "value_mask", "key_mask"),
            Foreign(
                _none, "masks come with the tensors: from Masking, Embedding(mask_zero=True), or lengths= of the rows"
            ),
        ),
        "attention_mask": Foreign(_none, "use_causal_mask= and sliding_window= say which steps see which"),
    },
    "text": {
        "sparse": Foreign(_values(False), "numbers of entries are plain arrays"),
        "encoding": Foreign(_values("utf-8", "UTF-8"), "bytes are UTF-8; decode others first"),
        "trainable": Foreign(_anything, "there is nothing to train"),
        "dtype": Foreign(_none, "ids are int32, numbers of entries float32"),
        "autocast": Foreign(_anything, "there is nothing to cast"),
        "activity_regularizer": Foreign(_none, "there is nothing to train"),
    },
    "load_model": {
        "custom_objects": Foreign(lambda value: not value, "a file holds no code, and needs none"),
        "safe_mode": Foreign(_anything, "a file holds no code: loading is always safe"),
    },
}


LAYERS = (_LAYER, *_LAYERS.values())
OPTIMIZERS = (_OPTIMIZER,)


def table(kind: str, made: str = "") -> Table:
    """The foreign arguments of a class ``made`` of ``"optimizer"``, ``"loss"``, … or, by its type, of a layer; of a
    ``"method"`` of models by its name.
    """
    if kind in ("method", "callback"):
        from rekur._keras.calls import CALLBACKS, METHODS

        return (METHODS if kind == "method" else CALLBACKS).get(made, {})
    return {**_KINDS[kind], **_CLASSES.get(made, {})} if kind in _KINDS else {**_LAYER, **_LAYERS.get(kind, {})}


def check(kind: str, what: str, given: Mapping[str, object], known: Iterable[str], made: str = "") -> None:
    """Let idle arguments pass.

    Parameters
    ----------
    kind, made : str
        As of :func:`table`.
    what : str
        Whose arguments they are, for the message.
    given : dict
        Those that the signature does not name.
    known : list of str
        Those that it names.

    Raises
    ------
    TypeError
        For the first that asks for something: what to do instead, or the nearest name.
    """
    foreign, names = table(kind, made), [name for name in known if name not in ("self", "options")]
    for key, value in given.items():
        if key not in foreign:
            hint = did_you_mean(key, names) if names else "; it takes none"
            raise TypeError(f"{what} has no argument '{key}'{hint}")
        if not foreign[key].idle(value):
            raise TypeError(f"{what} has no argument '{key}': {foreign[key].advice}")


def check_constructor(kind: str, made: type, given: Mapping[str, object]) -> None:
    """:func:`check` for a constructor's ``**options``; the other names are those of its signature."""
    names = [p.name for p in inspect.signature(made).parameters.values() if p.kind is not p.VAR_KEYWORD]
    ours = next((c.__name__ for c in made.__mro__ if c.__module__.startswith("rekur.")), "")
    check(kind, made.__name__, given, names, ours)


def check_method(function: Callable[..., Any], given: Mapping[str, object]) -> None:
    """:func:`check` for a method's ``**options``; the other names are those of its signature."""
    names = [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    check("method", function.__name__, given, names, function.__name__)
