"""The turnstile: of all running prompts of a node one computes at a time, in proportion to the models' shares.

Decides by `edgewise.policy.share`; here are only the lock, the waiting threads and the stop-watch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from edgewise.policy.share import NOBODY, charge, next_model, wake

# A quantum shorter than this would be spent on waking threads.
QUANTUM_S = 0.005


class Interrupted(Exception):
    """The waiting turn was called off (its prompt was cancelled)."""


class Turn:
    """One worker thread's place in the turnstile. `used_s`: service seconds it was granted so far."""

    def __init__(self, model: int) -> None:
        self.model = model
        self.used_s = 0.0
        self.granted = threading.Event()
        self.holding = False
        self.interrupted = False
        self.paid_wall_s = self.paid_cpu_s = 0.0  # up to where its holding was held to the node's part of a core


class Turnstile:
    """Thread-safe. `clock` gives seconds; time a turn is held is charged to its model. `cpu_clock` gives the CPU
    seconds of the calling thread, `sleep` lets it rest: with `limit_cpu` the holder of the turn rests until it has
    used no more than the node's part of a core."""

    def __init__(
        self,
        models: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        quantum_s: float = QUANTUM_S,
        cpu_clock: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cpu_clock = cpu_clock
        self._sleep = sleep
        self._cpu_limit = 0.0
        self._index = {m: i for i, m in enumerate(models)}
        self._clock = clock
        self._quantum_s = quantum_s
        self._lock = threading.Lock()
        self._shares = np.ones(len(models))
        self._virtual_s = np.zeros(len(models))
        self._present = np.zeros(len(models), dtype=np.int64)  # turns waiting or holding, by model
        self._waiting: list[deque[Turn]] = [deque() for _ in models]
        self._clock_s = 0.0  # virtual time at which the latest quantum began
        self._holder: Turn | None = None
        self._since = 0.0

    def set_shares(self, shares: Mapping[str, float]) -> None:
        """Relative weights > 0 of the models named; others keep theirs."""
        with self._lock:
            for model, share in shares.items():
                self._shares[self._index[model]] = share

    def limit_cpu(self, cores: float) -> None:
        """The part of one core that prompts may use from now on, as a quota of the kernel's would hold the whole
        process to; 0: no limit."""
        self._cpu_limit = cores

    def settle(self, turn: Turn) -> None:
        """Rest, with the turn held, for what its thread used beyond the node's part of a core. From that thread."""
        limit = self._cpu_limit
        if limit > 0.0 and turn.holding:
            used_s = self._cpu_clock() - turn.paid_cpu_s
            owed_s = used_s / limit - (self._clock() - turn.paid_wall_s)
            if owed_s > 0.0:
                self._sleep(owed_s)
        self._mark_paid(turn)

    def shares(self) -> dict[str, float]:
        with self._lock:
            return {m: float(self._shares[i]) for m, i in self._index.items()}

    def enter(self, model: str) -> Turn:
        """Join; returns when the first quantum is granted."""
        turn = Turn(self._index[model])
        with self._lock:
            if self._present[turn.model] == 0:
                wake(self._virtual_s, turn.model, self._clock_s)
            self._present[turn.model] += 1
        self._wait(turn)
        return turn

    def step(self, turn: Turn) -> None:
        """The end of a step: go on, or wait for the next quantum. Raises Interrupted, without the turn held,
        when the turn was called off; `resume` takes it up again."""
        with self._lock:
            if not turn.interrupted and self._clock() - self._since < self._quantum_s:
                return
        self.settle(turn)
        with self._lock:
            self._book(turn)
            self._holder = None
            turn.holding = False
        self._wait(turn)

    def resume(self, turn: Turn) -> None:
        """Forget that the turn was called off, and wait for its next quantum unless it is held."""
        while True:
            with self._lock:
                turn.interrupted = False
                if turn.holding:
                    return
            with suppress(Interrupted):
                self._wait(turn)

    def interrupt(self, turn: Turn) -> None:
        """Call a turn off: its thread gets Interrupted from the `step` it is in, or from its next one."""
        with self._lock:
            turn.interrupted = True
            turn.granted.set()

    def leave(self, turn: Turn) -> None:
        with self._lock:
            if turn.holding:
                self._book(turn)
                self._holder = None
                turn.holding = False
            self._present[turn.model] -= 1
            self._grant()

    def used_s(self, turn: Turn) -> float:
        """Service seconds the turn was granted, those of the running quantum included."""
        with self._lock:
            return turn.used_s + (self._clock() - self._since if turn.holding else 0.0)

    def _wait(self, turn: Turn) -> None:
        with self._lock:
            turn.granted.clear()
            if turn.interrupted:
                self._grant()
                raise Interrupted
            self._waiting[turn.model].append(turn)
            self._grant()
        turn.granted.wait()
        with self._lock:
            if turn.holding:
                self._mark_paid(turn)
                return
            self._waiting[turn.model].remove(turn)  # woken without a grant: interrupted
        raise Interrupted

    def _mark_paid(self, turn: Turn) -> None:
        turn.paid_wall_s, turn.paid_cpu_s = self._clock(), self._cpu_clock()

    def _grant(self) -> None:
        if self._holder is not None:
            return
        has_work = np.fromiter((bool(q) for q in self._waiting), dtype=np.bool_, count=len(self._waiting))
        model = next_model(self._virtual_s, has_work)
        if model == NOBODY:
            return
        turn = self._waiting[model].popleft()
        self._clock_s = float(self._virtual_s[model])
        self._holder = turn
        self._since = self._clock()
        turn.holding = True
        turn.granted.set()

    def _book(self, turn: Turn) -> None:
        used = self._clock() - self._since
        turn.used_s += used
        self._since += used
        charge(self._virtual_s, self._shares, turn.model, used)
