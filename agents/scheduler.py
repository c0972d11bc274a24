"""The scheduler agent: asks a language model for a small correction of routing weights and on-node shares.

It runs beside the slots. What it hands back becomes one candidate that the gate judges like any other; without an
answer the optimiser's weights stand. It never raises, and never takes longer than its deadline.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from agents.answer import Names
from agents.asking import Asker, Climb, Start, fallen
from agents.briefing import allowed_names, demand_table, models_table, replicas_table
from agents.mending import clean_text
from agents.planner import MAX_NODES
from agents.prompting import prompt
from agents.scheduler_answer import SCHEDULER, SchedulerAnswer, scheduler_schema
from agents.tables import document, table
from edgewise.control.ports import ChatModel, ChatRequest
from edgewise.control.state import Job, Reweighting, RouteTimes, ShareTimes
from edgewise.domain.decision import LlmUse, Rung
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.settings import Settings

VERSION = "scheduler-v1"
MAX_ROWS = 120  # demand rows: the busiest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Correction:
    """What came of asking: a reweighting or none, what it cost, and why there is none."""

    reweighting: Reweighting | None
    use: LlmUse
    note: str = ""


async def correct(job: Job, plan: Plan, chat: ChatModel, settings: Settings, name: str, climb: Climb) -> Correction:
    """A correction of `plan`, which is in force. Bounded by settings.llm_scheduler_timeout_s."""
    names = allowed_names(job.observation)
    if not names.nodes or not names.models or len(names.nodes) > MAX_NODES:
        return Correction(None, LlmUse(), "nothing to ask, or more nodes than a prompt holds")
    try:
        timeout_s = settings.llm_scheduler_timeout_s
        deadline = asyncio.get_running_loop().time() + timeout_s
        asker = Asker(chat, SCHEDULER, names, prompt(VERSION), settings, timeout_s, deadline)
        asked = await climb(asker, Start(scheduler_request(job, plan, names, settings), timeout_s))
        answer, rung = asked.reading.answer, asked.reading.rung
        if answer is None or rung is None:
            reason = clean_text(asked.reading.reason, 300)
            return Correction(None, fallen(reason, asked.use), reason)
        if not answer.routes and not answer.shares:
            return Correction(None, asked.use, "no correction wanted")
        return Correction(_reweighting(answer, rung, asked.reading.notes, job, name), asked.use)
    except Exception as error:  # a mistake of ours here may cost a correction, never a slot
        _log.exception("the scheduler failed")
        return Correction(None, fallen(f"scheduler error: {type(error).__name__}: {error}", LlmUse()))


def scheduler_request(job: Job, plan: Plan, names: Names, settings: Settings) -> ChatRequest:
    """The question, with the schema of its answer. The same arguments always give the same text."""
    o, texts = job.observation, prompt(VERSION)
    data = document(
        {
            "now": {"at_s": round(o.at_s, 1), "slot_s": o.slot_s, "trigger": o.trigger},
            "nodes": _nodes(o),
            "models": models_table(o),
            "demand": demand_table(o),
            "arrivals": _arrivals(o),
            "replicas": replicas_table(o),
            "routes": table(
                ["access_node", "model", "node", "weight"],
                [[r.access_node, r.model, r.node, r.weight] for r in plan.routes],
            ),
            "shares": table(["node", "model", "share"], [[s.node, s.model, s.share] for s in plan.shares]),
            "allowed": {"nodes": list(names.nodes), "models": list(names.models)},
        }
    )
    return ChatRequest(
        VERSION,
        texts.system,
        texts.user.replace("{data}", data) + texts.final,
        scheduler_schema(names),
        settings.llm_scheduler_max_tokens,
        settings.llm_scheduler_temperature,
        model=settings.llm_scheduler_model,
        prompt=texts.hash,
    )


def _reweighting(answer: SchedulerAnswer, rung: Rung, notes: tuple[str, ...], job: Job, name: str) -> Reweighting:
    return Reweighting(
        id=name,
        slot=job.observation.slot,
        routes=tuple(RouteTimes(r.access_node, r.model, r.node, r.times) for r in answer.routes),
        shares=tuple(ShareTimes(s.node, s.model, s.times) for s in answer.shares),
        rung=rung,
        note="; ".join(notes),
        reason=clean_text(answer.reason, 300),
    )


def _nodes(o: Observation) -> dict[str, Any]:
    alive = {n.id for n in o.alive}
    slow = {c.node: c.times for c in o.corrections if c.node}
    rows = [[n.id, n.id in alive, n.speed, slow.get(n.id, 1.0)] for n in o.node_specs]
    return table(["node", "alive", "speed", "times_slower_than_said"], rows)


def _arrivals(o: Observation) -> dict[str, Any]:
    busiest = sorted(o.telemetry.demand, key=lambda d: (-d.rate_per_s, d.access_node, d.model))[:MAX_ROWS]
    rows = [[d.access_node, d.model, d.rate_per_s, d.age_s] for d in busiest if d.arrivals]
    return table(["access_node", "model", "rate_per_s", "age_s"], rows)
