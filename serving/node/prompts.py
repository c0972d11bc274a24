"""Prompts over HTTP: parse, queue, answer or stream, and stop the work when the client leaves."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import orjson
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from edgewise.domain.errors import BadInput, EdgewiseError, TooLarge, Unavailable
from edgewise.domain.model import ModelSpec, Task
from serving.engines.base import Output
from serving.engines.base import Request as Asked
from serving.node import openai
from serving.node.bodies import json_response, read_body
from serving.node.job import Done, Failed, Job, Started, Text
from serving.node.node import Node
from serving.tenant import tenant_of

T = TypeVar("T")
Parse = Callable[[Mapping[str, Any], ModelSpec], Asked]
Answer = Callable[[str, str, int, Output], dict[str, Any]]
Chunk = Callable[[str, str, int, str, str | None], dict[str, Any]]
CLIENT_GONE = 499  # nginx's number; nobody is there to read it


class Prompts:
    """The three endpoints of the data plane."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def completion(self, request: Request) -> Response:
        def parse(body: Mapping[str, Any], spec: ModelSpec) -> Asked:
            _must(spec, Task.TEXT_GENERATION)
            return openai.completion(body)

        return await self._answer(request, parse, "cmpl", openai.completion_answer, openai.completion_chunk)

    async def chat(self, request: Request) -> Response:
        def parse(body: Mapping[str, Any], spec: ModelSpec) -> Asked:
            _must(spec, Task.TEXT_GENERATION, Task.IMAGE_TO_TEXT)
            return openai.chat(body, spec.task)

        return await self._answer(request, parse, "chatcmpl", openai.chat_answer, openai.chat_chunk)

    async def image(self, request: Request) -> Response:
        def parse(body: Mapping[str, Any], spec: ModelSpec) -> Asked:
            _must(spec, Task.TEXT_TO_IMAGE)
            return openai.image_generation(body)

        def answer(_identity: str, _model: str, created: int, output: Output) -> dict[str, Any]:
            return openai.image_answer(created, output)

        return await self._answer(request, parse, "img", answer, None)

    async def _answer(
        self, request: Request, parse: Parse, prefix: str, answer: Answer, chunk: Chunk | None
    ) -> Response:
        identity = request.headers.get("x-request-id") or uuid.uuid4().hex
        headers = {"x-request-id": identity, "x-edgewise-node": self._node.config.node.id}
        try:
            body = openai.parse_body(await read_body(request, self._node.config.max_body_mib))
            stream = _stream(body, chunk)
            model = body.get("model")
            if not isinstance(model, str):
                raise BadInput("must name a model", where="model")
            asked = parse(body, self._spec(model))
            job = self._node.submit(
                model, asked, _hint(request), stream, tenant_of(request.headers), _entered_s(request)
            )
        except EdgewiseError as error:
            return error_response(error, headers)
        spoken = _Spoken(f"{prefix}-{identity}", model, int(time.time()), answer, chunk, _wants_usage(body))
        keep = False
        try:
            first = await _unless_gone(request, _first(job))
            if first is None:
                return Response(status_code=CLIENT_GONE)
            started, event = first
            headers |= _service_headers(started, event)
            if isinstance(event, Failed):
                return error_response(event.error, headers)
            if not stream and isinstance(event, Done):
                return json_response(spoken.whole(event.output), headers=headers)
            keep = True
            return self._stream(job, event, spoken, headers)
        finally:
            if not keep:
                self._node.cancel(model, job)

    def _stream(self, job: Job, event: Text | Done, spoken: _Spoken, headers: Mapping[str, str]) -> Response:
        async def forget() -> None:
            self._node.cancel(spoken.model, job)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for line in spoken.events(job, event):
                    yield line
            finally:
                await forget()

        # The background task runs even when the client left before the body began.
        return StreamingResponse(body(), 200, headers, "text/event-stream", BackgroundTask(forget))

    def _spec(self, model: str) -> ModelSpec:
        self._node.life(model)
        return self._node.specs[model]


class _Spoken:
    """An answer in the client's words: one body, or a stream of server-sent events."""

    def __init__(
        self, identity: str, model: str, created: int, answer: Answer, chunk: Chunk | None, with_usage: bool
    ) -> None:
        self.model = model
        self._head = (identity, model, created)
        self._answer = answer
        self._chunk = chunk
        self._with_usage = with_usage

    def whole(self, output: Output) -> dict[str, Any]:
        return self._answer(*self._head, output)

    async def events(self, job: Job, event: Text | Done | Failed) -> AsyncIterator[bytes]:
        assert self._chunk is not None
        while isinstance(event, Text):
            yield _sse(self._chunk(*self._head, event.piece, None))
            event = await _next(job)
        if isinstance(event, Failed):
            yield _sse(openai.error_body(event.error))
            return
        yield _sse(self._chunk(*self._head, "", event.output.finish_reason))
        if self._with_usage:
            empty = self._chunk(*self._head, "", None)
            yield _sse(empty | {"choices": [], "usage": openai.usage(event.output)})
        yield b"data: [DONE]\n\n"


def error_response(error: EdgewiseError, headers: Mapping[str, str]) -> Response:
    """OpenAI's error shape; a 503 says that the prompt may go elsewhere, and when to come back."""
    more = dict(headers)
    if isinstance(error, Unavailable):
        more["retry-after"] = str(math.ceil(error.retry_after_s or 1.0))
        more["x-edgewise-handed-back"] = "1"
    if isinstance(error, TooLarge):
        more["connection"] = "close"  # the rest of the body is not read
    return json_response(openai.error_body(error), error.http_status, more)


def _must(spec: ModelSpec, *tasks: Task) -> None:
    if spec.task not in tasks:
        raise BadInput(f"{spec.id} does {spec.task}; this endpoint does not", where="model")


def _stream(body: Mapping[str, Any], chunk: Chunk | None) -> bool:
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise BadInput("must be true or false", where="stream")
    if stream and chunk is None:
        raise BadInput("images are not streamed", where="stream")
    return stream


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _hint(request: Request) -> float | None:
    text = request.headers.get("x-edgewise-size-hint")
    if text is None:
        return None
    try:
        hint = float(text)
    except ValueError:
        hint = math.nan
    if not 0.0 <= hint < math.inf:
        raise BadInput("must be seconds ≥ 0", where="x-edgewise-size-hint")
    return hint


def _entered_s(request: Request) -> float | None:
    """When the prompt came to its access node, run clock; None where nobody says."""
    try:
        entered_s = float(request.headers.get("x-edgewise-arrived-s", "nan"))
    except ValueError:
        entered_s = math.nan
    return entered_s if math.isfinite(entered_s) else None


def _service_headers(started: Started | None, event: Text | Done | Failed) -> dict[str, str]:
    headers: dict[str, str] = {}
    if started is not None:
        headers["x-edgewise-started-s"] = f"{started.at_s:.6f}"
        headers["x-edgewise-queue-ms"] = f"{started.queue_s * 1e3:.3f}"
        headers["x-edgewise-cold-start"] = "true" if started.cold else "false"
    if isinstance(event, Done):
        headers["x-edgewise-service-ms"] = f"{event.service_s * 1e3:.3f}"
    return headers


async def _first(job: Job) -> tuple[Started | None, Text | Done | Failed]:
    """When service began (None: it never did), and the first thing that came of it."""
    event = await job.next_event()
    if isinstance(event, Started):
        return event, await _next(job)
    return None, event


async def _next(job: Job) -> Text | Done | Failed:
    event = await job.next_event()
    assert not isinstance(event, Started)
    return event


async def _unless_gone(request: Request, waiting: Awaitable[T]) -> T | None:
    """What is waited for, or None when the client disconnects first."""
    wanted = asyncio.ensure_future(waiting)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
        return wanted.result() if wanted.done() else None
    finally:
        wanted.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _sse(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
