"""A virtual clock: time moves only when the test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable


class FakeClock:
    """Implements ports.Clock on virtual seconds.

    `await advance(s)` moves time, waking sleepers and timers in order and letting the tasks they wake run before
    time goes on. With `auto=True` nobody need advance: once every task waits, the earliest sleeper moves time to
    its own end (a background loop that sleeps for ever then keeps time running, so bound such tests by count).
    """

    # Turns of the event loop in which woken tasks get as far as their next sleep; awaits that need no I/O take
    # one or two each.
    _TURNS = 12

    def __init__(self, start_s: float = 0.0, *, auto: bool = False) -> None:
        self._now_s = start_s
        self._auto = auto
        self._order = itertools.count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []

    def now_s(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        end_s = self._now_s + seconds
        self.call_at(end_s, lambda: None if woken.done() else woken.set_result(None))
        if self._auto:
            await self._elapse(woken, end_s)
        await woken

    def call_at(self, when_s: float, action: Callable[[], None]) -> None:
        """Calls `action` when the clock reaches `when_s` (at the next advance when that is past)."""
        heapq.heappush(self._timers, (max(when_s, self._now_s), next(self._order), action))

    async def advance(self, seconds: float) -> None:
        """Moves time by `seconds`, firing everything due on the way in order of time, then of registration."""
        if seconds < 0:
            raise ValueError("a clock never goes back")
        until_s = self._now_s + seconds
        await self._let_run()
        while self._timers and self._timers[0][0] <= until_s:
            self._fire_next()
            await self._let_run()
        self._now_s = max(self._now_s, until_s)
        await self._let_run()

    async def _elapse(self, woken: asyncio.Future[None], end_s: float) -> None:
        while not woken.done():
            await self._let_run()
            if not woken.done() and self._timers and self._timers[0][0] <= end_s:
                self._fire_next()

    def _fire_next(self) -> None:
        when_s, _, action = heapq.heappop(self._timers)
        self._now_s = max(self._now_s, when_s)
        action()

    async def _let_run(self) -> None:
        for _ in range(self._TURNS):
            await asyncio.sleep(0)
