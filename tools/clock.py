"""The run clock: seconds since the run's start, the same in every process of a run."""

from __future__ import annotations

import asyncio
import time


class RunClock:
    """Seconds since `origin`, a `time.monotonic()` value (machine-wide on Linux). Implements ports.Clock."""

    def __init__(self, origin: float | None = None) -> None:
        self.origin = time.monotonic() if origin is None else origin

    def now_s(self) -> float:
        return time.monotonic() - self.origin

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
