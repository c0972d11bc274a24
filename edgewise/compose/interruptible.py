"""Work that a signal ends in order: what was started is stopped on the way out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from edgewise.domain.errors import RunFailed

T = TypeVar("T")


async def until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which SIGINT, SIGTERM and SIGHUP cancel (unless ignored, as under nohup): then RunFailed.
    A handler that raised instead might raise into any task of the loop, and be taken for that one's failure."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(RuntimeError, ValueError):  # not the main thread: nothing signals it
                loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise RunFailed("interrupted") from None
