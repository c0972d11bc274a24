"""Everything the gateway answers besides prompts: plan, nodes, state, health, catalogue, metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST

from edgewise.control.ports import Ack, Clock
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.codec import from_json, to_plain
from edgewise.domain.errors import BadInput, NotReady, Refused
from edgewise.domain.model import ModelSpec
from edgewise.domain.plan import Plan
from serving.gateway.asgi import Receive, SendMessage, answer, answer_error, answer_json, read_small
from serving.gateway.config import NodeAddress
from serving.gateway.figures import Figures
from serving.gateway.flow import PromptFlow
from serving.gateway.poller import Poller
from serving.gateway.state import GatewayState


@dataclass(frozen=True, slots=True)
class PlanOrder:
    """Body of PUT /edgewise/v1/plan."""

    plan: Plan
    decision: str = ""


def _require_finite(plan: Plan) -> None:
    """Raises BadInput for a plan with NaN or infinity in it, which JSON libraries let pass."""
    weights = (r.weight for r in plan.routes)
    for value in (
        plan.made_at_s,
        plan.expires_s,
        *weights,
        *(s.share for s in plan.shares),
        *(x.times for x in plan.slower),
    ):
        if not math.isfinite(value):
            raise BadInput(f"{value} is no time, weight, share or factor", where="plan")


class Admin:
    """Handlers by name; app.py maps paths to them."""

    def __init__(self, state: GatewayState, flow: PromptFlow, poller: Poller, figures: Figures, clock: Clock) -> None:
        self.state = state
        self.flow = flow
        self.poller = poller
        self.figures = figures
        self.clock = clock

    async def put_plan(self, receive: Receive, send: SendMessage) -> None:
        """From the answer on, no prompt is decided by an older plan."""
        order = from_json(PlanOrder, await read_small(receive), where="plan")
        _require_finite(order.plan)
        self.state.set_plan(order.plan, order.decision)
        ack = Ack(order.plan.id, self.clock.now_s())
        self.flow.review()
        await answer_json(send, to_plain(ack))

    async def put_nodes(self, receive: Receive, send: SendMessage) -> None:
        nodes = from_json(tuple[NodeAddress, ...], await read_small(receive), where="nodes")
        self.state.set_nodes(nodes)
        self.poller.sync()
        self.flow.review()
        await answer_json(send, {"nodes": len(nodes), "at_s": self.clock.now_s()})

    async def get_state(self, send: SendMessage) -> None:
        await answer_json(send, self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        state, now_s = self.state, self.clock.now_s()
        nodes, models = state.world.nodes, state.world.models
        counts = state.fleet.open_count
        return {
            "at_s": now_s,
            "plan_id": state.plan.id if state.plan else None,
            "decision": state.decision,
            "lease_expired": state.lease_expired(now_s),
            "nodes": [
                {
                    "id": nodes[i].id,
                    "url": link.url,
                    "alive": bool(state.fleet.arrays.alive[i]),
                    "age_s": now_s - link.seen_s if np.isfinite(link.seen_s) else None,
                }
                for i, link in sorted(state.links.items())
            ],
            "waiting": {m.id: len(state.held[k]) for k, m in enumerate(models)},
            "in_flight": [
                {"node": nodes[n].id, "model": models[m].id, "count": int(counts[n, m])}
                for n, m in np.argwhere(counts > 0)
            ],
            "models": self.figures.per_model(),
        }

    async def get_metrics(self, send: SendMessage) -> None:
        text = self.figures.exposition(self.state, self.clock.now_s())
        await answer(send, 200, text, [(b"content-type", CONTENT_TYPE_LATEST.encode())])

    async def get_models(self, send: SendMessage) -> None:
        await answer_json(send, {"object": "list", "data": [_card(m) for m in self.state.world.models]})

    async def get_model(self, send: SendMessage, model_id: str) -> None:
        await answer_json(send, _card(self.state.world.model(model_id)))

    async def live(self, send: SendMessage) -> None:
        await answer_json(send, {"live": True})

    async def ready(self, send: SendMessage) -> None:
        """Ready: some node is alive, so that prompts have somewhere to go."""
        up = bool(self.state.fleet.arrays.alive.any())
        await answer_json(send, {"ready": up}, 200 if up else 503)

    async def model_ready(self, send: SendMessage, model_id: str) -> None:
        model = self.state.fleet.models[self.state.world.model(model_id).id]
        up = self.state.fleet.ready(model)
        if up:
            await answer_json(send, {"name": model_id, "ready": True})
        else:
            await answer_error(
                send, NotReady(f"no replica of {model_id!r} is ready", retry_after_s=1.0), openai=False
            )

    async def index(self, send: SendMessage) -> None:
        """The repository index over all nodes: READY where any replica is."""
        rows = [
            {"name": m.id, "version": "1", "state": _index_state(self.state.replica_states(k)), "reason": ""}
            for k, m in enumerate(self.state.world.models)
        ]
        await answer_json(send, rows)

    async def refuse_placement(self, send: SendMessage) -> None:
        message = "replicas are placed by the plan, not through the gateway"
        await answer_error(send, Refused(message, hint="ask the node's server, or the control API"), openai=False)


def _card(model: ModelSpec) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": 0, "owned_by": "edgewise", "task": model.task.value}


def _index_state(states: list[tuple[str, ReplicaState]]) -> str:
    found = {state for _, state in states}
    order = (ReplicaState.READY, ReplicaState.LOADING, ReplicaState.DRAINING)
    best = next((s for s in order if s in found), None)
    return {ReplicaState.DRAINING: "UNLOADING"}.get(best, best.name) if best else "UNAVAILABLE"
