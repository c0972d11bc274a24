"""Paths of the gateway, as a bare ASGI application: frameworks cost more than the rest of the hot path together."""

from __future__ import annotations

import logging

from edgewise.domain.errors import BadInput, EdgewiseError, RunFailed
from serving.gateway.admin import Admin
from serving.gateway.asgi import Receive, Scope, SendMessage, answer_error
from serving.gateway.bodies import OPERATIONS
from serving.gateway.flow import PromptFlow

_log = logging.getLogger(__name__)


class NotFound(BadInput):
    code, http_status = "not_found", 404


class NotAllowed(BadInput):
    code, http_status = "method_not_allowed", 405


class GatewayApp:
    def __init__(self, flow: PromptFlow, admin: Admin) -> None:
        self.flow = flow
        self.admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] in OPERATIONS and scope["method"] == "POST":
            await self.flow.serve(scope, receive, send)
            return
        openai = scope["path"].startswith("/v1/")
        try:
            await self._administer(scope["method"], scope["path"], receive, send)
        except EdgewiseError as error:
            await answer_error(send, error, openai)
        except Exception as error:
            _log.exception("%s %s", scope["method"], scope["path"])
            await answer_error(send, RunFailed(f"internal error: {type(error).__name__}"), openai)

    async def _administer(self, method: str, path: str, receive: Receive, send: SendMessage) -> None:
        admin = self.admin
        match method, path.strip("/").split("/"):
            case "PUT", ["edgewise", "v1", "plan"]:
                await admin.put_plan(receive, send)
            case "PUT", ["edgewise", "v1", "nodes"]:
                await admin.put_nodes(receive, send)
            case "GET", ["edgewise", "v1", "state"]:
                await admin.get_state(send)
            case "GET", ["metrics"]:
                await admin.get_metrics(send)
            case "GET", ["v1", "models"]:
                await admin.get_models(send)
            case "GET", ["v1", "models", *model]:
                await admin.get_model(send, "/".join(model))
            case "GET", ["v2", "health", "live"]:
                await admin.live(send)
            case "GET", ["v2", "health", "ready"]:
                await admin.ready(send)
            case "GET", ["v2", "models", *model, "ready"]:
                await admin.model_ready(send, "/".join(model))
            case "GET" | "POST", ["v2", "repository", "index"]:
                await admin.index(send)
            case "POST", ["v2", "repository", "models", *_, "load" | "unload"]:
                await admin.refuse_placement(send)
            case _, ["v1", *_] if path in OPERATIONS:
                raise NotAllowed(f"{path} takes POST, not {method}")
            case _:
                raise NotFound(f"no {method} {path} here")
