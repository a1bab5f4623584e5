"""Modules of torch's in a model that is there already, put on the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from rekur.torch._cells import GRUCell, LSTMCell, RNNCell, StepMixin
from rekur.torch._layers import GRU, LSTM, RNN, EngineMixin

_OURS: dict[type[nn.Module], type[nn.Module]] = {
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.RNN: RNN,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
    nn.RNNCell: RNNCell,
}
_TORCHS = tuple(_OURS)


class Accelerated(NamedTuple):
    """What `accelerate` did, by the names of `named_modules`: what it replaced, and what it left, with the reason."""

    replaced: dict[str, str]
    left: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{name or '(the model)'}: {kind}, on rekur's engine" for name, kind in self.replaced.items()]
        lines += [f"{name or '(the model)'}: left, {why}" for name, why in self.left.items()]
        return "\n".join(lines) or "no recurrent modules"


def accelerate(model: nn.Module) -> Accelerated:
    """Puts the recurrent modules of a model on rekur's engine, in place, and says which.

    A module stays the object that it is: its parameters (and so an optimiser's, and tied weights), hooks, buffers,
    mode and whoever holds a reference to it. Only its class becomes that of `rekur.torch`, which is a subclass. Left,
    with the reason: modules of a subclass of torch's, whose forward pass may be another; those whose weights are
    computed (weight_norm, spectral_norm, parametrisations, pruning) — they would run, but accelerate changes nothing
    that has been changed —; those with a forward of their own; scripted ones; and those of another precision or on
    another device, which torch would run.

    Returns an `Accelerated`: `.replaced` name -> class, `.left` name -> reason; `print` shows it.

    Raises TypeError where the model is no `torch.nn.Module`.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate: expected a torch.nn.Module, got {type(model).__name__}")
    done = Accelerated({}, {})
    for name, module in _recurrent(model):
        if (why := _reason(module)) is not None:
            done.left[name] = why
            continue
        kind = type(module)
        module.__class__ = _OURS[kind]
        done.replaced[name] = kind.__name__
    return done


def _recurrent(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        scripted = isinstance(module, torch.jit.ScriptModule)
        if isinstance(module, _TORCHS) or (
            scripted and getattr(module, "original_name", "") in {kind.__name__ for kind in _OURS}
        ):
            yield name, module


def _reason(module: nn.Module) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        return "it is scripted: TorchScript runs it without Python"
    kind = type(module)
    if issubclass(kind, (EngineMixin, StepMixin)):
        return "it is on the engine already"
    if nn.utils.parametrize.is_parametrized(module):
        return "its weights are parametrised"
    if kind not in _OURS:
        return f"it is of a class of its own, {kind.__module__}.{kind.__qualname__}"
    if "forward" in module.__dict__:
        return "it has a forward of its own"
    names = module._flat_weights_names if isinstance(module, nn.RNNBase) else ["weight_ih", "weight_hh"]
    if missing := [name for name in names if module._parameters.get(name) is None]:
        return f"its weights are computed: {missing[0]} is no parameter (weight_norm, spectral_norm or pruning)"
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.dtype is not torch.float32:
            return f"{name} is of {parameter.dtype}: the engine's are float32"
        if parameter.device.type != "cpu":
            return f"{name} is on {parameter.device}: the engine runs on the CPU"
        if type(parameter) is not nn.Parameter:
            return f"{name} is a {type(parameter).__name__}, whose numbers are not its own memory's"
    return None
