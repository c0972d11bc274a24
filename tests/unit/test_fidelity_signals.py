"""A signal cancels the work, which stops what it started before the command ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from edgewise.compose.interruptible import until_signalled
from edgewise.domain.errors import RunFailed


@pytest.fixture(autouse=True)
def heed_interrupts() -> Iterator[None]:
    """A shell has what it starts in the background ignore SIGINT, and the tests may have been started so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
