"""The engine as an operator of torch's, which torch.compile sees from outside only.

An operator is given tensors and plain values, not modules: it finds a stack by what the stack is and where its first
weight stands. The memory of a training pass is one of its results, so that whoever plans the compiled program owns
it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rekur import _core
from rekur.torch import _engine
from rekur.torch._engine import Call, Engine, Kind, dropout_masks, kind_of

_MOST_ENGINES = 64
_engines: OrderedDict[tuple[Kind, int], Engine] = OrderedDict()
_lock = threading.Lock()
_LINE = 16  # floats

# What both operators are given, as `Operands` names it.
_GIVEN = (
    "Tensor x, Tensor? h, Tensor? c, Tensor[] weights, Tensor[] masks, Tensor? batch_sizes, SymInt batch, "
    "str cell, int[] sizes, bool bidirectional, bool bias, bool batch_first, bool step"
)


def _engine_for(kind: Kind, weights: Sequence[Tensor]) -> Engine:
    if not weights:
        raise ValueError("rekur::recurrence: no weights")
    key = (kind, weights[0].data_ptr())
    with _lock:
        engine = _engines.pop(key, None) or Engine(kind)
        _engines[key] = engine
        if len(_engines) > _MOST_ENGINES:
            _engines.popitem(last=False)
    return engine


class Operands(NamedTuple):
    """What both operators are given, in this order. An operator may be called by anybody: all that the engine will read
    must be there."""

    x: Tensor
    h: Tensor | None
    c: Tensor | None
    weights: Sequence[Tensor]
    masks: Sequence[Tensor]
    batch_sizes: Tensor | None
    batch: int
    cell: str
    sizes: Sequence[int]  # of input, h and projection (or 0), and the number of layers
    bidirectional: bool
    bias: bool
    batch_first: bool
    step: bool

    def kind(self) -> Kind:
        if self.cell not in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            raise ValueError(f"rekur::recurrence: unknown cell {self.cell!r}")
        if len(self.sizes) != 4 or min(self.sizes) < 0 or 0 in (self.sizes[0], self.sizes[1], self.sizes[3]):
            raise ValueError(
                f"rekur::recurrence: expected sizes of input, h, projection (or 0) and layers, got {self.sizes}"
            )
        I, H, P, layers = self.sizes
        return Kind(self.cell, I, H, P, layers, self.bidirectional, self.bias)

    def steps(self) -> Any:
        if self.step:
            return 1
        return self.x.size(1 if self.batch_first else 0) if self.batch_sizes is None else self.batch_sizes.size(0)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Those that may have gradients, in the order of `wanted`."""
        return (self.x, self.h, self.c, *self.weights)

    def trusted_call(self) -> Call:
        """The call of operands that have been looked at."""
        engine = _engine_for(self.kind(), self.weights)
        masks = tuple(m.contiguous() for m in self.masks)
        return Call(engine, self.batch_first, self.batch_sizes, self.step, masks, self.steps(), self.batch)

    def call(self) -> Call:
        kind, x, batch_sizes = self.kind(), self.x, self.batch_sizes
        engine = _engine_for(kind, self.weights)
        if not _engine.fits(engine, x, [s for s in (self.h, self.c) if s is not None], self.weights):
            raise ValueError(f"rekur::recurrence: expected float32 on the CPU, and weights of {kind}")
        if self.step and (kind.num_layers, kind.bidirectional, kind.proj_size, batch_sizes) != (1, False, 0, None):
            raise ValueError(f"rekur::recurrence: a step is of one layer and direction without projection, got {kind}")
        if x.dim() != (2 if self.step or batch_sizes is not None else 3) or x.size(-1) != kind.input_size:
            raise ValueError(f"rekur::recurrence: x of shape {tuple(x.shape)} is none of {kind}")
        if batch_sizes is not None:
            if batch_sizes.dtype is not torch.int64 or not batch_sizes.is_cpu or batch_sizes.dim() != 1:
                raise ValueError("rekur::recurrence: batch_sizes must be int64 of one dimension on the CPU")
            rows = int(batch_sizes[0]) if batch_sizes.numel() else 0
        else:
            rows = x.size(0 if self.step or self.batch_first else 1)
        if self.batch != rows:
            raise ValueError(f"rekur::recurrence: batch is {self.batch}, and the rows are {rows}")
        call = self.trusted_call()
        _expect("h", self.h, call.state_shape(kind.proj_size or kind.hidden_size))
        _expect("c", self.c, call.state_shape(kind.hidden_size) if kind.cell == "lstm" else None)
        for m in call.masks:
            _expect("masks", m, (*((x.size(0),) if batch_sizes is not None else (call.T, call.B)), kind.width))
        return call


def _expect(name: str, tensor: Tensor | None, shape: tuple[int, ...] | None) -> None:
    """shape: None where there must be no tensor."""
    if tensor is None:
        return
    if shape is None or tuple(tensor.shape) != shape or not _engine.is_memory(tensor):
        wanted = "nothing" if shape is None else f"float32 of shape {shape} on the CPU"
        raise ValueError(
            f"rekur::recurrence: {name}: expected {wanted}, got {tensor.dtype} of shape {tuple(tensor.shape)} on "
            f"{tensor.device}"
        )


def _on_line(tape: Tensor) -> tuple[int, int]:
    """Where a cache line begins in it, and the floats from there to the last line, which begins with whether it is
    used. The engine writes that there: for torch the tensor is what it was, of the same version."""
    start = (tape.data_ptr() + 63) // 64 * 64
    return start, (tape.data_ptr() + tape.numel() * 4 - start) // 4 - _LINE


def _tape_floats(engine: Engine, steps: Any, rows: Any) -> Any:
    each, besides = engine.stack.tape_size
    return steps * rows * each + besides + 2 * _LINE


def _recurrence(*given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *operands, training = given
    o = Operands(*operands)
    call = o.call()
    x = _engine.dense(o.x)
    nothing = x.new_empty(0)
    tape, memory = None, nothing
    if training:
        memory = x.new_empty(_tape_floats(call.engine, call.T, call.B))
        tape = _core.StackTape(*_on_line(memory))
    y, hn, cn = _engine.forward(call, x, o.h, o.c, o.weights, tape)
    return x.new_empty(0) if y is None else y, hn, x.new_empty(0) if cn is None else cn, memory


def _recurrence_shapes(*given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *operands, training = given
    o = Operands(*operands)
    kind, x = o.kind(), o.x
    states = (o.batch,) if o.step else (kind.num_layers * kind.directions, o.batch)
    y = x.new_empty(0) if o.step else x.new_empty((*x.shape[:-1], kind.width))
    hn = x.new_empty((*states, kind.proj_size or kind.hidden_size))
    cn = x.new_empty((*states, kind.hidden_size)) if o.cell == "lstm" else x.new_empty(0)
    return y, hn, cn, x.new_empty(_tape_floats(Engine(kind), o.steps(), o.batch) if training else 0)


def _recurrence_backward(
    tape: Tensor, arriving: Sequence[Tensor | None], wanted: Sequence[bool], *operands: Any
) -> list[Tensor]:
    o = Operands(*operands)
    call = o.call()
    kind = call.engine.kind
    if len(wanted) != 3 + len(o.weights) or len(arriving) != 3:
        raise ValueError("rekur::recurrence_backward: expected three gradients, and what is wanted of each operand")
    if (
        tuple(tape.shape) != (_tape_floats(call.engine, call.T, call.B),)
        or not _engine.is_memory(tape)
        or tape.stride(0) != 1
    ):
        raise ValueError("rekur::recurrence_backward: the tape is not that of a training pass of these operands")
    _expect("the output's gradient", arriving[0], None if o.step else (*o.x.shape[:-1], kind.width))
    _expect("h's gradient", arriving[1], call.state_shape(kind.proj_size or kind.hidden_size))
    _expect("c's gradient", arriving[2], call.state_shape(kind.hidden_size) if o.cell == "lstm" else None)
    x = _engine.dense(o.x)
    kept = _core.StackTape(*_on_line(tape))
    if kept.used:  # a second time: retain_graph
        tape = torch.empty_like(tape)
        kept = _core.StackTape(*_on_line(tape))
        _engine.forward(call, x, o.h, o.c, o.weights, kept)
    dx, dh, dc, d_weights = _engine.backward(call, x, o.h, o.c, o.weights, kept, arriving, wanted)
    return [x.new_empty(0) if d is None else d for d in (dx, dh, dc, *d_weights)]


def _recurrence_backward_shapes(tape: Tensor, arriving: Any, wanted: Sequence[bool], *operands: Any) -> list[Tensor]:
    o = Operands(*operands)
    return [
        o.x.new_empty(t.shape if t is not None and want else 0) for t, want in zip(o.tensors(), wanted, strict=True)
    ]


recurrence = torch.library.custom_op(
    "rekur::recurrence",
    _recurrence,
    mutates_args=(),
    schema=f"({_GIVEN}, bool training) -> (Tensor, Tensor, Tensor, Tensor)",
)
recurrence.register_fake(_recurrence_shapes)
recurrence_backward = torch.library.custom_op(
    "rekur::recurrence_backward",
    _recurrence_backward,
    mutates_args=(),
    schema=f"(Tensor tape, Tensor?[] arriving, bool[] wanted, {_GIVEN}) -> Tensor[]",
)
recurrence_backward.register_fake(_recurrence_backward_shapes)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    o = Operands(*inputs[:-1])
    ctx.counts = (len(o.weights), len(o.masks))
    ctx.operands = o._replace(x=None, h=None, c=None, weights=(), masks=(), batch_sizes=None)
    ctx.save_for_backward(output[3], o.x, o.h, o.c, o.batch_sizes, *o.weights, *o.masks)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[3])


def _gradients(ctx: Any, *arriving: Tensor | None) -> Any:
    tape, x, h, c, batch_sizes, *rest = ctx.saved_tensors
    W, M = ctx.counts
    o: Operands = ctx.operands._replace(x=x, h=h, c=c, weights=rest[:W], masks=rest[W:], batch_sizes=batch_sizes)
    need = ctx.needs_input_grad
    of_weights = need[3] if isinstance(need[3], (list, tuple)) else [True] * W
    wanted = [need[0], h is not None and need[1], c is not None and need[2], *of_weights]
    given = [None if o.step else arriving[0], arriving[1], arriving[2] if o.cell == "lstm" else None]
    found: list[Any] = [None] * len(wanted)
    if torch.is_grad_enabled() and type(x) is Tensor:  # create_graph: the second derivative by torch's operations
        found = _engine.by_torch(o.trusted_call(), x, h, c, o.weights, given, wanted)
    elif any(d is not None for d in given):
        found = recurrence_backward(tape, given, wanted, *o)
        found = [d if want else None for d, want in zip(found, wanted, strict=True)]
    return (*found[:3], found[3:], [None] * M, *(None for _ in range(len(o) + 1 - 5)))  # and of `training`


recurrence.register_autograd(_gradients, setup_context=_keep)


def _fits(tensors: Sequence[Any]) -> bool:
    """What can be said while torch.compile traces, whose tensors have no memory; the operator says the rest."""
    return (
        all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors) and not torch.compiler.is_exporting()
    )


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if torch.is_autocast_enabled("cpu") and tensor.is_floating_point() else tensor


def _shapes_fit(kind: Kind, weights: Sequence[Any]) -> bool:
    return [tuple(w.shape) for w in weights] == [(n, m) if m else (n,) for n, m in kind.shapes()]


def _operator(
    kind: Kind,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    masks: Sequence[Tensor],
    batch_sizes: Tensor | None,
    batch: int,
    batch_first: bool,
    step: bool,
) -> tuple[Tensor, list[Tensor]]:
    """The output and the final states."""
    h, c = (*states, None, None)[:2]
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *states, *weights))
    y, hn, cn, _ = recurrence(
        x, h, c, weights, masks, batch_sizes, batch, kind.cell, list(kind[1:5]), kind.bidirectional, kind.bias,
        batch_first, step, training,
    )  # fmt: skip
    return y, [hn, cn] if kind.cell == "lstm" else [hn]


def layer(module: Any, input: Any, hx: Any) -> Any:
    """A layer's forward pass by the operator; None: it is for torch."""
    packed = isinstance(input, PackedSequence)
    x = _float32(input.data if packed else input)
    lstm = module.mode == "LSTM"
    states = [] if hx is None else [_float32(s) for s in (hx if lstm else (hx,))]
    weights = [getattr(module, name) for name in module._flat_weights_names]
    if x.dim() not in ((2,) if packed else (2, 3)) or not _fits([x, *states, *weights]):
        return None
    if x.size(-1) != module.input_size:
        return None
    D = 2 if module.bidirectional else 1
    batched = packed or x.dim() == 3
    if not batched:
        if any(s.dim() != 2 for s in states):
            return None
        x = x.unsqueeze(0 if module.batch_first else 1)
        states = [s.unsqueeze(1) for s in states]
    elif any(s.dim() != 3 for s in states):
        return None
    batch_sizes = sorted_indices = unsorted_indices = None
    if packed:
        batch_sizes, sorted_indices, unsorted_indices = input.batch_sizes, input.sorted_indices, input.unsorted_indices
        if sorted_indices is not None:
            batch = sorted_indices.size(0)
            states = [s.index_select(1, sorted_indices) for s in states]
        else:
            batch = states[0].size(1) if states else int(batch_sizes[0])
        steps: tuple[Any, ...] = (x.size(0),)
    else:
        batch = x.size(0 if module.batch_first else 1)
        steps = (x.size(1 if module.batch_first else 0), batch)
        if steps[0] == 0 or batch == 0:
            return None
    widths = (module.proj_size or module.hidden_size, module.hidden_size)
    if any(s.shape != (module.num_layers * D, batch, width) for s, width in zip(states, widths, strict=False)):
        return None
    kind = kind_of(module)
    if not _shapes_fit(kind, weights):
        return None
    masks: tuple[Tensor, ...] = ()
    if module.training and module.dropout > 0 and module.num_layers > 1:
        masks = dropout_masks(kind, module.dropout, x, steps)
    y, finals = _operator(
        kind, x, states, weights, list(masks), batch_sizes, batch, module.batch_first and not packed, False
    )
    if unsorted_indices is not None:
        finals = [s.index_select(1, unsorted_indices) for s in finals]
    if not batched:
        y = y.squeeze(0 if module.batch_first else 1)
        finals = [s.squeeze(1) for s in finals]
    if packed:
        y = PackedSequence(y, batch_sizes, sorted_indices, unsorted_indices)
    return y, (finals[0], finals[1]) if lstm else finals[0]


def cell(module: Any, input: Any, hx: Any) -> Any:
    """A cell's step by the operator; None: it is for torch."""
    lstm = module._cell == "lstm"
    x = _float32(input)
    states = [] if hx is None else [_float32(s) for s in (hx if lstm else (hx,))]
    weights = [module.weight_ih, module.weight_hh]
    if (module.bias_ih is None) != (module.bias_hh is None):
        return None
    if module.bias_ih is not None:
        weights += [module.bias_ih, module.bias_hh]
    if x.dim() not in (1, 2) or not _fits([x, *states, *weights]) or x.size(-1) != module.input_size:
        return None
    name = module._cell
    if name == "rnn":
        if module.nonlinearity not in ("tanh", "relu"):
            return None
        name = f"rnn_{module.nonlinearity}"
    kind = Kind(name, module.input_size, module.hidden_size, 0, 1, False, len(weights) > 2)
    if not _shapes_fit(kind, weights):
        return None
    batched = x.dim() == 2
    if not batched:
        x, states = x.unsqueeze(0), [s.unsqueeze(0) for s in states]
    if x.size(0) == 0 or any(s.shape != (x.size(0), module.hidden_size) for s in states):
        return None
    _, finals = _operator(kind, x, states, weights, [], None, x.size(0), False, True)
    if not batched:
        finals = [s.squeeze(0) for s in finals]
    return (finals[0], finals[1]) if lstm else finals[0]
