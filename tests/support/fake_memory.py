"""ports.Memory without a disk: the same ranking, merging and retention as the real one, over a dict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgewise.domain.errors import BadInput, MemoryUnavailable
from edgewise.domain.records import Case, CaseOutcome, Reach, RecalledCase, Situation
from memory.book import CaseBook


class InMemoryMemory:
    """Holds at most `keep` cases. `broken`: every call raises MemoryUnavailable, as with a full disk."""

    def __init__(self, keep: int = 10_000) -> None:
        self.broken = False
        self._book = CaseBook(keep)
        self._closed = False

    async def recall(
        self, situation: Situation, count: int, reach: Reach | None = None, *, both: bool = False
    ) -> Sequence[RecalledCase]:
        self._check()
        return self._book.recall(situation, count, reach, both)

    async def remember(self, case: Case) -> None:
        self._check()
        self._book.remember(case)

    async def score(self, case_id: str, outcome: CaseOutcome) -> None:
        if not math.isfinite(outcome.objective):
            raise BadInput(f"an outcome needs a finite objective, not {outcome.objective}")
        self._check()
        self._book.score(case_id, outcome)

    async def count(self) -> int:
        self._check()
        return len(self._book)

    async def aclose(self) -> None:
        self._closed = True

    def _check(self) -> None:
        if self.broken or self._closed:
            raise MemoryUnavailable("the case memory is closed" if self._closed else "the disk is full")
