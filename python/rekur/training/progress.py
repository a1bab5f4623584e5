"""What a fit prints."""

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

_INTERVAL = 0.1  # seconds between two updates of the numbers in a bar


def check_verbose(verbose: object) -> int:
    """0 silent, 1 a bar, 2 a line an epoch; Keras's "auto" is 1."""
    if verbose == "auto":
        return 1
    if verbose not in (0, 1, 2):
        raise ValueError(
            f"verbose must be 0 (silent), 1 (progress bar), 2 (one line an epoch) or 'auto', got {verbose!r}"
        )
    return int(verbose)


def describe(logs: Mapping[str, float]) -> str:
    return " - ".join(f"{name}: {_number(value)}" for name, value in logs.items())


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or not math.isfinite(value) or abs(value) >= 1e-3 else f"{value:.4e}"


class Progress:
    """The bar (verbose 1), line (2) or silence (0) of one pass over the rows.

    The bar is for whoever watches: it is drawn on a terminal (a notebook counts as one) only, and is cut at its edge.
    The line that takes its place in the end is whole, and is all that a log file gets.
    """

    def __init__(self, verbose: int, title: str, steps: int | None) -> None:
        self.verbose = verbose
        self.title = title
        self.steps = steps  # None: nobody knows before the end
        self._done = 0
        self._bar: Any = None
        self._open = verbose > 0
        self._shown = self._begin = time.monotonic()
        if verbose == 1 and _is_watched(sys.stderr):
            from tqdm import tqdm

            form = "{desc} {bar:20} {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}"
            self._bar = tqdm(
                total=steps, desc=title, bar_format=form, file=sys.stderr, mininterval=_INTERVAL, leave=False
            )

    def due(self) -> bool:
        """Whether the numbers shown are old enough to be made anew."""
        return self._bar is not None and time.monotonic() - self._shown >= _INTERVAL

    def step(self, logs: Mapping[str, float] | None = None) -> None:
        self._done += 1
        if self._bar is None:
            return
        if logs is not None:
            self._bar.set_postfix_str(describe(logs), refresh=False)
            self._shown = time.monotonic()
        self._bar.update()

    def close(self, logs: Mapping[str, float] | None = None) -> None:
        """End the bar and print the line; without logs (an error) just end it."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._open and logs is not None:
            parts = [self.title, f"{time.monotonic() - self._begin:.1f}s", *([describe(logs)] if logs else [])]
            if self.verbose == 1:
                steps = self._done if self.steps is None else self.steps
                parts.insert(1, f"{steps}/{steps}")
            print(" - ".join(parts), file=sys.stderr if self.verbose == 1 else sys.stdout, flush=True)
            self._open = False


def _is_watched(stream: Any) -> bool:
    """Whether a stream understands carriage returns: a terminal, or a notebook's, which says it is none."""
    return stream is not None and (stream.isatty() or type(stream).__module__.startswith("ipykernel"))
