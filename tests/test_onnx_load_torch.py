"""Models trained in PyTorch, exported by its own exporters, loaded, tuned here, exported again and verified."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from harness import assert_close, floats
from onnx_graphs import need

torch = pytest.importorskip("torch")

B, T, I, H = 3, 7, 4, 5
CELLS = {
    "RNN": (torch.nn.RNN, {}),
    "RNN-relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (torch.nn.LSTM, {}),
    "GRU": (torch.nn.GRU, {}),
}


class Net(torch.nn.Module):
    """A recurrent stack, with an embedding before it and a head after it where asked for."""

    def __init__(self, cell: str, head: str, embedding: bool = False, **options: Any) -> None:
        super().__init__()
        cls, extra = CELLS[cell]
        self.head, self.batch_first = head, options.get("batch_first", False)
        self.embedding = torch.nn.Embedding(11, I) if embedding else None
        self.rnn = cls(I, H, **extra, **options)
        width = H * (2 if options.get("bidirectional") else 1)
        self.norm = torch.nn.LayerNorm(width)
        self.batchnorm = torch.nn.BatchNorm1d(width)
        self.dropout = torch.nn.Dropout(0.3)
        self.fc = torch.nn.Linear(width, 3)

    def forward(self, x: Any, *states: Any) -> Any:
        x = x if self.embedding is None else self.embedding(x)
        given = (states if len(states) == 2 else states[0]) if states else None
        y, h = self.rnn(x, given)
        time = 1 if self.batch_first else 0
        match self.head:
            case "everything":
                return (y, *h) if isinstance(h, tuple) else (y, h)
            case "tagger":
                return self.fc(torch.relu(y))
            case "last step":
                return self.fc(y.select(time, -1))
            case "last state":
                return torch.softmax(self.fc(h[-1] if not isinstance(h, tuple) else h[0][-1]), -1)
            case "both last states":
                state = h[0] if isinstance(h, tuple) else h
                return torch.sigmoid(self.fc(self.dropout(torch.cat([state[-2], state[-1]], dim=1))))
            case "norms":
                return self.fc(torch.tanh(self.batchnorm(self.norm(y.select(time, -1)))))
        raise AssertionError(self.head)


def dynamo_works() -> bool:
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        return False
    return True


dynamo = pytest.mark.skipif(not dynamo_works(), reason="onnxscript is not installed")
EXPORTERS = ["torchscript", pytest.param("dynamo", marks=dynamo)]


def export(net: Any, args: tuple[Any, ...], path: Path, exporter: str, names: list[str], dynamic: bool = True) -> None:
    time_axis, batch_axis = (1, 0) if net.batch_first else (0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            axes = {"x": {time_axis: "time", batch_axis: "batch"}} | {name: {1: "batch"} for name in names[1:]}
            torch.onnx.export(
                net, args, str(path), dynamo=False, opset_version=17, input_names=names,
                dynamic_axes=axes if dynamic else None,
            )  # fmt: skip
        else:
            batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
            states = tuple({1: batch} for _ in names[1:])
            shapes = ({time_axis: time, batch_axis: batch}, *((states,) if states else ()))
            torch.onnx.export(
                net, args, str(path), dynamo=True, external_data=False, verbose=False, input_names=names,
                dynamic_shapes=shapes if dynamic else None,
            )  # fmt: skip


def batch_major(array: Any, batch_first: bool) -> np.ndarray:
    array = array.detach().numpy()
    return array if batch_first or array.ndim < 3 else np.ascontiguousarray(array.swapaxes(0, 1))


def expected_outputs(net: Net, y: Any) -> list[np.ndarray]:
    """What torch gives, as the loaded model gives it: batch-first, states one by one."""
    if not isinstance(y, tuple):
        return [batch_major(y, net.batch_first)]
    states = [row.detach().numpy() for state in y[1:] for row in state]
    return [batch_major(y[0], net.batch_first), *states]


def predict(model: rekur.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    y = model.predict(inputs if len(inputs) > 1 else inputs[0])
    return y if isinstance(y, list) else [y]


def check(net: Net, path: Path, exporter: str = "torchscript", states: int = 0, dynamic: bool = True) -> rekur.Model:
    """Exported at one size, compared at another; then tuned, exported and verified."""
    torch.manual_seed(5)
    net.eval()
    rng = np.random.default_rng(1)

    def arguments(batch: int, steps: int) -> tuple[Any, ...]:
        shape = (batch, steps) if net.batch_first else (steps, batch)
        ids = torch.from_numpy(rng.integers(0, 11, shape))
        x = ids if net.embedding is not None else torch.from_numpy(floats(rng, *shape, I))
        layers = net.rnn.num_layers * (2 if net.rnn.bidirectional else 1)
        return (x, *(torch.from_numpy(floats(rng, layers, batch, H)) for _ in range(states)))

    names = ["x", *("h0", "c0")[:states]]
    export(net, arguments(B, T), path, exporter, names, dynamic)
    model = rekur.onnx.load(path, seed=2)
    given = model.input_shape[0] if isinstance(model.input_shape, list) else model.input_shape
    args = arguments(2, given[1] or 9)  # the newer exporter fixes the time axis of some
    rows = [row.numpy() for state in args[1:] for row in state]
    x = args[0].numpy() if net.batch_first else np.ascontiguousarray(args[0].numpy().swapaxes(0, 1))
    inputs = [x.astype(np.int32) if net.embedding is not None else x, *rows]
    for y, e in zip(predict(model, inputs), expected_outputs(net, net(*args)), strict=True):
        assert_close(y, e, 1e-5)
    targets = [np.zeros_like(y) for y in predict(model, inputs)]
    model.compile(optimizer="adam", loss="mse")
    fit = model.fit(inputs if len(inputs) > 1 else x, targets if len(targets) > 1 else targets[0], epochs=3, verbose=0)
    assert fit.history["loss"][-1] < fit.history["loss"][0]
    report = rekur.onnx.export(model, path.with_name("tuned.onnx"))
    assert report.verification is not None
    return model


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "time first"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent(cell: str, layers: int, bidirectional: bool, batch_first: bool, bias: bool, tmp_path: Path) -> None:
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    model = check(Net(cell, "everything", **options), tmp_path / "m.onnx")
    kinds = [layer["type"] for layer in model.spec["layers"] if layer["type"] not in ("Input", "Activation")]
    assert kinds == ["Bidirectional" if bidirectional else cell.split("-")[0].replace("RNN", "SimpleRNN")] * layers


@dynamo
def test_dynamo_of_a_stack(tmp_path: Path) -> None:
    check(Net("LSTM", "everything", batch_first=True, num_layers=2), tmp_path / "m.onnx", "dynamo")


@dynamo
def test_dynamo_of_both_directions(tmp_path: Path) -> None:
    check(Net("GRU", "tagger", embedding=True, bidirectional=True), tmp_path / "m.onnx", "dynamo")


@dynamo
def test_dynamo_of_initial_states(tmp_path: Path) -> None:
    net = Net("LSTM", "last state", batch_first=True, num_layers=2)
    assert check(net, tmp_path / "m.onnx", "dynamo", states=2).input_names == ["x", "h0_0", "h0_1", "c0_0", "c0_1"]


@dynamo
def test_dynamo_writes_nn_rnn_out_step_by_step(tmp_path: Path) -> None:
    net = Net("RNN", "tagger", batch_first=True)
    export(net.eval(), (torch.zeros(B, T, I),), tmp_path / "m.onnx", "dynamo", ["x"])
    with pytest.raises(rekur.onnx.LoadError, match="wrote out step by step"):
        rekur.onnx.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("embedding", [False, True], ids=["floats", "ids"])
@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "time first"])
@pytest.mark.parametrize("head", ["tagger", "last step", "last state"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_heads(cell: str, head: str, batch_first: bool, embedding: bool, tmp_path: Path) -> None:
    check(Net(cell, head, embedding, batch_first=batch_first), tmp_path / "m.onnx")


@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "time first"])
@pytest.mark.parametrize("head", ["tagger", "both last states"])
def test_heads_of_both_directions(head: str, batch_first: bool, tmp_path: Path) -> None:
    net = Net("LSTM", head, batch_first=batch_first, bidirectional=True, num_layers=2)
    check(net, tmp_path / "m.onnx")


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_initial_states(cell: str, tmp_path: Path) -> None:
    net = Net(cell, "everything", batch_first=True, num_layers=2)
    model = check(net, tmp_path / "m.onnx", states=2 if cell == "LSTM" else 1)
    assert model.input_names[:3] == ["x", "h0_0", "h0_1"]


def test_sizes_that_the_exporter_fixed(tmp_path: Path) -> None:
    net = Net("GRU", "tagger", batch_first=True, bidirectional=True)
    model = check(net, tmp_path / "m.onnx", dynamic=False)
    assert model.input_shape == (None, T, I)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_norms(exporter: str, tmp_path: Path) -> None:
    need({"type": "LayerNormalization"}, (None, 3))
    need({"type": "BatchNormalization"}, (None, 3))
    check(Net("LSTM", "norms", batch_first=True), tmp_path / "m.onnx", exporter)


def test_last_step_of_both_directions(tmp_path: Path) -> None:
    need({"type": "Step", "index": -1}, (None, None, 3))
    check(Net("GRU", "last step", batch_first=True, bidirectional=True), tmp_path / "m.onnx")
