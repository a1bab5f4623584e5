"""Against PyTorch, where it is installed: the float64 reference, passes with copied weights, loss curves.

torch's weight_ih [G·H, I] is a kernel transposed. LSTM gates there: i, f, g, o, as here; GRU gates there: r, z, n,
here z, r, n, and torch's GRU resets after the product. Only a GRU with reset_after keeps both of its biases apart.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, floats, input_layer, model_spec
from rekur import _core

torch = pytest.importorskip("torch")

B, T, I, H = 6, 9, 4, 10
KINDS = {
    "SimpleRNN": (torch.nn.RNN, {}),
    "SimpleRNN-relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (torch.nn.LSTM, {}),
    "GRU": (torch.nn.GRU, {}),
}


def swap_gates(w: np.ndarray, kind: str) -> np.ndarray:
    """r, z, n along the last axis -> z, r, n (and back: it is its own inverse)."""
    if kind != "GRU":
        return w
    r, z, n = np.split(w, 3, axis=-1)
    return np.concatenate([z, r, n], axis=-1)


def from_torch(module: Any, kind: str, suffix: str) -> dict[str, np.ndarray]:
    """kernel, recurrent_kernel and bias of one direction of one layer; suffix: "l0", "l0_reverse"."""

    def get(name: str) -> np.ndarray:
        return getattr(module, f"{name}_{suffix}").detach().numpy()

    bias = np.stack([get("bias_ih"), get("bias_hh")])
    return {
        "kernel": swap_gates(get("weight_ih").T, kind),
        "recurrent_kernel": swap_gates(get("weight_hh").T, kind),
        "bias": swap_gates(bias, kind) if kind == "GRU" else bias.sum(axis=0),
    }


def build(which: str, bidirectional: bool, dtype: Any = torch.float32) -> tuple[Any, Engine]:
    """A torch module and our model of the same weights; ours gives the sequence and every final state."""
    torch.manual_seed(4)
    cls, options = KINDS[which]
    kind = which.split("-")[0]
    module = cls(I, H, batch_first=True, bidirectional=bidirectional, dtype=dtype, **options)
    inner = {"type": kind, "units": H, "return_sequences": True, "return_state": True}
    if kind == "SimpleRNN":
        inner["activation"] = options.get("nonlinearity", "tanh")
    directions = {"forward/": "l0", "backward/": "l0_reverse"} if bidirectional else {"": "l0"}
    states = reference.CELLS[kind].states * len(directions)
    layer = {"type": "Bidirectional", "layer": inner} if bidirectional else inner
    names = ["x", *(f"s{k}" for k in range(states))]
    spec = model_spec(
        [
            input_layer("x", None, I),
            *(input_layer(name, H) for name in names[1:]),
            {**layer, "name": "rnn", "inputs": names},
        ],
        [f"rnn:{k}" for k in range(states + 1)],
    )
    engine = Engine(spec)
    engine.weights = {
        f"rnn/{prefix}{name}": w
        for prefix, suffix in directions.items()
        for name, w in from_torch(module, kind, suffix).items()
    }
    return module, engine


def torch_states(states: list[Any], kind: str) -> Any:
    """Ours in the order forward h(, c), backward h(, c) -> torch's h or (h, c), each [directions, B, H]."""
    if kind != "LSTM":
        return torch.stack(states)
    return torch.stack(states[0::2]), torch.stack(states[1::2])


def our_states(final: Any, kind: str) -> list[Any]:
    if kind != "LSTM":
        return list(final)
    return [state for pair in zip(*final, strict=True) for state in pair]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("which", KINDS)
def test_forward_and_gradients_equal_torch(
    isa: str, rng: np.random.Generator, which: str, bidirectional: bool, packed: bool
) -> None:
    """packed: torch's packed sequences are our lengths."""
    module, engine = build(which, bidirectional)
    kind = which.split("-")[0]
    inputs = [floats(rng, B, T, I), *(floats(rng, B, H) for _ in engine.spec["inputs"][1:])]
    lengths = np.array([9, 1, 4, 9, 2, 7], np.int32) if packed else None
    tensors = [torch.tensor(a, requires_grad=True) for a in inputs]
    x = tensors[0]
    if packed:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    y, final = module(x, torch_states(tensors[1:], kind))
    if packed:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
    want = [y, *our_states(final, kind)]
    dy = [floats(rng, *w.shape) for w in want]
    sum(torch.sum(w * torch.tensor(d)) for w, d in zip(want, dy, strict=True)).backward()

    given = [lengths, *[None] * (len(inputs) - 1)]
    outputs, d_weights, d_inputs = engine.gradients(inputs, dy, given)
    for got, trained, w in zip(engine.predict(inputs, given), outputs, want, strict=True):
        assert_close(got, w.detach().numpy(), 1e-5, "predicted")
        assert_close(trained, w.detach().numpy(), 1e-5, "training pass")
    for dx, tensor in zip(d_inputs, tensors, strict=True):
        assert dx is not None
        assert_close(dx, tensor.grad.numpy(), 2e-5, "gradient of an input")
    prefix = "rnn/forward/" if bidirectional else "rnn/"
    gradient = swap_gates(module.weight_ih_l0.grad.numpy().T, kind)
    assert_close(d_weights[prefix + "kernel"], gradient, 2e-5, "kernel")
    gradient = swap_gates(module.weight_hh_l0.grad.numpy().T, kind)
    assert_close(d_weights[prefix + "recurrent_kernel"], gradient, 2e-5, "recurrent kernel")


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("which", KINDS)
def test_the_reference_equals_torch_in_float64(rng: np.random.Generator, which: str, bidirectional: bool) -> None:
    module, engine = build(which, bidirectional, torch.float64)
    kind = which.split("-")[0]
    weights = {
        f"rnn/{prefix}{name}": w
        for prefix, suffix in ({"forward/": "l0", "backward/": "l0_reverse"} if bidirectional else {"": "l0"}).items()
        for name, w in from_torch(module, kind, suffix).items()
    }
    inputs = [rng.standard_normal((B, T, I)), *(rng.standard_normal((B, H)) for _ in engine.spec["inputs"][1:])]
    lengths = np.array([9, 1, 4, 9, 2, 7])
    tensors = [torch.tensor(a, requires_grad=True) for a in inputs]
    steps = torch.tensor(lengths)
    x = torch.nn.utils.rnn.pack_padded_sequence(tensors[0], steps, batch_first=True, enforce_sorted=False)
    y, final = module(x, torch_states(tensors[1:], kind))
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
    want = [y, *our_states(final, kind)]
    given = [lengths, *[None] * (len(inputs) - 1)]
    for got, w in zip(reference.run(engine.spec, weights, inputs, given), want, strict=True):
        np.testing.assert_allclose(got, w.detach().numpy(), atol=1e-12)

    dy = [rng.standard_normal(w.shape) for w in want]
    sum(torch.sum(w * torch.tensor(d)) for w, d in zip(want, dy, strict=True)).backward()
    gradient = reference.numeric_gradient(
        lambda v: sum(
            float(np.sum(w * d))
            for w, d in zip(reference.run(engine.spec, weights, [v, *inputs[1:]], given), dy, strict=True)
        ),
        inputs[0],
    )
    np.testing.assert_allclose(gradient, tensors[0].grad.numpy(), atol=1e-7)


@pytest.mark.parametrize("name", [name for name in reference.ACTIVATIONS if name != "linear"])
def test_the_references_activations_equal_torch(rng: np.random.Generator, name: str) -> None:
    x = 4 * rng.standard_normal((50, 7))
    t = torch.tensor(x)
    functional = torch.nn.functional
    want = {
        "tanh": lambda: torch.tanh(t),
        "sigmoid": lambda: torch.sigmoid(t),
        "relu": lambda: torch.relu(t),
        "leaky_relu": lambda: functional.leaky_relu(t, 0.2),
        "elu": lambda: functional.elu(t),
        "softsign": lambda: functional.softsign(t),
        "softmax": lambda: torch.softmax(t, -1),
        "hard_sigmoid": lambda: functional.hardsigmoid(t),
        "affine": lambda: t,
        "thresholded_relu": lambda: functional.threshold(t, 1.0, 0.0),
        "scaled_tanh": lambda: 1.7159 * torch.tanh(t * 2 / 3),
        "softplus": lambda: functional.softplus(t, threshold=1000),
    }[name]()
    np.testing.assert_allclose(reference.ACTIVATIONS[name](x), want.numpy(), atol=1e-14)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_loss_curve_follows_torch_over_50_steps_of_adam(rng: np.random.Generator, kind: str) -> None:
    """Two recurrent layers and a Dense; the same initial weights, the same batches, the mean squared error."""
    units, steps, rows, time, features = 24, 50, 16, 20, 3
    torch.manual_seed(11)
    cls = KINDS[kind][0]
    stack = cls(features, units, num_layers=2, batch_first=True)
    head = torch.nn.Linear(units, 1)
    if kind == "LSTM":  # one bias here, two there: the second stays at zero
        for layer in (0, 1):
            getattr(stack, f"bias_ih_l{layer}").data += getattr(stack, f"bias_hh_l{layer}").data
            getattr(stack, f"bias_hh_l{layer}").data.zero_()
            getattr(stack, f"bias_hh_l{layer}").requires_grad_(False)
    spec = model_spec(
        [
            input_layer("x", None, features),
            {"type": kind, "name": "l0", "inputs": ["x"], "units": units, "return_sequences": True},
            {"type": kind, "name": "l1", "inputs": ["l0"], "units": units},
            {"type": "Dense", "name": "y", "inputs": ["l1"], "units": 1},
        ],
        ["y"],
    )
    engine = Engine(spec)
    engine.weights = {
        **{f"{layer}/{name}": w for layer in ("l0", "l1") for name, w in from_torch(stack, kind, layer).items()},
        "y/kernel": head.weight.detach().numpy().T,
        "y/bias": head.bias.detach().numpy(),
    }
    config = {
        "optimizer": {"name": "adam", "learning_rate": 0.003, "epsilon": 1e-8},
        "losses": [{"name": "mean_squared_error"}],
    }
    trainer = _core.Trainer(engine.model, json.dumps(config))
    parameters = [p for p in [*stack.parameters(), *head.parameters()] if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=0.003, eps=1e-8)
    ours, theirs = [], []
    for _ in range(steps):
        x = np.cumsum(0.3 * floats(rng, rows, time, features), axis=1).astype(np.float32)
        target = np.sin(x.sum(axis=(1, 2), keepdims=True)[:, 0] / 5).astype(np.float32)
        ours.append(trainer.step([x], [target])[0])
        optimizer.zero_grad()
        hidden, _ = stack(torch.tensor(x))
        loss = torch.nn.functional.mse_loss(head(hidden[:, -1]), torch.tensor(target))
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert min(theirs[-10:]) < theirs[0]
