"""Routes of the operator's intents."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Path

from edgewise.domain.errors import BadInput, Refused
from serving.control_api.schema import IntentList, IntentView

MOST_CHARS = 1000
_ID = Annotated[str, Path(max_length=200)]


class IntentDoor(Protocol):
    """Intents of a running controller. All raise only errors of `edgewise.domain.errors`.

    intents   those that are known, in the order they were given, then drafts.
    add       a typed intent; it counts from the next slot on. BadInput says which key is wrong.
    draft     what a sentence is understood as; counts for nothing yet. Refused without a language model.
    confirm   the draft becomes an intent. withdraw: intent or draft is gone. UnknownIntent where there is none.
    """

    async def intents(self) -> IntentList: ...

    async def add(self, plain: dict[str, Any]) -> IntentView: ...

    async def draft(self, text: str) -> IntentView: ...

    async def confirm(self, intent_id: str) -> IntentView: ...

    async def withdraw(self, intent_id: str) -> None: ...


def add_routes(routes: APIRouter, door: IntentDoor | None, shape: dict[str, Any]) -> None:
    """The routes of /intents. door None: a stored run, which has none and takes none."""

    def live(what: str) -> IntentDoor:
        if door is None:
            raise Refused(
                "this control API is read-only: it takes no intents",
                where=what,
                hint="send this to the control API of a running controller",
            )
        return door

    @routes.get("/intents", summary="What the operator wants, and drafts that wait to be confirmed")
    async def get_intents() -> IntentList:
        return IntentList(items=[]) if door is None else await door.intents()

    @routes.post(
        "/intents",
        summary='A typed intent, in force at once; or {"text": …} alone, a sentence, which becomes a draft',
        responses={409: shape},
    )
    async def post_intent(body: Annotated[dict[str, Any], Body()]) -> IntentView:
        found = live("POST /control/v1/intents")
        if set(body) != {"text"}:
            return await found.add(body)
        text = body["text"]
        if not isinstance(text, str) or not text.strip() or len(text) > MOST_CHARS:
            raise BadInput(f"text is a sentence of at most {MOST_CHARS} characters", where="POST /control/v1/intents")
        return await found.draft(text)

    @routes.post("/intents/{intent_id}/confirm", summary="Put a draft in force", responses={404: shape, 409: shape})
    async def confirm(intent_id: _ID) -> IntentView:
        return await live("POST /control/v1/intents/{id}/confirm").confirm(intent_id)

    @routes.delete(
        "/intents/{intent_id}",
        summary="Withdraw an intent, or drop a draft; what is left",
        responses={404: shape, 409: shape},
    )
    async def delete(intent_id: _ID) -> IntentList:
        found = live("DELETE /control/v1/intents/{id}")
        await found.withdraw(intent_id)
        return await found.intents()
