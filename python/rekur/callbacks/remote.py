"""RemoteMonitor: the logs of each epoch, sent to a server."""

import json
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from rekur._own import check_options
from rekur._settings import Setting
from rekur._validate import boolean
from rekur.callbacks.base import Callback, Logs

_TIMEOUT = 10  # seconds


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, got {value!r}")
    return value


def _root(value: object, what: str) -> str:
    if not _text(value, what).startswith(("http://", "https://")):
        raise ValueError(f"{what} must begin with http:// or https://, got {value!r}")
    return str(value)


def _headers(value: object, what: str) -> dict[str, str]:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a dict of strings, got {value!r}")
    return {str(key): str(entry) for key, entry in (value or {}).items()}


class RemoteMonitor(Callback):
    """Send the epoch's number and logs to a server, by POST to ``root + path``.

    A server that does not answer within 10 seconds, or with an error, is warned of, and the fit goes on.

    Parameters
    ----------
    root, path : str
    field : str
        The form's field that holds the JSON text.
    headers : dict, optional
        Further headers of HTTP.
    send_as_json : bool
        Send the JSON text itself, as application/json, instead of a form.
    """

    _only_writes = True

    root = Setting(_root)
    path = Setting(_text)
    field = Setting(_text)
    headers: Any = Setting(_headers)
    send_as_json = Setting(boolean)

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
        **options: NoReturn,
    ) -> None:
        check_options("callback", type(self), options)
        self.root, self.path, self.field = root, path, field
        self.headers = headers
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import urllib.error  # which take a while to import
        import urllib.parse
        import urllib.request

        numbers = {key: value.item() if isinstance(value, np.generic) else value for key, value in (logs or {}).items()}
        text = json.dumps({"epoch": epoch, **numbers})
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        data = (text if self.send_as_json else urllib.parse.urlencode({self.field: text})).encode()
        request = urllib.request.Request(self.root + self.path, data, {"Content-Type": kind, **self.headers})
        try:
            urllib.request.urlopen(request, timeout=_TIMEOUT).close()
        except (urllib.error.URLError, OSError) as error:
            warnings.warn(f"Could not reach RemoteMonitor root server at {self.root} ({error})", stacklevel=2)
