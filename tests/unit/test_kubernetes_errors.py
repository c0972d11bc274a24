"""Every error of the API server, the network or a replica is one of ours, with where and what to do."""

from __future__ import annotations

import json
import ssl
from types import SimpleNamespace

import aiohttp
import pytest
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config.config_exception import ConfigException

from edgewise.domain.errors import (
    AdmissionRefused,
    ClusterUnavailable,
    EdgewiseError,
    Refused,
    ReplicaBusy,
    SetupError,
)
from tools.kubernetes.api import door
from tools.kubernetes.errors import from_replica, translate

WHERE = "https://api.example:6443/apis/apps/v1"


def said(status: int, message: str = "the server's words", **headers: str) -> ApiException:
    body = json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": status})
    return ApiException(http_resp=SimpleNamespace(status=status, reason="", headers=headers, data=b""), body=body)


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (said(400), Refused, "field"),
        (said(401), ClusterUnavailable, "credentials"),
        (said(403, 'deployments is forbidden: User "x" cannot create'), ClusterUnavailable, "rbac.yaml"),
        (said(403, 'pods "p" is forbidden: exceeded quota: tight'), AdmissionRefused, "ResourceQuota"),
        (said(403, 'admission webhook "w" denied the request'), Refused, ""),
        (said(404), ClusterUnavailable, "namespace"),
        (said(409), ClusterUnavailable, "try again"),
        (said(410), ClusterUnavailable, "try again"),
        (said(422), Refused, "field"),
        (said(429), ClusterUnavailable, "limits"),
        (said(500), ClusterUnavailable, "try again"),
        (said(503), ClusterUnavailable, "try again"),
        (TimeoutError(), ClusterUnavailable, "overloaded"),
        (ConnectionResetError(104, "Connection reset by peer"), ClusterUnavailable, "address"),
        (aiohttp.ServerDisconnectedError(), ClusterUnavailable, "address"),
        (ssl.SSLError(1, "certificate verify failed"), ClusterUnavailable, ""),
        (ConfigException("Invalid kube-config file"), SetupError, "KUBECONFIG"),
        (ValueError("Expecting value"), ClusterUnavailable, ""),
    ],
    ids=str,
)
def test_each_foreign_error_has_its_own_of_ours(error: Exception, kind: type[EdgewiseError], hint: str) -> None:
    ours = translate(error, WHERE)
    assert type(ours) is kind
    assert ours.where == WHERE
    assert hint in ours.hint
    assert ours.message


def test_the_servers_words_are_kept() -> None:
    assert "the server's words" in translate(said(500), WHERE).message


def test_a_body_that_is_no_status_object_is_told_as_it_is() -> None:
    error = ApiException(
        http_resp=SimpleNamespace(status=502, reason="", headers={}, data=b""), body="<html>\n bad gateway"
    )
    assert "<html> bad gateway" in translate(error, WHERE).message


def test_when_to_come_back_is_kept() -> None:
    ours = translate(said(429, **{"Retry-After": "7"}), WHERE)
    assert isinstance(ours, ClusterUnavailable)
    assert ours.retry_after_s == 7.0
    without = translate(said(429, **{"Retry-After": "Wed, 21 Oct"}), WHERE)
    assert isinstance(without, ClusterUnavailable)
    assert without.retry_after_s is None


def test_ours_pass_through_the_door_as_they_are() -> None:
    with pytest.raises(ReplicaBusy, match="mine"), door(WHERE):
        raise ReplicaBusy("mine")


def test_the_door_lets_pass_what_a_caller_decides_about() -> None:
    with pytest.raises(ApiException), door(WHERE, let_pass=(404, 409)):
        raise said(409)
    with pytest.raises(ClusterUnavailable), door(WHERE, let_pass=(404, 409)):
        raise said(500)


def test_mistakes_of_ours_are_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError), door(WHERE):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("status", "body", "kind", "word"),
    [
        (409, b'{"error": {"code": "replica_busy", "message": "2 in flight"}}', ReplicaBusy, "2 in flight"),
        (500, b"Traceback", ClusterUnavailable, "Traceback"),
        (404, b"", ClusterUnavailable, "no reason given"),
        (400, b'{"error": "odd"}', ClusterUnavailable, "odd"),
    ],
)
def test_what_a_replica_says(status: int, body: bytes, kind: type[EdgewiseError], word: str) -> None:
    ours = from_replica(status, body, "pod p")
    assert type(ours) is kind
    assert word in ours.message
