"""The control API's client: one method per route; every failure is one of our errors."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from edgewise.domain.codec import from_json
from edgewise.domain.decision import Approval
from edgewise.domain.errors import EdgewiseError, Refused, RunFailed, Unavailable
from edgewise.domain.records import PromptRow
from serving.control_api.approvals import ApprovalList
from serving.control_api.schema import (
    DecisionDetail,
    DecisionList,
    DecisionRow,
    EventList,
    IntentList,
    IntentView,
    PromptEvent,
    RunState,
)

M = TypeVar("M", bound=BaseModel)
TIMEOUT_S = 5.0
THINKING_S = 120.0  # a small model on the edge


class ControlApi:
    """Reads a control API. Methods raise Unavailable when it is not reachable or not ready, Refused for what it
    declines or does not know, RunFailed when what answers is not a control API."""

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        # trust_env off: a proxy of the environment must not stand between this machine and itself.
        self._client = httpx.Client(base_url=self.base_url, timeout=TIMEOUT_S, trust_env=False, transport=transport)

    def state(self) -> RunState:
        return self._get(RunState, "/control/v1/state")

    def decisions(self, limit: int, before: str | None = None) -> list[DecisionRow]:
        """The newest `limit` decisions, newest first; those before one when `before` is its id."""
        asked = {"limit": str(limit)} | ({"before": before} if before else {})
        return self._get(DecisionList, "/control/v1/decisions", asked).items

    def decision(self, decision_id: str) -> DecisionDetail:
        return self._get(DecisionDetail, f"/control/v1/decisions/{quote(decision_id, safe='')}")

    def recent_prompts(self, limit: int) -> list[PromptRow]:
        """Prompts among the newest `limit` events, oldest first."""
        items = self._get(EventList, "/control/v1/events", {"limit": str(limit)}).items
        return [e.prompt for e in items if isinstance(e, PromptEvent)]

    def approvals(self) -> ApprovalList:
        return self._get(ApprovalList, "/control/v1/approvals")

    def answer(self, approval_id: str, approve: bool, shown: str, by: str) -> Approval:
        """A person's word on a request, with the hash of what was shown. Refused when it has ended or changed."""
        path = f"/control/v1/approvals/{quote(approval_id, safe='')}"
        body = {"approve": approve, "hash": shown, "by": by}
        answer = self._send(self._client.build_request("POST", path, json=body))
        return from_json(Approval, answer.content, path)

    def intents(self) -> IntentList:
        return self._get(IntentList, "/control/v1/intents")

    def say(self, sentence: str) -> IntentView:
        """The draft a sentence is understood as. Takes as long as the language model does."""
        return self._change(IntentView, "POST", "/control/v1/intents", {"text": sentence}, THINKING_S)

    def confirm(self, intent_id: str) -> IntentView:
        return self._change(IntentView, "POST", f"/control/v1/intents/{quote(intent_id, safe='')}/confirm")

    def withdraw(self, intent_id: str) -> IntentList:
        return self._change(IntentList, "DELETE", f"/control/v1/intents/{quote(intent_id, safe='')}")

    def close(self) -> None:
        self._client.close()

    def _get(self, kind: type[M], path: str, params: dict[str, str] | None = None) -> M:
        return self._ask(kind, self._client.build_request("GET", path, params=params))

    def _change(self, kind: type[M], method: str, path: str, body: Any = None, timeout_s: float = TIMEOUT_S) -> M:
        return self._ask(kind, self._client.build_request(method, path, json=body, timeout=timeout_s))

    def _ask(self, kind: type[M], request: httpx.Request) -> M:
        answer = self._send(request)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            raise self._foreign(request.url.path) from error

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            answer = self._client.send(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(
                "the control API is not reachable",
                where=self.base_url,
                hint="start the controller; this page goes on by itself when it answers",
            ) from error
        if answer.status_code != 200:
            raise _theirs(answer, self.base_url)
        return answer

    def _foreign(self, path: str) -> RunFailed:
        return RunFailed(
            f"what answers at {path} is not edgewise's control API, or one of another version", where=self.base_url
        )


def _theirs(answer: httpx.Response, base_url: str) -> EdgewiseError:
    """The error an answer carries, as one of ours."""
    kind = Unavailable if answer.status_code >= 500 else Refused
    try:
        said: dict[str, Any] = answer.json()["error"]
        return kind(str(said["message"]), where=str(said.get("where", "")), hint=str(said.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        return kind(f"the control API answered {answer.status_code}", where=base_url)
