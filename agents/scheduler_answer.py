"""The scheduler's answer: factors on weights and shares the optimiser made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from agents.answer import MAX_REASON_CHARS, Names, Strict, a_list, an_object, one_of
from agents.ladder import Form
from agents.mending import Cut, Notes, clean_text, fields_of, number, rows
from edgewise.control.reweigh import LEAST_TIMES, MOST_TIMES
from edgewise.domain.plan import ANY

MAX_ENTRIES = 40


class RouteFactor(Strict):
    access_node: str
    model: str
    node: str
    times: float = Field(ge=LEAST_TIMES, le=MOST_TIMES, allow_inf_nan=False)


class ShareFactor(Strict):
    node: str
    model: str
    times: float = Field(ge=LEAST_TIMES, le=MOST_TIMES, allow_inf_nan=False)


class SchedulerAnswer(Strict):
    """Both lists empty: leave everything as it is."""

    routes: list[RouteFactor] = Field([], max_length=MAX_ENTRIES)
    shares: list[ShareFactor] = Field([], max_length=MAX_ENTRIES)
    reason: str = ""


def scheduler_schema(names: Names) -> Mapping[str, object]:
    node, model, times = one_of(names.nodes), one_of(names.models), {"type": "number"}
    return an_object(
        routes=a_list(an_object(access_node=one_of((*names.nodes, ANY)), model=model, node=node, times=times)),
        shares=a_list(an_object(node=node, model=model, times=times)),
        reason={"type": "string"},
    )


def _fits(answer: SchedulerAnswer, names: Names) -> bool:
    nodes = {r.node for r in answer.routes} | {s.node for s in answer.shares}
    access = {r.access_node for r in answer.routes} - {ANY}
    models = {r.model for r in answer.routes} | {s.model for s in answer.shares}
    return nodes | access <= set(names.nodes) and models <= set(names.models)


def _shaped(plain: Any, closed: bool, names: Names) -> tuple[SchedulerAnswer, tuple[str, ...]] | Cut:
    """Entries stand alone, so those before a cut count; the one that was cut does not."""
    fields = fields_of(plain, "routes")
    if fields is None or not {"routes", "shares"} & set(fields):
        return Cut(SCHEDULER.wanted)
    notes = Notes(names)
    routes = [r for row in rows(fields.get("routes"), "node") if (r := _route(row, notes)) is not None]
    shares = [s for row in rows(fields.get("shares"), "node") if (s := _share(row, notes)) is not None]
    if not routes and not shares and (notes.lines or not closed):
        return Cut("; ".join(["no entry could be used", *notes.lines[:3]]))
    reason = clean_text(str(fields.get("reason") or ""), MAX_REASON_CHARS)
    if len(routes) > MAX_ENTRIES or len(shares) > MAX_ENTRIES:
        notes.add(f"only the first {MAX_ENTRIES} entries of a list taken")
    answer = SchedulerAnswer(routes=routes[:MAX_ENTRIES], shares=shares[:MAX_ENTRIES], reason=reason)
    return answer, tuple(notes.lines)


def _route(row: Mapping[str, Any], notes: Notes) -> RouteFactor | None:
    entry = row.get("access_node", ANY)
    access = ANY if entry in (ANY, "", None, "any", "all") else notes.node(entry)
    share = _share(row, notes)
    if access is None or share is None:
        return None
    return RouteFactor(access_node=access, model=share.model, node=share.node, times=share.times)


def _share(row: Mapping[str, Any], notes: Notes) -> ShareFactor | None:
    node, model = notes.node(row["node"]), notes.model(row.get("model"))
    times = number(row.get("times"), LEAST_TIMES, MOST_TIMES, "times", notes)
    if node is None or model is None or times is None:
        return None
    return ShareFactor(node=node, model=model, times=times)


SCHEDULER = Form(
    SchedulerAnswer, _fits, _shaped, ("routes", "shares"), "no object with a `routes` and a `shares` list"
)
