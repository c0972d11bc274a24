"""Refuses large request bodies before they are read into memory."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgewise.domain.errors import TooLarge
from serving.control_api.errors import too_large


class BodyLimit:
    """ASGI middleware: a body of more than `max_bytes` is answered with 413, by its declared length or, without one,
    as soon as it is known (then the framework makes it a 400)."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await too_large(scope["method"], scope["path"], self.max_bytes)(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                raise TooLarge(f"the body exceeds {self.max_bytes >> 20} MiB", where="body")
            return message

        await self.app(scope, counted, send)
