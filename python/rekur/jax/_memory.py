"""What forward passes keep for backward passes, which the engine finds again by tokens (bindings/layer_calls.cpp).

JAX may run a forward pass whose backward pass never comes, the backward pass twice, in another order or in another
process. So what is kept has bounds, and is never needed.
"""

from __future__ import annotations

from rekur import _core
from rekur._validate import integer


def set_tape_memory(size: int) -> None:
    """How many bytes may be kept between forward and backward passes, of all layers together; 1 GiB at first.

    A backward pass whose forward pass was not kept runs it again: about a third more time, the same numbers. With 0
    that is so always. Where the limit is met, what is oldest goes first. What is kept of a call is what its pass
    computed, copies of its inputs, and its weights as the engine has packed them, as four copies of them.

    Beside that, engines wait for the next call of their layers, with weights and working memory: up to 256 MiB of them
    together, or the one that was used last. This drops those that wait now.

    Parameters
    ----------
    size : int
        Bytes, at least 0.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    _core.set_tape_memory(integer(size, "set_tape_memory: size", 0))


def tape_memory() -> int:
    """Bytes that are kept now."""
    return _core.tape_memory()
