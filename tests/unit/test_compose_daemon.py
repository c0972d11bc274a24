"""Work nobody waits for once it is called off."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from edgewise.compose.daemon import in_daemon


async def test_its_result_and_its_error_come_back() -> None:
    assert await in_daemon(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_daemon(lambda: 1 // 0)


def test_a_loop_ends_at_once_when_it_is_called_off() -> None:
    go_on = threading.Event()

    async def main() -> None:
        work = asyncio.create_task(in_daemon(lambda: go_on.wait(30)))
        await asyncio.sleep(0.05)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < 10
    go_on.set()
