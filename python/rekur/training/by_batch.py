"""Steps on single batches, for loops of one's own."""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from rekur import _core
from rekur._own import check_arguments, named_after
from rekur._validate import Floats, as_float32, did_you_mean, integer, show
from rekur.callbacks import CallbackList
from rekur.training import data
from rekur.training.bound import Bound
from rekur.training.data import Rows
from rekur.training.entering import Entering
from rekur.training.progress import Progress
from rekur.training.steps import make_marks
from rekur.training.totals import Totals


@named_after("rekur.models", "Model")
class ByBatch(Entering):
    """The part of a model that takes one batch at a time."""

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def _trainer(self, x: object = None) -> Bound:
        if self._compiled is None:
            raise RuntimeError(f"model '{self.name}' is not compiled: call compile(optimizer=…, loss=…) first")
        engine = self._engine(x)
        if self._bound is None:
            self._bound = self._compiled.bind(engine, self._ports()[1], self.seed, self._carried())
        return self._bound

    def _sync_trained(self) -> None:
        """Tell the engine which layers are trained, before a step."""
        raise NotImplementedError

    def _evaluate(
        self,
        bound: Bound,
        batches: Iterable[Rows],
        progress: Progress | None = None,
        hooks: CallbackList | None = None,
    ) -> dict[str, float]:
        totals = Totals(bound)
        listened = hooks is not None and hooks.reads_batches("test")
        if hooks is not None:
            hooks.call("on_test_begin", {})
        for number, batch in enumerate(batches):
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

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        **options: NoReturn,
    ) -> Any:
        """One training step on all rows of ``x``; returns what :meth:`evaluate` does, as it was before the step."""
        if options:
            check_arguments(options, ByBatch.train_on_batch)
        bound = self._trainer(x)
        batch = self._rows(bound, x, y, sample_weight, lengths, mask, resets, class_weight)
        self._check_batches(len(batch), len(batch))
        self._probe(bound, batch, len(batch))
        self._sync_trained()
        result = bound.step(batch)
        totals = Totals(bound)
        totals.add(batch, result)
        return returned(totals.results(), return_dict)

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
            check_arguments(options, ByBatch.test_on_batch)
        bound = self._trainer(x)
        rows = self._rows(bound, x, y, sample_weight, lengths, mask, resets)
        self._check_batches(len(rows), len(rows))
        self._probe(bound, rows, len(rows))
        return returned(self._evaluate(bound, [rows]), return_dict)

    def apply_gradients(self, gradients: Any) -> None:
        """One update of the weights by gradients of one's own, such as :meth:`gradients` gives: for loops of one's own.

        Clipping, the optimizer and constraints act as in :meth:`fit`, and it counts as a step; what regularizers would
        add is not in it.

        Parameters
        ----------
        gradients : dict of str to ndarray, or list of ndarray
            By the names of ``named_weights``, where what is missing or None counts as zero; or a list in the order of
            ``get_weights``. Those of what is not trained are not read.

        Raises
        ------
        ValueError
            For a name or a shape that the model does not have; nothing is changed then.
        RuntimeError
            If the model is not compiled.
        """
        bound = self._trainer()
        engine = self._engine()
        flat = np.zeros(sum(int(np.prod(shape, dtype=np.int64)) for _, shape, _ in engine.parameters), np.float32)
        named = unflatten(engine, flat)
        if isinstance(gradients, Mapping):
            if unknown := [name for name in gradients if name not in named]:
                raise ValueError(f"apply_gradients: no weight '{unknown[0]}'{did_you_mean(unknown[0], named)}")
            given: dict[str, Any] = dict(gradients)
        else:
            listed = list(gradients)
            if len(listed) != len(named):
                raise ValueError(f"apply_gradients: expected {len(named)} gradients, one a weight, got {len(listed)}")
            given = dict(zip(named, listed, strict=True))
        for name, gradient in given.items():
            if gradient is None:
                continue
            values = as_float32(gradient, f"gradient of '{name}'")
            if values.shape != named[name].shape:
                raise ValueError(
                    f"gradient of '{name}': expected shape {show(named[name].shape)}, got {show(values.shape)}"
                )
            named[name][...] = values
        self._sync_trained()
        bound.trainer.apply_gradients(flat)

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


def returned(results: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return results
    values = list(results.values())
    return values[0] if len(values) == 1 else values
