"""The node's Prometheus metrics: states are read when scraped, times are counted as they happen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgewise.domain.cluster import NodeSpec, ReplicaState
from serving.node.view import ReplicaView

SERVICE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0)
LOAD_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
LEAST_S = 1e-4  # shorter times are not told apart
MOST_LOG = math.log(64.0)  # one odd prompt says no more than this


class NodeMetrics:
    """`states` and `memory_used_gib` are asked at each scrape."""

    def __init__(
        self,
        spec: NodeSpec,
        states: Callable[[], Sequence[ReplicaView]],
        memory_used_gib: Callable[[], float],
    ) -> None:
        self._node = spec.id
        self._registry = CollectorRegistry()
        self._registry.register(_States(spec, states, memory_used_gib))
        labels = ("node", "model")
        self._service = Histogram(
            "edgewise_service_seconds",
            "Compute seconds of one prompt, waiting for other models left out.",
            labels,
            buckets=SERVICE_BUCKETS_S,
            registry=self._registry,
        )
        # Against what the catalogue says of prompts of their sizes: ln(seen / expected), as counters that only grow.
        self._expected = Counter(
            "edgewise_service_expected_seconds",
            "Seconds this node should have taken for the prompts in edgewise_service_seconds.",
            labels,
            registry=self._registry,
        )
        self._slower = Counter(
            "edgewise_service_slower_log", "Sum of ln(seen / expected) where > 0.", labels, registry=self._registry
        )
        self._faster = Counter(
            "edgewise_service_faster_log", "Sum of ln(expected / seen) where > 0.", labels, registry=self._registry
        )
        self._square = Counter(
            "edgewise_service_square_log", "Sum of ln(seen / expected)².", labels, registry=self._registry
        )
        self._load = Histogram(
            "edgewise_replica_load_seconds",
            "Seconds from the load command to ready, warm-up included.",
            labels,
            buckets=LOAD_BUCKETS_S,
            registry=self._registry,
        )

    def served(self, model: str, service_s: float, expected_s: float) -> None:
        """expected_s: what the catalogue says of the prompt's size, at this node's speed."""
        names = (self._node, model)
        self._service.labels(*names).observe(service_s)
        self._expected.labels(*names).inc(expected_s)
        ratio = math.log(max(service_s, LEAST_S) / max(expected_s, LEAST_S))
        ratio = min(MOST_LOG, max(-MOST_LOG, ratio))
        self._slower.labels(*names).inc(max(0.0, ratio))
        self._faster.labels(*names).inc(max(0.0, -ratio))
        self._square.labels(*names).inc(ratio * ratio)

    def loaded(self, model: str, load_s: float) -> None:
        self._load.labels(self._node, model).observe(load_s)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)


class _States(Collector):
    def __init__(
        self,
        spec: NodeSpec,
        states: Callable[[], Sequence[ReplicaView]],
        memory_used_gib: Callable[[], float],
    ) -> None:
        self._spec = spec
        self._states = states
        self._memory_used_gib = memory_used_gib

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        labels = ["node", "model"]
        node = self._spec.id
        state = GaugeMetricFamily("edgewise_replica_state", "1 for the state it is in.", labels=[*labels, "state"])
        queued = GaugeMetricFamily("edgewise_replica_queued", "Prompts waiting at the replica.", labels=labels)
        flight = GaugeMetricFamily("edgewise_replica_in_flight", "Prompts being served.", labels=labels)
        work = GaugeMetricFamily(
            "edgewise_replica_work_seconds", "Expected service left there, seconds at speed 1.", labels=labels
        )
        served = CounterMetricFamily("edgewise_replica_served", "Prompts served by this replica.", labels=labels)
        for r in self._states():
            for s in ReplicaState:
                state.add_metric([node, r.model, s.value], float(r.state is s))
            queued.add_metric([node, r.model], r.queued)
            flight.add_metric([node, r.model], r.in_flight)
            work.add_metric([node, r.model], r.work_s)
            served.add_metric([node, r.model], r.served)
        budget = GaugeMetricFamily("edgewise_node_memory_budget_gib", "What admission may give out.", labels=["node"])
        budget.add_metric([node], self._spec.memory_gib)
        used = GaugeMetricFamily("edgewise_node_memory_used_gib", "What admission has given out.", labels=["node"])
        used.add_metric([node], self._memory_used_gib())
        return [state, queued, flight, work, served, budget, used]
