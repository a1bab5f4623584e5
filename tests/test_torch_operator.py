"""The operators of rekur.torch, called by hand and by compiled modules: what they refuse, and what may come again."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

import rekur.torch as ours  # noqa: E402

GRU = [3, 4, 0, 1]


def weights(cell: str = "gru") -> list[Any]:
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 4) if cell == "lstm" else torch.nn.GRU(3, 4)
    return [p.detach() for p in module.parameters()]


def run(x: Any, **given: Any) -> Any:
    usual = {"h": None, "c": None, "weights": weights(), "masks": [], "batch_sizes": None, "batch": 2, "cell": "gru"}
    usual |= {
        "sizes": GRU,
        "bidirectional": False,
        "bias": True,
        "batch_first": False,
        "step": False,
        "training": False,
    }
    return torch.ops.rekur.recurrence(x, **{**usual, **given})


@pytest.mark.parametrize(
    ("x", "given", "words"),
    [
        (torch.ones(1).expand(5, 2, 3, 1), {}, "x of shape"),
        (torch.ones(5, 3, 2), {"batch": 3}, "x of shape"),
        (torch.ones(5, 2, 3), {"batch": 77}, "batch is 77"),
        (torch.ones(5, 2, 3), {"step": True}, "x of shape"),
        (torch.ones(2, 3), {"step": True, "sizes": [3, 4, 0, 2], "weights": weights() * 2}, "float32 on the CPU"),
        (torch.ones(4, 3), {"batch_sizes": torch.tensor([2, 1, 1], dtype=torch.int32)}, "int64"),
        (torch.ones(4, 3), {"batch_sizes": torch.tensor([2.0, 1, 1])}, "int64"),
        (torch.ones(4, 3), {"batch_sizes": torch.tensor([[2, 2]])}, "one dimension"),
        (torch.ones(4, 3), {"batch_sizes": torch.zeros(0, dtype=torch.int64)}, "rows are 0"),
        (torch.ones(4, 3), {"batch_sizes": torch.tensor([2, 3])}, "batch sizes"),
        (torch.ones(4, 3), {"batch_sizes": torch.tensor([2, 1])}, "batch sizes"),
        (torch.ones(5, 2, 3), {"h": torch.ones(1)}, "h: expected"),
        (torch.ones(5, 2, 3), {"h": torch.ones(8)}, "h: expected"),
        (torch.ones(5, 2, 3), {"c": torch.ones(1, 2, 4)}, "c: expected"),
        (torch.ones(5, 2, 3), {"weights": []}, "no weights"),
        (torch.ones(5, 2, 3), {"weights": weights()[:3]}, "weights"),
        (torch.ones(5, 2, 3), {"sizes": [3, -4, 0, 1]}, "sizes"),
        (torch.ones(5, 2, 3), {"sizes": [3]}, "sizes"),
        (torch.ones(5, 2, 3), {"cell": "gro"}, "unknown cell"),
        (torch.ones(5, 2, 3), {"masks": [torch.ones(1)]}, "masks"),
        (torch.ones(5, 2, 3), {"masks": [torch.ones(5, 2, 4)]}, "mask"),
    ],
)
def test_operands_that_do_not_fit_are_refused(x: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, RuntimeError), match=words):
        run(x, **given)


def test_a_step_is_of_one_layer() -> None:
    module = torch.nn.GRU(3, 4, num_layers=2)
    given = [p.detach() for p in module.parameters()]
    with pytest.raises(ValueError, match="one layer"):
        run(torch.ones(2, 3), step=True, sizes=[3, 4, 0, 2], weights=given)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tape": torch.zeros(0)}, "tape"),
        ({"tape": torch.zeros(1).expand(100000)}, "tape"),
        ({"tape": None}, "tape"),
        ({"dy": torch.ones(1, 1, 1)}, "output's gradient"),
        ({"dy": torch.ones(50, 2, 4, dtype=torch.float64)}, "output's gradient"),
        ({"dh": torch.ones(1)}, "h's gradient"),
        ({"dc": torch.ones(1, 2, 4)}, "c's gradient"),
        ({"wanted": [True]}, "wanted"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(change: dict[str, Any], words: str) -> None:
    x = torch.ones(50, 2, 3)
    tape = run(x, training=True)[3]
    given = {
        "tape": tape,
        "dy": torch.ones(50, 2, 4),
        "dh": None,
        "dc": None,
        "wanted": [True, False, False] + [True] * 4,
    }
    given |= {"tape": tape.double()} if change.get("tape", 0) is None else change
    arriving = [given["dy"], given["dh"], given["dc"]]
    with pytest.raises(ValueError, match=words):
        torch.ops.rekur.recurrence_backward(
            given["tape"], arriving, given["wanted"], x, None, None, weights(), [], None, 2, "gru", GRU, False, True,
            False, False,
        )  # fmt: skip


def loss(module: Any, x: Any) -> Any:
    if isinstance(module, torch.nn.RNNCellBase):
        state = module(x[0])
        for _ in range(2):
            state = module(x[1], state)
        return (state[0] if isinstance(state, tuple) else state).pow(2).sum()
    first, state = module(x)
    return module(2 * x, state)[0].pow(2).sum() + first.sum()


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell"])
def test_compiled_without_a_compiler_backward_twice_and_second_derivatives(name: str) -> None:
    theirs, mine = getattr(torch.nn, name)(3, 4), getattr(ours, name)(3, 4)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 2, 3, requires_grad=True)
    compiled = torch.compile(lambda x: loss(mine, x), backend="eager", fullgraph=True)
    want = torch.autograd.grad(loss(theirs, x), [x, *theirs.parameters()], create_graph=True)
    leaves = [x, *mine.parameters()]
    value = compiled(x)
    for _ in range(3):
        got = torch.autograd.grad(value, leaves, retain_graph=True)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    once = torch.autograd.grad(compiled(x), leaves, create_graph=True)
    torch.testing.assert_close(once, want, rtol=1e-4, atol=1e-5)
    got = torch.autograd.grad(sum(g.pow(2).sum() for g in once), leaves)
    want = torch.autograd.grad(sum(g.pow(2).sum() for g in want), [x, *theirs.parameters()])
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


def test_a_traced_backward_pass_is_the_operator() -> None:
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.compilers import make_boxed_compiler

    graphs: list[str] = []

    def keep(graph: Any, _: Any) -> Any:
        graphs.append(graph.code)
        return make_boxed_compiler(lambda graph, _: graph.forward)(graph, _)

    module = ours.LSTM(3, 4)
    compiled = torch.compile(module, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep))
    compiled(torch.ones(5, 2, 3))[0].sum().backward()
    assert len(graphs) == 2 and "rekur.recurrence_backward" in graphs[1]
