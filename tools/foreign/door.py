"""The one HTTP door to foreign serving: GET, of listed paths, and nothing else ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aiohttp
import orjson
from yarl import URL

from edgewise.domain.errors import BadInput, TelemetryUnavailable
from tools.foreign.page import Answers, declared, read_page
from tools.foreign.systems import ALL_NAMES, METRICS, PATHS

MAX_BYTES = 16 * 1024 * 1024


class ReadOnlyDoor:
    """Looks at one endpoint. Every look is bounded by `timeout_s` seconds and `MAX_BYTES`; redirects are not
    followed, as they may lead to what acts. Environment proxies are left out: what we look at is near."""

    def __init__(self, session: aiohttp.ClientSession, url: str, timeout_s: float) -> None:
        self.url = base_url(url)
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self.asked: set[str] = set()

    async def answers(self, paths: Iterable[str], metrics: bool = True) -> Answers:
        """Its metrics page and the JSON of `paths`, as far as it has them. Raises TelemetryUnavailable when it does
        not answer at all."""
        text = await self._text(METRICS) if metrics else None
        json = {path: found for path in paths if (found := await self._json(path)) is not None}
        if text is None:
            return Answers(None, frozenset(), json)
        return Answers(read_page(text, ALL_NAMES), declared(text), json)

    async def _json(self, path: str) -> Any:
        text = await self._text(path)
        try:
            return None if text is None else orjson.loads(text)
        except orjson.JSONDecodeError:
            return None  # a page for people, say: not what the system we look for would answer

    async def _text(self, path: str) -> str | None:
        """None: it has no such path."""
        if path not in PATHS:
            raise ValueError(f"{path} is not a path that may be looked at")
        self.asked.add(path)
        url = URL(self.url + path, encoded=True)
        try:
            async with self._session.get(url, timeout=self._timeout, allow_redirects=False) as answer:
                if answer.status != 200:
                    return None
                body = await answer.content.read(MAX_BYTES + 1)
                while not answer.content.at_eof() and len(body) <= MAX_BYTES:
                    body += await answer.content.read(MAX_BYTES + 1 - len(body))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise TelemetryUnavailable(str(error) or type(error).__name__, where=self.url) from error
        if len(body) > MAX_BYTES:
            raise TelemetryUnavailable(f"{path} is larger than {MAX_BYTES} bytes", where=self.url)
        return body.decode("utf-8", errors="replace")


def base_url(text: str) -> str:
    """A base URL without the ending of one of its APIs. Raises BadInput for what is no http URL."""
    url = text.strip().rstrip("/")
    for ending in ("/v1", "/metrics", "/v2", "/api"):
        url = url.removesuffix(ending)
    try:
        parsed = URL(url)
        good = parsed.scheme in ("http", "https") and bool(parsed.host)
    except ValueError:
        good = False
    if not good:
        raise BadInput(f"not an http URL: {text!r}", hint="for example http://127.0.0.1:8000, or prometheus:http://…")
    return url
