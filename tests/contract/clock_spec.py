"""The one spec of ports.Clock. An implementation subclasses ClockSpec and provides the `clock` fixture: a clock on
which a sleep ends by itself."""

from __future__ import annotations

import asyncio

import pytest

from edgewise.control.ports import Clock


class ClockSpec:
    async def test_it_never_goes_back(self, clock: Clock) -> None:
        seen = []
        for _ in range(50):
            seen.append(clock.now_s())
            await clock.sleep(0.0)
        assert seen == sorted(seen)

    async def test_a_sleep_takes_at_least_its_seconds(self, clock: Clock) -> None:
        before_s = clock.now_s()
        await clock.sleep(0.05)
        assert clock.now_s() - before_s >= 0.05 - 1e-9

    @pytest.mark.parametrize("seconds", [0.0, -1.0])
    async def test_no_time_or_less_lets_others_run_and_returns(self, clock: Clock, seconds: float) -> None:
        ran: list[bool] = []
        asyncio.get_running_loop().call_soon(ran.append, True)
        await asyncio.wait_for(clock.sleep(seconds), timeout=30.0)
        assert ran

    async def test_sleepers_wake_in_order(self, clock: Clock) -> None:
        woken: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(name)

        await asyncio.gather(sleeper("long", 0.3), sleeper("short", 0.05))
        assert woken == ["short", "long"]

    async def test_a_sleep_can_be_cancelled(self, clock: Clock) -> None:
        task = asyncio.create_task(clock.sleep(3600.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, timeout=30.0)
        await clock.sleep(0.01)
        assert clock.now_s() < 3600.0
