"""Classes of one's own, as Keras has them, that nothing here would ever call: refused where they are defined."""

_REASONS = {
    "layer": "layers of one's own are not here yet: the engine computes, and Python code inside a model would never "
    "run. layers.Lambda takes equations of a row and rekur.cell those of a recurrent step; or put it together of the "
    "layers that there are, or compute on the arrays before fit and after predict",
    "model": "models whose call or training step is Python code are not here yet. Call layers on rekur.Input and make "
    "rekur.Model(inputs, outputs), or a rekur.Sequential; a subclass may do so in its __init__ and hand them to "
    "super().__init__(inputs, outputs). A loop of one's own calls train_on_batch",
    "optimizer": "optimizers of one's own are not here yet: the engine takes the steps",
    "initializer": "initializers of one's own are not here yet. Draw the values with NumPy and call set_weights on the "
    "layer or the model",
}


def own_code(kind: str, name: str) -> str:
    """The message for a class ``name`` of one's own that derives from a ``"layer"``, ``"model"``, …."""
    return f"class {name}: {_REASONS[kind]} (docs/coming-from-keras.md)"
