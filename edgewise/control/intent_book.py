"""The book of intents of a run: those that count, and drafts that wait for a word. Each change gives a new one.

A draft is what a sentence was understood as. It counts for nothing until it is confirmed, and is forgotten DRAFT_S
after it was made: who confirms should know what it said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgewise.domain.errors import BadInput, Refused
from edgewise.domain.intent import Intent

DRAFT_S = 600.0
MOST, MOST_DRAFTS = 100, 20


class UnknownIntent(BadInput):
    code, http_status = "intent_not_found", 404


@dataclass(frozen=True, slots=True)
class Draft:
    """made_at_s: run clock. notes: what could not be taken from the sentence, or was read otherwise, in words."""

    intent: Intent
    made_at_s: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    intents: tuple[Intent, ...] = ()
    drafts: tuple[Draft, ...] = field(default=())
    numbered: int = 0

    @property
    def next_id(self) -> str:
        """An id that none has had."""
        taken = {i.id for i in self.intents} | {d.intent.id for d in self.drafts}
        number = self.numbered + 1
        while f"intent-{number}" in taken:
            number += 1
        return f"intent-{number}"

    def at(self, now_s: float) -> Book:
        """The book without drafts that ran out."""
        kept = tuple(d for d in self.drafts if now_s < d.made_at_s + DRAFT_S)
        return self if len(kept) == len(self.drafts) else replace(self, drafts=kept)

    def added(self, intent: Intent) -> Book:
        """Raises Refused when its id is taken, or the book is full."""
        if any(intent.id == i.id for i in self.intents):
            raise Refused(f"there is an intent {intent.id!r} already", hint="withdraw it first, or give another id")
        if len(self.intents) >= MOST:
            raise Refused(f"there are {MOST} intents already", hint="withdraw some")
        return replace(self, intents=(*self.intents, intent), numbered=self.numbered + 1)

    def drafted(self, draft: Draft) -> Book:
        """The oldest draft makes way where there are too many."""
        return replace(self, drafts=(*self.drafts, draft)[-MOST_DRAFTS:], numbered=self.numbered + 1)

    def confirmed(self, intent_id: str, now_s: float) -> Book:
        """The draft becomes an intent, from now on where it was to begin before. Raises UnknownIntent, Refused."""
        for d in self.drafts:
            if d.intent.id == intent_id:
                rest = tuple(x for x in self.drafts if x is not d)
                return replace(self, drafts=rest).added(replace(d.intent, from_s=max(d.intent.from_s, now_s)))
        raise UnknownIntent(f"no draft {intent_id[:80]!r}", hint=f"a draft waits {DRAFT_S:g} s; send it again")

    def withdrawn(self, intent_id: str) -> Book:
        """Without that intent or draft. Raises UnknownIntent."""
        left = tuple(i for i in self.intents if i.id != intent_id)
        drafts = tuple(d for d in self.drafts if d.intent.id != intent_id)
        if len(left) == len(self.intents) and len(drafts) == len(self.drafts):
            raise UnknownIntent(f"no intent {intent_id[:80]!r}", hint="GET /control/v1/intents lists those there are")
        return replace(self, intents=left, drafts=drafts)
