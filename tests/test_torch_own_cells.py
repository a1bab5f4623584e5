"""CellRNN, rekur's cells as modules of torch's: several weights at once, threads, and what it refuses by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import rekur  # noqa: E402
import rekur.torch as ours  # noqa: E402
from rekur import _core  # noqa: E402
from rekur.torch import _own_cells  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    yield
    torch.set_num_threads(before)


def test_two_forward_passes_with_different_weights_before_a_backward_pass() -> None:
    module = ours.RNN(rekur.cells.min_gru, 3, 4, num_layers=2)
    x = torch.randn(5, 2, 3)
    weights = [{n: (k * p.detach()).requires_grad_() for n, p in module.named_parameters()} for k in (1, 2, 3)]

    def loss(k: int) -> Any:
        return torch.func.functional_call(module, weights[k], (x,))[0].pow(2).sum()

    want = [torch.autograd.grad(loss(k), list(weights[k].values())) for k in range(3)]
    losses = [loss(k) for k in range(3)]
    for k in (1, 0, 2, 1):
        got = torch.autograd.grad(losses[k], list(weights[k].values()), retain_graph=True)
        torch.testing.assert_close(got, want[k], rtol=0, atol=0)


def test_weights_that_are_drawn_anew_in_each_call() -> None:
    class Noise(torch.nn.Module):
        def forward(self, weight: Any) -> Any:
            return weight + 0.1 * torch.randn_like(weight)

    module = ours.RNN(rekur.cells.min_gru, 3, 4)
    torch.nn.utils.parametrize.register_parametrization(module, "kernel_l0", Noise())
    x = torch.randn(5, 2, 3)
    (module(x)[0] - module(-x)[0]).pow(2).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    module = ours.RNN(rekur.cells.min_gru, 3, 4)
    y = module(x)[0]
    module.reset_parameters()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_negated_views() -> None:
    module = ours.RNN(rekur.cells.min_gru, 3, 4)
    x = torch.randn(5, 2, 3)
    h = torch.randn(1, 2, 4)
    got = module(torch._neg_view(x), torch._neg_view(h))[0]
    torch.testing.assert_close(got, module(-x, -h)[0])
    (d,) = torch.autograd.grad(got.sum(), module.kernel_l0, retain_graph=True)
    (minus,) = torch.autograd.grad(got, module.kernel_l0, torch._neg_view(torch.ones(5, 2, 4)))
    torch.testing.assert_close(minus, -d)


def test_the_number_of_threads_is_that_of_this_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _core._allow_any_number_of_threads(True)
    before = rekur.get_num_threads()
    try:
        rekur.set_num_threads(3)
        module = ours.RNN(rekur.cells.min_gru, 3, 4)
        x = torch.randn(5, 2, 3)
        seen: list[int] = []
        entered, leave = threading.Event(), threading.Event()
        array = _own_cells._Engine.take

        def take(self: Any, weights: Any) -> int:
            seen.append(rekur.get_num_threads())
            entered.set()
            leave.wait(10)
            return array(self, weights)

        monkeypatch.setattr(_own_cells._Engine, "take", take)
        worker = threading.Thread(target=lambda: module(x))
        worker.start()
        assert entered.wait(10)
        assert rekur.get_num_threads() == 3  # while the other thread computes with torch's one
        leave.set()
        worker.join()
        assert seen == [3] and rekur.get_num_threads() == 3
    finally:
        rekur.set_num_threads(before)
        _core._allow_any_number_of_threads(False)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        _core.ThreadLimit(0)


@pytest.mark.parametrize(
    "option",
    [
        {"stateful": True}, {"return_sequences": False}, {"return_state": False}, {"unroll": True}, {"name": "a"},
        {"kernel_regularizer": "l2"}, {"recurrent_regularizer": "l2"}, {"bias_regularizer": "l2"},
        {"kernel_constraint": "non_neg"}, {"recurrent_constraint": "non_neg"}, {"bias_constraint": "non_neg"},
        {"activity_regularizer": "l2"}, {"units": 9}, {"use_bias": False}, {"zero_output_for_mask": True},
        {"input_shape": (5, 3)}, {"learn_initial_state": True}, {"dropout": 0.5},
    ],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_options_without_effect_are_refused_by_name(option: dict[str, Any]) -> None:
    if "dropout" in option:  # torch's own: between layers
        assert ours.RNN(rekur.cells.gru, 3, 4, **option).dropout == 0.5
        return
    with pytest.raises(ValueError, match=f"{next(iter(option))}: not an option of a module"):
        ours.RNN(rekur.cells.gru, 3, 4, **option)


X = torch.ones(5, 2, 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m([1, 2]), TypeError, "input must be a torch.Tensor, got list"),
        (lambda m: m(X, torch.zeros(1, 2, 4).double()), ValueError, "state h of torch.float64"),
        (lambda m: m(X, torch.zeros(1, 2, 4).half()), ValueError, "state h of torch.float16"),
        (lambda m: m(X, [[0]]), TypeError, "state h must be a torch.Tensor, got list"),
        (lambda m: m(X, 0), TypeError, "state h must be a torch.Tensor, got int"),
        (lambda m: m(X, torch.tensor(0.0)), ValueError, r"state h: expected \(1, 2, 4\), got \(\)"),
        (lambda m: m(X[:, 0], torch.tensor(0.0)), ValueError, "state h: expected 2 dimensions"),
        (lambda m: m(X[:, 0], torch.zeros(1, 1, 4)), ValueError, "state h: expected 2 dimensions"),
        (lambda m: m.double()(X), ValueError, "kernel_l0 of torch.float64"),
        (lambda m: m.to("meta")(X), ValueError, "kernel_l0 of torch.float32 on meta"),
        (lambda m: torch.vmap(m)(X[None]), RuntimeError, "torch.func"),
        (lambda m: torch.func.grad(lambda x: m(x)[0].sum())(X), RuntimeError, "torch.func"),
        (
            lambda m: torch.autograd.grad(
                m(X)[0], m.kernel_l0, torch.ones(3, 5, 2, 4), is_grads_batched=True
            ),
            RuntimeError,
            "is_grads_batched",
        ),
    ],
)  # fmt: skip
def test_arguments_are_named_in_errors(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(ours.RNN(rekur.cells.min_gru, 3, 4))
