"""The surroundings the Telemetry spec needs over real /metrics pages, whoever reads them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

from edgewise.control.ports import Telemetry
from edgewise.domain.errors import TelemetryUnavailable
from edgewise.domain.observation import TelemetryFacts
from tests.support.metrics_exporter import Exporter

_ids = itertools.count()


class ExporterWorld:
    """A TelemetryWorld over an Exporter."""

    def __init__(
        self,
        exporter: Exporter,
        telemetry: Telemetry,
        unheard: Callable[[], Telemetry],
        window_s: float,
        period_s: float,
    ) -> None:
        self.exporter = exporter
        self.telemetry = telemetry
        self.unheard = unheard
        self.window_s = window_s
        self.period_s = period_s
        self.model = f"model/{next(_ids)}"

    def arrive(self, access_node: str, model: str, count: int = 1) -> None:
        self.exporter.metrics["gateway"].arrived.labels(access_node, model).inc(count)

    def finish(self, model: str, latency_s: float, status: str = "completed", count: int = 1) -> None:
        gateway = self.exporter.metrics["gateway"]
        gateway.finished.labels(model, status).inc(count)
        if status == "completed":
            for _ in range(count):
                gateway.latency.labels(model, "text_completion").observe(latency_s)

    def serve(self, node: str, model: str, service_s: float, count: int = 1) -> None:
        for _ in range(count):
            self.exporter.metrics[node].service.labels(node, model).observe(service_s)

    def set_load(self, node: str, model: str, queued: int, in_flight: int, work_s: float) -> None:
        metrics = self.exporter.metrics[node]
        metrics.queued.labels(node, model).set(queued)
        metrics.in_flight.labels(node, model).set(in_flight)
        metrics.work.labels(node, model).set(work_s)

    def set_waiting(self, model: str, count: int) -> None:
        self.exporter.metrics["gateway"].waiting.labels(model).set(count)

    def restart_gateway(self) -> None:
        self.exporter.restart("gateway")

    def silence(self, silent: bool) -> None:
        self.exporter.silent = set(self.exporter.metrics) if silent else set()

    async def seen(self) -> None:
        # A page may have been written just before; the second one after now was certainly written after now, and
        # a third means that the reader is done with the second.
        before = dict(self.exporter.scrapes)
        end = time.monotonic() + 30.0
        while any(self.exporter.scrapes.get(s, 0) < before.get(s, 0) + 3 for s in self.exporter.metrics):
            assert time.monotonic() < end, "the sources are not being read"
            await asyncio.sleep(0.02)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def settle(self, predicate: Callable[[TelemetryFacts], bool], timeout_s: float) -> TelemetryFacts:
        end = time.monotonic() + timeout_s
        facts: TelemetryFacts | None = None
        while time.monotonic() < end:
            try:
                facts = await self.telemetry.read()
            except TelemetryUnavailable:
                facts = None
            if facts is not None and predicate(facts):
                return facts
            await asyncio.sleep(0.05)
        raise AssertionError(f"telemetry did not settle within {timeout_s} s: {facts}")
