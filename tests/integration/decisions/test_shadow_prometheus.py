"""A Prometheus as the source: its targets become endpoints, each with its own reader; by GET only."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from edgewise.domain.errors import BadInput
from tests.support.foreign_servers import BUCKETS, Fake, Vllm, serving
from tests.support.prometheus_server import PrometheusServer, binary
from tools.foreign.prometheus import PrometheusLook
from tools.foreign.records import What
from tools.foreign.systems import Kind
from tools.metrics_text import parse_page


def vector(targets: dict[str, str]) -> str:
    """What /api/v1/query answers when these targets (instance → page) were scraped."""
    rows = []
    for instance, text in targets.items():
        names = frozenset(line.partition("{")[0] for line in text.splitlines() if not line.startswith("#"))
        for (name, labels), value in parse_page(text, names).values.items():
            metric = {"__name__": name, "instance": instance, "job": "serving", **dict(labels)}
            rows.append({"metric": metric, "value": [1767258000.5, f"{value:g}"]})
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}})


async def test_each_target_is_read_as_what_it_is() -> None:
    one, two = Vllm("m-one", running=1), Vllm("m-two")
    one.ends(0.5)
    node = "# x\n" + "\n".join((
        'edgewise_node_memory_budget_gib{exported_node="edge-1",node="host"} 6',
        'edgewise_replica_in_flight{exported_node="edge-1",node="host",model="gpt2"} 2',
    ))  # fmt: skip
    targets = {"a:8000": one.page(), "b:8000": two.page(), "c:8800": node}
    async with serving(Fake({"/api/v1/query": lambda: vector(targets)})) as fake:
        look = PrometheusLook("prom", fake.url, 2.0)
        await look.find()
        found = await look.read()
    assert look.kinds == {"a:8000": Kind.VLLM, "b:8000": Kind.VLLM, "c:8800": Kind.EDGEWISE_NODE}
    assert look.names == ("a:8000", "b:8000", "c:8800")
    assert {c.value for c in found["a:8000"].counts if c.what is What.LATENCY_S} == {0.5}
    assert [(m.node, m.memory_gib) for m in found["c:8800"].memory] == [("edge-1", 6.0)]
    assert [(b.node, b.model, b.running) for b in found["c:8800"].busy] == [("edge-1", "gpt2", 2.0)]
    assert {method for method, _ in fake.asked} == {"GET"}


async def test_one_without_such_series_is_refused() -> None:
    async with serving(Fake({"/api/v1/query": lambda: vector({})})) as fake:
        with pytest.raises(BadInput, match="no series of") as caught:
            await PrometheusLook("prom", fake.url, 2.0).find()
    assert "scrape" in caught.value.hint


async def test_what_is_no_prometheus_is_refused() -> None:
    async with serving(Fake({})) as fake:
        with pytest.raises(BadInput, match="no answer to a query"):
            await PrometheusLook("prom", fake.url, 2.0).find()


async def test_a_real_prometheus_shows_what_it_scraped(tmp_path: Path) -> None:
    binary()
    it = Vllm("m")
    it.ends(0.5)
    async with serving(it.fake()) as fake:
        server = PrometheusServer(tmp_path, {"it": fake.url}, "1s")
        try:
            await asyncio.to_thread(server.start)
            look = PrometheusLook("prom", server.url, 5.0)
            name = fake.url.removeprefix("http://")
            for _ in range(60):
                with contextlib.suppress(BadInput):  # not scraped yet
                    await look.find()
                    break
                await asyncio.sleep(0.5)
            assert look.kinds == {name: Kind.VLLM}
            it.ends(1.5)
            for _ in range(60):
                reading = (await look.read())[name]
                if sum(c.value for c in reading.counts if c.what is What.FINISHED) == 2:
                    break
                await asyncio.sleep(0.5)
            assert sum(c.value for c in reading.counts if c.what is What.LATENCY_S) == pytest.approx(2.0)
            assert {c.le for c in reading.counts if c.what is What.LATENCY_BUCKET} == set(BUCKETS)
        finally:
            server.stop()
