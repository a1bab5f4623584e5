"""Detectors' networks: raw values in, the error of every channel at every step out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur import layers, ops
from rekur.models import Model
from rekur.tasks.anomalies._graph import Floats, Front, Known, Parts

TAPS = 32  # values of a window that a reconstruction gives
_LONG = 4096  # steps


@dataclass(frozen=True)
class Design:
    """Settings of a detector with nothing left open."""

    methods: tuple[str, ...]
    units: tuple[int, ...]
    cell: Any
    dropout: float
    window: int
    horizon: int
    season: int
    smoothing: int
    latent: int
    prototypes: int

    def warm(self, method: str) -> int:
        """Steps before the first one whose error counts."""
        if method == "nearest":
            return self.window - 1
        return max(self.window, self.season + self.horizon - 1 if method == "forecast" else 0)


class Network:
    """A graph being built: its input, and for each method the tensors of errors (B, T, F) of its members."""

    def __init__(self, known: Known, design: Design) -> None:
        self.parts, self.design, self.known = Parts(), design, known
        self.x = layers.Input((None, len(known.mean)), name="values")
        self.front = Front(self.parts, self.x, known)
        self.errors: dict[str, list[Any]] = {method: [] for method in design.methods}

    @property
    def channels(self) -> int:
        return len(self.known.mean)

    def member(self, method: str, seed: int) -> Model:
        """One more recurrent network: a model whose outputs are what has to become small."""
        residual = self._forecast() if method == "forecast" else self._reconstruction()
        squares = self.parts.pointwise(lambda e: e * e, residual, what="square")
        self.errors[method].append(self.parts.grouped_mean(squares, self.channels))
        return self.parts.fix(Model(self.x, residual, seed=seed, name=method))

    def _recurrent(self, y: Any) -> Any:
        cell, parts, design = self.design.cell, self.parts, self.design
        for units in design.units:
            options = {"return_sequences": True, "name": parts.name("recurrent")}
            y = cell(units, **options)(y)
            if design.dropout:
                y = layers.Dropout(design.dropout, name=parts.name("dropout"))(y)
        return y

    def _forecast(self) -> Any:
        """What the steps before said of the present, less what it is: (B, T, F · horizon)."""
        parts, front, design = self.parts, self.front, self.design
        seen = parts.delayed(front.read(), 1)
        if design.season > 1:
            # What was one season before the next step is known at each step.
            seen = parts.joined([seen, parts.delayed(front.held, design.season)])
        # A path around the recurrence: the last value, and the last season's, are often nearly right.
        around = parts.joined([self._recurrent(seen), seen])
        said = layers.Dense(self.channels * design.horizon, name=parts.name("forecast"))(around)
        return self._residual(parts.said_before(said, design.horizon), front.values, front.present, "forecast")

    def _reconstruction(self) -> Any:
        """The last window as a few numbers that the recurrence keeps of it say it was, less what it was."""
        parts, front, design = self.parts, self.front, self.design
        number = min(TAPS, design.window)
        apart = max(1, (design.window - 1) // max(number - 1, 1))
        code = layers.Dense(design.latent, name=parts.name("code"))(self._recurrent(front.read()))
        wide = layers.Dense(max(2 * design.latent, 32), activation="relu", name=parts.name("decode"))(code)
        said = layers.Dense(self.channels * number, name=parts.name("window"))(wide)
        window, there = parts.taps(front.values, number, apart), parts.taps(front.present, number, apart)
        return self._residual(said, window, there, "reconstruction", repeat=False)

    def _residual(self, said: Any, values: Any, there: Any, method: str, repeat: bool = True) -> Any:
        parts = self.parts
        if repeat:
            values = parts.repeated(values, self.design.horizon)
            there = parts.repeated(there, self.design.horizon)
        since = self.front.since(self.design.warm(method))
        return parts.pointwise(lambda s, v, p, g: (v - s) * p * g, said, values, there, since, what="residual")

    def nearest(self, prototypes: list[Floats]) -> Any:
        """Mean squared distance of each channel's last window to the nearest of its prototypes (K, window).

        |m⊙(x − c)|² = Σ m x² − 2 Σ m x c + Σ m c², where m leaves missing values out: three convolutions.
        """
        parts, front, window = self.parts, self.front, self.design.window
        squares = parts.pointwise(lambda v: v * v, front.values, what="square")
        power = parts.moving_sum(squares, window)
        there = parts.moving_sum(front.present, window)
        least = []
        for channel, found in enumerate(prototypes):
            # What is dearest to compute takes values and presence of a channel side by side.
            pick = np.zeros((2 * self.channels, 2))
            pick[channel, 0] = pick[self.channels + channel, 1] = 1
            pair = parts.linear(parts.joined([front.values, front.present]), pick, "channel")
            kernel = np.stack([-2 * found.T, (found**2).T], axis=1)  # (window, 2, K)
            cross = parts.convolved(pair, kernel, "windows")
            least.append(parts.pointwise(lambda v: ops.min(v, axis=-1, keepdims=True), cross, what="least"))
        since = front.since(self.design.warm("nearest"))
        # Where most of a window is missing nothing can be said of it.
        distance = parts.pointwise(
            lambda q, n, p, g: ops.where(p > window / 2, ops.maximum(q + n, 0.0) / ops.maximum(p, 1.0), 0.0) * g,
            power, parts.joined(least), there, since, what="distance",
        )  # fmt: skip
        self.errors["nearest"] = [distance]
        return distance

    def raw(self) -> Model:
        """Errors of all methods side by side, (B, T, F · methods), before they are weighed."""
        return self.parts.fix(Model(self.x, self._together(), name="errors"))

    def _together(self) -> Any:
        return self.parts.joined([self._averaged(method) for method in self.design.methods])

    def _averaged(self, method: str) -> Any:
        members = self.errors[method]
        if len(members) == 1:
            mean = members[0]
        else:
            mean = self.parts.linear(
                self.parts.joined(members),
                np.tile(np.eye(self.channels) / len(members), (len(members), 1)), "ensemble",
            )  # fmt: skip
        if method == "nearest" or self.design.smoothing == 1:
            return mean  # a window's distance is smooth as it is
        return self.parts.moving_sum(mean, self.design.smoothing, 1 / self.design.smoothing)

    def scorer(self, scales: Floats, centre: float, spread: float) -> Model:
        """The whole detector: raw values to ``score`` (B, T, 1) and ``contributions`` (B, T, F).

        Parameters
        ----------
        scales : ndarray of shape (methods · F,)
            What errors are usually, method by method.
        centre, spread : float
            Of :func:`level`, over usual steps.
        """
        parts, methods = self.parts, len(self.design.methods)
        relative = layers.Rescaling((1 / scales).tolist(), name=parts.name("relative"))(self._together())
        both = []
        for number in range(methods):
            own = relative if methods == 1 else relative[..., number * self.channels : (number + 1) * self.channels]
            mean = parts.pointwise(lambda c: ops.mean(c, axis=-1, keepdims=True), own, what="mean")
            both.append(parts.joined([mean, own]))
        found = parts.pointwise(lambda *c: sum(ops.log1p(each) for each in c) / len(c), *both, what="level")
        score = layers.Rescaling(1 / spread, -centre / spread, name="score")(found[..., :1])
        contributions = layers.Rescaling(1.0, 0.0, name="contributions")(found[..., 1:])
        return parts.fix(Model(self.x, [score, contributions], name="anomaly_detector"))


def level(errors: Floats, scales: Floats, methods: int) -> Floats:
    """How far beyond the usual errors (T, methods · F) are: the mean over methods of log(1 + mean over channels)."""
    relative = (errors / scales).reshape(len(errors), methods, -1)
    return np.asarray(np.log1p(relative.mean(axis=2)).mean(axis=1))


def outputs(model: Model, values: Floats) -> list[NDArray[np.float32]]:
    """A model's outputs for one series (T, F): (T, …) each.

    For long ones a stream, which has the same bits and needs no memory for what lies between.
    """
    given = np.asarray(values, np.float32)
    if len(given) > _LONG:
        found: Any = rekur.Stream(model).process(given)
        return found if isinstance(found, list) else [found]
    found = model.predict(given[None], verbose=0)
    return [part[0] for part in (found if isinstance(found, list) else [found])]
