"""ScrapeTelemetry: ports.Telemetry by reading the /metrics pages of nodes and gateway directly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from edgewise.control.ports import Clock
from edgewise.domain.errors import TelemetryUnavailable
from edgewise.domain.observation import TelemetryFacts
from tools.metrics_text import parse_page
from tools.telemetry import Scrape, facts_of, trimmed

MAX_PAGE_BYTES = 8 * 1024 * 1024


class ScrapeTelemetry:
    """Reads every source each `scrape_s` seconds and keeps one window of scrapes per source.

    sources: gives the base URL of each source by name, asked anew each time (a node that was restarted has another
    URL but is the same source). timeout_s: longest a source is waited for. Reading begins with `start` or with the
    first `read`; `aclose` ends it.
    """

    def __init__(
        self,
        sources: Callable[[], Mapping[str, str]],
        clock: Clock,
        window_s: float,
        scrape_s: float,
        *,
        timeout_s: float = 2.0,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._window_s = window_s
        self._scrape_s = scrape_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._rings: dict[str, list[Scrape]] = {}
        self._notes: dict[str, str] = {}
        self._heard = False  # some source answered some time
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to read in the background; no effect when it has begun. Needs a running event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="scrape")

    def notes(self) -> dict[str, str]:
        """What was wrong with the last reading of a source, in words, for those where something was."""
        return dict(self._notes)

    async def read(self) -> TelemetryFacts:
        self.start()
        if not self._heard:
            await self.scrape_once()
        if not self._heard:
            why = "; ".join(f"{name}: {note}" for name, note in sorted(self._notes.items())) or "there are no sources"
            raise TelemetryUnavailable("no source of metrics has answered yet", where="scrape", hint=why)
        return facts_of(self._rings, self._clock.now_s(), self._window_s)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def scrape_once(self) -> None:
        """Reads all sources now, each at once; those that do not answer are noted."""
        sources = dict(self._sources())
        for gone in self._rings.keys() - sources.keys():
            del self._rings[gone]
        self._notes = {name: note for name, note in self._notes.items() if name in sources}
        await asyncio.gather(*(self._scrape(name, url) for name, url in sources.items()))

    async def _run(self) -> None:
        while True:
            begun_s = self._clock.now_s()
            await self.scrape_once()
            await self._clock.sleep(max(0.0, begun_s + self._scrape_s - self._clock.now_s()))

    async def _scrape(self, name: str, url: str) -> None:
        # The page is of some moment while we waited; the earliest makes no figure look fresher than it is.
        at_s = self._clock.now_s()
        try:
            page = parse_page(await self._page(f"{url.rstrip('/')}/metrics"))
        except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:  # TimeoutError is an OSError
            self._notes[name] = str(error) or type(error).__name__
            return
        ring = self._rings.setdefault(name, [])
        # Two readings may overlap (the first `read` and the loop); the later page wins its place in time.
        if ring and ring[-1].at_s >= at_s:
            return
        ring.append(Scrape(at_s, page.values, whole=page.bad_lines == 0))
        self._heard = True
        self._rings[name] = trimmed(ring, self._window_s)
        self._notes.pop(name, None)
        if page.bad_lines:
            self._notes[name] = f"{page.bad_lines} lines could not be read"

    async def _page(self, url: str) -> str:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        async with self._session.get(url, timeout=self._timeout) as answer:
            if answer.status != 200:
                raise aiohttp.ClientError(f"{url} answered HTTP {answer.status}")
            body = await answer.content.read(MAX_PAGE_BYTES + 1)
            while not answer.content.at_eof() and len(body) <= MAX_PAGE_BYTES:
                body += await answer.content.read(MAX_PAGE_BYTES + 1 - len(body))
        if len(body) > MAX_PAGE_BYTES:
            raise aiohttp.ClientError(f"{url} is larger than {MAX_PAGE_BYTES} bytes")
        return body.decode("utf-8")
