"""A file whose first part no layer here computes: that part stays with onnxruntime, the rest is a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._files import write_atomic
from rekur._validate import as_path, check_data
from rekur.onnx._errors import LoadError
from rekur.onnx._import.interface import to_model
from rekur.onnx._import.known import DTYPES
from rekur.onnx._import.load import build, check_mappings, constants_of
from rekur.onnx._import.order import ordered
from rekur.onnx._import.part import flattened, names_of, part_of, sized
from rekur.onnx._import.read import read_model
from rekur.onnx._import.values import View
from rekur.onnx._import.walk import branches
from rekur.onnx._session import run_session

if TYPE_CHECKING:
    from rekur.models import Model

RECURRENT = ("RNN", "GRU", "LSTM", "Loop", "Scan")
Arrays = NDArray[np.float32] | list[NDArray[np.float32]]


class Fronted:
    """A file in two parts: a front that onnxruntime runs as it is, and the model behind it, which is trained as any.

    Made by :func:`load_with_front`.

    Attributes
    ----------
    model : Model
        What stands behind the cut. Its inputs are the tensors at the cut, batch-first.
    cut : list of str
        Their names in the file.
    """

    def __init__(self, model: Model, cut: list[str], views: list[View], front: Any) -> None:
        self.model = model
        self.cut = cut
        self._views = views
        self._front = front
        self._session: Any = None

    def features(self, inputs: Any) -> Arrays:
        """What the front makes of the file's inputs, as the model takes it: an array, or a list of them.

        Parameters
        ----------
        inputs : array or dict of array
            By their names in the file and in its layout; an array alone where the file has one input.

        Raises
        ------
        ValueError
            An input is missing or unknown, has another shape than the file says or an axis of size 0, or elements
            that the file's type does not hold; float64 becomes float32.
        """
        names = [value.name for value in self._front.graph.input]
        given = dict(inputs) if isinstance(inputs, Mapping) else {names[0]: inputs} if len(names) == 1 else None
        if given is None or set(given) != set(names):
            found = sorted(map(str, given)) if given is not None else f"a {type(inputs).__name__}"
            raise ValueError(f"features: expected a dict of the file's inputs {names}, got {found}")
        feed = {value.name: _as_declared(given[value.name], value) for value in self._front.graph.input}
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            data = self._front.SerializeToString()
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        try:
            made = run_session(self._session, feed)
        except ValueError:
            raise
        except Exception as error:  # onnxruntime's, which share no public base
            shapes = ", ".join(f"'{name}' of shape {array.shape}" for name, array in feed.items())
            raise ValueError(f"features: onnxruntime does not run the front on {shapes}: {error}") from None
        parts = [
            np.asarray(part, np.float32)
            for name, view, array in zip(self.cut, self._views, made, strict=True)
            for part in to_model(array, view, name)
        ]
        return parts[0] if len(parts) == 1 else parts

    def predict(self, inputs: Any, **options: Any) -> Any:
        """The model's outputs, batch-first, on the file's inputs; options as of :meth:`rekur.Model.predict`."""
        return self.model.predict(self.features(inputs), **options)

    def save_front(self, path: str | os.PathLike[str]) -> None:
        """Write the front as an ONNX file of its own; :func:`export` writes the model behind it."""
        write_atomic(as_path(path, "save_front"), self._front.SerializeToString())


def _as_declared(given: Any, value: Any) -> NDArray[Any]:
    """An input of the front in the file's element type; of a shape that the file allows."""
    what = f"features: input '{value.name}'"
    check_data(given, what)
    array, kind = np.asarray(given), value.type.tensor_type
    dtype = DTYPES.get(kind.elem_type)
    if dtype is not None and array.dtype != dtype:
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise ValueError(f"{what}: expected {np.dtype(dtype)}, got {array.dtype}")
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        if array.dtype.kind in "iu" and cast.dtype.kind in "iu" and (cast != array).any():
            raise ValueError(f"{what}: its numbers do not fit into {np.dtype(dtype)}")
        array = cast
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    fits = len(sizes) == array.ndim and all(n in (None, m) for n, m in zip(sizes, array.shape, strict=True))
    if kind.HasField("shape") and not fits:
        shown = ", ".join("?" if size is None else str(size) for size in sizes)
        raise ValueError(f"{what}: expected shape ({shown}), got {array.shape}")
    return array


def load_with_front(
    path: str | os.PathLike[str],
    cut: Iterable[str] | None = None,
    *,
    outputs: Iterable[str] | None = None,
    bind: Mapping[str, Any] | None = None,
    sizes: Mapping[Any, int] | None = None,
    seed: int | None = None,
) -> Fronted:
    """A file whose first layers are none of this package, convolutions over images say: a front and a trainable model.

    The front stays ONNX and is run by onnxruntime, so it is not trained; ``fronted.model`` is what stands behind it.

    Parameters
    ----------
    path
        The file; external data is not read.
    cut
        Names of the tensors at which the model begins. None: what the first recurrent nodes read.
    outputs, bind, sizes, seed
        As of :func:`load`.

    Raises
    ------
    LoadError
        The file is damaged, no recurrent node is in it, or a node behind the cut does what no layer can.
    ValueError
        A name is none of the file's, or the outputs need something else besides ``cut``.

    Examples
    --------
        reader = rekur.onnx.load_with_front("crnn.onnx")     # a CRNN: convolutions over an image, an LSTM along it
        reader.predict(images)                                # as the file, batch-first
        x = reader.features(images)                           # once; then train what reads them
        reader.model.compile("adam", "ctc"); reader.model.fit(x, labels)
    """
    source = Path(as_path(path, "load_with_front"))
    check_mappings(bind, sizes)
    proto = sized(read_model(source), sizes or {})
    bound = constants_of(proto, bind or {})
    if bound:
        proto = flattened(proto, branches(proto, None, bound))
    names = _first_read(proto) if cut is None else names_of(cut, "cut")
    own = {value.name for value in proto.graph.input}
    behind = part_of(proto, names, outputs, bound, "cut")
    left = {name: array for name, array in bound.items() if name in {v.name for v in behind.graph.input}}
    loaded = build(behind, None, left, seed)
    front = part_of(proto, None, names, bound)
    if open_ := [value.name for value in front.graph.input if value.name in bound]:
        front = _with_constants(front, {name: bound[name] for name in open_})
    if all(name in own for name in names):
        raise ValueError(f"cut: {names} are inputs of the file; rekur.onnx.load loads it as it is")
    views = []
    for name in names:
        view = loaded.finished.inputs.get(name)
        if not isinstance(view, View) or view.ids:
            raise LoadError(f"{source}: '{name}' is no tensor of numbers that a model could begin with")
        views.append(view)
    return Fronted(loaded.model, names, views, front)


def _first_read(proto: Any) -> list[str]:
    """What recurrent nodes read behind which no other one stands."""
    nodes = ordered(proto.graph)
    stored = {tensor.name for tensor in proto.graph.initializer}
    below: set[str] = set()  # made of something recurrent
    found: list[str] = []
    for node in nodes:
        recurrent = node.op_type in RECURRENT and node.input
        if recurrent and not any(name in below for name in node.input):
            scanned = [name for name in node.input[:1] if name and name not in stored]
            found += [name for name in scanned if name not in found]
        if recurrent or any(name in below for name in node.input):
            below.update(name for name in node.output if name)
    if not found:
        raise LoadError("the file has no recurrent node that a model could begin with; say cut=[names of tensors]")
    return found


def _with_constants(proto: Any, bound: Mapping[str, NDArray[Any]]) -> Any:
    """A front whose bound inputs are constants of the file."""
    import onnx

    kept = [value for value in proto.graph.input if value.name not in bound]
    copies = [type(value).FromString(value.SerializeToString()) for value in kept]
    del proto.graph.input[:]
    proto.graph.input.extend(copies)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in bound.items())
    return proto
