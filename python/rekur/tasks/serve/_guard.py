"""What stands before the service: sizes, times, hosts, types and numbers of requests, told as problems."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from rekur.tasks.serve import _problems
from rekur.tasks.serve._limits import Limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """ASGI: the whole body is read before the service sees it, and none that is too large, too slow or not JSON.

    Parameters
    ----------
    hosts
        Names by which the service may be called; empty: any. A page from elsewhere that has its own name resolve to
        this machine (DNS rebinding) calls by that name, and is refused.
    """

    def __init__(self, app: App, limits: Limits, hosts: Sequence[str] = ()) -> None:
        self._app, self._limits, self._hosts = app, limits, {host.lower() for host in hosts}
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                given = {name.lower() for name, _ in message.get("headers", [])}
                more = [pair for pair in _HEADERS if pair[0] not in given]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        async def refuse(status: int, detail: str, *more: tuple[bytes, bytes]) -> None:
            data = _problems.encoded(status, detail)
            headers = [
                (b"content-type", _problems.TYPE.encode()), (b"content-length", str(len(data)).encode()),
                (b"connection", b"close"), *more,
            ]  # fmt: skip
            await with_headers({"type": "http.response.start", "status": status, "headers": headers})
            await with_headers({"type": "http.response.body", "body": data})

        headers = {name.lower(): value for name, value in scope["headers"]}
        if not self._known(headers.get(b"host", b"")):
            return await refuse(421, "this service is not called by that name (Host)")
        if self._under_way >= self._limits.requests:
            detail = f"{self._limits.requests} requests are under way, as many as there may be"
            return await refuse(503, detail, (b"retry-after", b"1"))
        self._under_way += 1
        try:
            body = b""
            if scope["method"] in ("POST", "PUT", "PATCH"):
                kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
                length = headers.get(b"content-length", b"0")
                if length.isdigit() and int(length[:20]) > self._limits.body:
                    return await refuse(413, f"a body may have {self._limits.body} bytes, not {int(length[:20])}")
                if kind != b"application/json":
                    return await refuse(415, "the body has to be JSON (Content-Type: application/json)")
            try:
                body = await asyncio.wait_for(self._read(receive), self._limits.seconds)
            except asyncio.TimeoutError:
                return await refuse(408, f"the body did not come within {self._limits.seconds:g} seconds")
            except _TooLarge:
                return await refuse(413, f"a body may have {self._limits.body} bytes")
            except _Gone:
                return
            await self._app(scope, _replay(body, receive), with_headers)
        except Exception:
            if started:
                raise
            await refuse(500, "an error of the service itself; its log says more")
            raise
        finally:
            self._under_way -= 1

    async def _read(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.body:
                raise _TooLarge
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        host, origin = headers.get(b"host", b""), headers.get(b"origin")
        # A page of another origin may open WebSockets; only what is no page, or our own page, may here.
        foreign = origin is not None and origin.split(b"//", 1)[-1].lower() != host.lower()
        if foreign or not self._known(host):
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "not from here"})
            return
        await self._app(scope, receive, send)

    def _known(self, host: bytes) -> bool:
        if not self._hosts:
            return True
        name = host.decode("latin-1").lower()
        name = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() and not name.endswith("]") else name
        return name in self._hosts


class _TooLarge(Exception):
    pass


class _Gone(Exception):
    pass


def _replay(body: bytes, receive: Receive) -> Receive:
    """What gives the body that was read, and then what comes."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
