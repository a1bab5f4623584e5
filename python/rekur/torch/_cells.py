"""LSTMCell, GRUCell and RNNCell: torch's modules, whose step is the engine's where it can be and where that pays.

A step of a few rows takes some ten microseconds in torch, so every attribute that is looked at here counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import _VF, Tensor
from torch.nn import Parameter

from rekur.torch import _compiled, _engine
from rekur.torch._engine import Call, Engine, Kind
from rekur.torch._layers import off_ramp
from rekur.torch._traced import NotScripted, leaf

_PLAIN = (Tensor, Parameter)
_NAMES = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
_float32 = torch.float32
_get_num_threads = torch.get_num_threads
_is_grad_enabled = torch.is_grad_enabled
_peek = torch._C._functorch.peek_interpreter_stack
_modes = torch._C._len_torch_dispatch_stack
_is_tracing = torch._C._is_tracing
_autocast = torch._C._is_any_autocast_enabled
_forward_ad = torch.autograd.forward_ad

# Multiplications of a step for each of its rows from which on torch is the quicker, since it does not pack weights:
# by the number of rows, of more rows never. By measurement (benchmarks.torch_module); torch's own operations are
# called then.
_INFERENCE = {1: 1.2e5, 2: 2.5e5, 3: 2.5e5, 4: 2.5e5}
_TRAINING = {1: 5e4, 2: 5e4, 3: 5e4, 4: 5e4}
_TRAINING_RNN = (
    6 * 10**5
)  # of all rows of a simple cell: with fewer it is a few small operations, sooner done than told of


class Step(torch.autograd.Function):
    """A cell's step that autograd knows."""

    @staticmethod
    def forward(ctx: Any, engine: Engine, x: Tensor, h: Tensor | None, c: Tensor | None, *weights: Tensor) -> Any:
        ctx.tape = tape = _engine.new_tape()
        ctx.engine = engine
        ctx.save_for_backward(x, h, c, *weights)
        ctx.set_materialize_grads(False)
        return step(engine, x, h, c, weights, tape)

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor | None) -> Any:
        x, h, c, *weights = ctx.saved_tensors
        call = Call(ctx.engine, False, None, True, (), 1, x.size(0))
        given = (None, *arriving) if len(arriving) == 2 else (None, *arriving, None)
        tape, ctx.tape = ctx.tape, None
        return (None, *_engine.gradients(call, tape, x, h, c, weights, given, ctx.needs_input_grad[1:]))


def step(engine: Engine, x: Tensor, h: Tensor | None, c: Tensor | None, weights: Sequence[Tensor], tape: Any) -> Any:
    """The states after a step: (h, c), or h alone of a cell that has no c."""
    if x.stride(-1) != 1:
        x = x.contiguous()
    shape = (x.size(0), engine.kind.hidden_size)
    h = h if h is None or h.is_contiguous() else h.contiguous()
    c = c if c is None or c.is_contiguous() else c.contiguous()
    hn = x.new_empty(shape) if h is None else torch.empty_like(h)  # which is the quicker
    cn = torch.empty_like(hn) if engine.kind.cell == "lstm" else None
    given = [w if w.is_contiguous() else w.contiguous() for w in weights]
    engine.stack.step(
        _get_num_threads(),
        shape[0],
        x.data_ptr(),
        x.stride(0),
        0 if h is None else h.data_ptr(),
        0 if c is None else c.data_ptr(),
        [w.data_ptr() for w in given],
        hn.data_ptr(),
        0 if cn is None else cn.data_ptr(),
        tape,
    )
    return hn if cn is None else (hn, cn)


class StepMixin(NotScripted):
    """The forward pass of a cell. What does not fit goes to torch's, in the same words and with the same errors."""

    _cell: str
    _gates: int

    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        """As torch's module of that name: what ``module(input, hx)`` calls."""
        if torch.compiler.is_compiling():
            found = _compiled.cell(self, input, hx)
            return super().forward(input, hx) if found is None else found  # type: ignore[misc]
        engine, work, kind = self.__dict__.get("_rekur_engine") or self._engine()
        parameters = self.__dict__["_parameters"]
        if hx is not None and type(input) is Tensor and input.dim() == 2 and len(parameters) == 4 and not _autocast():
            rows, grad = input.size(0), _is_grad_enabled()
            most = (_TRAINING if grad else _INFERENCE).get(rows)
            if (most is not None and work >= most) or (grad and kind == "rnn" and rows * work < _TRAINING_RNN):
                h = hx[0] if kind == "lstm" else hx
                if type(h) is Tensor and h.dim() == 2 and list(parameters) == _NAMES:
                    return self._torch_step(input, hx, *parameters.values())
        given = None if engine is None else self._given(input, hx)
        if given is None:
            found = leaf(self, input, hx)
            return super().forward(input, hx) if found is None else found  # type: ignore[misc]
        training, batched, x, h, c, weights = given
        if (len(weights) > 2) is not engine.kind.bias:  # register_parameter, or deleted ones
            engine = self._engine()[0]
        found = Step.apply(engine, x, h, c, *weights) if training else step(engine, x, h, c, weights, None)
        if not batched:
            found = tuple(s.squeeze(0) for s in found) if self._cell == "lstm" else found.squeeze(0)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("input_size", "hidden_size", "nonlinearity", "bias_ih"):
            self.__dict__.pop("_rekur_engine", None)
        super().__setattr__(name, value)

    def _engine(self: Any) -> tuple[Engine | None, int, str]:
        """What does the steps, a row's multiplications, the cell's name."""
        cell = self._cell if self._cell != "rnn" else f"rnn_{self.nonlinearity}"
        if cell not in ("lstm", "gru", "rnn_tanh", "rnn_relu"):  # an unknown nonlinearity, which is an error in forward
            return None, 0, ""
        kind = Kind(cell, self.input_size, self.hidden_size, 0, 1, False, self.bias_ih is not None)
        work = self._gates * self.hidden_size * (self.input_size + self.hidden_size)
        found = self.__dict__["_rekur_engine"] = (Engine(kind), work, self._cell)
        return found

    def _given(self: Any, x: Any, hx: Any) -> tuple[Any, ...] | None:
        """Whether for training, whether there is a batch, input, states and weights.

        None: torch's module does it, which also knows what is wrong."""
        attributes = self.__dict__
        parameters = attributes["_parameters"]
        lstm = self._cell == "lstm"
        h = c = None
        if hx is not None:
            if not lstm:
                h = hx
            elif isinstance(hx, (tuple, list)) and len(hx) == 2:
                h, c = hx
            else:
                return None
        if _autocast():
            if not all(isinstance(t, Tensor) for t in (x, h, c) if t is not None):
                return None
            x, h, c = (None if t is None else off_ramp(t) for t in (x, h, c))
        weights = list(parameters.values())
        if list(parameters) != _NAMES:
            weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        if weights[2] is None and weights[3] is None:
            del weights[2:]
        grad = _is_grad_enabled()
        training = False
        if len(weights) > 2 and (weights[2] is None or weights[3] is None):  # one of them alone: torch knows
            return None
        for t in (x, h, c, *weights):
            if t is None:
                continue
            if type(t) not in _PLAIN or t.dtype is not _float32 or not t.is_cpu or t.is_neg():
                return None
            training = training or (grad and t.requires_grad)
        dims = x.dim()
        I, H = attributes["input_size"], attributes["hidden_size"]
        if dims == 1:
            if (h is not None and h.dim() != 1) or (c is not None and c.dim() != 1):
                return None
            x, h, c = (None if t is None else t.unsqueeze(0) for t in (x, h, c))
        elif dims != 2:
            return None
        shape = (B := x.size(0), H)
        if B == 0 or x.size(1) != I or (h is not None and h.shape != shape) or (c is not None and c.shape != shape):
            return None
        G = self._gates
        if _peek() is not None or _modes() > 0 or _forward_ad._current_level >= 0 or _is_tracing():
            return None
        if x.layout is not torch.strided or x.data_ptr() == 0:  # zeros without memory
            return None
        if weights[0].shape != (G * H, I) or weights[1].shape != (G * H, H):
            return None
        if len(weights) > 2 and (weights[2].numel() != G * H or weights[3].numel() != G * H):
            return None
        return training, dims == 2, x, h, c, weights


class LSTMCell(StepMixin, torch.nn.LSTMCell):
    """`torch.nn.LSTMCell` on rekur's engine: LSTMCell(input_size, hidden_size, bias=True, device=None, dtype=None).

    Input (B, I) or (I,), hx (h, c) of (B, H) or (H,) each; returns (h, c).
    """

    _cell, _gates = "lstm", 4
    _torch_step = staticmethod(_VF.lstm_cell)


class GRUCell(StepMixin, torch.nn.GRUCell):
    """`torch.nn.GRUCell` on rekur's engine: GRUCell(input_size, hidden_size, bias=True, device=None, dtype=None).

    Input (B, I) or (I,), hx (B, H) or (H,); returns h.
    """

    _cell, _gates = "gru", 3
    _torch_step = staticmethod(_VF.gru_cell)


class RNNCell(StepMixin, torch.nn.RNNCell):
    """`torch.nn.RNNCell` on rekur's engine: RNNCell(input_size, hidden_size, bias=True, nonlinearity="tanh", …).

    Input (B, I) or (I,), hx (B, H) or (H,); returns h.
    """

    _cell, _gates = "rnn", 1

    def _torch_step(self, *given: Any) -> Any:
        return _VF.rnn_tanh_cell(*given) if self.nonlinearity == "tanh" else _VF.rnn_relu_cell(*given)
