"""Case memory in this process: the same ranking, merging and forgetting as on disk, over a plain dict."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from edgewise.control.merit import merit
from edgewise.domain.records import Case, CaseOutcome, Reach, RecalledCase, Situation
from memory.consolidate import merged, repeated, scored
from memory.ranking import Stored, forget, recall

KEPT_NAMES = 1024


class Merged:
    """Which case another one became part of; the newest KEPT_NAMES of them, as a second outcome comes soon if at
    all."""

    def __init__(self) -> None:
        self._into: dict[str, str] = {}

    def note(self, gone: str, into: str) -> None:
        self._into[gone] = into
        while len(self._into) > KEPT_NAMES:
            del self._into[next(iter(self._into))]

    def name(self, case_id: str) -> str:
        return self._into.get(case_id, case_id)


class CaseBook:
    """Holds at most `keep` cases; methods as in ports.Memory, without waiting."""

    def __init__(self, keep: int = 10_000, cases: Iterable[Case] = ()) -> None:
        self._keep = keep
        self._cases: dict[str, Case] = {}
        self._stored: dict[str, int] = {}
        self._numbers = itertools.count()
        self._merged = Merged()
        for case in cases:
            self.remember(case)

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(self._cases.values())

    def recall(
        self, situation: Situation, count: int, reach: Reach | None = None, both: bool = False
    ) -> Sequence[RecalledCase]:
        return recall(situation, self._cases.values(), count, reach, both)

    def remember(self, case: Case) -> None:
        self._cases[case.id] = case
        self._stored[case.id] = next(self._numbers)
        rows = (
            [
                Stored(i, self._stored[i], None if c.outcome is None else merit(c) or 0.0)
                for i, c in self._cases.items()
            ]
            if len(self._cases) > self._keep
            else []
        )
        for case_id in forget(rows, self._keep):
            del self._cases[case_id], self._stored[case_id]

    def score(self, case_id: str, outcome: CaseOutcome) -> None:
        """Adds what was measured; a case that repeats another becomes part of it."""
        case = self._cases.get(self._merged.name(case_id))
        if case is None:
            return
        first = case.outcome is None
        case = scored(case, outcome)
        old = repeated(case, self._cases.values()) if first else None
        if old is None:
            self._cases[case.id] = case
            return
        self._cases[old.id] = merged(old, case)
        self._stored[old.id] = next(self._numbers)
        self._merged.note(case.id, old.id)
        del self._cases[case.id], self._stored[case.id]
