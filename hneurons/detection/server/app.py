"""The routes: chat completions, streamed or not, the list of models, and a page to try them in."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from threading import Event
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from hneurons.config.base import parse_settings
from hneurons.detection.server.calls import ChatCall
from hneurons.detection.server.replies import Completion, error_body
from hneurons.detection.server.service import ChatReply, ChatService, StreamedToken
from hneurons.errors import HNeuronsError

logger = logging.getLogger(__name__)
# Seconds between looks at whether a client that waits for an unstreamed reply is still there.
_LOOK = 0.5


class _ClientGoneError(Exception):
    """The client that asked has closed its connection."""


def create_app(service: ChatService, page: str) -> FastAPI:
    """Create the application.

    Args:
        service: replies to calls, one after the other.
        page: HTML of the page at /.
    """
    app = FastAPI(title="hneurons", docs_url=None, redoc_url=None, openapi_url=None)
    created = int(time.time())

    @app.get("/", response_class=HTMLResponse)
    async def chat_page() -> str:
        return page

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": service.name, "object": "model", "created": created, "owned_by": "hneurons"}
        return {"object": "list", "data": [model]}

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        try:
            try:
                body = json.loads(await request.body())
            except ValueError as error:
                raise HNeuronsError(f"request: no JSON: {error}") from None
            call = parse_settings(ChatCall, body, "request")
            if call.model != service.name:
                return JSONResponse(error_body(f"no model {call.model!r} here: this server has {service.name!r}"), 404)
            prompt = service.prompt(call)
        except HNeuronsError as error:
            return JSONResponse(error_body(str(error)), 400)
        completion = Completion(service.name, len(prompt), bool(call.logprobs))
        gone = Event()

        def run(on_token: Callable[[StreamedToken], None]) -> list[ChatReply]:
            """Reply, in a thread of its own; without replies if the client has gone."""

            def unless_gone(token: StreamedToken) -> None:
                if gone.is_set():
                    raise _ClientGoneError
                on_token(token)

            try:
                return service.reply(call, prompt, unless_gone)
            except _ClientGoneError:
                return []

        if call.stream:
            return StreamingResponse(_lines(run, gone, completion, call), media_type="text/event-stream")
        task = asyncio.create_task(asyncio.to_thread(run, lambda _: None))
        try:
            while not (await asyncio.wait([task], timeout=_LOOK))[0]:
                if await request.is_disconnected():
                    gone.set()
        finally:
            # Reached too when the server is stopped.
            gone.set()
        try:
            return JSONResponse(completion.body(task.result()))
        except HNeuronsError as error:
            return JSONResponse(error_body(str(error)), 400)
        except Exception as error:
            return JSONResponse(_failure(error), 500)

    return app


async def _lines(
    run: Callable[[Callable[[StreamedToken], None]], list[ChatReply]],
    gone: Event,
    completion: Completion,
    call: ChatCall,
) -> AsyncIterator[str]:
    """Server-sent events of a streamed reply. The generation ends when the client closes the connection."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[StreamedToken | None] = asyncio.Queue()

    def send(token: StreamedToken | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, token)

    def run_to_the_end() -> list[ChatReply]:
        try:
            return run(send)
        finally:
            send(None)

    for chunk in completion.first(call.n or 1):
        yield _event(chunk)
    task = asyncio.create_task(asyncio.to_thread(run_to_the_end))
    try:
        while (token := await queue.get()) is not None:
            yield _event(completion.token(token))
        replies = await task
        for chunk in completion.last(replies):
            yield _event(chunk)
        if call.stream_options is not None and call.stream_options.include_usage:
            yield _event(completion.with_usage(replies))
    except HNeuronsError as error:
        yield _event(error_body(str(error)))
    except Exception as error:
        yield _event(_failure(error))
    finally:
        # Reached too when the client has gone.
        gone.set()
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _failure(error: Exception) -> dict[str, Any]:
    logger.error("a reply failed", exc_info=error)
    return error_body(f"the reply failed: {' '.join(str(error).split())[:300] or type(error).__name__}", "server_error")
