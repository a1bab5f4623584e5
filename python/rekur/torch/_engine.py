"""From torch's tensors to the engine and back: what all modules share.

The engine reads and writes the tensors' memory where it is. It packs weights when their bits have changed, which it
looks at in each call: `Tensor.data`, NumPy arrays and other processes write to memory without a trace in
`Tensor._version`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import _VF, Tensor
from torch.nn import Parameter

from rekur import _core

_PLAIN = (Tensor, Parameter)
_peek = torch._C._functorch.peek_interpreter_stack
_modes = torch._C._len_torch_dispatch_stack
_hooks = torch._C._autograd._top_saved_tensors_default_hooks
_NONE = (0, 0, 0)
_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu"}


class Kind(NamedTuple):
    """What a stack of layers is, as _core.Stack takes it."""

    cell: str  # "lstm", "gru", "rnn_tanh", "rnn_relu"
    input_size: int
    hidden_size: int
    proj_size: int
    num_layers: int
    bidirectional: bool
    bias: bool

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        """Features of the output."""
        return self.directions * (self.proj_size or self.hidden_size)

    def shapes(self) -> list[tuple[int, int]]:
        """By weight, in torch's order; a bias has 0 columns."""
        rows = {"lstm": 4, "gru": 3}.get(self.cell, 1) * self.hidden_size
        found = []
        for n in range(self.num_layers):
            for _ in range(self.directions):
                found += [(rows, self.width if n else self.input_size), (rows, self.proj_size or self.hidden_size)]
                found += [(rows, 0)] * 2 if self.bias else []
                found += [(self.proj_size, self.hidden_size)] if self.proj_size else []
        return found


def kind_of(module: Any) -> Kind:
    """Of a layer of torch's, as it is now."""
    return Kind(
        _CELLS[module.mode],
        module.input_size,
        module.hidden_size,
        module.proj_size,
        module.num_layers,
        bool(module.bidirectional),
        module.bias,
    )


class Engine:
    """A module's stack, made when it is first needed. Copies and pickles of a module get one of their own."""

    __slots__ = ("kind", "sizes", "stack")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.stack = _core.Stack(*kind)
        # By weight its numbers and its rows: what the engine reads, so it must be there.
        self.sizes = [(n * (m or 1), n) for n, m in kind.shapes()]

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        return Engine(self.kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self.kind,)


def fits(engine: Engine, x: Any, states: Sequence[Any], weights: Sequence[Any]) -> bool:
    """Whether tensors are the engine's affair: plain, dense, float32, on the CPU, traced or transformed by nobody.

    Shapes are looked at of the weights alone. A tensor may stand for other numbers than its memory has: negated ones
    (`.conj().imag`), or zeros without memory, which as states are what the engine takes for zeros."""
    for tensor in (x, *states):
        if type(tensor) not in _PLAIN or tensor.dtype is not torch.float32 or not tensor.is_cpu:
            return False
        if tensor.is_neg():
            return False
    if len(weights) != len(engine.sizes):
        return False
    for tensor, (numbers, rows) in zip(weights, engine.sizes):  # noqa: B905 - a keyword would cost
        if type(tensor) not in _PLAIN or tensor.dtype is not torch.float32 or not tensor.is_cpu:
            return False
        if tensor.numel() != numbers or tensor.size(0) != rows or tensor.is_neg():
            return False
    return (
        x.layout is torch.strided
        and _peek() is None
        and _modes() == 0
        and x.data_ptr() != 0
        and torch.autograd.forward_ad._current_level < 0
        and not torch._C._is_tracing()
    )


def dense(tensor: Tensor) -> Tensor:
    """Its features one after the other."""
    return tensor if tensor.stride(-1) == 1 or tensor.size(-1) == 1 else tensor.contiguous()


def addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


class Call(NamedTuple):
    """What both passes know of a call besides its tensors.

    x is (T, B, I), with batch_first (B, T, I), of a step alone (B, I), packed (rows, I).
    """

    engine: Engine
    batch_first: bool
    batch_sizes: Tensor | None  # of a packed sequence, int64 (T,)
    step: bool  # a cell's: x is (B, I), there is no y, and states are (B, H)
    masks: tuple[Tensor, ...]  # by layer but the last, of its outputs, time first
    T: int
    B: int

    def rows(self, tensor: Tensor) -> tuple[int, int, int]:
        """A sequence as the engine takes it: address, floats from row to row, from step to step."""
        strides = tensor.stride()
        if self.batch_sizes is not None:
            return tensor.data_ptr(), strides[0], strides[0]
        if self.step:
            return tensor.data_ptr(), strides[0], 0
        if self.batch_first:
            return tensor.data_ptr(), strides[0], strides[1]
        return tensor.data_ptr(), strides[1], strides[0]

    def output(self, x: Tensor) -> Tensor | None:
        return None if self.step else x.new_empty((*x.shape[:-1], self.engine.kind.width))

    def state_shape(self, width: int) -> tuple[int, ...]:
        kind = self.engine.kind
        return (self.B, width) if self.step else (kind.num_layers * kind.directions, self.B, width)

    def states(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        kind = self.engine.kind
        h = x.new_empty(self.state_shape(kind.proj_size or kind.hidden_size))
        return h, x.new_empty(self.state_shape(kind.hidden_size)) if kind.cell == "lstm" else None


def arguments(call: Call, x: Tensor, h: Tensor | None, c: Tensor | None, weights: Sequence[Tensor]) -> tuple[Any, Any]:
    """What _core.Stack's passes have in common, and the tensors that it points into. All are dense."""
    h = None if h is None else h.contiguous()
    c = None if c is None else c.contiguous()
    batch_sizes = None if call.batch_sizes is None else call.batch_sizes.contiguous()
    weights = [weight.contiguous() for weight in weights]
    given = (
        torch.get_num_threads(),
        call.T,
        call.B,
        call.rows(x),
        0 if batch_sizes is None else batch_sizes.data_ptr(),
        0 if batch_sizes is None else x.size(0),
        0 if h is None else h.data_ptr(),
        0 if c is None else c.data_ptr(),
        addresses(weights),
        addresses(call.masks),
    )
    return given, (h, c, batch_sizes, weights)


def forward(
    call: Call, x: Tensor, h: Tensor | None, c: Tensor | None, weights: Sequence[Tensor], tape: _core.StackTape | None
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Output and final states of a dense x."""
    given, keep = arguments(call, x, h, c, weights)
    y = call.output(x)
    hn, cn = call.states(x)
    passed = (*given, _NONE if y is None else call.rows(y), hn.data_ptr(), 0 if cn is None else cn.data_ptr(), tape)
    call.engine.stack.forward(*passed)
    del keep
    return y, hn, cn


def backward(
    call: Call,
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    tape: _core.StackTape,
    arriving: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, list[Tensor | None]]:
    """Gradients of x, h, c and the weights, where `wanted` (in that order), from those of y and the final states."""
    given, keep = arguments(call, x, h, c, weights)
    dy = None if arriving[0] is None else dense(arriving[0])
    dhn, dcn = (None if d is None else d.contiguous() for d in arriving[1:])
    dx = x.new_empty(x.shape) if wanted[0] else None
    dh = x.new_empty(h.shape) if h is not None and wanted[1] else None
    dc = x.new_empty(c.shape) if c is not None and wanted[2] else None
    d_weights = [x.new_empty(weight.shape) if want else None for weight, want in zip(weights, wanted[3:], strict=True)]
    passed = (
        *given,
        _NONE if dy is None else call.rows(dy),
        0 if dhn is None else dhn.data_ptr(),
        0 if dcn is None else dcn.data_ptr(),
        _NONE if dx is None else call.rows(dx),
        0 if dh is None else dh.data_ptr(),
        0 if dc is None else dc.data_ptr(),
        addresses(d_weights),
    )
    call.engine.stack.backward(tape, *passed)
    del keep
    return dx, dh, dc, d_weights


def new_tape() -> _core.StackTape | None:
    """None where somebody has a say in what is saved for backward (checkpoint, saved_tensors_hooks, save_on_cpu): a
    tape is no tensor, so nobody could drop it or move it. The backward pass computes it again then."""
    return _core.StackTape() if _hooks(True) is None else None


class Recurrence(torch.autograd.Function):
    """A call of the engine that autograd knows."""

    @staticmethod
    def forward(ctx: Any, call: Call, x: Tensor, h: Tensor | None, c: Tensor | None, *weights: Tensor) -> Any:
        ctx.tape = tape = new_tape()
        y, hn, cn = forward(call, dense(x), h, c, weights, tape)
        ctx.call, ctx.count = call._replace(masks=()), len(weights)
        ctx.save_for_backward(x, h, c, *weights, *call.masks)
        ctx.set_materialize_grads(False)
        return y, hn, cn

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor | None) -> Any:
        x, h, c, *rest = ctx.saved_tensors
        weights, masks = rest[: ctx.count], tuple(rest[ctx.count :])
        call = ctx.call._replace(masks=masks) if masks else ctx.call
        tape, ctx.tape = ctx.tape, None
        return (None, *gradients(call, tape, x, h, c, weights, arriving, ctx.needs_input_grad[1:]))


def gradients(
    call: Call,
    tape: _core.StackTape | None,
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    arriving: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> Sequence[Tensor | None]:
    """What a Function's backward gives for x, h, c and the weights. tape: None where it has been used or not kept."""
    plain = _peek() is None and _modes() == 0
    for d in arriving:
        plain = plain and (d is None or is_memory(d))
    if tape is None and plain:  # what is saved may have gone through somebody's hands
        plain = fits(call.engine, x, [s for s in (h, c) if s is not None], weights) and all(map(is_memory, call.masks))
    if torch.is_grad_enabled() or not plain:
        return by_torch(call, x, h, c, weights, arriving, wanted)
    x = dense(x)
    if tape is None:  # a second time: retain_graph; or it was not kept
        tape = _core.StackTape()
        forward(call, x, h, c, weights, tape)
    dx, dh, dc, d_weights = backward(call, x, h, c, weights, tape, arriving, wanted)
    return dx, dh, dc, *d_weights


def is_memory(d: Tensor) -> bool:
    """Whether a tensor's numbers are those of its memory: gradients in batches have none."""
    if type(d) is not Tensor or d.dtype is not torch.float32 or not d.is_cpu or d.layout is not torch.strided:
        return False
    return torch._C._has_storage(d) and not d.is_neg()


def by_torch(
    call: Call,
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    arriving: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The same gradients by torch's own operations, which can be differentiated once more.

    They are partial derivatives: by other names, since the tensors themselves may depend on one another (a state that
    was carried here, a module called on its own output), and autograd would follow those paths, too."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        x, h, c = (None if t is None else t.view_as(t) for t in (x, h, c))
        weights = [w.view_as(w) for w in weights]
        outputs = torch_forward(call, x, h, c, weights)
        pairs = [(y, d) for y, d in zip(outputs, arriving, strict=True) if y is not None and d is not None]
        inputs = [t for t, want in zip((x, h, c, *weights), wanted, strict=True) if want]
        if not pairs:
            return [None for _ in wanted]
        found = iter(
            torch.autograd.grad(
                [y for y, _ in pairs], inputs, [d for _, d in pairs], create_graph=again, allow_unused=True
            )
        )
    return [next(found) if want else None for want in wanted]


def torch_forward(
    call: Call, x: Tensor, h: Tensor | None, c: Tensor | None, weights: Sequence[Tensor]
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """What `forward` computes, layer by layer in torch."""
    kind = call.engine.kind
    if call.step:
        H = kind.hidden_size
        zeros = x.new_zeros((x.size(0), H))
        biases = weights[2:] if kind.bias else (None, None)
        h = zeros if h is None else h
        if kind.cell == "lstm":
            return None, *_VF.lstm_cell(x, (h, zeros if c is None else c), *weights[:2], *biases)
        return None, getattr(_VF, f"{kind.cell}_cell")(x, h, *weights[:2], *biases), None
    D, lstm = kind.directions, kind.cell == "lstm"
    shape = (kind.num_layers * D, call.B)
    h = x.new_zeros((*shape, kind.proj_size or kind.hidden_size)) if h is None else h
    c = x.new_zeros((*shape, kind.hidden_size)) if lstm and c is None else c
    packed = call.batch_sizes is not None
    y = x.transpose(0, 1) if call.batch_first and not packed else x
    each = len(weights) // kind.num_layers
    finals: list[tuple[Tensor, ...]] = []
    for layer in range(kind.num_layers):
        at = slice(layer * D, (layer + 1) * D)
        hx: Any = (h[at], c[at]) if c is not None else h[at]
        given = (y, call.batch_sizes, hx) if packed else (y, hx)
        own = list(weights[layer * each : (layer + 1) * each])
        result = getattr(_VF, kind.cell)(
            *given, own, kind.bias, 1, 0.0, False, kind.bidirectional, *(() if packed else (False,))
        )
        y = result[0]
        finals.append(result[1:])
        if layer < len(call.masks):
            y = y * call.masks[layer].view_as(y)
    if call.batch_first and not packed:
        y = y.transpose(0, 1)
    states = [torch.cat(parts) for parts in zip(*finals, strict=True)]
    return y, states[0], states[1] if lstm else None


def run(
    call: Call, x: Tensor, h: Tensor | None, c: Tensor | None, weights: Sequence[Tensor]
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """A call on the engine, which autograd knows of where a gradient may be asked for."""
    if torch.is_grad_enabled():
        for t in (*weights, x, h, c):
            if t is not None and t.requires_grad:
                return Recurrence.apply(call, x, h, c, *weights)  # type: ignore[no-any-return]
    return forward(call, dense(x), h, c, weights, None)


def dropout_masks(kind: Kind, p: float, x: Tensor, steps: tuple[int, ...]) -> tuple[Tensor, ...]:
    """What outputs of layers but the last are multiplied with, drawn as torch draws it. steps: (T, B), or (rows,)."""
    masks = []
    for _ in range(kind.num_layers - 1):
        mask = x.new_empty((*steps, kind.width))
        masks.append(mask.zero_() if p == 1 else mask.bernoulli_(1 - p).div_(1 - p))
    return tuple(masks)
