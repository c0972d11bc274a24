"""The actuator: carries goals out through the ports, again and again, until fact and goal agree.

It decides nothing: `reconcile` says what to do. A port that fails is asked again at the next tick; nothing here
waits longer than a bounded time, and no error ends the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from edgewise.control.grouping import by_node
from edgewise.control.keepers import keepers, published, scene
from edgewise.control.ports import Clock, Cluster, Journal, Router, Telemetry
from edgewise.control.reconcile import Attempt, Command, next_commands
from edgewise.control.transitions import rows
from edgewise.domain.errors import EdgewiseError, Refused, ReplicaBusy
from edgewise.domain.observation import ClusterFacts, TelemetryFacts
from edgewise.domain.plan import ChangeKind, Plan
from edgewise.domain.records import ReplicaRow
from edgewise.domain.world import World
from edgewise.settings import Settings

Place = tuple[str, str]
T = TypeVar("T")
CALL_S = 5.0  # longest wait for one port call
KEPT_ROWS = 4096

_log = logging.getLogger(__name__)


class Actuator:
    """Owns goal, acknowledged plan and latest facts. One task runs `run`; the controller sets goals."""

    def __init__(
        self, cluster: Cluster, telemetry: Telemetry, router: Router, journal: Journal, clock: Clock, world: World,
        settings: Settings,
    ) -> None:  # fmt: skip
        self._cluster, self._telemetry, self._router = cluster, telemetry, router
        self._journal, self._clock, self._settings = journal, clock, settings
        self._need = {m.id: m.memory_gib for m in world.models}
        self._goal: Plan | None = None
        self._decision = ""
        self._order: tuple[Place, ...] = ()
        self._waits: dict[Place, float] = {}  # run-clock second before which a place is not touched
        self._cause: dict[Place, str] = {}
        self._drained: set[Place] = set()
        self._tries: dict[Place, Attempt] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._publishing = asyncio.Lock()
        self.acked: Plan | None = None
        self.facts: ClusterFacts | None = None
        self.figures: TelemetryFacts | None = None
        self.seen: deque[ReplicaRow] = deque(maxlen=KEPT_ROWS)
        self.problems: dict[str, str] = {}  # what does not work right now, by door

    @property
    def goal(self) -> Plan | None:
        return self._goal

    async def set_goal(
        self,
        plan: Plan,
        decision_id: str,
        order: Sequence[Place] = (),
        waits: Mapping[Place, float] = MappingProxyType({}),
    ) -> bool:
        """Make `plan` the goal and publish it at once. True when the routers acknowledged it; else later ticks try
        again, and until then nothing is drained on its account. waits: seconds for which a place is not touched; one
        that is waiting already does not wait longer."""
        before = {(r.node, r.model) for r in self._goal.replicas} if self._goal else set()
        after = {(r.node, r.model) for r in plan.replicas}
        if self._goal is None and self.facts is not None:
            before = {(r.node, r.model) for r in self.facts.replicas if r.state.holds_memory}
        self._cause.update(dict.fromkeys(before ^ after, decision_id))
        self._tries = {p: a for p, a in self._tries.items() if p in before & after}
        self._goal, self._decision, self._order = plan, decision_id, tuple(order)
        now_s = self._clock.now_s()
        self._waits = {p: self._waits.get(p, now_s + wait_s) for p, wait_s in waits.items()}
        return await self._publish(force=True)

    @property
    def given_up(self) -> tuple[str, ...]:
        """Loads that are not tried any more, in words."""
        return tuple(f"{m} could not be loaded on {n}" for (n, m), a in sorted(self._tries.items()) if a.given_up)

    def pause(self) -> None:
        """Carry nothing out until the next goal; facts are still read."""
        self._goal = None

    async def run(self) -> None:
        """Tick every settings.reconcile_s until cancelled."""
        while True:
            try:
                await self.tick()
            except EdgewiseError as error:
                _log.warning("actuator: %s", error.line())
            except Exception:
                _log.exception("the actuator's tick failed")
            await self._clock.sleep(self._settings.reconcile_s)

    async def tick(self) -> None:
        """Look once, record what changed, publish and command what is due."""
        facts = await self._ask("cluster", self._cluster.observe())
        figures = await self._ask("telemetry", self._telemetry.read())
        if figures is not None:
            self.figures = figures
        if facts is None:
            return
        await self._record(facts)
        if self._goal is None or not await self._publish():
            return
        loads = figures.loads if figures else ()
        now_s = self._clock.now_s()
        commands = next_commands(
            self._goal, self.acked, facts, loads, now_s, self._settings, self._need, self._tries, self._order
        )
        commands = [c for c in commands if now_s >= self._waits.get((c.node, c.model), now_s)]
        await asyncio.gather(self._share(facts), *(self._carry_out(batch) for batch in by_node(commands).values()))

    async def _record(self, facts: ClusterFacts) -> None:
        before, self.facts = self.facts, facts
        for row in rows(before, facts, self._cause, self._drained):
            place = (row.node, row.model)
            if row.kind == "failed":
                self._tries[place] = self._tries.get(place, Attempt()).failed(self._clock.now_s())
            elif row.kind == "ready":
                self._tries.pop(place, None)
                self._drained.discard(place)
            elif row.kind == "node-up":
                self._shares.pop(row.node, None)
                self._tries = {p: a for p, a in self._tries.items() if p[0] != row.node}
            self.seen.append(row)
            await self._ask("journal", self._journal.replica(row))

    async def _publish(self, force: bool = False) -> bool:
        """Whether the routers route by the goal (with what is kept for now)."""
        async with self._publishing:
            goal, decision = self._goal, self._decision
            if goal is None:
                return False
            plan = goal
            if self.facts is not None:
                spent = {p for p, a in self._tries.items() if a.given_up}
                plan = published(goal, keepers(scene(goal, self.facts, self._need, spent)))
            if not force and plan == self.acked:
                return True
            ack = await self._ask("router", self._router.publish(plan, decision))
            if ack is None or ack.plan_id != plan.id:
                return False
            self.acked = plan
            return True

    async def _share(self, facts: ClusterFacts) -> None:
        assert self._goal is not None
        wanted: dict[str, dict[str, float]] = {}
        for s in self._goal.shares:
            if s.share > 0:
                wanted.setdefault(s.node, {})[s.model] = s.share
        for node in sorted(n.node for n in facts.nodes if n.alive and n.node in wanted):
            if self._shares.get(node) == wanted[node]:
                continue
            if await self._do(f"share {node}", self._cluster.share(node, wanted[node])):
                self._shares[node] = wanted[node]

    async def _carry_out(self, commands: Sequence[Command]) -> None:
        """One node's commands, in order; several nodes' run side by side."""
        for c in commands:
            place = (c.node, c.model)
            self._cause.setdefault(place, self._decision)
            if c.kind is ChangeKind.DRAIN:
                self._drained.add(place)
                await self._do(f"drain {c.model} on {c.node}", self._cluster.drain(c.node, c.model))
            elif c.kind is ChangeKind.UNLOAD:
                await self._do(f"unload {c.model} on {c.node}", self._cluster.unload(c.node, c.model))
            elif not await self._do(f"load {c.model} on {c.node}", self._cluster.load(c.node, c.model)):
                self._tries[place] = self._tries.get(place, Attempt()).failed(self._clock.now_s())

    async def _do(self, what: str, call: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(CALL_S):
                await call
        except ReplicaBusy as error:
            _log.debug("%s: %s", what, error.line())
        except (Refused, TimeoutError) as error:
            _log.warning("%s: %s", what, error.line() if isinstance(error, Refused) else f"no answer in {CALL_S:g} s")
        except EdgewiseError as error:
            _log.warning("%s: %s", what, error.line())
        else:
            return True
        return False

    async def _ask(self, door: str, call: Awaitable[T]) -> T | None:
        """The answer of a door, or None; what is wrong with it is in `problems` until it answers again."""
        try:
            async with asyncio.timeout(CALL_S):
                answer = await call
        except (EdgewiseError, TimeoutError) as error:
            words = error.line() if isinstance(error, EdgewiseError) else f"no answer in {CALL_S:g} s"
            if self.problems.get(door) != words:
                _log.warning("%s: %s", door, words)
            self.problems[door] = words
            return None
        self.problems.pop(door, None)
        return answer
