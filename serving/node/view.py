"""What a node tells of its replicas at one moment, for its HTTP API and its metrics."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.domain.cluster import ReplicaState
from serving.node.lifecycle import Life
from serving.node.replica import Replica


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """work_s: expected service left in queue and in flight, seconds at speed 1.0. mean_service_s: compute seconds
    of the latest prompts, None before the first. share: relative to the other models with work."""

    model: str
    state: ReplicaState
    since_s: float
    ready_in_s: float
    error: str
    queued: int
    in_flight: int
    work_s: float
    share: float
    served: int
    mean_service_s: float | None


def view(life: Life, replica: Replica | None, share: float, now_s: float, speed: float) -> ReplicaView:
    return ReplicaView(
        model=life.model,
        state=life.state,
        since_s=life.since_s,
        ready_in_s=life.ready_in_s(now_s),
        error=life.error,
        queued=replica.queued if replica else 0,
        in_flight=replica.in_flight if replica else 0,
        work_s=replica.work_s(speed) if replica else 0.0,
        share=share,
        served=replica.served if replica else 0,
        mean_service_s=replica.mean_service_s() if replica else None,
    )
