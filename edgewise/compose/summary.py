"""summary.json: nothing but what happened, recomputed from the run directory's own rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgewise.domain.codec import to_plain
from edgewise.domain.measures import prompt_figures
from edgewise.domain.records import PromptRow, PromptStatus, ReplicaRow
from edgewise.domain.world import World
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
    """A prompt as its caller knows it; becomes a pending row when no router wrote one."""

    id: str
    model: str
    access_node: str
    sent_s: float
    deadline_s: float
    ideal_s: float


def add_missing_rows(run: Path, sent: Collection[SentPrompt]) -> int:
    """Write a `pending` row for each prompt the caller sent and the gateway left no row of. Returns how many."""
    known = {row.id for row in read_prompts(run)}
    missing = [s for s in sent if s.id not in known]
    if missing:
        writer = LineWriter(run / EVENTS)
        for s in missing:
            row = PromptRow(
                s.id, s.model, s.access_node, None, s.sent_s, None, None, PromptStatus.PENDING, None, 0,
                deadline_s=s.deadline_s, ideal_s=s.ideal_s, error="the gateway left no row of it",
            )  # fmt: skip
            writer.append(to_plain(row))
        writer.close()
    return len(missing)


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


def summarise(run: Path, world: World, extent: Extent) -> dict[str, Any]:
    """The figures of summary.json that the run directory's rows tell; see DESIGN of the formats in docs."""
    prompts = read_prompts(run)
    replicas = read_replica_rows(run)
    decisions = read_decisions(run)
    seconds = max(extent.end_s - extent.first_prompt_s, 1e-9)
    slot_ends = [d["at_s"] for d in decisions[1:2]]
    after_first = slot_ends[0] if slot_ends else extent.slot_s
    later = [r for r in replicas if r.at_s > after_first]
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


def _llm(decisions: list[dict[str, Any]]) -> dict[str, Any]:
    used = [d["llm"] for d in decisions]
    total = {key: sum(u.get(key, 0) for u in used) for key in ("calls", "tokens", "repairs", "reasks", "fallbacks")}
    return {**total, "lift": _lift(decisions)}


def _lift(decisions: list[dict[str, Any]]) -> float | None:
    """Mean predicted gain of the model's plan over the optimiser's, where both were scored; None when never."""
    gains = []
    for decision in decisions:
        score = {c["from"]: c["score"] for c in decision["candidates"]}
        if "llm" in score and score.get("optimiser"):
            gains.append(1 - score["llm"] / score["optimiser"])
    return sum(gains) / len(gains) if gains else None
