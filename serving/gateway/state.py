"""What the gateway knows, and its decisions: send, hold, shed or give up. Time is an argument, nothing is awaited."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import UnknownNode
from edgewise.domain.plan import Plan
from edgewise.domain.world import World
from edgewise.policy import dispatch
from edgewise.policy.fair import FairQueue
from edgewise.policy.hints import SizeHints
from edgewise.policy.order import trusts_order
from serving.gateway.comeback import LEAST_S, Comebacks, loaded_in_s
from serving.gateway.config import Limits, NodeAddress
from serving.gateway.fleet import STATES, FleetView, NodeReport
from serving.gateway.prompt import Exhausted, Hold, Prompt, Send, Shed, Verdict

MOST_SESSIONS = 10_000  # remembered; the one not heard of for longest goes
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, spread evenly: samples begin everywhere in turn


@dataclass(slots=True)
class NodeLink:
    """What is known of reaching a node. seen_s: when it last answered; dead_since_s: when a connection to it failed
    (a poll begun before that says nothing about it); inf or -inf: never."""

    url: str
    seen_s: float = -math.inf
    dead_since_s: float = -math.inf


class GatewayState:
    """Fleet view, held prompts, plan and lease. Every method is synchronous and takes the time it needs to know."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.world = world
        self.limits = limits
        self.fleet = FleetView(world)
        if trusts_order(limits.yielding, limits.shedding):
            self.fleet.arrays.overtakes[:] = [m.service is not None for m in world.models]
        self.links: dict[int, NodeLink] = {}
        self.held: list[OrderedDict[Prompt, float]] = [OrderedDict() for _ in world.models]  # FIFO; value: until_s
        self.plan: Plan | None = None
        self.decision: str | None = None
        self.hints = [SizeHints(m) for m in world.models]
        self.sessions: OrderedDict[tuple[str, int], int] = OrderedDict()  # (session, model) → node, latest last
        self._comebacks = Comebacks(len(world.models))
        self._turns = 0
        self._fastest = max(n.speed for n in world.nodes)

    # What is decided about one prompt.

    def route(self, prompt: Prompt, now_s: float) -> Verdict:
        """Decides and books: a Send is in the ledger, a Hold in the queue of its model, when this returns."""
        verdict = self.decide(prompt, now_s)
        if isinstance(verdict, Hold):
            self.held[prompt.model][prompt] = verdict.until_s
            if verdict.node >= 0:
                prompt.reserved = verdict.node
                self.fleet.reserve(verdict.node, prompt.model, prompt.service_s)
        return verdict

    def decide(self, prompt: Prompt, now_s: float) -> Verdict:
        if prompt.attempts >= self.limits.max_attempts:
            return Exhausted(prompt.attempts)
        left_s = prompt.deadline_at_s - now_s if self.limits.shedding else math.inf
        a, model = self.fleet.arrays, prompt.model
        self._turns += 1
        draw = self._turns * GOLDEN % 1.0
        node, own_s, cost_s = self.fleet.choose(
            prompt.access, model, prompt.service_s, prompt.tried, left_s, now_s, draw
        )
        if prompt.session and self.limits.sticky_part > 0:
            node, own_s = self._stay(prompt, node, own_s, cost_s, left_s)
        if node >= 0 and a.state[node, model] == dispatch.READY:
            if own_s > left_s:
                after_s = self._comebacks.after_s(
                    a, model, own_s - prompt.spec.deadline_s, prompt.service_s, prompt.spec.deadline_s, now_s
                )
                return Shed(after_s, f"the best replica would answer in {own_s:.1f} s, after the deadline")
            return self._send(prompt, node, now_s)
        until_s = now_s + left_s - prompt.service_s / self._fastest
        if now_s > until_s:
            after_s = self._comebacks.after_s(
                a, model, self._ready_in_s(prompt), prompt.service_s, prompt.spec.deadline_s, now_s
            )
            return Shed(after_s, "no replica of the model was ready in time")
        return Hold(until_s, node)

    def learn(self, prompt: Prompt, node: int) -> None:
        """What a prompt took, where its node said so: the next hints of its model go by it."""
        if prompt.took_s is not None:
            speed = float(self.fleet.own_speed[node] / self.fleet.slower[node])
            self.hints[prompt.model].learn(prompt.size, prompt.took_s * speed)

    def release(self, prompt: Prompt) -> None:
        """Takes a prompt out of its model's queue, if it is there."""
        self.held[prompt.model].pop(prompt, None)
        if prompt.reserved >= 0:
            self.fleet.reserve(prompt.reserved, prompt.model, prompt.service_s, -1.0)
            prompt.reserved = -1

    def review(self, now_s: float) -> list[tuple[Prompt, Verdict]]:
        """Decides again on all held prompts, each tenant's oldest first. Returns those that need not wait any more,
        with their verdicts."""
        done: list[tuple[Prompt, Verdict]] = []
        for model, queue in enumerate(self.held):
            if not queue:
                continue
            hopeless = self._hopeless(model)
            waiting = [p for p, until_s in queue.items() if not hopeless or now_s > until_s]
            for prompt in waiting:
                self.release(prompt)
            for prompt in self._in_turn(waiting):
                verdict = self.route(prompt, now_s)
                if not isinstance(verdict, Hold):
                    done.append((prompt, verdict))
        return done

    # What is learnt from outside.

    def set_nodes(self, nodes: tuple[NodeAddress, ...]) -> None:
        """Replaces the node list. A node with a new address is known anew. Raises UnknownNode."""
        for node in nodes:
            if node.id not in self.fleet.nodes:
                known = ", ".join(self.fleet.nodes)
                raise UnknownNode(f"node {node.id!r} is not in the cluster", hint=f"known nodes: {known}")
        wanted = {self.fleet.nodes[n.id]: n.url.rstrip("/") for n in nodes}
        for index in [i for i, link in self.links.items() if wanted.get(i) != link.url]:
            del self.links[index]
            self.fleet.forget(index)
        for index, url in wanted.items():
            self.links.setdefault(index, NodeLink(url))

    def set_plan(self, plan: Plan, decision: str) -> None:
        self.plan, self.decision = plan, decision
        self.fleet.set_routes(plan)
        self.fleet.set_speeds(plan)

    def report(self, report: NodeReport, asked_s: float, now_s: float) -> bool:
        """A node's state answer to a poll begun at `asked_s`. Whether something held may now be wanted elsewhere."""
        index = self.fleet.nodes[report.node]
        link = self.links.get(index)
        if link is None or asked_s <= link.dead_since_s:
            return False
        link.seen_s = now_s
        revived = not self.fleet.arrays.alive[index]
        self.fleet.arrays.alive[index] = True
        changed = self.fleet.apply(report)
        return revived or any(self.held[m] for m in changed)

    def fail(self, node: int, now_s: float) -> None:
        """A connection to the node failed: it is dead until it answers a poll begun later."""
        self.fleet.arrays.alive[node] = False
        if node in self.links:
            self.links[node].dead_since_s = now_s

    def watch(self, now_s: float) -> list[int]:
        """Marks nodes dead that were silent too long; those silent so long that their prompts count as lost."""
        lost = []
        for index, link in self.links.items():
            if now_s - link.seen_s > self.limits.node_dead_after_s:
                self.fleet.arrays.alive[index] = False
                if now_s - link.seen_s > self.limits.node_lost_after_s:
                    lost.append(index)
        return lost

    # What others want to know.

    def lease_expired(self, now_s: float) -> bool:
        return self.plan is not None and now_s > self.plan.expires_s

    def replica_states(self, model: int) -> list[tuple[str, ReplicaState]]:
        """(node, state) of the model on every live node."""
        a = self.fleet.arrays
        live = np.nonzero(a.alive)[0]
        return [(self.world.nodes[i].id, STATES[int(a.state[i, model])]) for i in live]

    def untried(self) -> dispatch.Bools:
        return np.zeros(len(self.world.nodes), np.bool_)

    def _send(self, prompt: Prompt, node: int, now_s: float) -> Send:
        prompt.attempts += 1
        prompt.tried[node] = True
        if prompt.session and self.limits.sticky_part > 0:
            key = (prompt.session, prompt.model)
            self.sessions[key] = node
            self.sessions.move_to_end(key)
            if len(self.sessions) > MOST_SESSIONS:
                self.sessions.popitem(last=False)
        prompt.served, prompt.decision = self.world.nodes[node].id, self.decision
        return Send(self.fleet.send(node, prompt.model, prompt.access, prompt.service_s, now_s))

    def _stay(self, prompt: Prompt, node: int, own_s: float, cost_s: float, left_s: float) -> tuple[int, float]:
        """The node that served the prompt's session last, where going back costs no more than it saves; else
        `node`."""
        last = self.sessions.get((prompt.session, prompt.model), -1)
        a, model = self.fleet.arrays, prompt.model
        if last in (-1, node) or prompt.tried[last] or not a.alive[last] or a.state[last, model] != dispatch.READY:
            return node, own_s
        row = int(a.route_row[prompt.access, model])
        if row >= 0 and a.route_weight[row, last] <= 0.0:
            return node, own_s
        there = self.fleet.choose_at(last, prompt.access, model, prompt.service_s, prompt.tried, left_s)
        saved_s = self.limits.sticky_part * prompt.service_s / a.speed[last]
        late = there.own_s - saved_s > left_s >= own_s
        return (last, there.own_s) if not late and there.cost_s - saved_s <= cost_s else (node, own_s)

    def _in_turn(self, waiting: list[Prompt]) -> list[Prompt]:
        """Held prompts of one model, tenants in turn."""
        if len({p.tenant for p in waiting}) < 2:
            return waiting
        queue: FairQueue[Prompt] = FairQueue(self.limits.tenant_weights)
        for prompt in waiting:
            queue.push(prompt, prompt.arrived_s, prompt.service_s, prompt.tenant)
        return queue.take_all()

    def _hopeless(self, model: int) -> bool:
        """No live node has the model ready or loading: a held prompt can only run out of time."""
        a = self.fleet.arrays
        column = a.state[:, model]
        return not (a.alive & ((column == dispatch.READY) | (column == dispatch.LOADING))).any()

    def _ready_in_s(self, prompt: Prompt) -> float:
        a, spec = self.fleet.arrays, prompt.spec
        soonest = loaded_in_s(a, prompt.model, prompt.service_s, spec.deadline_s)
        return max(LEAST_S, soonest if math.isfinite(soonest) else self.limits.slot_s)
