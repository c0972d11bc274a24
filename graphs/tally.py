"""Counts since this controller began, for its metrics: decisions by rung, what agents did, what they cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from edgewise.domain.decision import Decision, LlmUse


@dataclass(slots=True)
class Tally:
    """rungs: decisions by the rung their plan came from. llm: the sum of what decisions say of language models.
    rested: how often the model was sent to rest."""

    rungs: Counter[str] = field(default_factory=Counter)
    llm: LlmUse = field(default_factory=LlmUse)
    rested: int = 0
    _rests: bool = False

    def note(self, decision: Decision) -> None:
        self.rungs[decision.rung.value] += 1
        self.llm += decision.llm
        self.rested += bool(decision.llm_rests) and not self._rests
        self._rests = bool(decision.llm_rests)
