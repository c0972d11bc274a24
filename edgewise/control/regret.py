"""The ledger of predicted and realised gains, and what follows from it: roll-back, demotion, a wider margin.

Pure: a ledger in, a ledger out. Entries are of hindsight where there is one (control.hindsight), else of the measured
objective against what the gate expected of the incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgewise.control.gate import IDEAL, LEAST_EXCESS
from edgewise.control.lift import REST_EPOCHS, Trust, handicap
from edgewise.control.state import Proposed
from edgewise.domain.decision import Candidate, Decision, Hindsight, Realised

KEPT = 96
# Decisions looked at before the margin learns from them, and what it may learn at most.
LEAST_DECISIONS, MOST_OPTIMISM = 8, 0.15
# One decision in deep overload must not set the margin of all others.
MOST_DIFFERENCE = 0.5
ROLL_BACK = "roll-back"


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate of one decision: the gain over the incumbent that was predicted, and that was realised.
    accepted: it became the plan. required: what the gate asked. measured: from measured latencies, not from
    hindsight."""

    decision: str
    epoch: int
    source: str
    predicted: float
    realised: float
    accepted: bool
    required: float
    measured: bool = False

    @property
    def right(self) -> bool:
        """Whether the gate's word on it was right: accepted and better than the incumbent, or kept out and not
        better by more than the gate asks."""
        return self.realised > 0 if self.accepted else self.realised <= self.required


Ledger = tuple[Entry, ...]


def entries(decision: Decision, seen: Hindsight) -> Ledger:
    """The ledger's lines for one decision: a line for each plan that was re-run beside the incumbent."""
    v = decision.verdict
    return tuple(
        Entry(decision.id, decision.epoch, x.source, x.predicted_gain, x.gain,
              v.accepted and x.plan == decision.chosen, v.required)
        for x in seen.plans[1:]
    )  # fmt: skip


def measured(decision: Decision, realised: Realised) -> Ledger:
    """The line of an accepted plan without hindsight: the measured objective against the highest that was thought
    possible for the incumbent (its interval's end). Demand has its say in it, so it speaks of clear failures only."""
    chosen = next((c for c in decision.candidates if c.plan.id == decision.chosen), None)
    base = former(decision)
    if chosen is None or base is None or chosen is base or realised.objective is None:
        return ()
    scale = max(LEAST_EXCESS, base.score.mean - IDEAL)
    predicted = (base.score.mean - chosen.score.mean) / scale
    gain = (base.score.high - realised.objective) / scale
    v = decision.verdict
    return (Entry(decision.id, decision.epoch, chosen.source, predicted, gain, v.accepted, v.required, True),)


def written(ledger: Ledger, new: Ledger) -> Ledger:
    """The ledger with new lines; of a decision that was there already they take the old ones' place."""
    ids = {e.decision for e in new}
    return (*(e for e in ledger if e.decision not in ids), *new)[-KEPT:]


def former(decision: Decision) -> Candidate | None:
    """The incumbent that a decision weighed."""
    return next((c for c in decision.candidates if c.source == "incumbent"), None)


def regretted(decision: Decision, lines: Ledger) -> Entry | None:
    """The line of the accepted plan when it did worse than what it replaced by more than the gate's error: its
    margin and standard error then."""
    return next((e for e in lines if e.decision == decision.id and e.accepted and e.realised < -e.required), None)


def roll_back(decision: Decision, entry: Entry) -> Proposed | None:
    """The placement that a regretted plan replaced, as a proposal; the gate judges it as any other."""
    base = former(decision)
    if base is None or set(base.plan.replicas) == set(decision.plan.replicas):
        return None
    how = "as measured" if entry.measured else "in hindsight"
    words = f"{ROLL_BACK} of {decision.id}, which did {-entry.realised:.0%} worse than its incumbent {how}"
    return Proposed(ROLL_BACK, replace(base.plan, reason=words), note=words)


def optimism(ledger: Ledger) -> float:
    """By how much the gains of plans that were predicted to win were too high, as far as chance does not explain it:
    the mean difference less one standard error, at least 0. Plans predicted to lose are out: no margin stops them.

    One line a decision (its best prediction), as plans of one decision share their prompts.
    """
    best: dict[str, Entry] = {}
    for e in ledger:
        if e.predicted > 0 and not e.measured and e.predicted > best.get(e.decision, e).predicted - 1e-12:
            best[e.decision] = e
    wide = [max(-MOST_DIFFERENCE, min(MOST_DIFFERENCE, e.predicted - e.realised)) for e in best.values()]
    if len(wide) < LEAST_DECISIONS:
        return 0.0
    mean = sum(wide) / len(wide)
    error = math.sqrt(sum((w - mean) ** 2 for w in wide) / (len(wide) - 1) / len(wide))
    return min(MOST_OPTIMISM, max(0.0, mean - error))


def trust(ledger: Ledger, epoch: int) -> Trust:
    """What the gate takes from the ledger. Failures are forgotten after REST_EPOCHS, so that who was demoted gets
    another chance; a roll-back only restores, and is not held to account."""
    recent = [e for e in ledger if e.accepted and e.epoch > epoch - REST_EPOCHS]
    found = []
    for source in sorted({e.source for e in recent} - {ROLL_BACK}):
        if (more := handicap([e.realised for e in recent if e.source == source])) > 0:
            found.append((source, more))
    return Trust(optimism(ledger), tuple(found))


def llm_lifts(ledger: Ledger, since_epoch: int) -> Sequence[float]:
    """Realised lift of the language model's plan over the optimiser's, decision by decision in their order. On each
    side the plan counts that the gate thought best: what would have been done with that side alone."""
    best: dict[str, dict[str, Entry]] = {}
    for e in ledger:
        if e.epoch >= since_epoch and not e.measured:
            mine = best.setdefault(e.decision, {})
            if e.source not in mine or e.predicted > mine[e.source].predicted:
                mine[e.source] = e
    both = [best[d] for d in sorted(best) if {"llm", "optimiser"} <= best[d].keys()]
    return [x["llm"].realised - x["optimiser"].realised for x in both]
