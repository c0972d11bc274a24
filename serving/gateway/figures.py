"""Counts and latencies of the gateway: Prometheus series, and the `models` part of its state answer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edgewise.domain.measures import quantile
from edgewise.domain.records import PromptStatus
from edgewise.domain.world import World
from serving.gateway.prompt import Prompt
from serving.gateway.state import GatewayState

# 10 ms to 10 min: from a tiny model on an idle node to an image under overload.
_LATENCY_BUCKETS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2,
    3,
    5,
    7.5,
    10,
    15,
    20,
    30,
    45,
    60,
    90,
    120,
    180,
    300,
    600,
)
_DISPATCH_BUCKETS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2)
_KEPT = 10_000  # newest latencies per model behind the p95 of the state answer


@dataclass(slots=True)
class _ModelCounts:
    arrived: int = 0
    ended: dict[PromptStatus, int] = field(default_factory=lambda: dict.fromkeys(PromptStatus, 0))
    total_latency_s: float = 0.0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Figures:
    """All since the start. Latency figures are of completed prompts."""

    def __init__(self, world: World) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.arrived = Counter("edgewise_prompts_arrived", "Prompts accepted.", ["access_node", "model"], registry=r)
        self.finished = Counter("edgewise_prompts_finished", "Prompts ended.", ["model", "status"], registry=r)
        self.duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Latency of completed prompts, arrival to last byte, s.",
            ["gen_ai_request_model", "gen_ai_operation_name"],
            buckets=_LATENCY_BUCKETS,
            registry=r,
        )
        self.waiting = Gauge("edgewise_prompts_waiting", "Prompts held: no replica ready.", ["model"], registry=r)
        self.in_flight = Gauge("edgewise_prompts_in_flight", "Prompts at nodes.", ["node", "model"], registry=r)
        self.dispatch = Histogram(
            "edgewise_dispatch_seconds", "Time of one dispatch decision, s.", buckets=_DISPATCH_BUCKETS, registry=r
        )
        self.expired = Gauge(
            "edgewise_route_lease_expired", "1 while routing by a plan whose lease has run out.", registry=r
        )
        self.models = {m.id: _ModelCounts() for m in world.models}

    def arrive(self, prompt: Prompt) -> None:
        self.models[prompt.spec.id].arrived += 1
        self.arrived.labels(prompt.access_id, prompt.spec.id).inc()

    def end(self, prompt: Prompt, latency_s: float) -> None:
        counts = self.models[prompt.spec.id]
        counts.ended[prompt.status] += 1
        self.finished.labels(prompt.spec.id, prompt.status.value).inc()
        if prompt.status is PromptStatus.COMPLETED:
            counts.total_latency_s += latency_s
            counts.latencies_s.append(latency_s)
            self.duration.labels(prompt.spec.id, prompt.operation).observe(latency_s)

    def per_model(self) -> dict[str, dict[str, float | int | None]]:
        """The state answer's `models`; latencies are None before the first completed prompt."""
        return {model: _plain(counts) for model, counts in self.models.items()}

    def exposition(self, state: GatewayState, now_s: float) -> bytes:
        """The /metrics text; gauges are read off the state here, not kept up to date on the hot path."""
        fleet = state.fleet
        for m, model in enumerate(state.world.models):
            self.waiting.labels(model.id).set(len(state.held[m]))
            for n, node in enumerate(state.world.nodes):
                self.in_flight.labels(node.id, model.id).set(int(fleet.open_count[n, m]))
        self.expired.set(float(state.lease_expired(now_s)))
        return generate_latest(self.registry)


def _plain(counts: _ModelCounts) -> dict[str, float | int | None]:
    completed = counts.ended[PromptStatus.COMPLETED]
    return {
        "arrived": counts.arrived,
        "completed": completed,
        "failed": counts.ended[PromptStatus.FAILED],
        "shed": counts.ended[PromptStatus.SHED],
        "cancelled": counts.ended[PromptStatus.CANCELLED],
        "mean_latency_s": counts.total_latency_s / completed if completed else None,
        "p95_latency_s": quantile(sorted(counts.latencies_s), 0.95),
    }
