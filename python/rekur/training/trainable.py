"""compile, fit, evaluate: how a model is trained."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

from rekur._own import check_arguments, named_after
from rekur._validate import boolean, integer, optional_integer, real
from rekur.callbacks import Callback, CallbackList, History
from rekur.optimizers import Optimizer
from rekur.training import data, memory
from rekur.training.batch import Batch
from rekur.training.bound import Bound
from rekur.training.by_batch import returned
from rekur.training.compiled import Compiled
from rekur.training.data import Rows
from rekur.training.entering import beside
from rekur.training.feed import Feed, Reading
from rekur.training.predicting import Predicting, rows_of_a_batch, rows_of_its_own
from rekur.training.progress import Progress, check_verbose
from rekur.training.sources import Source, Table, check_shuffle, is_source, make_source, stored_in
from rekur.training.totals import Totals

if TYPE_CHECKING:
    from rekur.training.truncated import Truncated


@dataclasses.dataclass(frozen=True)
class Resumed:
    """Where a fit that was interrupted goes on: ``batches`` of ``epoch`` are done, ``totals`` is their state; ``first``
    is the number that the epoch it began with has for the order of the rows.
    """

    epoch: int
    first: int
    batches: int = 0
    totals: Mapping[str, Any] | None = None


@named_after("rekur.models", "Model")
class Trainable(Predicting):
    """The part of a model that works on arrays. ``rekur.Model`` gives it an engine."""

    _stop = False
    _history: History | None = None
    _tokenizer: Any = None
    _seq2seq: Any = None  # what Seq2Seq says of the model in a file
    _resumed: Resumed | None = None  # set by a callback that restores
    _totals: Totals | None = None  # of the epoch at hand
    _first = 0  # the number of the epoch that a fit began with
    _loss_of_step = 0.0  # what the last step of fit minimised

    @property
    def stop_training(self) -> bool:
        """True ends the fit that is running after the step at hand; fit begins with False."""
        return self._stop

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._stop = boolean(value, f"{self._whose()}: stop_training")

    @property
    def tokenizer(self) -> Any:
        """What makes the model's ids of text (:class:`rekur.data.TextVectorization`), or a dict of them, or None.

        It goes into the model's file, and comes back with ``rekur.load``; the model itself takes ids.
        """
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, value: Any) -> None:
        from rekur.data.text import check_saved

        self._tokenizer = check_saved(value, f"{self._whose()}: tokenizer")

    @property
    def history(self) -> History | None:
        """What the last fit returned."""
        return self._history

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        seed: int | None = None,
        weighted_metrics: Any = None,
        remat: bool = False,
        precision: str = "float32",
        **options: NoReturn,
    ) -> None:
        """Say how the model is to be trained. The optimiser starts anew; the weights stay.

        Parameters
        ----------
        optimizer : str or Optimizer
            Of :mod:`rekur.optimizers`. An object is used itself, not a copy: what is set on it later acts.
        loss : str, Loss or function, or a list or dict of them
            Of :mod:`rekur.losses`, or a function of (y_true, y_pred) written in :mod:`rekur.ops`; with several outputs
            one for all, a list in their order or a dict by their name. None: no loss there.
        metrics : list of str, Metric or function
            Of :mod:`rekur.metrics`, which says where "accuracy" is another number than Keras's; with several outputs a
            list of one entry (or list) an output, or a dict by name. Keras's third argument is ``loss_weights``.
        loss_weights : list or dict of float, optional
            What each output's loss counts in the sum that is minimised; 1 by default.
        weighted_metrics : list of str, Metric or function
            More of them, in which sample weights and ``class_weight`` count; in ``metrics`` every row and step counts
            alike that is there. What is in ``metrics`` too is called ``weighted_…`` here.
        seed : int, optional
            Of dropout and the order of the rows; the model's own by default.
        remat : bool
            Rematerialisation, for long sequences: of each batch recurrent layers keep the states between windows of
            steps, and compute what is within a window again when they go backward. A step takes a third more time and a
            fraction of the memory, as :meth:`memory` says; the numbers are the same to the bit.
        precision : {"float32", "bf16"}
            Of the products of recurrent layers and Dense, forward and backward, wherever the model runs from now on.
            "bf16" rounds what is multiplied to 8 bits of precision, and what is kept of the steps of recurrent layers,
            which takes half the memory; weights, sums, states and the optimiser stay float32. Numbers have float32's
            range, so no loss is scaled. Faster with AMX, and with AVX512_BF16 on AMD's processors; elsewhere slower
            (docs/precision.md). Layers that say a precision keep theirs.

        Raises
        ------
        ValueError, TypeError
            For an unknown name, with a suggestion, entries that do not match the outputs, or a function that equations
            cannot say, naming its line (in ``fit``, where the model is built only then).
        """
        if options:
            check_arguments(options, Trainable.compile)
        compiled = Compiled(optimizer, loss, metrics, loss_weights, seed, remat, weighted_metrics, precision)
        bound = (
            compiled.bind(self._engine(), self._ports()[1], self.seed, self._carried()) if self._is_ready() else None
        )
        self._compiled, self._bound = compiled, bound

    def memory(self, batch_size: int = 32, steps: int | None = None) -> dict[str, int]:
        """What runs of so many rows take, in bytes, without doing one.

        Parameters
        ----------
        batch_size : int
        steps : int, optional
            Time steps, where the inputs leave them open.

        Returns
        -------
        dict
            ``"weights"``; ``"predict"``, ``"train"`` and ``"train_remat"`` (``compile(remat=True)``): what a batch
            takes beside the weights, its own arrays and the optimiser's, up to two or three times the weights.

        Raises
        ------
        ValueError
            If ``steps`` is missing.
        """
        return memory.of_runs(self._engine(), batch_size, steps)

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""
        return self._compiled is not None

    def reset_metrics(self) -> None:
        """Begin the metrics anew, which every call does by itself: loops of one's own written for Keras say it."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser compiled with, the very object; what is set on it takes effect at the next step."""
        if self._compiled is None:
            raise RuntimeError(f"model '{self.name}' is not compiled: it has no optimizer")
        return self._compiled.optimizer

    def _larger_is_better(self, name: str) -> bool | None:
        """Which way a number of the logs is better, where its metric says so."""
        return self._trainer().larger_is_better(name)

    @property
    def metrics_names(self) -> list[str]:
        """Names of what ``evaluate`` returns."""
        return self._trainer().names()

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = 1,
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        workers: int | None = None,
        max_queue_size: int | None = None,
        use_multiprocessing: bool = False,
        tbptt: int | None = None,
        memory_limit: int | str | None = None,
        **options: NoReturn,
    ) -> History:
        """Train on arrays, or on batches from anywhere (docs/training.md).

        Parameters
        ----------
        x : ndarray of shape (B, …), or a list or dict of them; or a source of batches
            One array an input. Floats and integers of any width become float32; for an Embedding integers become int32.
            Memory maps and anything like h5py's data sets are read a batch at a time. A source gives x, (x, y),
            (x, y, sample_weight) or :class:`rekur.data.Batch`: a generator or another iterable, a ``PyDataset`` (or
            Keras's ``Sequence``), torch's ``DataLoader`` or ``Dataset``, :func:`rekur.data.windows`.
        y : ndarray, or a list or dict of them
            One array an output, in the shape of the output (a last axis of 1 may be left out), or class indices without
            the last axis.
        batch_size : int
            Rows of a step; the last step of an epoch takes what is left. 32 by default; not for sources that have
            batches of their own.
        epochs, initial_epoch : int
            Epochs are counted from ``initial_epoch`` to ``epochs``. The order of an epoch's rows depends on the seed
            and on how many epochs were trained since ``compile`` (or ``initial_epoch``, where that is more): 20 calls
            with ``epochs=1`` do what one with ``epochs=20`` does. A saved model goes on counting.
        verbose : {0, 1, 2, "auto"}
            Nothing, a progress bar, one line an epoch.
        callbacks : list of Callback
        validation_split : float
            This share of the rows of arrays, the last ones, is not trained on but evaluated.
        validation_data : tuple or dict, or a source
            ``(x, y)``, ``(x, y, sample_weight)``, ``(x, y, sample_weight, lengths)`` or a dict with these keys, mask
            and resets.
        shuffle : bool, "batch", "buffer" or ("buffer", rows)
            Whether each epoch takes the rows (of a PyDataset the batches) in another order. Everything given stays
            aligned. "batch" puts batches of neighbouring rows in another order, which suits stored arrays; "buffer"
            draws the rows of a stream from a buffer of 1024 or as many as are said. Streams are not shuffled otherwise.
        class_weight : dict of int to float, optional
            What each class counts in the loss, 1 where it is not said. With one output, and without sample_weight.
        sample_weight : ndarray of shape (B,) or (B, T), or a list or dict of them, optional
            What has weight 0 is not there: its target, and the output there, may be anything, NaN too.
        steps_per_epoch : int, optional
            Batches of an epoch; the next one goes on where it ended. By default an epoch is all there is.
        validation_steps, validation_batch_size : int, optional
            Batches of validation, by default all, and their rows, by default ``batch_size``.
        validation_freq : int or collection of int
            After every how many epochs validation runs, or after which, from 1.
        lengths : int ndarray of shape (B,), or a dict by input name, optional
            Valid steps of each row, 0 … T; steps past them are not computed, nor counted in loss and metrics.
        mask : bool ndarray of shape (B, T), or a dict by input name, optional
            False for a step that is none, wherever it stands. A recurrent layer leaves it out and repeats its last
            output there, as Keras does; loss and metrics do not count it.
        resets : bool ndarray of shape (B, T), or a dict by input name, optional
            True where another sequence begins within a row: the states of recurrent layers begin anew at that step.
        workers, max_queue_size : int, optional
            Threads that read and prepare batches beside the computation (0: none), and how many batches may wait. By
            default one thread and ten batches, or what a ``PyDataset`` says; arrays in memory need none, and a stream
            has one at most. The order is the same for any number.
        use_multiprocessing : bool
            Whether processes read the batches of a ``PyDataset``, as many as ``workers``, for a ``__getitem__`` that
            computes in Python. Each has a copy of the data set as it is when a pass begins. Arrays need no reading.
        tbptt : int, optional
            Truncated back-propagation through time: each batch of sequences is taken in windows of so many steps, a
            training step a window. The states of recurrent layers go on from one window to the next, as in one long
            forward pass; gradients end at a window's border. Outputs, targets among them, need a time axis. Stored
            arrays are read a window at a time, so sequences may be longer than memory. Validation goes the same way.
        memory_limit : int or str, optional
            Bytes, or a text such as ``"256MB"``, that weights, gradients, the optimiser and a step may take beside the
            data. Where a batch would take more, what recurrent layers keep is made again (``compile(remat=True)``).

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            Before the first step, for anything that does not fit; of a source that is read as it goes, at its batch.
        RuntimeError
            If the model is not compiled.
        MemoryError
            Where ``memory_limit`` leaves no way to take a step, saying which batch would fit.

        Notes
        -----
        An exception, Ctrl-C included, leaves the model as it was after the last whole step. What a source raises comes
        out with its traceback, after the batches before it.

        A generator that ends before its epochs do gives Keras's warning, and training ends.
        """
        if options:
            check_arguments(options, Trainable.fit)
        given = Batch(x, y, sample_weight, lengths, mask, resets)
        epochs = integer(epochs, "epochs", 0)
        initial_epoch = integer(initial_epoch, "initial_epoch", 0)
        shown, (order, _) = check_verbose(verbose), check_shuffle(shuffle)
        steps = optional_integer(steps_per_epoch, "steps_per_epoch")
        validates = data.check_frequency(validation_freq)
        share = real(validation_split, "validation_split", 0, 1)
        reading = Reading.of(workers, max_queue_size, use_multiprocessing)
        size = rows_of_a_batch(batch_size)
        window, limit = optional_integer(tbptt, "tbptt"), memory.parse(memory_limit)
        validation: Source | None = None
        if is_source(x):
            if share:
                raise ValueError(
                    f"validation_split is for arrays, whose rows can be told apart beforehand; x is a "
                    f"{type(x).__name__}: give validation_data"
                )
            source = make_source(x, beside(given), rows_of_its_own(batch_size), shuffle)
            bound = self._trainer(source.example().x)
            bound.share(again=True)
        else:
            if order == "buffer":
                raise ValueError("shuffle='buffer' is for streams of batches; rows of arrays: shuffle=True")
            bound = self._trainer(Table(given).take(slice(0, 1)).x if stored_in(given) else x)
            bound.share(again=True)
            source = self._arrays(bound, given, size, order, class_weight, window)
            if share and validation_data is None:
                source, validation = self._split(
                    source, share, size, order, validation_batch_size, class_weight is not None
                )
        reading.check(source)
        feed = self._feed(source, bound, class_weight, steps, reading)
        if validation_data is not None:
            validation = self._validation(bound, validation_data, size, validation_batch_size, window)
        watched: Feed | None = None
        if validation is not None:
            most = optional_integer(validation_steps, "validation_steps")
            watched = self._feed(validation, bound, None, most, reading, "validation_data: ")
            watched.message = "validation_data ran out of batches: give more, or a source that begins anew"

        names = bound.names()
        if watched is not None:
            names += [f"val_{name}" for name in names]
        cut = None if window is None else self._truncated(bound, window)
        active, total = (bound, feed.steps) if cut is None else (cut.bound, cut.count(feed))
        params = {"epochs": epochs, "steps": total, "verbose": shown, "metrics": names}
        hooks = CallbackList(callbacks, add_history=True, model=self, **params)  # type: ignore[arg-type]
        history = hooks.history
        assert history is not None
        self._history, self._resumed = history, None
        self.stop_training = False
        bound.epochs = max(bound.epochs, initial_epoch)
        self._first = bound.epochs
        trains = epochs > initial_epoch
        logs: dict[str, float] = {}
        try:
            hooks.call("on_train_begin", {})
            resumed: Resumed | None = self._resumed  # what a callback restored
            if bound.distribution is not None:
                place = None if resumed is None else (resumed.epoch, resumed.batches)
                bound.distribution.check_fit(total, epochs, place)
            if resumed is not None:
                initial_epoch = resumed.epoch
                feed.resume(resumed.first, bound.epochs, bound.seed)
                if cut is not None:
                    cut.check_resumed(resumed.batches)
            if limit is not None:
                active.limit_memory(limit)
            drawn = 0 if hooks.draws_progress() or not bound.writes else shown
            for epoch in range(initial_epoch, epochs):
                if not feed.has_more():
                    break
                hooks.call("on_epoch_begin", epoch, {})
                progress = Progress(drawn, f"Epoch {epoch + 1}/{epochs}", total)
                try:
                    number, bound.epochs = bound.epochs, bound.epochs + 1
                    done = 0 if resumed is None else resumed.batches
                    with closing(feed.epoch(number, done)) as batches:
                        taken = batches if cut is None else cut.windows(batches)
                        logs = self._train_epoch(active, taken, hooks, progress, resumed)
                    resumed = None
                    if bound.distribution is not None:
                        bound.distribution.settle(active)
                    if watched is not None and validates(epoch) and watched.has_more():
                        with closing(watched.epoch(number)) as batches:
                            whole = batches if cut is None else cut.windows(batches)
                            results = self._evaluate(active, whole, hooks=hooks)
                        logs.update({f"val_{name}": value for name, value in results.items()})
                    progress.close(logs)
                finally:
                    progress.close()
                hooks.call("on_epoch_end", epoch, logs)
                if bound.distribution is not None:
                    self.stop_training = bound.distribution.end_epoch(active, self.stop_training)
                if self.stop_training:
                    break
            if bound.distribution is not None:
                bound.distribution.leave()
        except SystemExit:
            if bound.distribution is not None:
                bound.distribution.leave()
            raise
        finally:
            feed.close()
            if watched is not None:
                watched.close()
            active.lift_limit()
            if cut is not None:
                cut.close()
        if bound.optimizer.use_ema and trains:
            self._sync_trained()
            bound.trainer.finalize()
        hooks.call("on_train_end", logs)
        return history

    def _truncated(self, bound: Bound, steps: int) -> "Truncated":
        """The model with its sequences in windows."""
        raise NotImplementedError

    def _train_epoch(
        self, bound: Bound, batches: Iterable[Rows], hooks: CallbackList, progress: Progress, resumed: Resumed | None
    ) -> dict[str, float]:
        totals = Totals(bound)
        self._totals = totals
        done = 0 if resumed is None else resumed.batches
        if resumed is not None and resumed.totals is not None:
            totals.set_state(resumed.totals)
        listened = hooks.reads_batches("train")
        for number, batch in enumerate(batches, done):
            if bound.distribution is not None and bound.distribution.agree(batch, self.stop_training) and number > done:
                self.stop_training = True
                break
            if listened:
                hooks.call("on_train_batch_begin", number, {})
            self._sync_trained()
            result = bound.step(batch)
            totals.add(batch, result)
            logs = totals.results() if listened or progress.due() else None
            progress.step(logs)
            if listened:
                self._loss_of_step = result[0]
                hooks.call("on_train_batch_end", number, logs)
            if self.stop_training and listened and bound.distribution is None:
                break
        return totals.results()

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        return_dict: bool = False,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        workers: int | None = None,
        max_queue_size: int | None = None,
        use_multiprocessing: bool = False,
        **options: NoReturn,
    ) -> Any:
        """Loss and metrics, without dropout. Parameters as of :meth:`fit`; ``steps``: how many batches, by default all.

        Returns
        -------
        float, or a list of them if there are metrics or several outputs, in the order of ``metrics_names``; a dict with
        ``return_dict``.
        """
        if options:
            check_arguments(options, Trainable.evaluate)
        given = Batch(x, y, sample_weight, lengths, mask, resets)
        steps = optional_integer(steps, "steps")
        reading = Reading.of(workers, max_queue_size, use_multiprocessing)
        size, shown = rows_of_a_batch(batch_size), check_verbose(verbose)
        if is_source(x):
            source = make_source(x, beside(given), rows_of_its_own(batch_size), False)
            bound = self._trainer(source.example().x)
        else:
            bound = self._trainer(Table(given).take(slice(0, 1)).x if stored_in(given) else x)
            source = self._arrays(bound, given, size, False)
        reading.check(source)
        feed = self._feed(source, bound, None, steps, reading)
        params = {"epochs": 1, "steps": feed.steps, "verbose": shown}
        hooks = CallbackList(callbacks, model=self, **params)  # type: ignore[arg-type]
        progress = Progress(0 if hooks.draws_progress() or not bound.writes else shown, "evaluate", feed.steps)
        try:
            with closing(feed.epoch(0)) as batches:
                results = self._evaluate(bound, batches, progress, hooks)
            progress.close(results)
        finally:
            progress.close()
            feed.close()
        return returned(results, return_dict)
