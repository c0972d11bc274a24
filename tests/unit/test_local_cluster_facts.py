"""What a node's last answer means as time goes by, and what its error answers stand for."""

from __future__ import annotations

import json

import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.errors import (
    AdmissionRefused,
    BadInput,
    ClusterUnavailable,
    EdgewiseError,
    Refused,
    ReplicaBusy,
    UnknownModel,
)
from tools.local.answers import error_of
from tools.local.client import NodeState, ReplicaRow
from tools.local.facts import LONGEST_BACK_OFF_S, NodeHandle, Sight, back_off_s, sight_of, view

HANDLE = NodeHandle("http://127.0.0.1:1", NodeSpec("n1", 8.0))
STATE = NodeState("n1", 10.0, 8.0, 2.0, (ReplicaRow("m", ReplicaState.LOADING, 9.0, 1.5),))


def test_a_fresh_answer_is_a_fact() -> None:
    seen = view(HANDLE, Sight(10.0, STATE), 10.5, 0.0, 2.0, died=False)
    assert (seen.node.alive, seen.node.memory_used_gib, seen.node.url) == (True, 2.0, HANDLE.url)
    (replica,) = seen.replicas
    assert (replica.state, replica.since_s, replica.ready_in_s) == (ReplicaState.LOADING, 9.0, 1.5)
    assert seen.node.age_s == replica.age_s == 0.5


def test_a_silent_node_keeps_its_facts_and_counts_as_dead_after_the_bound() -> None:
    still = view(HANDLE, Sight(10.0, STATE), 12.0, 0.0, 2.0, died=False)
    silent = view(HANDLE, Sight(10.0, STATE), 12.1, 0.0, 2.0, died=False)
    assert still.node.alive
    assert not silent.node.alive
    assert silent.node.memory_used_gib == 2.0
    assert silent.replicas[0].age_s == pytest.approx(2.1)


@pytest.mark.parametrize(("sight", "died"), [(None, False), (None, True), (Sight(10.0, STATE), True)])
def test_a_dead_or_unseen_node_has_nothing(sight: Sight | None, died: bool) -> None:
    seen = view(HANDLE, sight, 15.0, 11.0, 2.0, died=died)
    assert not seen.node.alive
    assert (seen.node.memory_gib, seen.node.memory_used_gib, seen.node.age_s) == (8.0, 0.0, 4.0)
    assert seen.replicas == ()


@pytest.mark.parametrize(("said_s", "true_s"), [(10.0, 10.0), (2.0, 9.5), (99.0, 10.5)])
def test_a_nodes_wrong_clock_moves_no_fact_out_of_the_poll(said_s: float, true_s: float) -> None:
    state = NodeState("n1", said_s, 8.0, 0.0)
    assert sight_of(state, sent_s=9.5, received_s=10.5).at_s == true_s


def test_back_off_is_none_first_then_grows_to_its_bound() -> None:
    waits = [back_off_s(n) for n in range(12)]
    assert waits[:4] == [0.0, 0.5, 1.0, 2.0]
    assert waits == sorted(waits)
    assert waits[-1] == back_off_s(10_000) == LONGEST_BACK_OFF_S


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "model_not_found", UnknownModel),
        (409, "admission_refused", AdmissionRefused),
        (409, "replica_busy", ReplicaBusy),
        (409, "something_new", Refused),
        (400, "", BadInput),
        (404, "", UnknownModel),
        (403, "", ClusterUnavailable),
        (500, "admission_refused", ClusterUnavailable),
        (503, "unavailable", ClusterUnavailable),
        (302, "", ClusterUnavailable),
    ],
)
def test_an_error_answer_is_the_error_it_names(status: int, code: str, kind: type[EdgewiseError]) -> None:
    body = json.dumps({"error": {"code": code, "message": "needs 4 GiB", "where": "", "hint": "wait"}}).encode()
    error = error_of(status, body, "2.5", where="n1")
    assert type(error) is kind
    assert (error.message, error.where, error.hint) == ("needs 4 GiB", "n1", "wait")
    if isinstance(error, ClusterUnavailable):
        assert error.retry_after_s == 2.5


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "text"}', b"\xff"])
def test_a_strange_body_still_gives_an_error(body: bytes) -> None:
    error = error_of(502, body, "soon", where="n1")
    assert isinstance(error, ClusterUnavailable)
    assert "502" in error.message
    assert error.retry_after_s is None
