"""Every cell of rekur.cells against its paper's equations, written here by hand in float64, and against other packages.

A cell that the library gains fails until it has its row in PAPERS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
from reference import sigmoid
from rekur import cells

B, T, H = 3, 6, 4


class Weights:
    """A layer's weights by block: W("z") of the kernel, R("z") of the recurrent kernel, b("z"), and the cell's own."""

    def __init__(self, name: str, features: int, seed: int = 0) -> None:
        self.cell = getattr(cells, name).spec()
        rng = np.random.default_rng([seed, *name.encode()])

        def draw(*shape: int) -> Any:
            return rng.standard_normal(shape) / np.sqrt(shape[0] if len(shape) == 2 else 1)

        self.named: dict[str, Any] = {
            "kernel": draw(features, len(self.cell["kernel"]) * H),
            "recurrent_kernel": draw(H, len(self._own()) * H),
            "bias": draw(len(self.cell["kernel"]) * H),
        }
        if self.cell.get("recurrent_bias"):
            self.named["recurrent_bias"] = draw(len(self.cell["recurrent"]) * H)
        self.named.update({weight["name"]: draw(H) for weight in self.cell.get("weights", ())})
        self.named.update({matrix["name"]: draw(H, H) for matrix in self.cell.get("matrices", ())})

    def _own(self) -> list[str]:
        """The products that are blocks of the recurrent kernel."""
        return [product[0] for product in self.cell["recurrent"] if len(product) == 2]

    def _block(self, array: str, names: list[str], block: str) -> Any:
        k = names.index(block)
        return self.named[array][..., k * H : (k + 1) * H]

    def W(self, block: str) -> Any:
        return self._block("kernel", self.cell["kernel"], f"x.{block}")

    def b(self, block: str) -> Any:
        return self._block("bias", self.cell["kernel"], f"x.{block}")

    def R(self, block: str) -> Any:
        return self._block("recurrent_kernel", self._own(), block)

    def c(self, block: str) -> Any:
        return self._block("recurrent_bias", [name for name, *_ in self.cell["recurrent"]], block)

    def __getitem__(self, name: str) -> Any:
        return self.named[name]


Step = Callable[..., Any]  # (weights, x, *states, *step inputs) -> the new states


def pre(p: Weights, x: Any, h: Any, block: str, recurrent: str = "") -> Any:
    return x @ p.W(block) + h @ p.R(recurrent or f"h.{block}") + p.b(block)


def lin(p: Weights, x: Any, block: str) -> Any:
    return x @ p.W(block) + p.b(block)


def lstm(p: Weights, x: Any, h: Any, c: Any) -> Any:
    i, f, g, o = (pre(p, x, h, k) for k in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def peephole(p: Weights, x: Any, h: Any, c: Any) -> Any:
    i, f = sigmoid(pre(p, x, h, "i") + p["p_i"] * c), sigmoid(pre(p, x, h, "f") + p["p_f"] * c)
    c = f * c + i * np.tanh(pre(p, x, h, "g"))
    return sigmoid(pre(p, x, h, "o") + p["p_o"] * c) * np.tanh(c), c


def coupled(p: Weights, x: Any, h: Any, c: Any) -> Any:
    i = sigmoid(pre(p, x, h, "i"))
    c = (1 - i) * c + i * np.tanh(pre(p, x, h, "g"))
    return sigmoid(pre(p, x, h, "o")) * np.tanh(c), c


def normalised(a: Any) -> Any:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)


def layer_norm_lstm(p: Weights, x: Any, h: Any, c: Any) -> Any:
    i, f, g, o = (normalised(pre(p, x, h, k)) * p[f"g_{k}"] + p[f"b_{k}"] for k in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(normalised(c) * p["g_c"] + p["b_c"]), c


def gru(p: Weights, x: Any, h: Any) -> Any:
    z, r = (sigmoid(pre(p, x, h, k) + p.c(f"h.{k}")) for k in "zr")
    n = np.tanh(lin(p, x, "n") + r * (h @ p.R("h.n") + p.c("h.n")))
    return ((1 - z) * n + z * h,)


def before(p: Weights, x: Any, h: Any) -> Any:
    z, r = (sigmoid(pre(p, x, h, k)) for k in "zr")
    return ((1 - z) * np.tanh(pre(p, x, r * h, "n", "value.n")) + z * h,)


def chung(p: Weights, x: Any, h: Any) -> Any:
    z, r = (sigmoid(pre(p, x, h, k)) for k in "zr")
    return ((1 - z) * h + z * np.tanh(pre(p, x, r * h, "n", "value.n")),)


def light_gru(p: Weights, x: Any, h: Any) -> Any:
    z = sigmoid(pre(p, x, h, "z"))
    return (z * h + (1 - z) * np.maximum(pre(p, x, h, "n"), 0),)


def minimal(gate: Callable[[Weights, Any, Any], Any]) -> Step:
    def step(p: Weights, x: Any, h: Any) -> Any:
        f = sigmoid(gate(p, x, h))
        return ((1 - f) * h + f * np.tanh(pre(p, x, f * h, "n", "value.n")),)

    return step


def ugrnn(p: Weights, x: Any, h: Any) -> Any:
    g = sigmoid(pre(p, x, h, "g"))
    return (g * h + (1 - g) * np.tanh(pre(p, x, h, "c")),)


def janet(p: Weights, x: Any, h: Any) -> Any:
    s = pre(p, x, h, "f")
    return (sigmoid(s) * h + (1 - sigmoid(s - 1)) * np.tanh(pre(p, x, h, "n")),)


def fast_rnn(p: Weights, x: Any, h: Any) -> Any:
    return (sigmoid(p["alpha"].mean()) * np.tanh(pre(p, x, h, "h")) + sigmoid(p["beta"].mean()) * h,)


def fast_grnn(p: Weights, x: Any, h: Any) -> Any:
    z, n = sigmoid(pre(p, x, h, "a")), np.tanh(pre(p, x, h, "a") + p["b_n"] - 1)
    return ((sigmoid(p["zeta"].mean()) * (1 - z) + sigmoid(p["nu"].mean())) * n + z * h,)


def min_gru(p: Weights, x: Any, h: Any, g: Callable[[Any], Any] = lambda a: a) -> Any:
    z = sigmoid(lin(p, x, "z"))
    return ((1 - z) * h + z * g(lin(p, x, "n")),)


def above_zero(a: Any) -> Any:
    return np.where(a >= 0, a + 0.5, sigmoid(a))


def min_lstm(p: Weights, x: Any, h: Any, g: Callable[[Any], Any] = lambda a: a) -> Any:
    f, i = sigmoid(lin(p, x, "f")), sigmoid(lin(p, x, "i"))
    return (f / (f + i) * h + i / (f + i) * g(lin(p, x, "n")),)


def sru(p: Weights, x: Any, h: Any, c: Any) -> Any:
    f, r = sigmoid(lin(p, x, "f") + p["v_f"] * c), sigmoid(lin(p, x, "r") + p["v_r"] * c)
    c = f * c + (1 - f) * lin(p, x, "n")
    return r * c + (1 - r) * lin(p, x, "s"), c


def qrnn(p: Weights, x: Any, h: Any, c: Any) -> Any:
    z, f, o = np.tanh(lin(p, x, "z")), sigmoid(lin(p, x, "f")), sigmoid(lin(p, x, "o"))
    c = f * c + (1 - f) * z
    return o * c, c


def qrnn_2(p: Weights, x: Any, h: Any, c: Any, last: Any) -> Any:
    z, f, o = (pre(p, x, last, k, f"before.{k}") for k in "zfo")
    c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(z)
    return sigmoid(o) * c, c, x


def rg_lru(p: Weights, x: Any, h: Any) -> Any:
    a = sigmoid(p["a"]) ** (8 * sigmoid(lin(p, x, "r")))
    return (a * h + np.sqrt(1 - a**2) * (sigmoid(lin(p, x, "i")) * x),)


def lru(p: Weights, x: Any, y: Any, re: Any, im: Any) -> Any:
    eigenvalues = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    scale = p["gamma"] * np.sqrt(1 - np.abs(eigenvalues) ** 2)
    s = eigenvalues * (re + 1j * im) + scale * (lin(p, x, "re") + 1j * lin(p, x, "im"))
    C = p.R("value.y") + 1j * p.R("value2.y")
    return (s @ C).real + lin(p, x, "y"), s.real, s.imag


def slstm(p: Weights, x: Any, h: Any, c: Any, n: Any, m: Any) -> Any:
    """Without the stabiliser's division, which cancels: c and n are e^m times the states."""
    i, f = np.exp(pre(p, x, h, "i")), sigmoid(pre(p, x, h, "f"))
    c, n = (np.where(n == 0, 0, v * np.exp(m)) for v in (c, n))
    c, n = f * c + i * np.tanh(pre(p, x, h, "z")), f * n + i
    return sigmoid(pre(p, x, h, "o")) * c / n, c, n, np.zeros_like(m)


def cfc(p: Weights, x: Any, h: Any, time: Any) -> Any:
    s = sigmoid(pre(p, x, h, "a") * time + pre(p, x, h, "b"))
    return ((1 - s) * np.tanh(pre(p, x, h, "g")) + s * np.tanh(pre(p, x, h, "n")),)


def ltc(p: Weights, x: Any, h: Any, time: Any) -> Any:
    f = sigmoid(x @ p.W("f") + p.b("f") + h @ p["R"])
    return ((h + time * f * p["a"]) / (1 + time * (np.logaddexp(0, p["tau"]) + f)),)


def lmu(p: Weights, x: Any, h: Any, m: Any) -> Any:
    u = (x @ p.W("u") + p.b("u")).mean(-1, keepdims=True) + h @ p["e_h"][:, None] + m @ p["e_m"][:, None]
    m = m @ p["A"] + u * p["B"]
    return np.tanh(x @ p.W("h") + p.b("h") + h @ p.R("h.h") + m @ p.R("value.h")), m


def gru_d(p: Weights, x: Any, h: Any, last: Any, mask: Any, time: Any) -> Any:
    fade = np.exp(-np.maximum(0, p["w_x"] * time + p["b_x"]))
    seen = np.where(mask == 1, x, fade * last + (1 - fade) * p["mean"])
    h = np.exp(-np.maximum(0, time @ p.R("value.h") + p["b_h"])) * h
    z = sigmoid(seen @ p.R("value.z") + h @ p.R("value2.z") + mask @ p.R("value3.z") + p["b_z"])
    r = sigmoid(seen @ p.R("value.r") + h @ p.R("value2.r") + mask @ p.R("value3.r") + p["b_r"])
    n = np.tanh(seen @ p.R("value.n") + (r * h) @ p.R("value2.n") + mask @ p.R("value3.n") + p["b_n"])
    return (1 - z) * h + z * n, np.where(mask == 1, x, last)


PAPERS: dict[str, Step] = {
    "lmu": lmu,
    "simple_rnn": lambda p, x, h: (np.tanh(pre(p, x, h, "h")),),
    "lstm": lstm,
    "peephole_lstm": peephole,
    "lstm_coupled": coupled,
    "layer_norm_lstm": layer_norm_lstm,
    "gru": gru,
    "gru_reset_before": before,
    "gru_chung": chung,
    "light_gru": light_gru,
    "mgu": minimal(lambda p, x, h: pre(p, x, h, "f")),
    "mgu1": minimal(lambda p, x, h: h @ p.R("h.f") + p["b_f"]),
    "mgu2": minimal(lambda p, x, h: h @ p.R("h.f")),
    "ugrnn": ugrnn,
    "janet": janet,
    "ind_rnn": lambda p, x, h: (np.maximum(lin(p, x, "h") + p["u"] * h, 0),),
    "fast_rnn": fast_rnn,
    "fast_grnn": fast_grnn,
    "min_gru": min_gru,
    "min_gru_log": lambda p, x, h: min_gru(p, x, h, above_zero),
    "min_lstm": min_lstm,
    "min_lstm_log": lambda p, x, h: min_lstm(p, x, h, above_zero),
    "sru": sru,
    "qrnn": qrnn,
    "qrnn_2": qrnn_2,
    "rg_lru": rg_lru,
    "lru": lru,
    "slstm": slstm,
    "cfc": cfc,
    "ltc": ltc,
    "gru_d": gru_d,
    "reservoir": lambda p, x, h: (np.float32(0.7) * h + np.float32(0.3) * np.tanh(pre(p, x, h, "h")),),
}


def features_of(name: str) -> int:
    """Cells that take x as it is want as many features as units."""
    return H if "x" in getattr(cells, name).spec()["equations"]["inputs"] else 5


def data(name: str) -> tuple[Any, list[Any], list[Any]]:
    """x, step inputs and initial states."""
    rng = np.random.default_rng(list(name.encode()))
    spec = getattr(cells, name).spec()
    steps = {
        "time": rng.uniform(0.1, 2.0, (B, T, H)),
        "mask": (rng.random((B, T, H)) < 0.6).astype(np.float64),
    }
    x = rng.standard_normal((B, T, features_of(name)))
    return x, [steps[k] for k in spec.get("step_inputs", ())], [rng.random((B, H)) for _ in spec["states"]]


def computed(name: str, p: Weights, x: Any, steps: list[Any], initial: list[Any]) -> Any:
    layer = {"type": "RNN", "units": H, "cell": p.cell}
    return reference.recurrence(layer, p.named, x, None, initial, steps)[0]


def test_every_cell_has_its_paper() -> None:
    assert set(PAPERS) == set(cells.__all__)


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("started", [False, True])
def test_is_what_the_paper_says(name: str, started: bool) -> None:
    x, steps, initial = data(name)
    p = Weights(name, x.shape[-1])
    state = initial if started else [np.zeros((B, H)) for _ in initial]
    got, expected = computed(name, p, x, steps, state), []
    for t in range(T):
        state = list(PAPERS[name](p, x[:, t], *state, *(s[:, t] for s in steps)))
        expected.append(state[0])
    np.testing.assert_allclose(got, np.stack(expected, 1), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in cells.__all__ if any(getattr(cells, name).step_inputs.values())])
def test_without_step_inputs_time_is_one_and_nothing_is_missing(name: str) -> None:
    x, steps, initial = data(name)
    p = Weights(name, x.shape[-1])
    full = computed(name, p, x, [np.ones_like(s) for s in steps], initial)
    p.cell = getattr(cells, name).spec(())
    assert "step_inputs" not in p.cell
    np.testing.assert_allclose(computed(name, p, x, [], initial), full, rtol=1e-12)


def test_slstm_stays_finite_where_its_gates_overflow() -> None:
    p = Weights("slstm", 5)
    for scale in (2000.0, -2000.0):
        p.named["bias"] = np.zeros_like(p["bias"])
        p.b("i")[:] = scale  # a view
        x, _, initial = data("slstm")
        assert np.isfinite(computed("slstm", p, x, [], [np.zeros_like(s) for s in initial])).all()


# --- other packages ---


def torch_step(module: Any, x: Any, *states: Any) -> Any:
    import torch

    with torch.no_grad():
        given = [torch.as_tensor(np.ascontiguousarray(s), dtype=torch.float64) for s in states]
        result = module.double()(torch.as_tensor(x), *([tuple(given)] if len(given) > 1 else given))
    return [np.asarray(v) for v in (result if isinstance(result, tuple) else (result,))]


# Their class, and for their rows of the weights our blocks: of the input, of the recurrence.
TORCHRECURRENT: dict[str, tuple[str, str, list[str]]] = {
    "light_gru": ("LiGRUCell", "zn", ["h.z", "h.n"]),
    "mgu": ("MGUCell", "fn", ["h.f", "value.n"]),
    "ind_rnn": ("IndRNNCell", "h", []),
    "ugrnn": ("UGRNNCell", "cg", ["h.c", "h.g"]),
    "fast_rnn": ("FastRNNCell", "h", ["h.h"]),
    "fast_grnn": ("FastGRNNCell", "a", ["h.a"]),
    "janet": ("JANETCell", "fn", ["h.f", "h.n"]),
}


@pytest.mark.parametrize("name", TORCHRECURRENT)
def test_agrees_with_torchrecurrent(name: str) -> None:
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("torchrecurrent")
    kind, blocks, recurrent = TORCHRECURRENT[name]
    options = {"ind_rnn": {"nonlinearity": "relu"}, "fast_grnn": {"nonlinearity": "sigmoid"}}.get(name, {})
    module = getattr(package, kind)(5, H, **options)
    p = Weights(name, 5)
    own = {key: torch.zeros_like(value) for key, value in module.state_dict().items()}
    own["weight_ih"] = np.concatenate([p.W(k).T for k in blocks])
    if recurrent:
        own["weight_hh"] = np.concatenate([p.R(k).T for k in recurrent])
    bias = np.concatenate([p.b(k) for k in blocks])
    if name == "fast_grnn":
        bias = np.concatenate([p.b("a"), p.b("a") + p["b_n"] - 1])
    own["bias_ih"] = bias
    for ours, theirs in (("alpha", "alpha"), ("beta", "beta"), ("zeta", "zeta"), ("nu", "nu")):
        if theirs in own and ours in p.named:
            own[theirs] = np.full(own[theirs].shape, p[ours].mean())
    if name == "ind_rnn":
        own["vector_u"] = p["u"]
    if name == "janet":
        own["beta"] = np.array(1.0)
    module.double().load_state_dict({key: torch.as_tensor(np.asarray(value)) for key, value in own.items()})
    x, _, initial = data(name)
    # Their JANET hands on h and c, which are one.
    expected = torch_step(module, x[:, 0], *(initial * 2 if name == "janet" else initial))
    layer = {"type": "RNN", "units": H, "cell": p.cell}
    _, states = reference.recurrence(layer, p.named, x[:, :1], None, initial)
    np.testing.assert_allclose(states[0], expected[0], rtol=1e-6, atol=1e-7)


def test_slstm_agrees_with_xlstm() -> None:
    torch = pytest.importorskip("torch")
    spec = pytest.importorskip("importlib.util").find_spec("xlstm")
    if spec is None:
        pytest.skip("xlstm is not installed")
    file = f"{spec.submodule_search_locations[0]}/blocks/slstm/src/vanilla/slstm.py"
    content: dict[str, Any] = {}
    with open(file) as source:
        exec(compile(source.read(), file, "exec"), content)  # the package itself wants CUDA's compiler
    p = Weights("slstm", 5)
    x, _, initial = data("slstm")
    order = "ifzo"
    state = torch.zeros(4, B, H, dtype=torch.float64)
    ours: list[Any] = [np.zeros((B, H)) for _ in initial]
    for t in range(T):
        h = np.asarray(state[0])
        Wx = np.concatenate([x[:, t] @ p.W(k) for k in order], -1)
        Rh = np.concatenate([h @ p.R(f"h.{k}") for k in order], -1)
        b = np.concatenate([p.b(k) for k in order])[None]
        state, _ = content["slstm_forward_pointwise"](*(torch.as_tensor(v) for v in (Wx, Rh, b)), state, {})
        layer = {"type": "RNN", "units": H, "cell": p.cell}
        _, ours = reference.recurrence(layer, p.named, x[:, t : t + 1], None, ours)
        for a, e in zip(ours, state, strict=True):
            np.testing.assert_allclose(a, np.asarray(e), rtol=1e-9, atol=1e-12)


def test_cfc_agrees_with_ncps() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("ncps")
    from ncps.torch.cfc_cell import CfCCell

    module = CfCCell(5, H, backbone_layers=0).double()
    p = Weights("cfc", 5)
    own = {}
    for layer, k in (("ff1", "g"), ("ff2", "n"), ("time_a", "a"), ("time_b", "b")):
        own[f"{layer}.weight"] = torch.as_tensor(np.concatenate([p.W(k), p.R(f"h.{k}")]).T.copy())
        own[f"{layer}.bias"] = torch.as_tensor(p.b(k))
    module.load_state_dict(own)
    x, (time,), (h,) = data("cfc")
    with torch.no_grad():
        expected, _ = module(torch.as_tensor(x[:, 0]), torch.as_tensor(h), torch.as_tensor(time[:, 0]))
    got = computed("cfc", p, x[:, :1], [time[:, :1]], [h])
    np.testing.assert_allclose(got[:, 0], np.asarray(expected), rtol=1e-9, atol=1e-12)
