"""The Journal port over the run directory (always) and the store (when there is one)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgewise.domain.codec import from_plain, to_plain
from edgewise.domain.decision import ApprovalState, Decision
from edgewise.domain.errors import EdgewiseError
from edgewise.domain.records import ReplicaRow, SlotSummary
from tools.rundir import DECISIONS, EVENTS, LineWriter, decision_row
from tools.store import DocumentStore

log = logging.getLogger(__name__)
_RING = 512  # newest rows kept at hand; older ones are read from the store


class RunJournal:
    """Implements ports.Journal. `on_event` hears every row as it is written (the control API streams them).
    past: decisions that earlier processes of this run left in its directory, oldest first. What the disk refuses is
    kept and written later; RunFailed says so."""

    def __init__(
        self,
        run_dir: Path,
        store: DocumentStore | None = None,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        past: Sequence[Decision] = (),
    ) -> None:
        self._run_dir = run_dir
        self._store = store
        self._on_event = on_event
        self._decisions_file = LineWriter(run_dir / DECISIONS)
        self._events_file = LineWriter(run_dir / EVENTS)
        self._decisions: dict[str, Decision] = {}
        self._order: deque[str] = deque()
        self._slots: deque[SlotSummary] = deque(maxlen=_RING)
        self._revised: dict[str, Decision] = {}
        for known in past[-_RING:]:
            self._decisions[known.id] = known
            self._order.append(known.id)

    async def take_revisions(self) -> None:
        """What the store knows of past decisions' outcomes, and of answers to approvals: the file gets them only when
        a journal is closed, and the process before this one may have been killed."""
        if self._store is None or not self._order:
            return
        try:
            stored = [from_plain(Decision, d) for d in await self._store.newest("decisions", "slot", _RING)]
        except EdgewiseError as error:
            log.warning("journal: %s", error.line())
            return
        for decision in stored:
            known = self._decisions.get(decision.id)
            if known is None:
                continue
            answered = known.approval is not None and known.approval.state is ApprovalState.WAITING
            if (known.realised is None and decision.realised is not None) or (answered and decision != known):
                self._decisions[decision.id] = self._revised[decision.id] = decision

    async def decision(self, decision: Decision) -> None:
        row = decision_row(decision)
        new = decision.id not in self._decisions and decision.id not in self._revised
        self._decisions[decision.id] = decision
        if new:
            self._order.append(decision.id)
        else:
            self._revised[decision.id] = decision
        while len(self._order) > _RING:
            self._decisions.pop(self._order.popleft(), None)
        if self._store is not None:
            self._store.put("decisions", {"_id": decision.id, **to_plain(decision)})
        self._tell("decision", row)
        if new:
            self._decisions_file.append(row)  # last: it may raise, and keeps the row then

    async def replica(self, row: ReplicaRow) -> None:
        plain = {k: v for k, v in to_plain(row).items() if v not in ("", None)}
        self._tell("replica", plain)
        self._events_file.append(plain)

    async def slot(self, summary: SlotSummary) -> None:
        self._slots.append(summary)
        plain = to_plain(summary)
        if self._store is not None:
            self._store.put("slots", {"_id": summary.slot, **plain})
        self._tell("slot", plain)

    async def recent_decisions(self, count: int) -> Sequence[Decision]:
        if self._store is not None and count > len(self._order):
            try:
                stored = await self._store.newest("decisions", "slot", count)
                known = {d["id"] for d in stored} | set(self._order)
                if len(known) > len(self._order):
                    old = [from_plain(Decision, d) for d in stored if d["id"] not in self._decisions]
                    return [*old, *(self._decisions[i] for i in self._order)][-count:]
            except EdgewiseError as error:
                log.warning("journal: %s", error.line())
        return [self._decisions[i] for i in list(self._order)[-count:]] if count > 0 else []

    async def recent_slots(self, count: int) -> Sequence[SlotSummary]:
        if self._store is not None and count > len(self._slots):
            try:
                stored = await self._store.newest("slots", "slot", count)
                first = self._slots[0].slot if self._slots else None
                old = [from_plain(SlotSummary, s) for s in stored if first is None or s["slot"] < first]
                return [*old, *self._slots][-count:]
            except EdgewiseError as error:
                log.warning("journal: %s", error.line())
        return list(self._slots)[-count:] if count > 0 else []

    async def flush(self) -> None:
        if self._store is not None:
            await self._store.flush()

    async def aclose(self) -> None:
        """Close the files; decisions whose outcome became known later get their line rewritten, atomically. A disk
        that is full to the end leaves the lines as they are, and says so in the log."""
        for close in (self._decisions_file.close, self._events_file.close, self._rewrite):
            try:
                close()
            except (EdgewiseError, OSError) as error:
                log.error("journal: %s", error.line() if isinstance(error, EdgewiseError) else error)
        if self._store is not None:
            await self._store.aclose()

    def _rewrite(self) -> None:
        from tools.rundir import read_lines

        if not self._revised:
            return
        path = self._run_dir / DECISIONS
        partial = path.with_name(path.name + ".part")
        partial.unlink(missing_ok=True)
        writer = LineWriter(partial)
        try:
            for _, row in read_lines(path):
                revised = self._revised.get(row["id"])
                writer.append(decision_row(revised) if revised is not None else row)
            writer.close()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _tell(self, kind: str, row: dict[str, Any]) -> None:
        if self._on_event is not None:
            self._on_event(kind, row)
