"""The control API: typed routes over any ControlView."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Path, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from edgewise.domain.errors import EdgewiseError, Refused
from serving.control_api import approvals, errors, metrics
from serving.control_api.approvals import ApprovalsDoor
from serving.control_api.body_limit import BodyLimit
from serving.control_api.intents import IntentDoor, add_routes
from serving.control_api.replays import Replays, replay_routes
from serving.control_api.schema import (
    DecisionDetail,
    DecisionList,
    ErrorShape,
    EventList,
    ModeChange,
    ModeView,
    PlanList,
    RunState,
)
from serving.control_api.view import ControlView, Cursor, Streamed

VERSION = "1"
MAX_BODY_BYTES = 1 << 20  # no change that can be asked for is larger
PING_S = 10  # an idle stream shows a sign of life, so that proxies and readers keep it open

_SHAPE: dict[str, Any] = {"model": ErrorShape}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {**_SHAPE, "description": "The request is wrong; `where` and `hint` say how."},
    500: {**_SHAPE, "description": "Unexpected; the log has the details."},
    503: {**_SHAPE, "description": "The controller does not answer yet; see Retry-After."},
}
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items wanted.")]


def create_app(
    view: ControlView,
    read_only: bool = False,
    asking: ApprovalsDoor | None = None,
    intents: IntentDoor | None = None,
    replays: Replays | None = None,
    account: Callable[[], metrics.Account] | None = None,
) -> FastAPI:
    """The ASGI app. read_only: refuse every change with 409, whatever the view could do. asking, intents: of a
    running controller; without it, approvals are those of the recorded decisions, and no intents are taken. replays:
    None: no routes. account: what /metrics shows; without it there is none."""
    app = _ControlApp(
        title="edgewise control API",
        version=VERSION,
        summary="What the controller sees, decides and does.",
        description="All times are seconds; `at_s` and its like count from the start of the run.",
        docs_url=None,  # its page loads scripts from elsewhere, which an edge site may not reach
        redoc_url=None,
    )
    app.state.stopping = asyncio.Event()  # set by the server before it waits for open event streams
    app.include_router(_state_routes(view, read_only))
    app.include_router(_history_routes(view, app.state.stopping))
    app.include_router(_mode_routes(view, read_only))
    app.include_router(approvals.add_routes(_router("approvals"), view, asking, read_only))
    if account is not None:
        app.include_router(metrics.add_route(APIRouter(), account))
    wishes = _router("intents")
    add_routes(wishes, None if read_only else intents, _SHAPE)
    app.include_router(wishes)
    if replays is not None:
        app.include_router(replay_routes(replays, _router("replay")))
    errors.install(app)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    return app


class _ControlApp(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, without the 422 that FastAPI adds by itself: what fails validation is a 400 here."""
        document = super().openapi()
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document


def _router(tag: str) -> APIRouter:
    return APIRouter(prefix="/control/v1", responses=ERRORS, tags=[tag])


def _state_routes(view: ControlView, read_only: bool) -> APIRouter:
    routes = _router("state")

    @routes.get("/state", summary="Nodes, replicas, models, fairness and the plan in force")
    async def get_state() -> RunState:
        state = await view.state()
        return state.model_copy(update={"read_only": True}) if read_only else state

    return routes


def _history_routes(view: ControlView, stopping: asyncio.Event) -> APIRouter:
    routes = _router("history")

    @routes.get("/decisions", summary="Decisions, newest first")
    async def get_decisions(
        limit: Limit = 50,
        before: Annotated[str | None, Query(max_length=200, description="Only those before this id.")] = None,
    ) -> DecisionList:
        return DecisionList(items=list(await view.decisions(limit, before)))

    @routes.get("/decisions/{decision_id}", summary="One decision and the plan it replaced", responses={404: _SHAPE})
    async def get_decision(decision_id: Annotated[str, Path(max_length=200)]) -> DecisionDetail:
        return await view.decision(decision_id)

    @routes.get("/plans", summary="Plans, newest first, each once")
    async def get_plans(limit: Limit = 50) -> PlanList:
        return PlanList(items=list(await view.plans(limit)))

    @routes.get(
        "/events",
        summary="Prompts and replica changes, oldest first; a stream when text/event-stream is accepted",
        response_model=EventList,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def get_events(
        limit: Limit = 100,
        after: Annotated[int | None, Query(ge=0, description="Only those behind this `seq`.")] = None,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> EventList | Response:
        if "text/event-stream" in accept:
            cursor = Cursor.parse(last_event_id) if last_event_id else None
            return EventSourceResponse(_stream(view.subscribe(cursor), stopping), ping=PING_S, send_timeout=PING_S)
        return EventList(items=list(await view.events(limit, after)))

    return routes


async def _stream(source: AsyncIterator[Streamed], stopping: asyncio.Event) -> AsyncIterator[ServerSentEvent]:
    halt = asyncio.ensure_future(stopping.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(source, None))
            try:
                await asyncio.wait({coming, halt}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not coming.done():
                    coming.cancel()
            if halt.done() or (item := coming.result()) is None:
                return
            event = item.event
            yield ServerSentEvent(data=event.model_dump_json(by_alias=True), event=event.type, id=str(item.cursor))
    except EdgewiseError as error:
        yield ServerSentEvent(data=json.dumps(error.as_dict()), event="error")
    finally:
        halt.cancel()


def _mode_routes(view: ControlView, read_only: bool) -> APIRouter:
    routes = _router("mode")

    @routes.get("/mode", summary="Whether decisions are carried out")
    async def get_mode() -> ModeView:
        return ModeView(mode=await view.mode(), read_only=read_only)

    @routes.put("/mode", summary="active, advisory or off, from the next decision on", responses={409: _SHAPE})
    async def put_mode(change: ModeChange) -> ModeView:
        if read_only:
            raise Refused(
                "this control API is read-only: the mode stays as it is",
                where="PUT /control/v1/mode",
                hint="send this to the control API of a running controller, started without --read-only",
            )
        await view.set_mode(change.mode)
        return ModeView(mode=await view.mode(), read_only=False)

    return routes
