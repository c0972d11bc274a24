"""The dashboard in a real browser: on a stored run, on a live one, on an empty one, and while nobody answers."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.codec import from_json
from serving.control_api.app import create_app
from serving.control_api.run_view import open_run
from serving.control_api.schema import DecisionDetail, RunState
from serving.control_api.server import ServerThread
from tests.support.live_view import LiveView
from tests.support.make_run import make_run
from ui.launch import launch
from ui.palette import STATES
from ui.screenshot import CHROMIUM, FLAGS, WAIT_MS, settle
from ui.tables import totals
from ui.words import percent, seconds

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is missing: apt-get install chromium"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=list(FLAGS),
            viewport={"width": 1440, "height": 2200},
        )
        yield context
        context.close()


@contextmanager
def dashboard(api_url: str) -> Iterator[str]:
    ui = launch(api_url)
    try:
        ui.wait_ready()
        yield ui.url
    finally:
        ui.stop()


@contextmanager
def tab(browser: Any, url: str) -> Iterator[Any]:
    """A tab on `url`; what went wrong in its scripts fails the test."""
    page = browser.new_page()
    crashes: list[str] = []
    page.on("pageerror", lambda error: crashes.append(str(error)))
    page.goto(url, timeout=WAIT_MS)
    try:
        yield page
        assert page.locator("[data-testid='stException']").count() == 0
        assert crashes == []
    finally:
        page.close()


def see(page: Any, text: str) -> None:
    """Waits until `text` is visible."""
    page.get_by_text(text, exact=False).first.wait_for(state="visible", timeout=WAIT_MS)


def metric(page: Any, label: str) -> str:
    card = page.locator("[data-testid='stMetric']").filter(has_text=label)
    return str(card.locator("[data-testid='stMetricValue']").inner_text()).strip()


def see_metric(page: Any, label: str, value: str) -> None:
    card = page.locator("[data-testid='stMetric']").filter(has_text=label)
    card.locator("[data-testid='stMetricValue']").filter(has_text=value).wait_for(timeout=WAIT_MS)


def grid(page: Any, count: int) -> list[str]:
    """The cells of the first data table, from the accessible table inside its canvas."""
    cells = page.locator("[data-testid='stDataFrame'] td[role='gridcell']")
    cells.nth(count - 1).wait_for(state="attached", timeout=WAIT_MS)
    return [str(t).strip() for t in cells.all_text_contents()]


def numbers(cells: list[str]) -> set[float]:
    """The cells that are numbers; the grid holds them unrounded."""
    return {float(c) for c in cells if re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", c)}


def read(kind: Any, url: str, path: str) -> Any:
    return from_json(kind, httpx.get(url + path, trust_env=False).content)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Control API and dashboard of a generated run."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    with ServerThread(create_app(open_run(run), read_only=True)) as api, dashboard(api.url) as url:
        yield api.url, url


def test_now_of_a_stored_run_shows_the_apis_figures(browser: Any, stored: tuple[str, str]) -> None:
    api, url = stored
    state: RunState = read(RunState, api, "/control/v1/state")
    with tab(browser, url) as page:
        settle(page)
        for label, value in totals(state).items():
            assert metric(page, label) == value
        see(page, "read-only")
        see(page, "stored run")
        shown = grid(page, len(state.models) * 2)
        for model in state.models:
            assert model.model in shown
            assert model.mean_latency_s in numbers(shown)
            assert model.slowdown in numbers(shown)
            assert str(model.completed) in shown
            see(page, f"p95 {seconds(model.p95_latency_s)}")
        table = page.locator("table.ew-map")
        for node in state.nodes:
            row = table.locator("tr").filter(has_text=node.node).inner_text()
            for replica in node.replicas:
                assert f"{STATES[replica.state].symbol} {replica.state.value}" in row
            assert f"{node.memory_used_gib:.1f} / {node.memory_gib:.1f}" in row
        ready = sum(r.state is ReplicaState.READY for n in state.nodes for r in n.replicas)
        assert table.get_by_text("● ready").count() == ready
        assert page.locator(".js-plotly-plot").count() == 3


def test_decisions_of_a_stored_run_show_why(browser: Any, stored: tuple[str, str]) -> None:
    api, url = stored
    detail: DecisionDetail = read(DecisionDetail, api, "/control/v1/decisions/d-0010")
    row = detail.decision
    with tab(browser, f"{url}/decisions?decision=d-0010") as page:
        settle(page)
        see(page, "d-0010: a new plan")
        see(page, row.reason)
        assert metric(page, "Chosen") == "optimiser"
        assert metric(page, "Runner-up") == "llm"
        assert metric(page, "Margin") == percent(row.margin)
        for text in ("drain gpt2 on edge-4", "+ stable-diffusion on edge-4", "case-0003, case-0007", "612 tokens"):
            see(page, text)
        shown = grid(page, 3 * 3)
        for candidate in row.candidates:
            assert candidate.interval is not None
            assert {candidate.score, *candidate.interval} <= numbers(shown)
        pick(page, "d-0003")
        see(page, "d-0003: ")
        see(page, read(DecisionDetail, api, "/control/v1/decisions/d-0003").decision.reason)


def pick(page: Any, decision: str) -> None:
    page.locator("[data-testid='stSelectbox'] input").click()
    page.get_by_role("option").filter(has_text=f"{decision} ·").filter(has_not_text="Newest").click()


def test_a_mark_of_the_timeline_picks_its_decision(browser: Any, stored: tuple[str, str]) -> None:
    with tab(browser, f"{stored[1]}/decisions") as page:
        settle(page)
        see(page, "d-0019: ")
        # Filled marks come first in a trace: the first is the first decision that brought a new plan.
        page.locator(".scatterlayer .point").first.click(force=True)
        see_heading = page.locator("h3").filter(has_text="a new plan")
        see_heading.wait_for(timeout=WAIT_MS)
        assert not str(see_heading.inner_text()).startswith("d-0019")


def test_a_link_to_a_decision_that_is_not_there_shows_the_newest(browser: Any, stored: tuple[str, str]) -> None:
    with tab(browser, f"{stored[1]}/decisions?decision=elsewhere") as page:
        settle(page)
        see(page, "d-0019: ")


class Live:
    """A live view served on a port it keeps, so that it can go away and come back."""

    def __init__(self, empty: bool = False) -> None:
        self.view = LiveView(empty)
        self._stack = ExitStack()
        self.port = 0
        self.start()

    def start(self) -> None:
        self.server = self._stack.enter_context(ServerThread(create_app(self.view), port=self.port))
        self.url = self.server.url
        self.port = int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        self._stack.close()

    def advance(self, times: int = 1) -> None:
        for _ in range(times):
            asyncio.run_coroutine_threadsafe(self.view.advance(), self.server.loop).result(20)


@pytest.fixture
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    made = Live(empty=getattr(request, "param", False))
    try:
        yield made
    finally:
        made.stop()


def test_now_of_a_live_run_follows_it_and_survives_its_silence(browser: Any, live: Live) -> None:
    with dashboard(live.url) as url, tab(browser, url) as page:
        settle(page)
        see_metric(page, "Completed", "1 / 4")
        table = page.locator("table.ew-map")
        for text in ("● ready", "◒ draining", "◔ loading", "edge-2 ✕ down", "⚠ 21.0 s"):
            table.get_by_text(text).first.wait_for(timeout=WAIT_MS)
        live.advance(3)
        see_metric(page, "Completed", "4 / 7")
        live.stop()
        see(page, "The control API is not reachable")
        see(page, live.url)
        live.start()
        see_metric(page, "Completed", "4 / 7")
        page.get_by_text("The control API is not reachable").wait_for(state="hidden", timeout=WAIT_MS)


def test_decisions_of_a_live_run_follow_it_but_keep_a_pick(browser: Any, live: Live) -> None:
    with dashboard(live.url) as url, tab(browser, f"{url}/decisions") as page:
        settle(page)
        see(page, "d-1: a new plan")
        live.advance()
        see(page, "d-2: a new plan")
        see(page, "✕ load blip on edge-2 — 2.0 GiB do not fit")
        pick(page, "d-1")
        see(page, "the plan of slot 1 wins")
        live.advance()
        page.locator("[data-testid='stPlotlyChart'] .scatterlayer .point").nth(2).wait_for(timeout=WAIT_MS)
        see(page, "the plan of slot 1 wins")


@pytest.mark.parametrize("live", [True], indirect=True)
def test_an_empty_run_says_so_and_then_fills(browser: Any, live: Live) -> None:
    with dashboard(live.url) as url:
        with tab(browser, f"{url}/decisions") as page:
            see(page, "No decision has been made yet")
        with tab(browser, url) as page:
            settle(page)
            see(page, "Nothing has happened yet")
            live.advance()
            see_metric(page, "Completed", "1 / 4")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["now", "decisions"])
def test_pictures_for_the_documentation(stored: tuple[str, str], tmp_path: Path, page: str) -> None:
    picture = tmp_path / f"{page}.png"
    # A process of its own: playwright's sync door opens only once per thread.
    command = [sys.executable, "-m", "ui.screenshot", stored[1], str(picture), page]
    subprocess.run(command, check=True, timeout=120)
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert 20_000 < len(data) < 300_000
