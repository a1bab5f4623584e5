"""Recurrent layers for JAX, computed by rekur's engine: pure functions of parameters, under jit, grad and vmap.

    params = rekur.jax.init("lstm", 0, features=8, units=32)
    y, (h, c) = rekur.jax.lstm(params, x)                      # x (B, T, 8), y (B, T, 32)
    gradient = jax.grad(lambda params: rekur.jax.lstm(params, x)[0].sum())(params)

docs/jax.md says what it costs, and what it refuses.
"""

try:
    import jax as _jax
except ImportError as error:
    if error.name not in (None, "jax"):  # what jax itself lacks
        raise
    raise ImportError('rekur.jax needs jax, which is not installed: pip install "rekur[jax]"', name="jax") from None

from rekur.jax._ffi import compile
from rekur.jax._flax import from_flax, to_flax
from rekur.jax._layer import gru, init, lstm, rnn, simple_rnn
from rekur.jax._memory import set_tape_memory, tape_memory

__all__ = [
    "compile",
    "from_flax",
    "gru",
    "init",
    "lstm",
    "rnn",
    "set_tape_memory",
    "simple_rnn",
    "tape_memory",
    "to_flax",
]

del _jax


def __dir__() -> list[str]:
    return __all__
