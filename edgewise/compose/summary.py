"""summary.json: nothing but what happened, recomputed from the run directory's own rows."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgewise.domain.codec import to_plain
from edgewise.domain.errors import RunFailed
from edgewise.domain.measures import prompt_figures
from edgewise.domain.records import PromptRow, PromptStatus, ReplicaRow
from edgewise.domain.world import World
from evals.ledger import Entry
from tools.rundir import EVENTS, LineWriter, read_decisions, read_prompts, read_replica_rows


@dataclass(frozen=True, slots=True)
class Extent:
    """When a run's load began and ended (run clock), and how long a slot is."""

    slot_s: float
    first_prompt_s: float
    end_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """A prompt as its caller knows it."""

    entry: Entry
    deadline_s: float
    ideal_s: float


def missing_rows(known: Collection[PromptRow], sent: Collection[SentPrompt]) -> list[PromptRow]:
    """A row, as the caller saw it, for each prompt that was sent and that the gateway left no row of: it was killed,
    or had no disk to write to. One without an answer is `pending`, that is lost."""
    ids = {row.id for row in known}
    return [_row_of(s) for s in sent if s.entry.id not in ids]


def _row_of(sent: SentPrompt) -> PromptRow:
    e = sent.entry
    status = PromptStatus.PENDING
    if e.answered_s is not None:
        unwell = PromptStatus.SHED if e.status == 503 else PromptStatus.FAILED
        status = PromptStatus.COMPLETED if e.ok else unwell
    said = "; ".join(filter(None, ("the gateway left no row of it", e.error)))
    return PromptRow(
        e.id, e.model, e.access_node, e.node or None, e.sent_s or 0.0, None, e.answered_s, status, None,
        attempts=1 if e.node else 0, deadline_s=sent.deadline_s, ideal_s=sent.ideal_s,
        stream_begun=e.answered_s is not None, error=said,
    )  # fmt: skip


def add_rows(run: Path, rows: Collection[PromptRow]) -> str:
    """Append prompt rows to events.jsonl. What went wrong, in words; "" when nothing did."""
    if not rows:
        return ""
    try:
        writer = LineWriter(run / EVENTS)
        for row in rows:
            with suppress(RunFailed):  # kept; closing says how many were
                writer.append(to_plain(row))
        writer.close()
    except (RunFailed, OSError) as error:
        return error.line() if isinstance(error, RunFailed) else f"{run / EVENTS}: {error.strerror}"
    return ""


def churn_per_node_hour(rows: Collection[ReplicaRow], nodes: int, hours: float) -> float:
    """Loads + unloads per node-hour."""
    moves = sum(r.kind in ("load", "unload") for r in rows)
    return moves / (nodes * hours) if nodes and hours > 0 else 0.0


def energy_j(prompts: Collection[PromptRow], world: World, seconds: float) -> float:
    """Joules all nodes drew: idle power for the whole time, and the difference to busy power while serving."""
    joules = sum(n.idle_w for n in world.nodes) * seconds
    spec = {n.id: n for n in world.nodes}
    for row in prompts:
        if row.node in spec and row.started_s is not None and row.finished_s is not None:
            node = spec[row.node]
            joules += (node.busy_w - node.idle_w) * max(0.0, row.finished_s - row.started_s)
    return joules


def summarise(run: Path, world: World, extent: Extent, more: Collection[PromptRow] = ()) -> dict[str, Any]:
    """The figures of summary.json that the run directory's rows tell; see DESIGN of the formats in docs. more: rows
    that belong there, whether or not they could be written."""
    prompts = read_prompts(run)
    known = {row.id for row in prompts}
    prompts += [row for row in more if row.id not in known]
    replicas = read_replica_rows(run)
    decisions = read_decisions(run)
    seconds = max(extent.end_s - extent.first_prompt_s, 1e-9)
    first_slot_end_s = (decisions[0]["at_s"] if decisions else 0.0) + extent.slot_s
    later = [r for r in replicas if r.at_s > first_slot_end_s]
    figures = prompt_figures(prompts, extent.end_s)
    figures |= {
        "churn": churn_per_node_hour(replicas, len(world.nodes), extent.end_s / 3600),
        "activations": sum(r.kind == "ready" for r in later),
        "drains": sum(r.kind == "unload" for r in later),
        "energy_j_per_prompt": energy_j(prompts, world, seconds) / max(1, len(prompts)),
        "slots": len({d["slot"] for d in decisions}),
        "decisions": len(decisions),
        "llm": _llm(decisions),
        "extent": asdict(extent),
    }
    return figures


_SUMS = ("calls", "tokens", "repairs", "reasks", "fallbacks", "skipped", "tool_calls", "seconds", "cost")


def _llm(decisions: list[dict[str, Any]]) -> dict[str, Any]:
    used = [d["llm"] for d in decisions]
    total = {key: sum(u.get(key, 0) for u in used) for key in _SUMS}
    last_error = next((u["error"] for u in reversed(used) if u.get("error")), "")
    return {
        **total,
        "lift": _mean_lift(decisions, "predicted"),
        "lift_realised": _mean_lift(decisions, "realised"),
        "demotions": _demotions(decisions),
        "error": last_error,
    }


def _mean_lift(decisions: list[dict[str, Any]], which: str) -> float | None:
    """Mean gain of the model's plan over the optimiser's, as predicted or in hindsight; None when never compared."""
    gains = [d["lift"][which] for d in decisions if d.get("lift") and d["lift"][which] is not None]
    return sum(gains) / len(gains) if gains else None


def _demotions(decisions: list[dict[str, Any]]) -> int:
    """How often the model was sent to rest, for its lift or its budget."""
    rests = [bool(d.get("llm_rests")) for d in decisions]
    return sum(now and not before for before, now in zip([False, *rests], rests, strict=False))
