"""The fleet as the gateway sees it: what nodes reported last, merged with what the gateway did since.

Merge by maximum information, so that a burst between two polls does not herd to the node that looked idle. A report
was taken at `at_s` on the run clock, which all processes share; on it are laid
  + prompts sent after `at_s` that are still open,
  − prompts that were open at `at_s` and ended since (their work, as far as any is left),
  and the count is at least the prompts this gateway itself has open there (mean work for those the report misses),
  + prompts held here for a replica that is still loading.
Between reports every send and end is laid on at once. Progress inside a running prompt is not guessed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.plan import ANY, Plan
from edgewise.domain.world import World
from edgewise.policy import dispatch
from edgewise.policy.dispatch import Bools, Choice, FleetArrays, Floats, Ints
from edgewise.policy.network import network_arrays
from edgewise.policy.sample import SAMPLE, candidates

CODES = {state: code for code, state in enumerate(ReplicaState)}  # dispatch's codes follow the enum's order
STATES = tuple(ReplicaState)
_OVERDUE = (
    0.1  # a load that has run for T takes at least T/10 more, whatever its node promises: loads have long tails
)


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One replica in a node's state answer; units as in domain.observation."""

    model: str
    state: ReplicaState
    since_s: float = 0.0
    ready_in_s: float | None = 0.0
    queued: int = 0
    in_flight: int = 0
    work_s: float = 0.0
    share: float | None = 1.0
    error: str | None = ""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node's answer to GET /edgewise/v1/state, as far as the gateway needs it."""

    node: str
    at_s: float
    replicas: tuple[ReplicaReport, ...]
    speed: float | None = None


@dataclass(slots=True, eq=False)
class Sent:
    """One prompt on its way to or at a node, from send to end; indices, run-clock seconds."""

    node: int
    model: int
    service_s: float
    sent_s: float
    closed_s: float = 0.0


class FleetView:
    """The arrays the dispatcher reads, and the ledger of open prompts behind them. No clock, no sockets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nodes = {n.id: i for i, n in enumerate(world.nodes)}
        self.models = {m.id: i for i, m in enumerate(world.models)}
        self.arrays = _arrays_of(world)
        shape = self.arrays.work_s.shape
        self.open: list[set[Sent]] = [set() for _ in world.nodes]
        self.open_count = np.zeros(shape, np.int64)
        self.reserved_work = np.zeros(shape)
        self.reserved_count = np.zeros(shape)
        self.refused_s = np.full(shape, -np.inf)  # when a node last handed a prompt of the model back
        self.own_speed = np.array([n.speed for n in world.nodes])
        self.seen_s = np.full(len(world.nodes), -np.inf)  # when each node's last report was taken
        self.slower = np.ones(len(world.nodes))  # than it says, by the plan's word
        self.mean_s = np.array([m.mean_service_s for m in world.models])
        self._ended: list[deque[Sent]] = [deque() for _ in world.nodes]
        # [M] nodes that may serve the model, ascending; None: not known any more.
        self._holders: list[Ints | None] = [None] * len(world.models)
        self._live = self.arrays.alive.copy()
        self._picked, self._ranks = np.zeros(SAMPLE, np.int64), np.zeros(SAMPLE, np.int64)

    def ready(self, model: int) -> bool:
        """Whether some live node has a ready replica of the model."""
        return bool((self.arrays.alive & (self.arrays.state[:, model] == dispatch.READY)).any())

    def choose(self, access: int, model: int, service_s: float, tried: Bools, left_s: float, now_s: float,
               draw: float) -> Choice:  # fmt: skip
        """Where a prompt goes, loading replicas considered. draw: from [0, 1): where a sample of nodes begins."""
        a = self.arrays
        np.subtract(now_s, self.seen_s, out=a.age_s)
        holders = self.holders(model)
        count = candidates(a, holders, len(holders), access, model, draw, SAMPLE, self._picked)
        choice: Choice = dispatch.choose_among(
            dispatch.MARGINAL, a, access, model, service_s, tried, True, left_s, 0.0, 0, 1.0,
            self._picked, count, self._ranks,
        )  # fmt: skip
        return choice

    def choose_at(self, node: int, access: int, model: int, service_s: float, tried: Bools, left_s: float) -> Choice:
        """What sending a prompt to this node is predicted to cost. After `choose`, which knows the ages."""
        self._picked[0] = node
        choice: Choice = dispatch.choose_among(
            dispatch.MARGINAL, self.arrays, access, model, service_s, tried, False, left_s, 0.0, 0, 1.0,
            self._picked, 1, self._ranks,
        )  # fmt: skip
        return choice

    def holders(self, model: int) -> Ints:
        """Live nodes that have the model ready or loading, ascending."""
        a = self.arrays
        if not np.array_equal(self._live, a.alive):
            np.copyto(self._live, a.alive)
            self._holders = [None] * len(self.models)
        found = self._holders[model]
        if found is None:
            column = a.state[:, model]
            found = np.nonzero(a.alive & ((column == dispatch.READY) | (column == dispatch.LOADING)))[0]
            self._holders[model] = found
        return found

    def send(self, node: int, model: int, access: int, service_s: float, now_s: float) -> Sent:
        sent = Sent(node, model, service_s, now_s)
        self.open[node].add(sent)
        self.open_count[node, model] += 1
        self._lay_on(node, model, service_s, 1.0)
        dispatch.note_sent(self.arrays, access, model, node)
        return sent

    def close(self, sent: Sent, now_s: float) -> None:
        self.open[sent.node].discard(sent)
        self.open_count[sent.node, sent.model] -= 1
        sent.closed_s = now_s
        self._ended[sent.node].append(sent)
        self._lay_on(sent.node, sent.model, -sent.service_s, -1.0)

    def reserve(self, node: int, model: int, service_s: float, sign: float = 1.0) -> None:
        """Counts a held prompt to the loading replica it waits for (sign −1: no longer)."""
        self.reserved_work[node, model] = max(0.0, self.reserved_work[node, model] + sign * service_s)
        self.reserved_count[node, model] = max(0.0, self.reserved_count[node, model] + sign)
        self._lay_on(node, model, sign * service_s, sign)

    def hand_back(self, node: int, model: int, now_s: float) -> None:
        """The node refused a prompt: its replica is not ready, whatever an older report says."""
        self.refused_s[node, model] = now_s
        self.arrays.state[node, model] = dispatch.DRAINING
        self._holders[model] = None

    def apply(self, report: NodeReport) -> set[int]:
        """Lays a report under the ledger; the models whose replica there changed its state."""
        node, a = self.nodes[report.node], self.arrays
        before = a.state[node].copy()
        a.state[node], a.ready_in_s[node] = dispatch.ABSENT, np.inf
        a.work_s[node], a.prompts[node] = self.reserved_work[node], self.reserved_count[node]
        if report.speed is not None and report.speed > 0:
            self.own_speed[node] = report.speed
        for replica in report.replicas:
            model = self.models.get(replica.model)
            if model is not None:
                self._apply_replica(node, model, replica, report.at_s)
        self._apply_ledger(node, report.at_s)
        self._share_cores()
        self.seen_s[node] = report.at_s
        changed = {int(m) for m in np.nonzero(before != a.state[node])[0]}
        for model in changed:
            self._holders[model] = None
        return changed

    def forget(self, node: int) -> None:
        """The node is gone: no replicas, nothing of what it reported; the ledger closes on its own."""
        a = self.arrays
        a.alive[node] = False
        a.state[node], a.ready_in_s[node] = dispatch.ABSENT, np.inf
        a.work_s[node], a.prompts[node] = self.reserved_work[node], self.reserved_count[node]
        self._holders = [None] * len(self.models)

    def set_speeds(self, plan: Plan) -> None:
        """Nodes that the plan says are slower than they say, by how much; the others are as fast as they say."""
        self.slower[:] = 1.0
        for found in plan.slower:
            if found.node in self.nodes and found.times > 0:
                self.slower[self.nodes[found.node]] = found.times
        self._share_cores()

    def set_routes(self, plan: Plan) -> None:
        """Routes of a plan in force from now on. Nodes and models the world does not have are left out."""
        rows: dict[tuple[str, str], Floats] = {}
        for route in plan.routes:
            if route.node in self.nodes:
                row = rows.setdefault((route.access_node, route.model), np.zeros(len(self.nodes)))
                row[self.nodes[route.node]] += max(0.0, route.weight)
        table = self.arrays.route_row
        table[:] = -1
        ordered = sorted(rows, key=lambda key: (key[0] != ANY, key))  # ANY first: a row of its own overrides it
        for index, (access, model) in enumerate(ordered):
            where = slice(None) if access == ANY else self.nodes.get(access)
            if model in self.models and where is not None:
                table[where, self.models[model]] = index
        weights = [rows[key] / (rows[key].sum() or 1.0) for key in ordered]
        shape = (len(ordered), len(self.nodes))
        weight = np.array(weights).reshape(shape)
        self.arrays = self.arrays._replace(route_weight=weight, route_sent=np.zeros(shape))

    def _apply_replica(self, node: int, model: int, replica: ReplicaReport, at_s: float) -> None:
        a, code = self.arrays, CODES[replica.state]
        if code == dispatch.READY and at_s <= self.refused_s[node, model]:
            code = dispatch.DRAINING
        a.state[node, model] = code
        if code == dispatch.LOADING:
            promised = np.inf if replica.ready_in_s is None else replica.ready_in_s
            a.ready_in_s[node, model] = max(promised, _OVERDUE * (at_s - replica.since_s))
        a.share[node, model] = replica.share if replica.share is not None and replica.share > 0 else 1.0
        a.work_s[node, model] += max(0.0, replica.work_s)
        a.prompts[node, model] += replica.queued + replica.in_flight

    def _apply_ledger(self, node: int, at_s: float) -> None:
        ended = self._ended[node]
        while ended and ended[0].closed_s <= at_s:
            ended.popleft()
        for sent in ended:
            if sent.sent_s <= at_s:
                self._lay_on(node, sent.model, -sent.service_s, -1.0)
        for sent in self.open[node]:
            if sent.sent_s > at_s:
                self._lay_on(node, sent.model, sent.service_s, 1.0)
        a = self.arrays
        missing = np.maximum(self.open_count[node] + self.reserved_count[node] - a.prompts[node], 0.0)
        a.prompts[node] += missing
        a.work_s[node] += missing * self.mean_s

    def _lay_on(self, node: int, model: int, work_s: float, prompts: float) -> None:
        a = self.arrays
        count, work = a.prompts[node, model], a.work_s[node, model]
        if prompts < 0 and count > 0:
            work_s = -min(-work_s, work / count)  # part of it is served already: no more than the mean left there
        a.prompts[node, model] = max(0.0, count + prompts)
        a.work_s[node, model] = max(0.0, work + work_s) if count + prompts > 0 else 0.0

    def _share_cores(self) -> None:
        # One machine playing several nodes: all busy ones divide its cores.
        cores, a = self.world.host_cores, self.arrays
        busy = int((a.prompts.sum(axis=1) > 0).sum())
        a.speed[:] = self.own_speed / self.slower * (1.0 if cores is None or busy == 0 else min(1.0, cores / busy))


def _arrays_of(world: World) -> FleetArrays:
    arrays = dispatch.empty_fleet(len(world.nodes), len(world.models))
    arrays.speed[:] = [n.speed for n in world.nodes]
    arrays.slots[:] = [m.max_concurrency for m in world.models]
    arrays.payload_kib[:] = [m.request_kib + m.response_kib for m in world.models]
    arrays.latency_s[:], arrays.s_per_kib[:] = network_arrays([n.id for n in world.nodes], world.network)
    return arrays
