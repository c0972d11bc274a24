"""State for a model's eyes: compact tables of JSON, in which nothing from outside can be but a string. Pure.

Node and model names, notes and errors come from outside; they enter only as JSON strings in which <, > and & are
escaped, so that no name can close the data block or start a line of its own. Figures are rounded: the last digits
carry no information and cost tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any


def table(columns: list[str], rows: Iterable[list[Any]]) -> dict[str, Any]:
    return {"columns": columns, "rows": [[rounded(v) for v in row] for row in rows]}


def rounded(value: Any) -> Any:
    """Four significant digits, in lists too; None for what is not a finite number."""
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None


def document(state: Mapping[str, Any]) -> str:
    """One line per entry and per row: compact, and a person can still read it."""
    lines = []
    for key, value in state.items():
        if isinstance(value, dict) and set(value) == {"columns", "rows"}:
            rows = ",\n  ".join(text(r) for r in value["rows"])
            body = f'{{"columns": {text(value["columns"])}, "rows": [\n  {rows}]}}'
        else:
            body = text(value)
        lines.append(f"{text(key)}: {body}")
    return "{\n" + ",\n".join(lines) + "\n}"


def bounded(state: Mapping[str, Any], limit: int) -> str:
    """The document in at most about `limit` characters: rows are left out from the end of the longest table, and it
    is said how many."""
    state, left_out = dict(state), 0
    while len(found := document(state | ({"rows_left_out": left_out} if left_out else {}))) > limit:
        tables = [k for k, v in state.items() if isinstance(v, dict) and v.get("rows")]
        if not tables:
            return document({"error": "the answer is too long; ask for less"})
        longest = max(tables, key=lambda k: len(state[k]["rows"]))
        rows = state[longest]["rows"]
        gone = max(1, len(rows) // 8)
        state[longest] = state[longest] | {"rows": rows[:-gone]}
        left_out += gone
    return found


def text(value: Any) -> str:
    """JSON in ASCII, with the characters that could end the data block escaped."""
    found = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
