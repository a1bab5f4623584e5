"""Arguments of Keras's methods and callbacks that there are not here; see arguments.py."""

from rekur._keras.arguments import Foreign, Table, _none, _values


def _never(_: object) -> bool:
    return False


def _of(where: str, *names: str) -> Table:
    """Arguments that another function takes."""
    return dict.fromkeys(names, Foreign(_never, where))


_RATE = _of(
    "the optimizer has it: compile(optimizer=rekur.optimizers.Adam(learning_rate=…))",
    *("learning_rate", "lr", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm"),
)
_COMPILED = _of("give it to compile", "optimizer", "loss", "metrics", "loss_weights", "seed")
_MASK = _of(
    "mask= takes one flag a step, lengths= the steps of rows that are padded at their end",
    *("masks", "sequence_length", "sequence_lengths", "input_length"),
)
_CLASS_WEIGHT: Table = {
    "class_weight": Foreign(
        _none, "give each row its class's weight: sample_weight=numpy.array([weights[c] for c in labels])"
    ),
}
_RESET: Table = {
    "reset_metrics": Foreign(_values(True), "what it returns is of this batch alone; evaluate gathers over batches"),
}
_OVERWRITE: Table = {
    "overwrite": Foreign(_values(True), "what stands at the path is replaced: ask os.path.exists first"),
    "save_format": Foreign(_none, "models are saved as .safetensors; rekur.onnx.export writes ONNX"),
    "options": Foreign(_none, "files are written to a path of this machine"),
}
_FILEPATH = _of("it is called filepath", "path", "filename", "file")

METHODS: dict[str, Table] = {
    "compile": {
        "run_eagerly": Foreign(
            _values(None, False), "the engine runs no Python code; a callback's on_train_batch_end sees every step"
        ),
        "steps_per_execution": Foreign(_values(None, 1, "auto"), "every step is one call of the engine"),
        "jit_compile": Foreign(_values("auto", None, False), "the engine is compiled already"),
        "auto_scale_loss": Foreign(_values(True, False, None), "all is float32, whose gradients need no scaling"),
        "sample_weight_mode": Foreign(_none, "sample_weight= of shape (B, T) weighs steps"),
        "target_tensors": Foreign(_none, "targets are given to fit"),
        "distribute": Foreign(_none, "a model is trained on one machine"),
        "pss_evaluation_shards": Foreign(_values(0), "a model is trained on one machine"),
        **_RATE,
        **_of("give it to fit", "batch_size", "epochs", "callbacks", "validation_data", "shuffle", "sample_weight"),
    },
    "fit": {
        **_RATE,
        **_COMPILED,
        **_MASK,
    },
    "evaluate": {**_CLASS_WEIGHT, **_COMPILED, **_MASK},
    "predict": dict(_MASK),
    "train_on_batch": {**_RESET, **_RATE, **_COMPILED, **_MASK},
    "test_on_batch": {**_CLASS_WEIGHT, **_RESET, **_COMPILED, **_MASK},
    "predict_on_batch": dict(_MASK),
    "save": {
        **_OVERWRITE,
        **_FILEPATH,
        "zipped": Foreign(_none, "a model is one .safetensors file"),
        "include_optimizer": Foreign(_values(True), "save_weights leaves out the optimizer"),
        "signatures": Foreign(_none, "rekur.onnx.export writes what other programs run"),
        "save_traces": Foreign(_values(True), "a file holds no code"),
    },
    "quantize": {
        "config": Foreign(_none, "weights have a scale a column and rows one each, always (docs/precision.md)"),
        "filters": Foreign(_none, "keep= names the layers that stay float32"),
    },
    "save_weights": {
        **_OVERWRITE,
        **_FILEPATH,
        "max_shard_size": Foreign(_none, "all weights are in one file"),
    },
    "load_weights": {
        **_FILEPATH,
        "options": Foreign(_none, "files are read from a path of this machine"),
    },
}

CALLBACKS: dict[str, Table] = {
    "ModelCheckpoint": {
        "period": Foreign(_values(1), "save_freq= counts batches: of several epochs it is so many times those of one"),
        "options": Foreign(_none, "files are written to a path of this machine"),
        **_FILEPATH,
    },
    "ReduceLROnPlateau": {"epsilon": Foreign(_never, "it is called min_delta")},
    "BackupAndRestore": {"save_before_preemption": Foreign(_values(False), "give save_freq= a number of batches")},
    "TensorBoard": {
        "profile_batch": Foreign(_values(0), "no Python runs within a step; perf and py-spy see the whole process"),
        "embeddings_metadata": Foreign(_none, "write the metadata into the projector's folder"),
        "write_grads": Foreign(_values(False), "model.gradients computes them"),
    },
}
