"""From symbolic tensors to the layers between them."""

from collections.abc import Sequence

from rekur.layers.base import InputLayer, Layer, SymbolicTensor


def collect_layers(inputs: Sequence[SymbolicTensor], outputs: Sequence[SymbolicTensor]) -> list[Layer]:
    """All layers between inputs and outputs, in the order of Keras: the farthest from the outputs first.

    A layer's depth is the number of layers on the longest way from it to an output. Layers of one depth stand in the
    order in which a walk from the outputs, depth first, meets them; inputs that no output depends on come before the
    layers of depth 0. With this order ``get_weights`` of a model and of its twin in Keras list the same arrays.
    """
    for what, tensors in (("inputs", inputs), ("outputs", outputs)):
        if not tensors:
            raise ValueError(f"Model: {what} is empty")
        names = [(t.layer, t.index) for t in tensors]
        if any(names.count(n) > 1 for n in names):
            raise ValueError(f"Model: a tensor is listed twice among the {what}")
    for tensor in inputs:
        if not isinstance(tensor.layer, InputLayer):
            raise ValueError(f"Model: inputs must come from rekur.Input, got the output of {tensor.layer!r}")
    met, finished = _walk(outputs)
    listed = [tensor.layer for tensor in inputs]
    for layer in met:
        if isinstance(layer, InputLayer) and layer not in listed:
            raise ValueError(f"Model: the outputs depend on {layer!r}, which is not among the inputs")

    depth = dict.fromkeys(met, 0)
    for layer in reversed(finished):  # whoever reads a layer comes before it here
        for tensor in layer._inbound:
            depth[tensor.layer] = max(depth[tensor.layer], depth[layer] + 1)
    place = {layer: k for k, layer in enumerate(met)}
    for layer in listed:
        depth.setdefault(layer, 0)
        place.setdefault(layer, -1)
    return sorted(depth, key=lambda layer: (-depth[layer], place[layer]))


def _walk(outputs: Sequence[SymbolicTensor]) -> tuple[list[Layer], list[Layer]]:
    """The layers behind the outputs, in the order a walk depth first meets them, and in the order it leaves them."""
    met: dict[Layer, None] = {}
    finished: list[Layer] = []
    for output in outputs:
        if output.layer in met:
            continue
        met[output.layer] = None
        stack = [(output.layer, iter(output.layer._inbound))]
        while stack:
            layer, sources = stack[-1]
            source = next((t.layer for t in sources if t.layer not in met), None)
            if source is None:
                finished.append(layer)
                stack.pop()
            else:
                met[source] = None
                stack.append((source, iter(source._inbound)))
    return list(met), finished
