"""The in-memory telemetry keeps the contract, on virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgewise.control.ports import Telemetry
from edgewise.domain.observation import TelemetryFacts
from tests.contract.telemetry_spec import TelemetrySpec
from tests.support.fakes import FakeClock, FakeTelemetry


class FakeTelemetryWorld:
    window_s = 20.0
    period_s = 1.0
    model = "model"

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.telemetry = FakeTelemetry(self.clock, self.window_s)
        self.arrive = self.telemetry.arrive
        self.finish = self.telemetry.finish
        self.serve = self.telemetry.serve
        self.set_load = self.telemetry.set_load
        self.set_waiting = self.telemetry.set_waiting

    def restart_gateway(self) -> None:
        """The fake counts events, not counters: there is nothing to restart."""

    def silence(self, silent: bool) -> None:
        self.telemetry.stalled = silent

    async def seen(self) -> None:
        await self.telemetry.read()

    async def wait(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def settle(self, predicate: Callable[[TelemetryFacts], bool], timeout_s: float) -> TelemetryFacts:
        for _ in range(int(timeout_s)):
            facts = await self.telemetry.read()
            if predicate(facts):
                return facts
            await self.clock.advance(1.0)
        raise AssertionError(f"telemetry did not settle within {timeout_s} s")

    def unheard(self) -> Telemetry:
        telemetry = FakeTelemetry(self.clock, self.window_s)
        telemetry.down = True
        return telemetry


class TestFakeTelemetry(TelemetrySpec):
    @pytest.fixture
    def telemetry_world(self) -> FakeTelemetryWorld:
        return FakeTelemetryWorld()
