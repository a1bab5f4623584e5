"""Networks of an estimator, trained one after another from seeds, with one bar over all of it."""

import contextlib
import contextvars
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rekur.callbacks import Callback, EarlyStopping
from rekur.models import Model
from rekur.training.progress import _is_watched, describe

_watching: contextvars.ContextVar[tuple[Callback, ...]] = contextvars.ContextVar("watching", default=())


@contextlib.contextmanager
def watched(callbacks: Sequence[Callback]) -> Iterator[None]:
    """Let callbacks hear of the fits of all networks that estimators train within."""
    token = _watching.set(tuple(callbacks))
    try:
        yield
    finally:
        _watching.reset(token)


class FitBar:
    """One bar for a whole fit: epochs of all networks, time passed and remaining, the numbers of the last epoch.

    Drawn on a terminal (or in a notebook) only; a line at the end is what a log file gets.
    """

    def __init__(self, verbose: int, title: str, members: int, epochs: int) -> None:
        self._title, self._members, self._epochs = title, members, epochs
        self._begin = time.monotonic()
        self._bar: Any = None
        self._verbose = verbose
        if verbose and _is_watched(sys.stderr):
            from tqdm import tqdm

            form = "{desc} {percentage:3.0f}% {bar:20} [{elapsed}<{remaining}]{postfix}"
            self._bar = tqdm(total=members * epochs, desc=title, bar_format=form, file=sys.stderr, leave=False)

    def member(self, number: int, steps: int | None) -> Callback:
        """The callback of the fit of one network, which has so many steps an epoch, if that is known."""
        return _Member(self, number, steps)

    def at(self, epochs: float, logs: Mapping[str, float] | None = None) -> None:
        if self._bar is not None:
            if logs:
                self._bar.set_postfix_str(describe(logs), refresh=False)
            self._bar.n = min(epochs, self._bar.total)
            self._bar.update(0)

    def close(self, text: str = "") -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._verbose and text:
            print(f"{self._title} - {time.monotonic() - self._begin:.1f}s - {text}", file=sys.stderr, flush=True)


class _Member(Callback):
    _draws = True

    def __init__(self, bar: FitBar, number: int, steps: int | None) -> None:
        self._bar, self._first, self._steps = bar, number * bar._epochs, steps
        self._epoch, self._shown = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.monotonic()
        if self._steps and now - self._shown > 0.1:
            self._shown = now
            self._bar.at(self._first + self._epoch + (batch + 1) / self._steps)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._bar.at(self._first + epoch + 1, logs)


class Diverged(ValueError):
    """The loss of a training became NaN or infinite."""


def fit_networks(
    build: Callable[[int], Model],
    seeds: Sequence[int],
    data: Mapping[str, Any],
    *,
    epochs: int,
    who: str,
    batch_size: int | None = None,
    validation: Any = None,
    patience: int | None = None,
    verbose: int = 0,
    callbacks: Sequence[Callback] = (),
    steps: int | None = None,
    title: str | None = None,
) -> tuple[list[Model], list[dict[str, list[float]]]]:
    """Train one network a seed.

    Parameters
    ----------
    build : function of a seed
        A compiled model whose initial weights, dropout and order of rows come of the seed.
    seeds : sequence of int
    data : dict
        What ``fit`` of a model takes by name: x, y, sample_weight, lengths, …
    epochs, batch_size : int
    who : str
        The estimator's name, for errors.
    validation : as ``validation_data`` of ``fit``, optional
    patience : int, optional
        With validation: stop after so many epochs without a better ``val_loss``, and keep the best epoch's weights.
    verbose : int
        0 or 1.
    callbacks : list of Callback
        Of every fit.
    steps : int, optional
        Steps of an epoch, for the bar.

    Returns
    -------
    list of Model, list of dict
        The networks, and what each epoch of each gave by name.

    Raises
    ------
    Diverged
        If a loss is no number any more.
    """
    bar = FitBar(verbose, title or who, len(seeds), epochs)
    models, histories = [], []
    text = ""
    try:
        for number, seed in enumerate(seeds):
            model = build(seed)
            more: list[Callback] = [bar.member(number, steps), *callbacks, *_watching.get()]
            if validation is not None and patience is not None:
                more.append(EarlyStopping("val_loss", patience=patience, mode="min", restore_best_weights=True))
            history = model.fit(
                **data,
                batch_size=batch_size,
                epochs=epochs,
                verbose=0,
                callbacks=more,
                validation_data=validation,
            ).history
            kept = {name: [float(value) for value in values] for name, values in history.items()}
            if kept.get("loss") and not np.isfinite(kept["loss"][-1]):
                raise Diverged(
                    f"{who}: the loss is {kept['loss'][-1]} in epoch {len(kept['loss'])}: the training has diverged; "
                    "lower learning_rate, and look for outliers in the data"
                )
            models.append(model)
            histories.append(kept)
            losses = kept.get("val_loss") or kept.get("loss") or [float("nan")]
            text = f"{len(losses)} epochs - {describe({'val_loss' if 'val_loss' in kept else 'loss': min(losses)})}"
    except BaseException:
        bar.close()
        raise
    bar.close(text if len(seeds) == 1 else f"{len(seeds)} networks, the last one: {text}")
    return models, histories
