"""A layer as three JAX primitives, which jit, grad and vmap know how to treat.

``run`` computes the layer, ``tangent`` stands for its derivative in a jaxpr and is never computed, ``back`` is what the
transposition of ``tangent`` becomes. Their operands are the weights, x, step inputs, initial states, lengths and
resets, as far as the plan has them; behind them ``back`` takes the token of what ``run`` kept, and gradients.

A custom_vjp would do but for vmap: under ``grad(vmap(f))`` it takes a gradient of the weights for every example, one
call each. Here vmap makes one batch of all examples first, where they share the weights.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from rekur.jax import _ffi
from rekur.jax._plan import NO_TOKEN, Plan

run_p = Primitive("rekur_layer")
tangent_p = Primitive("rekur_layer_tangent")
back_p = Primitive("rekur_layer_gradient")
for _primitive in (run_p, tangent_p, back_p):
    _primitive.multiple_results = True

Flags = tuple[bool, ...]


def call(plan: Plan, operands: Sequence[Any]) -> list[Any]:
    """Outputs (B, T, …) and last states (B, …)."""
    outputs: list[Any] = run_p.bind(*_alike(operands), plan=plan, keep=False)
    return outputs


def _varying(x: Any) -> tuple[Any, ...]:
    """Axes of a jax.shard_map's mesh along which x may differ from device to device."""
    aval = jax.typeof(x)
    axes = aval.mat.varying if hasattr(aval, "mat") else getattr(aval, "vma", ())
    return tuple(axes or ())


def _alike(operands: Sequence[Any]) -> Sequence[Any]:
    """Under jax.shard_map all operands vary along the same axes. A weight that was the same on all devices becomes one
    that may differ, and the transposition of that sums its gradients over the devices."""
    by_operand = [_varying(x) for x in operands]
    axes = list(dict.fromkeys(axis for own in by_operand for axis in own))
    if not axes:
        return operands
    found = []
    for x, own in zip(operands, by_operand, strict=True):
        lacking = tuple(axis for axis in axes if axis not in own)
        if lacking and hasattr(jax.lax, "pcast"):
            x = jax.lax.pcast(x, lacking, to="varying")
        elif lacking:
            x = jax.lax.pvary(x, lacking)
        found.append(x)
    return found


# --- what a call gives ---


def _shapes(plan: Plan, x: Any, keep: bool) -> list[tuple[tuple[Any, ...], Any]]:
    B, T, _ = x.shape
    first, *states = plan.output_features
    found: list[Any] = [((B, T, first), np.float32), *(((B, size), np.float32) for size in states)]
    return [*found, ((2,), np.uint32)] if keep else found


def _like(x: Any, shapes: Sequence[tuple[tuple[Any, ...], Any]]) -> list[Any]:
    return [x.update(shape=shape, dtype=np.dtype(dtype), weak_type=False) for shape, dtype in shapes]


def _run_results(*operands: Any, plan: Plan, keep: bool) -> list[Any]:
    x = operands[plan.weights]
    return _like(x, _shapes(plan, x, keep))


def _tangent_results(*operands: Any, plan: Plan, wanted: Flags) -> list[Any]:
    x = operands[plan.weights]
    return _like(x, _shapes(plan, x, False))


def _back_results(*operands: Any, plan: Plan, arrived: Flags, wanted: Flags) -> list[Any]:
    return [_like(operands[k], [(operands[k].shape, np.float32)])[0] for k, there in enumerate(wanted) if there]


run_p.def_abstract_eval(_run_results)
tangent_p.def_abstract_eval(_tangent_results)
back_p.def_abstract_eval(_back_results)


# --- how it is computed: in Python outside of jit; in jit compiled into the program, or by a call back to Python ---


def _spread(gradients: Sequence[Any], arrived: Flags) -> list[Any]:
    each = iter(gradients)
    return [next(each) if there else None for there in arrived]


def _run(*operands: Any, plan: Plan, keep: bool) -> list[Any]:
    weights, rest = operands[: plan.weights], operands[plan.weights :]
    return [jnp.asarray(array) for array in plan.run(weights, rest, keep)]


def _back(*operands: Any, plan: Plan, arrived: Flags, wanted: Flags) -> list[Any]:
    weights, rest = operands[: plan.weights], operands[plan.weights : plan.operands]
    token, *gradients = operands[plan.operands :]
    found = plan.back(weights, rest, token, _spread(gradients, arrived), wanted)
    return [jnp.asarray(array) for array in found]


def _flat(weights: Sequence[Any]) -> Any:
    """Every operand of a callback costs 15 µs, so weights go as one."""
    return jnp.concatenate([w.reshape(-1) for w in weights]) if weights else jnp.zeros((0,), jnp.float32)


def _run_by_callback(*operands: Any, plan: Plan, keep: bool) -> Any:
    x = operands[plan.weights]
    results = [jax.ShapeDtypeStruct(*each) for each in _shapes(plan, x, keep)]

    def host(weights: Any, *rest: Any) -> list[Any]:
        return plan.run([weights], rest, keep)

    flat = _flat(operands[: plan.weights])
    return jax.pure_callback(host, results, flat, *operands[plan.weights :], vmap_method="sequential")


def _back_by_callback(*operands: Any, plan: Plan, arrived: Flags, wanted: Flags) -> Any:
    weights, inputs = operands[: plan.weights], operands[plan.weights : plan.weights + plan.inputs]
    any_weight, by_input = any(wanted[: plan.weights]), wanted[plan.weights :]
    flat = _flat(weights)
    results = [jax.ShapeDtypeStruct(flat.shape, np.float32)] if any_weight else []
    results += [jax.ShapeDtypeStruct(x.shape, np.float32) for x, there in zip(inputs, by_input, strict=True) if there]
    count = plan.operands - plan.weights

    def host(weights: Any, *rest: Any) -> list[Any]:
        gradients = _spread(rest[count + 1 :], arrived)
        return plan.back([weights], rest[:count], rest[count], gradients, [any_weight, *by_input])

    found = list(jax.pure_callback(host, results, flat, *operands[plan.weights :], vmap_method="sequential"))
    if any_weight:
        whole, at, parts = found.pop(0), 0, []
        for w, there in zip(weights, wanted, strict=False):
            if there:
                parts.append(whole[at : at + w.size].reshape(w.shape))
            at += w.size
        found = [*parts, *found]
    return found


def _run_on_cpu(*operands: Any, plan: Plan, keep: bool) -> Any:
    if not _ffi.ready():
        return _run_by_callback(*operands, plan=plan, keep=keep)
    results = [jax.ShapeDtypeStruct(*each) for each in _shapes(plan, operands[plan.weights], keep)]
    return _ffi.run(plan, operands, results)


def _back_on_cpu(*operands: Any, plan: Plan, arrived: Flags, wanted: Flags) -> Any:
    if not _ffi.ready():
        return _back_by_callback(*operands, plan=plan, arrived=arrived, wanted=wanted)
    results = [jax.ShapeDtypeStruct(operands[k].shape, np.float32) for k, there in enumerate(wanted) if there]
    return _ffi.back(plan, operands, results, arrived, wanted)


def _lower(primitive: Any, function: Any, platform: str | None = None) -> None:
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=True), platform=platform)


run_p.def_impl(_run)
back_p.def_impl(_back)
_lower(run_p, _run_by_callback)
_lower(back_p, _back_by_callback)
_lower(run_p, _run_on_cpu, "cpu")
_lower(back_p, _back_on_cpu, "cpu")


# --- derivatives ---


def _forward_mode(*operands: Any, plan: Plan, **parameters: Any) -> Any:
    raise NotImplementedError(
        f"rekur.jax: {plan!r} has reverse-mode derivatives alone (jax.grad, jax.vjp, jax.jacrev); forward-mode ones "
        "(jax.jvp, jax.jacfwd, jax.hessian) are those of a lax.scan of the same cell"
    )


def _second(primals: Any, tangents: Any, *, plan: Plan, **parameters: Any) -> Any:
    raise NotImplementedError(
        f"rekur.jax: {plan!r} has first derivatives alone, and this asks for a derivative of its gradient; second ones "
        "are those of a lax.scan of the same cell. For a gradient that counts as a constant, give the inner jax.grad "
        "jax.lax.stop_gradient of its arguments"
    )


def _zero(value: Any) -> Any:
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _run_jvp(primals: Any, tangents: Any, *, plan: Plan, keep: bool) -> Any:
    *outputs, token = run_p.bind(*primals, plan=plan, keep=True)
    count = plan.weights + plan.inputs
    wanted = tuple(type(t) is not ad.Zero for t in tangents[:count])
    given = [t for t, there in zip(tangents, wanted, strict=False) if there]
    out = [_zero(y) for y in outputs]
    if given:
        out = tangent_p.bind(*primals, token, *given, plan=plan, wanted=wanted)
    if not keep:
        return outputs, out
    return [*outputs, token], [*out, _zero(token)]


def _tangent_jvp(primals: Any, tangents: Any, *, plan: Plan, wanted: Flags) -> Any:
    """It is linear in the tangents, its last operands; by the others it would be a second derivative."""
    count = len(primals) - sum(wanted)
    if any(type(t) is not ad.Zero for t in tangents[:count]):
        _second(primals, tangents, plan=plan)
    given = [ad.instantiate_zeros(t) for t in tangents[count:]]
    out = tangent_p.bind(*primals, plan=plan, wanted=wanted)
    return out, tangent_p.bind(*primals[:count], *given, plan=plan, wanted=wanted)


def _tangent_transpose(cotangents: Any, *operands: Any, plan: Plan, wanted: Flags) -> Any:
    count = len(operands) - sum(wanted)
    arrived = tuple(type(ct) is not ad.Zero for ct in cotangents)
    given = [ct for ct, there in zip(cotangents, arrived, strict=True) if there]
    gradients = back_p.bind(*operands[:count], *given, plan=plan, arrived=arrived, wanted=wanted)
    return [None] * count + list(gradients)


tangent_p.def_impl(_forward_mode)
mlir.register_lowering(tangent_p, lambda ctx, *operands, plan, **parameters: _forward_mode(plan=plan))
ad.primitive_jvps[run_p] = _run_jvp
ad.primitive_jvps[tangent_p] = _tangent_jvp
ad.primitive_jvps[back_p] = _second
ad.primitive_transposes[tangent_p] = _tangent_transpose


# --- vmap ---

_SHARED = None  # the axis of what is not mapped


def _folded(operands: Sequence[Any], axes: Sequence[Any], size: int) -> list[Any]:
    """The examples' rows one after the other: (N, B, …) as (N·B, …), those that all share repeated."""
    out = []
    for x, axis in zip(operands, axes, strict=True):
        whole = jnp.broadcast_to(x, (size, *x.shape)) if axis is _SHARED else jnp.moveaxis(x, axis, 0)
        out.append(whole.reshape(size * whole.shape[1], *whole.shape[2:]))
    return out


def _unfolded(x: Any, size: int) -> Any:
    return x.reshape(size, x.shape[0] // size, *x.shape[1:])


def _one_by_one(bind: Any, operands: Sequence[Any], axes: Sequence[Any]) -> Any:
    """A call an example."""
    mapped = [jnp.moveaxis(x, a, 0) for x, a in zip(operands, axes, strict=True) if a is not _SHARED]

    def one(some: Sequence[Any]) -> Any:
        each = iter(some)
        return bind(*(x if a is _SHARED else next(each) for x, a in zip(operands, axes, strict=True)))

    outputs = jax.lax.map(one, mapped)
    return outputs, [0] * len(outputs)


def _size(operands: Sequence[Any], axes: Sequence[Any]) -> int:
    return int(next(x.shape[a] for x, a in zip(operands, axes, strict=True) if a is not _SHARED))


def _run_batched(operands: Any, axes: Any, *, plan: Plan, keep: bool) -> Any:
    size = _size(operands, axes)
    if any(axis is not _SHARED for axis in axes[: plan.weights]) or size == 0:
        return _one_by_one(functools.partial(run_p.bind, plan=plan, keep=keep), operands, axes)
    rows = _folded(operands[plan.weights :], axes[plan.weights :], size)
    outputs = run_p.bind(*operands[: plan.weights], *rows, plan=plan, keep=keep)
    by_row = len(plan.output_features)
    found = [_unfolded(y, size) for y in outputs[:by_row]] + list(outputs[by_row:])
    return found, [0] * by_row + [_SHARED] * (len(outputs) - by_row)


def _back_batched(operands: Any, axes: Any, *, plan: Plan, arrived: Flags, wanted: Flags) -> Any:
    size = _size(operands, axes)
    bind = functools.partial(back_p.bind, plan=plan, arrived=arrived, wanted=wanted)
    place, weights = plan.operands, plan.weights  # place: of the token
    shared = axes[place] is _SHARED
    by_weights = any(axis is not _SHARED for axis in axes[:weights]) or any(wanted[:weights])
    if by_weights or size == 0:  # a gradient of the weights for each example
        if shared:  # what it names has the rows of all examples, or serves them all
            operands = [*operands[:place], jnp.asarray(NO_TOKEN), *operands[place + 1 :]]
        return _one_by_one(bind, operands, axes)
    rows = _folded(operands[weights:place], axes[weights:place], size)
    gradients = _folded(operands[place + 1 :], axes[place + 1 :], size)
    forward_too = any(axis is not _SHARED for axis in axes[weights:place])  # then it had these rows
    token = operands[place] if shared and forward_too else jnp.asarray(NO_TOKEN)
    outputs = bind(*operands[:weights], *rows, token, *gradients)
    return [_unfolded(y, size) for y in outputs], [0] * len(outputs)


def _tangent_batched(operands: Any, axes: Any, *, plan: Plan, wanted: Flags) -> Any:
    return _one_by_one(functools.partial(tangent_p.bind, plan=plan, wanted=wanted), operands, axes)


batching.primitive_batchers[run_p] = _run_batched
batching.primitive_batchers[back_p] = _back_batched
batching.primitive_batchers[tangent_p] = _tangent_batched
