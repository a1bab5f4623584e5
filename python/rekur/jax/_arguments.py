"""What callers give, as the primitives take it: types and shapes are looked at, axes put in the engine's order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rekur._cell import Cell
from rekur._validate import did_you_mean
from rekur.jax._plan import Plan


def floats(value: Any, what: str) -> jax.Array:
    array = jnp.asarray(value)
    if array.dtype == jnp.float64:
        raise TypeError(f"{what} is float64, and the engine computes in float32: give it .astype(jnp.float32)")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{what} must be float32, float16 or bfloat16, got {array.dtype}")
    return array


def states(given: Any, count: int, what: str) -> list[Any]:
    if given is None:
        return []
    states = list(given) if isinstance(given, (tuple, list)) else [given]
    if len(states) != count:
        raise ValueError(f"{what}: initial_state must have {count} array{'s' * (count > 1)}, got {len(states)}")
    return [floats(state, f"{what}: initial_state[{k}]") for k, state in enumerate(states)]


def steps_of(cell: Cell | None, steps: Mapping[str, Any], what: str) -> dict[str, Any]:
    known = cell.step_inputs if cell else {}
    for name in steps:
        if name not in known:
            raise TypeError(f"{what}: the cell has no step input '{name}'{did_you_mean(name, known)}")
    for name, value in known.items():
        if value is None and name not in steps:
            raise TypeError(f"{what}: the cell needs the step input '{name}': give step_inputs={{'{name}': …}}")
    return {name: steps[name] for name in known if name in steps}


def weights(plan: Plan, params: Mapping[str, Any], what: str) -> list[jax.Array]:
    """In the engine's order."""
    names = [name for name, _ in plan.parameters]
    for name in params:
        if name not in names:
            raise ValueError(f"{what}: params have '{name}', which is no weight of it{did_you_mean(str(name), names)}")
    found = []
    for name, shape in plan.parameters:
        if name not in params:
            hint = "; use_bias=False is the layer without" if name == "bias" else ""
            raise ValueError(f"{what}: params lack '{name}' of shape {shape}{hint}")
        array = floats(params[name], f"{what}: params['{name}']")
        if array.shape != shape:
            raise ValueError(f"{what}: params['{name}'] must have the shape {shape}, got {array.shape}")
        found.append(array.astype(jnp.float32))
    return found


class Order:
    """How x's axes become the engine's (B, T, F), and back."""

    def __init__(self, x: jax.Array, time_major: bool) -> None:
        self.time_major = time_major
        self.T = x.shape[0 if time_major else -2]
        self.batch = x.shape[1:-1] if time_major else x.shape[:-2]
        self.B = math.prod(self.batch)

    def rows(self, x: jax.Array) -> jax.Array:
        if self.time_major:
            x = jnp.moveaxis(x, 0, -2)
        return x.reshape(self.B, self.T, x.shape[-1])

    def back(self, y: jax.Array) -> jax.Array:
        y = y.reshape(*self.batch, self.T, y.shape[-1])
        return jnp.moveaxis(y, -2, 0) if self.time_major else y

    def _axes(self) -> tuple[int, ...]:
        return (self.T, *self.batch) if self.time_major else (*self.batch, self.T)

    def timed(self, array: jax.Array, what: str, units: int) -> jax.Array:
        if array.ndim < 2 or array.shape[:-1] != self._axes() or array.shape[-1] not in (1, units):
            raise ValueError(f"{what} must have the shape {(*self._axes(), 1)} or with {units}, got {array.shape}")
        return self.rows(array).astype(jnp.float32)

    def state(self, array: jax.Array, size: int, what: str) -> jax.Array:
        if array.shape != (*self.batch, size):
            raise ValueError(f"{what} must have the shape {(*self.batch, size)}, got {array.shape}")
        return array.reshape(self.B, size).astype(jnp.float32)

    def lengths(self, value: Any, what: str) -> jax.Array:
        array = jnp.asarray(value)
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(f"{what} must be integers, got {array.dtype}")
        if array.shape != self.batch:
            raise ValueError(f"{what} must have the shape {self.batch}, got {array.shape}")
        if not isinstance(array, jax.core.Tracer) and array.size:
            known = np.asarray(array)
            low, high = int(known.min()), int(known.max())
            if low < 0 or high > self.T:
                raise ValueError(f"{what} must be between 0 and {self.T}, got {low if low < 0 else high}")
        return array.reshape(self.B).astype(jnp.int32)

    def resets(self, value: Any, what: str) -> jax.Array:
        array = jnp.asarray(value)
        if array.dtype != jnp.bool_ and not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(f"{what} must be booleans, got {array.dtype}")
        if array.shape != self._axes():
            raise ValueError(f"{what} must have the shape {self._axes()}, got {array.shape}")
        flags = array != 0
        if self.time_major:
            flags = jnp.moveaxis(flags, 0, -1)
        return flags.reshape(self.B, self.T).astype(jnp.uint8)
