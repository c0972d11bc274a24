"""Approvals over HTTP: what waits for a person, and the person's word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, field_validator

from edgewise.domain.decision import Approval
from edgewise.domain.errors import Refused
from serving.control_api.schema import ErrorShape, Shape
from serving.control_api.view import ControlView

PAST = 1000  # newest decisions whose approvals a stored run shows
_SHAPE: dict[str, Any] = {"model": ErrorShape}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {**_SHAPE, "description": "No such approval."},
    409: {**_SHAPE, "description": "Another hash than that of what waits; or approved, but not to be carried out any "
                                   "more (`approval_lapsed`); or read-only."},
    410: {**_SHAPE, "description": "Expired, answered or superseded."},
}  # fmt: skip


class ApprovalsDoor(Protocol):
    """What a running controller offers. `answer` raises the errors of edgewise.control.approvals."""

    async def approvals(self) -> Sequence[Approval]:
        """Those that wait, newest first, then those that ended lately."""
        ...

    async def answer(self, approval_id: str, approve: bool, shown: str, by: str = "") -> Approval: ...


class ApprovalList(Shape):
    at_s: float = Field(description="Run-clock second of this answer; `expires_s` is on the same clock.")
    read_only: bool = False
    items: list[Approval] = Field(description="Those that wait first, then those that ended lately; newest first.")


class ApprovalWord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    approve: bool = Field(strict=True)
    hash: str = Field(max_length=128, description="The `hash` of the request that was shown.")
    by: str = Field(default="", max_length=80, description="Who says so, for the record.")

    @field_validator("by")
    @classmethod
    def _one_line(cls, by: str) -> str:
        return " ".join("".join(c if c.isprintable() else " " for c in by).split())


def add_routes(routes: APIRouter, view: ControlView, door: ApprovalsDoor | None, read_only: bool) -> APIRouter:
    """door: None for a run that nobody decides any more."""
    mute = read_only or door is None

    @routes.get("/approvals", summary="What waits for a person, and what became of the latest requests")
    async def get_approvals() -> ApprovalList:
        items = list(await door.approvals()) if door is not None else await _recorded(view)
        return ApprovalList(at_s=(await view.state()).at_s, read_only=mute, items=items)

    @routes.post("/approvals/{approval_id}", summary="A person's word on a request", responses=_RESPONSES)
    async def post_approval(approval_id: Annotated[str, Path(max_length=200)], word: ApprovalWord) -> Approval:
        if door is None or mute:
            raise Refused(
                "this control API is read-only: nothing can be approved here",
                where=f"POST /control/v1/approvals/{approval_id}",
                hint="send this to the control API of a running controller, started without --read-only",
            )
        return await door.answer(approval_id, word.approve, word.hash, word.by)

    return routes


async def _recorded(view: ControlView) -> list[Approval]:
    rows = await view.decisions(PAST)
    return [row.approval for row in rows if row.approval is not None]
