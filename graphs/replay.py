"""Recorded decisions made again: the same graphs from the same checkpoints, by tools that answer what the doors
answered then and touch nothing.

A slot is run up to its gate and an epoch to its end; nodes with an effect (act, record, reflect) are never entered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import StateGraph
from langgraph.types import StateSnapshot

from agents.deployment import Deployed
from agents.proposal import Proposal
from edgewise.control.state import EpochResult, Job, NodeBrief, Ticket
from edgewise.domain.decision import LlmUse
from edgewise.domain.errors import BadInput
from edgewise.domain.observation import Observation
from edgewise.domain.records import RecalledCase
from edgewise.settings import Settings, load_settings
from graphs import epoch, slot
from graphs.packing import serializer
from graphs.proposing import NOTHING, Heard, doors
from graphs.state import Plain, read
from graphs.tools import OfflineTools

SLOT_END = "gate"  # after it, nodes have effects
EPOCH_END = "propose"


@dataclass(frozen=True, slots=True)
class Thread:
    """One recorded decision (`d-…`) or epoch (`e-…`): the state as it was left. pending: nodes it had not come to
    when it was cut off, or where it waits. decided: what the gate said, whatever a person made of it later.
    of_slot: the slot it is counted with, where that is not the one it was started in."""

    id: str
    values: Plain
    pending: tuple[str, ...] = ()
    decided: Plain | None = None
    of_slot: int | None = None

    @property
    def is_slot(self) -> bool:
        return self.id.startswith("d-")

    @property
    def slot(self) -> int:
        return int(self.values["ticket"]["slot"]) if self.of_slot is None else self.of_slot

    @property
    def whole(self) -> bool:
        """Whether there is something to compare with."""
        return ("decision" if self.is_slot else "result") in self.values and "settings" in self.values

    def settings(self, **changes: Any) -> Settings:
        """Those the decision was made with. Raises BadInput where it does not say, or knows others than ours."""
        kept = self.values.get("settings")
        if kept is None:
            raise BadInput("its settings were not recorded", where=self.id, hint="recorded by an earlier version")
        unknown = sorted(set(kept) - set(Settings.model_fields))
        if unknown:
            raise BadInput(f"recorded with settings not known here: {', '.join(unknown)}", where=self.id)
        return load_settings(**{**kept, **changes})


class ReplayTools(OfflineTools):
    """Implements GraphTools for one thread: what the doors answered then, and no effects. heard: what agents hear;
    they are asked only where the thread's were (`asks`)."""

    def __init__(self, thread: Thread, settings: Settings, heard: Heard = NOTHING, asks: bool | None = None) -> None:
        self.settings = settings
        self._job = read(Job, thread.values, "job")
        self._notes = "; ".join(thread.values.get("notes", []))
        asks = was_asked(thread) if asks is None else asks
        self._doors = doors(heard if asks else NOTHING, settings)

    async def observe(self, ticket: Ticket) -> Observation:
        return ticket.observation or self._job.observation

    async def recall(self, job: Job) -> tuple[Sequence[RecalledCase], str]:
        return self._job.cases, self._notes

    async def propose(self, job: Job, result: EpochResult) -> Proposal:
        return await self._doors.propose(job, result)

    async def deploy(self, node: str, briefs: Sequence[NodeBrief]) -> Deployed:
        return await self._doors.deploy(node, briefs)


def was_asked(thread: Thread) -> bool:
    """Whether a slot's deployers or an epoch's planner asked a language model, or would have, had there been anything
    new. It is an input of the decision: a demoted model rests."""
    if thread.is_slot:
        return bool(thread.values.get("uses"))
    result = thread.values.get("result")
    return result is not None and read(EpochResult, thread.values, "result").llm != LlmUse()


async def threads_of(saver: AsyncSqliteSaver) -> tuple[Thread, ...]:
    """All threads of a run, oldest first. Those that cannot be read are left out."""
    async with saver.conn.execute(
        "SELECT thread_id FROM checkpoints WHERE checkpoint_ns = '' GROUP BY thread_id ORDER BY MIN(checkpoint_id)"
    ) as rows:
        names = [row[0] async for row in rows]
    silent = _Silent()
    graphs: dict[str, Any] = {
        "d-": slot.build(silent).compile(checkpointer=saver),
        "e-": epoch.build(silent).compile(checkpointer=saver),
    }
    found = []
    for name in names:
        if name[:2] in graphs:
            config: Any = {"configurable": {"thread_id": name}}
            history = [s async for s in graphs[name[:2]].aget_state_history(config)]
            found.append(thread_from(name, history))
    return tuple(found)


def thread_from(name: str, history: Sequence[StateSnapshot]) -> Thread:
    """A thread from its snapshots, newest first. Of one that waits or waited for a person, the gate's word is that of
    the snapshot in which it began to."""
    newest = history[0]
    waited = [s for s in history if "approve" in s.next and "decision" in s.values]
    decided = waited[-1].values["decision"] if waited else newest.values.get("decision")
    return Thread(name, dict(newest.values), tuple(newest.next), decided)


async def run_again(thread: Thread, tools: ReplayTools) -> Plain:
    """The state of the thread made again from its ticket: a slot's after the gate, an epoch's at its end or as
    far as it had come."""
    compiled, stop = built(thread, tools)
    start = {k: thread.values[k] for k in ("ticket", "settings") if k in thread.values}
    return dict(await compiled.ainvoke(start, config_of(thread), **stop))


def built(thread: Thread, tools: ReplayTools) -> tuple[Any, Plain]:
    """The thread's graph, compiled over memory, and where to stop it."""
    graph: StateGraph[Any] = slot.build(tools) if thread.is_slot else epoch.build(tools)
    stop: Plain = {"interrupt_after": [SLOT_END]} if thread.is_slot else {}
    if not thread.is_slot and thread.pending:
        stop = {"interrupt_before": list(thread.pending)}
    return graph.compile(checkpointer=InMemorySaver(serde=serializer())), stop


def config_of(thread: Thread) -> Any:
    return {"configurable": {"thread_id": thread.id}}


class _Silent:
    """Tools of a graph that is only looked at."""

    settings = Settings.model_construct()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a graph that is only looked at has no {name}")
