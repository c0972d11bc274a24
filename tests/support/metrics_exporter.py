"""/metrics pages as nodes and gateway write them, by prometheus_client, whose counters the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One source's metrics since its process started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.arrived = self._counter("edgewise_prompts_arrived", "access_node", "model")
        self.finished = self._counter("edgewise_prompts_finished", "model", "status")
        self.latency = self._histogram(
            "gen_ai_server_request_duration_seconds", "gen_ai_request_model", "gen_ai_operation_name"
        )
        self.waiting = self._gauge("edgewise_prompts_waiting", "model")
        self.queued = self._gauge("edgewise_replica_queued", "node", "model")
        self.in_flight = self._gauge("edgewise_replica_in_flight", "node", "model")
        self.work = self._gauge("edgewise_replica_work_seconds", "node", "model")
        self.service = self._histogram("edgewise_service_seconds", "node", "model")
        self.expected = self._counter("edgewise_service_expected_seconds", "node", "model")
        self.slower = self._counter("edgewise_service_slower_log", "node", "model")
        self.faster = self._counter("edgewise_service_faster_log", "node", "model")
        self.square = self._counter("edgewise_service_square_log", "node", "model")

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, *labels: str) -> Counter:
        return Counter(name, name, labels, registry=self.registry)

    def _gauge(self, name: str, *labels: str) -> Gauge:
        return Gauge(name, name, labels, registry=self.registry)

    def _histogram(self, name: str, *labels: str) -> Histogram:
        return Histogram(name, name, labels, registry=self.registry, buckets=BUCKETS)


@dataclass
class Exporter:
    """Sources `gateway`, `n1` and `n2`, each on a port of its own, as separate processes have it."""

    metrics: dict[str, Metrics] = field(default_factory=lambda: {n: Metrics() for n in ("gateway", "n1", "n2")})
    silent: set[str] = field(default_factory=set)
    scrapes: dict[str, int] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)  # text appended to a source's page
    urls: dict[str, str] = field(default_factory=dict)
    _runners: list[web.AppRunner] = field(default_factory=list)

    async def start(self) -> None:
        for source in self.metrics:
            app = web.Application()
            app.router.add_get("/metrics", self._answer(source))
            runner = web.AppRunner(app)
            await runner.setup()
            self._runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.urls[source] = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    def restart(self, source: str) -> None:
        """The source's process starts again: everything counts from zero."""
        self.metrics[source] = Metrics()

    def _answer(self, source: str) -> Handler:
        async def answer(_: web.Request) -> web.StreamResponse:
            if source in self.silent:
                raise web.HTTPServiceUnavailable
            self.scrapes[source] = self.scrapes.get(source, 0) + 1
            body = self.metrics[source].page() + self.extra.get(source, b"")
            return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

        return answer
