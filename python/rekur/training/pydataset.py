"""Keras's base of a data set that is read by its batches."""

from collections.abc import Iterator
from typing import Any

from rekur._validate import boolean, integer


class PyDataset:
    """Batches by their numbers: ``__getitem__(k)`` gives one, ``__len__`` says how many there are.

    A batch is x, (x, y), (x, y, sample_weight) or :class:`rekur.data.Batch`. ``on_epoch_begin`` and ``on_epoch_end``
    are called around each epoch; ``num_batches`` may be None for a data set without an end.

    Parameters
    ----------
    workers : int
        Threads that read batches beside the computation; 0: none. ``__getitem__`` is called from all of them.
    use_multiprocessing : bool
        Whether processes read them, as many. Each has a copy of the data set as it is when a pass begins: what
        ``on_epoch_end`` changes, they see; what ``__getitem__`` changes stays in its process. Batches are pickled on
        their way, so threads are better where NumPy, or a library of its own, does the work. Where
        :mod:`multiprocessing` does not fork, the data set is pickled, too, and a script needs
        ``if __name__ == "__main__":``.
    max_queue_size : int
        How many batches may wait.
    """

    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        name = type(self).__name__
        self.workers = integer(workers, f"{name}: workers", 0)
        self.use_multiprocessing = boolean(use_multiprocessing, f"{name}: use_multiprocessing")
        self.max_queue_size = integer(max_queue_size, f"{name}: max_queue_size")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must say in __getitem__ what batch {index} is")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must say in __len__ how many batches there are")

    @property
    def num_batches(self) -> int | None:
        """Batches of a pass; None where there is no end."""
        return len(self)

    def __iter__(self) -> Iterator[Any]:
        k = 0
        while self.num_batches is None or k < len(self):
            yield self[k]
            k += 1

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""
