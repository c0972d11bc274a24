"""The replayer against a real HTTP server on the loopback: times, ledger, faults, stopping."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from edgewise.domain.model import ModelSpec, Task
from evals.prompts import DEMO_LIMITS, noise_png, request_for
from evals.replayer import Progress, Replay, WorkloadRow, replay
from evals.traces import ModelClass, TraceRow
from tools.clock import RunClock

TEXT = ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.1)
IMAGE = ModelSpec("stable-diffusion", Task.TEXT_TO_IMAGE, 4.0, 1.0)
CAPTION = ModelSpec("blip", Task.IMAGE_TO_TEXT, 2.0, 0.5)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def row(number: int, at_s: float, spec: ModelSpec = TEXT) -> WorkloadRow:
    trace = TraceRow(at_s, ModelClass.TEXT_SMALL, "test", 12, 4, 1, line=number)
    return WorkloadRow(f"p-{number:06d}", at_s, spec.id, "edge-2", request_for(trace, spec, 1, DEMO_LIMITS))


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def reply(path: str, body: dict[str, Any]) -> dict[str, Any]:
    if path == "/v1/images/generations":
        image = base64.b64encode(noise_png(1, 0, 4)).decode()
        return {"created": 0, "data": [{"b64_json": image}] * body["n"]}
    if path == "/v1/completions":
        return {"choices": [{"text": "fine"}]}
    return {"choices": [{"message": {"role": "assistant", "content": "a picture"}}]}


async def answer(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    if not body.get("stream"):
        return web.json_response(reply(request.path, body), headers={"x-edgewise-node": "edge-1"})
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for data in ('{"choices":[{"text":"a"}]}', '{"choices":[{"text":" b"}]}', "[DONE]"):
        await response.write(f"data: {data}\n\n".encode())
    return response


async def test_every_kind_of_prompt_is_sent_at_its_time_and_accounted_for() -> None:
    seen: list[tuple[str, str, bool]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        headers = request.headers
        seen.append(
            (headers["x-request-id"], headers["x-edgewise-access-node"], (await request.json()).get("stream", False))
        )
        return await answer(request)

    kinds = [TEXT, IMAGE, CAPTION, TEXT, TEXT, TEXT]
    rows = [row(i + 1, i * 0.03, spec) for i, spec in enumerate(kinds)]
    reports: list[Progress] = []
    clock = RunClock()
    start_s = clock.now_s() + 0.05
    async with serving(handler) as url:
        ledger = await replay(rows, url, clock, start_s, reports.append)
    assert [e.id for e in ledger.entries] == [f"p-{i:06d}" for i in range(1, 7)]
    assert sorted(s[:2] for s in seen) == [(r.id, "edge-2") for r in rows]
    assert [s[0] for s in seen if s[2]] == ["p-000005"]  # the third text prompt
    assert (ledger.sent, ledger.answered, ledger.ok, ledger.lost) == (6, 6, 6, 0), ledger.errors()
    for entry, wanted in zip(ledger.entries, rows, strict=True):
        assert entry.sent_s is not None
        assert entry.sent_s >= entry.due_s == start_s + wanted.at_s
        assert entry.latency_s is not None
        assert entry.latency_s > 0
        assert (entry.status, entry.error) == (200, "")
    assert ledger.entries[0].node == "edge-1"
    assert (reports[-1].sent, reports[-1].answered, reports[-1].in_flight) == (6, 6, 0)
    assert not ledger.stopped
    assert ledger.summary()["per_model"]["gpt2"]["sent"] == 4


async def test_a_slow_system_does_not_slow_its_own_load() -> None:
    gate = asyncio.Event()
    waiting = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal waiting
        waiting += 1
        if waiting == 150:  # more than any default pool of connections
            gate.set()
        await gate.wait()
        return await answer(request)

    async with serving(handler) as url:
        rows = [row(i, 0.001 * i) for i in range(1, 151)]
        ledger = await asyncio.wait_for(replay(rows, url, RunClock(), 0.0), 60)
    assert ledger.ok == 150
    first, last = ledger.entries[0], ledger.entries[-1]
    assert first.answered_s is not None
    assert last.sent_s is not None
    assert first.answered_s > last.sent_s  # all were under way before any was answered


async def test_faults_are_told_apart_and_only_a_missing_answer_is_lost() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        number = int(request.headers["x-request-id"][2:])
        if number == 1:
            return web.json_response({"error": {}}, status=503, headers={"Retry-After": "1"})
        if number == 2:
            return web.json_response({"choices": [{"text": ""}]})
        if number == 3:  # streamed: ends with an error event
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b'data: {"choices":[{"text":"a"}]}\n\ndata: {"error":{"message":"died"}}\n\n')
            return response
        if number == 4:
            return web.Response(text="<html>")
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serving(handler) as url:
        ledger = await replay([row(i, 0.0) for i in range(1, 6)], url, RunClock(), 0.0)
    assert [e.error for e in ledger.entries[:4]] == [
        "status 503",
        "empty text",
        "error in the stream",
        "not an answer: JSONDecodeError",
    ]
    assert ledger.entries[4].error.startswith("no answer: ")
    assert (ledger.sent, ledger.answered, ledger.ok, ledger.lost) == (5, 4, 0, 1)


async def test_a_gateway_that_is_not_there_loses_prompts_honestly() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ledger = await replay([row(1, 0.0)], f"http://127.0.0.1:{probe.getsockname()[1]}", RunClock(), 0.0)
    assert (ledger.sent, ledger.lost) == (1, 1)


async def test_stopping_ends_the_sending_and_waits_for_what_is_under_way() -> None:
    stop = asyncio.Event()
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        stop.set()
        await release.wait()
        return await answer(request)

    async with serving(handler) as url:
        running = asyncio.create_task(replay([row(1, 0.0), row(2, 3600.0)], url, RunClock(), 0.0, stop=stop))
        await asyncio.wait_for(stop.wait(), 20)
        release.set()
        ledger = await asyncio.wait_for(running, 20)
    assert ledger.stopped
    assert (ledger.sent, ledger.answered, ledger.lost) == (1, 1, 0)
    assert ledger.entries[1].sent_s is None


async def test_waiting_for_answers_is_bounded() -> None:
    never = asyncio.Event()

    async def handler(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    async with serving(handler) as url:
        ledger = await asyncio.wait_for(replay([row(1, 0.0)], url, RunClock(), 0.0, grace_s=0.2), 20)
        never.set()
    assert (ledger.sent, ledger.lost) == (1, 1)
    assert ledger.entries[0].error == "no answer when the replay ended"


async def test_a_cancelled_replay_leaves_no_task_behind() -> None:
    begun = asyncio.Event()
    never = asyncio.Event()

    async def handler(_request: web.Request) -> web.StreamResponse:
        begun.set()
        await never.wait()
        return web.Response()

    async with serving(handler) as url:
        run = Replay([row(1, 0.0), row(2, 3600.0)], url, RunClock(), 0.0)
        running = asyncio.create_task(run.run(60.0, None))
        await asyncio.wait_for(begun.wait(), 20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert run.progress().in_flight == 0
        assert run.ledger().lost == 1
        never.set()
