"""The one spec of ports.Telemetry. An implementation subclasses TelemetrySpec and provides `telemetry_world`.

Sources are a `gateway` and the nodes `n1` and `n2`. Each test uses a model id of its own, so that one set of real
servers may serve all tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from edgewise.control.ports import Telemetry
from edgewise.domain.errors import TelemetryUnavailable
from edgewise.domain.observation import DemandFact, ModelFact, ReplicaLoad, TelemetryFacts

SETTLE_S = 30.0


class TelemetryWorld(Protocol):
    """What happens, and how to look at it. `window_s` is the reader's window; `model` an id no other test uses;
    `period_s` how often a source is read."""

    telemetry: Telemetry
    window_s: float
    period_s: float
    model: str

    def arrive(self, access_node: str, model: str, count: int = 1) -> None: ...

    def finish(self, model: str, latency_s: float, status: str = "completed", count: int = 1) -> None:
        """Prompts that ended; only completed ones enter the latency."""
        ...

    def serve(self, node: str, model: str, service_s: float, count: int = 1) -> None: ...

    def set_load(self, node: str, model: str, queued: int, in_flight: int, work_s: float) -> None: ...

    def set_waiting(self, model: str, count: int) -> None: ...

    def restart_gateway(self) -> None:
        """The gateway's counters start from zero again."""
        ...

    def silence(self, silent: bool) -> None:
        """All sources fall silent, or answer again."""
        ...

    async def seen(self) -> None:
        """Returns once every source was read after this call began."""
        ...

    async def wait(self, seconds: float) -> None: ...

    async def settle(self, predicate: Callable[[TelemetryFacts], bool], timeout_s: float) -> TelemetryFacts:
        """Reads until the predicate holds and returns those facts; fails the test after `timeout_s`."""
        ...

    def unheard(self) -> Telemetry:
        """A reader none of whose sources ever answered; the caller closes it."""
        ...


class TelemetrySpec:
    async def test_arrivals_are_counted_by_access_node_and_model(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        await world.seen()
        world.arrive("n1", model, 5)
        world.arrive("n2", model, 3)
        facts = await world.settle(lambda f: _arrivals(f, model) == {"n1": 5, "n2": 3}, SETTLE_S)
        for fact in _demand(facts, model):
            assert 0 < fact.window_s <= world.window_s + 4 * world.period_s
            assert fact.rate_per_s == pytest.approx(fact.arrivals / fact.window_s)
        assert _fact(facts, model).completed == 0
        assert _fact(facts, model).mean_latency_s is None

    async def test_outcomes_and_latencies(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        await world.seen()
        world.finish(model, 0.75, count=18)
        world.finish(model, 7.5, count=2)
        world.finish(model, 9.0, status="failed", count=2)
        world.finish(model, 9.0, status="shed", count=3)
        facts = await world.settle(lambda f: _known(f, model) and _fact(f, model).completed == 20, SETTLE_S)
        fact = _fact(facts, model)
        assert (fact.failed, fact.shed) == (2, 3)
        assert fact.mean_latency_s == pytest.approx((18 * 0.75 + 2 * 7.5) / 20)
        # Readers of histograms know only the bucket, 5 to 10 s.
        assert fact.p95_latency_s is not None
        assert 5.0 <= fact.p95_latency_s <= 10.0

    async def test_service_times_are_averaged_over_all_nodes(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        await world.seen()
        world.arrive("n1", model)
        world.serve("n1", model, 1.0, count=3)
        world.serve("n2", model, 5.0, count=1)
        facts = await world.settle(
            lambda f: _known(f, model) and _fact(f, model).mean_service_s == pytest.approx(2.0), SETTLE_S
        )
        assert _fact(facts, model).mean_latency_s is None

    async def test_loads_and_waiting_are_as_last_seen(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        world.set_load("n1", model, 4, 2, 12.5)
        world.set_load("n2", model, 0, 1, 0.5)
        world.set_waiting(model, 7)
        facts = await world.settle(lambda f: len(_loads(f, model)) == 2 and _waits(f, model) == 7, SETTLE_S)
        loads = _loads(facts, model)
        assert (loads["n1"].queued, loads["n1"].in_flight, loads["n1"].work_s) == (4, 2, 12.5)
        assert (loads["n2"].queued, loads["n2"].in_flight, loads["n2"].work_s) == (0, 1, 0.5)
        world.set_load("n1", model, 0, 0, 0.0)
        world.set_waiting(model, 0)
        await world.settle(lambda f: _loads(f, model)["n1"].work_s == 0 and _waits(f, model) == 0, SETTLE_S)

    async def test_what_is_older_than_the_window_is_forgotten(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        await world.seen()
        world.arrive("n1", model, 5)
        world.finish(model, 0.75, count=4)
        world.serve("n1", model, 1.0, count=4)
        await world.settle(lambda f: _arrivals(f, model) == {"n1": 5}, SETTLE_S)
        await world.wait(world.window_s)
        facts = await world.settle(
            lambda f: sum(_arrivals(f, model).values()) == 0 and _fact(f, model).completed == 0, SETTLE_S
        )
        fact = _fact(facts, model)
        assert (fact.mean_latency_s, fact.p95_latency_s) == (None, None)
        await world.settle(lambda f: _fact(f, model).mean_service_s is None, SETTLE_S)

    async def test_a_restart_of_the_gateway_loses_and_invents_nothing(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        await world.seen()
        world.arrive("n1", model, 5)
        world.finish(model, 0.75, count=5)
        await world.seen()
        world.restart_gateway()
        world.arrive("n1", model, 2)
        world.finish(model, 0.75, count=2)
        facts = await world.settle(lambda f: _arrivals(f, model) == {"n1": 7}, SETTLE_S)
        assert _fact(facts, model).completed == 7
        assert _fact(facts, model).mean_latency_s == pytest.approx(0.75)

    async def test_silent_sources_keep_their_figures_which_age(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        await world.seen()
        world.arrive("n1", model, 5)
        world.set_load("n1", model, 1, 1, 2.0)
        await world.settle(lambda f: _arrivals(f, model) == {"n1": 5} and "n1" in _loads(f, model), SETTLE_S)
        world.silence(True)
        try:
            await world.wait(world.window_s)
            facts = await world.settle(lambda f: _oldest(f, model) > world.window_s, SETTLE_S)
            assert _arrivals(facts, model) == {"n1": 5}
            assert _loads(facts, model)["n1"].work_s == 2.0
            assert _loads(facts, model)["n1"].age_s > world.window_s / 2
            assert _fact(facts, model).age_s > world.window_s / 2
        finally:
            world.silence(False)
        await world.settle(lambda f: _oldest(f, model) < world.window_s, SETTLE_S)

    async def test_ages_are_those_of_the_last_reading(self, telemetry_world: TelemetryWorld) -> None:
        world, model = telemetry_world, telemetry_world.model
        world.arrive("n1", model)
        world.set_load("n1", model, 0, 0, 0.0)
        facts = await world.settle(lambda f: _known(f, model) and "n1" in _loads(f, model), SETTLE_S)
        assert 0.0 <= _oldest(facts, model) < SETTLE_S
        await world.wait(world.period_s)
        assert (await world.telemetry.read()).at_s > facts.at_s

    async def test_unavailable_only_when_nothing_was_ever_read(self, telemetry_world: TelemetryWorld) -> None:
        telemetry = telemetry_world.unheard()
        try:
            with pytest.raises(TelemetryUnavailable):
                await telemetry.read()
        finally:
            await telemetry.aclose()


def _demand(facts: TelemetryFacts, model: str) -> list[DemandFact]:
    return [d for d in facts.demand if d.model == model]


def _arrivals(facts: TelemetryFacts, model: str) -> dict[str, int]:
    return {d.access_node: d.arrivals for d in _demand(facts, model)}


def _known(facts: TelemetryFacts, model: str) -> bool:
    return any(m.model == model for m in facts.models)


def _fact(facts: TelemetryFacts, model: str) -> ModelFact:
    return next(m for m in facts.models if m.model == model)


def _waits(facts: TelemetryFacts, model: str) -> int | None:
    return _fact(facts, model).waiting if _known(facts, model) else None


def _loads(facts: TelemetryFacts, model: str) -> dict[str, ReplicaLoad]:
    return {x.node: x for x in facts.loads if x.model == model}


def _oldest(facts: TelemetryFacts, model: str) -> float:
    ages = [d.age_s for d in _demand(facts, model)] + [x.age_s for x in _loads(facts, model).values()]
    return max(ages)
