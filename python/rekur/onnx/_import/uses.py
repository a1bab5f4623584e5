"""Who reads what in a graph of layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rekur.onnx._import.graph import Graph, Layer
from rekur.onnx._import.values import Tensor


class Uses:
    """Who reads each tensor."""

    def __init__(self, graph: Graph, outputs: Sequence[Tensor]) -> None:
        self.readers: dict[int, list[Layer | None]] = defaultdict(list)  # None: the model's outputs
        for tensor in outputs:
            self.readers[id(tensor)].append(None)
        for layer in graph.layers:
            for tensor in layer.inputs:
                self.readers[id(tensor)].append(layer)

    def of(self, tensor: Tensor) -> list[Layer | None]:
        return self.readers.get(id(tensor), [])

    def sole(self, tensor: Tensor) -> Layer | None:
        """The one layer that reads it, and nothing else does."""
        readers = self.of(tensor)
        return readers[0] if len(readers) == 1 else None
