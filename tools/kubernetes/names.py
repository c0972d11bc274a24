"""Names on the API's objects: labels find them, annotations carry what a new controller must know."""

from __future__ import annotations

import hashlib
import re
from typing import Any

NODE = "edgewise.io/node"  # label of a Node, a Deployment and its pods: the node's id
MODEL = "edgewise.io/model"  # label (a key made from the id) and annotation (the id itself)
ATTEMPT = "edgewise.io/attempt"  # label of pods: which load they belong to
MEMORY = "edgewise.io/memory-gib"  # of a Node: its budget; of a Deployment: what admission counted
DRAINING = "edgewise.io/draining"  # annotation: since when, RFC 3339
FAILED = "edgewise.io/failed"  # annotation: why it was given up
SHARE = "edgewise.io/share"  # annotation: the on-node share last asked for
LOADED = "edgewise.io/load-asked"  # annotation: when the load was asked for, RFC 3339
OURS = {"app.kubernetes.io/managed-by": "edgewise", "app.kubernetes.io/component": "replica"}
SELECT_OURS = ",".join(f"{k}={v}" for k, v in OURS.items())

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def label_value(identifier: str) -> str:
    """A valid label value for any id: the id itself where it is one, else a readable part and a hash."""
    if _LABEL.fullmatch(identifier):
        return identifier
    readable = re.sub(r"[^A-Za-z0-9]+", "-", identifier).strip("-")[:40]
    return f"{readable}-{_short_hash(identifier)}".lstrip("-")


def deployment_name(node: str, model: str) -> str:
    """The Deployment of a replica. At most 45 characters, so that pod names keep their suffixes."""
    readable = re.sub(r"[^a-z0-9]+", "-", f"{node}-{model}".lower()).strip("-")[:34].strip("-")
    return f"ew-{readable}-{_short_hash(node + chr(0) + model)}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:7]


def label(item: dict[str, Any], name: str) -> str:
    return str(((item.get("metadata") or {}).get("labels") or {}).get(name, ""))


def annotation(item: dict[str, Any], name: str) -> str:
    return str(((item.get("metadata") or {}).get("annotations") or {}).get(name, ""))
