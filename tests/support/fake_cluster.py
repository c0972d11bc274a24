"""An in-memory cluster on a virtual clock: the whole lifecycle, memory admission, queues, death of nodes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import AdmissionRefused, BadInput, ClusterUnavailable, ReplicaBusy
from edgewise.domain.observation import ClusterFacts, NodeFact, ReplicaFact, ReplicaLoad
from edgewise.domain.world import World
from tests.support.fake_clock import FakeClock

DONE, HANDED_BACK, LOST = 200, 503, 0  # what became of a prompt, as HTTP says it; 0: the connection broke


@dataclass(eq=False)
class _Prompt:
    seconds: float
    answer: asyncio.Future[int]
    end_s: float = 0.0


@dataclass(eq=False)
class _Replica:
    state: ReplicaState
    since_s: float
    ready_at_s: float = 0.0
    error: str = ""
    served: int = 0
    queue: deque[_Prompt] = field(default_factory=deque)
    running: list[_Prompt] = field(default_factory=list)


@dataclass(eq=False)
class _Node:
    alive: bool = True
    replicas: dict[str, _Replica] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    silent_since_s: float | None = None
    last: tuple[NodeFact, tuple[ReplicaFact, ...]] | None = None  # as seen when it fell silent


class FakeCluster:
    """Implements ports.Cluster. A load takes the model's `load_s`, exactly; a prompt takes its seconds / speed
    once it runs, at most `max_concurrency` at a time (shares are kept, not applied). Absent replicas are not
    listed. `commands` logs every accepted or idempotent command as (kind, node, model or shares)."""

    def __init__(self, world: World, clock: FakeClock, dead_after_s: float = 2.0) -> None:
        self.world = world
        self.clock = clock
        self.commands: list[tuple[str, str, object]] = []
        self.down = False  # True: every call raises ClusterUnavailable
        self.closed = False
        self._dead_after_s = dead_after_s
        self._nodes = {n.id: _Node() for n in world.nodes}
        self._broken: dict[tuple[str, str], str] = {}

    # --- the port -------------------------------------------------------------------------------------------

    async def observe(self) -> ClusterFacts:
        self._check_up()
        seen = [self._seen(node_id) for node_id in self._nodes]
        return ClusterFacts(
            at_s=self.clock.now_s(),
            nodes=tuple(node for node, _ in seen),
            replicas=tuple(r for _, replicas in seen for r in replicas),
        )

    async def load(self, node: str, model: str) -> None:
        room = self._reachable(node)
        spec = self.world.model(model)
        old = room.replicas.get(model)
        if old is not None and old.state is ReplicaState.DRAINING:
            raise ReplicaBusy(f"{model} is draining", where=node)
        if old is None or old.state is ReplicaState.FAILED:
            self._admit(node, model)
            now_s = self.clock.now_s()
            fresh = _Replica(ReplicaState.LOADING, now_s, now_s + spec.load_s)
            room.replicas[model] = fresh
            self.clock.call_at(fresh.ready_at_s, lambda: self._finish_load(node, model, fresh))
        self.commands.append(("load", node, model))

    async def drain(self, node: str, model: str) -> None:
        room = self._reachable(node)
        self.world.model(model)
        replica = room.replicas.get(model)
        if replica is None or replica.state not in (ReplicaState.READY, ReplicaState.DRAINING):
            state = replica.state if replica else ReplicaState.ABSENT
            raise ReplicaBusy(f"{model} is {state}, only a ready replica is drained", where=node)
        if replica.state is ReplicaState.READY:
            self._enter(replica, ReplicaState.DRAINING)
            while replica.queue:
                _answer(replica.queue.popleft(), HANDED_BACK)
        self.commands.append(("drain", node, model))

    async def unload(self, node: str, model: str) -> None:
        room = self._reachable(node)
        self.world.model(model)
        replica = room.replicas.get(model)
        if replica is not None and replica.running:
            raise ReplicaBusy(f"{model} has {len(replica.running)} prompts in flight", where=node)
        if replica is not None and replica.state not in (ReplicaState.DRAINING, ReplicaState.FAILED):
            raise ReplicaBusy(f"{model} is {replica.state}, it was not drained", where=node)
        room.replicas.pop(model, None)
        self.commands.append(("unload", node, model))

    async def share(self, node: str, shares: Mapping[str, float]) -> None:
        room = self._reachable(node)
        for model, share in shares.items():
            self.world.model(model)
            if not share > 0:
                raise BadInput(f"the share of {model} must be positive, not {share}", where=node)
        room.shares.update(shares)
        self.commands.append(("share", node, dict(shares)))

    async def aclose(self) -> None:
        self.closed = True

    # --- what a test does to it -----------------------------------------------------------------------------

    def send(self, node: str, model: str, seconds: float) -> asyncio.Future[int]:
        """A prompt of `seconds` (speed 1.0) to a replica: resolves to DONE, HANDED_BACK or LOST. A cancelled
        future frees what it held."""
        prompt = _Prompt(seconds, asyncio.get_running_loop().create_future())
        room = self._nodes[node]
        replica = room.replicas.get(model)
        if not room.alive:
            _answer(prompt, LOST)
        elif replica is None or replica.state is not ReplicaState.READY:
            _answer(prompt, HANDED_BACK)
        else:
            replica.queue.append(prompt)
            prompt.answer.add_done_callback(lambda _: self._leave(node, model, replica, prompt))
            self._start_queued(node, model, replica)
        return prompt.answer

    def put_ready(self, node: str, model: str) -> None:
        """A replica that is ready now; admission is checked all the same."""
        self._admit(node, model)
        self._nodes[node].replicas[model] = _Replica(ReplicaState.READY, self.clock.now_s(), self.clock.now_s())

    def break_load(self, node: str, model: str, error: str = "the checkpoint is damaged") -> None:
        """The next load of this replica ends in `failed`."""
        self._broken[(node, model)] = error

    def kill(self, node: str) -> None:
        """The node dies with all it holds; observe says so at once."""
        room = self._nodes[node]
        room.alive = False
        for replica in room.replicas.values():
            for prompt in [*replica.queue, *replica.running]:
                _answer(prompt, LOST)
        room.replicas.clear()
        room.shares.clear()

    def revive(self, node: str) -> None:
        """The node is back, empty."""
        self._nodes[node].alive = True
        self._nodes[node].silent_since_s = None

    def silence(self, node: str) -> None:
        """The node goes on working but no longer answers: its facts age, commands to it fail."""
        room = self._nodes[node]
        room.last = self._seen(node)
        room.silent_since_s = self.clock.now_s()

    def shares(self, node: str) -> dict[str, float]:
        return dict(self._nodes[node].shares)

    def loads(self) -> tuple[ReplicaLoad, ...]:
        """What waits and runs at each replica that is not absent."""
        now_s = self.clock.now_s()
        return tuple(
            ReplicaLoad(
                node=spec.id,
                model=model,
                queued=len(r.queue),
                in_flight=len(r.running),
                work_s=sum(p.seconds for p in r.queue)
                + sum(max(0.0, p.end_s - now_s) * spec.speed for p in r.running),
            )
            for spec in self.world.nodes
            for model, r in self._nodes[spec.id].replicas.items()
        )

    # --- inside ---------------------------------------------------------------------------------------------

    def _check_up(self) -> None:
        if self.down:
            raise ClusterUnavailable("the cluster does not answer", where="cluster")

    def _reachable(self, node: str) -> _Node:
        self._check_up()
        self.world.node(node)
        room = self._nodes[node]
        if not room.alive or room.silent_since_s is not None:
            raise ClusterUnavailable("the node does not answer", where=node)
        return room

    def _used_gib(self, node: str) -> float:
        held = self._nodes[node].replicas.items()
        return sum(self.world.model(m).memory_gib for m, r in held if r.state.holds_memory)

    def _admit(self, node: str, model: str) -> None:
        needed, budget = self.world.model(model).memory_gib, self.world.node(node).memory_gib
        free = budget - self._used_gib(node)
        if needed > free + 1e-9:
            raise AdmissionRefused(
                f"{model} needs {needed:g} GiB, {free:g} GiB of {budget:g} GiB are free",
                where=node,
                hint="drain and unload another model first",
            )

    def _seen(self, node: str) -> tuple[NodeFact, tuple[ReplicaFact, ...]]:
        room, now_s = self._nodes[node], self.clock.now_s()
        if room.alive and room.silent_since_s is not None and room.last is not None:
            age_s = now_s - room.silent_since_s
            fact, replicas = room.last
            alive = age_s <= self._dead_after_s
            return replace(fact, age_s=age_s, alive=alive), tuple(replace(r, age_s=age_s) for r in replicas)
        fact = NodeFact(node, room.alive, self.world.node(node).memory_gib, self._used_gib(node), f"fake://{node}")
        return fact, tuple(
            ReplicaFact(node, model, r.state, r.since_s, self._ready_in_s(r), r.error)
            for model, r in room.replicas.items()
        )

    def _ready_in_s(self, replica: _Replica) -> float:
        loading = replica.state is ReplicaState.LOADING
        return max(0.0, replica.ready_at_s - self.clock.now_s()) if loading else 0.0

    def _enter(self, replica: _Replica, state: ReplicaState, error: str = "") -> None:
        replica.state, replica.since_s, replica.error = state, self.clock.now_s(), error

    def _finish_load(self, node: str, model: str, replica: _Replica) -> None:
        # The node may have died, or been emptied and loaded again, since this load began.
        if self._nodes[node].replicas.get(model) is not replica:
            return
        error = self._broken.pop((node, model), "")
        self._enter(replica, ReplicaState.FAILED if error else ReplicaState.READY, error)

    def _start_queued(self, node: str, model: str, replica: _Replica) -> None:
        room, speed = self.world.model(model).max_concurrency, self.world.node(node).speed
        while replica.queue and len(replica.running) < room:
            prompt = replica.queue.popleft()
            replica.running.append(prompt)
            prompt.end_s = self.clock.now_s() + prompt.seconds / speed
            self.clock.call_at(prompt.end_s, lambda p=prompt: self._complete(node, model, replica, p))  # type: ignore[misc]

    def _complete(self, node: str, model: str, replica: _Replica, prompt: _Prompt) -> None:
        if prompt in replica.running:
            replica.running.remove(prompt)
            replica.served += 1
            _answer(prompt, DONE)
            self._start_queued(node, model, replica)

    def _leave(self, node: str, model: str, replica: _Replica, prompt: _Prompt) -> None:
        """Frees what a prompt held that was answered or cancelled by its sender."""
        if prompt in replica.queue:
            replica.queue.remove(prompt)
        if prompt in replica.running:
            replica.running.remove(prompt)
            self._start_queued(node, model, replica)


def _answer(prompt: _Prompt, status: int) -> None:
    if not prompt.answer.done():
        prompt.answer.set_result(status)
