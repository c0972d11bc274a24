"""The planner agent: asks a language model for a placement and hands back a typed proposal, or none.

It never raises and never takes longer than its deadline; whatever the model, the network or the answer does, the
worst outcome is a proposal without a plan, and the optimiser's plan stands. Whether a plan is feasible and better
than the incumbent is for projection and gate to say: a plan is never used because it reads well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from agents.answer import MAX_REASON_CHARS, MAX_ROLE_CHARS, Names, PlannerAnswer
from agents.briefing import allowed_names, planner_request, reask_request
from agents.ladder import Reading, read_answer
from agents.proposal import Proposal
from agents.shape import clean_text
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest
from edgewise.domain.decision import LlmUse, Rung
from edgewise.domain.errors import Unavailable
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Floor, Plan, ReplicaGoal, Role, Source
from edgewise.domain.records import RecalledCase
from edgewise.settings import Settings

# More nodes than this neither fit the prompt of a small model nor the answer's token limit.
MAX_NODES = 64
# The model's own deadline ends a little before ours, so that a late answer is recorded as such by its door.
DOOR_PART = 0.95

_log = logging.getLogger(__name__)


async def propose(
    observation: Observation,
    incumbent: Plan | None,
    optimised: Plan,
    cases: Sequence[RecalledCase],
    chat: ChatModel | None,
    settings: Settings,
    plan_id: str,
) -> Proposal:
    """The language model's placement as a Plan (source LLM; routes and shares are left to the optimiser), or a
    Proposal without one. Asks once, and once more when the answer was unusable and time is left. Bounded by
    settings.llm_timeout_s in all. Raises nothing but cancellation."""
    names = allowed_names(observation)
    skip = _why_not_ask(names, chat)
    if chat is None or skip:
        return Proposal(None, Rung.OPTIMISER, LlmUse(), skip)
    try:
        request = planner_request(observation, incumbent, optimised, cases, settings.alpha, settings.llm_max_tokens)
        asked = await _climb(request, names, chat, settings.llm_timeout_s)
        if asked.reading.answer is None or asked.reading.rung is None:
            return _nothing(asked.reading.reason, asked.use)
        plan = to_plan(asked.reading.answer, plan_id, observation, settings)
        return Proposal(plan, asked.reading.rung, asked.use, "; ".join(asked.reading.notes))
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
    )


class _Asked(NamedTuple):
    reading: Reading[PlannerAnswer]
    use: LlmUse


def _why_not_ask(names: Names, chat: ChatModel | None) -> str:
    if chat is None:
        return "no language model is configured"
    if not names.nodes or not names.models:
        return "no node is alive or the catalogue is empty"
    if len(names.nodes) > MAX_NODES:
        return f"{len(names.nodes)} nodes are more than one prompt holds ({MAX_NODES})"
    return ""


def _nothing(reason: str, use: LlmUse) -> Proposal:
    reason = clean_text(reason, 300)
    return Proposal(None, Rung.OPTIMISER, use + LlmUse(fallbacks=1, error=reason), reason)


async def _climb(request: ChatRequest, names: Names, chat: ChatModel, timeout_s: float) -> _Asked:
    """Ask, read, and once more with the reason when the reading failed and a second call as long as the first
    still fits the deadline (by the reply's own seconds, so that a replayed decision takes the same way)."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    first = await _ask(chat, request, timeout_s, deadline)
    if isinstance(first, _Asked):
        return first
    reading, use = await _read(first, names, deadline)
    left_s = timeout_s - first.seconds
    if reading.answer is not None or left_s < first.seconds:
        return _Asked(reading, use)
    second = await _ask(chat, reask_request(request, first.text, reading.reason), left_s, deadline)
    if isinstance(second, _Asked):
        return _Asked(second.reading, use + second.use + LlmUse(reasks=1))
    again, more = await _read(second, names, deadline)
    if again.answer is not None:
        again = Reading(again.answer, Rung.LLM_REASKED, (f"re-asked: {reading.reason}", *again.notes))
    return _Asked(again, use + more + LlmUse(reasks=1))


async def _ask(chat: ChatModel, request: ChatRequest, timeout_s: float, deadline: float) -> ChatReply | _Asked:
    """The reply, or the reading of none. `deadline` is on the event loop's clock and holds whatever `chat` does."""
    began = time.monotonic()
    try:
        async with asyncio.timeout_at(deadline):
            return await chat.ask(request, DOOR_PART * timeout_s)
    except TimeoutError:
        reason = f"no answer within {timeout_s:.3g} s"
    except Unavailable as error:
        reason = error.message
    return _Asked(Reading(None, None, reason=reason), LlmUse(calls=1, seconds=time.monotonic() - began))


async def _read(reply: ChatReply, names: Names, deadline: float) -> _Asked:
    """What the reply says. In a thread: repairing garbage may take a second, and slots must not wait for it."""
    try:
        async with asyncio.timeout_at(deadline):
            reading = await asyncio.to_thread(read_answer, reply.text, names, reply.finish_reason)
    except TimeoutError:
        reading = Reading(None, None, reason="the answer could not be read in time")
    repairs = int(reading.rung is Rung.LLM_REPAIRED)
    return _Asked(reading, LlmUse(calls=1, tokens=reply.tokens, seconds=reply.seconds, repairs=repairs))
