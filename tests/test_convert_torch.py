"""PyTorch's weights and modules, against torch itself: what is read predicts the same, what is written comes back."""

from __future__ import annotations

import collections
import enum
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import convert
from rekur.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Conv1DTranspose,
    Dense,
    Embedding,
    LayerNormalization,
    RMSNormalization,
    SimpleRNN,
    Step,
    TimeDistributed,
)  # fmt: skip

torch = pytest.importorskip("torch")
nn = torch.nn


def _x(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got, want.detach().numpy(), atol=1e-5)


STACKS: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 3, "bidirectional": True, "batch_first": True, "dropout": 0.3}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True, "bias": False}),
    ("GRU", {}),
    ("GRU", {"num_layers": 2, "bidirectional": True, "bias": False}),
    ("RNN", {"nonlinearity": "relu"}),
    ("RNN", {"num_layers": 2, "bidirectional": True}),
]


@pytest.mark.parametrize(("kind", "options"), STACKS)
@pytest.mark.parametrize("form", ["module", "pt", "safetensors", "dict", "bf16"])
def test_recurrent_stacks(
    tmp_path: Path, rng: np.random.Generator, kind: str, options: dict[str, Any], form: str
) -> None:
    torch.manual_seed(1)
    module = getattr(nn, kind)(3, 7, **options).eval()
    given: dict[str, Any] = {}
    if form == "bf16":
        module = module.bfloat16()
    state = module.state_dict()
    if kind == "RNN" and form != "module":
        given["nonlinearity"] = options.get("nonlinearity", "tanh")
    source: Any = module
    if form == "pt":
        torch.save(state, source := tmp_path / "m.pt")
    elif form in ("safetensors", "bf16"):
        source = tmp_path / "m.safetensors"
        _write_safetensors(source, state)
    elif form == "dict":
        source = {name: tensor.numpy() for name, tensor in state.items()}
    if given:
        with pytest.raises(ValueError, match="is an RNN, whose weights do not say its activation: give nonlinearity="):
            convert.load(source)
        model = convert.load(source, layers=[("", given)])
    else:
        model = convert.load(source)
    x = _x(rng, 2, 5, 3)
    module = module.float()
    module.batch_first = True
    _close(model.predict(x), module(torch.tensor(x))[0])
    if form == "module":
        _, state_h = module(torch.tensor(x))
        h = state_h[0] if kind == "LSTM" else state_h
        last = convert.load(source, layers=[("", {"return_sequences": False})])
        directions = 2 if options.get("bidirectional") else 1
        _close(last.predict(x), torch.cat(list(h[-directions:]), dim=-1))


def _write_safetensors(path: Path, state: dict[str, Any]) -> None:
    """By hand, bf16 as such."""
    import json

    header, data = {}, b""
    for name, tensor in state.items():
        half = tensor.dtype == torch.bfloat16
        raw = (tensor.view(torch.int16) if half else tensor).numpy().tobytes()
        header[name] = {
            "dtype": "BF16" if half else "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells(rng: np.random.Generator, kind: str) -> None:
    cell = getattr(nn, kind)(3, 5)
    x, state = _x(rng, 2, 4, 3), None
    for t in range(4):
        state = cell(torch.tensor(x[:, t]), state)
    want = state[0] if kind == "LSTMCell" else state
    _close(convert.load(cell, layers=["", "last"]).predict(x), want)
    by_name = {f"cell.{name}": tensor for name, tensor in cell.state_dict().items()}
    option = {"nonlinearity": "tanh"} if kind == "RNNCell" else {}
    _close(convert.load(by_name, layers=[("cell", option), "last"]).predict(x), want)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_modules_of_rekur_torch(rng: np.random.Generator, kind: str) -> None:
    import rekur.torch

    module, x = getattr(rekur.torch, kind)(3, 5, 2, batch_first=True, bidirectional=True), _x(rng, 2, 4, 3)
    _close(convert.load(module).predict(x), module(torch.tensor(x))[0])


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.rnn = nn.ModuleDict({"lstm": nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True)})
        self.norm = nn.LayerNorm(12)
        self.head = nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))

    def forward(self, ids: Any) -> Any:
        h, _ = self.rnn["lstm"](self.embed(ids))
        return self.head(self.norm(h[:, -1]))


def test_a_model_of_somebodys_own(tmp_path: Path, rng: np.random.Generator) -> None:
    torch.manual_seed(2)
    model, ids = Tagger().eval(), rng.integers(0, 11, (3, 6))
    want = model(torch.tensor(ids))
    names = ["embed", "rnn.lstm", "last", "norm", "head.0", "head.1", "head.2"]
    _close(convert.load(model, layers=names).predict(ids), want)
    with pytest.raises(ValueError, match=r"'embed' \(Embedding, 11 of 4\); 'rnn.lstm' \(LSTM, 4 → 6, 2 layers, both"):
        convert.load(model)

    checkpoint = {"epoch": 3, "model": model.state_dict(), "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    torch.save(checkpoint, tmp_path / "c.pth")
    entries: list[Any] = [
        ("embed", {"kind": "Embedding"}), "rnn.lstm", Step(-1), ("norm", {"kind": "LayerNorm", "eps": 1e-5}),
        "head.0", "tanh", ("head.2", {"kind": "Linear"}),
    ]  # fmt: skip
    assert convert.detect(tmp_path / "c.pth").name == "torch"
    _close(convert.load(tmp_path / "c.pth", layers=entries).predict(ids), want)
    for entry, message in (
        ("embed", "'embed', a weight of shape .*may be of several layers.*kind='Linear' or kind='Embedding'"),
        (("embed", {"kind": "Embeding"}), "got 'Embeding'; did you mean 'Embedding'"),
        (("norm", {"kind": "LayerNorm"}), "weights of a LayerNorm do not say its eps"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.load(tmp_path / "c.pth", layers=[entry], partial=True)
    parts = convert.load_parts(
        tmp_path / "c.pth",
        each={
            "embed": {"kind": "Embedding"}, "norm": {"kind": "LayerNorm", "eps": 1e-5}, "head.2": {"kind": "Linear"},
        },
    )  # fmt: skip
    assert list(parts) == ["embed", "rnn.lstm", "norm", "head.0", "head.2"]
    assert list(convert.load_parts(tmp_path / "c.pth", names=["rnn.lstm"])) == ["rnn.lstm"]
    with pytest.raises(ValueError, match="has no part 'rnn'"):
        convert.load_parts(tmp_path / "c.pth", names=["rnn"])
    x = _x(rng, 2, 3, 4)
    _close(parts["rnn.lstm"].predict(x), model.rnn["lstm"](torch.tensor(x))[0])

    torch.save({"a": model.state_dict(), "ema": model.state_dict()}, tmp_path / "two.pt")
    with pytest.raises(ValueError, match="several dicts of tensors: 'a', 'ema'; say which by key="):
        convert.load(tmp_path / "two.pt")
    assert convert.load(tmp_path / "two.pt", key="ema", layers=["rnn.lstm"], partial=True)
    with pytest.raises(ValueError, match="no state_dict at 'emb'; did you mean 'ema'"):
        convert.load(tmp_path / "two.pt", key="emb")
    small = convert.load(tmp_path / "two.pt", key="a", prefix="rnn.")
    _close(small.predict(x), model.rnn["lstm"](torch.tensor(x))[0])


def test_sequentials(rng: np.random.Generator) -> None:
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Linear(3, 4), nn.Dropout(0.4), nn.LeakyReLU(0.3), nn.Sequential(nn.BatchNorm1d(4), nn.ELU(0.7)),
        nn.RMSNorm(4), nn.PReLU(), nn.GELU(), nn.LayerNorm(4, elementwise_affine=False), nn.Softmax(-1),
    ).eval()  # fmt: skip
    module[3][0].running_mean.uniform_()
    module[3][0].running_var.uniform_(0.5, 2)
    x = _x(rng, 5, 3)
    here = convert.load(module)
    _close(here.predict(x), module(torch.tensor(x)))
    norm = next(layer for layer in here.layers if layer.type == "BatchNormalization")
    assert norm.momentum == pytest.approx(0.9) and norm.epsilon == 1e-5  # torch's momentum is the other part
    for activation in (nn.ReLU6(), nn.SELU(), nn.SiLU(), nn.Mish(), nn.Hardsigmoid(), nn.Hardswish(), nn.LogSigmoid(),
                       nn.Tanhshrink(), nn.Softsign(), nn.Softplus(), nn.CELU(), nn.GELU("tanh"), nn.Identity(),
                       nn.LogSoftmax(-1), nn.PReLU(4)):  # fmt: skip
        module = nn.Sequential(nn.Linear(3, 4), activation)
        _close(convert.load(module).predict(x), module(torch.tensor(x)))
    for module in (
        nn.Sequential(nn.Conv1d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool1d(2)),
        nn.Sequential(nn.BatchNorm1d(3).eval(), nn.Conv1d(3, 6, 2, dilation=2, groups=3, padding="same", bias=False)),
        nn.Sequential(nn.Conv1d(3, 4, 1), nn.PReLU(4), nn.AvgPool1d(3, stride=2)),
        nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose1d(3, 2, 2, stride=3, bias=False),
    ):
        x = _x(rng, 2, 9, 3)
        want = module(torch.tensor(x.transpose(0, 2, 1))).transpose(1, 2)
        model = convert.load(module, input_shape=(9, 3))
        _close(model.predict(x), want)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Flatten()), "'1' is a torch.nn.modules.flatten.Flatten, for which there is"),
        (nn.Sequential(nn.Conv1d(2, 2, 1), nn.Linear(2, 2)), r"'0' \(Conv1d\) reads \(B, C, T\) and '1' \(Linear\)"),
        (nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 1, 1)), "Conv2d, for which there is no layer"),
        (nn.Embedding(3, 2, max_norm=1.0), "there is no max_norm=1.0 here"),
        (nn.LayerNorm((2, 3)), r"one axis is normalised here, got \(2, 3\)"),
        (nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"), "there is no padding_mode='circular' here"),
        (nn.MaxPool1d(2, padding=1), "there is no padding=1 here"),
        (nn.Softmax(0), "softmax is over the features"),
        (nn.Softplus(beta=2), "there is no Softplus"),
        (nn.ModuleList(), "no modules within"),
        (nn.TransformerEncoderLayer(4, 2), "layers=|is a torch"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_modules_that_are_refused(module: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert.load(module, input_shape=(4, 2))


def test_files_that_are_refused(tmp_path: Path) -> None:
    class Nasty:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "m.pt"
    torch.save({"a": Nasty()}, path)
    with pytest.raises(ValueError, match="it holds more than tensors and plain data"):
        convert.load(path)
    assert not (tmp_path / "ran").exists()
    torch.save(nn.LSTM(2, 3), path)
    with pytest.raises(ValueError, match=r"GLOBAL torch\.nn\.modules\.rnn\.LSTM"):
        convert.load(path)
    torch.save({"lr": 3}, path)
    with pytest.raises(ValueError, match="no state_dict in it, a dict of tensors by name; it is a dict of 'lr'"):
        convert.load(path)
    torch.save(nn.LSTM(2, 3).state_dict(), path)
    whole = path.read_bytes()
    for size in (0, 1, 30, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError):
            convert.load(path)
        with pytest.raises(ValueError):
            convert.load(path, format="torch")
    torch.save(nn.LSTM(2, 3).state_dict(), path, _use_new_zipfile_serialization=False)
    assert convert.load(path).count_params() == 4 * 3 * (2 + 3 + 1)
    for state, message in (
        ({"weight_ih_l0": (12, 2), "weight_hh_l0": (11, 3)}, r"expected weight_hh of \(4·H, H\)"),
        ({"weight_ih_l0": (12, 2)}, "expected a matrix weight_hh, got none"),
        ({"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3), "w": (1,)}, "'w', which is none of it"),
        ({"weight_ih_l1": (12, 2), "weight_hh_l1": (12, 3)}, "expected tensors of 2 layers in 1 directions, got .* l1"),
        (
            {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3), "weight_ih_l1": (12, 2), "weight_hh_l1": (12, 3)},
            "layer 1 of '': expected kernels for 3 features and 3 units",
        ),
        ({"a.weight_v": (12, 2), "b.weight": (2, 2), "b.bias": (2,)}, r"layers=\['a', 'b'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.load({name: np.zeros(shape) for name, shape in state.items()})
    with pytest.raises(ValueError, match="'a' is no layer that is known here: it has weight_v"):
        convert.load({"a.weight_v": np.zeros(2), "a.weight": np.zeros(2)})


class Settings:
    """What a training program keeps beside the weights."""

    ran = False

    def __init__(self) -> None:
        self.rate = 0.1

    def __setstate__(self, state: Any) -> None:
        Settings.ran = True


class Enumerated(enum.Enum):
    ONE = 1


def test_checkpoints_of_training_programs(tmp_path: Path, rng: np.random.Generator) -> None:
    """As Lightning writes them, and so Darts, NeuralForecast and GluonTS: settings are objects of their classes."""
    torch.manual_seed(4)
    modules = nn.ModuleDict({"rnn": nn.LSTM(3, 5, 2, batch_first=True), "V": nn.Linear(5, 2)})
    checkpoint = {
        "epoch": 4, "state_dict": modules.state_dict(), "hyper_parameters": {"a": Settings(), "b": Enumerated.ONE},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}],
        "callbacks": {"x": {"y": collections.Counter("aab")}},
        "train_sample": [np.zeros(3)], "likelihood": Settings(),
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "model.ckpt")
    assert convert.detect(tmp_path / "model.ckpt").name == "torch"
    x = _x(rng, 2, 4, 3)
    want = modules["V"](modules["rnn"](torch.tensor(x))[0])
    _close(convert.load(tmp_path / "model.ckpt", layers=["rnn", "V"]).predict(x), want)
    assert not Settings.ran


MODELS = {
    "lstm": lambda: [LSTM(5, return_sequences=True), GRU(4, return_sequences=True), Dense(2, activation="tanh")],
    "bidirectional": lambda: [
        Bidirectional(SimpleRNN(3, activation="relu", return_sequences=True)), Bidirectional(GRU(3), name="two"),
    ],
    "projected": lambda: [LSTM(6, projection_size=2, use_bias=False), Dense(1, use_bias=False)],
    "around": lambda: [
        Conv1D(4, 3, padding="same"), BatchNormalization(), LayerNormalization(), TimeDistributed(Dense(3)),
        RMSNormalization(),
    ],
    "transposed": lambda: [Conv1DTranspose(4, 2)],
}  # fmt: skip
AS_WRITTEN: dict[str, list[Any]] = {
    "lstm": ["lstm", "gru", "dense", "tanh"],
    "bidirectional": [("bidirectional", {"nonlinearity": "relu"}), ("two", {"return_sequences": False})],
    "projected": ["lstm", "last", ("dense", {"kind": "Linear"})],
    "around": [
        ("conv1d", {"kind": "Conv1d", "stride": 1, "padding": "same", "dilation": 1}),
        ("batch_normalization", {"eps": 1e-3}),
        ("layer_normalization", {"kind": "LayerNorm", "eps": 1e-3}),
        "time_distributed",
        ("rms_normalization", {"kind": "RMSNorm", "eps": 1e-6}),
    ],
    "transposed": [
        ("conv1d_transpose",
         {"kind": "ConvTranspose1d", "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("ending", ["pt", "safetensors", ""])
def test_round_trips(tmp_path: Path, rng: np.random.Generator, name: str, ending: str) -> None:
    model = rekur.Sequential([rekur.Input((6, 3)), *MODELS[name]()], seed=1)
    source: Any
    if ending:
        source = tmp_path / f"m.{ending}"
        convert.save(model, source, format="torch")
    else:
        source = convert.to_object(model, "torch")
    x = _x(rng, 2, 6, 3)
    again = convert.load(source, layers=AS_WRITTEN[name], input_shape=(6, 3))
    np.testing.assert_allclose(again.predict(x), model.predict(x), atol=1e-6)


def test_torch_takes_what_is_written(tmp_path: Path, rng: np.random.Generator) -> None:
    model = rekur.Sequential([Embedding(9, 4), LSTM(5, return_sequences=True), Bidirectional(GRU(3)), Dense(2)], seed=1)
    ids = rng.integers(0, 9, (3, 5))
    want = model.predict(ids)
    convert.save(model, tmp_path / "m.pt")
    modules = nn.ModuleDict(
        collections.OrderedDict(
            embedding=nn.Embedding(9, 4),
            lstm=nn.LSTM(4, 5, batch_first=True),
            bidirectional=nn.GRU(5, 3, batch_first=True, bidirectional=True),
            dense=nn.Linear(6, 2),
        )
    )
    modules.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    y = modules["lstm"](modules["embedding"](torch.tensor(ids)))[0]
    h = modules["bidirectional"](y)[1]
    _close(want, modules["dense"](torch.cat([h[0], h[1]], -1)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (LSTM(2, peepholes=True), "layer 'lstm' (LSTM): torch has no peepholes=True"),
        (LSTM(2, activation="relu"), "torch has no activation='relu'"),
        (LSTM(2, zoneout=0.1), "torch has no zoneout"),
        (GRU(2, reset_after=False), "torch has no reset_after=False"),
        (SimpleRNN(2, reverse=True), "torch has no reverse=True"),
        (SimpleRNN(3, projection_size=2), "torch has no projection_size of it"),
        (Bidirectional(LSTM(2), merge_mode="sum"), "by merge_mode='concat' alone"),
        (Conv1D(2, 2, padding="causal"), "torch has no padding='causal'"),
        (rekur.layers.RNN(rekur.cells.janet, 2), "torch has no layer of these weights"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value),
)
def test_layers_that_torch_lacks(tmp_path: Path, layer: Any, message: str) -> None:
    import re

    model = rekur.Sequential([rekur.Input((4, 2)), layer])
    with pytest.raises(ValueError, match=re.escape(message)):
        convert.save(model, tmp_path / "m.pt")
    assert not list(tmp_path.iterdir())
