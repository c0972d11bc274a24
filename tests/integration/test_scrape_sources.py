"""ScrapeTelemetry with sources that lie, hang, move, or go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from edgewise.domain.errors import TelemetryUnavailable
from tests.support.metrics_exporter import Exporter
from tools.clock import RunClock
from tools.metrics_text import QUEUED
from tools.scrape import ScrapeTelemetry


@pytest_asyncio.fixture
async def exporter() -> AsyncIterator[Exporter]:
    exporter = Exporter()
    await exporter.start()
    yield exporter
    await exporter.stop()


@pytest_asyncio.fixture
async def hanging() -> AsyncIterator[str]:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60.0)
        return web.Response()

    app = web.Application()
    app.router.add_get("/metrics", hang)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_garbage_is_noted_and_hides_nothing(exporter: Exporter) -> None:
    exporter.metrics["n1"].queued.labels("n1", "m").set(3)
    exporter.extra["n1"] = f'{QUEUED}{{node="n1",model="x"}} NaN\n{QUEUED}{{node= 7\n'.encode()
    exporter.extra["n2"] = b"\xff\xfe not text"
    telemetry = ScrapeTelemetry(lambda: exporter.urls, RunClock(), 5.0, 60.0)
    try:
        facts = await telemetry.read()
        assert [(x.node, x.model, x.queued) for x in facts.loads] == [("n1", "m", 3)]
        notes = telemetry.notes()
        assert notes["n1"] == "2 lines could not be read"
        assert "n2" in notes
        assert "gateway" not in notes
        exporter.extra.clear()
        await telemetry.scrape_once()
        assert telemetry.notes() == {}
    finally:
        await telemetry.aclose()


async def test_a_source_that_hangs_delays_the_others_no_longer_than_its_bound(
    exporter: Exporter, hanging: str
) -> None:
    exporter.metrics["n1"].queued.labels("n1", "m").set(3)
    sources = {"n1": exporter.urls["n1"], "n2": hanging}
    telemetry = ScrapeTelemetry(lambda: sources, RunClock(), 5.0, 60.0, timeout_s=0.5)
    try:
        begun = time.monotonic()
        facts = await telemetry.read()
        assert time.monotonic() - begun < 20.0
        assert len(facts.loads) == 1
        assert "n2" in telemetry.notes()
    finally:
        await telemetry.aclose()


async def test_a_node_that_moved_is_the_same_source_and_one_that_left_is_forgotten(exporter: Exporter) -> None:
    exporter.metrics["n1"].queued.labels("n1", "m").set(3)
    exporter.metrics["n2"].queued.labels("n1", "m").set(1)
    sources = {"n1": exporter.urls["n1"]}
    telemetry = ScrapeTelemetry(lambda: sources, RunClock(), 5.0, 60.0)
    try:
        assert [x.queued for x in (await telemetry.read()).loads] == [3]
        sources["n1"] = exporter.urls["n2"]
        await telemetry.scrape_once()
        assert [x.queued for x in (await telemetry.read()).loads] == [1]
        sources.clear()
        await telemetry.scrape_once()
        assert (await telemetry.read()).loads == ()
    finally:
        await telemetry.aclose()


async def test_no_source_at_all_is_unavailable_with_the_reason() -> None:
    telemetry = ScrapeTelemetry(lambda: {"n1": "http://127.0.0.1:1"}, RunClock(), 5.0, 60.0)
    try:
        with pytest.raises(TelemetryUnavailable) as raised:
            await telemetry.read()
        assert "n1" in raised.value.hint
    finally:
        await telemetry.aclose()
