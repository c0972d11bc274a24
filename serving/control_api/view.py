"""What the control API asks of the controller (or of a stored run): one Protocol."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from edgewise.domain.decision import Mode
from edgewise.domain.errors import BadInput
from edgewise.domain.plan import Plan
from serving.control_api.schema import DecisionDetail, DecisionRow, Event, RunState, StreamEvent


class UnknownDecision(BadInput):
    code, http_status = "decision_not_found", 404


class Cursor(NamedTuple):
    """How far a reader of the event stream has come: rows seen of events and of decisions."""

    events: int
    decisions: int

    def __str__(self) -> str:
        return f"{self.events}:{self.decisions}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """From a `Last-Event-ID`. Raises BadInput when it is none of ours."""
        if not re.fullmatch(r"[0-9]{1,15}:[0-9]{1,15}", text):
            raise BadInput(
                f"{text[:40]!r} is no position in the event stream",
                where="header Last-Event-ID",
                hint="send back the id of the last event you received, such as 12:3, or leave the header out",
            )
        events, _, decisions = text.partition(":")
        return cls(int(events), int(decisions))


class Streamed(NamedTuple):
    """One event and the cursor that stands just behind it."""

    cursor: Cursor
    event: StreamEvent


@runtime_checkable
class ControlView(Protocol):
    """All raise only errors of `edgewise.domain.errors`.

    decisions  newest first, those before decision `before` when given (UnknownDecision when there is none such).
    plans      each plan once, newest first.
    events     oldest first: the first `limit` behind position `after`, or without it the newest `limit`.
    set_mode   takes effect with the next decision; Refused where the run cannot be steered.
    subscribe  yields what is new after `after` (None: from now on) until the caller closes it.
    """

    async def state(self) -> RunState: ...

    async def decisions(self, limit: int, before: str | None = None) -> Sequence[DecisionRow]: ...

    async def decision(self, decision_id: str) -> DecisionDetail: ...

    async def plans(self, limit: int) -> Sequence[Plan]: ...

    async def events(self, limit: int, after: int | None = None) -> Sequence[Event]: ...

    async def mode(self) -> Mode: ...

    async def set_mode(self, mode: Mode) -> None: ...

    def subscribe(self, after: Cursor | None = None) -> AsyncIterator[Streamed]: ...
