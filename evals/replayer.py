"""Replays a workload over HTTP, open loop: each prompt leaves at its time, whatever became of those before it.

Nothing queues on this side: every prompt has a task and a connection of its own, and its latency counts from the
moment it was due. So a slow system cannot slow its own load down and look fast (coordinated omission).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson

from edgewise.control.ports import Clock
from evals.ledger import Entry, Ledger
from evals.prompts import PromptRequest

STREAM_EVERY = 3  # one text prompt in three is streamed
ANSWER_GRACE_S = 60.0
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class WorkloadRow:
    """One prompt to send: `at_s` counts from the start of the replay, seconds."""

    id: str
    at_s: float
    model: str
    access_node: str
    request: PromptRequest


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    due: int
    sent: int
    answered: int
    ok: int
    in_flight: int


class Replay:
    """One replay. `ledger()` may be read at any time; setting `stop` ends the sending, not the waiting."""

    def __init__(
        self,
        rows: Sequence[WorkloadRow],
        gateway_url: str,
        clock: Clock,
        start_s: float,
        stop: asyncio.Event | None = None,
    ) -> None:
        self._rows = sorted(rows, key=lambda r: r.at_s)
        self._url = gateway_url.rstrip("/")
        self._clock = clock
        self._stop = stop or asyncio.Event()
        texts = 0
        self._entries: list[Entry] = []
        for row in self._rows:
            texts += row.request.streamable
            streamed = row.request.streamable and texts % STREAM_EVERY == 0
            self._entries.append(Entry(row.id, row.model, row.access_node, start_s + row.at_s, streamed))
        self._in_flight: set[asyncio.Task[None]] = set()
        # Counted as it happens: a progress report per prompt must not look at every prompt.
        self._sent = self._answered = self._ok = 0
        self._all_sent = False

    def ledger(self) -> Ledger:
        return Ledger(tuple(self._entries), stopped=not self._all_sent)

    def progress(self) -> Progress:
        return Progress(len(self._entries), self._sent, self._answered, self._ok, len(self._in_flight))

    async def run(
        self,
        grace_s: float,
        on_progress: Callable[[Progress], None] | None,
        give_up: Callable[[], Awaitable[None]] | None = None,
    ) -> Ledger:
        """Send all prompts, then wait at most `grace_s` for their answers. When cancelled, what is in flight is
        cancelled too, and nothing is left behind.

        give_up: ends the gateway. Awaited before prompts in flight are cancelled: to a gateway that goes on, they
        would look as if their callers had changed their minds, and not as lost.
        """
        # A connection per prompt: on one that is kept alive, the server's closing it looks like a lost prompt.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                await self._send_all(session, on_progress)
                await self._answers(grace_s, on_progress)
            finally:
                if give_up is not None and self._in_flight:
                    await give_up()
                await self._cancel_rest()
        return self.ledger()

    async def _send_all(self, session: aiohttp.ClientSession, on_progress: Callable[[Progress], None] | None) -> None:
        for index, entry in enumerate(self._entries):
            if not await self._until(entry.due_s):
                return
            task = asyncio.create_task(self._one(session, index))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
            await asyncio.sleep(0)  # a sender that is behind must still let what it started leave
            if on_progress is not None:
                on_progress(self.progress())
        self._all_sent = True

    async def _until(self, due_s: float) -> bool:
        """Wait for a moment of the run clock; False when stopped before it."""
        while not self._stop.is_set():
            wait_s = due_s - self._clock.now_s()
            if wait_s <= 0:
                return True
            sleeping = asyncio.ensure_future(self._clock.sleep(wait_s))
            stopping = asyncio.ensure_future(self._stop.wait())
            try:
                await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                stopping.cancel()
        return False

    async def _answers(self, grace_s: float, on_progress: Callable[[Progress], None] | None) -> None:
        give_up_s = self._clock.now_s() + grace_s
        while self._in_flight and (left_s := give_up_s - self._clock.now_s()) > 0:
            await asyncio.wait(self._in_flight, timeout=min(left_s, 1.0), return_when=asyncio.FIRST_COMPLETED)
            if on_progress is not None:
                on_progress(self.progress())

    async def _cancel_rest(self) -> None:
        rest = list(self._in_flight)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _one(self, session: aiohttp.ClientSession, index: int) -> None:
        row = self._rows[index]
        entry = replace(self._entries[index], sent_s=self._clock.now_s())
        self._entries[index] = entry
        self._sent += 1
        try:
            self._entries[index] = await self._exchange(session, row, entry)
        except (aiohttp.ClientError, OSError) as error:
            self._entries[index] = replace(entry, error=f"no answer: {type(error).__name__}")
        except asyncio.CancelledError:
            self._entries[index] = replace(entry, error="no answer when the replay ended")
            raise
        else:
            self._answered += self._entries[index].answered_s is not None
            self._ok += self._entries[index].ok

    async def _exchange(self, session: aiohttp.ClientSession, row: WorkloadRow, entry: Entry) -> Entry:
        body = orjson.dumps(row.request.body | ({"stream": True} if entry.streamed else {}))
        headers = {
            "content-type": "application/json",
            "x-request-id": row.id,
            "x-edgewise-access-node": row.access_node,
        }
        async with session.post(self._url + row.request.path, data=body, headers=headers) as response:
            content = await response.read()
            answered_s = self._clock.now_s()
        if is_stopping(response.status, content):
            return replace(entry, status=response.status, error="no answer when the gateway ended")
        fault = judge(response.status, content, row.request, entry.streamed)
        return replace(
            entry,
            answered_s=answered_s,
            status=response.status,
            ok=not fault,
            node=response.headers.get("x-edgewise-node", ""),
            error=fault,
        )


async def replay(
    rows: Sequence[WorkloadRow],
    gateway_url: str,
    clock: Clock,
    start_s: float,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    stop: asyncio.Event | None = None,
    grace_s: float = ANSWER_GRACE_S,
) -> Ledger:
    """Send every row at `start_s + at_s` of the run clock and wait, at most `grace_s`, for the answers.

    A prompt whose connection fails is not sent again: it is lost, and the ledger says so. `stop` ends the sending.
    """
    return await Replay(rows, gateway_url, clock, start_s, stop).run(grace_s, on_progress)


def is_stopping(status: int, content: bytes) -> bool:
    """The gateway's word that it ends, which is no answer to the prompt."""
    if status != 503:
        return False
    try:
        return bool(orjson.loads(content)["error"]["code"] == "stopping")
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return False


def judge(status: int, content: bytes, request: PromptRequest, streamed: bool) -> str:
    """What is wrong with an answer, in words; "" when it holds what was asked for."""
    if status != 200:
        return f"status {status}"
    try:
        if streamed:
            return _stream_fault(content)
        answer = orjson.loads(content)
        if request.path == "/v1/images/generations":
            return _image_fault(answer, request.body["n"])
        choice = answer["choices"][0]
        text = choice["text"] if request.path == "/v1/completions" else choice["message"]["content"]
        return "" if text else "empty text"
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, binascii.Error) as error:
        return f"not an answer: {type(error).__name__}"


def _stream_fault(content: bytes) -> str:
    """A whole stream has text, no error event, and its end mark."""
    text = ""
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.startswith("data:"):
            continue
        data = line[len("data:") :].strip()
        if data == "[DONE]":
            return "" if text else "empty text"
        event: dict[str, Any] = orjson.loads(data)
        if "error" in event:
            return "error in the stream"
        text += "".join(choice.get("text") or "" for choice in event.get("choices", ()))
    return "the stream ended early"


def _image_fault(answer: dict[str, Any], count: int) -> str:
    images = answer["data"]
    if len(images) != count:
        return f"{len(images)} images, not {count}"
    whole = all(base64.b64decode(i["b64_json"], validate=True).startswith(PNG) for i in images)
    return "" if whole else "not a PNG"
