"""In-memory stand-ins of the ports, on a virtual clock: full semantics, no sleeping, no sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from edgewise.control.ports import Ack
from edgewise.domain.decision import Decision
from edgewise.domain.errors import ClusterUnavailable, StoreUnavailable
from edgewise.domain.plan import Plan
from edgewise.domain.records import ReplicaRow, SlotSummary
from tests.support.fake_clock import FakeClock
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_telemetry import FakeTelemetry

__all__ = ["FakeClock", "FakeCluster", "FakeJournal", "FakeRouter", "FakeTelemetry"]

T = TypeVar("T")


class FakeRouter:
    """Acknowledges plans `ack_s` after they are published; `published` holds (plan, decision id) in order.
    While `down` is True it raises ClusterUnavailable and the old plan rules."""

    def __init__(self, clock: FakeClock, ack_s: float = 0.0) -> None:
        self._clock = clock
        self._ack_s = ack_s
        self.published: list[tuple[Plan, str]] = []
        self.down = False
        self.closed = False

    @property
    def plan(self) -> Plan | None:
        """The plan that rules, None before the first."""
        return self.published[-1][0] if self.published else None

    async def publish(self, plan: Plan, decision_id: str) -> Ack:
        if self._ack_s > 0:
            await self._clock.sleep(self._ack_s)
        if self.down:
            raise ClusterUnavailable("the router does not answer", where="router")
        self.published.append((plan, decision_id))
        return Ack(plan.id, self._clock.now_s())

    async def aclose(self) -> None:
        self.closed = True


class FakeJournal:
    """Rows are spooled at once and stored by `flush`; while `down` is True, flush raises StoreUnavailable and
    appends go on. `recent_*` see spooled rows too: a reader never misses what was appended. A decision that is
    recorded again (its outcome is known now) takes the place of its first record."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.replicas: list[ReplicaRow] = []
        self.slots: list[SlotSummary] = []
        self._spooled = 0
        self.down = False
        self.closed = False

    @property
    def spooled(self) -> int:
        """Rows appended since the last successful flush."""
        return self._spooled

    async def decision(self, decision: Decision) -> None:
        ids = [d.id for d in self.decisions]
        if decision.id in ids:
            self.decisions[ids.index(decision.id)] = decision
        else:
            self.decisions.append(decision)
        self._spooled += 1

    async def replica(self, row: ReplicaRow) -> None:
        self.replicas.append(row)
        self._spooled += 1

    async def slot(self, summary: SlotSummary) -> None:
        self.slots.append(summary)
        self._spooled += 1

    async def recent_decisions(self, count: int) -> Sequence[Decision]:
        return _newest(self.decisions, count)

    async def recent_slots(self, count: int) -> Sequence[SlotSummary]:
        return _newest(self.slots, count)

    async def flush(self) -> None:
        if self.down:
            raise StoreUnavailable("the store does not answer", where="journal")
        self._spooled = 0

    async def aclose(self) -> None:
        self.closed = True


def _newest(rows: list[T], count: int) -> Sequence[T]:
    return rows[-count:] if count > 0 else []
