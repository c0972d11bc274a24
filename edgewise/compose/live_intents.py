"""The intents of a running controller: what the control API adds, drafts, confirms and withdraws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.intents import Understood, understand
from edgewise.compose.intents import intent_of_request, moment_now, read_intents
from edgewise.control.intent_book import DRAFT_S, Book, Draft
from edgewise.control.intent_entries import Known, Moment
from edgewise.control.intent_words import words
from edgewise.control.ports import ChatModel, Clock
from edgewise.domain.codec import from_json, to_plain
from edgewise.domain.errors import BadInput, Refused
from edgewise.domain.intent import Intent
from edgewise.domain.world import World
from edgewise.settings import Settings
from serving.control_api.schema import IntentList, IntentView, Status
from tools.rundir import write_json

FILE = "intents.json"
PLACE = "POST /control/v1/intents"


class LiveIntents:
    """Implements serving.control_api.intents.IntentDoor. `tell` gets the intents whenever they change. They are kept
    in the run directory, so that a controller that is started again goes on by them."""

    def __init__(
        self,
        run: Path,
        world: World,
        clock: Clock,
        settings: Settings,
        chat: ChatModel | None,
        tell: Callable[[tuple[Intent, ...]], None],
    ) -> None:
        self._file, self._world, self._clock, self._settings = run / FILE, world, clock, settings
        self._chat, self._tell = chat, tell
        self._book = Book()

    def start(self, given: Path | None) -> None:
        """With what an earlier controller of this run had, else with the file of `given`. Raises BadInput."""
        if self._file.is_file():
            kept = from_json(tuple[Intent, ...], self._file.read_bytes(), str(self._file))
            self._set(Book(kept, numbered=len(kept)))
        elif given is not None:
            found = read_intents(given, self._known())
            self._set(Book(found, numbered=len(found)))

    async def intents(self) -> IntentList:
        now_s = self._clock.now_s()
        self._book = self._book.at(now_s)
        moment = moment_now(now_s)
        items = [_view(i, _when(i, now_s), moment) for i in self._book.intents]
        items += [_draft_view(d, moment) for d in self._book.drafts]
        return IntentList(items=items, sentences=self._chat is not None)

    async def add(self, plain: dict[str, Any]) -> IntentView:
        intent = intent_of_request(plain, self._known(), self._book.next_id, PLACE)
        self._set(self._book.added(intent))
        return await self._shown(intent.id)

    async def draft(self, text: str) -> IntentView:
        if self._chat is None:
            raise Refused(
                "no language model is configured, so a sentence cannot be understood",
                where=PLACE,
                hint="send the intent as JSON, give `edgewise demo --intents FILE` (YAML), or set llm_url",
            )
        known = self._known()
        found = await understand(
            text, self._world.models, known, self._chat, self._book.next_id, self._settings.llm_timeout_s,
            self._settings.llm_max_tokens,
        )  # fmt: skip
        return self._drafted(found)

    def _drafted(self, found: Understood) -> IntentView:
        now_s = self._clock.now_s()
        if found.intent is None:
            raise BadInput(
                f"the sentence was not understood: {found.reason}",
                where=PLACE,
                hint="say it otherwise, or send the intent as JSON",
            )
        taken = {i.id for i in self._book.intents} | {d.intent.id for d in self._book.drafts}
        if found.intent.id in taken:  # another one came in while the model thought
            raise Refused("another intent was given meanwhile", where=PLACE, hint="send the sentence again")
        draft = Draft(found.intent, now_s, found.notes)
        self._book = self._book.at(now_s).drafted(draft)
        return _draft_view(draft, moment_now(now_s))

    async def confirm(self, intent_id: str) -> IntentView:
        now_s = self._clock.now_s()
        self._set(self._book.at(now_s).confirmed(intent_id, now_s))
        return await self._shown(intent_id)

    async def withdraw(self, intent_id: str) -> None:
        self._set(self._book.at(self._clock.now_s()).withdrawn(intent_id))

    def _known(self) -> Known:
        models, nodes = [m.id for m in self._world.models], [n.id for n in self._world.nodes]
        return Known(models, nodes, moment_now(self._clock.now_s()))

    def _set(self, book: Book) -> None:
        changed = book.intents != self._book.intents
        self._book = book
        if changed:
            write_json(self._file, [to_plain(i) for i in book.intents])
            self._tell(book.intents)

    async def _shown(self, intent_id: str) -> IntentView:
        return next(i for i in (await self.intents()).items if i.id == intent_id)


def _when(intent: Intent, now_s: float) -> Status:
    if intent.holds(now_s):
        return "active"
    return "coming" if now_s < intent.from_s else "over"


def _view(intent: Intent, status: Status, moment: Moment) -> IntentView:
    return IntentView(id=intent.id, status=status, words=words(intent, moment), intent=intent)


def _draft_view(draft: Draft, moment: Moment) -> IntentView:
    view = _view(draft.intent, "draft", moment)
    expires_s = draft.made_at_s + DRAFT_S
    return view.model_copy(update={"expires_s": expires_s, "notes": list(draft.notes)})
