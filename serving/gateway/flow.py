"""The walk of one prompt: read, accepted, routed, sent until answered, written down once whatever happens."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import perf_counter

from edgewise.control.ports import Clock
from edgewise.domain.errors import EdgewiseError, UnknownNode
from edgewise.domain.records import PromptStatus
from edgewise.domain.units import MIB
from edgewise.domain.world import World
from serving.gateway.asgi import Receive, Scope, SendMessage, answer_error, header, read_body, until_gone
from serving.gateway.bodies import OPERATIONS, Ask, check_task, cut, read_ask
from serving.gateway.figures import Figures
from serving.gateway.headers import request_headers
from serving.gateway.journal import EventLog
from serving.gateway.prompt import Exhausted, Hold, Prompt, Send, Shed, Verdict, row_of
from serving.gateway.reply import Reply
from serving.gateway.spool import Body
from serving.gateway.state import GatewayState
from serving.gateway.upstream import NodeGone, Upstream
from serving.tenant import HEADERS as TENANT_HEADERS
from serving.tenant import tenant_of

_log = logging.getLogger(__name__)
_ID_LENGTH = 200
_NO_CONTEXTS: Mapping[str, int] = {}


def accept(
    world: World,
    state: GatewayState,
    path: str,
    ask: Ask,
    scope: Scope,
    arrived_s: float,
    contexts: Mapping[str, int] = _NO_CONTEXTS,
) -> Prompt:
    """A prompt of what was asked. Raises UnknownModel, UnknownNode, BadInput."""
    spec = world.model(ask.model)
    check_task(path, spec.id, spec.task, ask.size)
    access_id = header(scope, b"x-edgewise-access-node") or world.nodes[0].id
    if access_id not in state.fleet.nodes:
        raise UnknownNode(f"access node {access_id!r} is not in the cluster", where="x-edgewise-access-node")
    size = cut(ask.size, contexts.get(spec.id))
    service_s = state.hints[state.fleet.models[spec.id]].hint(size).service_s
    named = {name: header(scope, name.encode()) for name in TENANT_HEADERS}
    return Prompt(
        id=header(scope, b"x-request-id")[:_ID_LENGTH] or uuid.uuid4().hex,
        model=state.fleet.models[spec.id],
        spec=spec,
        access=state.fleet.nodes[access_id],
        access_id=access_id,
        size=size,
        service_s=service_s,
        arrived_s=arrived_s,
        ideal_s=world.ideal_s(spec, spec.expected_service_s(size)),
        tried=state.untried(),
        operation=OPERATIONS[path],
        tenant=tenant_of(named),
        session=header(scope, b"x-edgewise-session")[:_ID_LENGTH],
    )


class PromptFlow:
    """Serves prompts. `review` gives held ones their turn; call it when something may have changed."""

    def __init__(
        self,
        state: GatewayState,
        upstream: Upstream,
        log: EventLog,
        figures: Figures,
        clock: Clock,
        spool: Path,
        contexts: Mapping[str, int] = _NO_CONTEXTS,
    ) -> None:
        self.state = state
        self.upstream = upstream
        self.log = log
        self.figures = figures
        self.clock = clock
        self.open: set[Prompt] = set()
        self._waiters: dict[Prompt, asyncio.Future[Verdict]] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._spool, self._contexts = spool, contexts
        self._max_bytes = int(state.limits.max_body_mib * MIB)
        self._memory_bytes = int(state.limits.spool_mib * MIB)

    async def serve(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """One request on one of the prompt paths, from its first byte to its row."""
        arrived_s = self.clock.now_s()
        body = Body(self._spool, self._max_bytes, self._memory_bytes)
        try:
            if not await read_body(scope, receive, body, self._max_bytes):
                return
            ask = await body.read(partial(read_ask, scope["path"]))
            prompt = accept(self.state.world, self.state, scope["path"], ask, scope, arrived_s, self._contexts)
            await self._serve(prompt, scope, body, receive, send)
        except EdgewiseError as error:
            # A wrong header is a bad request; only an unknown model is "not found" on these paths.
            status = 400 if isinstance(error, UnknownNode) else None
            await answer_error(send, error, openai=True, status=status)
        finally:
            body.close()

    def review(self) -> None:
        """Decides again on held prompts and wakes those that need not wait any more."""
        for prompt, verdict in self.state.review(self.clock.now_s()):
            waiter = self._waiters[prompt]
            if waiter.done():  # cancelled in this very turn of the loop
                self._undo(verdict)
            else:
                waiter.set_result(verdict)

    def break_off(self) -> None:
        """Ends all open prompts, unanswered: the gateway stops."""
        for work in list(self._work):
            work.cancel()

    def write_pending(self) -> None:
        """Rows of the prompts that are still open: the run ends without an answer to them."""
        for prompt in list(self.open):
            self._finish(prompt, None)

    async def _serve(self, prompt: Prompt, scope: Scope, body: Body, receive: Receive, send: SendMessage) -> None:
        self.open.add(prompt)
        self.figures.arrive(prompt)
        reply = Reply(send, prompt)
        work = asyncio.create_task(self._answer(prompt, scope, body, reply))
        gone = asyncio.create_task(until_gone(receive))
        self._work.add(work)
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await _cancel(work)
                if prompt.status is PromptStatus.PENDING:
                    prompt.status, prompt.error = PromptStatus.CANCELLED, "the client went away"
            elif work.cancelled():
                await reply.stopping()
            elif (error := work.exception()) is not None:
                await self._broken(reply, error)
            self._finish(prompt, self.clock.now_s() if prompt.status is not PromptStatus.PENDING else None)
        finally:
            self._work.discard(work)
            await _cancel(work, gone)

    async def _broken(self, reply: Reply, error: BaseException) -> None:
        _log.error("prompt %s: %r", reply.prompt.id, error, exc_info=error)
        if reply.prompt.stream_begun:
            await reply.break_off("internal error")
        else:
            await reply.fail(500, f"internal error: {type(error).__name__}", "internal")

    async def _answer(self, prompt: Prompt, scope: Scope, body: Body, reply: Reply) -> None:
        """Sends the prompt to nodes until one answers, or there is nothing left to try."""
        while True:
            match await self._turn(prompt):
                case Send(sent):
                    try:
                        if await self._attempt(prompt, Send(sent), scope, body, reply):
                            return
                    finally:
                        self.state.fleet.close(sent, self.clock.now_s())
                case Shed() as shed:
                    await reply.shed(shed)
                    return
                case Exhausted(attempts):
                    await reply.fail(502, f"sent to a node {attempts} times without an answer", "node_lost")
                    return

    async def _attempt(self, prompt: Prompt, send: Send, scope: Scope, body: Body, reply: Reply) -> bool:
        """Whether the client has its answer; False: the prompt is as good as new and may be sent again."""
        sent, state = send.sent, self.state
        link = state.links.get(sent.node)
        if link is None:
            return False
        query = scope["query_string"].decode("latin-1")
        url = link.url + scope["path"] + (f"?{query}" if query else "")
        headers = request_headers(scope["headers"], prompt.id, prompt.service_s, prompt.arrived_s)
        if body.spooled:
            headers["content-length"] = str(body.size)
        try:
            async with self.upstream.exchange(sent, url, body.payload(), headers) as answer:
                if answer.handed_back:
                    await answer.body()
                    state.fleet.hand_back(sent.node, sent.model, self.clock.now_s())
                    return False
                await reply.relay(answer)
                state.learn(prompt, sent.node)
                return True
        except NodeGone as error:
            state.fail(sent.node, self.clock.now_s())
            if prompt.stream_begun:
                await reply.break_off(str(error))
                return True
            _log.info("prompt %s: %s lost (%s)", prompt.id, prompt.served, error)
            return False

    async def _turn(self, prompt: Prompt) -> Verdict:
        """The verdict on a prompt, after waiting for it if it has to be held."""
        begun = perf_counter()
        verdict = self.state.route(prompt, self.clock.now_s())
        self.figures.dispatch.observe(perf_counter() - begun)
        if not isinstance(verdict, Hold):
            return verdict
        waiter: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiters[prompt] = waiter
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # woken and cancelled in the same turn of the loop
                self._undo(waiter.result())
            raise
        finally:
            del self._waiters[prompt]
            self.state.release(prompt)

    def _undo(self, verdict: Verdict) -> None:
        if isinstance(verdict, Send):
            self.state.fleet.close(verdict.sent, self.clock.now_s())

    def _finish(self, prompt: Prompt, finished_s: float | None) -> None:
        if prompt not in self.open:
            return
        self.open.discard(prompt)
        self.log.write(row_of(prompt, finished_s))
        self.figures.end(prompt, (finished_s or prompt.arrived_s) - prompt.arrived_s)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
