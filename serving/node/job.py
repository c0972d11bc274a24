"""One prompt on its way through a node, and what its HTTP handler hears of it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

from edgewise.domain.errors import EdgewiseError
from edgewise.policy.fair import COMMON
from serving.engines.base import Output, Request
from serving.node.turnstile import Turn

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Started:
    """Service began. `at_s` is a run-clock second; `cold`: the first prompt since the load."""

    at_s: float
    queue_s: float
    cold: bool


@dataclass(frozen=True, slots=True)
class Text:
    piece: str


@dataclass(frozen=True, slots=True)
class Done:
    """`service_s`: seconds of this node's compute time it took (waiting for other models' turns left out)."""

    output: Output
    service_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """HandedBack (NotReady) included: the caller may send the prompt elsewhere when nothing was streamed."""

    error: EdgewiseError


Event = Started | Text | Done | Failed


class Job:
    """A prompt with its queue of events. Made on the event loop; worker threads `tell` it what happens. arrived_s:
    here; entered_s: at its access node, which may have been long before."""

    def __init__(
        self,
        request: Request,
        hint_s: float,
        arrived_s: float,
        stream: bool,
        tenant: str = COMMON,
        entered_s: float | None = None,
    ) -> None:
        self.number = next(_numbers)
        self.request = request
        self.hint_s = hint_s
        self.arrived_s = arrived_s
        self.stream = stream
        self.tenant = tenant
        self.entered_s = arrived_s if entered_s is None else min(entered_s, arrived_s)
        self.cancelled = False
        self.turn: Turn | None = None  # while it runs
        self.used_before_s = 0.0  # what its turn had used for earlier prompts
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def tell(self, event: Event) -> None:
        """From any thread. Silent when the loop has ended: then nobody listens."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            self.cancelled = True

    async def next_event(self) -> Event:
        return await self._events.get()
