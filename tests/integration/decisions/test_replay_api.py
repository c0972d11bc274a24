"""Replay and what-if over HTTP, on a stored run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from edgewise.compose.replays import RunReplays
from serving.control_api.app import create_app
from tests.support.live_view import LiveView
from tests.support.recorded_run import recorded_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_run(tmp_path_factory.mktemp("runs") / "run", slots=4)


def client(run: Path) -> httpx.AsyncClient:
    app = create_app(LiveView(), read_only=True, replays=RunReplays(run))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control", timeout=100)


async def test_both_routes_and_one_at_a_time(run: Path) -> None:
    async with client(run) as api:
        first = asyncio.create_task(api.get("/control/v1/replay", params={"newest": 2}))
        await asyncio.sleep(0.2)
        busy = await api.post("/control/v1/replay", json={"slot": 2})
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "refused")
        assert (await first).json() == {"slots": 2, "identical": 2, "different": []}
        found = await api.post("/control/v1/whatif", json={"slot": 3, "edit": {"demand": {"gpt2": 3}}})
        assert found.status_code == 200, found.text
        assert found.json()["edit"] == "demand of gpt2 × 3"
        wrong = await api.get("/control/v1/whatif", params={"setting": "alpa", "value": 3})
        assert wrong.status_code == 400
        assert wrong.json()["error"]["hint"] == "did you mean 'alpha'?"
        assert "/tmp" not in wrong.text
        assert (await api.post("/control/v1/whatif", json={"slot": 3})).status_code == 400


async def test_the_document_names_them(run: Path) -> None:
    async with client(run) as api:
        paths = (await api.get("/openapi.json")).json()["paths"]
    assert {"/control/v1/replay", "/control/v1/whatif"} <= set(paths)
