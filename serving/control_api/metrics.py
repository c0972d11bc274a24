"""The controller's /metrics: decisions by rung, language-model calls and their cost, approvals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class AgentUse:
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Account:
    """Since the controller began. rungs: decisions by rung. calls: by (agent, outcome). agents: what each used.
    ladder: by step (repaired, reasked, fallback, skipped, tool). approvals: requests by state. rests: whether the
    language model is not asked because of its lift or its budget; rested: how often that began."""

    rungs: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[tuple[str, str], int] = field(default_factory=dict)
    agents: Mapping[str, AgentUse] = field(default_factory=dict)
    ladder: Mapping[str, int] = field(default_factory=dict)
    approvals: Mapping[str, int] = field(default_factory=dict)
    rests: bool = False
    rested: int = 0


def add_route(routes: APIRouter, account: Callable[[], Account]) -> APIRouter:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(account))

    @routes.get("/metrics", include_in_schema=False)
    async def get_metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes


class _Families(Collector):
    """Reads the account when it is scraped."""

    def __init__(self, account: Callable[[], Account]) -> None:
        self._account = account

    def collect(self) -> Iterator[Metric]:
        now = self._account()
        yield _counter("edgewise_decision_rung", "Decisions by the rung their plan came from.", "rung", now.rungs)
        calls = CounterMetricFamily(
            "edgewise_llm_calls", "Language-model calls: answered or failed.", labels=["agent", "outcome"]
        )
        for labels, count in sorted(now.calls.items()):
            calls.add_metric(labels, count)
        yield calls
        used = now.agents
        yield _counter(
            "edgewise_llm_tokens", "Tokens sent and answered.", "agent", {a: u.tokens for a, u in used.items()}
        )
        yield _counter(
            "edgewise_llm_seconds", "Time waited for answers, s.", "agent", {a: u.seconds for a, u in used.items()}
        )
        yield _counter("edgewise_llm_cost", "Cost by the prices set.", "agent", {a: u.cost for a, u in used.items()})
        yield _counter("edgewise_llm_ladder", "Steps of the ladder beside plain answers.", "step", now.ladder)
        yield CounterMetricFamily("edgewise_llm_demotions", "Times it was sent to rest.", value=now.rested)
        yield GaugeMetricFamily(
            "edgewise_llm_rests", "1 while it is not asked (lift, budget).", value=float(now.rests)
        )
        approvals = GaugeMetricFamily("edgewise_approvals", "Approvals asked for, by state.", labels=["state"])
        for state, count in sorted(now.approvals.items()):
            approvals.add_metric([state], count)
        yield approvals


def _counter(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
