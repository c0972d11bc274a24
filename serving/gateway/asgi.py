"""The few words of ASGI the gateway speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from edgewise.domain.errors import BadInput, EdgewiseError, TooLarge
from edgewise.domain.units import MIB
from serving.gateway.headers import Pairs, error_body, retry_after
from serving.gateway.spool import Body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
SendMessage = Callable[[Message], Awaitable[None]]

JSON_TYPE = (b"content-type", b"application/json")
_DISCARD_S = 5.0  # longest wait for a client to finish sending what is refused, so that it can read the refusal


def header(scope: Scope, name: bytes) -> str:
    """The value of a request header (lower-case name), "" when absent."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""


async def answer(send: SendMessage, status: int, body: bytes, headers: Pairs | None = None) -> None:
    """A whole response. JSON unless `headers` say otherwise."""
    pairs = list(headers or [])
    if not any(k == b"content-type" for k, _ in pairs):
        pairs.append(JSON_TYPE)
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: SendMessage, value: Any, status: int = 200) -> None:
    await answer(send, status, orjson.dumps(value))


async def answer_error(
    send: SendMessage, error: EdgewiseError, openai: bool, headers: Pairs | None = None, status: int | None = None
) -> None:
    pairs = list(headers or [])
    wait_s = getattr(error, "retry_after_s", None)
    if wait_s is not None:
        pairs.append((b"retry-after", retry_after(wait_s).encode()))
    if isinstance(error, TooLarge):
        pairs.append((b"connection", b"close"))
    await answer(send, status or error.http_status, error_body(error, openai), pairs)


async def read_body(scope: Scope, receive: Receive, body: Body, max_bytes: int) -> bool:
    """Fills `body`; False when the client went away. Raises TooLarge (after letting the client finish sending)."""
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > max_bytes:
        await _discard(receive)
        raise TooLarge(f"the body exceeds {max_bytes / MIB:g} MiB", where="body", hint="setting max_body_mib")
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        try:
            body.add(message.get("body", b""))
        except TooLarge:
            if message.get("more_body", False):
                await _discard(receive)
            raise
        if not message.get("more_body", False):
            return True


async def read_small(receive: Receive, max_bytes: int = 16 * MIB) -> bytes:
    """The body of an administrative request. Raises TooLarge, or BadInput when the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the client went away", where="body")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise TooLarge(f"the body exceeds {max_bytes / MIB:g} MiB", where="body")
        if not message.get("more_body", False):
            return b"".join(parts)


async def until_gone(receive: Receive) -> None:
    """Returns when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _discard(receive: Receive) -> None:
    try:
        async with asyncio.timeout(_DISCARD_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
