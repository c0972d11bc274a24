"""ScrapeTelemetry keeps the contract over real /metrics pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.contract.exporter_world import ExporterWorld
from tests.contract.telemetry_spec import TelemetrySpec
from tests.support.metrics_exporter import Exporter
from tools.clock import RunClock
from tools.scrape import ScrapeTelemetry

# Wide enough that a busy machine gets through a test's events within one window.
WINDOW_S, SCRAPE_S = 3.0, 0.1


class TestScrapeTelemetry(TelemetrySpec):
    @pytest_asyncio.fixture
    async def telemetry_world(self) -> AsyncIterator[ExporterWorld]:
        clock, exporter = RunClock(), Exporter()
        await exporter.start()
        telemetry = ScrapeTelemetry(lambda: exporter.urls, clock, WINDOW_S, SCRAPE_S)
        telemetry.start()

        def unheard() -> ScrapeTelemetry:
            return ScrapeTelemetry(lambda: {"n1": "http://127.0.0.1:1"}, clock, WINDOW_S, SCRAPE_S)

        try:
            yield ExporterWorld(exporter, telemetry, unheard, WINDOW_S, SCRAPE_S)
        finally:
            await telemetry.aclose()
            await exporter.stop()
