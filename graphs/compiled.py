"""The compiled graphs of a controller over one saver of checkpoints."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from edgewise.control.approvals import Word
from edgewise.control.state import EpochResult, Job, Ticket
from edgewise.domain.decision import Decision
from edgewise.settings import Settings
from graphs import epoch, slot
from graphs.asking import Left
from graphs.checkpoints import Retention
from graphs.state import dump, read, stored_settings
from graphs.tools import GraphTools


class Graphs:
    """The compiled graphs over one saver; a thread per decision."""

    def __init__(self, tools: GraphTools, saver: AsyncSqliteSaver, settings: Settings) -> None:
        self._settings = stored_settings(settings)
        self._slot = slot.build(tools).compile(checkpointer=saver, name="slot")
        self._epoch = epoch.build(tools).compile(checkpointer=saver, name="epoch")
        self._retention = Retention(saver)

    async def resume(self) -> int:
        """How many epochs earlier controllers of the run began."""
        return max((number_of(t) - 1 for t in await self._retention.resume() if t.startswith("e-")), default=0)

    async def slot(self, start: Ticket) -> tuple[Job, Decision, Decision | None]:
        """Job and decision; and where that is only what goes on while a person is asked, the decision asked for."""
        # 'exit' writes one checkpoint per decision: a third of the CPU of one per step, and a slot is short enough
        # to be decided again from its ticket.
        config = await self._thread(start)
        state = await self._slot.ainvoke(self._input(start), config, durability="exit")
        if state.get("__interrupt__"):
            return read(Job, state, "job"), read(Decision, state, "stand_in"), read(Decision, state, "decision")
        await self._retention.ended(start.decision_id)
        return read(Job, state, "job"), read(Decision, state, "decision"), None

    async def left(self, thread_id: str) -> Left | None:
        found = await self._slot.aget_state({"configurable": {"thread_id": thread_id}})
        if "stand_in" not in found.values:
            return None
        job, decision = read(Job, found.values, "job"), read(Decision, found.values, "decision")
        return Left("approve" in found.next, job, decision, read(Decision, found.values, "stand_in"))

    async def answer(self, thread_id: str, word: Word) -> Decision:
        config: Any = {"configurable": {"thread_id": thread_id}}
        state = await self._slot.ainvoke(Command(resume=dump(word)), config, durability="exit")
        await self._retention.ended(thread_id)
        return read(Decision, state, "decision")

    async def epoch(self, start: Ticket) -> Any:
        """Yields the epoch's result when the optimiser is done, and again when a language model added to it."""
        config = await self._thread(start)
        last = ""
        async for update in self._epoch.astream(self._input(start), config, stream_mode="updates", durability="exit"):
            for change in update.values():
                if change and "result" in change:
                    result = read(EpochResult, change, "result")
                    if result.id != last:
                        last = result.id
                        yield result
        await self._retention.ended(start.decision_id)

    async def _thread(self, start: Ticket) -> Any:
        await self._retention.begins(start.decision_id)
        return {"configurable": {"thread_id": start.decision_id}}

    def _input(self, start: Ticket) -> Any:
        return {"ticket": dump(start), "settings": self._settings}


def number_of(decision_id: str) -> int:
    tail = decision_id.rpartition("-")[2]
    return int(tail) + 1 if tail.isdigit() else 0
