"""``onnx.backend.base.Backend`` on the engine, so that public conformance suites can run against it.

    import rekur.onnx.backend
    outputs = rekur.onnx.backend.run_model(onnx_model, [x])

A model is loaded as :func:`rekur.onnx.load` does; inputs and outputs here are in the file's layout. Weights may be
inputs of the graph: they are bound in each run. NaN in gives NaN out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.backend.base import Backend, BackendRep, Device, DeviceType

from rekur._validate import check_data
from rekur.onnx._errors import LoadError
from rekur.onnx._import.inputs import BOOL
from rekur.onnx._import.interface import to_file, to_model
from rekur.onnx._import.load import Loaded, build
from rekur.onnx._import.values import View
from rekur.onnx._import.walk import NeedsInput

_Array = NDArray[Any]


class RekurBackendRep(BackendRep):  # type: ignore[misc]
    """A model that was prepared: ``run`` it as often as you like."""

    def __init__(self, model: onnx.ModelProto) -> None:
        stored = {tensor.name for tensor in model.graph.initializer}
        self._model = model
        self._inputs = [value for value in model.graph.input if value.name not in stored]
        self._loaded: Loaded | None = None
        with contextlib.suppress(NeedsInput):  # then weights come with the inputs of each run
            self._loaded = build(model, None)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The graph's outputs.

        Parameters
        ----------
        inputs
            A sequence in the order of the graph's inputs, or a dict by their names; arrays of the declared dtypes.

        Raises
        ------
        LoadError
            With these weights the graph cannot be computed.
        ValueError
            An input is missing, or of another dtype or rank than the graph declares.
        """
        arrays = self._by_name(inputs)
        loaded = self._loaded or self._bind(arrays)
        finished, core = loaded.finished, loaded.model._engine()
        fed: dict[str, _Array] = {}
        lengths: dict[str, _Array] = {}
        for name, view in finished.inputs.items():
            if isinstance(view, View):
                parts = to_model(arrays[name], view, name)
                for (tensor,), part in zip(view.parts, parts, strict=True):
                    fed[finished.names[id(tensor.layer)]] = part.astype(
                        np.float32 if view.features else np.int32, copy=False
                    )
            else:
                lengths.update({source: arrays[name].astype(np.int32) for source in finished.sources.get(name, ())})
        order = [name for name, _, _ in core.inputs]
        rows = [lengths.get(name) for name in order] if lengths else None
        made = dict(zip(finished.spec["outputs"], core.predict([fed[name] for name in order], rows), strict=True))
        types = {value.name: value.type.tensor_type.elem_type for value in self._model.graph.output}
        arrays_out = {
            name: to_file([made[ref] for ref in finished.refs[name]], view) for name, view in finished.outputs.items()
        }
        return tuple(y.astype(bool) if types.get(name) == BOOL else y for name, y in arrays_out.items())

    def _bind(self, arrays: Mapping[str, _Array]) -> Loaded:
        bound: dict[str, _Array] = {}
        while True:
            try:
                return build(self._model, None, bound)
            except NeedsInput as needed:
                if needed.input in bound:
                    raise
                bound[needed.input] = arrays[needed.input]

    def _by_name(self, inputs: Any) -> dict[str, _Array]:
        names = [value.name for value in self._inputs]
        if isinstance(inputs, Mapping):
            given = dict(inputs)
        else:
            values: Sequence[Any] = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
            if len(values) != len(names):
                raise ValueError(f"expected {len(names)} inputs ({', '.join(names)}), got {len(values)}")
            given = dict(zip(names, values, strict=True))
        if set(given) != set(names):
            raise ValueError(f"expected the inputs {names}, got {list(given)}")
        result = {}
        for value in self._inputs:
            check_data(given[value.name], f"input '{value.name}'")
            array, dtype = np.asarray(given[value.name]), _dtype(value)
            if array.dtype != dtype:
                raise ValueError(f"input '{value.name}': expected {dtype}, got {array.dtype}")
            result[value.name] = array
        return result


class RekurBackend(Backend):  # type: ignore[misc]
    """The engine, on the CPU."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model's nodes are understood, as far as can be told before its weights are."""
        if not cls.supports_device(device):
            return False
        try:
            RekurBackendRep(model)
        except LoadError:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> RekurBackendRep:
        """Check and load a model.

        Raises
        ------
        onnx.checker.ValidationError
            It is not valid ONNX.
        LoadError
            A node does what no layer can.
        ValueError
            The device is not the CPU.
        """
        if not cls.supports_device(device):
            raise ValueError(f"expected device 'CPU', got '{device}'")
        super().prepare(model, device, **kwargs)
        return RekurBackendRep(model)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """One node on these inputs, its weights among them; raises what ``prepare`` and ``run`` raise."""
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        opset = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        for k, array in enumerate(inputs):
            check_data(array, f"input {k} of the node")
        arrays = [np.asarray(array) for array in inputs]
        names = [name for name in node.input if name]
        if len(arrays) != len(names):
            raise ValueError(f"expected {len(names)} inputs ({', '.join(names)}), got {len(arrays)}")
        helper = onnx.helper
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, arrays, strict=True)
        ]
        made = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        model = helper.make_model(
            helper.make_graph([node], "node", given, made), opset_imports=[helper.make_opsetid("", opset)]
        )
        return RekurBackendRep(model).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """``"CPU"`` only."""
        try:
            return bool(Device(device).type == DeviceType.CPU)
        except (AttributeError, ValueError):
            return False


def _dtype(value: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    return dtype


is_compatible = RekurBackend.is_compatible
prepare = RekurBackend.prepare
run_model = RekurBackend.run_model
run_node = RekurBackend.run_node
supports_device = RekurBackend.supports_device
