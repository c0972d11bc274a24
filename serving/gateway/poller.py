"""Reads every node's live state, and watches for silence. One task per node, so that a slow one delays no other."""

from __future__ import annotations

import asyncio
import logging

from edgewise.control.ports import Clock
from edgewise.domain.codec import from_json
from edgewise.domain.errors import BadInput
from serving.gateway.fleet import NodeReport
from serving.gateway.flow import PromptFlow
from serving.gateway.state import GatewayState
from serving.gateway.upstream import NodeGone, Upstream

_log = logging.getLogger(__name__)
STATE_PATH = "/edgewise/v1/state"


class Poller:
    """`sync` after every change of the node list; `close` at the end."""

    def __init__(self, state: GatewayState, upstream: Upstream, flow: PromptFlow, clock: Clock) -> None:
        self.state = state
        self.upstream = upstream
        self.flow = flow
        self.clock = clock
        self._tasks: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    def sync(self) -> None:
        """Polls the nodes of the list, and no others."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_silence())
        wanted = {(index, link.url) for index, link in self.state.links.items()}
        for key in [k for k in self._tasks if k not in wanted]:
            self._tasks.pop(key).cancel()
        for key in wanted - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._poll(*key))

    async def close(self) -> None:
        tasks = [*self._tasks.values(), *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _poll(self, node: int, url: str) -> None:
        period_s = self.state.limits.node_poll_s
        while True:
            asked_s = self.clock.now_s()
            try:
                report = await self._ask(node, url)
                if self.state.report(report, asked_s, self.clock.now_s()):
                    self.flow.review()
            except NodeGone as error:
                if error.refused:
                    self.state.fail(node, self.clock.now_s())
            except BadInput as error:
                _log.warning("%s: %s", url, error.line())
            await asyncio.sleep(max(0.01, asked_s + period_s - self.clock.now_s()))

    async def _ask(self, node: int, url: str) -> NodeReport:
        """Raises NodeGone; BadInput when what answers is not that node."""
        data = await self.upstream.get(url + STATE_PATH, self.state.limits.node_dead_after_s)
        report = from_json(NodeReport, data, where=url)
        expected = self.state.world.nodes[node].id
        if report.node != expected:
            raise BadInput(f"node {report.node!r} answers in the place of {expected!r}", where=url)
        return report

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(self.state.limits.node_poll_s)
            for node in self.state.watch(self.clock.now_s()):
                self.upstream.abandon(node)
            self.flow.review()
