"""Takes a picture of a dashboard page with a real Chromium; for the documentation.

python -m ui.screenshot http://127.0.0.1:8501 docs/images/dashboard-now.png now
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgewise.domain.errors import SetupError

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE = (1440, 1000)
WAIT_MS = 60_000


def settle(page: Page) -> None:
    """Waits until the page is drawn: title there, nothing running, charts and fonts rendered."""
    page.wait_for_selector("h1:has-text('edgewise')", timeout=WAIT_MS)
    page.wait_for_selector(
        "[data-testid='stMetric'], [data-testid='stAlert'], [data-testid='stForm']", timeout=WAIT_MS
    )
    page.wait_for_selector("[data-testid='stSkeleton']", state="detached", timeout=WAIT_MS)
    page.wait_for_timeout(1500)


def take(
    url: str,
    path: Path,
    page: Literal["now", "decisions", "intents"],
    scheme: Literal["light", "dark"] = "light",
    query: str = "",
) -> None:
    """Saves `page` of the dashboard at `url` as a PNG; query: for example `decision=d-0010`.
    Raises SetupError when Chromium is missing."""
    from playwright.sync_api import sync_playwright

    if not Path(CHROMIUM).exists():
        raise SetupError("Chromium is missing", where=CHROMIUM, hint="apt-get install chromium")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=list(FLAGS),
            viewport={"width": SIZE[0], "height": SIZE[1]},
            color_scheme=scheme,
        )
        try:
            tab = browser.pages[0]
            place = "" if page == "now" else page  # the first page is at the root
            tab.goto(f"{url.rstrip('/')}/{place}?{query}", timeout=WAIT_MS)
            settle(tab)
            # Streamlit scrolls inside the page: the window is made as high as what it shows.
            height = tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
            tab.set_viewport_size({"width": SIZE[0], "height": min(int(height) + 8, 2600)})
            tab.wait_for_timeout(800)
            path.parent.mkdir(parents=True, exist_ok=True)
            tab.screenshot(path=str(path))
        finally:
            browser.close()


if __name__ == "__main__":
    where, file, which = sys.argv[1:4]
    take(where, Path(file), which if which in ("decisions", "intents") else "now")  # type: ignore[arg-type]
