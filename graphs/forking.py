"""One recorded decision taken another way: LangGraph's time travel to the checkpoint before its plan, with what was
edited written there, and on from it up to the gate. Nothing with an effect is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from edgewise.control.state import EpochResult, Job, Ticket
from edgewise.settings import Settings
from graphs import epoch, slot
from graphs.packing import serializer
from graphs.proposing import Heard
from graphs.replay import SLOT_END, ReplayTools, Thread, config_of
from graphs.state import Plain, dump, read, stored_settings

RECALL, PLAN = "recall", "plan"


async def fork(
    thread: Thread, settings: Settings, change: Callable[[Job], Job], heard: Heard, live: Heard, replan: bool
) -> Plain:
    """The slot's state after the gate when its job is changed before `plan` and `settings` rule from there on.
    replan: the planner looks first, at the changed job; live: a language model it may ask. heard: what agents
    heard then."""
    saver = InMemorySaver(serde=serializer())
    config = config_of(thread)
    past: Any = slot.build(ReplayTools(thread, thread.settings(), heard)).compile(checkpointer=saver)
    start = {k: thread.values[k] for k in ("ticket", "settings")}
    await past.ainvoke(start, config, interrupt_after=[RECALL])
    before = await past.aget_state(config)
    job = change(read(Job, before.values, "job"))
    if replan:
        job = await _planned(thread, job, settings, live)
    other: Any = slot.build(ReplayTools(thread, settings, live, asks=live.chat is not None)).compile(
        checkpointer=saver
    )
    changed = {"job": dump(job), "settings": stored_settings(settings)}
    there = await other.aupdate_state(before.config, changed, as_node=RECALL)
    return dict(await other.ainvoke(None, there, interrupt_after=[SLOT_END]))


async def _planned(thread: Thread, job: Job, settings: Settings, live: Heard) -> Job:
    """The job with the result of a planner that looked at it. What a language model had proposed stays on offer
    unless one is asked now."""
    ticket = read(Ticket, thread.values, "ticket")
    start = replace(
        ticket, decision_id=f"{job.decision_id}-e", observation=job.observation, track=job.track, result=None
    )
    seen = Thread(start.decision_id, {"job": dump(job), "ticket": dump(start)})
    tools = ReplayTools(seen, settings, live, asks=live.chat is not None)
    state: Any = await epoch.build(tools).compile().ainvoke({"ticket": dump(start)})
    result = read(EpochResult, state, "result")
    if live.chat is None and job.result is not None:
        kept = tuple(p for p in job.result.plans if p.source not in ("optimiser", "case"))
        result = replace(result, plans=(*result.plans, *kept))
    return replace(job, result=result, result_new=True)
