"""What rekur is measured against: the same layer in other libraries, each at its best. rekur needs none of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import rekur
from benchmarks.case import Case, Runner
from benchmarks.native import Unavailable
from benchmarks.onednn import OneDnn, compiled


def torch_peer(case: Case) -> Runner:
    """torch.nn's own layer, in inference mode for inference."""
    import torch

    torch.set_num_threads(case.threads)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[case.cell]
    layer = kind(case.I, case.H, batch_first=True)
    x = torch.from_numpy(case.input())
    if case.mode == "infer":
        layer.eval()

        def infer() -> object:
            with torch.inference_mode():
                return layer(x)

        return Runner(infer)
    x.requires_grad_(True)
    dy = torch.ones(case.B, case.T, case.H)

    def train() -> object:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        y, _ = layer(x)
        y.backward(dy)
        return x.grad

    return Runner(train)


def onnxruntime_peer(case: Case) -> Runner | None:
    """The operator of onnxruntime, from the file rekur exports. Inference only."""
    import onnxruntime

    if case.mode != "infer":
        return None
    layer = getattr(rekur.layers, case.layer)(case.H, return_sequences=True)
    model = rekur.Sequential([rekur.Input((None, case.I), name="x"), layer], seed=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        rekur.onnx.export(model, path, verify=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"x": case.input()}
    return Runner(lambda: session.run(None, feed))


def jax_peer(case: Case) -> Runner:
    """lax.scan over a fused step, the input projection of all steps in one product, jitted."""
    import jax
    import jax.numpy as jnp

    H = case.H
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    W = jax.random.normal(keys[0], (case.I, case.gates * H)) * 0.05
    R = jax.random.normal(keys[1], (H, case.gates * H)) * 0.05
    b = jax.random.normal(keys[2], (case.gates * H,)) * 0.05
    x = jnp.asarray(case.input())
    zeros = jnp.zeros((case.B, H))

    def lstm(state, a, R):
        h, c = state
        i, f, g, o = jnp.split(a + h @ R, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(state, a, R):
        (h,) = state
        (z, r, n), (rz, rr, rn) = jnp.split(a, 3, axis=-1), jnp.split(h @ R, 3, axis=-1)
        z = jax.nn.sigmoid(z + rz)
        n = jnp.tanh(n + jax.nn.sigmoid(r + rr) * rn)
        h = n + z * (h - n)
        return (h,), h

    def rnn(state, a, R):
        (h,) = state
        h = jnp.tanh(a + h @ R)
        return (h,), h

    step = {"lstm": lstm, "gru": gru, "rnn": rnn}[case.cell]
    start = (zeros, zeros) if case.cell == "lstm" else (zeros,)

    def layer(x, W, R, b):
        a = jnp.swapaxes(x, 0, 1) @ W + b
        return jax.lax.scan(lambda state, a: step(state, a, R), start, a)[1]

    if case.mode == "infer":
        infer = jax.jit(layer)
        return Runner(lambda: infer(x, W, R, b).block_until_ready())
    dy = jnp.ones((case.T, case.B, H))

    @jax.jit
    def train(x, W, R, b):
        y, back = jax.vjp(layer, x, W, R, b)
        return y, back(dy)

    return Runner(lambda: jax.block_until_ready(train(x, W, R, b)))


def version(name: str) -> str:
    """The version of a peer, or Unavailable."""
    if name == "onednn":
        compiled()
        runner = OneDnn(Case("rnn", 1, 1, 16, 16, "infer", 1))
        runner.close()
        return runner.implementation.split()[0]
    if importlib.util.find_spec(name) is None:
        raise Unavailable("not installed")
    return importlib.metadata.version(name)


PEERS: dict[str, Callable[[Case], Runner | None]] = {
    "torch": torch_peer,
    "jax": jax_peer,
    "onnxruntime": onnxruntime_peer,
    "onednn": OneDnn,
}
