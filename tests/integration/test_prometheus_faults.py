"""PrometheusTelemetry when the server is gone, hangs, or answers what no Prometheus says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import web

from edgewise.domain.errors import TelemetryUnavailable
from tools.clock import RunClock
from tools.metrics_text import ARRIVED, QUEUED
from tools.prometheus import PrometheusTelemetry


@dataclass
class Answers:
    """A server that answers every query with `body`, or with `status`; it hangs while `hang` is True."""

    url: str = ""
    status: int = 200
    body: object = None
    text: str | None = None
    hang: bool = False
    queries: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.queries += 1
        assert "__name__" in request.query["query"]
        if self.hang:
            await asyncio.sleep(60.0)
        if self.text is not None:
            return web.Response(text=self.text, status=self.status)
        return web.json_response(self.body, status=self.status)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Answers]:
    answers = Answers()
    app = web.Application()
    app.router.add_route("*", "/api/v1/query", answers.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield answers
    await runner.cleanup()


def _matrix(now_s: float) -> object:
    target = {"instance": "127.0.0.1:9", "job": "edgewise"}
    arrived = {"__name__": ARRIVED, "access_node": "n1", "model": "m", **target}
    queued = {"__name__": QUEUED, "node": "pod-7", "exported_node": "n1", "model": "m", **target}
    up = {"__name__": "up", **target}
    return {
        "status": "success",
        "data": {
            "resultType": "matrix",
            "result": [
                {"metric": up, "values": [[now_s - 3, "1"], [now_s - 2, "1"], [now_s - 1, "0"]]},
                {"metric": arrived, "values": [[now_s - 3, "5"], [now_s - 2, "9"]]},
                {"metric": queued, "values": [[now_s - 3, "NaN"], [now_s - 2, "2"]]},
            ],
        },
    }


async def test_samples_become_figures_and_outlive_the_server(server: Answers) -> None:
    telemetry = PrometheusTelemetry(server.url, RunClock(), 20.0, timeout_s=1.0, selector='job="edgewise"')
    try:
        server.body = _matrix(time.time())
        facts = await telemetry.read()
        (demand,) = facts.demand
        assert (demand.access_node, demand.arrivals) == ("n1", 4)
        assert demand.window_s == pytest.approx(1.0)
        assert [(x.node, x.queued) for x in facts.loads] == [("n1", 2)]
        assert facts.loads[0].age_s >= 2.0
        assert telemetry.notes() == {}
        server.status, server.text = 500, "out of memory"
        later = await telemetry.read()
        assert later.demand[0].arrivals == 4
        assert later.demand[0].age_s >= facts.demand[0].age_s
        assert "500" in telemetry.notes()["prometheus"]
    finally:
        await telemetry.aclose()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, "<html>a login page</html>"),
        (200, "[]"),
        (200, '{"data": {"result": [{"metric": {}, "values": []}]}}'),
        (200, '{"data": {"result": [{"metric": {"__name__": "up"}, "values": [["x", "y"]]}]}}'),
        (200, '{"data": {"result": [7]}}'),
        (200, '{"data": null}'),
        (200, '{"data": {"result": []}}'),
        (400, "parse error"),
        (401, ""),
        (503, ""),
    ],
)
async def test_what_is_no_answer_is_unavailable(server: Answers, status: int, text: str) -> None:
    server.status, server.text = status, text
    telemetry = PrometheusTelemetry(server.url, RunClock(), 20.0)
    try:
        with pytest.raises(TelemetryUnavailable) as raised:
            await telemetry.read()
        assert raised.value.where == server.url
        assert raised.value.hint
    finally:
        await telemetry.aclose()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "ftp://127.0.0.1/"])
async def test_an_address_without_a_server_is_unavailable(url: str) -> None:
    telemetry = PrometheusTelemetry(url, RunClock(), 20.0, timeout_s=1.0)
    try:
        with pytest.raises(TelemetryUnavailable):
            await telemetry.read()
    finally:
        await telemetry.aclose()


async def test_a_server_that_hangs_is_waited_for_no_longer_than_its_bound(server: Answers) -> None:
    server.hang = True
    telemetry = PrometheusTelemetry(server.url, RunClock(), 20.0, timeout_s=0.5)
    try:
        begun = time.monotonic()
        with pytest.raises(TelemetryUnavailable):
            await telemetry.read()
        assert time.monotonic() - begun < 20.0
    finally:
        await telemetry.aclose()
