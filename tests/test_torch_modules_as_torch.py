"""rekur.torch where tensors are not just memory: they depend on one another, are negated, traced, batched, half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import rekur  # noqa: E402
import rekur.torch as ours  # noqa: E402

LAYERS = ("LSTM", "GRU", "RNN")
CELLS = ("LSTMCell", "GRUCell", "RNNCell")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    yield
    torch.set_num_threads(before)


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    mine = getattr(ours, name)(*args, **kwargs)
    mine.load_state_dict(theirs.state_dict())
    return theirs, mine


def first(value: Any) -> Any:
    return first(value[0]) if isinstance(value, tuple) else value


def close(got: Any, want: Any, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


# --- tensors that depend on one another ---


def carried(q: Any, x: Any) -> Any:
    _, state = q(x)
    return q(x * 2, state)[0]


def twice(q: Any, x: Any) -> Any:
    return q(q(x)[0])[0]


def state_of_input(q: Any, x: Any) -> Any:
    h = x.sum(0, keepdim=True).tanh()
    return q(x, (h, h.sin()) if isinstance(q, torch.nn.LSTM) else h)[0]


def weight_of_weight(q: Any, x: Any) -> Any:
    weights = dict(q.named_parameters())
    weights["weight_hh_l0"] = weights["weight_ih_l0"].tanh()
    return torch.func.functional_call(q, weights, (x,))[0]


def tied(q: Any, x: Any) -> Any:
    q.weight_hh_l0 = q.weight_ih_l0
    return q(x)[0]


def three_steps(q: Any, x: Any) -> Any:
    state = q(x[0])
    for _ in range(2):
        state = q(first(state), state)
    return first(state)


@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_first_and_second_derivatives_where_one_argument_depends_on_another(name: str) -> None:
    uses = [carried, twice, state_of_input, weight_of_weight, tied]
    for use in [three_steps] if name in CELLS else uses:
        found = []
        for q in pair(name, 3, 3):
            torch.manual_seed(1)
            x = torch.randn(4, 2, 3).requires_grad_()
            leaves = [x, *q.parameters()]
            loss = use(q, x).pow(2).sum()
            leaves = [x, *q.parameters()]  # tied: fewer
            once = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
            penalty = sum(g.pow(2).sum() for g in once if g is not None)
            again = torch.autograd.grad(penalty, leaves, allow_unused=True)
            found.append([g for g in (*once, *again) if g is not None])
        assert len(found[0]) == len(found[1])
        for want, got in zip(*found, strict=True):
            scale = max(1.0, float(want.detach().abs().max()))
            close(got / scale, want / scale)


def test_gradients_by_torchs_operations_ask_for_no_more_gradients() -> None:
    module = ours.GRU(3, 4)
    x = torch.ones(5, 2, 3, requires_grad=True)
    (found,) = torch.autograd.grad(module(x)[0], x, torch._neg_view(torch.ones(5, 2, 4)))
    assert not found.requires_grad


# --- tensors whose numbers are not their memory's ---


@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_negated_tensors(name: str) -> None:
    theirs, mine = pair(name, 1 if name == "LSTM" else 40, 40)
    width = theirs.input_size
    steps = (2,) if name in CELLS else (3, 2)
    x = torch.randn(*steps, width, dtype=torch.cfloat).conj().imag
    h = torch._neg_view(torch.randn(*((1,) if name in LAYERS else ()), 2, 40))
    hx = (h, h) if name.startswith("LSTM") else h
    assert x.is_neg()
    with torch.no_grad():
        close(first(mine(x)), first(theirs(x)))
        close(first(mine(x.clone(), hx)), first(theirs(x.clone(), hx)))
        weights = {n: torch._neg_view(p) for n, p in theirs.named_parameters()}
        got, want = (first(torch.func.functional_call(q, weights, (x,))) for q in (mine, theirs))
        close(got, want)
    found = []
    for q in (theirs, mine):
        given = x.clone().requires_grad_()
        y = first(q(given))
        found.append(torch.autograd.grad(torch.complex(y, y).conj().imag.sum(), [given, *q.parameters()]))
    for want, got in zip(*found, strict=True):
        close(got, want)


@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_zeros_without_memory(name: str) -> None:
    theirs, mine = pair(name, 3, 40)
    x = torch._efficientzerotensor((5, 2, 3) if name in LAYERS else (2, 3))
    h = torch._efficientzerotensor((1, 2, 40) if name in LAYERS else (2, 40))
    with torch.no_grad():
        found = first(mine(x))
        if name != "LSTM":  # torch's own, which does it, reads what is not there
            close(found, first(theirs(torch.zeros(x.shape))))
        close(first(mine(x + 1, (h, h) if name.startswith("LSTM") else h)), first(theirs(torch.ones(x.shape))))


# --- traced, batched ---


@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_under_dispatch_modes_it_is_torch(name: str) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    theirs, mine = pair(name, 3, 40)
    x, other = (torch.randn(*((5, 2) if name in LAYERS else (2,)), 3) for _ in range(2))
    with torch.no_grad():
        graph = make_fx(lambda x: first(mine(x)))(x)
        close(graph(other), first(theirs(other)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert type(first(mine(x))) is type(first(theirs(x)))
    given = x.clone().requires_grad_()
    y = first(mine(given))
    with FakeTensorMode(allow_non_fake_inputs=True):
        (found,) = torch.autograd.grad(y, given, torch.ones_like(y.detach()))
    assert type(found).__name__ == "FakeTensor"


@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_gradients_in_batches(name: str) -> None:
    found = []
    for q in pair(name, 3, 40):
        torch.manual_seed(1)
        x = torch.randn(*((5, 2) if name in LAYERS else (2,)), 3).requires_grad_()
        y = first(q(x))
        arriving = torch.randn(3, *y.shape)
        each = [torch.autograd.grad(y, x, d, retain_graph=True)[0] for d in arriving]
        (batched,) = torch.autograd.grad(y, x, arriving, is_grads_batched=True)
        close(batched, torch.stack(each))
        call: Callable[[Any], Any] = lambda x, q=q: first(q(x)).sum(0)  # noqa: E731
        found.append(torch.autograd.functional.jacobian(call, x.detach(), vectorize=True))
    close(found[1], found[0])


class Model(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.LSTM(3, 4)
        self.cell = torch.nn.GRUCell(4, 40)

    def forward(self, x: Any, h: Any) -> Any:
        y, _ = self.layer(x)
        return self.cell(y[-1], h)


def test_symbolic_trace_calls_the_modules_as_it_calls_torchs() -> None:
    model = Model()
    before = torch.fx.symbolic_trace(model)
    x, h = torch.randn(5, 2, 3), torch.randn(2, 40)
    want = model(x, h)
    ours.accelerate(model)
    after = torch.fx.symbolic_trace(model)
    before.graph.eliminate_dead_code()
    after.graph.eliminate_dead_code()
    assert str(after.graph) == str(before.graph) and type(after.layer) is ours.LSTM
    close(after(x, h), want)
    own = torch.nn.Sequential(ours.RNN(rekur.cells.min_gru, 3, 4))
    close(first(torch.fx.symbolic_trace(own)(x)), first(own(x)))


def test_scripting_is_refused_with_words() -> None:
    model = Model()
    ours.accelerate(model)
    for module in (model, ours.GRU(3, 4), ours.RNNCell(3, 4), ours.RNN(rekur.cells.min_gru, 3, 4)):
        with pytest.raises(RuntimeError, match=r"rekur\.torch\.\w+: torch.jit.script runs without Python"):
            torch.jit.script(module)


# --- biases, autocast ---


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("called", [False, True])
def test_biases_taken_from_a_cell(name: str, called: bool) -> None:
    x = torch.randn(2, 3)

    def register(q: Any, name: str) -> None:
        q.register_parameter(name, None)

    def assign(q: Any, name: str) -> None:
        setattr(q, name, None)

    for take in (register, assign):
        for gone in (["bias_ih"], ["bias_hh"], ["bias_ih", "bias_hh"]):
            theirs, mine = pair(name, 3, 40)
            for q in (theirs, mine):
                if called:
                    q(x)
                for bias in gone:
                    take(q, bias)
            with torch.no_grad():
                try:
                    want = first(theirs(x))
                except Exception as error:
                    with pytest.raises(type(error)):
                        mine(x)
                else:
                    close(first(mine(x)), want)
                    compiled = torch.compile(mine, backend="eager")
                    close(first(compiled(x)), want)
                if len(gone) == 2:
                    for bias in gone:
                        for q in (theirs, mine):
                            q.register_parameter(bias, torch.nn.Parameter(torch.ones(q.weight_ih.size(0))))
                    close(first(mine(x)), first(theirs(x)))


@pytest.mark.parametrize("grad", [False, True])
def test_under_autocast_what_goes_out_is_float32_whatever_the_sizes(grad: bool) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(grad):
        for hidden in (4, 300):
            for name in CELLS:
                cell = getattr(ours, name)(3, hidden)
                for dtype in (torch.float32, torch.bfloat16):
                    h = torch.zeros(1, hidden, dtype=dtype)
                    hx = (h, h) if name == "LSTMCell" else h
                    assert first(cell(torch.ones(1, 3, dtype=dtype), hx)).dtype is torch.float32
            for steps in (1, 4):
                layer = ours.RNN(3, hidden)
                assert layer(torch.ones(steps, 1, 3, dtype=torch.bfloat16))[0].dtype is torch.float32


# --- what is saved for backward ---


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell"])
def test_hooks_of_saved_tensors_see_all_that_is_kept(name: str) -> None:
    from torch.utils.checkpoint import checkpoint

    options = {"num_layers": 2, "dropout": 0.5} if name in LAYERS else {}
    theirs, mine = pair(name, 3, 40, **options)
    x = torch.randn(*((5, 2) if name in LAYERS else (2,)), 3, requires_grad=True)
    found = []
    for q in (theirs, mine):
        leaves = [x, *q.parameters()]
        for reentrant in (None, False, True):
            torch.manual_seed(2)
            y = first(q(x) if reentrant is None else checkpoint(lambda x, q=q: q(x), x, use_reentrant=reentrant))
            if reentrant is True:
                q.zero_grad()
                x.grad = None
                y.pow(2).sum().backward()
                found.append([t.grad.clone() for t in leaves])
                continue
            once = torch.autograd.grad(y.pow(2).sum(), leaves, retain_graph=True)
            found.append(list(once))
            if reentrant is False and q is mine:
                assert y.grad_fn.tape is None
    for got in found[1:]:
        for a, b in zip(got, found[0], strict=True):
            close(a, b)
    moved = []
    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: moved.append(t.shape) or t.clone(), lambda t: t):
        y = first(mine(x))
    assert y.grad_fn.tape is None
    if name in LAYERS:
        assert (5, 2, 40) in [tuple(shape) for shape in moved]  # the dropout's mask
    for a, b in zip(torch.autograd.grad(y.pow(2).sum(), [x, *mine.parameters()]), found[0], strict=True):
        close(a, b)
