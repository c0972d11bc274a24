"""The planner agent: asks a language model for a placement and hands back a typed proposal, or none.

It never raises and never takes longer than its deadline; whatever the model, the network or the answer does, the
worst outcome is a proposal without a plan, and the optimiser's plan stands. Whether a plan is feasible and better
than the incumbent is for projection and gate to say: a plan is never used because it reads well.
"""

from __future__ import annotations

import asyncio
import logging

from agents.answer import MAX_REASON_CHARS, MAX_ROLE_CHARS, Names, PlannerAnswer
from agents.asking import Asker, Climb, fallen
from agents.briefing import VERSION, allowed_names, planner_request
from agents.ladder import PLANNER
from agents.loop import Conversation
from agents.mending import clean_text
from agents.prompting import prompt
from agents.proposal import Proposal
from agents.toolbox import Tools
from edgewise.control.ports import ChatModel
from edgewise.control.state import Job
from edgewise.domain.decision import LlmUse, Rung
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Floor, Plan, ReplicaGoal, Role, Source
from edgewise.settings import Settings

# More nodes than this neither fit the prompt of a small model nor the answer's token limit.
MAX_NODES = 64
# A model whose calls last so long that fewer than this fit into the deadline is asked for the answer at once.
LEAST_CALLS = 3

_log = logging.getLogger(__name__)


async def propose(
    job: Job,
    optimised: Plan,
    chat: ChatModel | None,
    tools: Tools | None,
    settings: Settings,
    plan_id: str,
    climb: Climb,
) -> Proposal:
    """The language model's placement as a Plan (source LLM; routes and shares are left to the optimiser), or a
    Proposal without one. Bounded by settings.llm_timeout_s in all, and by the llm_ budgets. Raises nothing but
    cancellation."""
    names = allowed_names(job.observation)
    skip = _why_not_ask(names, chat)
    if chat is None or skip:
        return Proposal(None, Rung.OPTIMISER, LlmUse(), skip)
    try:
        timeout_s = settings.llm_timeout_s
        deadline = asyncio.get_running_loop().time() + timeout_s
        asker = Asker(chat, PLANNER, names, prompt(VERSION), settings, timeout_s, deadline)
        request = planner_request(job, optimised, settings)
        asked = await Conversation(asker, request, None if _slow(job, settings) else tools, climb).run()
        notes = (asker.texts.note, *asked.reading.notes)
        if asked.reading.answer is None or asked.reading.rung is None:
            return _nothing(asked.reading.reason, asked.use)
        plan = to_plan(asked.reading.answer, plan_id, job.observation, settings)
        return Proposal(plan, asked.reading.rung, asked.use, "; ".join(notes[1:]), notes[0], asked.seconds)
    except Exception as error:  # a mistake of ours here may cost a proposal, never a slot
        _log.exception("the planner failed")
        return _nothing(f"planner error: {type(error).__name__}: {error}", LlmUse())


def to_plan(answer: PlannerAnswer, plan_id: str, observation: Observation, settings: Settings) -> Plan:
    """The answer as a Plan, replicas as given, feasible or not; routes and shares empty. A lease is at least one
    slot and at most an epoch longer than usual."""
    longest = settings.lease_slots + settings.epoch_slots
    slots = min(max(1, answer.expires_slots or settings.lease_slots), longest)
    roles = {r.node: clean_text(r.role, MAX_ROLE_CHARS) for r in answer.roles}
    return Plan(
        id=plan_id,
        source=Source.LLM,
        made_at_s=observation.at_s,
        expires_s=observation.at_s + slots * observation.slot_s,
        replicas=tuple(ReplicaGoal(node, model) for node, model in answer.pairs()),
        roles=tuple(Role(node, role) for node, role in sorted(roles.items())),
        alpha=answer.alpha,
        reason=clean_text(answer.reason, MAX_REASON_CHARS),
        floors=tuple(sorted(Floor(f.model, f.share) for f in answer.floors)),
        pins=tuple(sorted(ReplicaGoal(p.node, p.model) for p in answer.pins)),
        asks_until_s=observation.at_s + slots * observation.slot_s if answer.floors or answer.pins else None,
    )


def _slow(job: Job, settings: Settings) -> bool:
    last_s = job.last_asked.seconds if job.last_asked is not None else 0.0
    return LEAST_CALLS * last_s > settings.llm_timeout_s


def _why_not_ask(names: Names, chat: ChatModel | None) -> str:
    if chat is None:
        return "no language model is configured"
    if not names.nodes or not names.models:
        return "no node is alive or the catalogue is empty"
    if len(names.nodes) > MAX_NODES:
        return f"{len(names.nodes)} nodes are more than one prompt holds ({MAX_NODES})"
    return ""


def _nothing(reason: str, use: LlmUse) -> Proposal:
    return Proposal(None, Rung.OPTIMISER, fallen(reason, use), clean_text(reason, 300), prompt(VERSION).note)
