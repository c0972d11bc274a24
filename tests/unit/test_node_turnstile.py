"""The turnstile with real threads and a clock that only moves when a prompt computes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from serving.node.turnstile import Interrupted, Turn, Turnstile

LONG_S = 20.0


class ComputeClock:
    """Seconds of compute done by whoever holds the turn; so a run is the same on any machine."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run_until(turnstile: Turnstile, clock: ComputeClock, model: str, step_s: float, until_s: float) -> float:
    turn = turnstile.enter(model)
    while clock.now < until_s:
        clock.now += step_s
        turnstile.step(turn)
    used = turnstile.used_s(turn)
    turnstile.leave(turn)
    return used


def in_threads(*jobs: Callable[[], float]) -> list[float]:
    out: dict[int, float] = {}
    gate = threading.Barrier(len(jobs))

    def go(i: int, job: Callable[[], float]) -> None:
        gate.wait(LONG_S)
        out[i] = job()

    threads = [threading.Thread(target=go, args=(i, job)) for i, job in enumerate(jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(LONG_S)
    assert len(out) == len(jobs)
    return [out[i] for i in range(len(jobs))]


def test_time_is_shared_as_the_shares_say() -> None:
    clock = ComputeClock()
    turnstile = Turnstile(["a", "b"], clock, quantum_s=0.0)
    turnstile.set_shares({"a": 3.0})
    # Both are in line before anything computes, so that the split does not depend on which thread starts first.
    first = turnstile.enter("a")
    waiting = threading.Event()

    def b() -> float:
        waiting.set()
        return run_until(turnstile, clock, "b", 0.02, 8.0)

    def a() -> float:
        waiting.wait(LONG_S)
        while not turnstile._waiting[1]:
            time.sleep(0.001)
        while clock.now < 8.0:
            clock.now += 0.01
            turnstile.step(first)
        used = turnstile.used_s(first)
        turnstile.leave(first)
        return used

    used_a, used_b = in_threads(a, b)
    assert used_a / used_b == pytest.approx(3.0, rel=0.02)
    assert used_a + used_b == pytest.approx(clock.now)


def test_two_prompts_of_one_model_share_its_part() -> None:
    clock = ComputeClock()
    turnstile = Turnstile(["a"], clock, quantum_s=0.0)
    jobs = [lambda: run_until(turnstile, clock, "a", 0.01, 4.0)] * 2
    used = in_threads(*jobs)
    assert sum(used) == pytest.approx(clock.now)


def test_alone_it_never_waits() -> None:
    clock = ComputeClock()
    turnstile = Turnstile(["a", "b"], clock)
    assert run_until(turnstile, clock, "b", 0.5, 5.0) == pytest.approx(5.0)


def test_a_waiting_turn_can_be_called_off_and_taken_up_again() -> None:
    clock = ComputeClock()
    turnstile = Turnstile(["a", "b"], clock, quantum_s=0.0)
    holder = turnstile.enter("a")
    seen: list[str] = []
    entered = threading.Event()

    def other() -> None:
        turn = turnstile.enter("b")
        turns.append(turn)
        entered.set()
        try:
            while True:
                clock.now += 0.01
                turnstile.step(turn)
        except Interrupted:
            seen.append("interrupted")
        turnstile.resume(turn)
        seen.append("resumed")
        turnstile.leave(turn)

    def compute() -> None:
        clock.now += 0.01
        turnstile.step(holder)

    turns: list[Turn] = []
    thread = threading.Thread(target=other)
    thread.start()
    while not entered.wait(0.001):
        compute()
    turnstile.interrupt(turns[0])
    while thread.is_alive():
        compute()
        thread.join(0.001)
    turnstile.leave(holder)
    assert seen == ["interrupted", "resumed"]
    assert turnstile.enter("a").holding  # nobody left the turnstile locked
