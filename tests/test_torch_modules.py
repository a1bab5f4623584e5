"""rekur.torch against torch: its own module tests, results and gradients over many shapes, errors, modules' lives."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence  # noqa: E402

import rekur.torch as ours  # noqa: E402
from rekur.torch import _engine  # noqa: E402

LAYERS = ("LSTM", "GRU", "RNN")
CELLS = ("LSTMCell", "GRUCell", "RNNCell")
OPTIONS: dict[str, list[dict[str, Any]]] = {
    name: [
        {},
        {"num_layers": 3},
        {"bidirectional": True},
        {"num_layers": 2, "bidirectional": True, "bias": False},
        {"num_layers": 2, "bidirectional": True, "dropout": 0.3},
        {"num_layers": 3, "dropout": 0.5},
        {"num_layers": 2, "dropout": 1.0},
        {"num_layers": 10},
        *({"LSTM": [{"proj_size": 1}, {"proj_size": 2, "num_layers": 2, "bidirectional": True}]}.get(name, [])),
        *({"RNN": [{"nonlinearity": "relu", "num_layers": 2}]}.get(name, [])),
    ]
    for name in LAYERS
}
SIZES = (1, 2, 3, 5, 7, 17, 31, 33)


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """torch's module and ours, with the same parameters."""
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    mine = getattr(ours, name)(*args, **kwargs)
    mine.load_state_dict(theirs.state_dict())
    return theirs, mine


def flat(value: Any) -> list[Any]:
    """Every tensor of a module's result."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return [value.data, value.batch_sizes, *(t for t in value[2:] if t is not None)]
    return [tensor for part in value for tensor in flat(part)]


def close(got: Any, want: Any, tolerance: float = 2e-5) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    if want.numel():
        got, want = got.detach(), want.detach()
    if want.numel():
        assert float((got - want).abs().max()) <= tolerance * max(1.0, float(want.abs().max()))


def results(module: Any, call: Callable[[Any, list[Any]], Any], tensors: list[Any], seed: int) -> list[Any]:
    """Outputs, gradients of the tensors and of all parameters, for gradients of outputs that are drawn by a seed."""
    module.zero_grad()
    given = [tensor.clone().requires_grad_() for tensor in tensors]
    torch.manual_seed(seed)
    outputs = [t for t in flat(call(module, given)) if t.is_floating_point()]
    torch.manual_seed(seed + 1)
    sum((t * torch.randn(t.shape)).sum() for t in outputs).backward()
    return [*outputs, *(t.grad for t in given), *(p.grad for p in module.parameters())]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def on_engine(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the engine's calls: a comparison of torch with torch would pass, too."""
    calls: list[int] = []
    forward = _engine._core.Stack.forward

    class Counting(_engine._core.Stack):
        def forward(self, *args: Any) -> None:
            calls.append(1)
            forward(self, *args)

    monkeypatch.setattr(_engine._core, "Stack", Counting)
    return calls


@pytest.mark.parametrize("name", LAYERS)
def test_results_and_gradients_are_torchs(name: str, on_engine: list[int]) -> None:
    rnd = random.Random(name)
    cases = [case for case in itertools.product(OPTIONS[name], *[(False, True)] * 3) if rnd.random() < 0.4]
    for options, packed, states, batch_first in cases:
        B, T, I, H = (rnd.choice(SIZES) for _ in range(4))
        T = min(T, 17)
        H = max(H, options.get("proj_size", 0) + 1)
        theirs, mine = pair(name, I, H, batch_first=batch_first, **options)
        lengths = torch.tensor([rnd.randint(1, T) for _ in range(B)])
        lengths[rnd.randrange(B)] = T
        tensors = [torch.randn((B, T, I) if batch_first else (T, B, I))]
        rows = theirs.num_layers * (2 if theirs.bidirectional else 1)
        if states:
            tensors += [torch.randn(rows, B, theirs.proj_size or H)]
            tensors += [torch.randn(rows, B, H)] if name == "LSTM" else []

        def call(module: Any, given: list[Any]) -> Any:
            x, *hx = given
            if packed:  # noqa: B023
                x = pack_padded_sequence(x, lengths, batch_first=module.batch_first, enforce_sorted=False)  # noqa: B023
            return module(x, (tuple(hx) if len(hx) == 2 else hx[0]) if hx else None)

        seed = rnd.randrange(2**30)
        before = len(on_engine)
        mine_results = results(mine, call, tensors, seed)
        assert len(on_engine) == before + (not (name == "RNN" and B == T == 1))  # which is torch's in training
        for got, want in zip(mine_results, results(theirs, call, tensors, seed), strict=True):
            close(got, want)
        for context in (torch.no_grad, torch.inference_mode):
            with context():
                torch.manual_seed(seed)
                found = flat(call(mine, tensors))
            for got, want in zip((t for t in found if t.is_floating_point()), mine_results, strict=False):
                close(got, want, 1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_cells_results_and_gradients_are_torchs(name: str) -> None:
    rnd = random.Random(name)
    for bias, states, batched in itertools.product(*[(False, True)] * 3):
        for _ in range(4):
            B, I, H = (rnd.choice((*SIZES, 130)) for _ in range(3))
            relu = {"nonlinearity": "relu"} if name == "RNNCell" and rnd.random() < 0.5 else {}
            theirs, mine = pair(name, I, H, bias=bias, **relu)
            shape = (B,) if batched else ()
            count = (1 + (name == "LSTMCell")) * states
            tensors = [torch.randn(*shape, I), *(torch.randn(*shape, H) for _ in range(count))]

            def call(module: Any, given: list[Any]) -> Any:
                x, *hx = given
                return module(x, (tuple(hx) if len(hx) == 2 else hx[0]) if hx else None)

            for got, want in zip(results(mine, call, tensors, 3), results(theirs, call, tensors, 3), strict=True):
                close(got, want)
            with torch.no_grad():
                for got, want in zip(flat(call(mine, tensors)), flat(call(theirs, tensors)), strict=True):
                    close(got, want)


def module_infos() -> list[Any]:
    pytest.importorskip("expecttest")  # which torch's tests import
    from torch.testing._internal.common_modules import module_db

    names = {*LAYERS, *CELLS}
    return [info for info in module_db if info.module_cls.__name__ in names]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_torchs_own_module_inputs(name: str, dtype: Any) -> None:
    """The inputs of torch's tests of its modules, which bring references with them: with and without a batch, hx, …"""
    (info,) = (info for info in module_infos() if info.module_cls.__name__ == name)
    assert info.module_cls is getattr(torch.nn, name)
    count = 0
    for training in (False, True):
        for sample in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training):
            args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
            module = getattr(ours, name)(*args, **kwargs).to(dtype).train(training)
            theirs = getattr(torch.nn, name)(*args, **kwargs).to(dtype).train(training)
            theirs.load_state_dict(module.state_dict())
            given = sample.forward_input
            got = module(*given.args, **given.kwargs)
            for a, b in zip(flat(got), flat(theirs(*given.args, **given.kwargs)), strict=True):
                torch.testing.assert_close(a, b)
            if sample.reference_fn is not None:
                wanted = sample.reference_fn(module, *given.args, **given.kwargs)
                for a, b in zip(flat(got), flat(wanted), strict=True):
                    torch.testing.assert_close(a, b)
            sum(t.sum() for t in flat(got)).backward()
            assert all(p.grad is not None for p in module.parameters())
            assert repr(module) == repr(theirs)
            assert {k: v.shape for k, v in module.state_dict().items()} == {
                k: v.shape for k, v in theirs.state_dict().items()
            }
            count += 1
    assert count > 3


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell", "LSTM", "GRU", "RNN"])
def test_torchs_own_errors(name: str) -> None:
    (info,) = (info for info in module_infos() if info.module_cls.__name__ == name)
    if info.module_error_inputs_func is None:
        pytest.skip("torch has none for it")
    for given in info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=False
    ):
        sample = given.module_error_input
        module = None
        with pytest.raises(given.error_type, match=given.error_regex):
            module = getattr(ours, name)(*sample.constructor_input.args, **sample.constructor_input.kwargs)
            assert "FORWARD" in str(given.error_on)
            module(*sample.forward_input.args, **sample.forward_input.kwargs)


WRONG: list[Callable[[Any], Any]] = [
    lambda m: m(torch.zeros(4, 2, 6)),
    lambda m: m(torch.zeros(4, 2, 5, 1)),
    lambda m: m(torch.zeros(5)),
    lambda m: m(torch.zeros(0, 2, 5)),
    lambda m: m(torch.zeros(4, 0, 5)),
    lambda m: m(torch.zeros(4, 2, 5, dtype=torch.float64)),
    lambda m: m(torch.zeros(4, 2, 5, dtype=torch.int64)),
    lambda m: m(torch.zeros(4, 2, 5), torch.zeros(1, 2, 8)),
    lambda m: m(torch.zeros(4, 2, 5), torch.zeros(2, 7)),
    lambda m: m(torch.zeros(4, 2, 5), (torch.zeros(1, 3, 7), torch.zeros(1, 2, 7))),
    lambda m: m(torch.zeros(4, 5), torch.zeros(1, 1, 7)),
    lambda m: m(torch.zeros(4, 2, 5), 3),
    lambda m: m([[1.0]]),
    lambda m: m(pack_padded_sequence(torch.zeros(4, 2, 5), [4, 0])),
    lambda m: m(pack_padded_sequence(torch.zeros(4, 2, 6), [4, 1])),
    lambda m: m(pack_padded_sequence(torch.zeros(4, 2, 5), [4, 1]), torch.zeros(1, 3, 7)),
    lambda m: type(m)(5, 7, proj_size=7),
    lambda m: type(m)(5, 7, dropout=2),
    lambda m: type(m)(5.0, 7),
    lambda m: type(m)(5, 0),
    lambda m: type(m)(5, 7, colour="red"),
    lambda m: m.load_state_dict({"weight_ih_l0": torch.zeros(3)}),
    lambda m: (setattr(m, "weight_hh_l0", torch.nn.Parameter(torch.zeros(3, 7))), m(torch.zeros(4, 2, 5))),
    lambda m: (setattr(m.bias_hh_l0, "data", torch.zeros(2)), m(torch.zeros(4, 2, 5))),
]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("case", range(len(WRONG)))
def test_bad_input_fails_as_in_torch(name: str, case: int) -> None:
    outcomes = []
    for module in pair(name, 5, 7):
        try:
            WRONG[case](module)
            outcomes.append((None, ""))
        except Exception as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]


def test_packed_sequences_as_torch_tests_them() -> None:
    """Rows alone give what they give in a batch; a packed batch gives what its rows do, in the order given."""
    torch.manual_seed(0)
    rows = [torch.randn(n, 4) for n in (3, 7, 1, 7, 2)]
    for options in ({}, {"bidirectional": True}, {"num_layers": 2}):
        module = ours.LSTM(4, 6, **options)
        packed = pack_sequence(rows, enforce_sorted=False)
        y, (h, c) = module(packed)
        assert torch.equal(y.batch_sizes, packed.batch_sizes)
        padded, lengths = pad_packed_sequence(y)
        for i, row in enumerate(rows):
            alone, (h1, c1) = module(row)
            close(padded[: lengths[i], i], alone, 1e-6)
            close(h[:, i], h1, 1e-6)
            close(c[:, i], c1, 1e-6)
    y, _ = ours.GRU(4, 6)(pack_sequence(rows[:1]))
    assert y.sorted_indices is None


def test_gradients_of_the_second_order_are_torchs() -> None:
    """In double all is torch's own (gradcheck is exact); in float32 a second derivative is by torch's operations."""
    double = ours.LSTM(3, 4, num_layers=2, dropout=0.0).double()
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: double(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: double(x)[0], x)
    for name, options in (
        ("GRU", {"num_layers": 2, "dropout": 0.4}),
        ("LSTM", {"bidirectional": True}),
        ("GRUCell", {}),
    ):
        found = []
        for module in pair(name, 3, 8, **options):
            x = torch.linspace(-1, 1, 24).reshape((4, 2, 3) if name in LAYERS else (8, 3)).requires_grad_()
            torch.manual_seed(1)
            (g,) = torch.autograd.grad(flat(module(x))[0].sum(), x, create_graph=True)
            (g.pow(2).sum()).backward()
            found.append([x.grad, *(p.grad for p in module.parameters() if p.grad is not None)])
        for got, want in zip(*found, strict=True):
            close(got, want, 1e-4)


def test_backward_twice_and_through_a_part() -> None:
    theirs, mine = pair("LSTM", 3, 5, num_layers=2)
    found = []
    for module in (theirs, mine):
        x = torch.linspace(-1, 1, 18).reshape(3, 2, 3).requires_grad_()
        y, (h, _) = module(x)
        y.sum().backward(retain_graph=True)
        h[1].sum().backward()
        frozen = module.weight_hh_l0.requires_grad_(False)
        y, _ = module(x)
        y[0, 0].sum().backward()
        found.append([x.grad, *(p.grad for p in module.parameters())])
        frozen.requires_grad_(True)
    for got, want in zip(*found, strict=True):
        close(got, want)


def test_outputs_may_be_changed_in_place() -> None:
    """They are no part of what the backward pass reads."""
    y, _ = ours.GRU(3, 5)(torch.randn(4, 2, 3, requires_grad=True))
    y.relu_().sum().backward()


def test_nans_go_where_they_go_in_torch() -> None:
    for name in LAYERS:
        theirs, mine = pair(name, 3, 5)
        x = torch.randn(6, 3, 3)
        x[2, 1, 0] = float("nan")
        with torch.no_grad():
            assert torch.equal(mine(x)[0].isnan(), theirs(x)[0].isnan())


def test_weights_are_read_anew_however_they_are_changed() -> None:
    theirs, mine = pair("GRU", 3, 5)
    x = torch.randn(4, 2, 3)
    changes: list[Callable[[Any], Any]] = [
        lambda m: m.weight_hh_l0.data.add_(0.1),  # leaves no trace in Tensor._version
        lambda m: m.weight_ih_l0.data[1:3].neg_(),
        lambda m: m.bias_hh_l0.detach().numpy().__setitem__(slice(0, 4), 0.5),
        lambda m: setattr(m, "weight_ih_l0", torch.nn.Parameter(torch.ones(15, 3) * 0.1)),
        lambda m: m.load_state_dict({k: v * 0.5 for k, v in m.state_dict().items()}),
        lambda m: m.to(torch.float64).to(torch.float32),
    ]
    with torch.no_grad():
        for change in changes:
            before = mine(x)[0]
            change(mine), change(theirs)
            assert not torch.equal(mine(x)[0], before) or change is changes[-1]
            close(mine(x)[0], theirs(x)[0], 1e-5)
            close(torch.func.functional_call(mine, {"bias_ih_l0": torch.ones(15)}, x)[0],
                  torch.func.functional_call(theirs, {"bias_ih_l0": torch.ones(15)}, x)[0], 1e-5)  # fmt: skip


def test_training_modules_lives() -> None:
    """Hooks, deepcopy, pickles, state_dicts both ways, parameter names, devices and precisions of torch."""
    module = ours.LSTM(3, 5, num_layers=2, proj_size=2)
    x = torch.randn(4, 2, 3)
    y, _ = module(x)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module.requires_grad_()))):
        assert torch.equal(other(x)[0], y)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    theirs = torch.nn.LSTM(3, 5, num_layers=2, proj_size=2)
    theirs.load_state_dict(torch.load(buffer, weights_only=True))
    close(theirs(x)[0], y, 1e-6)
    seen = []
    module.register_forward_hook(lambda m, given, result: seen.append(result[0].shape))
    module(x)
    assert seen == [y.shape] and isinstance(module, torch.nn.LSTM)
    assert module.to("meta")(x.to("meta"))[0].shape == y.shape
    half = ours.GRU(3, 5).to(torch.bfloat16)
    assert half(x.to(torch.bfloat16))[0].dtype is torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rest = torch.nn.Linear(3, 3)(x)
        assert rest.dtype is torch.bfloat16
        assert ours.GRU(3, 5)(rest)[0].dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert ours.GRU(3, 5, dtype=torch.float32)(x)[0].dtype is torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_transforms_and_tracing_are_torchs() -> None:
    theirs, mine = pair("GRU", 3, 5)
    x = torch.randn(4, 2, 3)
    cells = pair("GRUCell", 3, 5)
    close(*(torch.func.vmap(cell)(x[0]) for cell in cells))
    close(*(torch.func.jvp(cell, (x[0],), (x[1],))[1] for cell in cells))
    gradient = torch.func.grad(lambda x: mine(x)[0].sum())(x)
    close(gradient, torch.func.grad(lambda x: theirs(x)[0].sum())(x))
    traced = torch.jit.trace(mine, (x,), check_trace=False)
    close(traced(x)[0], theirs(x)[0])
    exported = torch.export.export(mine, (x,))
    close(exported.module()(x)[0], theirs(x)[0])
    assert "rekur" not in str(exported.graph)


def test_several_threads_use_a_module_at_once() -> None:
    """Even with weights of their own, as replicas of DataParallel have."""
    module = ours.LSTM(5, 16, num_layers=2)
    x = torch.randn(7, 3, 5)
    module(x)
    call = _engine.Call(module._rekur_engine, False, None, False, (), 7, 3)
    weights = [[(p.detach() * scale).requires_grad_() for p in module.parameters()] for scale in (1.0, 0.5, 2.0)]

    def gradients(i: int) -> list[Any]:
        y, _, _ = _engine.run(call, x, None, None, weights[i])
        return [y.detach(), *torch.autograd.grad(y.pow(2).sum(), weights[i])]

    wanted = [gradients(i) for i in range(3)]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(40):
            if not all(torch.equal(a, b) for a, b in zip(gradients(i), wanted[i], strict=True)):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_any_strides_and_shared_memory() -> None:
    theirs, mine = pair("LSTM", 3, 5, batch_first=True)
    base = torch.randn(3, 9, 8)
    h, c = torch.randn(5, 4).t()[None], torch.randn(1, 1, 5).expand(1, 4, 5)
    for x in (base.permute(2, 1, 0)[:4, ::2], torch.randn(3).expand(4, 5, 3), torch.randn(4, 5, 6)[..., ::2]):
        for got, want in zip(flat(mine(x, (h, c))), flat(theirs(x, (h, c))), strict=True):
            close(got, want, 1e-6)
    x = np.ones((4, 5, 3), np.float32)
    y, _ = mine(torch.from_numpy(x))
    y.sum().expand(2).sum().backward()
    tied = ours.RNN(5, 5)
    tied.weight_hh_l0 = tied.weight_ih_l0
    tied(torch.randn(3, 2, 5))[0].sum().backward()
    assert tied.weight_ih_l0.grad is not None
