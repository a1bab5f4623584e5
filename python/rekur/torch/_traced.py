"""Modules of ours before those who read modules instead of calling them: torch.fx and TorchScript."""

from __future__ import annotations

from typing import Any


def leaf(module: Any, input: Any, hx: Any) -> Any:
    """Under torch.fx.symbolic_trace the call of the module itself, as of torch's modules; otherwise None.

    torch.fx takes modules of torch.nn for leaves by the name of their Python module, and would look into ours."""
    from torch.fx import Proxy

    given = (input, *(hx if isinstance(hx, (tuple, list)) else (hx,)))
    proxy = next((value for value in given if isinstance(value, Proxy)), None)
    if proxy is None:
        return None
    tracer: Any = proxy.tracer
    if module is getattr(tracer, "root", None):  # traced itself: torch's words
        return None
    arguments = (input,) if hx is None else (input, hx)
    return tracer.create_proxy("call_module", tracer.path_of_module(module), arguments, {})


class NotScripted:
    """TorchScript compiles the source of a module, which for ours would be that of the calls of the engine."""

    def __prepare_scriptable__(self) -> Any:  # torch.jit.script asks for what is to be compiled
        name = type(self).__name__
        raise RuntimeError(
            f"rekur.torch.{name}: torch.jit.script runs without Python and the engine; script torch.nn's module with "
            "the same state_dict, or use torch.compile"
            if name != "CellRNN"
            else "rekur.torch.CellRNN: torch.jit.script runs without Python and the engine"
        )
