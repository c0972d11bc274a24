"""The language model's lift over the optimiser, and when it is demoted for having none."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.domain.decision import Decision

JUDGED = 5  # proposals looked at; fewer say nothing
LEAST_LIFT = -0.01
REST_EPOCHS = 10  # epochs a demoted model is not asked; then it gets another chance


def lift(decision: Decision) -> float | None:
    """Predicted relative gain of the language model's plan over the optimiser's best in one decision; None when the
    decision compared none."""
    ours = [c.score.mean for c in decision.candidates if c.source == "optimiser"]
    theirs = [c.score.mean for c in decision.candidates if c.source == "llm"]
    if not ours or not theirs or min(ours) <= 0:
        return None
    return (min(ours) - min(theirs)) / min(ours)


def demoted(lifts: Sequence[float]) -> bool:
    """Whether the latest proposals were on average worse than what was there without them."""
    last = lifts[-JUDGED:]
    return len(last) == JUDGED and sum(last) / JUDGED < LEAST_LIFT
