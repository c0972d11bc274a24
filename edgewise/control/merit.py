"""How well a remembered decision went. Pure.

Never by the objective alone, which is worse in every heavy hour whatever was decided. Where hindsight has looked, by
regret: how much better the best plan then at hand would have done on the same prompts. Else by the measured objective
over the predicted one. Both are natural logarithms of a ratio of objectives: 0 as it should, above 0 worse.
"""

from __future__ import annotations

import math

from edgewise.domain.decision import Decision, Hindsight
from edgewise.domain.records import Case, RecalledCase

AS_EXPECTED = 1.1  # a case that came out at most this much worse than it should counts as good
GOOD = math.log(AS_EXPECTED)
CLIP = math.log(8.0)  # beyond it no decision is to blame
LEAST = 1e-3


def merit(case: Case) -> float | None:
    """None: without an outcome, or with nothing to hold it against."""
    o = case.outcome
    if o is None:
        return None
    if o.regret is not None:
        return min(CLIP, o.regret)
    if not math.isfinite(case.predicted) or case.predicted <= 0:
        return None
    return max(-CLIP, min(CLIP, math.log(max(LEAST, o.objective) / max(LEAST, case.predicted))))


def regret(decision: Decision, seen: Hindsight) -> float | None:
    """ln of the chosen plan's objective over the best candidate's in hindsight, >= 0; None when it was not re-run."""
    chosen = seen.of(decision.chosen)
    best = min((x.hindsight for x in seen.plans), default=0.0)
    if chosen is None or best <= 0 or not math.isfinite(chosen.hindsight):
        return None
    return math.log(chosen.hindsight / best)


def standing(recalled: RecalledCase) -> float:
    """The merit that recall gave it, else the case's own; 0 when nothing is known."""
    known = recalled.merit if recalled.merit is not None else merit(recalled.case)
    return 0.0 if known is None else known


def is_good(recalled: RecalledCase) -> bool:
    return recalled.case.outcome is not None and standing(recalled) <= GOOD
