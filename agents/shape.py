"""Bringing a parsed but imperfect answer into the planner's schema. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.answer import (
    MAX_ALPHA,
    MAX_EXPIRES_SLOTS,
    MAX_REASON_CHARS,
    MAX_ROLE_CHARS,
    ModelFloor,
    Names,
    NodeModels,
    NodeRole,
    Pin,
    PlannerAnswer,
)
from agents.mending import Cut, Notes, entries, fields_of, number, rows, whole
from agents.mending import clean_text as clean_text


def shaped(plain: Any, closed: bool, names: Names) -> tuple[PlannerAnswer, tuple[str, ...]] | Cut:
    """The answer and notes of what was changed. `closed` False: the text ended inside this value."""
    fields = _fields(plain)
    if fields is None or "replicas" not in fields:
        return Cut("no object with a `replicas` list")
    # Keys keep their order, so a later key proves that the placement was finished before the cut.
    if not closed and list(fields)[-1] == "replicas":
        return Cut("the answer ends in the middle of the placement")
    notes = Notes(names)
    placement = _placement(fields["replicas"], notes)
    if not any(placement.values()):
        return Cut("; ".join(["`replicas` names no known node with a known model", *notes.lines[:3]]))
    answer = PlannerAnswer(
        replicas=[NodeModels(node=n, models=m) for n, m in placement.items()],
        roles=_roles(fields.get("roles"), notes),
        alpha=number(fields.get("alpha"), 0.0, MAX_ALPHA, "alpha", notes),
        expires_slots=whole(number(fields.get("expires_slots"), 1, MAX_EXPIRES_SLOTS, "expires_slots", notes)),
        floors=_floors(fields.get("floors"), notes),
        pins=_pins(fields.get("pins"), placement, notes),
        reason=clean_text(str(fields.get("reason") or ""), MAX_REASON_CHARS),
    )
    return answer, tuple(notes.lines)


def _fields(plain: Any) -> dict[str, Any] | None:
    """As mending.fields_of; a bare list counts as the placement."""
    if isinstance(plain, list):
        fits = plain and all(isinstance(e, Mapping) and "node" in e for e in plain)
        return {"replicas": plain} if fits else None
    return fields_of(plain, "replicas")


def _placement(value: Any, notes: Notes) -> dict[str, list[str]]:
    """Models by node. Takes a list of {node, models}, of {node, model}, or a mapping from node to models."""
    placement: dict[str, list[str]] = {}
    for name, wanted in entries(value, ("models", "model")):
        node = notes.node(name)
        if node is None:
            continue
        here = placement.setdefault(node, [])
        for item in _models(wanted, notes):
            model = notes.model(item)
            if model is not None and model not in here:
                here.append(model)
    return placement


def _models(value: Any, notes: Notes) -> list[Any]:
    """Model names from a list, a comma-separated string, or a mapping from model to weight."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, Mapping):
        return [m for m, w in value.items() if number(w, 0.0, 1.0, f"weight of {clean_text(str(m), 40)}", notes)]
    if not isinstance(value, list):
        return []
    return [
        next((i[k] for k in ("model", "id", "name") if k in i), i) if isinstance(i, Mapping) else i for i in value
    ]


def _roles(value: Any, notes: Notes) -> list[NodeRole]:
    roles: dict[str, str] = {}
    for name, role in entries(value, ("role",)):
        node = notes.node(name)
        if node is not None and isinstance(role, str) and role.strip():
            roles[node] = clean_text(role, MAX_ROLE_CHARS)
    return [NodeRole(node=n, role=r) for n, r in roles.items()]


def _floors(value: Any, notes: Notes) -> list[ModelFloor]:
    """From a list of {model, share} or a mapping from model to share."""
    if isinstance(value, Mapping) and "model" not in value:
        value = [{"model": m, "share": s} for m, s in value.items()]
    floors: dict[str, float] = {}
    for row in rows(value, "model"):
        model, share = notes.model(row["model"]), number(row.get("share"), 0.0, 1.0, "a floor", notes)
        if model is not None and share is not None:
            floors[model] = share
    return [ModelFloor(model=m, share=s) for m, s in floors.items()]


def _pins(value: Any, placement: Mapping[str, list[str]], notes: Notes) -> list[Pin]:
    """From a list of {node, model} or {node, models}, or a mapping from node to models; those in the placement."""
    pins: list[Pin] = []
    for name, wanted in entries(value, ("model", "models")):
        node = notes.node(name)
        for item in _models(wanted, notes) if node is not None else ():
            model = notes.model(item)
            if node is None or model is None:
                continue
            if model not in placement.get(node, ()):
                notes.add(f"pin of {model} on {node} dropped: it is not in the placement")
            elif (pin := Pin(node=node, model=model)) not in pins:
                pins.append(pin)
    return pins


def fits(answer: PlannerAnswer, names: Names) -> bool:
    """Whether it names known nodes and models only, places something, and pins only what it places."""
    pairs = set(answer.pairs())
    nodes = {e.node for e in answer.replicas} | {r.node for r in answer.roles}
    models = {m for e in answer.replicas for m in e.models} | {f.model for f in answer.floors}
    pinned = {(p.node, p.model) for p in answer.pins} <= pairs
    return bool(pairs) and pinned and nodes <= set(names.nodes) and models <= set(names.models)
