"""A replica at work: its queue, its worker threads, its figures. The state machine is in `lifecycle`."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from statistics import fmean

from edgewise.domain.errors import EdgewiseError, NotReady, RunFailed, Unavailable
from edgewise.domain.model import ModelSpec, PromptSize
from edgewise.policy.fair import FairQueue
from edgewise.policy.order import queue_key
from serving.engines.base import Cancelled, Engine, Output
from serving.node.config import Order
from serving.node.job import Done, Failed, Job, Started, Text
from serving.node.lifecycle import work_left_s
from serving.node.turnstile import Interrupted, Turn, Turnstile

log = logging.getLogger(__name__)
RECENT = 64  # prompts the mean service time is taken over


class Replica:
    """Up to `max_concurrency` prompts at a time, each on a worker thread that keeps its turn in the turnstile from
    prompt to prompt: a model with a queue never looks idle between two of them. Who is next is policy.fair's word:
    tenants in turn, and within a tenant by arrival, longer prompts yielding to shorter ones."""

    def __init__(
        self,
        spec: ModelSpec,
        engine: Engine,
        turnstile: Turnstile,
        threads: Executor,
        now_s: Callable[[], float],
        on_served: Callable[[str, float, PromptSize], None],
        order: Order,
    ) -> None:
        self.spec = spec
        self.engine = engine
        self.served = 0
        self._turnstile = turnstile
        self._threads = threads
        self._now_s = now_s
        self._on_served = on_served
        self._lock = threading.Lock()
        self._order = order
        self._queue: FairQueue[Job] = FairQueue(order.weights)
        self._running: dict[int, Job] = {}
        self._workers = 0
        self._cold = True
        self._recent: deque[float] = deque(maxlen=RECENT)

    def submit(self, job: Job, max_queued: int) -> None:
        """Queue a prompt. Raises Unavailable when the queue is full."""
        with self._lock:
            if len(self._queue) >= max_queued:
                raise Unavailable(f"{max_queued} prompts wait for {self.spec.id} here already", retry_after_s=1.0)
            self._queue.push(job, self._key(job), job.hint_s, job.tenant)
            start = self._workers < self.spec.max_concurrency
            self._workers += start
        if start:
            self._threads.submit(self._work)

    def cancel(self, job: Job) -> None:
        """The client has left: forget the prompt, or stop it at its next step. Harmless when it is done."""
        with self._lock:
            job.cancelled = True
            self._queue.remove(job)
            turn = job.turn
        if turn is not None:
            self._turnstile.interrupt(turn)

    def set_order(self, order: Order) -> None:
        """From now on, for prompts that wait already too."""
        with self._lock:
            self._order = order
            self._queue.weigh(order.weights)
            self._queue.rekey(self._key)

    def hand_back(self) -> int:
        """Give queued prompts back to who sent them; those in flight go on. Returns how many."""
        with self._lock:
            back = self._queue.take_all()
        for job in back:
            job.tell(Failed(NotReady(f"{self.spec.id} is draining here")))
        return len(back)

    def cancel_all(self) -> None:
        self.hand_back()
        with self._lock:
            running = list(self._running.values())
        for job in running:
            self.cancel(job)

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        return len(self._running)

    def work_s(self, speed: float) -> float:
        """Expected service left in queue and in flight, seconds at speed 1.0."""
        with self._lock:
            waiting = sum(job.hint_s for job in self._queue)
            running = [(job.hint_s, self._served_s(job)) for job in self._running.values()]
        return waiting + sum(work_left_s(hint, served, speed) for hint, served in running)

    def mean_service_s(self) -> float | None:
        """Mean compute seconds of the latest prompts; None before the first."""
        with self._lock:
            return fmean(self._recent) if self._recent else None

    def _key(self, job: Job) -> float:
        return float(queue_key(job.entered_s, job.hint_s, self._order.yielding))

    def _served_s(self, job: Job) -> float:
        return self._turnstile.used_s(job.turn) - job.used_before_s if job.turn is not None else 0.0

    def _work(self) -> None:
        turn: Turn | None = None
        while (job := self._next()) is not None:
            end: Done | Failed = Failed(RunFailed(f"{self.spec.id} could not answer this prompt"))
            try:
                if turn is None:
                    turn = self._turnstile.enter(self.spec.id)
                else:
                    self._turnstile.resume(turn)
                end = self._serve(job, turn)
            except Exception:  # libraries raise anything; the prompt fails, the worker goes on
                log.exception("a prompt of %s failed", self.spec.id)
            # Out of flight first: whoever hears the answer may unload at once.
            with self._lock:
                job.turn = None
                del self._running[job.number]
            job.tell(end)
        if turn is not None:
            self._turnstile.leave(turn)

    def _next(self) -> Job | None:
        with self._lock:
            job = self._queue.pop()
            if job is None:
                self._workers -= 1
                return None
            self._running[job.number] = job
            cold, self._cold = self._cold, False
        now = self._now_s()
        job.tell(Started(at_s=now, queue_s=now - job.arrived_s, cold=cold))
        return job

    def _serve(self, job: Job, turn: Turn) -> Done | Failed:
        with self._lock:
            job.used_before_s = self._turnstile.used_s(turn)
            job.turn = turn

        def on_step() -> None:
            if not job.cancelled:
                try:
                    self._turnstile.step(turn)
                except Interrupted:
                    if not job.cancelled:  # meant for the prompt before this one, which was just done
                        self._turnstile.resume(turn)
            if job.cancelled:
                raise Cancelled

        def on_text(piece: str) -> None:
            job.tell(Text(piece))

        try:
            if job.cancelled:
                raise Cancelled
            output = self.engine.run(job.request, on_step, on_text if job.stream else None)
        except Cancelled:
            return Failed(NotReady(f"the prompt was called off at {self.spec.id}"))
        except EdgewiseError as error:
            return Failed(error)
        self._turnstile.settle(turn)
        used = self._turnstile.used_s(turn) - job.used_before_s
        with self._lock:
            self.served += 1
            self._recent.append(used)
        self._on_served(self.spec.id, used, _size_of(job.request.size(), output))
        return Done(output, used)


def _size_of(asked: PromptSize, output: Output) -> PromptSize:
    """The size a prompt turned out to have: a text may end long before it must."""
    return replace(
        asked,
        input_tokens=output.prompt_tokens or asked.input_tokens,
        output_tokens=output.completion_tokens or asked.output_tokens,
    )
