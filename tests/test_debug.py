"""rekur.debug: gradients that are right pass, wrong ones and corners are named."""

import re
from pathlib import Path

import numpy as np
import pytest

import rekur
from rekur import debug, losses, ops

RNG = np.random.default_rng(0)


def test_right_gradients_pass():
    x, w = RNG.normal(size=(7, 5)), RNG.normal(size=(7, 1))
    assert debug.check_gradients(lambda x: x * ops.sigmoid(1.7 * x), x) < 1e-5
    assert debug.check_gradients(lambda x, w: (ops.softmax(x) * w, ops.sum(ops.sin(x), axis=-1)), x, w) < 1e-5
    assert debug.check_loss_gradients(lambda y, p: ops.square(y - p), RNG.normal(size=(7, 5)), x) < 1e-5
    assert debug.check_loss_gradients(lambda y, p: p[..., 0] * ops.exp(p[..., 1]) - y, np.arange(7), x[:, :2]) < 1e-5


def test_a_wrong_gradient_is_named_with_its_place():
    x = RNG.normal(size=(4, 2)).astype(np.float32)

    def gradient(y, p):
        return 2 * p + np.where(p == x[2, 1], 1.0, 0.0)

    wrong = losses.Numpy(lambda y, p: np.sum(p**2, -1), gradient, name="wrong")
    with pytest.raises(ValueError, match=r"loss 'wrong': y_pred: at row 2, feature 1 the gradient is .*, central"):
        debug.check_loss_gradients(wrong, np.zeros(4), x)
    right = losses.Numpy(lambda y, p: np.sum(p**2, -1), lambda y, p: 2 * p)
    assert debug.check_loss_gradients(right, np.zeros(4), x) < 1e-5


def test_a_corner_is_named():
    with pytest.raises(ValueError, match=r"Lambda 'corner'.*at row 1, feature 0 .*at a corner"):

        def corner(x):
            return ops.relu(x - 1.0)

        debug.check_gradients(corner, [[0.5], [1.0]])


def test_mistakes():
    with pytest.raises(TypeError, match="is the engine's; expected a loss of one's own"):
        debug.check_loss_gradients("mse", [[0.0]], [[0.0]])
    with pytest.raises(ValueError, match=r"y_pred: expected points of shape \(N, F\), got \(3,\)"):
        debug.check_loss_gradients(lambda y, p: p, [0.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="expected equally many rows, got 2, 1"):
        debug.check_gradients(lambda a, b: a + b, [[1.0], [2.0]], [[1.0]])
    with pytest.raises(ValueError, match="expected the points"):
        debug.check_gradients(lambda: 0)


def test_the_code_of_docs_losses_runs_as_it_stands():
    text = (Path(__file__).parent.parent / "docs" / "losses.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 6
    space = {"rekur": rekur}
    for block in blocks:
        exec(compile(block, "docs/losses.md", "exec"), space)
    model, x, y = space["model"], RNG.normal(size=(6, 24, 1)), RNG.normal(size=(6, 1))
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
    ids = RNG.integers(0, 3, 6)
    for name, target, features in (("gaussian_nll", y, 2), ("quantiles", y, 3), ("focal", ids, 3)):
        assert debug.check_loss_gradients(space[name], target, RNG.normal(size=(6, features))) < 1e-4
    assert debug.check_loss_gradients(space["Pinball"](0.9), y, RNG.normal(size=(6, 1))) < 1e-4
