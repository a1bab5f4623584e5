"""rekur.torch in use: accelerate, cells of rekur's as modules, torch.compile, scripts that change one import."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

import rekur  # noqa: E402
import rekur.torch as ours  # noqa: E402

EXAMPLES = Path(__file__).parent.parent / "examples" / "torch"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def close(got: Any, want: Any, tolerance: float = 2e-5) -> None:
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


# --- scripts ---


@pytest.mark.parametrize("name", ["word_language_model", "pos_tagger", "sequence_classifier"])
def test_a_script_gives_the_same_losses_with_one_import_changed(name: str) -> None:
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    theirs, count = re.subn(
        r"^from rekur\.torch import (\w+)  # or: (from torch\.nn import \1)$", r"\2", source, flags=re.M
    )
    assert count == 1
    losses = []
    for text in (source, theirs):
        space: dict[str, Any] = {"__name__": name}
        exec(compile(text, name, "exec"), space)
        found = space["main"](50)
        losses.append(found if isinstance(found, list) else found[0])
        used = next(m for m in map(space.get, ("LSTM", "GRU")) if m is not None)
        assert (used.__module__.split(".")[0] == "rekur") == (text is source)
    assert len(losses[0]) == 50 and losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-4)


# --- accelerate ---


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(5, 6, batch_first=True, bidirectional=True)
        self.inner = nn.ModuleDict({"gru": nn.GRU(12, 6, batch_first=True), "cell": nn.GRUCell(6, 6)})
        self.head = nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        y, _ = self.inner["gru"](self.encoder(x)[0])
        return self.head(self.inner["cell"](y[:, -1]))


def test_accelerate_replaces_in_place_and_says_what() -> None:
    torch.manual_seed(0)
    model = Model()
    model.again = model.encoder  # one module in two places
    model.twin = nn.GRU(12, 6, batch_first=True)
    for name, parameter in list(model.inner["gru"].named_parameters()):
        setattr(model.twin, name, parameter)  # tied
    x = torch.randn(3, 7, 5)
    want, parameters, modules = model(x), list(model.parameters()), list(model.modules())
    seen = []
    model.encoder.register_forward_hook(lambda module, given, result: seen.append(type(module)))
    done = ours.accelerate(model.eval())
    assert done.replaced == {"encoder": "LSTM", "inner.gru": "GRU", "inner.cell": "GRUCell", "twin": "GRU"}
    assert not done.left and "inner.gru: GRU" in str(done)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(a is b for a, b in zip(modules, model.modules(), strict=True))
    assert not model.encoder.training and isinstance(model.encoder, nn.LSTM) and model.again is model.encoder
    close(model(x), want)
    assert seen == [ours.LSTM]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    model(x).sum().backward()
    optimizer.step()
    assert not torch.equal(model(x), want)
    again = ours.accelerate(model)
    assert not again.replaced and set(again.left.values()) == {"it is on the engine already"}
    assert str(ours.accelerate(nn.Linear(1, 1))) == "no recurrent modules"
    alone = nn.RNN(2, 3)
    assert ours.accelerate(alone).replaced == {"": "RNN"} and type(alone) is ours.RNN
    close(copy.deepcopy(model)(x), model(x))
    close(pickle.loads(pickle.dumps(alone))(torch.ones(2, 1, 2))[0], alone(torch.ones(2, 1, 2))[0])


class OwnLSTM(nn.LSTM):
    pass


def test_accelerate_leaves_with_a_reason() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    with pytest.warns(FutureWarning):
        old_normed = nn.utils.weight_norm(nn.GRU(3, 4), "weight_ih_l0")
    patched = nn.RNN(3, 4)
    patched.forward = lambda x: x
    model = nn.ModuleDict(
        {
            "own": OwnLSTM(3, 4),
            "normed": normed,
            "old": old_normed,
            "precise": nn.GRU(3, 4).double(),
            "meta": nn.GRUCell(3, 4, device="meta"),
            "patched": patched,
            "scripted": torch.jit.script(nn.GRU(3, 4)),
            "fine": nn.RNNCell(3, 4),
        }
    )
    done = ours.accelerate(model)
    assert done.replaced == {"fine": "RNNCell"}
    words = {"own": "class of its own", "normed": "parametrised", "old": "computed", "precise": "float64"}
    words |= {"meta": "meta", "patched": "forward", "scripted": "scripted"}
    assert done.left.keys() == words.keys()
    for name, word in words.items():
        assert word in done.left[name]
    with pytest.raises(TypeError, match=r"accelerate: expected a torch.nn.Module, got int"):
        ours.accelerate(3)  # type: ignore[arg-type]
    # A parametrised module made of ours computes with the weights that the parametrisation gives.
    torch.manual_seed(1)
    mine = nn.utils.parametrizations.weight_norm(ours.LSTM(3, 4), "weight_hh_l0")
    theirs = nn.utils.parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(5, 2, 3)
    for module in (mine, theirs):
        module(x)[0].sum().backward()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        close(a.grad, b.grad)


# --- cells of rekur's ---


@pytest.mark.parametrize("name", ["min_gru", "lstm", "gru", "slstm", "lmu", "lru"])
def test_cells_of_rekur_as_modules(name: str) -> None:
    """Outputs, states and gradients against the same weights in a rekur model and central differences."""
    torch.manual_seed(3)
    cell = getattr(rekur.cells, name)
    module = ours.RNN(cell, 5, 6, num_layers=2, bidirectional=True)
    assert isinstance(module, ours.CellRNN) and module.cell is cell
    S = len(cell.states)
    x = torch.randn(7, 3, 5, requires_grad=True)
    hx = [(torch.randn(4, 3, 6) * 0.1).requires_grad_() for _ in range(S)]
    y, last = module(x, tuple(hx))
    last = last if isinstance(last, tuple) else (last,)
    assert y.shape == (7, 3, 12) and len(last) == S and last[0].shape == (4, 3, 6)
    dy = torch.randn_like(y)
    ((y * dy).sum() + sum(s.sum() for s in last)).backward()

    def loss() -> float:
        with torch.no_grad():
            y, last = module(x, tuple(hx))
            return float((y * dy).double().sum() + sum(s.double().sum() for s in (last if S > 1 else (last,))))

    rng = np.random.default_rng(0)
    checked = [x, *hx, *(p for p in module.parameters() if p.requires_grad)]
    for tensor in checked:
        at = tuple(int(rng.integers(n)) for n in tensor.shape)
        with torch.no_grad():
            value = float(tensor[at])
            tensor[at] = value + 1e-2
            above = loss()
            tensor[at] = value - 1e-2
            below = loss()
            tensor[at] = value
        assert float(tensor.grad[at]) == pytest.approx((above - below) / 2e-2, rel=0.05, abs=0.02)
    alone, _ = module(x[:4, 1], tuple(h[:, 1] for h in hx))
    packed = pack_padded_sequence(x, torch.tensor([2, 4, 7]), enforce_sorted=False)
    padded, lengths = pad_packed_sequence(module(packed, tuple(hx))[0])
    assert lengths.tolist() == [2, 4, 7]
    close(padded[:4, 1], alone, 1e-6)
    restored = pickle.loads(pickle.dumps(module))
    close(restored(x, tuple(hx))[0], y)
    other = ours.RNN(cell, 5, 6, num_layers=2, bidirectional=True)
    other.load_state_dict(module.state_dict())
    close(copy.deepcopy(other)(x, tuple(hx))[0], y)


def test_a_cell_as_module_is_the_layer_of_rekur() -> None:
    @rekur.cell
    def leaky(x: Any, h: Any) -> Any:
        return 0.9 * h + 0.1 * rekur.ops.tanh(x.a + h.b)

    torch.manual_seed(0)
    module = ours.RNN(leaky, 3, 4, batch_first=True)
    torch.manual_seed(0)
    again = ours.RNN(leaky, 3, 4, batch_first=True)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))
    layer = rekur.layers.RNN(leaky, 4, return_sequences=True)
    model = rekur.Sequential([rekur.Input((None, 3)), layer])
    model.set_weights([p.detach().numpy() for p in module.parameters()])
    x = torch.randn(2, 5, 3)
    close(module(x)[0].detach(), torch.from_numpy(model.predict(x.numpy(), verbose=0)), 1e-6)
    assert str(module) == "CellRNN(leaky, 3, 4, batch_first=True)"
    twice = ours.RNN(leaky, 3, 4, num_layers=2, dropout=0.5)
    torch.manual_seed(4)
    y = twice(x)[0]
    torch.manual_seed(4)
    assert torch.equal(twice(x)[0], y) and not torch.equal(twice.eval()(x)[0], y)
    x.requires_grad_()
    y, _ = module(x)
    with pytest.raises(RuntimeError, match="CellRNN: derivatives of the first order alone"):
        torch.autograd.grad(torch.autograd.grad(y.sum(), x, create_graph=True)[0].sum(), x)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ours.RNN(rekur.cells.min_gru, 0, 4), ValueError, "input_size must be an int above 0, got 0"),
        (lambda: ours.RNN(rekur.cells.min_gru, 3, 4, dropout=1.5), ValueError, r"dropout must be a number in \[0, 1\]"),
        (lambda: ours.RNN(rekur.cells.min_gru, 3, 4, zoneout=0.1), ValueError, "zoneout: not an option"),
        (lambda: ours.RNN(rekur.cells.min_gru, 3, 4, colour=1), TypeError, "colour"),
        (lambda: ours.RNN(rekur.cells.min_gru, 3, 4, dtype=torch.float64), ValueError, "float32 on the CPU"),
        (
            lambda: ours.RNN(rekur.cells.min_gru, 3, 4)(torch.ones(2, 1, 4)),
            ValueError,
            r"expected an input of \(…, 3\)",
        ),
        (lambda: ours.RNN(rekur.cells.min_gru, 3, 4)(torch.ones(2, 1, 3).double()), ValueError, "float64"),
        (
            lambda: ours.RNN(rekur.cells.lstm, 3, 4)(torch.ones(2, 1, 3), torch.ones(1, 1, 4)),
            ValueError,
            "hx must be 2",
        ),
        (
            lambda: ours.RNN(rekur.cells.min_gru, 3, 4)(torch.ones(2, 1, 3), torch.ones(1, 2, 4)),
            ValueError,
            r"state h: expected \(1, 1, 4\), got \(1, 2, 4\)",
        ),
    ],
)
def test_bad_arguments_of_cells(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


# --- torch.compile, threads, imports ---


def test_compile_takes_modules_whole() -> None:
    for module in (
        ours.LSTM(5, 7, num_layers=2, bidirectional=True, proj_size=3),
        ours.GRU(5, 7, num_layers=2, dropout=0.5).eval(),
        ours.LSTMCell(5, 7),
    ):
        torch._dynamo.reset()
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        for T in (4, 7):
            x = torch.randn(T, 5) if isinstance(module, nn.LSTMCell) else torch.randn(T, 2, 5)
            found = []
            for m in (module, compiled):
                module.zero_grad()
                own = x.clone().requires_grad_()
                m(own)[0].sum().backward()
                found.append([own.grad, *(p.grad.clone() for p in module.parameters())])
            for a, b in zip(*found, strict=True):
                close(a, b)
            with torch.no_grad():
                close(compiled(x)[0], module(x)[0])
    assert torch.compile(nn.GRU(2, 3), backend="eager")(torch.ones(2, 1, 2))[0].shape == (2, 1, 3)  # theirs: as ever


def test_threads_are_torchs_and_change_no_bit() -> None:
    module = ours.LSTM(40, 96, num_layers=2)
    x = torch.randn(20, 16, 40)
    found = []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        module.zero_grad()
        y, _ = module(x)
        y.sum().backward()
        found.append([y, *(p.grad.clone() for p in module.parameters())])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_forked_process_computes_with_threads_of_its_own() -> None:
    code = """
import os, signal, torch, rekur.torch
torch.set_num_threads(2)
module, x = rekur.torch.LSTM(40, 96), torch.randn(20, 16, 40)
want = module(x)[0]
if (child := os.fork()) == 0:
    signal.alarm(20)  # ends a child that waits for threads which it does not have
    os._exit(0 if torch.equal(module(x)[0], want) else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr


def test_checkpointing_and_distributed_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = ours.GRU(3, 5, num_layers=2, dropout=0.5)
    x = torch.randn(4, 2, 3, requires_grad=True)
    found = []
    for whole in (True, False):
        torch.manual_seed(7)
        module.zero_grad()
        y = module(x)[0] if whole else torch.utils.checkpoint.checkpoint(lambda x: module(x)[0], x, use_reentrant=False)
        y.sum().backward()
        found.append([y, *(p.grad.clone() for p in module.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    if not torch.distributed.is_available():
        return
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(module.eval())
        module.zero_grad()
        wrapped(x)[0].sum().backward()
        got = [p.grad.clone() for p in module.parameters()]
        module.zero_grad()
        module(x)[0].sum().backward()
        assert all(torch.equal(a, p.grad) for a, p in zip(got, module.parameters(), strict=True))
    finally:
        torch.distributed.destroy_process_group()


def test_memory_of_torchs_is_all_that_is_read() -> None:
    """A packed sequence that was tampered with is an error, not a read beyond its rows."""
    packed = pack_padded_sequence(torch.zeros(4, 2, 5), [4, 2])
    for sizes in ([2, 2, 1, 9], [2, 3, 1, 0], [2, 2, 2, 2], [1, 2, 2, 1]):
        wrong = nn.utils.rnn.PackedSequence(packed.data, torch.tensor(sizes))
        with pytest.raises((ValueError, RuntimeError)):
            ours.LSTM(5, 7)(wrong)
    cell = ours.GRUCell(5, 7)
    for name, size in (("bias_hh", (3,)), ("weight_hh", (21, 6)), ("weight_ih", (2, 5))):
        wrong_cell = copy.deepcopy(cell)
        getattr(wrong_cell, name).data = torch.zeros(size)
        with pytest.raises(RuntimeError):
            wrong_cell(torch.zeros(5, 5), torch.zeros(5, 7))
    sizes, weights = [5, 7, 0, 1], [p.detach() for p in ours.LSTM(5, 7).parameters()]
    call = (None, None, weights, [], None, 2, "lstm", sizes, False, True, False, False, False)
    assert torch.ops.rekur.recurrence(torch.zeros(4, 2, 5), *call)[0].shape == (4, 2, 7)
    with pytest.raises(ValueError, match=r"rekur::recurrence: x of shape \(4, 2, 4\) is none of"):
        torch.ops.rekur.recurrence(torch.zeros(4, 2, 4), *call)


def test_rekur_alone_imports_no_torch() -> None:
    code = "import rekur, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    code = "import sys; sys.modules['torch'] = None; import rekur; rekur.torch"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: rekur.torch needs PyTorch" in failed.stderr
