"""The control API over an in-memory view: shapes, paging, one error shape, read-only, the event stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from edgewise.domain.decision import Mode
from edgewise.domain.errors import BadInput, ClusterUnavailable
from serving.control_api.app import create_app
from serving.control_api.schema import ErrorShape, RunState
from serving.control_api.view import ControlView, Cursor
from tests.support.live_view import LiveView


def client(view: ControlView, read_only: bool = False) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(view, read_only), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://control")


@pytest.fixture
def view() -> LiveView:
    return LiveView()


@pytest.fixture
async def api(view: LiveView) -> AsyncIterator[httpx.AsyncClient]:
    async with client(view) as made:
        yield made


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, str]:
    assert answer.status_code == status
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "where", "hint"}
    assert body["error"]["code"] == code
    return dict(body["error"])


def test_live_view_is_a_control_view(view: LiveView) -> None:
    assert isinstance(view, ControlView)


async def test_state_carries_the_views_figures(api: httpx.AsyncClient, view: LiveView) -> None:
    answer = await api.get("/control/v1/state")
    assert answer.status_code == 200
    assert RunState.model_validate(answer.json()) == await view.state()
    assert answer.json()["nodes"][0]["replicas"][1] == {
        "model": "blip",
        "state": "draining",
        "queued": 0,
        "in_flight": 0,
        "since_s": 2.0,
        "age_s": None,
    }


async def test_decisions_page_back_from_the_newest(api: httpx.AsyncClient, view: LiveView) -> None:
    for _ in range(4):
        await view.advance()
    first = (await api.get("/control/v1/decisions", params={"limit": 2})).json()["items"]
    rest = (await api.get("/control/v1/decisions", params={"before": first[-1]["id"]})).json()["items"]
    assert [d["id"] for d in first + rest] == ["d-5", "d-4", "d-3", "d-2", "d-1"]
    assert first[0]["candidates"][0]["from"] == "optimiser"


async def test_one_decision_brings_the_plan_it_replaced(api: httpx.AsyncClient, view: LiveView) -> None:
    await view.advance()
    body = (await api.get("/control/v1/decisions/d-2")).json()
    assert body["decision"]["plan"]["id"] == "plan-2"
    assert body["incumbent_plan"]["id"] == "plan-1"


async def test_plans_and_events(api: httpx.AsyncClient, view: LiveView) -> None:
    await view.advance()
    plans = (await api.get("/control/v1/plans")).json()["items"]
    assert [p["id"] for p in plans] == ["plan-2", "plan-1"]
    events = (await api.get("/control/v1/events", params={"after": 2})).json()["items"]
    assert [(e["seq"], e["type"]) for e in events] == [(3, "prompt"), (4, "replica")]
    assert events[0]["prompt"]["status"] == "completed"
    newest = (await api.get("/control/v1/events", params={"limit": 1})).json()["items"]
    assert [e["seq"] for e in newest] == [4]


async def test_mode_is_read_and_set(api: httpx.AsyncClient, view: LiveView) -> None:
    assert (await api.get("/control/v1/mode")).json() == {"mode": "active", "read_only": False}
    answer = await api.put("/control/v1/mode", json={"mode": "advisory"})
    assert answer.json() == {"mode": "advisory", "read_only": False}
    assert await view.mode() is Mode.ADVISORY


async def test_read_only_refuses_the_mode_and_says_so(view: LiveView) -> None:
    async with client(view, read_only=True) as api:
        error = error_of(await api.put("/control/v1/mode", json={"mode": "off"}), 409, "refused")
        assert "read-only" in error["message"]
        assert error["hint"]
        assert (await api.get("/control/v1/mode")).json() == {"mode": "active", "read_only": True}
        assert (await api.get("/control/v1/state")).json()["read_only"] is True


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/control/v1/nothing", None, 404, "not_found"),
        ("GET", "/", None, 404, "not_found"),
        ("DELETE", "/control/v1/mode", None, 405, "method_not_allowed"),
        ("GET", "/control/v1/decisions?limit=0", None, 400, "bad_input"),
        ("GET", "/control/v1/decisions?limit=many", None, 400, "bad_input"),
        ("GET", "/control/v1/events?after=-1", None, 400, "bad_input"),
        ("GET", "/control/v1/decisions/d-99", None, 404, "decision_not_found"),
        ("GET", "/control/v1/decisions?before=d-99", None, 404, "decision_not_found"),
        ("PUT", "/control/v1/mode", {"mode": "wild"}, 400, "bad_input"),
        ("PUT", "/control/v1/mode", {"mode": "off", "more": 1}, 400, "bad_input"),
        ("PUT", "/control/v1/mode", None, 400, "bad_input"),
    ],
)
async def test_every_error_has_the_one_shape(
    api: httpx.AsyncClient, method: str, path: str, body: Any, status: int, code: str
) -> None:
    error = error_of(await api.request(method, path, json=body), status, code)
    assert error["message"]
    assert error["where"]


class BrokenView(LiveView):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def state(self) -> RunState:
        raise self.error


async def test_an_unexpected_error_does_not_tell_what_it_knows() -> None:
    async with client(BrokenView(RuntimeError("password is swordfish"))) as api:
        answer = await api.get("/control/v1/state")
    error = error_of(answer, 500, "internal")
    assert "swordfish" not in answer.text
    assert error["where"] == "GET /control/v1/state"


async def test_unavailable_says_when_to_come_back() -> None:
    async with client(BrokenView(ClusterUnavailable("no node answers", retry_after_s=7.2))) as api:
        answer = await api.get("/control/v1/state")
    error_of(answer, 503, "cluster_unavailable")
    assert answer.headers["retry-after"] == "7"


async def test_openapi_types_every_answer(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/control/v1/state",
        "/control/v1/decisions",
        "/control/v1/decisions/{decision_id}",
        "/control/v1/plans",
        "/control/v1/events",
        "/control/v1/mode",
        "/control/v1/approvals",
        "/control/v1/approvals/{approval_id}",
        "/control/v1/intents",
        "/control/v1/intents/{intent_id}",
        "/control/v1/intents/{intent_id}/confirm",
    }
    for path, methods in document["paths"].items():
        for operation in methods.values():
            good = operation["responses"]["200"]["content"]
            assert "$ref" in good["application/json"]["schema"], path
            bad = operation["responses"]["400"]["content"]["application/json"]["schema"]
            assert bad["$ref"].endswith("/ErrorShape")
            assert "422" not in operation["responses"], path
    events = document["paths"]["/control/v1/events"]["get"]["responses"]["200"]["content"]
    assert "text/event-stream" in events
    assert set(ErrorShape.model_json_schema()["$defs"]) == {"ErrorBody"}


async def sse(view: ControlView, wanted: int, headers: dict[str, str]) -> list[dict[str, Any]]:
    """The first `wanted` messages of the stream, read straight off the ASGI app: httpx's ASGI transport only
    gives an answer once it is complete, which a stream never is."""
    app = create_app(view)
    found: list[dict[str, Any]] = []
    done = asyncio.Event()
    text = ""

    async def receive() -> dict[str, Any]:
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal text
        if message["type"] == "http.response.start":
            assert message["status"] == 200
        text += message.get("body", b"").decode()
        while "\r\n\r\n" in text:
            block, _, text = text.partition("\r\n\r\n")
            lines = dict(line.split(": ", 1) for line in block.split("\r\n"))
            if "event" in lines:
                found.append({**lines, "data": json.loads(lines["data"])})
        if len(found) >= wanted:
            done.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/control/v1/events",
        "raw_path": b"/control/v1/events",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("control", 80),
        "client": ("test", 1),
        "headers": [(k.lower().encode(), v.encode()) for k, v in {"accept": "text/event-stream", **headers}.items()],
    }
    await asyncio.wait_for(app(scope, receive, send), 20)
    return found


async def test_stream_goes_on_behind_the_last_event_seen(view: LiveView) -> None:
    await view.advance()
    got = await sse(view, 3, {"Last-Event-ID": "2:1"})
    assert [(g["event"], g["id"]) for g in got[:3]] == [("prompt", "3:1"), ("replica", "4:1"), ("decision", "4:2")]
    assert got[2]["data"]["decision"]["candidates"][0]["from"] == "optimiser"


async def test_stream_starts_with_what_is_new(view: LiveView) -> None:
    reading = asyncio.create_task(sse(view, 3, {}))
    await asyncio.wait_for(view.listening.wait(), 20)
    await view.advance()
    got = await reading
    assert [g["data"]["seq"] for g in got] == [3, 4, 2]


async def test_a_foreign_last_event_id_is_refused(api: httpx.AsyncClient) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "yesterday"}
    error_of(await api.get("/control/v1/events", headers=headers), 400, "bad_input")


@pytest.mark.parametrize("text", ["", "1", ":", "1:", "-1:2", "1:2:3", "१:१", "9" * 5000 + ":1"])
def test_cursor_takes_only_its_own_words(text: str) -> None:
    with pytest.raises(BadInput):
        Cursor.parse(text)


def test_cursor_round_trip() -> None:
    assert Cursor.parse(str(Cursor(12, 3))) == Cursor(12, 3)


async def test_a_huge_body_is_refused_unread(api: httpx.AsyncClient, view: LiveView) -> None:
    answer = await api.put("/control/v1/mode", content=b'{"mode":"' + b"a" * (2 << 20) + b'"}')
    error_of(answer, 413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * (1 << 16)

    answer = await api.put("/control/v1/mode", content=endless())
    assert answer.status_code in (400, 413)
    assert await view.mode() is Mode.ACTIVE
