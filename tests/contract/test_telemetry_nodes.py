"""Both readers of metrics see the same, and what happened, of a real gateway and real node servers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from edgewise.control.ports import Telemetry
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import TelemetryUnavailable
from edgewise.domain.observation import ModelFact, TelemetryFacts
from serving.gateway.config import GatewayConfig, Limits, NodeAddress
from serving.gateway.server import serve_gateway
from tests.contract.cluster_spec import SETTLE_S
from tests.contract.local_world import emptied
from tests.contract.node_world import MODELS, WORLD, NodeWorld, RealNodes, completion
from tests.support.prometheus_server import PrometheusServer, binary
from tools.prometheus import PrometheusTelemetry
from tools.scrape import ScrapeTelemetry

pytestmark = pytest.mark.timeout(300)  # the first test waits for the model libraries
WINDOW_S = 120.0  # nothing leaves it while the test runs, so that both readers count the same


@dataclass
class Scene:
    gateway: str
    sources: dict[str, str]
    session: aiohttp.ClientSession

    def ask(self, seconds: float) -> asyncio.Task[int]:
        return asyncio.create_task(self._ask(seconds))

    async def _ask(self, seconds: float) -> int:
        headers = {"x-edgewise-access-node": "n2"}
        url = f"{self.gateway}/v1/completions"
        async with self.session.post(url, json=completion("small", seconds), headers=headers) as answer:
            await answer.read()
            return answer.status


@pytest_asyncio.fixture
async def scene(real_nodes: RealNodes, tmp_path: Path) -> AsyncIterator[Scene]:
    cluster = real_nodes.cluster()
    addresses = tuple(NodeAddress(node, url) for node, url in cluster.urls().items())
    # Prompts of this test queue for seconds; whether to shed them is not its matter.
    limits = Limits(node_poll_s=0.1, node_dead_after_s=20.0, shedding=False)
    config = GatewayConfig(WORLD, str(tmp_path), real_nodes.clock.origin, addresses, limits)
    async with aiohttp.ClientSession() as session:
        world = NodeWorld(cluster, tuple(real_nodes.handles), MODELS, session)
        await emptied(world)
        await cluster.load("n1", "small")
        await world.settle(lambda f: f.state("n1", "small") is ReplicaState.READY, SETTLE_S)
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        served = asyncio.create_task(serve_gateway(config, stop, ready.set_result))
        try:
            gateway = f"http://127.0.0.1:{await asyncio.wait_for(ready, 60.0)}"
            yield Scene(gateway, {"gateway": gateway, **cluster.urls()}, session)
        finally:
            stop.set()
            await asyncio.wait_for(served, 30.0)
            await cluster.aclose()


@pytest.fixture
def prometheus(scene: Scene, tmp_path: Path) -> Iterator[str]:
    binary()
    server = PrometheusServer(tmp_path, scene.sources, "500ms")
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


@pytest.mark.slow  # on a machine that starves the gateway its scrapes time out, and the window begins anew
async def test_both_readers_see_what_happened(real_nodes: RealNodes, scene: Scene, prometheus: str) -> None:
    scrape = ScrapeTelemetry(lambda: scene.sources, real_nodes.clock, WINDOW_S, 0.2)
    stored = PrometheusTelemetry(prometheus, real_nodes.clock, WINDOW_S)
    async with contextlib.aclosing(scrape), contextlib.aclosing(stored):
        for reader in (scrape, stored):
            await _settle(reader, lambda f: bool(_models(f)) and ("n1", "small") in _work(f))

        answers = [scene.ask(0.5) for _ in range(6)]
        for reader in (scrape, stored):
            await _settle(reader, lambda f: _work(f)[("n1", "small")] > 0)
        assert [await answer for answer in answers] == [200] * 6

        facts = [await _settle(reader, _all_told) for reader in (scrape, stored)]
        for fact in facts:
            (demand,) = (d for d in fact.demand if d.arrivals)
            assert (demand.access_node, demand.model, demand.arrivals) == ("n2", "small", 6)
        one, other = (_models(f)["small"] for f in facts)
        assert one.mean_latency_s is not None
        assert one.mean_service_s is not None
        assert one.mean_latency_s > one.mean_service_s > 0
        assert one.mean_latency_s == pytest.approx(other.mean_latency_s)
        assert one.p95_latency_s == pytest.approx(other.p95_latency_s)
        assert one.mean_service_s == pytest.approx(other.mean_service_s)
        assert (one.failed, one.shed, one.waiting) == (other.failed, other.shed, other.waiting) == (0, 0, 0)


async def _settle(reader: Telemetry, predicate: Callable[[TelemetryFacts], bool]) -> TelemetryFacts:
    end = time.monotonic() + SETTLE_S
    facts: TelemetryFacts | None = None
    while time.monotonic() < end:
        with contextlib.suppress(TelemetryUnavailable):
            facts = await reader.read()
            if predicate(facts):
                return facts
        await asyncio.sleep(0.1)
    raise AssertionError(f"{type(reader).__name__} did not settle: {facts}")


def _all_told(facts: TelemetryFacts) -> bool:
    """Arrivals and outcomes are series of their own, and a reader may see one a scrape before the other."""
    told = _models(facts).get("small")
    arrived = sum(d.arrivals for d in facts.demand)
    return told is not None and told.completed == arrived == 6 and _idle(facts)


def _models(facts: TelemetryFacts) -> dict[str, ModelFact]:
    return {m.model: m for m in facts.models}


def _work(facts: TelemetryFacts) -> dict[tuple[str, str], float]:
    return {(x.node, x.model): x.work_s for x in facts.loads}


def _idle(facts: TelemetryFacts) -> bool:
    return all(x.queued == x.in_flight == 0 for x in facts.loads)
