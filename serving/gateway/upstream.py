"""The door to the nodes: one prompt sent once. What goes wrong before the first byte of an answer is told apart from
what goes wrong after it, because only then is sending it again safe for the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from serving.gateway.fleet import Sent

_CONNECT_S = 2.0
# Under the 5 s after which uvicorn closes an idle connection: a prompt must not be sent on one about to close.
_KEEP_S = 3.0
_SKIP = ("User-Agent", "Accept-Encoding", "Content-Type")


class NodeGone(Exception):
    """The node refused, broke or never finished the exchange; `refused`: it was not even reached."""

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class Answer:
    """A node's answer whose head has come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.raw_headers = list(response.raw_headers)
        self.is_stream = response.content_type == "text/event-stream"

    @property
    def handed_back(self) -> bool:
        """The replica is not ready: the prompt was not touched and belongs elsewhere."""
        return self.status == 503

    async def body(self) -> bytes:
        return await self._response.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Whole server-sent events as they come, so that a broken one never reaches the client."""
        held = b""
        async for piece in self._response.content.iter_any():
            held += piece
            end = _events_end(held)
            if end:
                yield held[:end]
                held = held[end:]
        if held:
            yield held


def _events_end(data: bytes) -> int:
    """Where the last whole server-sent event of `data` ends; 0 when there is none."""
    plain, crlf = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
    return max(plain + 2 if plain >= 0 else 0, crlf + 4 if crlf >= 0 else 0)


class Upstream:
    """The HTTP client of the gateway. Open and close it inside the event loop."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_S, ttl_dns_cache=300)
        self.session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            skip_auto_headers=_SKIP,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        self._scopes: dict[Sent, asyncio.Timeout] = {}

    async def get(self, url: str, timeout_s: float) -> bytes:
        """A 200 answer's body. Raises NodeGone for everything else."""
        try:
            async with asyncio.timeout(timeout_s), self.session.get(url) as response:
                data = await response.read()
                if response.status != 200:
                    raise NodeGone(f"{url} answered {response.status}")
                return data
        except aiohttp.ClientConnectorError as error:
            raise NodeGone(str(error), refused=True) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NodeGone(f"{type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def exchange(
        self, sent: Sent, url: str, payload: bytes | AsyncIterator[bytes], headers: dict[str, str]
    ) -> AsyncIterator[Answer]:
        """Posts a prompt and yields the answer once its head has come. Raises NodeGone, from inside the block too."""
        try:
            async with asyncio.timeout(None) as scope:
                self._scopes[sent] = scope
                async with self.session.post(url, data=payload, headers=headers, allow_redirects=False) as response:
                    yield Answer(response)
        except aiohttp.ClientConnectorError as error:
            raise NodeGone(str(error), refused=True) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NodeGone(f"{type(error).__name__}: {error}") from error
        finally:
            self._scopes.pop(sent, None)

    def abandon(self, node: int) -> None:
        """Breaks off every exchange with a node: it is lost, though its connections still stand."""
        now = asyncio.get_running_loop().time()
        for sent in [s for s in self._scopes if s.node == node]:
            self._scopes.pop(sent).reschedule(now)

    async def close(self) -> None:
        await self.session.close()
