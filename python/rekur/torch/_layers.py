"""LSTM, GRU and RNN: torch's modules, whose forward pass is the engine's where it can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rekur._cell import Cell
from rekur.torch import _compiled
from rekur.torch._engine import Call, Engine, dropout_masks, fits, kind_of, run
from rekur.torch._traced import NotScripted, leaf

_autocast = torch._C._is_any_autocast_enabled


def engine_of(module: Any) -> Engine:
    """The module's own. What it was made for may have been changed since, as it may in torch."""
    engine: Engine | None = module.__dict__.get("_rekur_engine")
    if engine is None or engine.kind != kind_of(module):
        engine = module.__dict__["_rekur_engine"] = Engine(kind_of(module))
    return engine


def weights_of(module: Any) -> list[Any]:
    """As torch finds them: those that stand in the module now."""
    parameters = module._parameters
    if list(parameters) == module._flat_weights_names:
        return list(parameters.values())
    module._update_flat_weights()
    return list(module._flat_weights)


def off_ramp(tensor: Tensor) -> Tensor:
    """Under autocast: float32."""
    return tensor.float() if tensor.is_floating_point() and tensor.dtype is not torch.float32 else tensor


def _one_step(input: Any, width: int) -> bool:
    """Whether there is one step of one row: in training a simple cell's are few operations, sooner done by torch."""
    x = input if isinstance(input, Tensor) else getattr(input, "data", None)
    return isinstance(x, Tensor) and x.numel() == width


class EngineMixin(NotScripted):
    """The forward pass of a layer. What does not fit goes to torch's, in the same words and with the same errors."""

    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        """As torch's module of that name: what ``module(input, hx)`` calls."""
        if torch.compiler.is_compiling():
            found = _compiled.layer(self, input, hx)
            return super().forward(input, hx) if found is None else found  # type: ignore[misc]
        if self.mode[0] == "R" and torch.is_grad_enabled() and _one_step(input, self.input_size) and not _autocast():
            return super().forward(input, hx)  # type: ignore[misc]
        given = self._given(input, hx)
        if given is None:
            found = leaf(self, input, hx)
            return super().forward(input, hx) if found is None else found  # type: ignore[misc]
        engine, x, h, c, T, B, batched, packed, weights = given
        masks: tuple[Tensor, ...] = ()
        if self.training and self.dropout > 0 and self.num_layers > 1:
            steps = (T, B) if packed is None else (x.size(0),)
            masks = dropout_masks(engine.kind, self.dropout, x, steps)
        batch_sizes = None if packed is None else packed.batch_sizes
        y, hn, cn = run(Call(engine, self.batch_first, batch_sizes, False, masks, T, B), x, h, c, weights)
        return self._results(y, hn, cn, batched, packed)

    def _results(self: Any, y: Any, hn: Any, cn: Any, batched: bool, packed: PackedSequence | None) -> Any:
        states = hn if cn is None else (hn, cn)
        if packed is not None:
            output = PackedSequence(y, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
            return output, self.permute_hidden(states, packed.unsorted_indices)
        if not batched:
            y = y.squeeze(0 if self.batch_first else 1)
            states = hn.squeeze(1) if cn is None else (hn.squeeze(1), cn.squeeze(1))
        return y, states

    def _given(self: Any, input: Any, hx: Any) -> tuple[Any, ...] | None:
        """Engine, data, states, steps, rows, whether there is a batch, the packed sequence, weights; None: torch's."""
        packed = input if isinstance(input, PackedSequence) else None
        x = input if packed is None else packed.data
        lstm = self.mode == "LSTM"
        if hx is None:
            states: tuple[Any, ...] = ()
        elif not lstm:
            states = (hx,)
        elif isinstance(hx, (tuple, list)) and len(hx) == 2:
            states = tuple(hx)
        else:
            return None
        weights = weights_of(self)
        if _autocast() and all(isinstance(t, Tensor) for t in (x, *states)):
            x, *rest = map(off_ramp, (x, *states))
            states = tuple(rest)
        engine = engine_of(self)
        if not fits(engine, x, states, weights):
            return None
        dims = x.dim()
        if x.numel() == 0 or x.size(-1) != self.input_size:
            return None
        batched = True
        if packed is not None:
            if dims != 2 or packed.batch_sizes.dtype is not torch.int64 or not packed.batch_sizes.is_cpu:
                return None
            steps, batch = packed.batch_sizes.size(0), int(packed.batch_sizes[0])
        elif dims == 3:
            steps, batch, _ = x.shape
            if self.batch_first:
                steps, batch = batch, steps
        elif dims == 2:
            batched, steps, batch = False, x.size(0), 1
            x = x.unsqueeze(0 if self.batch_first else 1)
            if any(state.dim() != 2 for state in states):
                return None
            states = tuple(state.unsqueeze(1) for state in states)
        else:
            return None
        if packed is not None and states and packed.sorted_indices is not None:
            if any(state.dim() != 3 for state in states):
                return None
            states = tuple(state.index_select(1, packed.sorted_indices) for state in states)
        rows = self.num_layers * (2 if self.bidirectional else 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)
        for state, width in zip(states, widths, strict=False):
            if state.shape != (rows, batch, width):
                return None
        h, c = (*states, None, None)[:2]
        return engine, x, h, c, steps, batch, batched, packed, weights


class LSTM(EngineMixin, torch.nn.LSTM):
    """`torch.nn.LSTM` on rekur's engine: its constructor, parameters, results and errors.

    LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    proj_size=0, device=None, dtype=None). Input (T, B, I), with batch_first (B, T, I), (T, I), or a `PackedSequence`;
    hx: (h, c) of (layers·directions, B, proj_size or H) and (layers·directions, B, H). Returns output, (h, c).
    """


class GRU(EngineMixin, torch.nn.GRU):
    """`torch.nn.GRU` on rekur's engine: its constructor, parameters, results and errors.

    GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    device=None, dtype=None). Input and output as `LSTM`, with h alone in place of (h, c).
    """


class RNN(EngineMixin, torch.nn.RNN):
    """`torch.nn.RNN` on rekur's engine, or, of a cell of rekur's, a `CellRNN`.

    RNN(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, device=None, dtype=None): the module of tanh or relu, torch's in all but its time.

    RNN(cell, input_size, hidden_size, num_layers=1, …): layers of `rekur.cells.NAME` or of a `rekur.cell` of your own;
    see `CellRNN`, which it makes.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else kwargs.get("cell")
        if cls is RNN and (callable(first) or isinstance(first, Cell)):
            from rekur.torch._own_cells import CellRNN

            return CellRNN(*args, **kwargs)
        return super().__new__(cls)
