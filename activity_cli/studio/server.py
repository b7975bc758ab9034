"""The routes of the studio. Each takes a request apart, calls the studio, and gives JSON back."""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import wraps
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activity_cli.errors import ActivityError
from activity_cli.studio.security import HEADERS, Guard, RequestError
from activity_cli.studio.studio import Studio
from activity_cli.studio.views import Query, error_values

STATIC = Path(__file__).with_name("static")
_MOST_BODY_BYTES = 4_000_000  # of JSON: 10,000 edits at once

Endpoint = Callable[[Request], Awaitable[Response]]
Answer = Mapping[str, Any]


class Json(Response):
    """Strict JSON in ASCII: file names need not be valid text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes of the answer."""
        return json.dumps(content, allow_nan=False).encode()


def make_app(studio: Studio, guard: Guard) -> ASGIApp:
    """Return the application: the routes behind the guard."""

    def get(path: str, answer: Callable[[Request], Answer | Response]) -> Route:
        return Route(path, _in_thread(answer), methods=["GET"])

    def post(path: str, answer: Callable[[Any], Answer], *, status: int = 200) -> Route:
        @wraps(answer)
        async def endpoint(request: Request) -> Response:
            body = await _read_json(request)
            values = await run_in_threadpool(answer, {**request.path_params, **body})
            return Json(values, status_code=status)

        return Route(path, endpoint, methods=["POST"])

    async def events(request: Request) -> Response:
        del request
        content = studio.events.listen({"revision": studio.project.revision})
        return StreamingResponse(content, media_type="text/event-stream")

    async def upload(request: Request) -> Response:
        limit, size = studio.upload_limit(), request.headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > limit:
            raise _too_large(limit)
        with studio.receive(request.query_params.get("name", "")) as received:
            async for chunk in request.stream():
                await run_in_threadpool(received.write, chunk)
                if received.num_bytes > limit:
                    raise _too_large(limit)
            name = await run_in_threadpool(received.finish)
        clip = await run_in_threadpool(studio.added, name)
        return Json({"clip": clip}, status_code=201)

    def cancel(request: Request) -> Answer:
        return _stop(studio, request.path_params["job"], at_once=True)

    routes: list[BaseRoute] = [
        Route("/", _file(STATIC / "index.html")),
        Mount("/static", _Static(directory=STATIC)),
        get("/api/project", lambda _: studio.summary()),
        post("/api/rescan", lambda _: studio.rescan()),
        get("/api/clips", lambda r: studio.views.clips(Query.parse(r.query_params))),
        get("/api/clips/{clip}", lambda r: studio.clip(r.path_params["clip"])),
        get("/api/clips/{clip}/media", lambda r: studio.media_of(r.path_params["clip"], _can(r))),
        post("/api/edits", studio.edit),
        post("/api/undo", lambda _: studio.undo()),
        post("/api/redo", lambda _: studio.redo()),
        get("/api/clips/{clip}/prediction", lambda r: studio.prediction(r.path_params["clip"])),
        get("/api/jobs", lambda _: {"jobs": [job.to_json() for job in studio.jobs.all()]}),
        post("/api/jobs", studio.add_job, status=202),
        get("/api/jobs/{job}", lambda r: studio.jobs.get(r.path_params["job"]).to_json()),
        post("/api/jobs/{job}/stop", lambda v: _stop(studio, v["job"], at_once=False)),
        Route("/api/jobs/{job}", _in_thread(cancel), methods=["DELETE"]),
        get("/api/readiness", lambda _: studio.readiness()),
        get("/api/runs", lambda _: {"runs": studio.runs.summaries()}),
        get("/api/runs/{run}", lambda r: studio.runs.result(r.path_params["run"])),
        get("/api/files", lambda r: _download(studio, r.query_params.get("path", ""))),
        get("/api/review", lambda r: studio.review(r.query_params)),
        post("/api/truth", studio.draw_truth),
        get("/api/truth/next", lambda _: studio.truth()),
        get("/api/commands", lambda _: studio.command_lines()),
        get("/thumbs/{clip}", lambda r: _thumbs(studio, r)),
        get("/media/{clip}", lambda r: _media(studio, r)),
        get("/frames/{clip}/{number:int}", lambda r: _frame(studio, r)),
        Route("/api/events", events),
        Route("/api/upload", upload, methods=["POST"]),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        studio.events.start()
        yield

    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={ActivityError: _on_error, HTTPException: _on_http_error},
    )
    return _Guarded(app, guard)


class Server(uvicorn.Server):
    """Serves requests until Ctrl-C, or `should_exit`."""

    def __init__(self, studio: Studio, guard: Guard) -> None:
        self._studio = studio
        config = uvicorn.Config(
            make_app(studio, guard),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say good-bye to the windows that listen: they would keep it open."""
        self._studio.events.stop()
        await super().shutdown(sockets)


def _in_thread(answer: Callable[[Request], Answer | Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        found = await run_in_threadpool(answer, request)
        return found if isinstance(found, Response) else Json(found)

    return endpoint


async def _read_json(request: Request) -> Mapping[str, Any]:
    """Return the body, an object of JSON, or raise a RequestError."""
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise RequestError("The body must be application/json.", status=415)
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MOST_BODY_BYTES:
            raise RequestError("The request is too large.", status=413)
    try:
        values = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise RequestError("The body is not JSON.") from error
    if not isinstance(values, dict):
        raise RequestError("The body must be a JSON object.")
    return values


def _stop(studio: Studio, job: str, *, at_once: bool) -> Answer:
    return studio.jobs.stop(job, at_once=at_once).to_json()


def _download(studio: Studio, name: str) -> Response:
    path = studio.runs.file(name)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


def _thumbs(studio: Studio, request: Request) -> Response:
    values = request.query_params
    try:
        start, end = (float(v) if (v := values.get(key)) else None for key in ("start", "end"))
        count, height = int(values.get("count", 1)), int(values.get("height", 90))
    except ValueError as error:
        raise RequestError("start, end, count and height must be numbers.") from error
    return _jpeg(studio.thumbs(request.path_params["clip"], start, end, count, height))


def _frame(studio: Studio, request: Request) -> Response:
    return _jpeg(studio.frame(request.path_params["clip"], request.path_params["number"]))


def _jpeg(content: bytes) -> Response:
    headers = {"Cache-Control": "private, max-age=600"}
    return Response(content, media_type="image/jpeg", headers=headers)


def _media(studio: Studio, request: Request) -> Response:
    path, media_type = studio.media_file(
        request.path_params["clip"], request.query_params.get("proxy", "")
    )
    return FileResponse(path, media_type=media_type)


def _can(request: Request) -> frozenset[str]:
    return frozenset(request.query_params.get("can", "").split(","))


def _too_large(limit: int) -> RequestError:
    return RequestError(
        f"The file is larger than {limit / 1e9:.1f} GB, which is what may be added here.",
        status=413,
        hint="Copy it into the project's folder with the file manager instead.",
    )


def _file(path: Path) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        del request
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    return endpoint


class _Static(StaticFiles):
    """The files of the page; the browser asks each time whether they changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _on_error(request: Request, error: Exception) -> Response:
    del request
    error = cast(ActivityError, error)
    status = error.status if isinstance(error, RequestError) else 500
    values: dict[str, Any] = {**error_values(error)}
    if isinstance(error, RequestError):
        values |= error.values
    return Json(values, status_code=status)


async def _on_http_error(request: Request, error: Exception) -> Response:
    del request
    status = cast(HTTPException, error).status_code
    return Json({"error": f"{HTTPStatus(status).phrase}.", "hint": ""}, status_code=status)


class _Guarded:
    """Lets only requests of the studio's own page through, and adds headers to all answers."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        request = Request(scope)
        try:
            answer = self._first_answer(request)
            await (answer or self._app)(scope, receive, send_with_headers)
        except ClientDisconnect:
            return

    def _first_answer(self, request: Request) -> Response | None:
        """Return the answer to a request that does not reach the routes."""
        guard = self._guard
        try:
            token = request.query_params.get("token")
            if request.url.path == "/" and token is not None and request.method == "GET":
                guard.check_host(request.headers)
                if guard.is_token(token):
                    answer = RedirectResponse("/", status_code=303)
                    answer.set_cookie(guard.cookie, token, httponly=True, samesite="strict")
                    return answer
            guard.check(request.method, request.headers)
        except RequestError as error:
            if request.url.path == "/":
                return Response(
                    f"{error.message}\n{error.hint}\n", status_code=403, media_type="text/plain"
                )
            return Json(error_values(error), status_code=error.status)
        return None
