"""What an operator may set about Kubernetes, each with its unit and reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """
    namespace: where replicas live; edgewise touches nothing outside it, and only reads nodes.
    image, images: what a replica runs; `images` by model id goes before `image`.
    pull_policy: IfNotPresent, because a node that is cut off must be able to restart what it has.
    port: TCP port a replica listens on.
    memory_gib: budgets by node id, GiB as the catalogue counts; a node not named is asked for its annotation, then
        its label edgewise.io/memory-gib, then its allocatable memory / memory_scale.
    memory_scale: real GiB requested per catalogue GiB; below 1 only where replicas are stand-ins.
    via_proxy: reach replicas through the API server (needs the right pods/proxy); else at their pod addresses.
    request_timeout_s: longest wait for one answer of the API server or of a replica.
    progress_deadline_s: a load that shows no progress for so long has failed; model pulls take minutes.
    unschedulable_s: how long a pod may find no place before that counts as failed; a node that just came back
        carries its taints for a few seconds.
    conflict_retries: how often a change is decided anew when someone else changed the object in between.
    service_account: identity of replica pods; they need no right at all.
    """

    image: str
    namespace: str = "edgewise"
    images: Mapping[str, str] = field(default_factory=dict)
    pull_policy: str = "IfNotPresent"
    port: int = 8080
    memory_gib: Mapping[str, float] = field(default_factory=dict)
    memory_scale: float = 1.0
    via_proxy: bool = False
    request_timeout_s: float = 10.0
    progress_deadline_s: int = 900
    unschedulable_s: float = 10.0
    conflict_retries: int = 5
    service_account: str = "default"

    def image_of(self, model: str) -> str:
        return self.images.get(model, self.image)
