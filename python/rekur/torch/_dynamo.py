"""torch.compile takes modules of ours whole."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

# torch.compile refuses to look into instances of torch's LSTM, GRU and RNN unless torch._dynamo.config.allow_rnn is
# set. That is for modules whose operations it would unroll; ours are one operation. So it is allowed for ours, and
# for ours alone, when torch._dynamo is there: importing it would take as long as torch.
_BUILDER = "torch._dynamo.variables.builder"


def _allow_ours(builder: ModuleType) -> None:
    from rekur.torch._layers import EngineMixin

    try:
        wrap = builder.VariableBuilder.wrap_module
        patch = sys.modules["torch._dynamo.config"].patch
    except (AttributeError, KeyError):  # another torch: its own rule stands
        return

    def wrap_module(self: Any, value: Any) -> Any:
        if not isinstance(value, EngineMixin):
            return wrap(self, value)
        with patch(allow_rnn=True):
            return wrap(self, value)

    builder.VariableBuilder.wrap_module = wrap_module


class _Watch(MetaPathFinder):
    """Hears when torch._dynamo is imported."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != _BUILDER:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader)
        return spec


class _Then(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        _allow_ours(module)


def allow_in_compile() -> None:
    """Lets torch.compile take modules of ours whole, now or when it comes to be imported."""
    if (builder := sys.modules.get(_BUILDER)) is not None:
        _allow_ours(builder)
    else:
        sys.meta_path.insert(0, _Watch())
