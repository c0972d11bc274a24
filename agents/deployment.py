"""The deployer agent of one node: asks a small model in which order, and when, to change its replicas.

It is in the path of a slot, so it has a quarter of one; without an answer by then, or with one that cannot be used,
`arrange` stands. It never raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.answer import Names
from agents.asking import Asker, Climb, Start, fallen
from agents.deployer import arrange
from agents.deployer_answer import DEPLOYER, deployer_schema
from agents.mending import clean_text
from agents.ordering import obeyed
from agents.prompting import prompt
from agents.tables import document, table
from edgewise.control.ports import ChatModel, ChatRequest
from edgewise.control.state import NodeBrief, NodeOrder
from edgewise.domain.decision import LlmUse
from edgewise.settings import Settings

VERSION = "deployer-v1"
SLOT_PART = 0.25

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A node's orders, one for each brief, and what they cost."""

    orders: tuple[NodeOrder, ...]
    use: LlmUse = LlmUse()  # noqa: RUF009 (frozen)


async def deploy(briefs: Sequence[NodeBrief], chat: ChatModel | None, settings: Settings, climb: Climb) -> Deployed:
    """The node's orders. One question for all its briefs (several plans may want changes there); none where there is
    nothing to order."""
    plain = tuple(arrange(b) for b in briefs)
    if chat is None or not briefs:
        return Deployed(plain)
    if not _worth_asking(briefs, plain):
        return Deployed(plain, LlmUse(skipped=1))
    try:
        timeout_s = SLOT_PART * settings.slot_s
        deadline = asyncio.get_running_loop().time() + timeout_s
        names = Names((briefs[0].node,), tuple(sorted({c.model for b in briefs for c in b.changes})))
        asker = Asker(chat, DEPLOYER, names, prompt(VERSION), settings, timeout_s, deadline)
        asked = await climb(asker, Start(deployer_request(briefs, names, settings), timeout_s))
        node, answer = briefs[0].node, asked.reading.answer
        if answer is None:
            why = clean_text(asked.reading.reason, 200)
            use = fallen(f"deployer of {node}: {why}", asked.use)
            return Deployed(tuple(replace(x, note=_joined(x.note, f"{node}: deployer: {why}")) for x in plain), use)
        said = "; ".join(filter(None, (prompt(VERSION).note, *asked.reading.notes, answer.reason)))
        orders = (obeyed(b, answer, settings.slot_s) for b in briefs)
        note = clean_text(f"{node}: deployer: {said}", 400)
        return Deployed(tuple(replace(x, note=_joined(x.note, note)) for x in orders), asked.use)
    except Exception as error:  # a mistake of ours here may cost an order, never a slot
        _log.exception("the deployer of %s failed", briefs[0].node)
        return Deployed(plain, fallen(f"deployer error: {type(error).__name__}: {error}", LlmUse()))


def deployer_request(briefs: Sequence[NodeBrief], names: Names, settings: Settings) -> ChatRequest:
    """The question, with the schema of its answer."""
    b, texts = briefs[0], prompt(VERSION)
    changes = sorted({(c.kind.value, c.model) for x in briefs for c in x.changes})
    loads = {x.model: x for x in b.loads}
    rows = []
    for r in b.replicas:
        load = loads.get(r.model)
        work = [load.queued, load.in_flight, load.work_s] if load else [None, None, None]
        rows.append([r.model, r.state.value, b.at_s - r.since_s, *work, clean_text(r.error, 80)])
    need, load_s = dict(b.need_gib), dict(b.load_s)
    data = document(
        {
            "node": b.node,
            "changes": table(["change", "model"], [list(c) for c in changes]),
            "replicas": table(["model", "state", "for_s", "queued", "in_flight", "work_s", "error"], rows),
            "memory": {"budget_gib": b.budget_gib, "figures_age_s": round(b.age_s, 1)},
            "models": table(["model", "memory_gib", "load_s"], [[m, need[m], load_s.get(m)] for m in need]),
            "alone": list(b.alone),
            "longest_wait_s": settings.slot_s,
        }
    )
    return ChatRequest(
        VERSION,
        texts.system,
        texts.user.replace("{data}", data) + texts.final,
        deployer_schema(names),
        settings.llm_deployer_max_tokens,
        settings.llm_deployer_temperature,
        model=settings.llm_deployer_model,
        prompt=texts.hash,
    )


def _worth_asking(briefs: Sequence[NodeBrief], plain: Sequence[NodeOrder]) -> bool:
    """Whether there is something to order, or work that a change would touch."""
    ordered = {c for x in plain for c in x.order}
    busy = any(x.queued or x.in_flight for x in briefs[0].loads)
    return len(ordered) > 1 or (bool(ordered) and busy)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
