"""The life of one replica: loading → ready → draining → absent | failed, its queue, and what is in flight.

Threads: each request waits in its own thread on one condition; nothing here knows HTTP.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 0.1  # how often a waiting request looks whether its client is still there


class HandedBackError(Exception):
    """The replica takes no prompt now; it belongs elsewhere."""


class GoneError(Exception):
    """The client went away; nobody waits for the answer."""


class BusyError(Exception):
    """The state does not allow what was asked."""


@dataclass(frozen=True)
class Served:
    """How one prompt fared. Seconds; `started_s` is monotonic time."""

    queue_s: float
    service_s: float
    started_s: float
    cold: bool


class Replica:
    """One model on one node. `load_s`: seconds from load to ready; `fails`: the load ends in `failed`, and why."""

    def __init__(
        self, model: str, load_s: float, max_concurrency: int, mean_service_s: float, fails: str = ""
    ) -> None:
        self.model, self.load_s, self.slots, self.mean_service_s = model, load_s, max_concurrency, mean_service_s
        self.fails = fails
        self.share = 1.0
        self._change = threading.Condition()
        self._enter("absent")
        self._queue: deque[tuple[object, float]] = deque()
        self._running: dict[object, float] = {}  # ticket → monotonic second at which it will be done
        self._served = 0
        self._service_total_s = 0.0
        self._cold = True
        self._stopping = False

    def _enter(self, state: str, error: str = "") -> None:
        self.state, self.error, self._since = state, error, time.monotonic()

    # --- lifecycle ------------------------------------------------------------------------------------------

    def load(self) -> bool:
        """Starts loading. False when it is loading or ready already. Raises BusyError while draining."""
        with self._change:
            if self.state in ("loading", "ready"):
                return False
            if self.state == "draining" or self._stopping:
                raise BusyError(f"{self.model} is draining")
            self._enter("loading")
            self._cold = True
        timer = threading.Timer(self.load_s, self._loaded)
        timer.daemon = True
        timer.start()
        return True

    def _loaded(self) -> None:
        with self._change:
            if self.state == "loading":
                self._enter("failed", self.fails) if self.fails else self._enter("ready")
            self._change.notify_all()

    def drain(self) -> None:
        """Takes no new prompt, hands the queue back; what runs finishes. Raises BusyError unless ready."""
        with self._change:
            if self.state == "draining":
                return
            if self.state != "ready":
                raise BusyError(f"{self.model} is {self.state}, only a ready replica is drained")
            self._enter("draining")
            self._change.notify_all()

    def unload(self) -> None:
        """To absent. Raises BusyError unless drained and idle, failed or absent."""
        with self._change:
            if self._running or self._queue:
                raise BusyError(f"{self.model} has {len(self._running)} prompts in flight, {len(self._queue)} queued")
            if self.state not in ("draining", "failed", "absent"):
                raise BusyError(f"{self.model} is {self.state}, it was not drained")
            self._enter("absent")

    def stop(self, grace_s: float) -> bool:
        """Drains in whatever state it is and waits for what is in flight. False when that took too long."""
        with self._change:
            self._stopping = True
            if self.state in ("ready", "loading"):
                self._enter("draining")
            self._change.notify_all()
            return self._change.wait_for(lambda: not self._running and not self._queue, timeout=grace_s)

    # --- work -----------------------------------------------------------------------------------------------

    def serve(self, seconds: float, client_is_there: Callable[[], bool]) -> Served:
        """Waits for a slot, then for `seconds`. Raises HandedBackError or GoneError."""
        ticket, arrived = object(), time.monotonic()
        with self._change:
            if self.state != "ready":
                raise HandedBackError
            self._queue.append((ticket, seconds))
            try:
                while len(self._running) >= self.slots or self._queue[0][0] is not ticket:
                    self._change.wait(PATIENCE_S)
                    if self.state != "ready":
                        raise HandedBackError
                    if not client_is_there():
                        raise GoneError
            finally:
                self._queue.remove((ticket, seconds))
                self._change.notify_all()
            started = time.monotonic()
            self._running[ticket] = started + seconds
            cold, self._cold = self._cold, False
            try:
                while (left := self._running[ticket] - time.monotonic()) > 0:
                    self._change.wait(min(left, PATIENCE_S))
                    if not client_is_there():
                        raise GoneError
                self._served += 1
                self._service_total_s += time.monotonic() - started
            finally:
                del self._running[ticket]
                self._change.notify_all()
        return Served(started - arrived, time.monotonic() - started, started, cold)

    def facts(self) -> dict[str, Any]:
        """The replica's row of /edgewise/v1/state; `since_s` on the monotonic clock."""
        with self._change:
            now = time.monotonic()
            left = sum(max(0.0, end - now) for end in self._running.values()) + sum(s for _, s in self._queue)
            mean = self._service_total_s / self._served if self._served else self.mean_service_s
            ready_in_s = max(0.0, self._since + self.load_s - now) if self.state == "loading" else 0.0
            return {
                "model": self.model, "state": self.state, "since_s": self._since, "ready_in_s": ready_in_s,
                "error": self.error, "queued": len(self._queue), "in_flight": len(self._running), "work_s": left,
                "share": self.share, "served": self._served, "mean_service_s": mean,
            }  # fmt: skip
