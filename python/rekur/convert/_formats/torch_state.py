"""PyTorch's state_dict: tensors by name, in a file of torch.save, a .safetensors file or a dict."""

import os
from typing import Any

import numpy as np

from rekur.convert._needs import needed
from rekur.convert._parts import Part
from rekur.convert._registry import Format
from rekur.convert._source import Source, as_array
from rekur.convert._torch_file import contents, is_torch_file, state_dict
from rekur.convert._torch_parts import parts_of
from rekur.convert._torch_write import state_dict_of


def _recognises(source: Source) -> bool:
    if is_torch_file(source):
        return True
    leaves = [name.rpartition(".")[2] for name in source.array_names]
    return any(leaf == "weight" or leaf.startswith(("weight_ih", "weight_hh")) for leaf in leaves)


def _parts(source: Source, key: str | None = None, prefix: str = "") -> dict[str, Part]:
    for name, given in (("key", key), ("prefix", prefix)):
        if given is not None and not isinstance(given, str):
            raise TypeError(f"{source}: {name}: expected a text, got {given!r}")
    if source.path is not None and not source.is_safetensors:
        found = state_dict(contents(source), str(source), key)
        arrays = {name: as_array(tensor, name) for name, tensor in found.items()}
    else:
        if source.path is None and not source.array_names:
            arrays = {n: as_array(t, n) for n, t in state_dict(source.object, str(source), key).items()}
        else:
            arrays = source.arrays()
        if key is not None and not (source.path is None and not source.array_names):
            raise ValueError(f"{source}: key: it is a flat list of tensors, which has no keys")
    if prefix:
        arrays = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    if not arrays:
        raise ValueError(
            f"{source}: there are no tensors in it" + (f" whose names begin with '{prefix}'" * bool(prefix))
        )
    return parts_of(arrays, str(source))


def _make(model: Any) -> dict[str, Any]:
    return state_dict_of(model)


def _save(model: Any, path: str) -> None:
    arrays = state_dict_of(model)
    if path.lower().endswith(".safetensors"):
        from rekur import _core

        _core.write_safetensors(os.fsencode(path), {"format": "pt"}, arrays)
        return
    import collections
    import io

    from rekur import _files

    torch = needed("torch", "writing files of torch.save")
    buffer = io.BytesIO()
    tensors = collections.OrderedDict((name, torch.from_numpy(np.array(array))) for name, array in arrays.items())
    torch.save(tensors, buffer)
    _files.write_atomic(path, buffer.getvalue())


FORMAT = Format(
    name="torch",
    title="PyTorch, weights",
    given="a `state_dict`: `.pt`, `.pth`, `.safetensors`, a dict of arrays or tensors; a checkpoint that has one",
    recognises=_recognises,
    reads="RNN, LSTM (with `proj_size`), GRU, their cells, Linear, Embedding, Conv1d, ConvTranspose1d, LayerNorm, "
    "RMSNorm, BatchNorm1d; order and activations are asked for",
    writes="the weights of layers that torch has; also `.safetensors` by `format=`",
    suffixes=(".pt", ".pth"),
    parts=_parts,
    save=_save,
    make=_make,
    load_options={
        "key": "where in a checkpoint the state_dict is, with dots between the keys",
        "prefix": "what the names of the tensors begin with; others are left out",
    },
    needs="torch",
    checked="torch; `.safetensors` and dicts need no torch",
)
