"""Cases that repeat each other become one, with counts and running means. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgewise.domain.records import Case, CaseOutcome
from memory.vectors import distance

SAME = 0.05  # situations nearer than this are one: less than what two windows of the same demand differ by


def repeated(case: Case, others: Iterable[Case]) -> Case | None:
    """The nearest scored case with the same placement in the same situation; None: this one is new."""
    placed = set(case.placement)
    found = [
        (distance(case.situation, c.situation), c.id, c)
        for c in others
        if c.id != case.id and c.outcome is not None and set(c.placement) == placed
    ]
    near = min((f for f in found if f[0] <= SAME), key=lambda f: f[:2], default=None)
    return near[2] if near else None


def merged(old: Case, new: Case) -> Case:
    """The old case with what the new one adds to its means. Its id and situation stay, so that a chain of small steps
    does not carry it away; its time is the latest."""
    if old.outcome is None or new.outcome is None:
        raise ValueError("only scored cases are merged")
    a, b = old.outcome, new.outcome

    def mean(x: float, y: float) -> float:
        return (x * a.times + y * b.times) / (a.times + b.times)

    outcome = CaseOutcome(
        mean(a.objective, b.objective),
        mean(a.mean_latency_s, b.mean_latency_s),
        mean(a.jain_normalized, b.jain_normalized),
        b.slots,
        times=a.times + b.times,
    )
    outcome = _regretted(_regretted(outcome, a.regret, a.regrets), b.regret, b.regrets)
    # Without a prediction there is nothing to take a mean of.
    predicted = (
        mean(old.predicted, new.predicted)
        if min(old.predicted, new.predicted) > 0
        else max(old.predicted, new.predicted)
    )
    return replace(old, outcome=outcome, predicted=predicted, at_s=max(old.at_s, new.at_s), summary=new.summary)


def scored(case: Case, outcome: CaseOutcome) -> Case:
    """The case with an outcome measured for it, or measured again. One that stands for several decisions already has
    this measurement in its means: of a second look it takes the regret alone."""
    count = max(outcome.regrets, int(outcome.regret is not None))
    if case.outcome is None or case.outcome.times == 1:
        return replace(case, outcome=replace(outcome, regrets=count))
    return replace(case, outcome=_regretted(case.outcome, outcome.regret, count))


def _regretted(outcome: CaseOutcome, regret: float | None, count: int) -> CaseOutcome:
    if regret is None or count == 0:
        return outcome
    total = outcome.regrets + count
    mean = ((outcome.regret or 0.0) * outcome.regrets + regret * count) / total
    return replace(outcome, regret=mean, regrets=total)
