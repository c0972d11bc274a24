"""The recording: every endpoint looked at each interval, and what was seen kept as it came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgewise.control.ports import Clock
from edgewise.domain.errors import TelemetryUnavailable
from tools.foreign.records import Reading


class Look(Protocol):
    """tools.foreign: a source of readings, by endpoint. names: those it has."""

    @property
    def names(self) -> tuple[str, ...]: ...

    async def read(self) -> dict[str, Reading]: ...


@dataclass(frozen=True, slots=True)
class Poll:
    """One look at one endpoint. at_s: run clock; wall_s: s since the epoch; reading None: it failed, and why."""

    endpoint: str
    at_s: float
    wall_s: float
    reading: Reading | None
    note: str = ""


async def record(
    looks: Sequence[Look],
    clock: Clock,
    wall: Callable[[], float],
    duration_s: float,
    interval_s: float,
    told: Callable[[Sequence[Poll]], None] = lambda polls: None,
) -> list[Poll]:
    """Looks at once, then each `interval_s` until `duration_s` is over, and once more at its end. A look that fails
    is noted; the next may succeed. told: each round of looks, as it ends."""
    polls: list[Poll] = []
    begun_s, number = clock.now_s(), 0
    while True:
        at_s = clock.now_s() - begun_s
        rounds = await asyncio.gather(*(_poll(look, at_s, wall()) for look in looks))
        found = [poll for several in rounds for poll in several]
        polls += found
        told(found)
        if at_s >= duration_s:
            return polls
        number += 1
        # What a round took must not make the next one late; one that took longer leaves its successors out.
        number = max(number, int((clock.now_s() - begun_s) // interval_s))
        await clock.sleep(min(number * interval_s, duration_s) + begun_s - clock.now_s())


async def _poll(look: Look, at_s: float, wall_s: float) -> list[Poll]:
    try:
        found = await look.read()
    except TelemetryUnavailable as error:
        return [Poll(name, at_s, wall_s, None, error.message) for name in look.names]
    gone = [Poll(name, at_s, wall_s, None, "no figures") for name in look.names if name not in found]
    return [Poll(name, at_s, wall_s, reading) for name, reading in found.items()] + gone
