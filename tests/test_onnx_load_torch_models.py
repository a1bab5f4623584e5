"""Models of PyTorch with convolution, pooling, normalisation and attention, exported, loaded, tuned, exported again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
import rekur.onnx
from harness import floats

torch = pytest.importorskip("torch")
nn = torch.nn
C, T = 6, 20  # features, steps


class CnnLstm(nn.Module):
    """Channels first, then a recurrent layer over what the pooling leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(C, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2))
        self.rnn, self.head = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Any) -> Any:
        y, _ = self.rnn(self.front(x).permute(0, 2, 1))
        return self.head(y[:, -1])


class Turned(nn.Module):
    """Features last outside, channels first inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(C, C, 3, padding=1)
        self.norm = nn.LayerNorm(C)

    def forward(self, x: Any) -> Any:
        return self.norm(x + torch.tanh(self.conv(x.transpose(1, 2)).transpose(1, 2)))


class Attends(nn.Module):
    def __init__(self, batch_first: bool, cross: bool = False) -> None:
        super().__init__()
        self.rnn = nn.GRU(C, C, batch_first=batch_first) if cross else None
        self.attention = nn.MultiheadAttention(C, 2, batch_first=batch_first)

    def forward(self, x: Any) -> Any:
        other = x if self.rnn is None else self.rnn(x)[0]
        return self.attention(x, other, other)[0]


def flat() -> Any:
    front = [nn.Conv1d(C, 8, 3, stride=2, padding=1), nn.PReLU(), nn.Conv1d(8, 8, 3, groups=8), nn.PReLU(8)]
    return nn.Sequential(*front, nn.AvgPool1d(2), nn.Flatten(), nn.Linear(32, 4))


def autoencoder() -> Any:
    down = [nn.Conv1d(C, 8, 4, stride=2, padding=1), nn.ReLU()]
    up = [nn.Upsample(scale_factor=2), nn.Conv1d(8, 8, 3, padding=1), nn.MaxPool1d(2), nn.ReLU()]
    return nn.Sequential(*down, *up, nn.ConvTranspose1d(8, C, 4, stride=2, padding=1))


def pooled() -> Any:
    return nn.Sequential(nn.Conv1d(C, 8, 3), nn.ELU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2))


def encoder() -> Any:
    layer = nn.TransformerEncoderLayer(C, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


# what it is, the axis of the features of its input, whether any number of steps goes
MODELS: dict[str, tuple[Callable[[], Any], int, bool]] = {
    "cnn and lstm": (CnnLstm, 1, True),
    "features last": (Turned, 2, True),
    "flattened": (flat, 1, False),
    "autoencoder": (autoencoder, 1, True),
    "mean of all steps": (pooled, 1, True),
    "attention": (lambda: Attends(True), 2, False),
    "attention, steps first": (lambda: Attends(False), 2, False),
    "attention to an encoder": (lambda: Attends(True, cross=True), 2, False),
    "transformer encoder": (encoder, 2, False),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_torch_is_loaded_with_its_numbers_and_trains(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    make, features, dynamic = MODELS[name]
    net, rng = make().eval(), np.random.default_rng(0)
    steps_first = name.endswith("steps first")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    shape = (3, C, T) if features == 1 else (T, 3, C) if steps_first else (3, T, C)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {(1 if steps_first else 0): "batch", **({3 - features: "time"} if dynamic else {})}
        torch.onnx.export(
            net, (torch.from_numpy(floats(rng, *shape)),), str(tmp_path / "m.onnx"), dynamo=False, opset_version=17,
            input_names=["x"], dynamic_axes={"x": axes},
        )  # fmt: skip
    model = rekur.onnx.load(tmp_path / "m.onnx", seed=2)
    x = floats(rng, 5, T + 4 if dynamic else T, C)
    given = x.transpose(0, 2, 1) if features == 1 else x.swapaxes(0, 1) if steps_first else x
    with torch.no_grad():
        y = net(torch.from_numpy(np.ascontiguousarray(given))).numpy()
    found = model.predict(x)
    if y.shape != found.shape or steps_first:
        y = y.swapaxes(0, 1) if steps_first else y.swapaxes(1, 2)
    np.testing.assert_allclose(found, y, atol=1e-5)
    model.compile("adam", "mse")
    target = floats(rng, *found.shape)
    losses = model.fit(x, target, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert rekur.onnx.export(model, tmp_path / "again.onnx").verification is not None


def test_attention_of_torch_is_one_layer_with_its_weights(tmp_path: Path) -> None:
    net = Attends(True).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(2, T, C),), str(tmp_path / "m.onnx"), dynamo=False, opset_version=17)
    model = rekur.onnx.load(tmp_path / "m.onnx")
    assert [layer["type"] for layer in model.spec["layers"][1:]] == ["MultiHeadAttention"]
    assert sum(w.size for w in model.get_weights()) == sum(p.numel() for p in net.parameters())
