"""What the API's objects say, on objects written as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import AdmissionRefused, SetupError, UnknownNode
from edgewise.domain.model import ModelSpec, Task
from tools.kubernetes import facts
from tools.kubernetes.manifest import deployment
from tools.kubernetes.settings import KubernetesSettings
from tools.kubernetes.survey import Survey, survey

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
SETTINGS = KubernetesSettings(image="echo:1", memory_gib={"n1": 4.0})
SMALL = ModelSpec("small", Task.TEXT_GENERATION, 1.0, 1.0)
BIG = ModelSpec("org/big model", Task.TEXT_GENERATION, 3.5, 1.0)


def stamp(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_node(name: str = "host-1", ready: str = "True", **meta: Any) -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": ready, "reason": "KubeletReady" if ready == "True" else "NodeStatusUnknown"}
    ]
    return {
        "metadata": {"name": name, "labels": {"edgewise.io/node": "n1", **meta.pop("labels", {})}, **meta},
        "status": {"conditions": conditions, "allocatable": {"memory": "6292400Ki"}},
    }


def a_deployment(spec: ModelSpec = SMALL, attempt: int = 1, node: str = "n1", **changes: Any) -> dict[str, Any]:
    made = deployment(node, spec, attempt, NOW - timedelta(seconds=60), SETTINGS)
    made["metadata"] |= {"uid": "u1", "resourceVersion": "7", "generation": 1, "creationTimestamp": stamp(60)}
    made["metadata"]["annotations"] |= changes.pop("annotations", {})
    made["metadata"] |= changes.pop("metadata", {})
    made["status"] = {"observedGeneration": 1, **changes}
    return made


def a_pod(of: dict[str, Any], ready: str = "False", ready_for_s: float = 5, **status: Any) -> dict[str, Any]:
    template = of["spec"]["template"]
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": stamp(ready_for_s)}]
    return {
        "metadata": {"name": "pod-1", "creationTimestamp": stamp(30), **template["metadata"]},
        "spec": template["spec"],
        "status": {"phase": "Running", "podIP": "10.1.2.3", "conditions": conditions, **status},
    }


def container(state: dict[str, Any], last: dict[str, Any] | None = None, ready: bool = False) -> list[dict[str, Any]]:
    return [{"name": "replica", "state": state, "lastState": last or {}, "ready": ready}]


def see(of: dict[str, Any] | None, *pods: dict[str, Any], down: str = "", patience_s: float = 10.0) -> facts.Seen:
    return facts.replica_seen(of, pods, down, NOW, patience_s)


def test_nothing_there_is_absent() -> None:
    assert see(None).state is ReplicaState.ABSENT


def test_a_deployment_without_a_pod_is_loading_since_it_was_asked_for() -> None:
    seen = see(a_deployment())
    assert (seen.state, seen.since, seen.pod) == (ReplicaState.LOADING, NOW - timedelta(seconds=60), None)


def test_a_running_pod_that_is_not_ready_is_loading() -> None:
    of = a_deployment()
    seen = see(of, a_pod(of, containerStatuses=container({"running": {}})))
    assert seen.state is ReplicaState.LOADING
    assert seen.pod is not None
    assert seen.pod.url == "http://10.1.2.3:8080"


def test_a_ready_pod_is_ready_since_its_condition_turned() -> None:
    of = a_deployment()
    seen = see(of, a_pod(of, ready="True", ready_for_s=5, containerStatuses=container({"running": {}}, ready=True)))
    assert (seen.state, seen.since) == (ReplicaState.READY, NOW - timedelta(seconds=5))


@pytest.mark.parametrize("reason", sorted(facts.STUCK))
def test_a_stuck_container_has_failed_with_its_reason(reason: str) -> None:
    of = a_deployment()
    waiting = {"waiting": {"reason": reason, "message": "the kubelet\nsays why"}}
    seen = see(of, a_pod(of, containerStatuses=container(waiting)))
    assert (seen.state, seen.error) == (ReplicaState.FAILED, f"{reason}: the kubelet says why")


def test_a_container_being_created_is_loading() -> None:
    of = a_deployment()
    seen = see(of, a_pod(of, containerStatuses=container({"waiting": {"reason": "ContainerCreating"}})))
    assert seen.state is ReplicaState.LOADING


def test_a_crash_loop_tells_the_last_word_of_the_container() -> None:
    of = a_deployment()
    last = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no checkpoint at /models/x"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    seen = see(of, a_pod(of, containerStatuses=container(waiting, last)))
    assert seen.error == "CrashLoopBackOff: exit 1: no checkpoint at /models/x"


def test_a_restarted_container_stays_failed_until_it_is_ready() -> None:
    of = a_deployment()
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    again = see(of, a_pod(of, containerStatuses=container({"running": {}}, last)))
    assert (again.state, again.error) == (ReplicaState.FAILED, "exit 137: OOMKilled")
    well = see(of, a_pod(of, ready="True", containerStatuses=container({"running": {}}, last, ready=True)))
    assert well.state is ReplicaState.READY


@pytest.mark.parametrize(("waited_s", "state"), [(3, ReplicaState.LOADING), (30, ReplicaState.FAILED)])
def test_a_pod_without_a_place_fails_after_a_while(waited_s: float, state: ReplicaState) -> None:
    of = a_deployment()
    placed = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory.", "lastTransitionTime": stamp(waited_s),
    }  # fmt: skip
    seen = see(of, a_pod(of, phase="Pending", podIP=None, conditions=[placed]))
    assert seen.state is state
    assert ("Insufficient memory" in seen.error) is (state is ReplicaState.FAILED)


def test_an_evicted_pod_has_failed_but_its_successor_counts() -> None:
    of = a_deployment()
    evicted = a_pod(of, phase="Failed", reason="Evicted", message="the node was low on memory")
    assert see(of, evicted).error == "Evicted: the node was low on memory"
    assert see(of, evicted, a_pod(of)).state is ReplicaState.LOADING


def test_pods_of_an_earlier_load_do_not_count() -> None:
    first, second = a_deployment(attempt=1), a_deployment(attempt=2)
    dead = a_pod(first, containerStatuses=container({"terminated": {"exitCode": 1}}))
    assert see(second, dead).state is ReplicaState.LOADING


def test_the_rollouts_own_errors_count_only_for_the_newest_generation() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
    assert see(a_deployment(conditions=[late])).error == "ProgressDeadlineExceeded: too slow"
    renewed = a_deployment(conditions=[late], metadata={"generation": 2})
    assert see(renewed).state is ReplicaState.LOADING
    quota = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: x"}
    assert see(a_deployment(conditions=[quota])).error == "FailedCreate: exceeded quota: x"


def test_draining_is_what_the_deployment_says_whatever_the_pod_does() -> None:
    of = a_deployment(annotations={"edgewise.io/draining": (NOW - timedelta(seconds=8)).isoformat()})
    for ready in ("True", "False"):
        seen = see(of, a_pod(of, ready=ready))
        assert (seen.state, seen.since) == (ReplicaState.DRAINING, NOW - timedelta(seconds=8))
    assert see(of).state is ReplicaState.DRAINING


def test_a_label_on_the_pod_drains_as_well() -> None:
    of = a_deployment()
    pod = a_pod(of, ready="True")
    pod["metadata"]["labels"] = {**pod["metadata"]["labels"], "edgewise.io/draining": "true"}
    assert see(of, pod).state is ReplicaState.DRAINING


def test_a_deployment_on_its_way_out_still_holds_its_memory() -> None:
    of = a_deployment(metadata={"deletionTimestamp": stamp(1)})
    seen = see(of, a_pod(of))
    assert seen.state is ReplicaState.DRAINING
    assert seen.state.holds_memory


def test_pods_that_outlive_their_deployment_still_hold_memory() -> None:
    of = a_deployment()
    pod = a_pod(of)
    pod["metadata"]["deletionTimestamp"] = stamp(1)
    assert see(None, pod).state is ReplicaState.DRAINING
    assert see(None, a_pod(of, phase="Succeeded")).state is ReplicaState.ABSENT
    assert see(None, pod, down="node gone").state is ReplicaState.ABSENT


def test_given_up_is_failed_with_its_reason_even_while_it_goes() -> None:
    of = a_deployment(annotations={"edgewise.io/failed": "OOM"}, metadata={"deletionTimestamp": stamp(1)})
    assert (see(of).state, see(of).error) == (ReplicaState.FAILED, "OOM")


def test_a_node_down_takes_its_replicas_with_it() -> None:
    of = a_deployment()
    down = facts.node_down(a_node(ready="Unknown"))
    assert down == "node host-1 is not Ready: NodeStatusUnknown"
    assert see(of, a_pod(of, ready="True"), down=down).state is ReplicaState.FAILED
    assert facts.node_down(a_node()) == ""
    assert facts.node_down({"metadata": {"name": "new"}}) != ""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16Gi", 16 * 2**30),
        ("6292400Ki", 6292400 * 2**10),
        ("1e3", 1000),
        ("500m", 0.5),
        ("2G", 2e9),
        ("", 0),
        ("x", 0),
    ],
)
def test_quantities(text: str, number: float) -> None:
    assert facts.quantity(text) == number


def test_where_a_nodes_budget_comes_from() -> None:
    key = "edgewise.io/memory-gib"
    noted = a_node(annotations={key: "12"}, labels={key: "10"})
    assert facts.node_budget_gib(noted, "n1", {"n1": 4.0}, 1.0) == 4.0
    assert facts.node_budget_gib(noted, "n1", {}, 1.0) == 12.0
    assert facts.node_budget_gib(a_node(labels={key: "10"}), "n1", {}, 1.0) == 10.0
    assert facts.node_budget_gib(a_node(), "n1", {}, 0.5) == pytest.approx(6292400 / 2**20 / 0.5)


# --- the survey ---------------------------------------------------------------------------------------------


def looked(*deployments: dict[str, Any], pods: tuple[dict[str, Any], ...] = ()) -> Survey:
    return survey(NOW, [a_node()], deployments, pods, ["small", BIG.id], SETTINGS)


def test_admission_counts_what_holds_memory_and_says_the_numbers() -> None:
    with pytest.raises(AdmissionRefused) as refused:
        looked(a_deployment()).admit("n1", BIG)
    assert "needs 3.5 GiB, 3 GiB of 4 GiB are free" in refused.value.message
    looked().admit("n1", BIG)


def test_a_failed_replica_holds_no_memory_but_a_place() -> None:
    broken = a_deployment(annotations={"edgewise.io/failed": "OOM"})
    seen = looked(broken)
    assert seen.used_gib("n1") == 0
    seen.admit("n1", BIG)
    assert seen.failed_reserves("n1", but=BIG.id) == [("n1", "small")]
    assert seen.failed_reserves("n1", but="small") == []
    broken["spec"]["replicas"] = 0
    assert looked(broken).failed_reserves("n1", but=BIG.id) == []


def test_ids_that_are_no_labels_come_back_as_they_were() -> None:
    of = a_deployment(BIG)
    pod = a_pod(of)
    assert set(looked(of, pods=(pod,)).replicas()) == {("n1", BIG.id)}
    del pod["metadata"]["annotations"]
    assert set(looked(of, pods=(pod,)).replicas()) == {("n1", BIG.id)}


def test_names_of_nodes_are_checked() -> None:
    with pytest.raises(UnknownNode) as unknown:
        looked().node("n9")
    assert "n1" in unknown.value.hint
    with pytest.raises(SetupError, match="host-1 and host-2"):
        survey(NOW, [a_node(), a_node("host-2")], [], [], [], SETTINGS)
