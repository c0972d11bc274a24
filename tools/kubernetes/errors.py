"""Foreign errors into ours: what the API server, the network or a replica said, where, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException, OpenApiException
from kubernetes.aio.config.config_exception import ConfigException

from edgewise.domain.errors import (
    AdmissionRefused,
    ClusterUnavailable,
    EdgewiseError,
    Refused,
    ReplicaBusy,
    SetupError,
)

FOREIGN = (OpenApiException, ConfigException, aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError)
RBAC_HINT = "grant the rights in deploy/replica/rbac.yaml to the account edgewise runs as"


def translate(error: BaseException, where: str) -> EdgewiseError:
    """One of ours for an error of the Kubernetes client. Our own pass through."""
    if isinstance(error, EdgewiseError):
        return error
    if isinstance(error, ApiException):
        return from_status(error.status or 0, _message(error), where, _retry_after_s(error))
    if isinstance(error, ConfigException):
        return SetupError(f"no usable kubeconfig: {error}", where=where, hint="set KUBECONFIG, or run inside a pod")
    if isinstance(error, asyncio.TimeoutError):
        return ClusterUnavailable("no answer in time", where=where, hint="is the API server overloaded, or cut off?")
    if isinstance(error, aiohttp.ClientSSLError):
        hint = "the certificate authority in the kubeconfig does not match the server's certificate"
        return ClusterUnavailable(f"TLS failed: {error}", where=where, hint=hint)
    if isinstance(error, aiohttp.ClientError | OSError):
        what = str(error) or type(error).__name__
        return ClusterUnavailable(
            f"not reachable: {what}", where=where, hint="is the cluster up, and the address right?"
        )
    return ClusterUnavailable(f"not understood: {type(error).__name__}: {error}", where=where)


def from_status(status: int, message: str, where: str, retry_after_s: float | None = None) -> EdgewiseError:
    """What an HTTP status of the API server means for us."""
    if status == 401:
        hint = "the credentials in the kubeconfig are wrong or expired"
        return ClusterUnavailable(f"not signed in: {message}", where=where, hint=hint)
    if status == 403 and "exceeded quota" in message:
        return AdmissionRefused(
            f"the namespace's quota is used up: {message}", where=where, hint="raise the ResourceQuota"
        )
    if status == 403 and "admission" in message:
        return Refused(f"a policy of the cluster forbids it: {message}", where=where)
    if status == 403:
        return ClusterUnavailable(f"not allowed: {message}", where=where, hint=RBAC_HINT)
    if status == 404:
        return ClusterUnavailable(f"not found: {message}", where=where, hint="does the namespace exist?")
    if status in (400, 422):
        return Refused(f"the API rejected the object: {message}", where=where, hint="see the field it names")
    if status == 409:
        hint = "another controller may be at work; try again"
        return ClusterUnavailable(f"changed by someone else: {message}", where=where, hint=hint)
    if status == 410:
        return ClusterUnavailable(
            f"the list grew too old while it was read: {message}", where=where, hint="try again"
        )
    if status == 429:
        hint = "the API server limits requests"
        return ClusterUnavailable(
            f"too many requests: {message}", where=where, hint=hint, retry_after_s=retry_after_s
        )
    return ClusterUnavailable(
        f"the API server answered {status}: {message}", where=where, hint="try again", retry_after_s=retry_after_s
    )


def from_replica(status: int, body: bytes, where: str) -> EdgewiseError:
    """What a replica's refusal means: 409 is its state, everything else is no answer worth having."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:200].decode(errors="replace").strip() or "no reason given"
    if status == 409:
        return ReplicaBusy(message, where=where)
    return ClusterUnavailable(f"the replica answered {status}: {message}", where=where, hint="see the pod's log")


def _message(error: ApiException) -> str:
    """The `message` of the API server's Status object, or what else there is."""
    try:
        said: Any = json.loads(error.body or "")
        text = str(said["message"])
    except (ValueError, KeyError, TypeError):
        text = str(error.body or error.reason or "no reason given")
    return " ".join(text.split())[:400]


def _retry_after_s(error: ApiException) -> float | None:
    try:
        return float((error.headers or {}).get("Retry-After", ""))
    except (ValueError, TypeError):
        return None
