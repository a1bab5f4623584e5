"""Classes of one's own, as Keras has them, that nothing here would ever call: refused where they are defined."""

_REASONS = {
    "layer": "a layer of one's own says in `call` what it does, in layers and rekur.ops, and derives from "
    "rekur.layers.Layer itself: the layers that there are have no call of Python to override. layers.Lambda takes "
    "equations of a row and rekur.cell those of a recurrent step",
    "model": "models whose training step is Python code are not here yet, nor a Sequential with a call. A class "
    "derived from rekur.Model says in `call` what it does, in layers and rekur.ops, or hands inputs and outputs to "
    "super().__init__(inputs, outputs). A loop of one's own calls train_on_batch",
    "optimizer": "optimizers of one's own are not here yet: the engine takes the steps",
    "initializer": "initializers of one's own are not here yet. Draw the values with NumPy and call set_weights on the "
    "layer or the model",
    "regularizer": "regularizers of one's own are not here yet: the engine has l1, l2, l1_l2 and "
    "orthogonal_regularizer. What is a function of tensors goes to add_loss in the call of a layer of your own",
    "constraint": "constraints of one's own are not here yet: the engine has max_norm, non_neg, unit_norm and "
    "min_max_norm. A callback may set weights after each batch",
}


def own_code(kind: str, name: str) -> str:
    """The message for a class ``name`` of one's own that derives from a ``"layer"``, ``"model"``, …."""
    return f"class {name}: {_REASONS[kind]} (docs/coming-from-keras.md)"
