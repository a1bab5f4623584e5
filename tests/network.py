"""Hosts of our own: network namespaces, joined by a line that delays packets, limits their rate, and can be cut.

The line is a process that carries packets from one tunnel device to another, since kernels may lack the queueing
disciplines that do it (netem). It needs root, ``ip`` and ``/dev/net/tun``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import shutil
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def why_not() -> str:
    """Why there can be no hosts here; empty if there can."""
    if shutil.which("ip") is None:
        return "no ip (iproute2)"
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "not root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun"
    name = f"rekur-try-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return done.stderr.strip()


class Hosts:
    """Two hosts, 10.77.0.1 and 10.77.0.2, in namespaces of their own.

    Parameters
    ----------
    delay : float
        Seconds that a packet takes, in each direction.
    rate : float
        Bytes a second, in each direction; 0: as fast as the line goes.
    """

    def __init__(self, delay: float = 0.0, rate: float = 0.0) -> None:
        self.delay, self.rate = delay, rate
        self.cut = False
        self.names = [f"rekur{os.getpid()}-{k}" for k in range(2)]
        self.addresses = ["10.77.0.1", "10.77.0.2"]
        self._files: list[int] = []
        self._ends = False

    def __enter__(self) -> Hosts:
        for k, name in enumerate(self.names):
            file, device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK), f"rk{os.getpid()}-{k}"
            fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN | _IFF_NO_PI))
            self._files.append(file)
            self._ip("netns", "add", name)
            self._ip("link", "set", device, "netns", name)
            self._ip("-n", name, "addr", "add", self.addresses[k], "peer", self.addresses[1 - k], "dev", device)
            self._ip("-n", name, "link", "set", device, "up")
            self._ip("-n", name, "link", "set", "lo", "up")
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join()
        for file in self._files:
            os.close(file)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def agent(self, folder: Path) -> Path:
        """A program that runs a command on a host, ``agent HOST COMMAND…``, as rsh would."""
        path = folder / "agent"
        cases = "".join(f"{a}) space={n};; " for a, n in zip(self.addresses, self.names, strict=True))
        path.write_text(f'#!/bin/sh\ncase $1 in {cases}esac\nshift\nexec ip netns exec $space /bin/sh -c "$*"\n')
        path.chmod(0o755)
        return path

    def mpiexec(self, folder: Path, program: str, ranks: int, sent: Sequence[str]) -> list[str]:
        """What starts ranks of Open MPI on the hosts, whose only line is ours; ``sent``: variables that they get."""
        words = {"plm_rsh_agent": self.agent(folder), "plm_rsh_no_tree_spawn": 1, "pml": "ob1", "btl": "tcp,self",
                 "oob_tcp_if_include": "10.77.0.0/24", "btl_tcp_if_include": "10.77.0.0/24",
                 # How soon mpiexec itself misses a host: minutes, if nothing is said.
                 "oob_tcp_keepalive_time": 2, "oob_tcp_keepalive_intvl": 1, "oob_tcp_keepalive_probes": 3}  # fmt: skip
        options = [word for name, value in words.items() for word in ("--mca", name, str(value))]
        options += [word for name in sent for word in ("-x", name)]
        started = [program, "-n", str(ranks), *options, "--host", ",".join(self.addresses)]
        return ["ip", "netns", "exec", self.names[0], *started]

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def _carry(self) -> None:
        waiting: list[deque[tuple[float, bytes]]] = [deque(), deque()]
        free = [0.0, 0.0]  # when each direction has sent what it has
        selector = selectors.DefaultSelector()
        for k, file in enumerate(self._files):
            selector.register(file, selectors.EVENT_READ, k)
        while not self._ends:
            now = time.monotonic()
            soon = min((queue[0][0] - now for queue in waiting if queue), default=0.05)
            for key, _ in selector.select(max(0.0, min(soon, 0.05))):
                try:
                    while packet := os.read(key.fd, 65536):
                        now = time.monotonic()
                        free[key.data] = max(free[key.data], now) + (len(packet) / self.rate if self.rate else 0.0)
                        if not self.cut and free[key.data] - now < 0.5:  # a router's buffer
                            waiting[key.data].append((free[key.data] + self.delay, packet))
                except BlockingIOError:
                    pass
            now = time.monotonic()
            for k, queue in enumerate(waiting):
                while queue and queue[0][0] <= now:
                    with contextlib.suppress(OSError):
                        os.write(self._files[1 - k], queue.popleft()[1])
