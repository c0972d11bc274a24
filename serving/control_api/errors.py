"""Every answer that is not the one asked for has the one error shape: {error: {code, message, where, hint}}."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edgewise.domain.errors import EdgewiseError, TooLarge, Unavailable
from serving.control_api.schema import ErrorBody, ErrorShape

log = logging.getLogger(__name__)

CODES = {404: "not_found", 405: "method_not_allowed"}
HINTS = {404: "GET /openapi.json lists what there is", 405: "GET /openapi.json lists what each path takes"}


def install(app: FastAPI) -> None:
    """Adds the handlers that give every error our shape."""
    app.add_exception_handler(EdgewiseError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _answer(status: int, body: ErrorBody, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorShape(error=body).model_dump(), status_code=status, headers=headers)


def too_large(method: str, path: str, max_bytes: int) -> JSONResponse:
    """The answer to a body that is not read; the connection closes with it."""
    error = TooLarge(f"the body exceeds {max_bytes >> 20} MiB", where=f"{method} {path}")
    body = ErrorBody(code=error.code, message=error.message, where=error.where, hint=error.hint)
    return _answer(error.http_status, body, {"Connection": "close"})


def _place(request: Request) -> str:
    return f"{request.method} {request.url.path}"


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EdgewiseError)
    headers = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s or 1)))
    body = ErrorBody(code=error.code, message=error.message, where=error.where or _place(request), hint=error.hint)
    return _answer(error.http_status, body, headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(p) for p in first["loc"])
    body = ErrorBody(
        code="bad_input", message=f"{field}: {first['msg']}", where=_place(request), hint="see /openapi.json"
    )
    return _answer(400, body)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    body = ErrorBody(
        code=CODES.get(error.status_code, "http_error"),
        message=f"{_place(request)}: {error.detail}",
        where=_place(request),
        hint=HINTS.get(error.status_code, ""),
    )
    return _answer(error.status_code, body, dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error in %s", _place(request), exc_info=error)
    # What went wrong inside may name paths or secrets: the log has it, the answer only its kind.
    body = ErrorBody(
        code="internal",
        message=f"unexpected {type(error).__name__}",
        where=_place(request),
        hint="the log of the control process has the details; please report it",
    )
    return _answer(500, body)
