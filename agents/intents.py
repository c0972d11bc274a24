"""A sentence of the operator's as a typed intent: one call of the language model, and once more when the answer could
not be used.

What comes out is a draft. It is shown back in words, and counts for nothing until the operator confirms it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import json_repair

from agents.extract import fragments, strip_thinking, too_deep
from agents.names import nearest
from agents.prompting import prompt
from agents.shape import clean_text
from agents.tables import text as quoted
from edgewise.control.intent_entries import MOST_TEXT, Fault, Known, intent_of
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest
from edgewise.domain.decision import LlmUse
from edgewise.domain.errors import Unavailable
from edgewise.domain.intent import Intent
from edgewise.domain.model import ModelSpec
from edgewise.domain.plan import ANY

VERSION = "intent-v1"
MAX_ANSWER_CHARS, MAX_BRACKETS = 8000, 200
MAX_NOTES = 12
_COLUMNS: dict[str, tuple[str, ...]] = {
    "weights": ("model", "access_node", "weight"),
    "floors": ("model", "share"),
    "pins": ("node", "model"),
    "waits": ("model", "latency_s"),
    "demand": ("model", "access_node", "rate_per_s", "times"),
}
_NUMBERS = ("weight", "share", "latency_s", "rate_per_s", "times")
_NAMES = {"model": "model", "node": "node", "access_node": "node"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Understood:
    """intent None: not understood, and `reason` says why. notes: what was read otherwise or left out, in words."""

    intent: Intent | None
    notes: tuple[str, ...] = ()
    reason: str = ""
    use: LlmUse = LlmUse()  # noqa: RUF009 (frozen)


async def understand(
    text: str,
    models: tuple[ModelSpec, ...],
    known: Known,
    chat: ChatModel,
    intent_id: str,
    timeout_s: float,
    max_tokens: int,
) -> Understood:
    """The intent a sentence means. Raises nothing but cancellation. timeout_s: of each of at most two calls."""
    request = intent_request(text, models, known, max_tokens)
    first, use = await _ask(chat, request, timeout_s)
    if first is None:
        return Understood(None, reason=use.error, use=use)
    found = read_intent(first.text, known, intent_id, text)
    if found.intent is not None:
        return replace(found, use=use)
    again, more = await _ask(chat, _reask(request, first.text, found.reason), timeout_s)
    use = use + more + LlmUse(reasks=1)
    if again is None:
        return Understood(None, reason=more.error, use=use)
    return replace(read_intent(again.text, known, intent_id, text), use=use)


def intent_request(text: str, models: tuple[ModelSpec, ...], known: Known, max_tokens: int) -> ChatRequest:
    """The question. Names and the sentence enter as JSON strings that cannot close the data block."""
    asked = prompt(VERSION)
    clock = known.moment.shows.strftime("%A %Y-%m-%dT%H:%M:%S") if known.moment else "unknown"
    data = {
        "now": clock,
        "nodes": list(known.nodes),
        "models": [{"model": m.id, "task": m.task.value} for m in models],
        "sentence": clean_text(text, MOST_TEXT),
    }
    return ChatRequest(VERSION, asked.system, asked.user.format(data=quoted(data)), _schema(known), max_tokens)


def read_intent(answer: str, known: Known, intent_id: str, text: str) -> Understood:
    """What the model's answer means: strict JSON as it came, else the last object in it, repaired. Never raises."""
    if not answer.strip():
        return Understood(None, reason="the answer is empty")
    if len(answer) > MAX_ANSWER_CHARS or too_deep(answer):
        return Understood(None, reason="the answer is too long or nested too deeply")
    try:
        candidates: list[Any] = [json.loads(answer)]
    except (ValueError, RecursionError):
        candidates = [_loaded(f.text) for f in fragments(strip_thinking(answer)) if f.closed]
    reason = "the answer holds no JSON object"
    for plain in reversed(candidates):
        if not isinstance(plain, Mapping):
            continue
        found = _read(plain, known, intent_id, text)
        if found.intent is not None:
            return found
        reason = found.reason
    return Understood(None, reason=reason)


def _read(plain: Mapping[str, Any], known: Known, intent_id: str, text: str) -> Understood:
    notes: list[str] = []
    entry: dict[str, Any] = {"id": intent_id, "text": clean_text(text, MOST_TEXT)}
    for key, columns in _COLUMNS.items():
        rows = plain.get(key)
        cleaned = [_row(r, columns, known, notes) for r in rows] if isinstance(rows, list) else []
        entry[key] = [r for r in cleaned if r is not None]
    for key in ("from", "until"):
        if isinstance(value := plain.get(key), str | int | float) and value != "":
            entry[key] = value
    entry["alpha"] = _number(plain.get("alpha"))
    if isinstance(unclear := plain.get("unclear"), str) and unclear.strip():
        notes.append(f"not understood: {clean_text(unclear, 200)}")
    try:
        intent = intent_of(entry, known, intent_id)
    except Fault as fault:
        place = ".".join(str(p) for p in fault.loc)
        said = "; ".join([f"{place}: {fault.message} ({fault.hint})" if place else fault.message, *notes[:3]])
        return Understood(None, reason=clean_text(said, 300))
    return Understood(intent, tuple(dict.fromkeys(notes))[:MAX_NOTES])


def _row(row: Any, columns: tuple[str, ...], known: Known, notes: list[str]) -> dict[str, Any] | None:
    """A row with the names and numbers it needs; None (noted) when a name is unknown."""
    if not isinstance(row, Mapping):
        return None
    out: dict[str, Any] = {}
    for key in columns:
        value = row.get(key)
        if value is None or value == "":
            continue
        if key in _NAMES and value != ANY:
            names = tuple(known.models if _NAMES[key] == "model" else known.nodes)
            name = nearest(value, names) if isinstance(value, str) else None
            if name is None:
                notes.append(f"unknown {_NAMES[key]} {clean_text(str(value), 40)!r} left out")
                return None
            if name != value:
                notes.append(f"{_NAMES[key]} {clean_text(str(value), 40)!r} read as {name!r}")
            out[key] = name
        else:
            out[key] = _number(value) if key in _NUMBERS else value
    return out


def _number(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if sum(map(text.count, "{}[]")) > MAX_BRACKETS:  # json_repair takes very long over garbage
        return None
    try:
        return json_repair.loads(text, skip_json_loads=True)
    except Exception:  # a third-party parser fed with garbage: whatever it raises means "not JSON"
        return None


async def _ask(chat: ChatModel, request: ChatRequest, timeout_s: float) -> tuple[ChatReply | None, LlmUse]:
    try:
        reply = await chat.ask(request, timeout_s)
    except Unavailable as error:
        return None, LlmUse(calls=1, fallbacks=1, error=clean_text(error.message, 300))
    except Exception as error:  # a mistake of ours here may cost a draft, never the API
        _log.exception("the intent call failed")
        return None, LlmUse(calls=1, fallbacks=1, error=f"{type(error).__name__}: {clean_text(str(error), 200)}")
    return reply, LlmUse(calls=1, tokens=reply.tokens, seconds=reply.seconds)


def _reask(first: ChatRequest, answer: str, problem: str) -> ChatRequest:
    frame = prompt(VERSION).reask
    more = frame.format(problem=quoted(clean_text(problem, 300)), answer=quoted(clean_text(answer, 400)))
    return replace(first, key=f"{first.key}-reask", user=first.user + more)


def _schema(known: Known) -> Mapping[str, object]:
    """The answer's JSON schema in the subset that strict structured output takes."""
    kinds: dict[str, object] = {
        "model": {"type": "string", "enum": [*known.models, ANY]},
        "node": {"type": "string", "enum": list(known.nodes)},
        "access_node": {"type": "string", "enum": [*known.nodes, ANY]},
        **{key: {"type": "number"} for key in ("weight", "share", "latency_s")},
        **{key: {"type": ["number", "null"]} for key in ("rate_per_s", "times")},
    }
    lists = {
        key: {"type": "array", "items": _object({c: kinds[c] for c in columns})} for key, columns in _COLUMNS.items()
    }
    text = {"type": ["string", "null"]}
    return _object({**lists, "alpha": {"type": ["number", "null"]}, "from": text, "until": text, "unclear": text})


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
