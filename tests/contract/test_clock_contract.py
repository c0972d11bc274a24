"""The run clock and the virtual one keep the contract, and run clocks of one origin agree."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.contract.clock_spec import ClockSpec
from tests.support.fakes import FakeClock
from tools.clock import RunClock


class TestFakeClock(ClockSpec):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(auto=True)


class TestRunClock(ClockSpec):
    @pytest.fixture
    def clock(self) -> RunClock:
        return RunClock()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the monotonic clock is machine-wide on Linux only")
def test_processes_of_one_origin_share_one_clock() -> None:
    clock = RunClock()
    code = f"from tools.clock import RunClock; print(RunClock({clock.origin!r}).now_s())"
    before_s = clock.now_s()
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert before_s <= float(told.stdout) <= clock.now_s()
