"""From a node server's error answer to our error."""

from __future__ import annotations

import json

from edgewise.domain.errors import (
    AdmissionRefused,
    BadInput,
    ClusterUnavailable,
    EdgewiseError,
    Refused,
    ReplicaBusy,
    TooLarge,
    UnknownModel,
    UnknownNode,
)

_BY_CODE: dict[str, type[EdgewiseError]] = {
    kind.code: kind
    for kind in (AdmissionRefused, BadInput, Refused, ReplicaBusy, TooLarge, UnknownModel, UnknownNode)
}
_BY_STATUS: dict[int, type[EdgewiseError]] = {400: BadInput, 404: UnknownModel, 409: Refused, 413: TooLarge}


def error_of(status: int, body: bytes, retry_after: str | None, where: str) -> EdgewiseError:
    """The error an answer with a status of 300 or more stands for: by its code, else by its status; what is
    neither (a 500, a proxy's page) means that no node server is at work there."""
    code, message, hint = _parts(body)
    message = message or f"the node answered HTTP {status}"
    if 400 <= status < 500:
        kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
        if kind is not None:
            return kind(message, where=where, hint=hint)
    return ClusterUnavailable(message, where=where, hint=hint, retry_after_s=_seconds(retry_after))


def _parts(body: bytes) -> tuple[str, str, str]:
    """(code, message, hint) of our error shape; empty strings for what is not there."""
    try:
        error = json.loads(body)["error"]
        return tuple(str(error.get(key) or "") for key in ("code", "message", "hint"))  # type: ignore[return-value]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", "", ""


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
