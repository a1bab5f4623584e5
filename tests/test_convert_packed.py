"""Weights of haste, oneDNN, cuDNN and MXNet: against their equations in float64 and torch's cells, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import _core, convert
from rekur.layers import GRU, LSTM, Bidirectional, Dense, SimpleRNN

Arrays = dict[str, np.ndarray]


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) * 0.5).astype(np.float32)


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def filled(model: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    model.set_weights([floats(rng, *w.shape) for w in model.get_weights()])
    return model


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got, want, atol=2e-6, rtol=1e-5)


def unrolled(step: Any, x: np.ndarray, H: int, states: int, reverse: bool = False) -> np.ndarray:
    """A cell over x in float64, outputs in the order of x."""
    state = [np.zeros((len(x), H)) for _ in range(states)]
    order = range(x.shape[1])[::-1] if reverse else range(x.shape[1])
    outputs = {}
    for t in order:
        state = step(x[:, t].astype(np.float64), *state)
        outputs[t] = state[0]
    return np.stack([outputs[t] for t in range(x.shape[1])], axis=1)


# --- haste: lib/lstm_forward_gpu.cu.cc and lib/gru_forward_gpu.cu.cc in words ---


def haste_lstm(p: Arrays) -> Any:
    def step(x: Any, h: Any, c: Any) -> list[Any]:
        i, g, f, o = np.split(x @ p["kernel"] + h @ p["recurrent_kernel"] + p["bias"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]

    return step


def haste_gru(p: Arrays) -> Any:
    def step(x: Any, h: Any) -> list[Any]:
        wz, wr, wg = np.split(x @ p["kernel"] + p["bias"], 3, axis=-1)
        rz, rr, rg = np.split(h @ p["recurrent_kernel"] + p["recurrent_bias"], 3, axis=-1)
        z, r = sigmoid(wz + rz), sigmoid(wr + rr)
        return [z * h + (1 - z) * np.tanh(wg + r * rg)]

    return step


def haste(rng: np.random.Generator, kind: str, F: int, H: int) -> Arrays:
    G = 4 if kind == "LSTM" else 3
    found = {"kernel": floats(rng, F, G * H), "recurrent_kernel": floats(rng, H, G * H), "bias": floats(rng, G * H)}
    return found if kind == "LSTM" else {**found, "recurrent_bias": floats(rng, G * H)}


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_haste(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    x, step, states = floats(rng, 2, 5, 3), {"LSTM": haste_lstm, "GRU": haste_gru}[kind], 2 if kind == "LSTM" else 1
    p, q = haste(rng, kind, 3, 4), haste(rng, kind, 3, 4)
    model = convert.load(p, format="haste")
    close(model.predict(x), unrolled(step(p), x, 4, states))
    written = convert.to_object(model, "haste")
    assert all(np.array_equal(written[f"{model.layers[0].name}.{leaf}"], p[leaf]) for leaf in p) and len(
        written
    ) == len(p)
    both = {f"rnn.{n}": a for n, a in p.items()} | {f"rnn_reverse.{n}": a for n, a in q.items()}
    _core.write_safetensors(str(tmp_path / "m.safetensors").encode(), {}, both)
    model = convert.load(tmp_path / "m.safetensors", format="haste")
    sides = [unrolled(step(w), x, 4, states, reverse) for w, reverse in ((p, False), (q, True))]
    close(model.predict(x), np.concatenate(sides, -1))
    written = convert.to_object(model, "haste")
    assert {n for n in written} == set(both) and all(np.array_equal(written[n], both[n]) for n in both)
    if kind == "GRU":
        assert convert.detect(p).name == "haste"
    else:
        with pytest.raises(ValueError, match="no format known here"):  # Keras has the same names
            convert.load(p)


def test_haste_files_of_torch(tmp_path: Path, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    p, x = haste(rng, "GRU", 3, 4), floats(rng, 2, 5, 3)
    torch.save({name: torch.from_numpy(a) for name, a in p.items()}, tmp_path / "m.pt")
    close(convert.load(tmp_path / "m.pt", format="haste").predict(x), unrolled(haste_gru(p), x, 4, 1))


# --- oneDNN: the developer guide's formulas of the RNN primitive ---


def onednn_step(kind: str, p: Arrays, k: int, d: int) -> Any:
    W, R = p["weights_layer"][k, d], p["weights_iter"][k, d]
    none = np.zeros((4 if kind == "lbr_gru" else W.shape[1], W.shape[2]))
    b = p["bias"][k, d] if "bias" in p else none
    gates = range(W.shape[1])

    def lstm(x: Any, h: Any, c: Any) -> list[Any]:
        i, f, g, o = (x @ W[:, n] + h @ R[:, n] + b[n] for n in gates)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return [h @ p["weights_projection"][k, d] if "weights_projection" in p else h, c]

    def vanilla_gru(x: Any, h: Any) -> list[Any]:
        u, r = (sigmoid(x @ W[:, n] + h @ R[:, n] + b[n]) for n in (0, 1))
        o = np.tanh(x @ W[:, 2] + (r * h) @ R[:, 2] + b[2])
        return [u * h + (1 - u) * o]

    def lbr_gru(x: Any, h: Any) -> list[Any]:
        u, r = (sigmoid(x @ W[:, n] + h @ R[:, n] + b[n]) for n in (0, 1))
        o = np.tanh(x @ W[:, 2] + r * (h @ R[:, 2] + b[3]) + b[2])
        return [u * h + (1 - u) * o]

    def vanilla_rnn(x: Any, h: Any) -> list[Any]:
        return [np.tanh(x @ W[:, 0] + h @ R[:, 0] + b[0])]

    return {"lstm": lstm, "vanilla_gru": vanilla_gru, "lbr_gru": lbr_gru, "vanilla_rnn": vanilla_rnn}[kind]


GATES = {"lstm": 4, "vanilla_gru": 3, "lbr_gru": 3, "vanilla_rnn": 1}


def onednn(rng: np.random.Generator, kind: str, L: int, D: int, F: int, H: int, bias: bool = True) -> Arrays:
    G = GATES[kind]
    found = {"weights_layer": floats(rng, L, D, F, G, H), "weights_iter": floats(rng, L, D, H, G, H)}
    return {**found, "bias": floats(rng, L, D, G + (kind == "lbr_gru"), H)} if bias else found


def given(kind: str) -> dict[str, Any]:
    return {"nonlinearity": "tanh"} if kind == "vanilla_rnn" else {}


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("bias", [True, False])
def test_onednn(rng: np.random.Generator, kind: str, bias: bool) -> None:
    p, x = onednn(rng, kind, 1, 1, 3, 4, bias), floats(rng, 2, 5, 3)
    states, options = 2 if kind == "lstm" else 1, {}
    if "gru" in kind and not bias:
        with pytest.raises(ValueError, match="without a bias may be of two: give primitive='vanilla_gru' or 'lbr_gru'"):
            convert.load(p)
        options = {"primitive": kind}
    assert convert.detect(p).name == "onednn"
    model = convert.load(p, layers=[("", given(kind))], **options)
    close(model.predict(x), unrolled(onednn_step(kind, p, 0, 0), x, 4, states))
    written = convert.to_object(model, "onednn")
    back = convert.load(written, layers=[(model.layers[0].name, given(kind))])
    close(back.predict(x), model.predict(x))
    if bias:
        for leaf, array in p.items():
            np.testing.assert_array_equal(written[f"{model.layers[0].name}.{leaf}"], array)


@pytest.mark.parametrize("direction", ["concat", "sum"])
@pytest.mark.parametrize("kind", GATES)
def test_onednn_layers_and_directions(rng: np.random.Generator, kind: str, direction: str) -> None:
    F = 8 if direction == "concat" else 4
    p, x = onednn(rng, kind, 2, 2, F, 4), floats(rng, 2, 5, F)
    with pytest.raises(ValueError, match=r"two directions.*give direction='concat' or 'sum'"):
        convert.load(p, layers=[("", given(kind))])
    y = x
    for k in range(2):
        a, b = (unrolled(onednn_step(kind, p, k, d), y, 4, 2 if kind == "lstm" else 1, d == 1) for d in (0, 1))
        y = np.concatenate([a, b], -1) if direction == "concat" else a + b
    model = convert.load(p, layers=[("", given(kind))], direction=direction)
    close(model.predict(x), y)
    written = convert.to_object(model, "onednn")
    parts = [(layer.name, given(kind)) for layer in model.layers]
    close(convert.load(written, layers=parts, direction=direction).predict(x), y)


def test_onednn_projection_and_errors(rng: np.random.Generator) -> None:
    p, x = onednn(rng, "lstm", 1, 1, 3, 4), floats(rng, 2, 5, 3)
    p["weights_iter"] = floats(rng, 1, 1, 2, 4, 4)
    p["weights_projection"] = floats(rng, 1, 1, 4, 2)
    step = onednn_step("lstm", p, 0, 0)
    h, c, y = np.zeros((2, 2)), np.zeros((2, 4)), []
    for t in range(5):
        h, c = step(x[:, t].astype(np.float64), h, c)
        y.append(h)
    close(convert.load(p).predict(x), np.stack(y, 1))
    for change, message in (
        ({"weights_peephole": np.zeros((1, 1, 3, 4))}, "weights_peephole cannot be read"),
        ({"bias": np.zeros((1, 1, 3, 4))}, r"expected a bias of ldgo, \(1, 1, 4, 4\), got \(1, 1, 3, 4\)"),
        ({"weights_layer": np.zeros((1, 1, 3, 5, 4))}, "of ldigo"),
        ({"weights_projection": np.zeros((1, 1, 4, 3))}, "expected weights_projection"),
        ({"weights_layer": np.zeros((3, 16))}, "of ldigo"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.load({**p, **change})
    gru = onednn(rng, "vanilla_gru", 1, 1, 3, 4)
    with pytest.raises(ValueError, match="a lbr_gru has 4 blocks of biases"):
        convert.load(gru, primitive="lbr_gru")
    with pytest.raises(ValueError, match="primitive is 'vanilla_gru' or 'lbr_gru'"):
        convert.load(gru, primitive="gru")


# --- packed buffers ---


def packed(rng: np.random.Generator, kind: str, F: int, H: int, L: int, D: int) -> tuple[np.ndarray, Arrays]:
    """As cuDNN's developer guide orders it, and by torch's names."""
    G = {"LSTM": 4, "GRU": 3}.get(kind, 1)
    named: Arrays = {}
    buffer = []
    for part in ("weight", "bias"):
        for k in range(L):
            for suffix in ("", "_reverse")[:D]:
                for side, width in (("ih", F if k == 0 else D * H), ("hh", H)):
                    array = floats(rng, G * H, width) if part == "weight" else floats(rng, G * H)
                    named[f"{part}_{side}_l{k}{suffix}"] = array
                    buffer.append(array.reshape(-1))
    return np.concatenate(buffer), named


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"])
@pytest.mark.parametrize(("L", "D"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_packed(tmp_path: Path, rng: np.random.Generator, kind: str, L: int, D: int) -> None:
    buffer, named = packed(rng, kind, 3, 5, L, D)
    sizes = {"kind": kind, "input_size": 3, "hidden_size": 5, "num_layers": L, "bidirectional": D == 2}
    model = convert.load(buffer, **sizes)
    x = floats(rng, 2, 6, 3)
    nonlinearity = {"nonlinearity": kind[4:].lower()} if kind.startswith("RNN") else {}
    close(model.predict(x), convert.load(named, layers=[("", nonlinearity)]).predict(x))
    np.save(tmp_path / "a.npy", buffer)
    close(convert.load(tmp_path / "a.npy", **sizes).predict(x), model.predict(x))
    convert.save(model, tmp_path / "b.npy")
    close(convert.load(np.load(tmp_path / "b.npy"), **sizes).predict(x), model.predict(x))
    if kind in ("GRU",):  # both biases are rekur's too: nothing is lost
        np.testing.assert_array_equal(convert.to_object(model, "cudnn"), buffer)
    assert convert.to_object(model, "cudnn").size == buffer.size

    gluon = {
        f"lstm0_{'r' if 'reverse' in name else 'l'}{name.split('_l')[1][0]}_"
        f"{'i2h' if '_ih' in name else 'h2h'}_{name.split('_')[0]}": array
        for name, array in named.items()
    }
    assert convert.detect(gluon).name == "mxnet"
    close(convert.load(gluon, **nonlinearity).predict(x), model.predict(x))
    again = convert.to_object(model, "mxnet")
    layers = list(convert.load_parts(again, **nonlinearity))
    close(convert.load(again, layers=layers, **nonlinearity).predict(x), model.predict(x))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_packed_is_torchs(rng: np.random.Generator, kind: str) -> None:
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, kind)(3, 5, 2, bidirectional=True, batch_first=True)
    weights = [p.detach().numpy() for p in module._flat_weights]
    # of _flat_weights each direction has its two matrices, then its two biases
    matrices = [w for w in weights if w.ndim == 2]
    biases = [w for w in weights if w.ndim == 1]
    buffer = np.concatenate([w.reshape(-1) for w in (*matrices, *biases)])
    x = floats(rng, 2, 6, 3)
    name = "RNN_TANH" if kind == "RNN" else kind
    model = convert.load(buffer, kind=name, input_size=3, hidden_size=5, num_layers=2, bidirectional=True)
    close(model.predict(x), module(torch.from_numpy(x))[0].detach().numpy())


def test_packed_biases(rng: np.random.Generator) -> None:
    for kind, G, layer in (("LSTM", 4, "LSTM"), ("GRU", 3, "GRU"), ("RNN_RELU", 1, "SimpleRNN")):
        sizes = {"kind": kind, "input_size": 3, "hidden_size": 5}
        matrices = floats(rng, G * 5 * 8)
        bias, zeros = floats(rng, G * 5), np.zeros(G * 5, np.float32)
        x = floats(rng, 2, 6, 3)
        double = convert.load(np.concatenate([matrices, bias, zeros]), **sizes).predict(x)
        single = np.concatenate([matrices, bias])
        close(convert.load(single, bias_mode="input", **sizes).predict(x), double)
        recurrent = convert.load(np.concatenate([matrices, zeros, bias]), **sizes).predict(x)
        close(convert.load(single, bias_mode="recurrent", **sizes).predict(x), recurrent)
        if kind == "GRU":
            with pytest.raises(ValueError, match="give bias_mode='input' or 'recurrent'"):
                convert.load(single, **sizes)
        else:
            close(convert.load(single, **sizes).predict(x), double)
        none = convert.load(matrices, **sizes)
        assert len(none.get_weights()) == 2 and type(none.layers[0]).__name__ == layer
        close(none.predict(x), convert.load(np.concatenate([matrices, zeros, zeros]), **sizes).predict(x))


def test_packed_asks(tmp_path: Path, rng: np.random.Generator) -> None:
    buffer, _ = packed(rng, "LSTM", 3, 5, 1, 1)
    sizes: dict[str, Any] = {"kind": "LSTM", "input_size": 3, "hidden_size": 5}
    for change, kind, message in (
        ({"kind": None}, ValueError, r"200 numbers has no shapes: give kind= \(and num_layers="),
        ({"kind": None, "input_size": None, "hidden_size": None}, ValueError, "give kind=, input_size=, hidden_size="),
        (
            {"kind": "LSTMP"},
            ValueError,
            "kind is one of LSTM, GRU, RNN_TANH, RNN_RELU, got 'LSTMP'; did you mean 'LSTM'",
        ),
        ({"hidden_size": 6}, ValueError, "expected 264 numbers of these sizes with bias_mode='double'"),
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1"),
        ({"bidirectional": 2}, (TypeError, ValueError), "bidirectional"),
        ({"bias_mode": "doubel"}, ValueError, "bias_mode is one of .*did you mean 'double'"),
        ({"units": 5}, TypeError, "has no option 'units'"),
    ):
        with pytest.raises(kind, match=message):
            convert.load(buffer, **{**sizes, **change})
    with pytest.raises(ValueError, match="no shapes"):
        convert.load(buffer)
    with pytest.raises(ValueError, match="has one axis"):
        np.save(tmp_path / "a.npy", buffer.reshape(2, -1))
        convert.load(tmp_path / "a.npy", **sizes)
    with pytest.raises(ValueError, match=r"no whole \.npy file"):
        np.save(tmp_path / "a.npy", buffer)
        (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:300])
        convert.load(tmp_path / "a.npy", **sizes)
    with pytest.raises(ValueError, match=r"no whole \.npy file"):  # a pickle is not run
        np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
        convert.load(tmp_path / "a.npy", **sizes)


@pytest.mark.parametrize("form", ["haste", "onednn", "cudnn", "mxnet"])
def test_what_the_others_lack(form: str) -> None:
    for layers, message in (
        ([LSTM(3, peepholes=True)], "layer 'lstm.*has no peepholes=True"),
        ([GRU(3, recurrent_activation="hard_sigmoid")], "layer 'gru.*has no recurrent_activation"),
        ([SimpleRNN(3, activation="softplus")], "SimpleRNN.*has no"),
        ([Bidirectional(LSTM(3), merge_mode="mul")], "Bidirectional.*has two directions only"),
        ([LSTM(3), Dense(1)], "layer 'dense.*Dense"),
    ):
        model = rekur.Sequential([rekur.Input((None, 2)), *layers])
        with pytest.raises(ValueError, match=message):
            convert.to_object(model, form)
    if form == "cudnn":
        model = rekur.Sequential([rekur.Input((None, 2)), LSTM(3, return_sequences=True), LSTM(4)])
        with pytest.raises(ValueError, match="layers of one buffer are of one kind"):
            convert.to_object(model, form)
    filled(model)
