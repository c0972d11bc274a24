"""A replica as a Deployment of one pod, pinned to its node. Pure."""

from __future__ import annotations

import json
import math
from datetime import datetime

from edgewise.domain import codec
from edgewise.domain.model import ModelSpec
from tools.kubernetes.api import Item
from tools.kubernetes.names import ATTEMPT, LOADED, MEMORY, MODEL, NODE, OURS, SHARE, deployment_name, label_value
from tools.kubernetes.settings import KubernetesSettings

LAST_WORD = "/dev/termination-log"  # the default terminationMessagePath
LEAST_GRACE_S = 10  # even a replica of instant prompts needs a moment to write its last answers


def grace_s(spec: ModelSpec) -> int:
    """Seconds a pod may take to finish what is in flight when it is told to end: as many prompts as run at once,
    share and share alike, each three standard deviations longer than the mean."""
    longest = spec.mean_service_s * (1 + 3 * spec.service_cv)
    return LEAST_GRACE_S + math.ceil(spec.max_concurrency * longest)


def memory_request(spec: ModelSpec, scale: float) -> str:
    """The memory request in MiB. `scale`: real GiB per catalogue GiB."""
    return f"{max(1, round(spec.memory_gib * scale * 1024))}Mi"


def deployment(
    node: str, spec: ModelSpec, attempt: int, at: datetime, settings: KubernetesSettings, share: str = ""
) -> Item:
    """The Deployment of a replica. `attempt` counts loads, so that a failed one's pods are told from the next's;
    one pod at a time (Recreate): two would hold the memory twice."""
    names = {**OURS, NODE: node, MODEL: label_value(spec.id)}
    annotations = {MODEL: spec.id, MEMORY: repr(spec.memory_gib), LOADED: at.isoformat()}
    if share:
        annotations[SHARE] = share
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(node, spec.id),
            "namespace": settings.namespace,
            "labels": names,
            "annotations": annotations,
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": settings.progress_deadline_s,
            "selector": {"matchLabels": names},
            "template": {
                "metadata": {"labels": {**names, ATTEMPT: str(attempt)}, "annotations": {MODEL: spec.id}},
                "spec": _pod(node, spec, settings, share),
            },
        },
    }


def _pod(node: str, spec: ModelSpec, settings: KubernetesSettings, share: str) -> Item:
    grace = grace_s(spec)
    # A load that fails ends the process, with the reason as the container's last word: so the API says "failed"
    # and why, without anyone asking the pod.
    replica = {
        "node": node,
        "model": codec.to_plain(spec),
        "port": settings.port,
        "grace_s": grace - 2,
        "exit_when_failed": LAST_WORD,
    }
    if share:
        replica["share"] = float(share)
    return {
        "nodeSelector": {NODE: node},
        "terminationGracePeriodSeconds": grace,
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [
            {
                "name": "replica",
                "image": settings.image_of(spec.id),
                "imagePullPolicy": settings.pull_policy,
                "env": [{"name": "EDGEWISE_REPLICA", "value": json.dumps(replica)}],
                "ports": [{"name": "http", "containerPort": settings.port}],
                "resources": {"requests": {"memory": memory_request(spec, settings.memory_scale)}},
                "readinessProbe": {
                    "httpGet": {"path": f"/v2/models/{spec.id}/ready", "port": "http"},
                    "periodSeconds": 1,
                    "timeoutSeconds": 5,
                    # One slow answer of a busy machine is not the end of a replica.
                    "failureThreshold": 5,
                },
            }
        ],
    }
