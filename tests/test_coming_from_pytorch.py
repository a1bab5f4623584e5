"""docs/coming-from-pytorch.md is true: every pair of its tables and every block runs, and both give the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur

PAGE = (Path(__file__).parent.parent / "docs" / "coming-from-pytorch.md").read_text(encoding="utf-8")


def rows(title: str) -> list[tuple[str, str]]:
    section = PAGE.split(f"\n### {title}\n", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    found = [tuple(re.findall(r"`([^`]+)`", cell)[0] for cell in line.strip("| ").split(" | ")) for line in lines]
    return [(theirs, mine) for theirs, mine in found]


def blocks(language: str) -> list[str]:
    return [text for name, text in re.findall(r"```python\n# (\w+)\n(.*?)```", PAGE, re.DOTALL) if name == language]


LAYERS, LENGTHS, TRAINING = rows("Layers"), rows("Sequences of different lengths"), rows("Training")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 20, 4)).astype(np.float32)
Y = RNG.standard_normal((8, 1)).astype(np.float32)
WORDS = RNG.integers(0, 50, (8, 20)).astype(np.int32)
STEPS = np.array([20, 3, 1, 7, 20, 5, 2, 9], np.int32)


def ours(**more: Any) -> dict[str, Any]:
    names = ("layers", "losses", "optimizers", "utils")
    return {"rekur": rekur, "np": np, **{name: getattr(rekur, name) for name in names}, **more}


def theirs(**more: Any) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    names = ("pack_padded_sequence", "pad_sequence")
    return {"torch": torch, "nn": torch.nn, **{n: getattr(torch.nn.utils.rnn, n) for n in names}, **more}


def test_the_tables_are_read() -> None:
    assert len(LAYERS) > 10 and len(LENGTHS) > 1 and len(TRAINING) > 10
    assert [len(blocks(kind)) for kind in ("torch", "rekur", "both")] == [1, 1, 1]


def model_of(code: str) -> Any:
    """The right side of a pair of layers as a model."""
    x = rekur.Input((20,), dtype="int32") if "words" in code else rekur.Input((20, 4))
    return rekur.Model(x, eval(code, ours(x=x, words=x)))


@pytest.mark.parametrize(("their_code", "our_code"), LAYERS)
def test_pairs_of_layers(their_code: str, our_code: str) -> None:
    """The same shape of output; with torch's weights the same output."""
    given = WORDS if "words" in our_code else X
    model = model_of(our_code)
    got = model.predict(given, verbose=0)
    space = theirs()
    torch, convert = space["torch"], pytest.importorskip("rekur.convert")
    made = []
    hook = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: made.append(module))
    try:
        want = eval(their_code, {**space, "x": torch.from_numpy(X), "words": torch.from_numpy(WORDS)})
    finally:
        hook.remove()
    assert got.shape == tuple(want.shape)
    if made and not isinstance(made[0], torch.nn.Dropout):
        converted = convert.load(made[0])
        model.set_weights(converted.get_weights())
    if not made or not isinstance(made[0], torch.nn.Dropout):
        np.testing.assert_allclose(model.predict(given, verbose=0), want.detach().numpy(), atol=2e-5)


def test_pairs_of_lengths() -> None:
    model = rekur.Sequential([rekur.Input((None, 4)), rekur.layers.GRU(3)])
    assert eval(LENGTHS[0][1], ours(model=model, x=X, lengths=STEPS)).shape == (8, 3)
    np.testing.assert_array_equal(eval(LENGTHS[1][1], ours()), [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    space = theirs(x=None, lengths=None)
    torch = space["torch"]
    packed = eval(LENGTHS[0][0], {**space, "x": torch.from_numpy(X), "lengths": torch.from_numpy(STEPS).long()})
    assert packed.data.shape == (STEPS.sum(), 4)
    assert eval(LENGTHS[1][0], space).tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize(("their_code", "our_code"), TRAINING)
def test_pairs_of_training(their_code: str, our_code: str) -> None:
    threads = rekur.get_num_threads()
    made = eval(our_code, ours())
    rekur.set_num_threads(threads)
    space = theirs()
    torch = space["torch"]
    threads = torch.get_num_threads()
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    other = eval(their_code, {**space, "p": [parameter]})
    torch.set_num_threads(threads)
    if our_code.startswith("losses"):
        logits, targets = torch.randn(6, 3), torch.rand(6, 3)
        if "Sparse" in our_code:
            targets = torch.tensor([0, 2, 1, 1, 0, 2])
        got = float(np.asarray(made(targets.numpy(), logits.numpy())))
        assert got == pytest.approx(float(other(logits, targets)), rel=1e-5)
    if our_code.startswith("optimizers"):
        start = parameter.detach().numpy().copy()
        weights = one_step_model(start, made)
        for _ in range(3):
            parameter.grad = torch.tensor([1.0, 1.0, 1.0])
            other.step()
        np.testing.assert_allclose(weights, parameter.detach().numpy(), rtol=2e-4)


def one_step_model(start: np.ndarray, optimizer: Any) -> np.ndarray:
    """Three weights after three steps whose gradients are all ones: of the sum of what they are multiplied with."""
    model = rekur.Sequential([rekur.Input((3,)), rekur.layers.Dense(1, use_bias=False)])
    model.set_weights([start.reshape(3, 1)])
    x, y = np.ones((1, 3), np.float32), np.full((1, 1), -1e6, np.float32)
    model.compile(optimizer=optimizer, loss="mae")  # its gradient is 1 above the target
    model.fit(x, y, epochs=3, batch_size=1, verbose=0)
    return model.get_weights()[0][:, 0]


def test_the_training_loops_agree() -> None:
    space = theirs()
    torch = space["torch"]
    torch.manual_seed(0)
    begin = "start = [p.detach().clone() for p in model.parameters()]\noptimizer = "
    made: dict[str, Any] = {}
    space |= {"x": torch.from_numpy(X), "y": torch.from_numpy(Y)}
    exec(blocks("torch")[0].replace("optimizer = ", begin), space, made)
    mine = ours(x=X, y=Y)
    weights = [made["start"][0].T.numpy(), made["start"][1].numpy()]
    code = blocks("rekur")[0].replace(
        "model.fit(x, y, ", "model.build((None, 20, 4)); model.set_weights(weights)\nmodel.fit(x, y, shuffle=False, "
    )
    exec(code, mine | {"weights": weights}, result := {})
    got = result["model"].get_weights()
    want = [p.detach().numpy() for p in made["model"].parameters()]
    np.testing.assert_allclose(got[0], want[0].T, atol=1e-5)
    np.testing.assert_allclose(got[1], want[1], atol=1e-5)


def test_weights_go_in() -> None:
    space = theirs() | ours()
    exec(blocks("both")[0], space)
    want, _ = space["module"](space["torch"].from_numpy(X))
    np.testing.assert_allclose(space["model"].predict(X, verbose=0), want.detach().numpy(), atol=1e-5)


def test_the_cells_of_the_page() -> None:
    torch = theirs()["torch"]
    code = re.search(r"(    @rekur\.cell\n.*?)\n\nIt is", PAGE, re.DOTALL)
    assert code is not None
    import rekur.torch

    space: dict[str, Any] = {"rekur": rekur}
    # A decorated function needs its source: it stands in the page.
    exec(re.sub("^    ", "", code[1], flags=re.MULTILINE), space)
    assert space["layer"](torch.zeros(5, 2, 16))[0].shape == (5, 2, 32)
    done = rekur.torch.accelerate(torch.nn.ModuleDict({"encoder": torch.nn.LSTM(2, 3)}))
    assert "encoder: LSTM, on rekur's engine" in str(done) and "encoder: LSTM, on rekur's engine" in PAGE
