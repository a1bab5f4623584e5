"""How arrays and sources enter a model: checked, as rows or as a feed of batches."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._own import named_after
from rekur._settings import Guarded, Setting
from rekur._validate import Array, Floats, integer, show
from rekur.training import data
from rekur.training.batch import Batch
from rekur.training.bound import Bound
from rekur.training.carried import Carried
from rekur.training.compiled import Compiled
from rekur.training.data import Port, Rows
from rekur.training.feed import AS_SOURCES_SAY, Feed, Reading
from rekur.training.sources import ByRows, Source, Table, is_source, make_source, stored_in
from rekur.training.steps import Marks, make_marks


@named_after("rekur.models", "Model")
class Entering(Guarded):
    """The part of a model that reads what callers give."""

    name: Setting[str]
    seed: Setting[int]
    _compiled: Compiled | None = None
    _bound: Bound | None = None

    def _engine(self, x: object = None) -> _core.Model:
        """The engine's model, built if need be; from the shape of ``x`` where nobody said what goes in."""
        raise NotImplementedError

    def _ports(self) -> tuple[list[Port], list[Port]]:
        """The inputs and outputs of the built model."""
        raise NotImplementedError

    def _makes_masks(self) -> bool:
        raise NotImplementedError

    def _carried(self) -> Carried | None:
        """The states that layers carry from batch to batch, if any do."""
        raise NotImplementedError

    def _rows(
        self,
        bound: Bound,
        x: object,
        y: object,
        sample_weight: object,
        lengths: object,
        mask: object,
        resets: object,
        class_weight: Mapping[int, float] | None = None,
    ) -> Rows:
        ports, outputs = self._ports()
        inputs = data.make_inputs(x, ports)
        marks = make_marks(lengths, mask, resets, inputs, ports)
        carried = self._carried()
        entering = inputs if carried is None else carried.fresh(inputs)
        shapes = self._engine().output_shapes([a.shape for a in entering])[: len(outputs)]
        weights = data.make_weights(sample_weight, inputs, outputs, shapes)
        valid = self._valid_steps(inputs, marks)
        targets = data.make_targets(y, Rows(inputs, marks, [], weights, valid), outputs, bound.losses, shapes)
        rows = Rows(inputs, marks, targets, weights, valid)
        data.check_labels(rows, outputs, bound.losses, shapes)
        if class_weight is not None:
            data.check_alone(sample_weight, "class_weight")
            rows = dataclasses.replace(rows, weights=data.class_weights(class_weight, rows, bound.losses))
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

    def _probe(self, bound: Bound, rows: Rows, batch_size: int) -> None:
        if bound.probed:
            return
        engine = self._engine()
        bound.probe(
            rows.take(slice(0, batch_size)),
            lambda batch: self._compute(engine, batch.inputs, batch.marks.engine, False),
        )

    def _feed(
        self,
        source: Source,
        bound: Bound,
        class_weight: Mapping[int, float] | None = None,
        steps: int | None = None,
        reading: Reading = AS_SOURCES_SAY,
        where: str = "",
    ) -> Feed:
        """The batches of fit and evaluate; the first is looked at before the first step. What is wrong with a batch is
        said with ``where`` before it.
        """

        def read(batch: Batch) -> Rows:
            given = {field.name: getattr(batch, field.name) for field in dataclasses.fields(Batch)}
            with naming(where):
                return self._rows(bound, **given, class_weight=class_weight)

        def prepare(batch: Batch) -> Rows:
            rows = read(batch)
            self._check_batches(len(rows), len(rows))
            window = getattr(batch, "number", None)
            return rows if window is None else dataclasses.replace(rows, window=window)

        steps = None if steps is None else steps * source.parts
        if isinstance(source, ByRows) and isinstance(source.rows, Rows):
            return Feed(source, as_it_is, bound.seed, steps)
        example = prepare(source.example())
        self._probe(bound, example, len(example))
        if isinstance(source, ByRows) and source.in_memory:
            self._check_batches(len(source.rows), source.batch_size)
            source.prepare_together(sum(a.nbytes for a in example.inputs), read)
            return Feed(source, as_it_is, bound.seed, steps)
        return Feed(source, prepare, bound.seed, steps, reading)

    def _arrays(
        self,
        bound: Bound,
        given: Batch,
        batch_size: int,
        shuffle: bool | str,
        class_weight: Mapping[int, float] | None = None,
        window: int | None = None,
    ) -> ByRows:
        """The source that arrays are: made ready as a whole, or read a batch at a time where one is stored."""
        if stored_in(given):
            table = Table(given)
            self._check_batches(len(table), batch_size)
            if window is not None:
                from rekur.training.truncated import StoredWindows

                return StoredWindows(table, self._ports()[0], batch_size, window, shuffle, "x")
            return ByRows(table, batch_size, shuffle, False, "x")
        rows = self._rows(bound, **vars(given), class_weight=class_weight)
        self._check_batches(len(rows), batch_size)
        self._probe(bound, rows, batch_size)
        return ByRows(rows, batch_size, shuffle, True, "x")

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

    def _split(
        self,
        source: ByRows,
        share: float,
        size: int,
        order: bool | str,
        validation_size: int | None,
        by_class: bool,
    ) -> tuple[Source, Source]:
        """The rows to train on and those to validate with; ``by_class``: weights are of classes, and so of training."""
        count = len(source.rows)
        at = data.split_at(count, share)
        validated = size if validation_size is None else integer(validation_size, "validation_batch_size")
        self._check_batches(at, size)
        self._check_batches(count - at, validated)
        rest = source.part(at, count, validated, False, "validation x")
        if by_class and isinstance(rest.rows, Rows):  # others are weighed batch by batch, where they are trained on
            rest.rows = dataclasses.replace(rest.rows, weights=[None] * len(rest.rows.weights))
        return source.part(0, at, size, order, "x"), rest

    def _validation(
        self, bound: Bound, given: Any, size: int, validation_size: int | None, window: int | None
    ) -> Source:
        """The source that ``validation_data`` is."""
        own = None if validation_size is None else integer(validation_size, "validation_batch_size")
        if is_source(given):
            return make_source(given, {}, own, False, "validation_data: ")
        batch = Batch(**data.validation(given))
        if is_source(batch.x):
            return make_source(batch.x, beside(batch), own, False, "validation_data: ")
        with naming("validation_data: "):
            return self._arrays(bound, batch, size if own is None else own, False, window=window)

    def _entering(self, given: Batch) -> Rows:
        """The inputs of a batch, without targets."""
        ports, _ = self._ports()
        inputs = data.make_inputs(given.x, ports)
        return Rows(inputs, make_marks(given.lengths, given.mask, given.resets, inputs, ports), [], [], [])

    def _predicted(self, source: Source, steps: int | None, reading: Reading) -> Feed:
        """The batches of predict."""
        if isinstance(source, ByRows) and isinstance(source.rows, Rows):
            return Feed(source, as_it_is, 0, steps)

        def prepare(batch: Batch) -> Rows:
            rows = self._entering(batch)
            self._check_batches(len(rows), len(rows))
            return rows

        return Feed(source, prepare, 0, steps, reading)


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Put ``where`` before what a ValueError or TypeError says, unless it stands there."""
    try:
        yield
    except (ValueError, TypeError) as problem:
        if type(problem) in (ValueError, TypeError) and not str(problem).startswith(where):
            problem.args = (f"{where}{problem}",)
        raise


def as_it_is(batch: Any) -> Any:
    return batch


def beside(given: Batch) -> dict[str, Any]:
    """What was given beside x."""
    return {name: value for name, value in vars(given).items() if name != "x"}
