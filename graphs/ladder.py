"""The ladder that every agent's answer goes down, as a graph: ask → constrained → repair → reask → … → optimiser.

Each edge leaves where an answer was found, or goes one rung on; the last one is the optimiser's plan, which needs no
answer. The graph has no checkpoints: what was asked and heard is in the recordings, and it is run again from there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from agents.asking import Asked, Asker, Start
from agents.ladder import Reading
from edgewise.control.ports import ChatReply, ChatRequest
from edgewise.domain.decision import LlmUse, Rung


class ClimbState(TypedDict, total=False):
    """asker, start: the input. request: what is asked next, within left_s. reply: what was heard, None for nothing.
    asked: the reading so far, with all that was spent. first: what was wrong with the first answer, once it is asked
    for again."""

    asker: Asker[Any]
    start: Start
    request: ChatRequest
    left_s: float
    reply: ChatReply | None
    asked: Asked[Any]
    first: str


def build() -> StateGraph[ClimbState]:
    """The graph, not compiled."""
    graph = StateGraph(ClimbState)
    for node in (ask, constrained, repair, reask, optimiser):
        graph.add_node(node.__name__, node)
    graph.add_conditional_edges(START, _begin, ["ask", "constrained"])
    graph.add_conditional_edges("ask", _heard, ["constrained", "optimiser"])
    graph.add_conditional_edges("constrained", _valid, {"yes": END, "no": "repair"})
    graph.add_conditional_edges("repair", _usable, {"yes": END, "again": "reask", "no": "optimiser"})
    graph.add_edge("reask", "ask")
    graph.add_edge("optimiser", END)
    return graph


async def climb(asker: Asker[Any], start: Start) -> Asked[Any]:
    """Implements agents.asking.Climb."""
    nothing: Asked[Any] = Asked(asker.nothing(""), LlmUse())
    state = ClimbState(asker=asker, start=start, request=start.request, left_s=start.left_s, asked=nothing, first="")
    if start.reply is not None:
        state |= {"reply": start.reply, "asked": _paid(nothing, asker, start.reply)}
    ended = await _LADDER.ainvoke(state)
    found: Asked[Any] = ended["asked"]
    return found


async def ask(state: ClimbState) -> dict[str, Any]:
    asker, before = state["asker"], state["asked"]
    heard = await asker.ask(state["request"], state["left_s"])
    if isinstance(heard, Asked):
        return {"reply": None, "asked": _more(before, heard.reading, heard.use, heard.seconds)}
    return {"reply": heard, "asked": _paid(before, asker, heard)}


async def constrained(state: ClimbState) -> dict[str, Any]:
    """The reply as it came."""
    reading = state["asker"].constrained(_reply(state))
    return {} if reading is None else {"asked": _found(state, reading)}


async def repair(state: ClimbState) -> dict[str, Any]:
    """What can be made of it."""
    reading = await state["asker"].repaired(_reply(state))
    return {"asked": _found(state, reading)}


async def reask(state: ClimbState) -> dict[str, Any]:
    """The same question again, with what was wrong with the answer."""
    asked, reply = state["asked"], _reply(state)
    why = asked.reading.reason
    return {
        "request": state["asker"].reask_request(state["request"], reply.text, why),
        "left_s": state["left_s"] - reply.seconds,
        "asked": replace(asked, use=asked.use + LlmUse(reasks=1)),
        "first": why,
    }


async def optimiser(state: ClimbState) -> dict[str, Any]:
    """Nobody answered usably: the optimiser's plan stands, and the reading says why."""
    return {"asked": replace(state["asked"], reading=state["asker"].nothing(state["asked"].reading.reason))}


def _begin(state: ClimbState) -> str:
    return "constrained" if state.get("reply") is not None else "ask"


def _heard(state: ClimbState) -> str:
    return "constrained" if state.get("reply") is not None else "optimiser"


def _valid(state: ClimbState) -> str:
    return "yes" if state["asked"].reading.answer is not None else "no"


def _usable(state: ClimbState) -> str:
    asked, start, reply = state["asked"], state["start"], _reply(state)
    if asked.reading.answer is not None:
        return "yes"
    if state["first"]:
        return "no"
    if start.may_reask is not None:
        return "again" if start.may_reask(reply, asked.use) else "no"
    return "again" if state["left_s"] - reply.seconds >= reply.seconds else "no"


def _reply(state: ClimbState) -> ChatReply:
    reply = state.get("reply")
    assert reply is not None  # only reached with one
    return reply


def _found(state: ClimbState, reading: Reading[Any]) -> Asked[Any]:
    """The reading with what was spent; of a second answer, with what was wrong with the first."""
    asked = state["asked"]
    repairs = LlmUse(repairs=int(reading.rung is Rung.LLM_REPAIRED))
    if reading.answer is not None and state["first"]:
        reading = Reading(reading.answer, Rung.LLM_REASKED, (f"re-asked: {state['first']}", *reading.notes))
    return _more(asked, reading, repairs, 0.0)


def _paid(asked: Asked[Any], asker: Asker[Any], reply: ChatReply) -> Asked[Any]:
    return _more(asked, asked.reading, asker.cost(reply), reply.seconds)


def _more(asked: Asked[Any], reading: Reading[Any], use: LlmUse, seconds: float) -> Asked[Any]:
    return Asked(reading, asked.use + use, max(asked.seconds, seconds))


# False, not None: it would take over the checkpoints of the graph it is called in, which cannot hold an Asker.
_LADDER: Any = build().compile(name="ladder", checkpointer=False)
