"""The service: its paths, over HTTP and WebSocket."""

import asyncio
import contextlib
import functools
import io
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import rekur
from rekur.tasks.serve import _problems
from rekur.tasks.serve._guard import Guard
from rekur.tasks.serve._limits import Limits
from rekur.tasks.serve._problems import Problem
from rekur.tasks.serve._sessions import Sessions

_LOG = logging.getLogger("rekur.serve")
PREFIX = "/v1"


def create_app(estimator: Any, *, name: str = "model", limits: Limits | None = None, hosts: Sequence[str] = ()) -> Any:
    """The service of a fitted estimator as an ASGI application, for any server of those.

    Parameters
    ----------
    estimator
        Fitted, of :mod:`rekur.tasks`.
    name
        What it is called in the page and the card.
    limits
        Of sizes, times and numbers.
    hosts
        Names by which it may be called (the header Host); empty: any.

    Returns
    -------
    fastapi.FastAPI
        ``GET /`` is a page to try the model; ``GET /health``; ``GET /v1/model``; ``POST /v1/predict``; ``POST
        /v1/streams``, ``POST /v1/streams/{id}/steps``, ``DELETE /v1/streams/{id}``; ``WS /v1/stream``; ``GET
        /openapi.json``.

    Raises
    ------
    ImportError
        Without fastapi.
    TypeError
        For another kind of object.
    """
    try:
        import fastapi
    except ImportError as error:
        raise ImportError(
            f'serving needs fastapi and uvicorn ({error}): pip install "rekur[serve]"', name="fastapi"
        ) from error
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, Response
    from starlette.exceptions import HTTPException

    from rekur.tasks.serve import _schemas as schemas
    from rekur.tasks.serve._adapters import adapter_of
    from rekur.tasks.serve._web import page

    limits = limits or Limits()
    adapter = adapter_of(estimator, limits)
    sessions = Sessions(limits)
    begun = time.monotonic()
    work = _Work(limits)
    card = _card(estimator, adapter, name)
    text, policy = page(name, card, adapter)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        sessions.close_all()

    app = fastapi.FastAPI(
        title=f"{name}: {card['estimator']}", version=rekur.__version__, docs_url=None, redoc_url=None,
        lifespan=lifespan, description="Errors are problem details (RFC 9457): `errors` name fields by JSON pointers.",
    )  # fmt: skip
    app.add_middleware(Guard, limits=limits, hosts=hosts)

    def problem(status: int, detail: str, errors: Any = (), headers: Any = None) -> Any:
        data = _problems.body(status, detail, errors)
        return JSONResponse(data, status, media_type=_problems.TYPE, headers=headers)

    @app.exception_handler(Problem)
    async def _(_request: Any, error: Problem) -> Any:
        return problem(error.status, error.detail, error.errors, error.headers)

    @app.exception_handler(RequestValidationError)
    async def _(_request: Any, error: RequestValidationError) -> Any:
        return problem(*_problems.of_validation([{**one, "loc": one["loc"][1:]} for one in error.errors()]))

    @app.exception_handler(HTTPException)
    async def _(_request: Any, error: HTTPException) -> Any:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def _(_request: Any, error: Exception) -> Any:  # the server logs it
        return problem(500, "an error of the service itself; its log says more")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def _page() -> Any:
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    @app.get("/health", response_model=schemas.Health, tags=["service"])
    async def health() -> Any:
        """Whether the service is there."""
        return schemas.Health(model=name, streams=len(sessions), uptime=time.monotonic() - begun)

    @app.get(f"{PREFIX}/model", tags=["model"])
    async def model() -> dict[str, Any]:
        """The model card: what it is, takes and gives."""
        return card

    refusals: dict[int | str, dict[str, Any]] = {
        status: {"description": _problems._TITLES[status], "content": {_problems.TYPE: {}}}
        for status in (400, 413, 415, 422, 503, 504)
    }

    async def predict(request: Any) -> Any:
        return await work.do(adapter.predict, request)

    _annotate(predict, adapter.Request, "What the model says to one request.")
    app.post(f"{PREFIX}/predict", response_model=adapter.Response, tags=["model"], responses=refusals)(predict)

    if adapter.why_no_stream is not None:

        @app.post(f"{PREFIX}/streams", include_in_schema=False)
        async def _no_streams() -> Any:
            raise Problem(404, f"there are no streams: {adapter.why_no_stream}")

        return app

    async def begin(request: Any) -> Any:
        sessions.reserve()
        try:
            live = await work.do(adapter.open, request)
        except BaseException:
            sessions.release()
            raise
        identity = sessions.add(live)
        return schemas.Opened(id=identity, idle=limits.idle, steps=f"{PREFIX}/streams/{identity}/steps")

    _annotate(begin, adapter.Begin, "Open a stream: it remembers what it was told before.")
    app.post(f"{PREFIX}/streams", response_model=schemas.Opened, status_code=201, tags=["streams"], responses=refusals)(
        begin
    )

    async def push(identity: str, request: Any) -> Any:
        session = sessions.get(identity)
        return await work.do(functools.partial(_locked, session), request)

    _annotate(push, adapter.Push, "The next steps of a stream, and what the model says to each.")
    app.post(
        f"{PREFIX}/streams/{{identity}}/steps", response_model=adapter.Result, tags=["streams"], responses=refusals
    )(push)

    @app.delete(f"{PREFIX}/streams/{{identity}}", status_code=204, response_model=None, tags=["streams"])
    async def close(identity: str) -> Any:
        """Close a stream."""
        sessions.close(identity)
        return Response(status_code=204)

    @app.websocket(f"{PREFIX}/stream")
    async def stream(socket: fastapi.WebSocket) -> None:
        await _talk(socket, adapter, sessions, work, limits)

    return app


def _annotate(function: Any, request: Any, text: str) -> None:
    """The type of a request is known when the model is: the annotation is what FastAPI reads."""
    function.__annotations__["request"] = request
    function.__doc__ = text


def _locked(session: Any, request: Any) -> Any:
    """One step of a stream at a time."""
    with session.lock:
        return session.live.push(request)


class _Work:
    """Computations, one at a time: the engine uses all cores for each. Waiting ones keep their time."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._lock = limits, threading.Lock()

    async def do(self, call: Callable[[Any], Any], request: Any) -> Any:
        import anyio
        import anyio.to_thread

        given_up = threading.Event()

        def run() -> Any:
            with self._lock:
                # Nobody waits for the answer any more.
                return None if given_up.is_set() else call(request)

        try:
            with anyio.fail_after(self._limits.seconds):
                return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        except TimeoutError:
            raise Problem(504, f"no answer within {self._limits.seconds:g} seconds; ask for less at once") from None
        finally:
            given_up.set()


async def _talk(socket: Any, adapter: Any, sessions: Sessions, work: _Work, limits: Limits) -> None:
    """A stream over a WebSocket: each message is the JSON of steps, each answer its result or a problem.

    A first message ``{"begin": {…}}`` gives what a stream begins with; it is answered by ``{"begun": true}``.
    """
    from pydantic import ValidationError
    from starlette.websockets import WebSocketDisconnect

    await socket.accept()
    try:
        sessions.reserve()
    except Problem as error:
        await socket.send_json(error.body())
        await socket.close(1013, "too many streams")
        return
    try:
        live = None
        while True:
            try:
                message = await asyncio.wait_for(socket.receive(), limits.idle)
            except asyncio.TimeoutError:
                await socket.close(1001, "idle")
                return
            if message["type"] == "websocket.disconnect":
                return
            try:
                data = _read(message, limits)
                if live is None and isinstance(data, dict) and set(data) == {"begin"}:
                    live = await work.do(adapter.open, adapter.Begin.model_validate(data["begin"]))
                    await socket.send_text('{"begun":true}')
                    continue
                request = adapter.Push.model_validate(data)
                if live is None:
                    live = await work.do(adapter.open, adapter.Begin())
                answer = await work.do(live.push, request)
                await socket.send_text(answer.model_dump_json())
            except ValidationError as error:
                status, detail, fields = _problems.of_validation(error.errors(include_input=False, include_url=False))
                await socket.send_json(_problems.body(status, detail, fields))
            except Problem as error:
                await socket.send_json(error.body())
            except WebSocketDisconnect:
                return
            except Exception as error:
                _LOG.error("a stream failed", exc_info=error)
                await socket.send_json(_problems.body(500, "an error of the service itself; its log says more"))
                await socket.close(1011, "failed")
                return
    finally:
        sessions.release()


def _read(message: Any, limits: Limits) -> Any:
    text = message.get("text")
    if text is None:
        text = message.get("bytes") or b""
    if len(text) > limits.body:
        raise Problem(413, f"a message may have {limits.body} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the message is no JSON: {error}"[:300]) from None


def _card(estimator: Any, adapter: Any, name: str) -> dict[str, Any]:
    """The model card as JSON."""
    from rekur.tasks.report._card import card_of
    from rekur.tasks.serve._values import plain

    made = card_of(estimator)
    printed = io.StringIO()
    given = None
    # A summary is a help, no condition.
    with contextlib.suppress(Exception), contextlib.redirect_stdout(printed):
        given = estimator.summary()
    found: dict[str, Any] = {
        "name": name,
        "estimator": made.estimator,
        "task": adapter.task,
        "parameters": made.parameters,
        "networks": made.members,
        "network": list(made.network),
        "settings": {key: _json(value) for key, value in made.settings.items()},
        "versions": dict(made.versions),
        "summary": given if isinstance(given, str) else printed.getvalue().rstrip(),
        "streams": adapter.why_no_stream is None,
        **adapter.facts(),
    }
    if adapter.why_no_stream is not None:
        found["why_no_streams"] = adapter.why_no_stream
    json.dumps(found, allow_nan=False, default=plain)
    return found


def _json(value: Any) -> Any:
    """A parameter as JSON has it; what it does not have as its text."""
    try:
        json.dumps(value, allow_nan=False)
        return value
    except (TypeError, ValueError):
        return repr(value)[:200]
