"""What a model costs where it runs: time, size, memory; and the most that it may cost."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

import rekur
from rekur._validate import did_you_mean, integer, optional_integer, real
from rekur.models.structure import Structure
from rekur.training import memory as memory_

COSTS = ("latency", "step", "size", "memory")
_CHEAP = ("size", "memory")  # which are known without running anything
_SECONDS, _LEAST, _PATIENCE = 0.03, 5, 1.0  # how long to measure, how often at least, but no longer than
_STEPS = 64  # of a stream in one measured call


def latency(model: Any, batch: int = 1, *, steps: int | None = None, threads: int = 1) -> float:
    """Seconds that ``predict`` takes: the least of several calls, so that what else the machine does counts little.

    Parameters
    ----------
    model : Model, or an estimator of rekur.tasks
        Of an estimator that has learned: the sum over its networks.
    batch : int
        Rows of a call.
    steps : int, optional
        Time steps of inputs that leave them open.
    threads : int
        Of the engine, while it is measured.

    Raises
    ------
    ValueError
        If an input leaves its steps open and ``steps`` is not given.
    """
    what = "tune.latency"
    rows, given = integer(batch, f"{what}: batch"), optional_integer(steps, f"{what}: steps")
    return sum(_predict_time(network, rows, given, threads, what) for network in networks_of(model, what))


def step(model: Any, rows: int = 1, *, threads: int = 1) -> float:
    """Seconds that one time step of :class:`rekur.Stream` takes in the engine: the least of several measurements.

    Raises
    ------
    ValueError
        If the model cannot go step by step, naming the layer.
    """
    what = "tune.step"
    count = integer(rows, f"{what}: rows")
    return sum(_step_time(network, count, threads) for network in networks_of(model, what))


def size(model: Any) -> int:
    """Bytes of the weights, as float32."""
    return 4 * int(sum(network.count_params() for network in networks_of(model, "tune.size")))


def memory(model: Any, batch: int = 1, *, steps: int | None = None) -> int:
    """Bytes that the weights and a ``predict`` of so many rows take (:meth:`rekur.Model.memory`).

    Raises
    ------
    ValueError
        If an input leaves its steps open and ``steps`` is not given.
    """
    what = "tune.memory"
    found = [network.memory(batch, steps) for network in networks_of(model, what)]
    weights, largest = sum(each["weights"] for each in found), max(each["predict"] for each in found)
    return int(weights + largest)


def networks_of(model: Any, what: str) -> list[Any]:
    """A model, or those of an estimator.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(model, Structure):
        return [model]
    found: dict[int, Any] = {}
    for name, value in vars(model).items() if hasattr(model, "__dict__") else ():
        if name.endswith("_"):
            listed = value if isinstance(value, (list, tuple)) else [value]
            found.update({id(each): each for each in listed if isinstance(each, Structure)})
    if not found:
        raise TypeError(f"{what}: expected a model, or an estimator that has learned, got {model!r}")
    return list(found.values())


def _least_time(call: Callable[[], object], threads: int) -> float:
    used = rekur.num_threads()
    rekur.set_num_threads(threads)
    try:
        call()  # packs the weights
        best, begin, count = float("inf"), time.perf_counter(), 0
        while True:
            before = time.perf_counter()
            call()
            now = time.perf_counter()
            best, count = min(best, now - before), count + 1
            if now - begin > (_SECONDS if count >= _LEAST else _PATIENCE):
                return best
    finally:
        rekur.set_num_threads(used)


def _predict_time(network: Any, rows: int, steps: int | None, threads: int, what: str) -> float:
    if network._flat().states:
        network = copy.deepcopy(network)  # whose states go on from what is measured
    arrays: list[Any] = []
    for tensor in network.inputs:
        if steps is None and None in tensor.shape[1:]:
            raise ValueError(f"{what}: input '{tensor.name}' has an open number of time steps: give steps=")
        shape = (rows, *(n or steps or 0 for n in tensor.shape[1:]))
        arrays.append(_values(network, shape, tensor.dtype))
    x = arrays[0] if len(arrays) == 1 else arrays
    return _least_time(lambda: network.predict(x, batch_size=rows), threads)


def _values(network: Any, shape: Any, dtype: str) -> Any:
    """Numbers that no layer takes for padding, which would not be computed."""
    if dtype != "int32":
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)
    words = min((entry["input_dim"] for entry in network.spec["layers"] if entry["type"] == "Embedding"), default=2)
    return np.full(shape, min(1, words - 1), np.int32)


def _step_time(network: Any, rows: int, threads: int) -> float:
    stream = rekur.Stream(network, rows)
    arrays: Any = [_values(network, (rows, _STEPS, *shape[1:]), dtype) for _, shape, dtype in stream._inputs]
    x = arrays[0] if len(arrays) == 1 else arrays
    return _least_time(lambda: stream.process(x), threads) / _STEPS


@dataclass(frozen=True)
class Budget:
    """The most that a model may cost, and how that is measured.

    Parameters
    ----------
    latency : float, optional
        Seconds of a :func:`rekur.tune.latency`: ``predict`` of ``batch`` rows.
    step : float, optional
        Seconds of a :func:`rekur.tune.step`: a time step of a stream of ``batch`` rows. A model that cannot go step by
        step is over it.
    size : int or str, optional
        Bytes of the weights, or a text such as ``"200KB"``.
    memory : int or str, optional
        Bytes of the weights and a ``predict``.
    batch : int
        Rows of a call.
    steps : int, optional
        Time steps of inputs that leave them open; without it their latency and memory are not known.
    threads : int
        Of the engine, while times are measured.

    Raises
    ------
    ValueError, TypeError
        For what is no such limit, naming it.
    """

    latency: float | None = None
    step: float | None = None
    size: int | str | None = None
    memory: int | str | None = None
    batch: int = 1
    steps: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("latency", "step"):
            given = getattr(self, name)
            if given is not None and not real(given, f"budget: {name}", 0.0) > 0:
                raise ValueError(f"budget: {name} must be above 0 seconds, got {given!r}")
        for name in _CHEAP:
            try:
                object.__setattr__(self, name, memory_.parse(getattr(self, name)))
            except (TypeError, ValueError) as error:
                raise type(error)(str(error).replace("memory_limit", f"budget: {name}")) from None
        integer(self.batch, "budget: batch")
        optional_integer(self.steps, "budget: steps")
        integer(self.threads, "budget: threads")

    @classmethod
    def of(cls, given: object) -> "Budget":
        """A budget, or a dict of its parameters; None: no limit.

        Raises
        ------
        ValueError, TypeError
            For anything else, and for a name that there is not.
        """
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(f"budget: expected a dict such as {{'latency': 0.001}}, or a tune.Budget, got {given!r}")
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise ValueError(f"budget: there is no {name!r}{did_you_mean(name, known)}")
        return cls(**given)

    @property
    def limits(self) -> dict[str, float]:
        """Those that there are, by name."""
        found = {name: getattr(self, name) for name in COSTS}
        return {name: float(value) for name, value in found.items() if value is not None}

    def measure(self, model: Any, only: tuple[str, ...] = COSTS) -> dict[str, float]:
        """The costs of a model by name.

        ``step`` of one that cannot go step by step is infinite, and so is, without a limit, what the number of time
        steps would have to be known for.
        """
        found: dict[str, float] = {}
        networks = networks_of(model, "budget")
        unknown = self.steps is None and any(None in t.shape[1:] for each in networks for t in each.inputs)
        for name in only:
            if unknown and name in ("latency", "memory") and name not in self.limits:
                found[name] = float("inf")
            elif name == "latency":
                found[name] = latency(model, self.batch, steps=self.steps, threads=self.threads)
            elif name == "step":
                try:
                    found[name] = step(model, self.batch, threads=self.threads)
                except ValueError:
                    found[name] = float("inf")
            else:
                found[name] = float(size(model) if name == "size" else memory(model, self.batch, steps=self.steps))
        return found

    def costs(self, model: Any) -> tuple[dict[str, float], str]:
        """The costs, and in words which limit is exceeded; then what takes time to measure may be left out."""
        found = self.measure(model, _CHEAP)
        if not (over := self.over(found)):
            found |= self.measure(model, ("latency", "step"))
            over = self.over(found)
        return {name: found[name] for name in COSTS if name in found}, over

    def over(self, costs: Mapping[str, float]) -> str:
        """In words which limits are exceeded: nothing, where none is."""
        limits = self.limits
        wrong = [
            "it cannot go step by step"
            if value == float("inf")
            else f"{name} {shown(name, value)} of {shown(name, limits[name])}"
            for name, value in costs.items()
            if name in limits and value > limits[name]
        ]
        return ", ".join(wrong)


def shown(cost: str, value: float | None) -> str:
    """A cost with its unit."""
    if value is None or value == float("inf"):
        return "–"
    if cost in _CHEAP:
        return memory_.show(value)
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
