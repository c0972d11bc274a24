"""The ladder's pure part: a model's text becomes a typed answer, or a reason why not. Never raises.

First rung: the text is exactly one JSON value that fits the schema and uses known names only (Rung.LLM). Second:
the value is found in prose, fences or reasoning, repaired by json_repair, and brought into shape; what cannot be
kept is dropped and noted (Rung.LLM_REPAIRED). A planner's answer that was cut off counts only when its placement was
complete by then: half a placement would empty the nodes it had not come to. A Form says what an agent's answer is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

import json_repair
from pydantic import ValidationError

from agents.answer import Names, PlannerAnswer, Strict
from agents.extract import Fragment, fragments, strip_thinking, too_deep
from agents.mending import Cut
from agents.shape import fits, shaped
from edgewise.domain.decision import Rung

MAX_TEXT_CHARS = 16 * 1024  # far above any plan that fits the token limit


A = TypeVar("A", bound=Strict)


@dataclass(frozen=True)
class Form(Generic[A]):
    """What an agent's answer is. kind: its schema. fits: whether it names what it may only. shaped: it from JSON that
    is not quite it, given whether it was closed. marks: one of these words is in every answer. wanted: what was not
    found, in words for the model."""

    kind: type[A]
    fits: Callable[[A, Names], bool]
    shaped: Callable[[Any, bool, Names], tuple[A, tuple[str, ...]] | Cut]
    marks: tuple[str, ...]
    wanted: str


PLANNER = Form(PlannerAnswer, fits, shaped, ("replicas", "node"), "no object with a `replicas` list")


@dataclass(frozen=True, slots=True)
class Reading(Generic[A]):
    """`answer` and `rung` are None together; then `reason` says what was wrong, in words a model can act on."""

    answer: A | None
    rung: Rung | None
    notes: tuple[str, ...] = ()
    reason: str = ""


def read_answer(text: str, names: Names, finish_reason: str = "stop") -> Reading[PlannerAnswer]:
    """What the planner's text means."""
    return read(text, names, PLANNER, finish_reason)


def read(text: str, names: Names, form: Form[A], finish_reason: str = "stop") -> Reading[A]:
    """What an agent's text means, by the first rung or the second."""
    return constrained(text, names, form) or repaired(text, names, form, finish_reason)


def constrained(text: str, names: Names, form: Form[A]) -> Reading[A] | None:
    """The first rung: the text is valid as it came (strict JSON, the schema, known names only). None: it is not."""
    if len(text) > MAX_TEXT_CHARS:
        return None
    try:
        plain = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        answer = form.kind.model_validate(plain)
    except (ValueError, RecursionError, ValidationError):
        return None
    return Reading(answer, Rung.LLM) if form.fits(answer, names) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def repaired(text: str, names: Names, form: Form[A], finish_reason: str = "stop") -> Reading[A]:
    """The second rung: what can be made of the text. `finish_reason` is the server's; it only sharpens the reason."""
    if not text.strip():
        return Reading(None, None, reason="the answer is empty")
    if len(text) > MAX_TEXT_CHARS:
        return Reading(None, None, reason=f"the answer is longer than {MAX_TEXT_CHARS} characters")
    text = strip_thinking(text)
    if too_deep(text):
        return Reading(None, None, reason="the answer is nested too deeply")
    good: list[tuple[A, tuple[str, ...]]] = []
    reasons: list[str] = []
    for fragment in fragments(text):
        outcome = _from_fragment(fragment, names, form)
        if isinstance(outcome, Cut):
            reasons.append(outcome.reason)
        elif outcome not in good:
            good.append(outcome)
    if good:
        # A model that corrects itself puts the better answer last.
        answer, notes = good[-1]
        several = (f"{len(good)} different answers given, the last one taken",) if len(good) > 1 else ()
        return Reading(answer, Rung.LLM_REPAIRED, several + notes)
    if finish_reason == "length":
        reasons.insert(0, "the answer was cut off at the token limit")
    return Reading(None, None, reason="; ".join(reasons[:3]) or "the answer holds no JSON object")


def _from_fragment(fragment: Fragment, names: Names, form: Form[A]) -> tuple[A, tuple[str, ...]] | Cut:
    lower = fragment.text.casefold()
    if not any(mark in lower for mark in form.marks):
        return Cut(form.wanted)
    try:
        plain = json.loads(fragment.text)
    except (ValueError, RecursionError):
        if _implausible(fragment.text, len(names.nodes)):
            return Cut("not JSON, and far too long or with too many brackets for a plan")
        try:
            plain = json_repair.loads(fragment.text, skip_json_loads=True)
        except Exception as error:  # a third-party parser fed with garbage: whatever it raises means "not JSON"
            return Cut(f"not JSON: {type(error).__name__}")
    return form.shaped(plain, fragment.closed, names)


def _implausible(text: str, nodes: int) -> bool:
    """Whether no plan for so many nodes looks like this. json_repair's time grows with the square of what it
    cannot repair (a minute for 16 KiB of stray brackets), so it is only shown what may be worth it."""
    return len(text) > 4000 + 150 * nodes or sum(map(text.count, "{}[]")) > 60 + 20 * nodes
