"""The answer to one client: passes a node's answer on, or says itself what became of the prompt."""

from __future__ import annotations

from edgewise.domain.records import PromptStatus
from serving.gateway.asgi import JSON_TYPE, SendMessage
from serving.gateway.bodies import usage_of, usage_of_events
from serving.gateway.headers import Pairs, openai_error, response_headers, retry_after
from serving.gateway.prompt import Prompt, Shed
from serving.gateway.upstream import Answer, NodeGone

_TAIL = 4096  # bytes kept of a stream to find the usage event in


class Reply:
    """Writes one response to the client and notes on the prompt what it learns from it."""

    def __init__(self, send: SendMessage, prompt: Prompt) -> None:
        self._send = send
        self.prompt = prompt

    async def relay(self, answer: Answer) -> None:
        """The node's answer, as it is. Raises NodeGone; then `prompt.stream_begun` says whether any of it left."""
        self._note_head(answer)
        if answer.is_stream and answer.status == 200:
            await self._relay_stream(answer)
            return
        # Whole answers are read before any of them leaves: a node that dies half-way has cost the client nothing.
        body = await answer.body()
        prompt = self.prompt
        if answer.status < 400:
            prompt.status = PromptStatus.COMPLETED
            prompt.input_tokens, prompt.output_tokens = usage_of(body) if len(body) < 1 << 20 else (None, None)
        else:
            prompt.status, prompt.error = PromptStatus.FAILED, f"node answered {answer.status}: {_brief(body)}"
        pairs = [*self._head(answer), (b"content-length", str(len(body)).encode())]
        prompt.stream_begun = True
        await self._send({"type": "http.response.start", "status": answer.status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": body})

    async def shed(self, verdict: Shed) -> None:
        after = retry_after(verdict.retry_after_s)
        self.prompt.status, self.prompt.error = PromptStatus.SHED, verdict.reason
        await self.error(503, f"{verdict.reason}; try again in {after} s", "shed", [(b"retry-after", after.encode())])

    async def stopping(self) -> None:
        """The gateway ends before the prompt does; its row stays pending."""
        if not self.prompt.stream_begun:
            await self.error(503, "the gateway is stopping", "stopping", [(b"retry-after", b"5")])

    async def fail(self, status: int, message: str, code: str) -> None:
        self.prompt.status, self.prompt.error = PromptStatus.FAILED, message
        await self.error(status, message, code)

    async def break_off(self, reason: str) -> None:
        """The node died in mid-stream: an error event ends the stream."""
        self.prompt.status, self.prompt.error = PromptStatus.FAILED, f"node lost in mid-stream: {reason}"
        event = openai_error(f"the node was lost in mid-stream: {reason}", "node_lost", 502)
        data = b"event: error\ndata: " + event + b"\n\n"
        await self._send({"type": "http.response.body", "body": data})

    async def error(self, status: int, message: str, code: str, headers: Pairs | None = None) -> None:
        body = openai_error(message, code, status)
        extra = [(k.encode(), v.encode("latin-1", "replace")) for k, v in self._ours().items()]
        pairs = [*(headers or []), *extra, JSON_TYPE, (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": body})

    async def _relay_stream(self, answer: Answer) -> None:
        tail, prompt = b"", self.prompt
        async for chunk in answer.chunks():
            if not prompt.stream_begun:
                prompt.stream_begun = True
                await self._send({"type": "http.response.start", "status": 200, "headers": self._head(answer)})
            tail = (tail + chunk)[-_TAIL:]
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not prompt.stream_begun:
            raise NodeGone("the stream ended before its first event")
        prompt.input_tokens, prompt.output_tokens = usage_of_events(tail)
        if b'data: {"error"' in tail:
            prompt.status, prompt.error = PromptStatus.FAILED, "the node ended the stream with an error"
        else:
            prompt.status = PromptStatus.COMPLETED
        await self._send({"type": "http.response.body", "body": b""})

    def _note_head(self, answer: Answer) -> None:
        started = answer.headers.get("x-edgewise-started-s", "")
        try:
            self.prompt.started_s = float(started) if started else None
        except ValueError:
            self.prompt.started_s = None
        took = answer.headers.get("x-edgewise-service-ms", "")
        try:
            self.prompt.took_s = float(took) / 1e3 if took else None
        except ValueError:
            self.prompt.took_s = None
        self.prompt.cold_start = answer.headers.get("x-edgewise-cold-start", "") == "true"

    def _head(self, answer: Answer) -> Pairs:
        return response_headers(answer.raw_headers, self._ours())

    def _ours(self) -> dict[str, str]:
        prompt = self.prompt
        ours = {"x-request-id": prompt.id, "x-edgewise-attempts": str(prompt.attempts)}
        if prompt.served is not None:
            ours["x-edgewise-node"] = prompt.served
        if prompt.decision is not None:
            ours["x-edgewise-decision"] = prompt.decision
        if prompt.started_s is not None:  # all of the wait: held here, queued there
            ours["x-edgewise-queue-ms"] = f"{max(0.0, prompt.started_s - prompt.arrived_s) * 1e3:.3f}"
        return ours


def _brief(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")
