"""Ollama: `/api/tags` and `/api/ps`. It counts no requests; what can be seen is what is loaded, how much memory that
takes, and that a model was used (the time at which it will be unloaded moves on)."""

from __future__ import annotations

from typing import Any

from tools.foreign.page import GIB, Answers
from tools.foreign.records import Reading, Resident

TAGS, PS = "/api/tags", "/api/ps"


def is_it(answers: Answers) -> bool:
    """Other servers answer `/api/tags` for compatibility's sake; only Ollama tells what runs."""
    return all(isinstance(_models(answers, path), list) for path in (TAGS, PS))


def read(answers: Answers) -> Reading:
    resident = tuple(_resident(row) for row in _models(answers, PS) or () if _name(row))
    catalogue = {_name(row) for row in _models(answers, TAGS) or ()} | {r.model for r in resident}
    return Reading(resident=resident, models=tuple(sorted(catalogue - {""})))


def _models(answers: Answers, path: str) -> list[Any] | None:
    found = answers.json.get(path)
    rows = found.get("models") if isinstance(found, dict) else None
    return rows if isinstance(rows, list) else None


def _name(row: Any) -> str:
    return str(row.get("name") or row.get("model") or "") if isinstance(row, dict) else ""


def _resident(row: dict[str, Any]) -> Resident:
    """Memory is all that the model takes, on the accelerator and beside it."""
    size = row.get("size") or row.get("size_vram")
    memory_gib = float(size) / GIB if isinstance(size, int | float) and size > 0 else None
    return Resident("", _name(row), "ready", memory_gib, str(row.get("expires_at") or ""))
