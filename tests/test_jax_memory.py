"""What rekur.jax keeps: between forward and backward passes with the weights, and of engines that wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from rekur import _core  # noqa: E402
from rekur import jax as rj  # noqa: E402


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    rj.set_tape_memory(0)
    rj.set_tape_memory(2**30)
    yield
    rj.set_tape_memory(0)
    rj.set_tape_memory(2**30)


def sample(units: int) -> tuple[dict[str, Any], Any, int]:
    params = rj.init("gru", 0, 8, units)
    return params, jnp.ones((1, 2, 8)), sum(w.size * 4 for w in params.values())


def value(params: Any, x: Any) -> Any:
    return rj.gru(params, x)[0].sum()


def test_weights_count_as_what_is_kept() -> None:
    params, x, weights = sample(256)
    rj.set_tape_memory(20 * weights)
    backs = [jax.vjp(value, params, x)[1] for _ in range(10)]
    assert 12 * weights <= rj.tape_memory() <= 20 * weights
    found = [back(jnp.ones(()))[0] for back in backs]  # those that were dropped, too
    for gradients in found[1:]:
        for name in gradients:
            np.testing.assert_array_equal(gradients[name], found[0][name])
    rj.set_tape_memory(3 * weights)  # of which not one call is kept
    jax.vjp(value, params, x)
    assert rj.tape_memory() == 0


def test_engines_that_wait_have_a_bound_and_go_when_it_is_set() -> None:
    params, x, weights = sample(1536)  # 4 · 28 MB
    assert _core._idle_memory() == 0
    backs = [jax.vjp(value, params, x)[1] for _ in range(4)]
    assert rj.tape_memory() > 15 * weights and _core._idle_memory() == 0
    for back in backs:
        back(jnp.ones(()))
    assert rj.tape_memory() == 0
    assert 4 * weights <= _core._idle_memory() <= 2**28
    rj.set_tape_memory(2**30)
    assert _core._idle_memory() == 0
    rj.gru(params, x)
    first = _core._idle_memory()
    assert first >= 4 * weights
    rj.gru(params, x)  # the engine that waited
    assert _core._idle_memory() == first
    kept = jax.vjp(value, params, x)
    rj.set_tape_memory(0)  # with the engine of what was kept
    assert _core._idle_memory() == 0 and rj.tape_memory() == 0
    del kept


def test_many_layers_wait_within_the_bound() -> None:
    for units in range(1500, 1509):  # 36 MB each
        params = {"kernel": jnp.ones((1, units)), "recurrent_kernel": jnp.ones((units, units))}
        rj.simple_rnn(params, jnp.ones((1, 1)), use_bias=False)
    assert 2**27 < _core._idle_memory() <= 2**28
