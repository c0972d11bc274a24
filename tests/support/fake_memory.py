"""ports.Memory without a disk: the same ranking and retention as the real one, over a dict."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from edgewise.domain.errors import BadInput, MemoryUnavailable
from edgewise.domain.records import Case, CaseOutcome, RecalledCase, Situation
from memory.ranking import Stored, forget, recall


class InMemoryMemory:
    """Holds at most `keep` cases. `broken`: every call raises MemoryUnavailable, as with a full disk."""

    def __init__(self, keep: int = 10_000) -> None:
        self.broken = False
        self._keep = keep
        self._cases: dict[str, Case] = {}
        self._stored: dict[str, int] = {}
        self._numbers = itertools.count()
        self._closed = False

    async def recall(self, situation: Situation, count: int) -> Sequence[RecalledCase]:
        self._check()
        return recall(situation, self._cases.values(), count)

    async def remember(self, case: Case) -> None:
        self._check()
        self._cases[case.id] = case
        self._stored[case.id] = next(self._numbers)
        rows = [
            Stored(i, self._stored[i], None if c.outcome is None else c.outcome.objective)
            for i, c in self._cases.items()
        ]
        for case_id in forget(rows, self._keep):
            del self._cases[case_id]

    async def score(self, case_id: str, outcome: CaseOutcome) -> None:
        if not math.isfinite(outcome.objective):
            raise BadInput(f"an outcome needs a finite objective, not {outcome.objective}")
        self._check()
        if case_id in self._cases:
            self._cases[case_id] = replace(self._cases[case_id], outcome=outcome)

    async def count(self) -> int:
        self._check()
        return len(self._cases)

    async def aclose(self) -> None:
        self._closed = True

    def _check(self) -> None:
        if self.broken or self._closed:
            raise MemoryUnavailable("the case memory is closed" if self._closed else "the disk is full")
