"""PrometheusTelemetry: ports.Telemetry from a Prometheus server that scrapes nodes and gateway.

It asks for raw samples (a range selector) and windows them by tools.telemetry, as the embedded reader does, rather
than by increase() and histogram_quantile(): increase() extrapolates, so that counts are no longer counts, and
misses the first value of a new series, which is just what a shift in demand looks like; and a target that falls
silent vanishes from instant queries, whereas the port keeps its last figures with their age. Each sample is fetched
once, so a read costs what was scraped since the one before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from edgewise.control.ports import Clock, Sample
from edgewise.domain.errors import BadInput, TelemetryUnavailable
from edgewise.domain.observation import TelemetryFacts
from tools.prometheus_samples import QUERY_NAMES, Samples, scrapes_by_source
from tools.telemetry import Scrape, facts_of, trimmed

# Samples may show up this long after their timestamp (a slow scrape is stamped with its start).
LATE_S = 12.0
# A target that was not scraped for so long while others were is gone for good.
FORGET_S = 600.0


class PrometheusTelemetry:
    """The last `window_s` seconds of a Prometheus server's samples.

    selector: further label matchers, e.g. `job="edgewise"`, when the server scrapes other things of these names.
    wall: seconds since the epoch; the server's clock is assumed to agree with it. timeout_s: longest one query
    may take.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        window_s: float,
        *,
        selector: str = "",
        timeout_s: float = 5.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._window_s = window_s
        self._selector = selector
        self._wall = wall
        # The next read is soon: waiting out a back-off here would only make the figures older.
        retry = Retry(total=1, backoff_factor=0.0, status_forcelist=[])
        self._server = PrometheusConnect(self._url, retry=retry, timeout=timeout_s, method="POST")
        self._rings: dict[str, list[Scrape]] = {}
        self._newest: dict[str, float] = {}  # source → wall second of its last scrape
        self._asked_s: float | None = None  # wall second of the last query that was answered
        self._note = ""
        self._reading = asyncio.Lock()

    def notes(self) -> dict[str, str]:
        """Why the last query failed, empty when it did not."""
        return {"prometheus": self._note} if self._note else {}

    async def read(self) -> TelemetryFacts:
        async with self._reading:
            await self._fetch()
        if not any(scrape.values for ring in self._rings.values() for scrape in ring):
            why = (
                self._note or "the server has no series of edgewise in this window: is it scraping nodes and gateway?"
            )
            raise TelemetryUnavailable("nothing was read from Prometheus yet", where=self._url, hint=why)
        return facts_of(self._rings, self._clock.now_s(), self._window_s)

    async def query(self, promql: str) -> Sequence[Sample]:
        """The newest value of each series of an instant query's answer. Implements ports.MetricQuery."""
        try:
            answer = await asyncio.to_thread(self._server.custom_query, promql)
            return [_sample(series) for series in answer if isinstance(series, dict)]
        except PrometheusApiClientException as error:
            raise BadInput(f"the query was not taken: {error}", where=self._url) from error
        except (requests.RequestException, OSError, ValueError, TypeError, LookupError) as error:
            raise TelemetryUnavailable(f"no answer to a query: {error}", where=self._url) from error

    async def aclose(self) -> None:
        self._server.close()

    async def _fetch(self) -> None:
        wall_s = self._wall()
        span_s = self._window_s if self._asked_s is None else wall_s - self._asked_s
        query = f"{{{self._matchers()}}}[{max(1, round((span_s + LATE_S) * 1000))}ms]"
        try:
            answer = await asyncio.to_thread(self._server.custom_query, query, {"time": f"{wall_s:.3f}"})
            fresh = scrapes_by_source(answer)
        except (
            requests.RequestException,
            PrometheusApiClientException,
            OSError,
            ValueError,
            TypeError,
            KeyError,
        ) as e:
            self._note = str(e) or type(e).__name__
            return
        self._note, self._asked_s = "", wall_s
        # Run-clock seconds of wall-clock stamps, by one pair of readings for all of them.
        offset_s = self._clock.now_s() - self._wall()
        for source, samples in fresh.items():
            self._append(source, samples, offset_s)
        self._forget()

    def _matchers(self) -> str:
        names = f'__name__=~"{"|".join(QUERY_NAMES)}"'
        return f"{names},{self._selector}" if self._selector else names

    def _append(self, source: str, samples: Sequence[Samples], offset_s: float) -> None:
        ring = self._rings.setdefault(source, [])
        for stamp_s, values in samples:
            if stamp_s > self._newest.get(source, float("-inf")):
                self._newest[source] = stamp_s
                ring.append(Scrape(stamp_s + offset_s, values))
        self._rings[source] = trimmed(ring, self._window_s)

    def _forget(self) -> None:
        freshest_s = max(self._newest.values(), default=0.0)
        for source, stamp_s in list(self._newest.items()):
            if stamp_s < freshest_s - FORGET_S:
                del self._newest[source], self._rings[source]


def _sample(series: dict[str, Any]) -> Sample:
    """Of an instant vector or, by its last point, a range."""
    point = series["value"] if "value" in series else series["values"][-1]
    labels = tuple(sorted((str(k), str(v)) for k, v in series.get("metric", {}).items()))
    return Sample(labels, float(point[1]))
