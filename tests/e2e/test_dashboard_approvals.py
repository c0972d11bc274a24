"""Approvals in a real browser: the request in words, its two buttons, and the answer that comes of a click."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.control_api.app import create_app
from serving.control_api.server import ServerThread
from tests.support.asking_door import REQUEST, AskingDoor
from tests.support.live_view import LiveView
from ui.launch import launch
from ui.screenshot import CHROMIUM, FLAGS, WAIT_MS, settle

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is missing: apt-get install chromium"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, args=list(FLAGS), viewport={"width": 1440, "height": 1600}
        )
        yield context.pages[0]
        context.close()


@pytest.mark.parametrize(("button", "state"), [("Approve", "approved"), ("Reject", "rejected")])
def test_a_request_is_shown_and_a_click_answers_it(page: Any, button: str, state: str) -> None:
    door = AskingDoor()
    with ServerThread(create_app(LiveView(), asking=door)) as api:
        ui = launch(api.url)
        try:
            ui.wait_ready()
            page.goto(f"{ui.url}/decisions", timeout=WAIT_MS)
            settle(page)
            shown = page.locator("body").inner_text()
            for words in (REQUEST.id, *REQUEST.changes, REQUEST.reason, REQUEST.runner_up, REQUEST.hash[:12]):
                assert words in shown
            page.get_by_role("button", name=button).click()
            page.get_by_text(f"{REQUEST.id} {state}.").wait_for(timeout=WAIT_MS)
            assert door.words == [(REQUEST.id, state == "approved", REQUEST.hash, "dashboard")]
            page.get_by_role("button", name=button).wait_for(state="detached", timeout=WAIT_MS)
        finally:
            ui.stop()
