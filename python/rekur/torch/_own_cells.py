"""Layers of cells that are equations: rekur.cells and rekur.cell, as a module of torch's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import rekur
from rekur import _core, layers
from rekur._cell import as_cell
from rekur.torch._traced import NotScripted, leaf

# Drawn anew in training: of them torch's module knows dropout alone, between layers.
_DRAWN = ("dropout", "recurrent_dropout", "recurrent_weight_dropout", "zoneout")
# Options of rekur's layer that say here what something else says, or nothing.
_ELSEWHERE = {
    "units": "it is hidden_size here",
    "use_bias": "it is bias here",
    "return_sequences": "the output has every step: take output[-1], or hx",
    "return_state": "the last states are returned always",
    "stateful": "give the states that a call returns to the next one, as hx",
    "unroll": "there is nothing to unroll",
    "zero_output_for_mask": "lengths come by a PackedSequence, which has no other steps",
    "name": "a module has no name",
    "input_shape": "it is input_size here",
    "learn_initial_state": "give a Parameter as hx",
    "activity_regularizer": "add it to the loss",
    **{f"{part}_regularizer": "add it to the loss" for part in ("kernel", "recurrent", "bias")},
    **{f"{part}_constraint": "change the parameters after each step" for part in ("kernel", "recurrent", "bias")},
}


class _Engine:
    """One layer's model of the engine, with the weights it was given last. Copies and pickles make one of their own."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.model = _core.Model(spec)
        self.lock = threading.Lock()
        self.flat: NDArray[np.float32] | None = None
        self.number = 0  # of the weights: a tape is good for those of its own number

    def __deepcopy__(self, memo: dict[int, Any]) -> _Engine:
        return _Engine(self.spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Engine, (self.spec,)

    def take(self, weights: Sequence[Tensor]) -> int:
        """Their number, which is the last one where they are those that are there."""
        flat = torch.cat([w.detach().reshape(-1) for w in weights]).resolve_neg().numpy()
        if self.flat is None or self.flat.tobytes() != flat.tobytes():
            self.flat = None
            self.model.set_weights(flat)
            self.flat = flat
            self.number += 1
        return self.number


def _threads() -> _core.ThreadLimit:
    """As many threads as torch's for calls of this thread in between."""
    return _core.ThreadLimit(torch.get_num_threads())


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().resolve_neg().contiguous().numpy()
    return array


class _Pass(torch.autograd.Function):
    """A layer's call: x (B, T, I), lengths or None, `count` initial states, weights -> y and the final states."""

    @staticmethod
    def forward(ctx: Any, engine: _Engine, lengths: Any, count: int, x: Tensor, *given: Tensor) -> Any:
        states, weights = given[:count], given[count:]
        inputs = [_array(x), *map(_array, states)]
        with engine.lock, _threads():
            ctx.number = engine.take(weights)
            outputs, ctx.tape = engine.model.forward(inputs, [lengths, *[None] * count])
        ctx.engine, ctx.count, ctx.inputs = engine, count, (lengths, inputs)
        ctx.save_for_backward(x, *given)
        ctx.set_materialize_grads(False)
        return tuple(map(torch.from_numpy, outputs))

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError("CellRNN: derivatives of the first order alone: create_graph=True asks for the second")
        _, *given = ctx.saved_tensors
        engine, count = ctx.engine, ctx.count
        if any(d is not None and not torch._C._has_storage(d) for d in arriving):
            raise RuntimeError("CellRNN: one gradient at a time: is_grads_batched and vectorize give many")
        gradients = [None if d is None else _array(d) for d in arriving]
        with engine.lock, _threads():
            number = engine.take(given[count:])
            tape, ctx.tape = ctx.tape, None
            if tape is None or number != ctx.number:  # a second time: retain_graph; or others were there since
                lengths, inputs = ctx.inputs
                _, tape = engine.model.forward(inputs, [lengths, *[None] * count])
            flat, found = engine.model.backward(tape, gradients)
        d_weights = [
            torch.from_numpy(flat[offset : offset + int(np.prod(shape))].reshape(shape))
            for _, shape, offset in engine.model.parameters
        ]
        return (None, None, None, *map(torch.from_numpy, found), *d_weights)


def _check(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"CellRNN: {name} must be a torch.Tensor, got {type(tensor).__name__}")
    if tensor.dtype is not torch.float32 or not tensor.is_cpu:
        raise ValueError(f"CellRNN: computes in float32 on the CPU, got {name} of {tensor.dtype} on {tensor.device}")


class CellRNN(NotScripted, nn.Module):
    """Layers of a cell of rekur's, used as torch's RNN is.

    CellRNN(cell, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    device=None, dtype=None, **options)

    cell: of `rekur.cells`, a `rekur.cell` of your own, the function of one, or a name. options: further ones of
    `rekur.layers.RNN` (`layer_normalization`, initializers, …); those that draw masks in each training step (its own
    `dropout`, `recurrent_dropout`, `zoneout`) are refused. `dropout` is torch's: of outputs of all layers but the last.

    Input float32 (T, B, I), with batch_first (B, T, I), (T, I), or a `PackedSequence`; hx: h, or a tuple of the cell's
    states in its order, each (layers·directions, B, H); zeros by default. Returns output, hx likewise.

    Parameters are those of rekur's layer, as it lays them out ([I, blocks·H]), named `kernel_l0`,
    `recurrent_kernel_l0_reverse`, …; what the cell keeps fixed does not require gradients. They are drawn as the cell
    says, by torch's generator. Gradients are of the first order.
    """

    def __init__(
        self,
        cell: Any,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an int above 0, got {value!r}")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be a number in [0, 1], got {dropout!r}")
        if dtype not in (None, torch.float32) or torch.device(device or "cpu").type != "cpu":
            raise ValueError(f"cells of rekur compute in float32 on the CPU, got dtype {dtype}, device {device}")
        if said := [name for name in _ELSEWHERE if name in options]:
            raise ValueError(f"{said[0]}: not an option of a module of torch's: {_ELSEWHERE[said[0]]}")
        if drawn := [name for name in _DRAWN if name in options]:
            raise ValueError(f"{drawn[0]}: not an option of a module of torch's; dropout between layers is")
        self.cell = as_cell(cell, "CellRNN")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self._directions = 2 if bidirectional else 1
        self._names: list[list[str]] = []
        self._engines: list[_Engine] = []
        settings = {"cell": self.cell, "units": hidden_size, "use_bias": bias, "name": "rnn", **options}
        settings |= {"return_sequences": True, "return_state": True}
        for n in range(num_layers):
            layer: Any = layers.RNN(**settings)
            x = rekur.Input((None, input_size if n == 0 else hidden_size * self._directions))
            model = rekur.Model(x, layer(x))
            trained = {variable.path.rpartition("/")[2] for variable in model.trainable_weights}
            layer = layers.RNN(**settings)
            if bidirectional:
                layer = layers.Bidirectional(layer, name="rnn")
            states = [rekur.Input((hidden_size,)) for _ in range(len(self.cell.states) * self._directions)]
            model = rekur.Model([x, *states], layer(x, initial_state=states))
            engine = _Engine(model._engine().spec)
            self._engines.append(engine)
            self._names.append([])
            for path, shape, _ in engine.model.parameters:
                *direction, name = path.split("/")[1:]
                name = f"{name}_l{n}" + ("_reverse" if direction == ["backward"] else "")
                self._names[-1].append(name)
                setattr(self, name, nn.Parameter(torch.empty(shape), requires_grad=path.rpartition("/")[2] in trained))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters as the cell says, by torch's generator."""
        for engine, names in zip(self._engines, self._names, strict=True):
            with engine.lock, torch.no_grad():
                engine.model.initialize(int(torch.randint(2**62, ())))
                flat = engine.flat = engine.model.get_weights()
                engine.number += 1
                for name, (_, shape, offset) in zip(names, engine.model.parameters, strict=True):
                    values = flat[offset : offset + int(np.prod(shape))].reshape(shape)
                    getattr(self, name).copy_(torch.from_numpy(values))

    def extra_repr(self) -> str:
        """What ``print(module)`` says of it, as torch asks for it."""
        text = f"{self.cell.name}, {self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        return text + "".join(f", {n}={getattr(self, n)}" for n, usual in defaults.items() if getattr(self, n) != usual)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, input: Any, hx: Any = None) -> Any:
        if type(input) is not Tensor and (found := leaf(self, input, hx)) is not None:
            return found
        packed = input if isinstance(input, PackedSequence) else None
        _check("input", input if packed is None else packed.data)
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise RuntimeError("CellRNN: torch.func's transforms (vmap, grad, jvp, …) do not know it")
        lengths = None
        if packed is not None:
            # In the order in which it is packed, which is that of its lengths.
            x, steps = pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes), batch_first=True)
            lengths = steps.to(torch.int32).numpy()
        else:
            x = input
        if x.dim() not in (2, 3) or x.size(-1) != self.input_size:
            raise ValueError(
                f"CellRNN: expected an input of (…, {self.input_size}) in 2 or 3 dimensions, got {tuple(x.shape)}"
            )
        batched = x.dim() == 3
        if not batched:
            x = x.unsqueeze(0)
        elif packed is None and not self.batch_first:
            x = x.transpose(0, 1)
        states = self._initial(hx, x, batched, packed)
        D, S = self._directions, len(self.cell.states)
        finals: list[list[Tensor]] = [[] for _ in range(S)]
        for n, (engine, names) in enumerate(zip(self._engines, self._names, strict=True)):
            weights = [getattr(self, name) for name in names]
            for name, weight in zip(names, weights, strict=True):
                _check(name, weight)
            own = [states[s][n * D + d] for d in range(D) for s in range(S)]
            x, *last = _Pass.apply(engine, lengths, D * S, x, *own, *weights)
            for d in range(D):
                for s in range(S):
                    finals[s].append(last[d * S + s])
            if self.training and self.dropout > 0 and n + 1 < self.num_layers:
                x = functional.dropout(x, self.dropout)
        return self._results(x, [torch.stack(parts) for parts in finals], lengths, batched, packed)

    def _initial(self, hx: Any, x: Tensor, batched: bool, packed: PackedSequence | None) -> list[Tensor]:
        S = len(self.cell.states)
        shape = (self.num_layers * self._directions, x.size(0), self.hidden_size)
        if hx is None:
            return [x.new_zeros(shape)] * S
        states = list(hx) if isinstance(hx, (tuple, list)) else [hx]
        if len(states) != S:
            raise ValueError(f"CellRNN: hx must be {S} states ({', '.join(self.cell.states)}), got {len(states)}")
        for name, state in zip(self.cell.states, states, strict=True):
            _check(f"state {name}", state)
            if not batched and state.dim() != 2:
                raise ValueError(
                    f"CellRNN: state {name}: expected 2 dimensions, as of the input, got {tuple(state.shape)}"
                )
        if not batched:
            states = [s.unsqueeze(1) for s in states]
        for name, state in zip(self.cell.states, states, strict=True):
            if state.shape != shape:
                raise ValueError(f"CellRNN: state {name}: expected {shape}, got {tuple(state.shape)}")
        if packed is not None and packed.sorted_indices is not None:
            states = [s.index_select(1, packed.sorted_indices) for s in states]
        return states

    def _results(
        self, y: Tensor, states: list[Tensor], lengths: Any, batched: bool, packed: PackedSequence | None
    ) -> tuple[Any, Any]:
        output: Any = y
        if packed is not None:
            data = pack_padded_sequence(y, torch.from_numpy(lengths).long(), batch_first=True).data
            output = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
            if packed.unsorted_indices is not None:
                states = [s.index_select(1, packed.unsorted_indices) for s in states]
        elif not batched:
            output, states = y.squeeze(0), [s.squeeze(1) for s in states]
        elif not self.batch_first:
            output = y.transpose(0, 1)
        return output, states[0] if len(states) == 1 else tuple(states)
