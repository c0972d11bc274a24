"""PrometheusTelemetry keeps the contract over a real Prometheus server that scrapes real /metrics pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from edgewise.control.ports import MetricQuery
from edgewise.domain.errors import BadInput, TelemetryUnavailable
from tests.contract.exporter_world import ExporterWorld
from tests.contract.telemetry_spec import TelemetrySpec
from tests.support.metrics_exporter import Exporter
from tests.support.prometheus_server import PrometheusServer, binary, exporter_in_thread
from tools.clock import RunClock
from tools.prometheus import PrometheusTelemetry

# Wide enough that a busy machine gets through a test's events within one window.
WINDOW_S, SCRAPE_S = 6.0, 0.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exporter, str]]:
    binary()
    with exporter_in_thread() as exporter:
        prometheus = PrometheusServer(tmp_path_factory.mktemp("prometheus"), exporter.urls, "500ms")
        try:
            prometheus.start()
            yield exporter, prometheus.url
        finally:
            prometheus.stop()


class TestPrometheusTelemetry(TelemetrySpec):
    @pytest_asyncio.fixture
    async def telemetry_world(self, server: tuple[Exporter, str]) -> AsyncIterator[ExporterWorld]:
        exporter, url = server
        clock = RunClock()
        telemetry = PrometheusTelemetry(url, clock, WINDOW_S)

        def unheard() -> PrometheusTelemetry:
            return PrometheusTelemetry("http://127.0.0.1:1", clock, WINDOW_S, timeout_s=1.0)

        yield ExporterWorld(exporter, telemetry, unheard, WINDOW_S, SCRAPE_S)
        await telemetry.aclose()


async def test_promql_is_answered(server: tuple[Exporter, str]) -> None:
    telemetry = PrometheusTelemetry(server[1], RunClock(), WINDOW_S)
    assert isinstance(telemetry, MetricQuery)
    try:
        (two,) = await telemetry.query("vector(1 + 1)")
        assert (two.labels, two.value) == ((), 2.0)
        assert all(dict(s.labels)["__name__"] == "up" for s in await telemetry.query("up"))
        with pytest.raises(BadInput, match="not taken"):
            await telemetry.query("sum(")
    finally:
        await telemetry.aclose()
    gone = PrometheusTelemetry("http://127.0.0.1:9", RunClock(), WINDOW_S)
    with pytest.raises(TelemetryUnavailable):
        await gone.query("up")
    await gone.aclose()
