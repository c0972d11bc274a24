"""A Prometheus server as the source: what its targets last showed, target by target, with their own readers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from edgewise.domain.errors import BadInput, TelemetryUnavailable
from tools.foreign.page import Answers
from tools.foreign.records import Reading
from tools.foreign.systems import ALL_NAMES, BY_KIND, Kind, on_page
from tools.metrics_text import Labels, Page, Series

_OF_SERVER = frozenset({"__name__", "instance", "job"})


class PrometheusLook:
    """Each target is an endpoint of its own, named by its instance. Samples are those of the last scrape: polls
    closer than the scrape interval see no more."""

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        self.name, self.url = name, url.rstrip("/")
        retry = Retry(total=1, backoff_factor=0.0, status_forcelist=[])
        self._server = PrometheusConnect(self.url, retry=retry, timeout=timeout_s, method="GET")
        self.kinds: dict[str, Kind] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.kinds)

    async def find(self) -> None:
        try:
            pages = await self._pages()
        except TelemetryUnavailable as error:
            hint = "is this the base URL of a Prometheus server?"
            raise BadInput(f"no answer to a query: {error.message}", where=self.url, hint=hint) from error
        for name, page in pages.items():
            system = on_page(Answers(page))
            if system is not None:
                self.kinds[name] = system.kind
        if not self.kinds:
            what = f"Prometheus has no series of {', '.join(k for k in Kind if BY_KIND[k].names)}"
            raise BadInput(what, where=self.url, hint="let it scrape the serving, or give the server's own URL")

    async def read(self) -> dict[str, Reading]:
        pages = await self._pages()
        return {name: BY_KIND[kind].read(Answers(pages[name])) for name, kind in self.kinds.items() if name in pages}

    async def _pages(self) -> dict[str, Page]:
        query = f'{{__name__=~"{"|".join(sorted(ALL_NAMES))}"}}'
        try:
            found = await asyncio.to_thread(self._server.custom_query, query)
            return pages_of(found)
        except (
            requests.RequestException, PrometheusApiClientException, OSError, ValueError, TypeError, KeyError
        ) as error:  # fmt: skip
            raise TelemetryUnavailable(str(error) or type(error).__name__, where=self.url) from error


def pages_of(vector: Sequence[Mapping[str, Any]]) -> dict[str, Page]:
    """An instant vector as one page per target. Raises ValueError, TypeError or KeyError when it is none."""
    found: dict[str, dict[Series, float]] = {}
    for entry in vector:
        metric, (_, text) = entry["metric"], entry["value"]
        target = str(metric.get("instance") or metric.get("job") or "target")
        found.setdefault(target, {})[(str(metric["__name__"]), _labels(metric))] = float(text)
    return {name: Page(values, 0) for name, values in sorted(found.items())}


def _labels(metric: Mapping[str, str]) -> Labels:
    """The exporter's own: where the target has one of the same name, the server keeps it under `exported_…`."""
    own = {k: v for k, v in metric.items() if k not in _OF_SERVER and not k.startswith("exported_")}
    own |= {k.removeprefix("exported_"): v for k, v in metric.items() if k.startswith("exported_")}
    return tuple(sorted(own.items()))
