"""Methods and attributes of Keras's models, layers and optimisers that those of rekur lack, with what to do instead."""

from rekur._keras import arguments

_FLOAT32 = "all is float32"
_LOOP = (
    "the engine takes the steps; train_on_batch, test_on_batch, gradients and apply_gradients make a loop of one's own"
)
_MASKS = "masks follow the time axis by themselves, through every layer that passes them (docs/layers.md)"
_RULED = ("kernel", "recurrent", "bias", "embeddings", "gamma", "beta", "alpha")

_COMMON = {
    "dtype": _FLOAT32,
    "dtype_policy": _FLOAT32,
    "compute_dtype": _FLOAT32,
    "variable_dtype": _FLOAT32,
    "autocast": _FLOAT32,
    "add_metric": "make the tensor an output and give compile(metrics=[…]) one for it",
    "add_variable": "a class derived from rekur.Layer has add_weight, in build",
    "call": "call the object itself; a class derived from rekur.Layer or rekur.Model defines it",
    "compute_mask": _MASKS,
    "supports_masking": _MASKS,
}

_MODEL = {
    **_COMMON,
    "to_yaml": "model.spec is the description, rekur.Model.from_spec reads it",
    "export": "rekur.onnx.export writes ONNX, rekur.export_cpp a C++ header",
    "add_weight": "a class derived from rekur.Layer has it, in build",
    "operations": "layers",
    "fit_generator": "fit takes generators",
    "evaluate_generator": "evaluate takes generators",
    "predict_generator": "predict takes generators",
    "predict_classes": "numpy.argmax(model.predict(x), axis=-1)",
    "predict_proba": "predict",
    "get_metrics_result": "evaluate gives the metrics",
    "losses": "evaluate gives the loss",
    "run_eagerly": "the engine computes, always",
    "jit_compile": "there is nothing to compile",
    "train_step": _LOOP,
    "test_step": _LOOP,
    "predict_step": _LOOP,
    "compute_loss": _LOOP,
    "compute_metrics": _LOOP,
    "make_train_function": _LOOP,
    "make_test_function": _LOOP,
    "make_predict_function": _LOOP,
    "compute_output_shape": "see output_shape",
}

_LAYER = {
    **_COMMON,
    "quantize": "rekur.quantize(model, 'int8') chooses among a model's layers; precision= of the layer says it before",
    **dict.fromkeys(
        (
            "activity_regularizer",
            *(f"{of}_{kind}" for of in _RULED for kind in ("regularizer", "constraint")),
        ),
        "layers that have it take it in the constructor and show it in get_config()",
    ),
    "losses": "evaluate of the model gives the loss, what layers and regularizers add to it included",
    "metrics": "metrics belong to the model: compile(metrics=…)",
}

_OPTIMIZER = {
    "variables": "what it gathers belongs to the model, and is saved with it",
    "build": "compile does",
    "apply_gradients": "train_on_batch takes a step; apply_gradients of the model takes gradients of one's own",
    "apply": "train_on_batch takes a step; apply_gradients of the model takes gradients of one's own",
    "update_step": "the engine takes the steps",
    "minimize": "train_on_batch takes a step",
}

_KINDS: dict[str, dict[str, str]] = {"model": _MODEL, "layer": _LAYER, "optimizer": _OPTIMIZER}


def advice(kind: str, name: str) -> str:
    """What to do instead of an attribute of a model, layer or optimizer, by that word; empty where nothing is known."""
    found = _KINDS[kind].get(name)
    if found is None:  # what is no argument is no attribute either
        tables = {"layer": arguments.LAYERS, "optimizer": arguments.OPTIMIZERS}.get(kind, ())
        found = next((table[name].advice for table in tables if name in table), "")
    return found
