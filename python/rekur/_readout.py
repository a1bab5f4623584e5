"""Ridge regression for a model's last layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rekur import _core
from rekur._spec import dumps
from rekur._validate import real
from rekur.models import Model


def fit_readout(
    model: Model, x: Any, y: Any, *, ridge: float = 1e-6, lengths: Any = None, batch_size: int | None = 32
) -> None:
    """Solve for the weights of a model's last layer, a linear Dense: the read-out of a reservoir, in one step.

    The other layers stay as they are. With S the rows that reach the layer, one a step where it sees sequences, W and b
    minimise Σ (S W + b − y)² + ridge · ΣW², which is solved in float64.

    Parameters
    ----------
    model : Model
        Of one output, which a Dense without activation gives. It need not be compiled.
    x : array or list of arrays
        As for ``predict``.
    y : array of the output's shape
    ridge : float
        From 0 on.
    lengths
        As for ``predict``: steps past a row's end do not count.
    batch_size : int
        Rows at a time.

    Raises
    ------
    ValueError
        If the model does not end so, or the shapes do not fit.
    """
    ridge = real(ridge, "fit_readout: ridge", 0)
    layer = _last_dense(model)
    given = next(entry for entry in model.spec["layers"] if entry["name"] == layer.name)["inputs"]
    states = _below(model, layer.name, given[0]).predict(x, batch_size=batch_size, lengths=lengths)
    targets = np.asarray(y, np.float64)
    if targets.shape != (*states.shape[:-1], layer.units):
        raise ValueError(f"fit_readout: expected y of shape {(*states.shape[:-1], layer.units)}, got {targets.shape}")
    rows, targets = states.astype(np.float64), targets
    if states.ndim == 3:
        valid = np.ones(states.shape[:2], bool)
        if lengths is not None:
            own = lengths[0] if isinstance(lengths, Sequence) and not np.isscalar(lengths[0]) else lengths
            valid = np.arange(states.shape[1]) < np.asarray(own)[:, None]
        rows, targets = rows[valid], targets[valid]
    mean, target_mean = (rows.mean(0), targets.mean(0)) if layer.use_bias and len(rows) else (0.0, 0.0)
    centred = rows - mean
    moments = centred.T @ centred + ridge * np.eye(rows.shape[1])
    kernel = np.linalg.lstsq(moments, centred.T @ (targets - target_mean), rcond=None)[0]
    layer.set_weights([kernel, target_mean - mean @ kernel] if layer.use_bias else [kernel])


def _last_dense(model: Model) -> Any:
    outputs = model.spec["outputs"]
    found = [layer for layer in model.layers if [layer.name] == outputs]
    if not found or found[0].type != "Dense" or found[0].config()["activation"] != "linear":
        ends = f"{found[0]!r}" if found else f"the outputs {outputs}"
        raise ValueError(f"fit_readout: expected a model that ends in one Dense without activation, got {ends}")
    return found[0]


def _below(model: Model, name: str, output: str) -> Model:
    """The model up to a layer, with its weights."""
    spec = dict(model.spec)
    spec["layers"] = [entry for entry in spec["layers"] if entry["name"] != name]
    spec["outputs"] = [output]
    core = _core.Model(dumps(spec))
    flat, weights = core.get_weights(), model.named_weights()
    for key, _, offset in core.parameters:
        flat[offset : offset + weights[key].size] = np.ravel(weights[key])
    core.set_weights(flat)
    return Model._of_core(core)
