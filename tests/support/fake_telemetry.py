"""In-memory telemetry: the test says what happened, `read` gives the windowed figures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgewise.domain.errors import TelemetryUnavailable
from edgewise.domain.measures import mean, quantile
from edgewise.domain.observation import DemandFact, ModelFact, ReplicaLoad, TelemetryFacts
from tests.support.fake_clock import FakeClock
from tests.support.fake_cluster import FakeCluster


@dataclass(frozen=True)
class _Finish:
    at_s: float
    model: str
    status: str
    latency_s: float


class FakeTelemetry:
    """Implements ports.Telemetry on a virtual clock. Loads come from `cluster` when one is given, else from
    `set_load`. While `stalled` is True nothing new is seen and all figures grow older; while `down` is True and
    nothing was ever read, `read` raises TelemetryUnavailable."""

    def __init__(self, clock: FakeClock, window_s: float = 20.0, cluster: FakeCluster | None = None) -> None:
        self._clock = clock
        self._window_s = window_s
        self._cluster = cluster
        self._arrivals: list[tuple[float, str, str]] = []
        self._finishes: list[_Finish] = []
        self._services: list[tuple[float, str, float]] = []
        self._loads: dict[tuple[str, str], ReplicaLoad] = {}
        self._waiting: dict[str, int] = {}
        self._last: TelemetryFacts | None = None
        self.stalled = False
        self.down = False
        self.closed = False

    # --- what a test says happened now ----------------------------------------------------------------------

    def arrive(self, access_node: str, model: str, count: int = 1) -> None:
        self._arrivals += [(self._clock.now_s(), access_node, model)] * count

    def finish(self, model: str, latency_s: float, status: str = "completed", count: int = 1) -> None:
        self._finishes += [_Finish(self._clock.now_s(), model, status, latency_s)] * count

    def serve(self, node: str, model: str, service_s: float, count: int = 1) -> None:
        del node  # service times are reported per model
        self._services += [(self._clock.now_s(), model, service_s)] * count

    def set_load(self, node: str, model: str, queued: int, in_flight: int, work_s: float) -> None:
        self._loads[(node, model)] = ReplicaLoad(node, model, queued, in_flight, work_s)

    def set_waiting(self, model: str, count: int) -> None:
        self._waiting[model] = count

    # --- the port -------------------------------------------------------------------------------------------

    async def read(self) -> TelemetryFacts:
        if self.down or self.stalled:
            if self._last is None:
                raise TelemetryUnavailable("no source has answered yet", where="telemetry")
            return _aged(self._last, self._clock.now_s())
        self._last = self._measure()
        return self._last

    async def aclose(self) -> None:
        self.closed = True

    def _measure(self) -> TelemetryFacts:
        now_s = self._clock.now_s()
        demand: dict[tuple[str, str], int] = {}
        for at_s, access_node, model in self._arrivals:
            fresh = int(at_s > now_s - self._window_s)
            demand[(access_node, model)] = demand.get((access_node, model), 0) + fresh
        models = {m for _, m in demand} | set(self._waiting) | {f.model for f in self._finishes}
        return TelemetryFacts(
            at_s=now_s,
            loads=self._cluster.loads() if self._cluster else tuple(self._loads.values()),
            demand=tuple(DemandFact(a, m, n, self._window_s) for (a, m), n in sorted(demand.items())),
            models=tuple(self._model(m, now_s) for m in sorted(models)),
        )

    def _model(self, model: str, now_s: float) -> ModelFact:
        since_s = now_s - self._window_s
        recent = [f for f in self._finishes if f.model == model and f.at_s > since_s]
        latencies = sorted(f.latency_s for f in recent if f.status == "completed")
        return ModelFact(
            model=model,
            completed=len(latencies),
            window_s=self._window_s,
            mean_latency_s=mean(latencies),
            p95_latency_s=quantile(latencies, 0.95),
            mean_service_s=mean(s for at_s, m, s in self._services if m == model and at_s > since_s),
            waiting=self._waiting.get(model, 0),
            failed=sum(f.status == "failed" for f in recent),
            shed=sum(f.status == "shed" for f in recent),
        )


def _aged(facts: TelemetryFacts, now_s: float) -> TelemetryFacts:
    age_s = now_s - facts.at_s
    return TelemetryFacts(
        at_s=now_s,
        loads=tuple(replace(x, age_s=x.age_s + age_s) for x in facts.loads),
        demand=tuple(replace(x, age_s=x.age_s + age_s) for x in facts.demand),
        models=tuple(replace(x, age_s=x.age_s + age_s) for x in facts.models),
    )
