"""A deployer's answer: the order of changes given to it, waits, and vetoes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from agents.answer import MAX_REASON_CHARS, Names, Strict, a_list, an_object, one_of
from agents.ladder import Form
from agents.mending import Cut, Notes, clean_text, fields_of, number, rows
from edgewise.domain.plan import ChangeKind

KINDS = (ChangeKind.LOAD.value, ChangeKind.DRAIN.value, ChangeKind.UNLOAD.value)
MAX_ENTRIES = 40
MAX_VETO_CHARS = 120
LONGEST_WAIT_S = 3600.0  # the slot bounds it further


class Step(Strict):
    change: str
    model: str
    wait_s: float = Field(0.0, ge=0, le=LONGEST_WAIT_S, allow_inf_nan=False)


class Refusal(Strict):
    change: str
    model: str
    reason: str = ""


class DeployerAnswer(Strict):
    """Changes that are not named go last, without a wait."""

    order: list[Step] = Field([], max_length=MAX_ENTRIES)
    vetoes: list[Refusal] = Field([], max_length=MAX_ENTRIES)
    reason: str = ""


def deployer_schema(names: Names) -> Mapping[str, object]:
    change, model = one_of(KINDS), one_of(names.models)
    return an_object(
        order=a_list(an_object(change=change, model=model, wait_s={"type": "number"})),
        vetoes=a_list(an_object(change=change, model=model, reason={"type": "string"})),
        reason={"type": "string"},
    )


def _fits(answer: DeployerAnswer, names: Names) -> bool:
    both = [(s.change, s.model) for s in answer.order] + [(v.change, v.model) for v in answer.vetoes]
    return {m for _, m in both} <= set(names.models) and {c for c, _ in both} <= set(KINDS)


def _shaped(plain: Any, closed: bool, names: Names) -> tuple[DeployerAnswer, tuple[str, ...]] | Cut:
    fields = fields_of(plain, "order")
    if fields is None or not {"order", "vetoes"} & set(fields):
        return Cut(DEPLOYER.wanted)
    notes = Notes(names)
    steps = [s for row in rows(fields.get("order"), "model") if (s := _step(row, notes)) is not None]
    vetoes = [v for row in rows(fields.get("vetoes"), "model") if (v := _refusal(row, notes)) is not None]
    if not steps and not vetoes and (notes.lines or not closed):
        return Cut("; ".join(["no entry could be used", *notes.lines[:3]]))
    reason = clean_text(str(fields.get("reason") or ""), MAX_REASON_CHARS)
    return DeployerAnswer(order=steps[:MAX_ENTRIES], vetoes=vetoes[:MAX_ENTRIES], reason=reason), tuple(notes.lines)


def _step(row: Mapping[str, Any], notes: Notes) -> Step | None:
    change, model = _change(row, notes), notes.model(row["model"])
    wait_s = number(row.get("wait_s", 0.0), 0.0, LONGEST_WAIT_S, "wait_s", notes)
    if change is None or model is None or (wait_s is None and row.get("wait_s") not in (None, "")):
        return None
    return Step(change=change, model=model, wait_s=wait_s or 0.0)


def _refusal(row: Mapping[str, Any], notes: Notes) -> Refusal | None:
    change, model = _change(row, notes), notes.model(row["model"])
    if change is None or model is None:
        return None
    return Refusal(change=change, model=model, reason=clean_text(str(row.get("reason") or ""), MAX_VETO_CHARS))


def _change(row: Mapping[str, Any], notes: Notes) -> str | None:
    value = str(row.get("change", "")).strip().casefold()
    if value not in KINDS:
        notes.add(f"unknown change {clean_text(value, 20)!r} dropped")
        return None
    return value


DEPLOYER = Form(DeployerAnswer, _fits, _shaped, ("order", "vetoes"), "no object with an `order` and a `vetoes` list")
