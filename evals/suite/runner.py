"""Runs a grid over the cores of this machine. Finished runs are kept as they come; what is kept is not run again."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from edgewise.domain.errors import EdgewiseError, RunFailed
from evals.arrivals import arrivals
from evals.card import card, card_json
from evals.scenario import Scenario
from evals.suite.bounds import bound
from evals.suite.digest import Outcome, digest
from evals.suite.grid import BOUND, Cell
from evals.suite.store import Store
from evals.suite.variants import at_its_alpha
from tools.process import die_with_parent

Simulate = Callable[[Scenario, str, int | None], Outcome]
Told = Callable[[Cell], None]
HERE = 0  # as a number of workers: run in this process, one after the other


@dataclass(frozen=True, slots=True)
class Job:
    """One run to be made, whole enough to be sent to another process. simulate: a function of a module, by name."""

    scenario: Scenario
    cell: Cell
    simulate: Simulate


def run_all(jobs: Sequence[Job], store: Store, workers: int, told: Told) -> None:
    """Makes all runs and keeps them in the store; told after each, in the order they finish.

    Raises what a run raised (RunFailed names the run), or RunFailed when a worker died. However it ends, finished
    runs are kept and no worker is left.
    """
    if workers == HERE:
        for job in jobs:
            work(job, store)
            told(job.cell)
        return
    with _pool(min(workers, max(1, len(jobs)))) as pool:
        pending: dict[Future[None], Job] = {}
        with _unhurt():
            pending = {pool.submit(work, job, store): job for job in jobs}
        finished = 0
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                job = pending.pop(future)
                try:
                    future.result()
                except BrokenProcessPool as error:
                    hint = f"{finished} finished runs are kept: start it again, with --jobs 1 if memory ran out"
                    raise RunFailed("a worker process died", where=str(job.cell), hint=hint) from error
                finished += 1
                told(job.cell)


def work(job: Job, store: Store) -> None:
    """Makes one run and keeps it."""
    try:
        run = _bound_run(job) if job.cell.policy == BOUND else _policy_run(job)
    except EdgewiseError:
        raise
    except Exception as error:  # a mistake of ours: say in which run
        raise RunFailed(f"{type(error).__name__}: {error}", where=str(job.cell)) from error
    store.put(job.cell.key, {"scenario": job.scenario.name, "policy": job.cell.policy, "seed": job.cell.seed, **run})


def _policy_run(job: Job) -> Mapping[str, Any]:
    with at_its_alpha(job.cell.policy) as policy:
        found = job.simulate(job.scenario, policy, job.cell.seed)
        kept = [asdict(line) for line in getattr(found, "hindsight", ())]
        return digest(job.scenario, found).as_dict() | ({"hindsight": kept} if kept else {})


def _bound_run(job: Job) -> Mapping[str, Any]:
    found = arrivals(job.scenario, job.cell.seed)
    best = bound(job.scenario, found.demand)
    return {
        "bound": asdict(best) | {"mean_latency_s": best.mean_latency_s},
        "card": card_json(card(job.scenario, found)),
    }


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that is gone when the block is left. After an error or a signal its workers are told to end at once: a
    run may be minutes long, and what it has done so far is of no use."""
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_settle, initargs=(os.getpid(),))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        ours = [p for p in multiprocessing.active_children() if p not in before]
        for process in ours:
            process.terminate()
        for process in ours:
            process.join(3.0)
            if process.is_alive():
                process.kill()
        raise
    pool.shutdown()


@contextmanager
def _unhurt() -> Iterator[None]:
    """Processes started in the block do not get Ctrl-C of the terminal: whoever started them ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle(parent: int) -> None:
    die_with_parent(parent, signal.SIGKILL)  # a compiled run does not look at gentler signals
