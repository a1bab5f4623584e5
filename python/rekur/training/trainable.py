"""compile, fit, evaluate, predict: what a model can do with arrays."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._own import check_arguments, named_after
from rekur._random import epoch_order
from rekur._settings import Guarded, Setting
from rekur._validate import Array, Floats, as_float32, boolean, integer, real, show
from rekur.callbacks import Callback, CallbackList, History
from rekur.callbacks.base import as_list
from rekur.optimizers import Optimizer
from rekur.training import data
from rekur.training.carried import Carried
from rekur.training.compiled import Bound, Compiled, Totals
from rekur.training.data import Port, Rows
from rekur.training.progress import Progress, check_verbose
from rekur.training.steps import Marks, make_marks


@named_after("rekur.models", "Model")
class Trainable(Guarded):
    """The part of a model that works on arrays. ``rekur.Model`` gives it an engine."""

    name: Setting[str]
    seed: Setting[int]
    _stop = False
    _history: History | None = None
    _compiled: Compiled | None = None
    _bound: Bound | None = None

    @property
    def stop_training(self) -> bool:
        """True ends the fit that is running after the step at hand; fit begins with False."""
        return self._stop

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._stop = boolean(value, f"{self._whose()}: stop_training")

    @property
    def history(self) -> History | None:
        """What the last fit returned."""
        return self._history

    def _engine(self, x: object = None) -> _core.Model:
        """The engine's model, built if need be; from the shape of ``x`` where nobody said what goes in."""
        raise NotImplementedError

    def _ports(self) -> tuple[list[Port], list[Port]]:
        """The inputs and outputs of the built model."""
        raise NotImplementedError

    def _sync_trained(self) -> None:
        """Tell the engine which layers are trained, before a step."""
        raise NotImplementedError

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        seed: int | None = None,
        remat: bool = False,
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
        seed : int, optional
            Of dropout and the order of the rows; the model's own by default.
        remat : bool
            Rematerialisation, for long sequences: of each batch recurrent layers keep the states between windows of
            steps, and compute what is within a window again when they go backward. A step takes a third more time and a
            fraction of the memory, as :meth:`memory` says; the numbers are the same to the bit.

        Raises
        ------
        ValueError, TypeError
            For an unknown name, with a suggestion, entries that do not match the outputs, or a function that equations
            cannot say, naming its line (in ``fit``, where the model is built only then).
        """
        if options:
            check_arguments(options, Trainable.compile)
        compiled = Compiled(optimizer, loss, metrics, loss_weights, seed, remat)
        bound = (
            compiled.bind(self._engine(), self._ports()[1], self.seed, self._carried()) if self._is_ready() else None
        )
        self._compiled, self._bound = compiled, bound

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def _trainer(self, x: object = None) -> Bound:
        if self._compiled is None:
            raise RuntimeError(f"model '{self.name}' is not compiled: call compile(optimizer=…, loss=…) first")
        engine = self._engine(x)
        if self._bound is None:
            self._bound = self._compiled.bind(engine, self._ports()[1], self.seed, self._carried())
        return self._bound

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
        rows = integer(batch_size, "batch_size", 1)
        given = None if steps is None else integer(steps, "steps", 1)
        engine = self._engine()
        shapes: list[tuple[int, ...]] = []
        for name, shape, _ in engine.inputs:
            if given is None and None in shape[1:]:
                raise ValueError(f"memory: Input '{name}' has an open number of time steps: give steps=")
            shapes.append((rows, *(given or 0 if size is None else size for size in shape[1:])))
        return {
            "weights": 4 * sum(math.prod(shape) for _, shape, _ in engine.parameters),
            "predict": engine.run_memory(shapes),
            "train": engine.run_memory(shapes, True),
            "train_remat": engine.run_memory(shapes, True, True),
        }

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

    def _rows(
        self, bound: Bound, x: object, y: object, sample_weight: object, lengths: object, mask: object, resets: object
    ) -> Rows:
        ports, outputs = self._ports()
        inputs = data.make_inputs(x, ports)
        marks = make_marks(lengths, mask, resets, inputs, ports)
        carried = self._carried()
        entering = inputs if carried is None else carried.fresh(inputs)
        shapes = self._engine().output_shapes([a.shape for a in entering])[: len(outputs)]
        weights = data.make_weights(sample_weight, inputs, outputs, shapes)
        rows = Rows(inputs, marks, [], weights, self._valid_steps(inputs, marks))
        rows = dataclasses.replace(rows, targets=data.make_targets(y, rows, outputs, bound.losses, shapes))
        data.check_labels(rows, outputs, bound.losses, shapes)
        if not bound.takes_any_weights:
            bound.check_weights(rows)
        if not len(rows):
            raise ValueError(f"x holds no rows: its shape is {show(inputs[0].shape)}")
        return rows

    def _valid_steps(self, inputs: list[Array], marks: Marks) -> list[NDArray[np.bool_] | None]:
        """Per output which steps are there, a part of the rows at a time."""
        outputs = self._ports()[1]
        said = marks.engine
        if not any(p.timed for p in outputs) or (said is None and not self._makes_masks()):
            return [None] * len(outputs)
        engine, carried, size = self._engine(), self._carried(), 1024
        parts = []
        for begin in range(0, max(len(inputs[0]), 1), size):
            part = slice(begin, begin + size)
            entering, said = [a[part] for a in inputs], marks.take(part).engine
            if carried is not None:
                entering, said = carried.fresh(entering), carried.marks(said)
            parts.append(engine.valid_steps(entering, said))
        joined: list[NDArray[np.bool_] | None] = []
        for k, port in enumerate(outputs):
            found = [p[k] for p in parts]
            if not port.timed or all(f is None for f in found):
                joined.append(None)
                continue
            steps = next(f.shape[1] for f in found if f is not None)
            rows = [min(size, len(inputs[0]) - n * size) for n in range(len(found))]
            joined.append(
                np.concatenate(
                    [np.ones((n, steps), bool) if f is None else f for f, n in zip(found, rows, strict=True)]
                )
            )
        return joined

    def _makes_masks(self) -> bool:
        raise NotImplementedError

    def _probe(self, bound: Bound, rows: Rows, batch_size: int) -> None:
        if bound.probed:
            return
        engine = self._engine()
        bound.probe(
            rows.take(slice(0, batch_size)),
            lambda batch: self._compute(engine, batch.inputs, batch.marks.engine, False),
        )

    def _carried(self) -> Carried | None:
        """The states that layers carry from batch to batch, if any do."""
        raise NotImplementedError

    def _compute(self, engine: _core.Model, inputs: list[Array], marks: Any, goes_on: bool = True) -> list[Floats]:
        """Outputs; ``goes_on``: the next batch begins with the states after this one."""
        carried = self._carried()
        if carried is None:
            return engine.predict(inputs, marks)
        outputs = engine.predict(carried.inputs(inputs), carried.marks(marks))
        return carried.keep(outputs) if goes_on else outputs[: len(self._ports()[1])]

    def _check_batches(self, rows: int, batch_size: int) -> None:
        if (carried := self._carried()) is not None:
            carried.check(rows, batch_size)

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = 32,
        epochs: int = 1,
        verbose: int | str = 1,
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        **options: NoReturn,
    ) -> History:
        """Train on arrays.

        Parameters
        ----------
        x : ndarray of shape (B, …), or a list or dict of them
            One array an input. Floats and integers of any width become float32; for an Embedding integers become int32.
        y : ndarray, or a list or dict of them
            One array an output, in the shape of the output (a last axis of 1 may be left out), or class indices without
            the last axis.
        batch_size : int
            Rows of a step; the last step of an epoch takes what is left. None is 32.
        epochs, initial_epoch : int
            Epochs are counted from ``initial_epoch`` to ``epochs``. The order of an epoch's rows depends on the seed
            and on how many epochs were trained since ``compile`` (or ``initial_epoch``, where that is more): 20 calls
            with ``epochs=1`` do what one with ``epochs=20`` does. A saved model goes on counting.
        verbose : {0, 1, 2, "auto"}
            Nothing, a progress bar, one line an epoch.
        callbacks : list of Callback
        validation_split : float
            This share of the rows, the last ones, is not trained on but evaluated after each epoch.
        validation_data : tuple or dict
            ``(x, y)``, ``(x, y, sample_weight)``, ``(x, y, sample_weight, lengths)`` or a dict with these keys, mask
            and resets.
        shuffle : bool
            Whether each epoch takes the rows in another order. Everything given stays aligned.
        sample_weight : ndarray of shape (B,) or (B, T), or a list or dict of them, optional
            What has weight 0 is not there: its target, and the output there, may be anything, NaN too.
        lengths : int ndarray of shape (B,), or a dict by input name, optional
            Valid steps of each row, 0 … T; steps past them are not computed, nor counted in loss and metrics.
        mask : bool ndarray of shape (B, T), or a dict by input name, optional
            False for a step that is none, wherever it stands. A recurrent layer leaves it out and repeats its last
            output there, as Keras does; loss and metrics do not count it.
        resets : bool ndarray of shape (B, T), or a dict by input name, optional
            True where another sequence begins within a row: the states of recurrent layers begin anew at that step.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            Before the first step, for anything that does not fit.
        RuntimeError
            If the model is not compiled.

        Notes
        -----
        An exception, Ctrl-C included, leaves the model as it was after the last whole step.
        """
        if options:
            check_arguments(options, Trainable.fit)
        bound = self._trainer(x)
        batch_size = _batch_size(batch_size)
        epochs = integer(epochs, "epochs", 0)
        initial_epoch = integer(initial_epoch, "initial_epoch", 0)
        shown = check_verbose(verbose)
        rows = self._rows(bound, x, y, sample_weight, lengths, mask, resets)
        validation: Rows | None = None
        if validation_data is not None:
            validation = self._rows(bound, **data.validation(validation_data))
        elif real(validation_split, "validation_split", 0, 1):
            rows, validation = data.split(rows, float(validation_split))

        for given in (rows,) if validation is None else (rows, validation):
            self._check_batches(len(given), batch_size)
        steps = -(-len(rows) // batch_size)
        history = History()
        names = bound.names()
        if validation is not None:
            names += [f"val_{name}" for name in names]
        self._probe(bound, rows, batch_size)
        params = {"epochs": epochs, "steps": steps, "verbose": shown, "metrics": names}
        # History comes last: it keeps what the others add.
        hooks = CallbackList([*as_list(callbacks), history], self, params)  # type: ignore[arg-type]
        self._history = history
        self.stop_training = False
        bound.epochs = max(bound.epochs, initial_epoch)
        hooks.call("on_train_begin", {})
        logs: dict[str, float] = {}
        for epoch in range(initial_epoch, epochs):
            hooks.call("on_epoch_begin", epoch, {})
            progress = Progress(shown, f"Epoch {epoch + 1}/{epochs}", steps)
            try:
                order = epoch_order(bound.seed, bound.epochs, len(rows)) if shuffle else None
                bound.epochs += 1
                logs = self._train_epoch(bound, rows, batch_size, order, hooks, progress)
                if validation is not None:
                    results = self._evaluate(bound, validation, batch_size, hooks=hooks)
                    logs.update({f"val_{name}": value for name, value in results.items()})
                progress.close(logs)
            finally:
                progress.close()
            hooks.call("on_epoch_end", epoch, logs)
            if self.stop_training:
                break
        hooks.call("on_train_end", logs)
        return history

    def _train_epoch(
        self, bound: Bound, rows: Rows, batch_size: int, order: Any, hooks: CallbackList, progress: Progress
    ) -> dict[str, float]:
        totals = Totals(bound)
        listened = hooks.reads_batches("train")
        for number, begin in enumerate(range(0, len(rows), batch_size)):
            index = slice(begin, begin + batch_size)
            batch = rows.take(index if order is None else order[index])
            if listened:
                hooks.call("on_train_batch_begin", number, {})
            self._sync_trained()
            totals.add(batch, bound.step(batch))
            logs = totals.results() if listened or progress.due() else None
            progress.step(logs)
            if listened:
                hooks.call("on_train_batch_end", number, logs)
                if self.stop_training:
                    break
        return totals.results()

    def _evaluate(
        self,
        bound: Bound,
        rows: Rows,
        batch_size: int,
        progress: Progress | None = None,
        hooks: CallbackList | None = None,
    ) -> dict[str, float]:
        totals = Totals(bound)
        listened = hooks is not None and hooks.reads_batches("test")
        if hooks is not None:
            hooks.call("on_test_begin", {})
        for number, batch in enumerate(data.batches(rows, batch_size)):
            if hooks is not None and listened:
                hooks.call("on_test_batch_begin", number, {})
            totals.add(batch, bound.evaluate(batch))
            if progress is not None:
                progress.step(totals.results() if progress.due() else None)
            if hooks is not None and listened:
                hooks.call("on_test_batch_end", number, totals.results())
        results = totals.results()
        if hooks is not None:
            hooks.call("on_test_end", results)
        return results

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = 32,
        verbose: int | str = 0,
        sample_weight: Any = None,
        return_dict: bool = False,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        **options: NoReturn,
    ) -> Any:
        """Loss and metrics, without dropout. Parameters as of :meth:`fit`.

        Returns
        -------
        float, or a list of them if there are metrics or several outputs, in the order of ``metrics_names``; a dict with
        ``return_dict``.
        """
        if options:
            check_arguments(options, Trainable.evaluate)
        bound = self._trainer(x)
        batch_size = _batch_size(batch_size)
        rows = self._rows(bound, x, y, sample_weight, lengths, mask, resets)
        self._check_batches(len(rows), batch_size)
        steps, shown = -(-len(rows) // batch_size), check_verbose(verbose)
        params = {"epochs": 1, "steps": steps, "verbose": shown}
        hooks = CallbackList(as_list(callbacks), self, params)  # type: ignore[arg-type]
        self._probe(bound, rows, batch_size)
        progress = Progress(shown, "evaluate", steps)
        try:
            results = self._evaluate(bound, rows, batch_size, progress, hooks)
            progress.close(results)
        finally:
            progress.close()
        return _returned(results, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = 32,
        verbose: int | str = 0,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        **options: NoReturn,
    ) -> Any:
        """Outputs for ``x``, without dropout.

        Parameters
        ----------
        x : ndarray of shape (B, …), or a list or dict of them
            B may be 0.
        batch_size : int
            Rows computed at a time; it does not change the result.
        verbose : {0, 1, 2}
        lengths, mask, resets : ndarray, or a dict by input name, optional
            As of :meth:`fit`.
        callbacks : list of Callback, optional

        Returns
        -------
        float32 ndarray of shape (B, …), or a list of them if the model has several outputs.

        Raises
        ------
        ValueError, TypeError
            If ``x`` or ``lengths`` do not fit the model's inputs.
        """
        if options:
            check_arguments(options, Trainable.predict)
        engine = self._engine(x)
        ports, outputs = self._ports()
        batch_size = _batch_size(batch_size)
        inputs = data.make_inputs(x, ports)
        verbosity = check_verbose(verbose)
        marked = not (lengths is None and mask is None and resets is None)
        if not marked and verbosity == 0 and callbacks is None and len(inputs[0]) <= batch_size:
            self._check_batches(len(inputs[0]), batch_size)
            joined = self._compute(engine, inputs, None)  # a step at a time every microsecond shows
            return joined[0] if len(outputs) == 1 else joined
        rows = Rows(inputs, make_marks(lengths, mask, resets, inputs, ports), [], [], [])
        self._check_batches(len(rows), batch_size)
        steps = -(-len(rows) // batch_size)
        params = {"epochs": 1, "steps": steps, "verbose": verbosity}
        hooks = CallbackList(as_list(callbacks), self, params)  # type: ignore[arg-type]
        listened = hooks.reads_batches("predict")
        progress = Progress(verbosity, "predict", steps)
        pieces: list[list[Floats]] = []
        hooks.call("on_predict_begin", {})
        try:
            for number, batch in enumerate(data.batches(rows, batch_size)):
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
        hooks.call("on_predict_end", {})
        joined = [p[0] if len(p) == 1 else np.concatenate(p) for p in zip(*pieces, strict=True)]
        return joined[0] if len(outputs) == 1 else joined

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        **options: NoReturn,
    ) -> Any:
        """One training step on all rows of ``x``; returns what :meth:`evaluate` does, as it was before the step."""
        if options:
            check_arguments(options, Trainable.train_on_batch)
        bound = self._trainer(x)
        batch = self._rows(bound, x, y, sample_weight, lengths, mask, resets)
        self._check_batches(len(batch), len(batch))
        self._probe(bound, batch, len(batch))
        self._sync_trained()
        result = bound.step(batch)
        totals = Totals(bound)
        totals.add(batch, result)
        return _returned(totals.results(), return_dict)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        **options: NoReturn,
    ) -> Any:
        """Loss and metrics of all rows of ``x`` as one batch; see :meth:`evaluate`."""
        if options:
            check_arguments(options, Trainable.test_on_batch)
        bound = self._trainer(x)
        rows = self._rows(bound, x, y, sample_weight, lengths, mask, resets)
        self._check_batches(len(rows), len(rows))
        self._probe(bound, rows, len(rows))
        return _returned(self._evaluate(bound, rows, len(rows)), return_dict)

    def predict_on_batch(
        self, x: Any, lengths: Any = None, mask: Any = None, resets: Any = None, **options: NoReturn
    ) -> Any:
        """Outputs for all rows of ``x`` as one batch; see :meth:`predict`."""
        if options:
            check_arguments(options, Trainable.predict_on_batch)
        return self.predict(x, batch_size=2**31 - 1, lengths=lengths, mask=mask, resets=resets)

    def gradients(
        self,
        x: Any,
        output_gradients: Any,
        lengths: Any = None,
        seed: int = 0,
        step: int = 0,
        mask: Any = None,
        resets: Any = None,
    ) -> tuple[list[Floats], dict[str, Floats], list[Floats | None]]:
        """One pass forward, in training mode, and back: for losses and loops of one's own.

        Parameters
        ----------
        x : ndarray of shape (B, …), or a list or dict of them
        output_gradients : ndarray in the shape of the output, or a list or dict of them, or a function
            The gradient of a scalar with respect to each output, None for zero; or what maps the list of outputs to
            such gradients.
        lengths, mask, resets : ndarray, or a dict by input name, optional
            As of :meth:`fit`.
        seed, step : int
            What dropout draws from.

        Returns
        -------
        outputs : list of ndarray
        weight_gradients : dict of str to ndarray
            By the names of ``named_weights``.
        input_gradients : list of ndarray or None
            None for int32 inputs.
        """
        engine = self._engine(x)
        ports, outputs = self._ports()
        inputs = data.make_inputs(x, ports)
        marks = make_marks(lengths, mask, resets, inputs, ports)
        seed, step = integer(seed, "seed", 0), integer(step, "step", 0)
        self._sync_trained()
        carried, said = self._carried(), marks.engine
        if carried is None:
            values, tape = engine.forward(inputs, said, seed, step)
        else:
            values, tape = engine.forward(carried.inputs(inputs), carried.marks(said), seed, step)
        values = values[: len(outputs)]
        given = output_gradients(values) if callable(output_gradients) else output_gradients
        arriving: list[Floats | None] = []
        for port, value, gradient in zip(
            outputs, values, data.per_port(given, outputs, "output_gradients", default=True), strict=True
        ):
            what = f"gradient of output '{port.name}'"
            array = None if gradient is None else as_float32(gradient, what)
            if array is not None and array.shape != value.shape:
                raise ValueError(f"{what}: expected shape {show(value.shape)}, got {show(array.shape)}")
            arriving.append(array)
        flat, input_gradients = engine.backward(
            tape, arriving if carried is None else carried.padded(arriving, "outputs")
        )
        return values, unflatten(engine, flat), input_gradients[: len(ports)]


def unflatten(engine: _core.Model, flat: Floats) -> dict[str, Floats]:
    """Views into a flat buffer, by parameter name."""
    return {
        name: flat[offset : offset + int(np.prod(shape, dtype=np.int64))].reshape(shape)
        for name, shape, offset in engine.parameters
    }


def _batch_size(given: int | None) -> int:
    return 32 if given is None else integer(given, "batch_size")


def _returned(results: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return results
    values = list(results.values())
    return values[0] if len(values) == 1 else values
