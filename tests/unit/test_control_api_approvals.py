"""Approvals over HTTP: what is shown, what an answer needs, and what it gets when it comes too late."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from serving.control_api.app import create_app
from tests.support.asking_door import REQUEST, AskingDoor
from tests.support.live_view import LiveView

PATH = "/control/v1/approvals"


@pytest.fixture
def door() -> AskingDoor:
    return AskingDoor()


def client(door: AskingDoor | None, read_only: bool = False) -> httpx.AsyncClient:
    app = create_app(LiveView(), read_only, door)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://control"
    )


@pytest.fixture
async def api(door: AskingDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with client(door) as made:
        yield made


def code(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()["error"]) == {"code", "message", "where", "hint"}
    return answer.status_code, answer.json()["error"]["code"]


async def test_what_waits_is_shown_with_its_hash_and_in_words(api: httpx.AsyncClient) -> None:
    body = (await api.get(PATH)).json()
    assert (body["at_s"], body["read_only"]) == (4.0, False)
    first = body["items"][0]
    assert (first["id"], first["state"], first["hash"]) == (REQUEST.id, "waiting", REQUEST.hash)
    assert first["changes"][0] == "load stable-diffusion on edge-3"
    assert first["scores"][0] == ["incumbent", "p-000011-w", {"mean": 1.91, "low": 1.83, "high": 1.99}]
    assert [a["state"] for a in body["items"]] == ["waiting", "rejected", "expired"]


@pytest.mark.parametrize("approve", [True, False])
async def test_a_word_with_the_hash_counts_once(api: httpx.AsyncClient, door: AskingDoor, approve: bool) -> None:
    word = {"approve": approve, "hash": REQUEST.hash, "by": " ada\x00\n lovelace "}
    answer = await api.post(f"{PATH}/{REQUEST.id}", json=word)
    assert answer.status_code == 200
    assert answer.json()["state"] == ("approved" if approve else "rejected")
    assert door.words == [(REQUEST.id, approve, REQUEST.hash, "ada lovelace")]
    assert code(await api.post(f"{PATH}/{REQUEST.id}", json=word)) == (410, "approval_over")


async def test_wrong_hash_409_expired_410_unknown_404(api: httpx.AsyncClient, door: AskingDoor) -> None:
    word = {"approve": True, "hash": "0" * 64}
    assert code(await api.post(f"{PATH}/{REQUEST.id}", json=word)) == (409, "approval_hash")
    assert code(await api.post(f"{PATH}/a-000008", json=word)) == (410, "approval_over")
    assert code(await api.post(f"{PATH}/a-1", json=word)) == (404, "approval_not_found")
    assert door.words == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"approve": True},
        {"hash": "x"},
        {"approve": "yes", "hash": "x"},
        {"approve": 1, "hash": "x"},
        {"approve": True, "hash": "x" * 200},
        {"approve": True, "hash": "x", "by": "y" * 81},
        {"approve": True, "hash": "x", "more": 1},
    ],
)
async def test_a_malformed_word_is_a_400(api: httpx.AsyncClient, door: AskingDoor, body: dict[str, object]) -> None:
    assert code(await api.post(f"{PATH}/{REQUEST.id}", json=body)) == (400, "bad_input")
    assert door.words == []


async def test_read_only_shows_and_refuses(door: AskingDoor) -> None:
    async with client(door, read_only=True) as api:
        assert (await api.get(PATH)).json()["read_only"] is True
        word = {"approve": True, "hash": REQUEST.hash}
        assert code(await api.post(f"{PATH}/{REQUEST.id}", json=word)) == (409, "refused")
    assert door.words == []


async def test_a_run_that_nobody_decides_any_more_shows_what_is_recorded() -> None:
    async with client(None) as api:
        assert (await api.get(PATH)).json()["items"] == []
        answer = await api.post(f"{PATH}/{REQUEST.id}", json={"approve": True, "hash": "x"})
        assert code(answer) == (409, "refused")
