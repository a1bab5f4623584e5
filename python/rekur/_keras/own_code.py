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
}


def own_code(kind: str, name: str) -> str:
    """The message for a class ``name`` of one's own that derives from a ``"layer"``, ``"model"``, …."""
    return f"class {name}: {_REASONS[kind]} (docs/coming-from-keras.md)"
