"""rekur.jax with the parameters of flax's cells: outputs, gradients, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from rekur import jax as rj  # noqa: E402


def floats(rng: np.random.Generator, *shape: int) -> Any:
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def total(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(f(*args)))


def close(a: Any, b: Any, tolerance: float = 3e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), a, b)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell"])
def test_linen(name: str, reverse: bool) -> None:
    nn = pytest.importorskip("flax.linen")
    rng = np.random.default_rng(1)
    x, lengths = floats(rng, 3, 6, 4), jnp.array([6, 0, 4])
    cell = getattr(nn, name)(5, bias_init=nn.initializers.normal())
    module = nn.RNN(cell, return_carry=True, reverse=reverse, keep_order=True)
    variables = module.init(jax.random.key(0), x)
    f = {"G": rj.gru, "S": rj.simple_rnn}.get(name[0], rj.lstm)
    there = (jnp.arange(6) < lengths[:, None])[..., None]

    def theirs(variables: Any) -> Any:
        carry, y = module.apply(variables, x, seq_lengths=lengths)
        carry = carry[::-1] if isinstance(carry, tuple) else (carry,)
        return [a[jnp.array([0, 2])] for a in (y * there, *carry)]  # flax has no rows of length 0

    def ours(variables: Any) -> Any:
        y, states = f(rj.from_flax(variables), x, lengths=lengths, reverse=reverse)
        return [a[jnp.array([0, 2])] for a in (y, *states)]

    close(ours(variables), theirs(variables))
    close(jax.jit(jax.grad(total(ours)))(variables), jax.jit(jax.grad(total(theirs)))(variables))
    close(rj.to_flax(rj.from_flax(variables)), variables["params"]["cell"], 0)
    with pytest.raises(ValueError, match="holds 2 cells"):
        rj.from_flax({"a": variables, "b": variables})


@pytest.mark.parametrize("name", ["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell"])
def test_nnx(name: str) -> None:
    nnx = pytest.importorskip("flax.nnx")
    x = floats(np.random.default_rng(1), 3, 6, 4)
    module = nnx.RNN(getattr(nnx, name)(4, 5, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(0)))
    state = nnx.state(module, nnx.Param)
    params = rj.from_flax(state)
    f = {"G": rj.gru, "S": rj.simple_rnn}.get(name[0], rj.lstm)
    close(f(params, x)[0], module(x))
    form = "nnx_optimized" if name.startswith("Opt") else "nnx"
    close({"cell": rj.to_flax(params, form)}, nnx.to_pure_dict(state), 0)
    if name == "GRUCell":
        with pytest.raises(ValueError, match="no bias beside the product of n and h"):
            rj.to_flax({**params, "bias": params["bias"] + 1}, "nnx")
