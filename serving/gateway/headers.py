"""Which headers pass through, and the error shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import orjson

from edgewise.domain.errors import EdgewiseError

Pairs = list[tuple[bytes, bytes]]

# RFC 9110 §7.6.1: these concern one connection, not the message.
_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Set anew for the node; an answer is read for its usage, so it must not come compressed.
_NOT_ON = _HOP | {b"host", b"content-length", b"expect", b"accept-encoding", b"x-request-id", b"x-edgewise-size-hint"}
_NOT_ON |= {b"x-edgewise-arrived-s"}
_NOT_BACK = _HOP | {b"content-length", b"date", b"server", b"x-edgewise-node"}


def request_headers(
    pairs: Iterable[tuple[bytes, bytes]], prompt_id: str, service_s: float, arrived_s: float
) -> dict[str, str]:
    """Headers of the request to a node."""
    given = list(pairs)
    dropped = _NOT_ON | _named_by_connection(given)
    passed = {k.decode("latin-1"): v.decode("latin-1") for k, v in given if k.lower() not in dropped}
    passed["x-request-id"] = prompt_id
    passed["x-edgewise-size-hint"] = f"{service_s:.6g}"
    passed["x-edgewise-arrived-s"] = f"{arrived_s:.6f}"
    return passed


def response_headers(pairs: Iterable[tuple[bytes, bytes]], extra: Mapping[str, str]) -> Pairs:
    """Headers of the answer to the client: the node's, and ours."""
    given = [(k.lower(), v) for k, v in pairs]
    dropped = _NOT_BACK | _named_by_connection(given) | {k.encode() for k in extra}
    passed = [(k, v) for k, v in given if k not in dropped]
    return passed + [(k.encode(), v.encode("latin-1", "replace")) for k, v in extra.items()]


def _named_by_connection(pairs: list[tuple[bytes, bytes]]) -> frozenset[bytes]:
    named = [v for k, v in pairs if k.lower() == b"connection"]
    return frozenset(token.strip().lower() for value in named for token in value.split(b","))


def openai_error(message: str, code: str, status: int, param: str | None = None) -> bytes:
    """The error shape of /v1."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def error_body(error: EdgewiseError, openai: bool) -> bytes:
    if not openai:
        return orjson.dumps(error.as_dict())
    text = error.message + (f" ({error.hint})" if error.hint else "")
    return openai_error(text, error.code, error.http_status, error.where or None)


def retry_after(seconds: float) -> str:
    """A Retry-After value: whole seconds, rounded up."""
    return str(max(1, math.ceil(seconds)))
