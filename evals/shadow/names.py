"""Ids that a trace and a scenario may hold, for names that others gave."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BAD = re.compile(r"[^A-Za-z0-9._/-]+")


def safe_ids(names: Iterable[str]) -> dict[str, str]:
    """name → id, in order of the names: `llama3:8b` → `llama3-8b`. Two names never share an id."""
    found: dict[str, str] = {}
    for name in sorted(set(names)):
        base = _BAD.sub("-", name).strip("-._/") or "unnamed"
        made, n = base, 2
        while made in found.values():
            made, n = f"{base}-{n}", n + 1
        found[name] = made
    return found
