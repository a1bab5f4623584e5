"""predict: the outputs of a model for arrays, or for what a source gives."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, NoReturn

import numpy as np

from rekur import _core
from rekur._own import check_arguments, named_after
from rekur._validate import Floats, integer, optional_integer
from rekur.callbacks import Callback, CallbackList
from rekur.training import data
from rekur.training.batch import Batch
from rekur.training.by_batch import ByBatch
from rekur.training.entering import beside
from rekur.training.feed import Reading
from rekur.training.progress import Progress, check_verbose
from rekur.training.sources import ByRows, Table, is_source, make_source, stored_in


@named_after("rekur.models", "Model")
class Predicting(ByBatch):
    """The part of a model that computes outputs."""

    _quick: tuple[_core.Model, Any, int, int, tuple[int | None, ...]] | None = None  # what predict needs of one array

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        workers: int | None = None,
        max_queue_size: int | None = None,
        use_multiprocessing: bool = False,
        **options: NoReturn,
    ) -> Any:
        """Outputs for ``x``, without dropout.

        Parameters
        ----------
        x : ndarray of shape (B, …), or a list or dict of them; or a source of batches
            B may be 0. Of what a source gives the targets and weights are left alone.
        batch_size : int
            Rows computed at a time, 32 by default; it does not change the result.
        verbose : {0, 1, 2}
        steps : int, optional
            How many batches; by default all.
        callbacks : list of Callback, optional
        lengths, mask, resets : ndarray, or a dict by input name, optional
            As of :meth:`fit`.
        workers, max_queue_size, use_multiprocessing
            As of :meth:`fit`.

        Returns
        -------
        float32 ndarray of shape (B, …), or a list of them if the model has several outputs.

        Raises
        ------
        ValueError, TypeError
            If ``x`` or ``lengths`` do not fit the model's inputs.
        """
        quick = self._quick
        plain = steps is None and callbacks is None and lengths is None and mask is None and resets is None
        if (
            quick is not None
            and plain
            and type(x) is np.ndarray
            and batch_size is None
            and verbose == 0
            and not options
        ):
            # A step at a time every microsecond shows: what the engine takes as it is goes there at once.
            engine, dtype, rank, first, sizes = quick
            fits = x.dtype is dtype and x.ndim == rank and x.shape[first:] == sizes and len(x) <= 32
            if fits and x.flags.c_contiguous and x.flags.aligned:
                return engine.predict((x,))[0]
        if options:
            check_arguments(options, Predicting.predict)
        size = rows_of_a_batch(batch_size)
        if type(x) is np.ndarray and steps is None and verbose == 0 and callbacks is None and len(x.shape):
            alone = len(x) <= size and lengths is None and mask is None and resets is None
            if alone and not isinstance(x.base, np.memmap):  # a step at a time every microsecond shows
                engine = self._engine(x)
                ports, outputs = self._ports()
                inputs = data.make_inputs(x, ports)
                self._check_batches(len(inputs[0]), size)
                joined = self._compute(engine, inputs, None)
                if len(ports) == len(outputs) == 1 and self._carried() is None:
                    shape = ports[0].shape
                    first = max(k for k, size_of in enumerate(shape) if size_of is None) + 1
                    self._quick = engine, np.dtype(ports[0].dtype), len(shape), first, tuple(shape[first:])
                return joined[0] if len(outputs) == 1 else joined
        given = Batch(x, None, None, lengths, mask, resets)
        steps, verbosity = optional_integer(steps, "steps"), check_verbose(verbose)
        reading = Reading.of(workers, max_queue_size, use_multiprocessing)
        if is_source(x):
            source = make_source(x, beside(given), rows_of_its_own(batch_size), False)
            engine = self._engine(source.example().x)
        elif stored_in(given):
            table = Table(given)
            source, engine = ByRows(table, size, False, False, "x"), self._engine(table.take(slice(0, 1)).x)
            self._check_batches(len(table), size)
        else:
            engine = self._engine(x)
            rows = self._entering(given)
            self._check_batches(len(rows), size)
            source = ByRows(rows, size, False, True, "x")
        reading.check(source)
        feed = self._predicted(source, steps, reading)
        params = {"epochs": 1, "steps": feed.steps, "verbose": verbosity}
        hooks = CallbackList(callbacks, model=self, **params)  # type: ignore[arg-type]
        listened = hooks.reads_batches("predict")
        progress = Progress(0 if hooks.draws_progress() else verbosity, "predict", feed.steps)
        pieces: list[list[Floats]] = []
        hooks.call("on_predict_begin", {})
        try:
            with closing(feed.epoch(0)) as batches:
                for number, batch in enumerate(batches):
                    if listened:
                        hooks.call("on_predict_batch_begin", number, {})
                    pieces.append(self._compute(engine, batch.inputs, batch.marks.engine))
                    progress.step()
                    if listened:
                        outs = pieces[-1]
                        hooks.call("on_predict_batch_end", number, {"outputs": outs[0] if len(outs) == 1 else outs})
            progress.close({})
        finally:
            progress.close()
            feed.close()
        hooks.call("on_predict_end", {})
        places = source.places(len(pieces))
        results = [data.joined(list(parts), places) for parts in zip(*pieces, strict=True)]
        return results[0] if len(results) == 1 else results

    def predict_on_batch(
        self, x: Any, lengths: Any = None, mask: Any = None, resets: Any = None, **options: NoReturn
    ) -> Any:
        """Outputs for all rows of ``x`` as one batch; see :meth:`predict`."""
        if options:
            check_arguments(options, Predicting.predict_on_batch)
        return self.predict(x, batch_size=2**31 - 1, lengths=lengths, mask=mask, resets=resets)


def rows_of_a_batch(given: int | None) -> int:
    """``batch_size`` of arrays."""
    return 32 if given is None else integer(given, "batch_size")


def rows_of_its_own(given: int | None) -> int | None:
    """``batch_size`` of a source, None where nobody said it."""
    return None if given is None else integer(given, "batch_size")
