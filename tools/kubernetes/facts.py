"""What the API's objects say about nodes and replicas. Pure: objects and a time in, facts out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.units import GIB
from tools.kubernetes.api import Item
from tools.kubernetes.names import ATTEMPT, DRAINING, FAILED, LOADED, MEMORY, annotation, label
from tools.kubernetes.replica import PodAddress

# Reasons of a waiting container that no waiting cures. Source: kubelet's container and image errors.
STUCK = frozenset({
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName",
    "ErrInvalidImageName", "ImageInspectError", "RegistryUnavailable", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
})  # fmt: skip
_UNITS = {
    "": 1,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "m": 1e-3,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A replica's state, the wall-clock time it began, why it failed, and its pod while one runs."""

    state: ReplicaState
    since: datetime
    error: str = ""
    pod: PodAddress | None = None


def replica_seen(
    deployment: Item | None, pods: Sequence[Item], node_down: str, now: datetime, unschedulable_s: float
) -> Seen:
    """The state of one (node, model). `node_down`: why its node is not alive, "" when it is."""
    if deployment is None:
        return _leftover(pods, node_down, now)
    meta = deployment["metadata"]
    asked = parse_time(annotation(deployment, LOADED), parse_time(meta.get("creationTimestamp"), now))
    pod = newest(pods, _attempt(deployment))
    address = pod_address(pod) if pod else None
    if given_up := annotation(deployment, FAILED):
        return Seen(ReplicaState.FAILED, asked, given_up, address)
    if node_down:
        return Seen(ReplicaState.FAILED, asked, node_down, address)
    if meta.get("deletionTimestamp"):
        return Seen(ReplicaState.DRAINING, parse_time(meta["deletionTimestamp"], now), pod=address)
    drained = annotation(deployment, DRAINING) or (label(pod, DRAINING) if pod else "")
    if drained:
        return Seen(ReplicaState.DRAINING, parse_time(drained, asked), pod=address)
    if pod is None:
        error = rollout_error(deployment)
        return Seen(ReplicaState.FAILED if error else ReplicaState.LOADING, asked, error)
    if error := pod_error(pod, now, unschedulable_s) or rollout_error(deployment):
        return Seen(ReplicaState.FAILED, asked, error, address)
    ready = condition(pod, "Ready")
    if ready.get("status") == "True":
        return Seen(ReplicaState.READY, parse_time(ready.get("lastTransitionTime"), asked), pod=address)
    return Seen(ReplicaState.LOADING, asked, pod=address)


def _leftover(pods: Sequence[Item], node_down: str, now: datetime) -> Seen:
    """Pods whose Deployment is gone still hold memory until they have ended, unless their node is gone too."""
    going = [p for p in pods if not _ended(p)]
    if not going or node_down:
        return Seen(ReplicaState.ABSENT, now)
    since = min(parse_time(p["metadata"].get("deletionTimestamp"), now) for p in going)
    return Seen(ReplicaState.DRAINING, since, pod=pod_address(going[0]))


def newest(pods: Sequence[Item], attempt: str) -> Item | None:
    """The pod that counts: of this load, not on its way out, rather one that has not ended, the youngest."""
    mine = [p for p in pods if label(p, ATTEMPT) == attempt and not p["metadata"].get("deletionTimestamp")]
    return max(mine, key=lambda p: (not _ended(p), str(p["metadata"].get("creationTimestamp", ""))), default=None)


def pod_error(pod: Item, now: datetime, unschedulable_s: float) -> str:
    """Why this pod will not become ready, "" while it may."""
    status = pod.get("status") or {}
    if status.get("phase") in ("Failed", "Succeeded"):
        return _sentence(str(status.get("reason") or f"the pod {status['phase'].lower()}"), status.get("message"))
    placed = condition(pod, "PodScheduled")
    if placed.get("status") == "False" and placed.get("reason") == "Unschedulable":
        waited_s = (now - parse_time(placed.get("lastTransitionTime"), now)).total_seconds()
        if waited_s >= unschedulable_s:
            return _sentence("unschedulable", placed.get("message"))
    for container in status.get("containerStatuses") or []:
        state, last = container.get("state") or {}, (container.get("lastState") or {}).get("terminated")
        waiting = state.get("waiting") or {}
        if waiting.get("reason") in STUCK:
            return _sentence(str(waiting["reason"]), _exit(last) or waiting.get("message"))
        if state.get("terminated"):
            return _exit(state["terminated"])
        # A container that died stays failed until its restart is ready: a load that dies over and over would
        # else look like one that is on its way every other second.
        if last and not container.get("ready"):
            return _exit(last)
    return ""


def rollout_error(deployment: Item) -> str:
    """What the Deployment's conditions say went wrong with its newest generation."""
    status = deployment.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0):
        return ""
    for kind, bad in (("ReplicaFailure", "True"), ("Progressing", "False")):
        found = condition(deployment, kind)
        if found.get("status") == bad:
            return _sentence(str(found.get("reason") or kind), found.get("message"))
    return ""


def node_down(node: Item) -> str:
    """Why a node is not alive: its Ready condition is not True. "" when it is."""
    ready = condition(node, "Ready")
    if ready.get("status") == "True":
        return ""
    return _sentence(f"node {node['metadata']['name']} is not Ready", ready.get("reason") or ready.get("message"))


def node_budget_gib(node: Item, node_id: str, given: Mapping[str, float], scale: float) -> float:
    """A node's memory budget in catalogue GiB: given, annotated, labelled, or what Kubernetes may allocate."""
    if node_id in given:
        return given[node_id]
    for text in (annotation(node, MEMORY), label(node, MEMORY)):
        try:
            return float(text)
        except ValueError:
            continue
    allocatable = ((node.get("status") or {}).get("allocatable") or {}).get("memory", "0")
    return quantity(str(allocatable)) / GIB / scale


def deployment_gib(deployment: Item) -> float:
    """What admission counted for this replica, catalogue GiB."""
    try:
        return float(annotation(deployment, MEMORY))
    except ValueError:
        return 0.0


def pod_address(pod: Item) -> PodAddress | None:
    """Where a running pod answers; None before it has an address and after it ended."""
    address = (pod.get("status") or {}).get("podIP")
    if not address or _ended(pod):
        return None
    port = int(pod["spec"]["containers"][0]["ports"][0]["containerPort"])
    host = f"[{address}]" if ":" in address else address
    return PodAddress(str(pod["metadata"]["name"]), f"http://{host}:{port}", port)


def condition(item: Item, kind: str) -> Item:
    for entry in (item.get("status") or {}).get("conditions") or []:
        if entry.get("type") == kind:
            return dict(entry)
    return {}


def quantity(text: str) -> float:
    """A Kubernetes quantity ("16Gi", "500m", "1e3") as a number; 0 when it is none."""
    match = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", text.strip())
    return float(match[1]) * _UNITS[match[2] or ""] if match else 0.0


def parse_time(text: object, default: datetime) -> datetime:
    """RFC 3339 as the API writes it; the default when there is none, or when the other has no time zone."""
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return default
    return parsed if parsed.tzinfo else default


def _attempt(deployment: Item) -> str:
    return label(deployment["spec"]["template"], ATTEMPT)


def _ended(pod: Item) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _exit(terminated: Item | None) -> str:
    if not terminated:
        return ""
    return _sentence(f"exit {terminated.get('exitCode')}", terminated.get("message") or terminated.get("reason"))


def _sentence(reason: str, message: object) -> str:
    text = " ".join(str(message or "").split())[:300]
    return f"{reason}: {text}" if text else reason
