"""From symbolic tensors to the layers between them."""

from collections.abc import Sequence

from rekur.layers.base import InputLayer, Layer, SymbolicTensor


def collect_layers(inputs: Sequence[SymbolicTensor], outputs: Sequence[SymbolicTensor]) -> list[Layer]:
    """All layers between inputs and outputs, in the order they were called."""
    for what, tensors in (("inputs", inputs), ("outputs", outputs)):
        if not tensors:
            raise ValueError(f"Model: {what} is empty")
        names = [(t.layer, t.index) for t in tensors]
        if any(names.count(n) > 1 for n in names):
            raise ValueError(f"Model: a tensor is listed twice among the {what}")
    for tensor in inputs:
        if not isinstance(tensor.layer, InputLayer):
            raise ValueError(f"Model: inputs must come from rekur.Input, got the output of {tensor.layer!r}")
    found: dict[Layer, None] = {tensor.layer: None for tensor in inputs}
    waiting = [tensor.layer for tensor in outputs]
    while waiting:
        layer = waiting.pop()
        if isinstance(layer, InputLayer) and layer not in found:
            raise ValueError(f"Model: the outputs depend on {layer!r}, which is not among the inputs")
        if layer not in found or isinstance(layer, InputLayer):
            found[layer] = None
            waiting += [tensor.layer for tensor in layer._inbound]
    return sorted(found, key=lambda layer: layer._serial)
