"""The life of the replicas on one node: which step is allowed, and whether a model fits. Pure.

absent → loading → ready → draining → absent, or failed. Each function looks at the facts and gives the next
record, or raises why not; `serving.node.node` acts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import AdmissionRefused, NotReady, ReplicaBusy

FULL_GIB = 1e-9  # sums of catalogue figures are not exact


@dataclass(frozen=True, slots=True)
class Life:
    """A replica's state since `since_s` (run clock). `error` says why it failed. `cold`: no prompt has been
    served since the load. `load_s`: expected seconds of a load."""

    model: str
    memory_gib: float
    load_s: float
    state: ReplicaState = ReplicaState.ABSENT
    since_s: float = 0.0
    error: str = ""
    cold: bool = False

    def ready_in_s(self, now_s: float) -> float:
        """Estimated seconds until ready while loading; else 0."""
        if self.state is not ReplicaState.LOADING:
            return 0.0
        return max(0.0, self.since_s + self.load_s - now_s)


def memory_used_gib(lives: Iterable[Life]) -> float:
    """What admission counts as taken: loading replicas count from the first moment."""
    return sum(life.memory_gib for life in lives if life.state.holds_memory)


def load(life: Life, others: Iterable[Life], budget_gib: float, now_s: float) -> Life:
    """absent|failed → loading; unchanged while loading or ready. Raises AdmissionRefused with the numbers, or
    ReplicaBusy while draining."""
    if life.state in (ReplicaState.LOADING, ReplicaState.READY):
        return life
    if life.state is ReplicaState.DRAINING:
        raise ReplicaBusy(f"{life.model} is draining", hint="load it again once it is absent")
    used = memory_used_gib(o for o in others if o.model != life.model)
    free = budget_gib - used
    if life.memory_gib > free + FULL_GIB:
        raise AdmissionRefused(
            f"{life.model} needs {life.memory_gib:g} GiB; {free:g} GiB of the node's {budget_gib:g} GiB are free",
            hint="drain and unload another model first, or place this one on another node",
        )
    return replace(life, state=ReplicaState.LOADING, since_s=now_s, error="", cold=True)


def loaded(life: Life, now_s: float) -> Life:
    """loading → ready; the time it took is what the next load is expected to take."""
    return replace(life, state=ReplicaState.READY, since_s=now_s, load_s=now_s - life.since_s)


def failed(life: Life, error: str, now_s: float) -> Life:
    return replace(life, state=ReplicaState.FAILED, since_s=now_s, error=error, cold=False)


def drain(life: Life, now_s: float) -> Life:
    """ready → draining; unchanged while draining. Raises ReplicaBusy from any other state."""
    if life.state is ReplicaState.DRAINING:
        return life
    if life.state is not ReplicaState.READY:
        raise ReplicaBusy(f"{life.model} is {life.state}; only a ready replica can be drained")
    return replace(life, state=ReplicaState.DRAINING, since_s=now_s)


def may_unload(life: Life, in_flight: int) -> bool:
    """Whether there is something to unload (False: absent already). Raises ReplicaBusy when it was not drained,
    or a prompt is in flight."""
    if life.state is ReplicaState.ABSENT:
        return False
    if life.state in (ReplicaState.LOADING, ReplicaState.READY):
        raise ReplicaBusy(f"{life.model} is {life.state}; drain it first")
    if in_flight > 0:
        raise ReplicaBusy(f"{life.model} has {in_flight} prompts in flight")
    return True


def unloaded(life: Life, now_s: float) -> Life:
    return replace(life, state=ReplicaState.ABSENT, since_s=now_s, error="", cold=False)


def may_serve(life: Life, now_s: float) -> None:
    """Raises NotReady unless the replica takes prompts; `retry_after_s` is known while it loads."""
    if life.state is not ReplicaState.READY:
        wait = life.ready_in_s(now_s) if life.state is ReplicaState.LOADING else None
        raise NotReady(f"{life.model} is {life.state} here", retry_after_s=wait)


def work_left_s(hint_s: float, served_s: float, speed: float) -> float:
    """Expected service left of one prompt, seconds at speed 1.0, after `served_s` seconds of this node's time."""
    return max(0.0, hint_s - served_s * speed)
