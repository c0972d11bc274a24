"""What really happened after a decision: its outcome from the slot summaries that followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgewise.domain.decision import Decision, Realised
from edgewise.domain.measures import jain_normalized
from edgewise.domain.records import CaseOutcome, SlotModel, SlotSummary


def outcome(
    slots: Sequence[SlotSummary], ideal_s: Mapping[str, float], alpha: float, slot_s: float
) -> CaseOutcome | None:
    """The objective (churn and energy apart) measured over `slots`; None when nothing finished or waited in them.

    A window's mean latency counts with its completions. Prompts that wait at the end of the last slot enter with
    at least the time waited on average, half the slots' length: leaving them out would reward starving a kind.
    """
    if not slots:
        return None
    mean_s: dict[str, float] = {}
    weight: dict[str, float] = {}
    for model in sorted({m.model for s in slots for m in s.models}):
        rows = [m for s in slots for m in s.models if m.model == model]
        total_s, count = _latency(rows, len(slots) * slot_s)
        if count > 0:
            mean_s[model], weight[model] = total_s / count, count
    known = {m: ideal_s[m] for m in mean_s if ideal_s.get(m, 0.0) > 0}
    if not known:
        return None
    total = sum(weight[m] for m in known)
    latency_s = sum(mean_s[m] * weight[m] for m in known) / total
    ideal = sum(known[m] * weight[m] for m in known) / total
    fair = jain_normalized([min(1.0, known[m] / mean_s[m]) if mean_s[m] > 0 else 1.0 for m in sorted(known)])
    return CaseOutcome(
        objective=latency_s / ideal * (1 + alpha * (1 - fair)),
        mean_latency_s=latency_s,
        jain_normalized=fair,
        slots=len(slots),
    )


def realise(slots: Sequence[SlotSummary], measured: CaseOutcome | None) -> Realised:
    """The decision record's form of an outcome."""
    return Realised(
        slots=len(slots),
        completed=sum(m.completed for s in slots for m in s.models),
        mean_latency_s=measured.mean_latency_s if measured else None,
        objective=measured.objective if measured else None,
    )


def due(decisions: Sequence[Decision], slot: int, after_slots: int) -> tuple[Decision, ...]:
    """Decisions whose outcome can be measured at `slot` and was not yet."""
    return tuple(d for d in decisions if d.realised is None and d.slot + after_slots <= slot)


def _latency(rows: Sequence[SlotModel], span_s: float) -> tuple[float, float]:
    total_s = sum((m.mean_latency_s or 0.0) * m.completed for m in rows)
    count = float(sum(m.completed for m in rows if m.mean_latency_s is not None))
    last = rows[-1]
    left = last.waiting + last.queued
    return total_s + left * max(span_s / 2, total_s / count if count else 0.0), count + left
