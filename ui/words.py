"""Figures and decisions in words: numbers with units, changes and plans as lines a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.domain.decision import Approval
from edgewise.domain.plan import ANY, Plan
from serving.control_api.schema import CandidateRow, ChangeRow, DecisionRow, LlmRow, RealisedRow, RunState

NONE = "–"
STATUS = {"done": "✓", "pending": "…", "refused": "✕", "skipped": "○"}
VERBS = {"load": "load", "drain": "drain", "unload": "unload", "weight": "route weight", "share": "share of the node"}


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    if abs(value) < 0.0995:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if abs(value) < 9.995 else f"{value:.1f} s" if abs(value) < 99.95 else f"{value:.0f} s"


def clock(value: float) -> str:
    """A run-clock second as m:ss or h:mm:ss."""
    whole = int(value)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def figure(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{value * 100:+.1f} %"


def whereabouts(state: RunState) -> str:
    """One line: which run, and where in it we are."""
    kind = "live" if state.source == "live" else "stored run"
    if state.source == "stored" and not state.finished:
        kind = "stored run without a summary: still being written, or cut off"
    return f"{kind} · {clock(state.at_s)} since the start · slot {state.slot} · epoch {state.epoch}"


def window(state: RunState) -> str:
    return "since the start of the run" if state.window_s is None else f"over the last {state.window_s:g} s"


def decision_label(row: DecisionRow) -> str:
    return f"{row.id} · slot {row.slot} · {clock(row.at_s)} · {row.rung} · {outcome(row)} · {percent(row.margin)}"


def outcome(row: DecisionRow) -> str:
    if row.accepted is None:
        return "kept" if row.chosen == row.incumbent else "new plan"
    return "new plan" if row.accepted else "kept"


def source_of(row: DecisionRow, plan_id: str) -> str:
    """Which candidate a plan id stands for; the id itself when it was none of them."""
    return next((c.source for c in row.candidates if c.plan == plan_id), plan_id or NONE)


def change_line(change: ChangeRow) -> str:
    """For example `✓ load gpt2 on edge-1 (warm-up failed)`."""
    what = " ".join(p for p in (VERBS.get(change.kind, change.kind), change.model) if p)
    extra = [t for t in (change.detail, change.why) if t]
    tail = f" — {'; '.join(extra)}" if extra else ""
    return f"{STATUS.get(change.status, '•')} {what} on {change.node}{tail}"


def candidate_cells(candidate: CandidateRow, row: DecisionRow) -> dict[str, str | float | None]:
    low, high = candidate.interval or (None, None)
    role = "chosen" if candidate.plan == row.chosen else "runner-up" if candidate.plan == row.runner_up else ""
    return {
        "From": candidate.source,
        "Role": role,
        "Score": candidate.score,
        "Low": low,
        "High": high,
        "Plan": candidate.plan or NONE,
        "Note": candidate.note,
    }


def llm_line(llm: LlmRow, rests: str = "") -> str:
    if not llm.calls:
        skipped = f" {llm.skipped} calls skipped: nothing had changed." if llm.skipped else ""
        return f"Not asked: {rests}." if rests else f"No language model was asked.{skipped}"
    parts = [f"{llm.calls} calls" if llm.calls != 1 else "1 call", f"{llm.tokens} tokens", seconds(llm.seconds)]
    if llm.cost:
        parts.append(f"cost {llm.cost:.4g}")
    for count, word in (
        (llm.tool_calls, "tool calls"),
        (llm.repairs, "repaired"),
        (llm.reasks, "asked again"),
        (llm.fallbacks, "fallbacks"),
        (llm.skipped, "skipped"),
    ):
        if count:
            parts.append(f"{count} {word}")
    return " · ".join(parts) + (f" · {llm.error}" if llm.error else "")


def lift_line(row: DecisionRow) -> str:
    """What the language model's plan was worth beside the optimiser's; empty where none was compared."""
    if row.lift is None:
        return ""
    predicted, realised = percent(row.lift.predicted), percent(row.lift.realised)
    return f"Lift over the optimiser: predicted {predicted}, in hindsight {realised}."


def llm_totals(rows: Sequence[DecisionRow]) -> dict[str, str]:
    """The language model over the decisions shown; empty where there was none."""
    if not any(r.llm.calls or r.llm.skipped or r.lift for r in rows):
        return {}
    lifts = [r.lift for r in rows if r.lift is not None]
    predicted = [x.predicted for x in lifts if x.predicted is not None]
    realised = [x.realised for x in lifts if x.realised is not None]
    return {
        "Calls": str(sum(r.llm.calls for r in rows)),
        "Skipped": str(sum(r.llm.skipped for r in rows)),
        "Fallbacks": str(sum(r.llm.fallbacks for r in rows)),
        "Tokens": f"{sum(r.llm.tokens for r in rows):,}",
        "Waited": seconds(sum(r.llm.seconds for r in rows)),
        "Cost": f"{sum(r.llm.cost for r in rows):.4g}",
        "Lift, predicted": percent(sum(predicted) / len(predicted) if predicted else None),
        "Lift, hindsight": percent(sum(realised) / len(realised) if realised else None),
    }


def approval_line(asked: Approval) -> str:
    """What became of a request, in a line."""
    when = f" at {clock(asked.answered_s)}" if asked.answered_s is not None else ""
    by = f" by {asked.by}" if asked.by else ""
    why = f": {asked.why}" if asked.why else ""
    return f"{asked.id} ({asked.decision}) {asked.state.value}{by}{when}{why} — {'; '.join(asked.changes)}"


def realised_line(realised: RealisedRow | None) -> str:
    if realised is None:
        return "Not measured (yet)."
    mean = seconds(realised.mean_latency_s)
    objective = f" · objective {realised.objective:.2f}" if realised.objective is not None else ""
    return f"{realised.completed} prompts in {realised.slots} slots · mean latency {mean}{objective}"


def hindsight_lines(realised: RealisedRow | None) -> list[str]:
    """For each plan that was run again: what was predicted of it, and what came; empty before that."""
    if realised is None or realised.hindsight is None:
        return []
    return [
        f"{x.source}: predicted {percent(x.predicted_gain)}, in hindsight {percent(x.gain)}"
        for x in realised.hindsight.plans[1:]
    ]


def plan_diff(old: Plan | None, new: Plan | None) -> list[str]:
    """What the new plan wants other than the old: replicas, roles, routes, shares, as readable lines."""
    if new is None or old is None or old.id == new.id:
        return []
    lines = _replica_lines(old, new)
    lines += _lines({r.node: r.role for r in old.roles}, {r.node: r.role for r in new.roles}, "role of {}")
    lines += _lines(
        {_route(r.access_node, r.model, r.node): f"{r.weight:.2f}" for r in old.routes},
        {_route(r.access_node, r.model, r.node): f"{r.weight:.2f}" for r in new.routes},
        "route {}",
    )
    lines += _lines(
        {f"{s.model} on {s.node}": f"{s.share:.2f}" for s in old.shares},
        {f"{s.model} on {s.node}": f"{s.share:.2f}" for s in new.shares},
        "share of {}",
    )
    return lines


def _route(access_node: str, model: str, node: str) -> str:
    return f"{model} → {node}" if access_node == ANY else f"{model} {access_node} → {node}"


def _replica_lines(old: Plan, new: Plan) -> list[str]:
    before, after = set(old.replicas), set(new.replicas)
    lines = [f"+ {g.model} on {g.node}" for g in sorted(after - before)]
    return lines + [f"− {g.model} on {g.node}" for g in sorted(before - after)]


def _lines(old: dict[str, str], new: dict[str, str], form: str) -> list[str]:
    names: Sequence[str] = sorted(old.keys() | new.keys())
    return [
        f"{form.format(n)}: {old.get(n, 'none')} → {new.get(n, 'none')}" for n in names if old.get(n) != new.get(n)
    ]
