"""The dashboard's client: answers become records, every failure one of our errors."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from edgewise.domain.errors import Refused, RunFailed, Unavailable
from tests.support.live_view import LiveView
from ui.api import ControlApi


def api(handle: Callable[[httpx.Request], httpx.Response]) -> ControlApi:
    return ControlApi("http://control/", httpx.MockTransport(handle))


async def test_reads_what_the_view_says() -> None:
    state = await LiveView().state()
    client = api(lambda _: httpx.Response(200, content=state.model_dump_json()))
    assert client.state() == state


def test_asks_for_pages_and_quotes_ids() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if "decisions/" in str(request.url):
            return httpx.Response(404, json={"error": {"code": "x", "message": "none", "where": "w", "hint": "h"}})
        return httpx.Response(200, json={"items": []})

    client = api(handle)
    assert client.decisions(5, before="d 1") == []
    assert client.recent_prompts(7) == []
    with pytest.raises(Refused) as refused:
        client.decision("a/b?c")
    assert (refused.value.message, refused.value.where, refused.value.hint) == ("none", "w", "h")
    assert asked == [
        "http://control/control/v1/decisions?limit=5&before=d+1",
        "http://control/control/v1/events?limit=7",
        "http://control/control/v1/decisions/a%2Fb%3Fc",
    ]


def refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("handle", "error", "says"),
    [
        (refuse, Unavailable, "not reachable"),
        (lambda _: httpx.Response(502, text="<html>"), Unavailable, "502"),
        (lambda _: httpx.Response(200, text="<html>"), RunFailed, "not edgewise's control API"),
        (lambda _: httpx.Response(200, json={"other": 1}), RunFailed, "not edgewise's control API"),
        (lambda _: httpx.Response(404, json=["x"]), Refused, "404"),
    ],
)
def test_failures_are_ours(
    handle: Callable[[httpx.Request], httpx.Response], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        api(handle).state()
