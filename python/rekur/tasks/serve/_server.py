"""The service as a process: it says where it is, and ends in order."""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from rekur.tasks.serve._limits import Limits

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    model: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    name: str | None = None,
    hosts: tuple[str, ...] = (),
    quiet: bool = False,
) -> None:
    """Serve a file of an estimator until the process is told to end (Ctrl-C, SIGTERM).

    Requests that are under way then have ten seconds to be answered.

    Parameters
    ----------
    model
        Written by ``save``.
    host, port
        Where to listen. 127.0.0.1: from this machine only; 0.0.0.0: from everywhere that reaches it, and then a proxy
        in front has to say who may. Port 0: one that is free.
    limits
        Of sizes, times and numbers.
    name
        What the model is called; by default the file's name.
    hosts
        Names by which the service may be called. On 127.0.0.1 that is this machine by default, elsewhere any.
    quiet
        Say nothing but errors.

    Raises
    ------
    OSError
        If the file cannot be read, or the address cannot be had.
    ImportError
        Without fastapi and uvicorn.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ImportError(
            f'serving needs fastapi and uvicorn ({error}): pip install "rekur[serve]"', name="fastapi"
        ) from error
    import rekur.tasks
    from rekur.tasks.serve._app import create_app

    estimator = rekur.tasks.load(model)
    path = Path(os.fsdecode(model))
    limits = limits or Limits()
    if not hosts and host in _LOOPBACK:
        hosts = ("127.0.0.1", "localhost", "[::1]")
    app = create_app(estimator, name=name or path.stem, limits=limits, hosts=hosts)
    listening = _listen(host, port)
    address = listening.getsockname()
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=10,
        ws_max_size=limits.body, timeout_keep_alive=15, server_header=False, lifespan="on", log_config=_LOGS,
    )  # fmt: skip

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if not quiet and self.started:
                text = (
                    f"{path.name} ({type(estimator).__name__}) is served at http://{shown}:{address[1]}  (Ctrl-C ends)"
                )
                print(text, flush=True)

    # uvicorn raises the signal that ended it once more: it has done its work then.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        Server(config).run([listening])
    finally:
        listening.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except socket.gaierror as error:
        raise OSError(f"--host {host}: {error.strerror}") from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen at {host}:{port}: {error.strerror}") from None
    return listening


# Errors go to standard error, one line each; requests are not logged.
_LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"error": {"class": "logging.StreamHandler", "formatter": "line", "stream": sys.stderr}},
    "loggers": {
        name: {"handlers": ["error"], "level": "WARNING", "propagate": False} for name in ("uvicorn", "rekur.serve")
    },
}
