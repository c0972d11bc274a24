"""Bodies of requests and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from edgewise.domain.errors import TooLarge
from edgewise.domain.units import MIB


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


async def read_body(request: Request, limit_mib: float) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to be."""
    limit = int(limit_mib * MIB)
    error = TooLarge(f"the body is larger than {limit_mib:g} MiB", where="body")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise error
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise error
        parts.append(part)
    return b"".join(parts)
