"""Options of rekur.jax that are no options: errors that name them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

import rekur  # noqa: E402
from rekur import jax as rj  # noqa: E402
from rekur.jax import _ffi  # noqa: E402

PARAMS = rj.init("lstm", 0, 3, 4)
X = jnp.ones((2, 5, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: jax.jit(lambda c: rj.lstm(PARAMS, X, clip=c)[0])(1.0), "option 'clip' is traced"),
        (lambda: jax.jit(lambda c: rj.lstm(PARAMS, X, peepholes=c)[0])(True), "option 'peepholes' is traced"),
        (lambda: jax.jit(lambda c: rj.lstm(PARAMS, X, coupled_gates=c)[0])(True), "option 'coupled_gates' is traced"),
        (lambda: rj.lstm(PARAMS, X, clip=np.ones(3)), "option 'clip' must be .* got ndarray"),
        (lambda: rj.lstm(PARAMS, X, clip=jnp.ones(3)), "option 'clip' must be"),
        (lambda: rj.lstm(PARAMS, X, activation=["tanh"]), "option 'activation' must be .* got list"),
        (lambda: rj.rnn(rekur.cells.min_gru, PARAMS, X, residual=[1]), "option 'residual' must be .* got list"),
    ],
)
def test_options_that_are_data_are_named(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


def test_a_number_may_be_an_array_of_no_axes() -> None:
    want = rj.lstm(PARAMS, X, clip=0.25)[0]
    for clip in (np.float32(0.25), np.array(0.25), jnp.float32(0.25)):
        np.testing.assert_array_equal(rj.lstm(PARAMS, X, clip=clip)[0], want)


def test_compile_again_returns_what_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    class Loaded:
        _name = "/somewhere/jax.so"

    monkeypatch.setattr(_ffi, "_loaded", [Loaded()])
    assert rj.compile(folder=tmp_path / "other") == "/somewhere/jax.so"
    assert not (tmp_path / "other").exists()
