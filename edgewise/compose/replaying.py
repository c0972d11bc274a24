"""Replaying a workload while somebody watches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp

from edgewise.compose.screen import Screen
from edgewise.control.ports import Clock
from evals.ledger import Ledger
from evals.replayer import Replay, WorkloadRow


class Replaying:
    """Sends prompts through the gateway and shows the controller's state once a second. `stop`: end it now.
    `give_up`: ends the gateway, which lets what is nearly answered be."""

    def __init__(
        self,
        gateway_url: str,
        control_url: str,
        clock: Clock,
        screen: Screen,
        stop: asyncio.Event,
        give_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._gateway_url, self._control_url = gateway_url, control_url
        self._clock, self._screen, self._stop, self._give_up = clock, screen, stop, give_up

    async def run(self, rows: Sequence[WorkloadRow], first_s: float, duration_s: float, grace_s: float) -> Ledger:
        """Send for `duration_s` from `first_s` on (run clock), wait at most `grace_s` for answers."""
        replay = Replay(rows, self._gateway_url, self._clock, first_s, self._stop)
        sending = asyncio.create_task(replay.run(grace_s, None, self._give_up))
        stopping = asyncio.create_task(self._stop.wait())
        window = (first_s, first_s + duration_s)
        timeout = aiohttp.ClientTimeout(total=1)  # a part that hangs must not keep a person who says stop waiting
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                with self._screen.live():
                    while not sending.done() and not stopping.done():
                        await self._show(http, replay, window)
                        await asyncio.wait({sending, stopping}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not sending.done():
                sending.cancel()
            await asyncio.gather(sending, stopping, return_exceptions=True)
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error
        return replay.ledger()

    async def _show(self, http: aiohttp.ClientSession, replay: Replay, window: tuple[float, float]) -> None:
        state, gateway = await asyncio.gather(
            get_json(http, f"{self._control_url}/control/v1/state"),
            get_json(http, f"{self._gateway_url}/edgewise/v1/state"),
        )
        progress, counts = replay.progress(), gateway.get("models", {})
        self._screen.show(state, counts, self._clock.now_s(), window, progress.answered, progress.sent)


async def get_json(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """A JSON answer, or {} when there is none right now: the screen must not end the run."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
        async with http.get(url) as answer:
            if answer.status == 200:
                return dict(await answer.json())
    return {}
