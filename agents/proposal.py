"""What an agent hands to the gate: a plan or nothing, the rung it came from, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.domain.decision import LlmUse, Rung
from edgewise.domain.plan import Plan


@dataclass(frozen=True, slots=True)
class Proposal:
    """`plan` None means that the ladder fell through (or no language model was asked): the optimiser's plan is
    used and `rung` is OPTIMISER. `note` says in words what was repaired, or why there is no plan; `prompt` which
    prompt was used. seconds: of the longest call."""

    plan: Plan | None
    rung: Rung
    use: LlmUse
    note: str
    prompt: str = ""
    seconds: float = 0.0
