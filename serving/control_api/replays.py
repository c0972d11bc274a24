"""Replay and what-if over HTTP: decisions of the run made again, or otherwise. Neither changes anything, so a
read-only API has them, too."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from serving.control_api.schema import Shape

NEWEST, MOST = 5, 50


class Different(Shape):
    slot: int
    node: str = Field(description="The graph's node at which the two part first; may be empty.")
    diff: str


class ReplayView(Shape):
    slots: int
    identical: int
    different: list[Different]


class ReplayRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    slot: int | None = Field(None, ge=0, description="One slot; without it the newest ones.")
    newest: int = Field(NEWEST, ge=1, le=MOST, description="How many of the newest slots, where none is named.")


class WhatIf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    slot: int | None = Field(None, ge=0, description="The slot to decide otherwise; without it the newest.")
    edit: dict[str, Any] = Field(description="A fork edit; fork.schema.json says what it may hold.")


class Replays(Protocol):
    """Raises BadInput for a slot that is not kept or an edit that is wrong, Refused while another one is computed."""

    async def replay(self, slot: int | None, newest: int) -> dict[str, Any]: ...

    async def what_if(self, slot: int | None, edit: dict[str, Any]) -> dict[str, Any]: ...


def replay_routes(replays: Replays, routes: APIRouter) -> APIRouter:
    """GET for a look, POST for the same with a body."""

    @routes.get("/replay", summary="Recorded decisions made again, and where they differ")
    async def get_replay(
        slot: Annotated[int | None, Query(ge=0)] = None, newest: Annotated[int, Query(ge=1, le=MOST)] = NEWEST
    ) -> ReplayView:
        return ReplayView.model_validate(await replays.replay(slot, newest))

    @routes.post("/replay", summary="The same")
    async def post_replay(asked: ReplayRequest) -> ReplayView:
        return ReplayView.model_validate(await replays.replay(asked.slot, asked.newest))

    @routes.get("/whatif", summary="A slot decided with another setting, and both futures in the twin")
    async def get_what_if(
        setting: Annotated[str, Query(max_length=100, description="Name of a setting.")],
        value: Annotated[float, Query(description="Its value in the fork.")],
        slot: Annotated[int | None, Query(ge=0)] = None,
    ) -> dict[str, Any]:
        return await replays.what_if(slot, {"settings": {setting: value}})

    @routes.post("/whatif", summary="A slot decided with a fork edit, and both futures in the twin")
    async def post_what_if(asked: WhatIf) -> dict[str, Any]:
        return await replays.what_if(asked.slot, asked.edit)

    return routes
