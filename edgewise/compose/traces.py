"""`edgewise traces`: public traces into ours, and runs into traces."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console

from edgewise.domain.errors import BadInput
from evals.readers.convert import check_out, convert
from evals.readers.records import NS
from evals.readers.registry import FORMATS
from evals.record import record
from evals.traces import ModelClass, nearest, write_trace
from tools.rundir import EVENTS


def convert_trace(
    file: Path,
    out: Path,
    format_name: str | None = None,
    model_class: str | None = None,
    start_s: float = 0.0,
    until_s: float | None = None,
) -> dict[str, Any]:
    """Convert a public trace; what was read, written and left out. Raises BadInput (where = file:line)."""
    until = math.inf if until_s is None else until_s
    kind = _class(model_class)
    made = convert(file, out, format_name=format_name, model_class=kind, start_s=start_s, until_s=until)
    found = made.survey
    return {
        "file": str(file),
        "out": str(made.out),
        "format": found.format.name,
        "dataset": found.format.dataset,
        "prompts": made.rows,
        "requests_in_file": found.requests,
        "span_s": (found.last_ns - found.first_ns) / NS,
        "starts_at": made.starts_at,
        "out_of_order": found.out_of_order,
        "dropped": found.dropped,
        "remarks": found.remarks,
        "unknown": found.unknown,
        "notes": list(found.format.notes),
    }


def record_trace(run: Path, out: Path) -> dict[str, Any]:
    """Write a run's prompts as a trace. Raises BadInput (where = file:line)."""
    check_out(out, run / EVENTS)
    made = record(run)
    return {
        "run": str(run),
        "out": str(out),
        "prompts": write_trace(out, made.rows),
        "span_s": made.rows[-1].timestamp_s,
        "starts_at": f"run second {made.first_s:.12g}, the first arrival",
        "statuses": dict(made.statuses),
        "unknown": {name: count for name, count in made.unknown.items() if count},
        "notes": list(made.notes),
    }


def print_made(made: dict[str, Any]) -> None:
    """For a person: what was written, and all that is not as the original has it."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    of = f" from {made['requests_in_file']:,} requests" if "requests_in_file" in made else ""
    console.print(f"{made['out']}: {made['prompts']:,} prompts{of}; second 0 is {made['starts_at']}")
    if "format" in made:
        console.print(f"  read as {made['format']}: {made['dataset']}, {made['span_s']:,.3f} s")
        console.print(f"  out of order in the file: {made['out_of_order']:,} (sorted here)")
    for key, says in (("statuses", "ended"), ("dropped", "left out"), ("remarks", "counted"), ("unknown", "unknown")):
        for what, count in made.get(key, {}).items():
            console.print(f"  {says}: {count:,} {what}")
    for note in made["notes"]:
        console.print(f"  note: {note}")


def formats_help() -> str:
    """The known formats, one a line: name, dataset, where an outsider gets it."""
    return "\n".join(f"{f.name:14} {f.dataset} ({f.home})" for f in FORMATS)


def _class(name: str | None) -> ModelClass | None:
    known = [c.value for c in ModelClass]
    if name is not None and name not in known:
        raise BadInput(f"unknown model class {name!r}", hint=nearest(name, known))
    return None if name is None else ModelClass(name)
