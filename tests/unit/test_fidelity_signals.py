"""A signal cancels the work, which stops what it started before the command ends."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from edgewise.compose.interruptible import until_signalled
from edgewise.domain.errors import RunFailed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_started_is_stopped(number: signal.Signals) -> None:
    stopped = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            stopped.append(True)

    with pytest.raises(RunFailed, match="interrupted"):
        asyncio.run(until_signalled(work()))
    assert stopped == [True]


def test_the_result_and_the_error_pass() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise RunFailed("broken")

    assert asyncio.run(until_signalled(answer())) == 42
    with pytest.raises(RunFailed, match="broken"):
        asyncio.run(until_signalled(fail()))
