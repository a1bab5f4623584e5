"""How much a service gives to whoever asks."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """What a request may cost; beyond it the answer is an error that says so.

    Attributes
    ----------
    body
        Bytes of a request, and of a message of a WebSocket.
    seconds
        Of a request: for its body to come, and again for its answer to be computed.
    requests
        That are under way at the same time, the waiting ones included.
    values
        Numbers, cells or characters in one request.
    length
        Tokens that one request may have written.
    sessions
        Streams that are open at the same time, WebSockets included.
    idle
        Seconds without a request after which a stream is closed.
    """

    body: int = 8_000_000
    seconds: float = 30.0
    requests: int = 64
    values: int = 1_000_000
    length: int = 5_000
    sessions: int = 64
    idle: float = 600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
                raise ValueError(f"Limits: {field.name}: expected a finite number above 0, not {value!r}")
