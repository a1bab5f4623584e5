"""Training on several ranks: each computes shards of every batch, the sums are those of one process."""

import contextlib
import json
import sys
import weakref
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur import _core
from rekur._validate import Array, Floats, integer, one_of, real
from rekur.distributed._compress import Compressor, make_compressor
from rekur.distributed._reduce import FastReducer, OrderedReducer, Reduction, finish
from rekur.distributed._transport import MPI, Alone, DistributedError, Transport
from rekur.distributed._tree import Node, Sums, owned, rows_of
from rekur.losses import Numpy, WeightedSum

if TYPE_CHECKING:
    from rekur.training.bound import Bound
    from rekur.training.data import Rows
    from rekur.training.totals import Results

_REDUCTION = one_of("ordered", "fast")
_ISAS = one_of("narrowest", "refuse")
_BUCKET = 1 << 18  # floats that travel together
_WORDS = ["baseline", "neon", "rvv", "avx2", "avx512", "amx"]  # instruction sets, narrowest first
# What a rank does next. Ranks tell one another, and go on where all do the same.
_DOING = ["begins a fit", "has its data", "takes a step", "evaluates a batch", "is behind an epoch", "leaves the fit"]


class DataParallel:
    """Data-parallel training: ``fit``, ``train_on_batch`` and ``evaluate`` of models that are compiled under it.

    Every rank is given all data. Of each batch it computes its share: the batch is cut into ``shards`` pieces of
    neighbouring rows, and a rank has some of them. Gradients are added up in the order of a binary tree over the
    shards, so that weights, losses and metrics are, to the bit, the same for any number of ranks, one included. (They
    are not those of a fit without a distribution, which adds up the rows of a batch in another order, and draws other
    dropout.)
    A layer that normalises by the batch goes by the rows of a shard, as torch's ``DistributedDataParallel`` does; its
    running statistics are the mean over shards.

    Parameters
    ----------
    transport : Transport or mpi4py.MPI.Comm, optional
        What carries the sums. By default :class:`MPI` where the process was started by ``mpiexec``, else one process.
    shards : int
        Pieces of a batch, at least as many as ranks. Powers of two that the ranks divide travel with the fewest
        messages.
    reduction : {"ordered", "fast"}
        "fast" leaves the sum to the transport's own ``all_reduce`` (of MPI: ``Allreduce``), whose order may depend on
        the number of ranks, and so the last bits.
    compression : {None, "int8", "top_k", "power_sgd"} or dict, optional
        Gradients travel as fewer bytes, and are no longer those of one process (docs/distributed.md). A dict gives
        ``name`` and its settings.
    local_steps : int
        More than 1: local SGD. Each rank makes so many steps on its own rows of the batches; then weights are averaged.
    isas : {"narrowest", "refuse"}
        What to do where ranks have different instruction sets, whose bits differ: all take the narrowest that any of
        them uses, or an error.
    timeout : float, optional
        Seconds after which a rank that does not answer is given up, with an error on all that wait for it: 300, or what
        a transport of your own says.

    Raises
    ------
    ValueError
        For fewer shards than ranks, or settings that do not go together.
    ImportError
        If MPI is wanted and mpi4py is not installed.
    """

    def __init__(
        self,
        transport: Any = None,
        *,
        shards: int = 8,
        reduction: str = "ordered",
        compression: Any = None,
        local_steps: int = 1,
        isas: str = "narrowest",
        timeout: float | None = None,
    ) -> None:
        seconds = None if timeout is None else real(timeout, "DataParallel: timeout", 0)
        self.transport = _transport(transport, seconds)
        self.shards = integer(shards, "DataParallel: shards", 1)
        if self.shards < self.size:
            raise ValueError(f"DataParallel: shards: {self.shards} are too few for {self.size} ranks")
        self.reduction = _REDUCTION(reduction, "DataParallel: reduction")
        self.local_steps = integer(local_steps, "DataParallel: local_steps", 1)
        self._isas = _ISAS(isas, "DataParallel: isas")
        self.compression = compression
        if compression is not None and (self.reduction == "fast" or self.local_steps > 1):
            raise ValueError("DataParallel: compression goes with reduction='ordered' and local_steps=1")
        make_compressor(compression, self.transport)  # raises for what cannot be
        self._inside = False  # whether this rank is between two meetings, or was when an exception came
        # What steps have left out, and how many were made since weights were averaged, by what was compiled.
        self._compressors: weakref.WeakKeyDictionary[Bound, Compressor] = weakref.WeakKeyDictionary()
        self._since: weakref.WeakKeyDictionary[Bound, int] = weakref.WeakKeyDictionary()
        reducer = FastReducer if self.reduction == "fast" else OrderedReducer
        self._reducer = reducer(self.transport, self.shards)
        self._agree_on_isa()
        if self.size > 1:
            _end_all_on_error(self.transport)

    @property
    def rank(self) -> int:
        """Which rank this is, from 0."""
        return self.transport.rank

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return self.transport.size

    @property
    def writes(self) -> bool:
        """Whether this is the rank that prints and writes files."""
        return self.rank == 0

    @contextlib.contextmanager
    def scope(self) -> Iterator["DataParallel"]:
        """Models compiled within are trained so."""
        before = distribution()
        set_distribution(self)
        try:
            yield self
        finally:
            set_distribution(before)

    # What the fit loop calls.

    def begin(self, bound: "Bound") -> None:
        """Before the first step of a fit: all ranks have rank 0's weights, state of the optimizer and seed.

        Raises
        ------
        DistributedError
            If the ranks' models or what they are compiled with differ.
        """
        if self.size == 1:
            return
        engine = bound._model
        config = {**bound.config(), "seed": 0}
        settings = [self.shards, self.reduction, self.local_steps, repr(self.compression)]
        given = [engine.spec, [config, bound.wants_outputs], settings]
        mine = [zlib.crc32(json.dumps(each, sort_keys=True).encode()) for each in given]
        whats = ("another model", "compiled its model otherwise", "other settings of DataParallel")
        for rank, theirs in enumerate(self._meet("begins a fit", *mine)):
            for what, one, other in zip(whats, mine, theirs, strict=True):
                if one != other:
                    raise DistributedError(f"rank {self.rank}: rank {rank} has {what}")
        weights = engine.get_weights()
        state = bound._trainer.state()
        numbers = np.array([bound._trainer.iterations, bound.epochs, bound.seed], np.int64)
        names = sorted(state)
        counts = self.transport.gather(np.array([sum(state[name].size for name in names)], np.int64))
        if len({int(count[0]) for count in counts}) > 1:
            raise DistributedError(f"rank {self.rank}: the ranks' optimizers have states of different sizes")
        arrays: list[Any] = [weights, *(state[name] for name in names), numbers]
        for array in arrays:
            self.transport.broadcast(array)
        if self.rank:
            engine.set_weights(weights)
            bound.set_state(state, int(numbers[0]), int(numbers[1]), int(numbers[2]))
        self._since[bound] = 0

    def step(self, bound: "Bound", batch: "Rows") -> "Results":
        """A training step on a batch that every rank has."""
        with self._at_work():
            return self._local_step(bound, batch) if self.local_steps > 1 else self._step(bound, batch)

    def _step(self, bound: "Bound", batch: "Rows") -> "Results":
        arguments = Arguments(bound, batch)
        rows = len(batch)
        own = owned(self.rank, self.size, self.shards)
        size, gradients = bound.trainer.sums_size(), arguments.gradients
        sums = Sums(self.shards)
        found: list[Results | None] = []
        last = max((shard for shard in own if _rows(shard, self.shards, rows)), default=-1)
        flight = _Flight(self, sums, size, rows)
        for shard in own:
            part = rows_of(shard, self.shards, rows)
            if part.start == part.stop:
                sums.put(Node(0, shard), None)
                found.append(None)
                continue
            values = np.empty(size, np.float32)
            overlaps = shard == last and self.compression is None and self.reduction == "ordered"
            ready = flight.of(shard, values, gradients) if overlaps else None
            found.append(arguments.add(part, rows, shard, values, ready))
            sums.put(Node(0, shard), values)
        total = flight.land() if self.compression is None else self._compressed(sums, size, gradients, bound)
        results = self._results(arguments, found, rows)
        added = bound.trainer.finish(total)
        return results[0] + added, *results[1:]

    def evaluate(self, bound: "Bound", batch: "Rows") -> "Results":
        """The losses of a batch that every rank has, and where there are metrics its outputs."""
        self._meet_over(batch, "evaluates a batch", False)
        with self._at_work():
            self.settle(bound)
            if any(isinstance(loss, WeightedSum) for loss in bound.losses):
                return bound._run(bound.trainer.evaluate, batch)  # means over rows and over steps in one number
            return self._evaluate(bound, batch)

    def _evaluate(self, bound: "Bound", batch: "Rows") -> "Results":
        arguments = Arguments(bound, batch)
        rows = len(batch)
        found: list[Results | None] = []
        for shard in owned(self.rank, self.size, self.shards):
            part = rows_of(shard, self.shards, rows)
            found.append(arguments.evaluate(part, rows) if part.start < part.stop else None)
        return self._results(arguments, found, rows)

    def check_fit(self, steps: int | None, epochs: int, place: tuple[int, int] | None) -> None:
        """Before the first epoch of a fit: whether all ranks have as many steps and epochs before them.

        Raises
        ------
        DistributedError
            If they have not, or do not resume a fit from the same place (epoch, batches).
        """
        if self.size == 1:
            return
        epoch, batches = (-1, -1) if place is None else place
        mine = [-1 if steps is None else steps, epochs, epoch, batches]
        for rank, theirs in enumerate(self._meet("has its data", *mine)):
            if theirs[:2] != mine[:2]:
                raise DistributedError(
                    f"rank {self.rank}: {mine[1]} epochs of {mine[0]} steps, and {theirs[1]} of {theirs[0]} on rank "
                    f"{rank}: give every rank the same data, of which each takes its share"
                )
            if theirs != mine:
                raise DistributedError(
                    f"rank {self.rank}: rank {rank} found another backup, or none: put the folder of BackupAndRestore "
                    "on a file system that all ranks see"
                )

    def memory(self, sums: int) -> tuple[int, int]:
        """What a step of so many sums holds of them and of what travels, in bytes, at most, beside what the engine
        does; and into how many parts a batch is cut, of which it computes one at a time.
        """
        if self.local_steps > 1:
            return 4 * sums * (3 + 2 * self.size), self.size  # when weights are averaged everybody has everybody's
        own = len(owned(self.rank, self.size, self.shards))
        waiting = own.bit_length() + 1  # nodes of the tree, and the shard at hand
        travelling = 1 if self.size == 1 else 4 if self.compression is None else 6 + self.size
        return 4 * sums * (waiting + travelling), self.shards

    def agree(self, batch: "Rows", stop: bool) -> bool:
        """Before a step of a fit: whether training ends on any rank, which then takes no other.

        Raises
        ------
        DistributedError
            If another rank has a batch of other rows, or none.
        """
        return stop if self.size == 1 else self._meet_over(batch, "takes a step", stop)

    def leave(self) -> None:
        """Behind a fit, at its end or because the program ends (``sys.exit``): all ranks leave it, or none.

        Raises
        ------
        DistributedError
            If another rank goes on.
        """
        if self.size == 1:
            return
        if self._inside:  # the others wait for something else than a word of what is next
            self.transport.abort(f"rank {self.rank} ends in the middle of a step; so do the others")
        self._meet("leaves the fit")

    def settle(self, bound: "Bound") -> None:
        """Behind the steps of an epoch: weights that ranks have of their own become their mean."""
        if self._since.get(bound):
            self._average(bound)

    def end_epoch(self, bound: "Bound", stop: bool) -> bool:
        """Behind an epoch: whether all ranks still have the same weights; and whether training ends on any of them.

        Raises
        ------
        DistributedError
            If they have not.
        """
        if self.size == 1:
            return stop
        weights = bound._model.get_weights()
        weights[np.isnan(weights)] = np.nan  # of two NaN a sum has either's bits
        mine = zlib.crc32(weights.tobytes())
        every = self._meet("is behind an epoch", mine, stop)
        for rank, theirs in enumerate(every):
            if theirs[0] != mine:
                raise DistributedError(
                    f"rank {self.rank}: rank {rank} has other weights after the same steps: were the ranks given the "
                    "same data, in the same order?"
                )
        return bool(any(theirs[1] for theirs in every))

    # The rest.

    def _meet(self, doing: str, *numbers: int) -> list[list[int]]:
        """What all ranks say of what they do next, which must be the same: up to four numbers.

        Raises
        ------
        DistributedError
            If a rank does something else.
        """
        mine = [_DOING.index(doing), *numbers, *[0] * (4 - len(numbers))]
        every = [theirs.tolist() for theirs in self.transport.gather(np.array(mine, np.int64))]
        for rank, theirs in enumerate(every):
            if theirs[0] != mine[0]:
                other = _DOING[theirs[0]] if 0 <= theirs[0] < len(_DOING) else "is elsewhere"
                raise DistributedError(
                    f"rank {self.rank} {doing}, and rank {rank} {other}: give every rank the same data, and the same "
                    "calls in the same order"
                )
        return [theirs[1 : 1 + len(numbers)] for theirs in every]

    def _meet_over(self, batch: "Rows", doing: str, stop: bool) -> bool:
        """Meet before something is done with a batch; whether any rank would rather stop."""
        if self.size == 1:
            return stop
        every = self._meet(doing, len(batch), stop)
        for rank, (rows, _) in enumerate(every):
            if rows != len(batch):
                raise _other_rows(self.rank, len(batch), rank, rows)
        return any(stops for _, stops in every)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        self._inside = True
        yield
        self._inside = False  # and not where an exception came

    def _results(self, arguments: "Arguments", found: "Sequence[Results | None]", rows: int) -> "Results":
        """Losses of all shards added up in order, and their outputs one behind the other."""
        outputs = len(arguments.bound.outputs)
        width = 1 + 2 * outputs
        mine = np.zeros((-(-self.shards // self.size), width))  # as many of them for each rank
        for place, result in enumerate(found):
            if result is not None:
                mine[place] = [result[0], *result[1], *result[3]]
        table = np.zeros((self.shards, width))
        for rank, theirs in enumerate(self.transport.gather(np.concatenate([[rows], mine.ravel()]))):
            if theirs[0] != rows:
                raise _other_rows(self.rank, rows, rank, int(theirs[0]))
            shares = owned(rank, self.size, self.shards)
            table[shares.start : shares.stop] = theirs[1:].reshape(mine.shape)[: len(shares)]
        sums = table.sum(axis=0)  # NumPy adds rows in order
        if not np.isfinite(table).all():
            sums = np.array([sum(column) for column in table.T.tolist()])
        losses, counts = sums[1 : 1 + outputs].tolist(), [int(c) for c in sums[1 + outputs :]]
        whole: list[Floats] | None = None
        if arguments.bound.wants_outputs:
            whole = [self._joined(k, found, rows, arguments) for k in range(outputs)]
        return float(sums[0]), losses, whole, counts

    def _joined(self, k: int, found: "Sequence[Results | None]", rows: int, arguments: "Arguments") -> Floats:
        """Output k of all shards."""
        own = [result[2][k] for result in found if result is not None and result[2] is not None]
        shape = arguments.shapes[k][1:]
        if self.size == 1:
            return np.concatenate(own) if len(own) > 1 else own[0]
        joined = np.empty((rows, *shape), np.float32)
        begin, end = self._span(self.rank, rows)
        if own:
            joined[begin:end] = np.concatenate(own)
        others = [rank for rank in range(self.size) if rank != self.rank]
        spans = {rank: self._span(rank, rows) for rank in others}
        mine = np.ascontiguousarray(joined[begin:end])
        self.transport.exchange(
            [(rank, mine) for rank in others if mine.size],
            [(rank, joined[slice(*span)]) for rank, span in spans.items() if joined[slice(*span)].size],
        )
        return joined

    def _span(self, rank: int, rows: int) -> tuple[int, int]:
        shares = owned(rank, self.size, self.shards)
        return shares.start * rows // self.shards, shares.stop * rows // self.shards

    def _empty(self, rows: int) -> frozenset[Node]:
        """Nodes of ranks' fronts that have no row."""
        found = set()
        for front in self._reducer._fronts:
            for node in front:
                if node.first * rows // self.shards == min(node.end, self.shards) * rows // self.shards:
                    found.add(node)
        return frozenset(found)

    def _compressed(self, sums: Sums, size: int, gradients: int, bound: "Bound") -> Floats:
        total: Floats | None = None
        for node in self._reducer.nodes:
            values = sums.parts[node]
            total = values if total is None else total if values is None else total + values
        if bound not in self._compressors:
            made = make_compressor(self.compression, self.transport)
            assert made is not None
            self._compressors[bound] = made
        if total is None:
            total = np.zeros(size, np.float32)
        # Statistics of batches, behind the gradients, are few numbers, and none may be left for the next step.
        whole = self._compressors[bound].reduce(total[:gradients], bound._model.parameters)
        if gradients == size:
            return whole
        return np.concatenate([whole, np.sum(np.stack(self.transport.gather(total[gradients:])), axis=0)])

    def _local_step(self, bound: "Bound", batch: "Rows") -> "Results":
        """A step on this rank's rows alone; every so many of them the weights are averaged."""
        if bound.carried is not None:
            raise ValueError(
                "DataParallel: local_steps: not with stateful layers or tbptt=, whose states are those of all rows"
            )
        if any(first == last for first, last in (self._span(rank, len(batch)) for rank in range(self.size))):
            raise ValueError(
                f"DataParallel: local_steps: a batch of {len(batch)} rows has none for some of {self.size} ranks"
            )
        begin, end = self._span(self.rank, len(batch))
        own = Arguments(bound, batch.part(begin, end))
        sums = np.empty(bound.trainer.sums_size(), np.float32)
        found = own.add(slice(0, end - begin), end - begin, self.rank, sums, None)  # noise is the rank's own
        results: Results = (found[0] + bound.trainer.finish(sums), *found[1:])
        self._since[bound] = self._since.get(bound, 0) + 1
        if self._since[bound] == self.local_steps:
            self._average(bound)
        table = np.array([results[0], *results[1], *results[3], end - begin], np.float64)
        every = np.stack(self.transport.gather(table))
        outputs = len(bound.outputs)
        shares = every[:, -1] / every[:, -1].sum()
        counts = every[:, 1 + outputs : 1 + 2 * outputs]
        weights = counts / np.maximum(counts.sum(axis=0), 1)
        losses = (every[:, 1 : 1 + outputs] * weights).sum(axis=0).tolist()
        whole: list[Floats] | None = None
        if results[2] is not None:
            arguments = Arguments(bound, batch)
            whole = [self._joined(k, [results], len(batch), arguments) for k in range(outputs)]
        return float((every[:, 0] * shares).sum()), losses, whole, [int(c) for c in counts.sum(axis=0)]

    def _average(self, bound: "Bound") -> None:
        """Weights, and the optimizer's state, become the mean over ranks."""
        self._since[bound] = 0
        if self.size == 1:
            return
        engine, trainer = bound._model, bound._trainer
        state = trainer.state()
        engine.set_weights(self._mean(engine.get_weights()))
        trainer.set_state({name: self._mean(values) for name, values in sorted(state.items())}, trainer.iterations)

    def _mean(self, values: Floats) -> Floats:
        every = self.transport.gather(values)
        return np.asarray(np.mean(np.stack(every), axis=0, dtype=np.float64), np.float32)

    def _agree_on_isa(self) -> None:
        if self.size == 1:
            return
        names = [each.decode() for each in self.transport.gather_bytes(_core.isa().encode())]
        if len(set(names)) == 1:
            return
        told = ", ".join(f"rank {rank}: {name}" for rank, name in enumerate(names))
        if self._isas == "refuse":
            raise DistributedError(f"ranks have different instruction sets, whose bits differ ({told})")
        wanted = min(names, key=_WORDS.index)
        able = self.transport.gather(np.array([wanted in _core.available_isas()], np.int64))
        if not all(each[0] for each in able):
            raise DistributedError(f"ranks have no instruction set in common ({told})")
        _core.set_isa(wanted)
        if self.writes:
            print(f"rekur.distributed: all ranks use {wanted} ({told})", file=sys.stderr)


class Arguments:
    """What the engine is given of a batch, and of a part of its rows."""

    def __init__(self, bound: "Bound", batch: "Rows") -> None:
        self.bound, self.batch = bound, batch
        carried = bound.carried
        self.inputs: list[Array] = list(batch.inputs) if carried is None else carried.inputs(batch.inputs)
        self.weights = bound._weights_of(batch) if bound._reweighs else batch.weights
        self.shapes = bound._model.output_shapes([array.shape for array in self.inputs])
        self.counts = [batch.count(k, self.shapes[k]) if k < len(bound.outputs) else 0 for k in range(len(self.shapes))]
        self.gradients = sum(int(np.prod(shape, dtype=np.int64)) for _, shape, _ in bound._model.parameters)
        self._kept: list[Floats] | None = None

    def add(self, part: slice, rows: int, shard: int, sums: Floats, ready: Any) -> "Results":
        """A part of a training step."""

        trainer: Any = self.bound.trainer

        def call(*given: Any) -> Any:
            return trainer.add(*given, self.counts, rows, shard, sums, ready)

        return self._call(call, part, whole=True)

    def evaluate(self, part: slice, rows: int) -> "Results":
        """The share of some rows in the losses of the batch."""
        loss, losses, outputs, counts = self._call(self.bound.trainer.evaluate, part)
        bound = self.bound
        added = loss
        for k, weight in enumerate(bound.loss_weights):
            if bound.losses[k] is not None and weight:
                added -= weight * losses[k]
        share = (part.stop - part.start) / rows
        shares = [
            share if self._by_rows(k) else count / self.counts[k] if self.counts[k] else 0.0
            for k, count in enumerate(counts)
        ]
        losses = [value * each for value, each in zip(losses, shares, strict=True)]
        total = added * share
        for k, weight in enumerate(bound.loss_weights):
            if bound.losses[k] is not None and weight:
                total += weight * losses[k]
        return total, losses, outputs, counts

    def _by_rows(self, k: int) -> bool:
        """Whether a loss is a mean over rows, where the engine counts steps."""
        loss = self.bound.losses[k]
        return loss is not None and (loss._whole_rows or (isinstance(loss, Numpy) and loss._in_file))

    def _of_whole(self, k: int, function: Any, batch: "Rows") -> Any:
        """A loss of Python's that makes a mean over the rows of a part: as a share of the mean over all rows."""
        if function is None or not self._by_rows(k):
            return function
        count = max(batch.count(k, (len(batch), *self.shapes[k][1:])), 1)
        factor = (self.counts[k] / count) * (len(batch) / len(self.batch))  # the engine divides by the whole's count

        def scaled(output: Floats, want_gradient: bool) -> tuple[Any, Any]:
            values, gradient = function(output, want_gradient)
            return values * factor, None if gradient is None else gradient * np.float32(factor)

        return scaled

    def _call(self, call: Any, part: slice, whole: bool = False) -> "Results":
        bound, carried = self.bound, self.bound.carried
        batch = self.batch.take(part)
        weights = [None if w is None else w[part] for w in self.weights]
        own = bound._own_losses(batch)
        if own is not None and whole:
            own = [self._of_whole(k, function, batch) for k, function in enumerate(own)]
        targets = batch.targets
        if own is not None:
            targets = [None if function is not None else y for function, y in zip(own, targets, strict=True)]
        marks = batch.marks.engine
        if carried is None:
            found: Results = call(batch.inputs, targets, marks, weights, bound.wants_outputs, own)
            return found
        inputs = [np.ascontiguousarray(array[part]) for array in self.inputs]
        loss, losses, outputs, counts = call(
            inputs, carried.padded(targets, "outputs"), carried.marks(marks), carried.padded(weights, "outputs"), True,
            None if own is None else carried.padded(own, "outputs"),
        )  # fmt: skip
        if self._kept is None:
            self._kept = [np.zeros(shape, np.float32) for shape in self.shapes]
        for kept, some in zip(self._kept, outputs, strict=True):
            kept[part] = some
        carried.keep(self._kept)
        public = len(bound.outputs)
        return loss, losses[:public], outputs[:public], counts[:public]


class _Flight:
    """The sums of a step, in buckets that leave as soon as what they hold is known."""

    def __init__(self, parallel: DataParallel, sums: Sums, size: int, rows: int) -> None:
        self._parallel, self._sums, self._size = parallel, sums, size
        self._empty = parallel._empty(rows)
        self._begun: list[tuple[slice, Reduction]] = []
        self._left = size  # what comes before this place has not left

    def of(self, shard: int, values: Floats, gradients: int) -> Any:
        """What the last shard's backward pass is to tell, layer by layer; None where nothing can leave before its end.

        They can where each rank has one node to add up, so that all ranks cut alike: the graph says where.
        """
        fronts = self._parallel._reducer._fronts
        if self._parallel.size == 1 or self._empty or any(len(front) > 1 for front in fronts):
            return None
        told: list[tuple[int, int]] = []

        def ready(begin: int, end: int) -> None:
            for _, reduction in self._begun:
                reduction.advance()
            told.append((begin, end))
            last = min(self._left, gradients)
            if last - begin >= _BUCKET and _covered(told, begin, last):
                if self._left > gradients:  # what layers observed waits for the end
                    self._tail = slice(gradients, self._left)
                self._leave(shard, slice(begin, last), values)
                self._left = begin

        return ready

    _tail = slice(0, 0)

    def _leave(self, shard: int, part: slice, values: Floats) -> None:
        """Begin to add up a range that the last shard has just finished."""
        (front,) = self._parallel._reducer.nodes
        node, total = Node(0, shard), values[part].copy()
        while node != front:
            left, right = node.parent.children
            if node == right and (before := self._sums.parts.get(left)) is not None:
                total = before[part] + total
            node = node.parent
        self._begun.append((part, self._parallel._reducer.start({front: total}, total.size, self._empty)))

    def land(self) -> Floats:
        """All of the sums."""
        reducer = self._parallel._reducer
        parts = {node: self._sums.parts[node] for node in reducer.nodes}
        for rest in (slice(0, self._left), self._tail):
            for begin in range(rest.start, rest.stop, 16 * _BUCKET):
                part = slice(begin, min(begin + 16 * _BUCKET, rest.stop))
                piece = {node: None if values is None else values[part] for node, values in parts.items()}
                self._begun.append((part, reducer.start(piece, part.stop - part.start, self._empty)))
        total = np.empty(self._size, np.float32)
        for (part, _), values in zip(self._begun, finish([each for _, each in self._begun]), strict=True):
            total[part] = values
        return total


def _other_rows(rank: int, rows: int, other: int, others: int) -> DistributedError:
    return DistributedError(
        f"rank {rank}: a batch of {rows} rows, and of {others} on rank {other}: give every rank the same data, of "
        "which each takes its share"
    )


def _covered(intervals: list[tuple[int, int]], begin: int, end: int) -> bool:
    """Whether intervals that do not overlap fill [begin, end)."""
    return sum(min(e, end) - max(b, begin) for b, e in intervals if e > begin and b < end) == end - begin


def _rows(shard: int, shards: int, rows: int) -> int:
    part = rows_of(shard, shards, rows)
    return int(part.stop - part.start)


def _transport(given: Any, timeout: float | None) -> Transport:
    import os

    if isinstance(given, Transport):
        if timeout is not None:
            given.timeout = timeout
        return given
    timeout = Transport.timeout if timeout is None else timeout
    if given is not None:
        return MPI(given, timeout)
    started = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS")
    if any(name in os.environ for name in started):
        return MPI(None, timeout)
    return Alone()


def _end_all_on_error(transport: Transport) -> None:
    """A rank that ends by an error ends the others, which would wait for it."""
    before = sys.excepthook

    def hook(kind: Any, value: Any, trace: Any) -> None:
        before(kind, value, trace)
        sys.stderr.flush()
        with contextlib.suppress(DistributedError):
            transport.abort(f"rank {transport.rank} ends by {kind.__name__}; so do the others")

    sys.excepthook = hook


_current: DataParallel | None = None


def set_distribution(value: DataParallel | None) -> None:
    """Models that are compiled from now on are trained so; None: on their own."""
    global _current
    if value is not None and not isinstance(value, DataParallel):
        raise TypeError(f"set_distribution: expected a DataParallel or None, got {type(value).__name__}")
    _current = value


def distribution() -> DataParallel | None:
    """What :func:`set_distribution` has set."""
    return _current
