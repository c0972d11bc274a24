"""The gateway's decisions, without a socket: time is an argument."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.errors import UnknownNode
from edgewise.domain.model import ModelSpec, PromptSize, Task
from edgewise.domain.plan import ANY, Plan, Route, Source
from edgewise.domain.world import World
from edgewise.policy import dispatch
from serving.gateway.config import Limits, NodeAddress
from serving.gateway.fleet import CODES, NodeReport, ReplicaReport
from serving.gateway.prompt import Exhausted, Hold, Prompt, Send, Shed
from serving.gateway.state import GatewayState

READY, LOADING, DRAINING = ReplicaState.READY, ReplicaState.LOADING, ReplicaState.DRAINING
WORLD = World(
    nodes=(NodeSpec("n1", 4.0), NodeSpec("n2", 4.0)),
    models=(
        ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 2.0, deadline_s=60.0),
        ModelSpec("blip", Task.IMAGE_TO_TEXT, 1.0, 1.0, deadline_s=10.0),
    ),
)


@pytest.fixture
def state() -> GatewayState:
    made = GatewayState(WORLD, Limits(slot_s=4.0))
    made.set_nodes((NodeAddress("n1", "http://h:1/"), NodeAddress("n2", "http://h:2")))
    return made


def report(state: GatewayState, node: str, at_s: float, *replicas: ReplicaReport) -> None:
    state.report(NodeReport(node, at_s, replicas), at_s, at_s)


def both_ready(state: GatewayState, at_s: float = 0.0) -> None:
    for node in ("n1", "n2"):
        report(state, node, at_s, ReplicaReport("gpt2", READY))


def prompt(state: GatewayState, now_s: float = 0.0, model: int = 0) -> Prompt:
    spec = WORLD.models[model]
    service_s = spec.mean_service_s
    return Prompt(
        f"q{now_s}", model, spec, 0, "n1", PromptSize(), service_s, now_s, service_s, state.untried()
    )  # fmt: skip


def node_of(verdict: object) -> str:
    assert isinstance(verdict, Send)
    return WORLD.nodes[verdict.sent.node].id


def routes(**weights: float) -> Plan:
    made = tuple(Route(ANY, "gpt2", node, weight) for node, weight in weights.items())
    return Plan("p", Source.OPTIMISER, 0.0, 30.0, (), made)


def test_codes_of_the_kernel_follow_the_enum() -> None:
    names = ("ABSENT", "LOADING", "READY", "DRAINING", "FAILED")
    assert {ReplicaState[n]: getattr(dispatch, n) for n in names} == CODES


def test_a_burst_between_polls_does_not_herd(state: GatewayState) -> None:
    both_ready(state)
    sent = [node_of(state.route(prompt(state, 0.1), 0.1)) for _ in range(6)]
    assert sorted(sent) == ["n1"] * 3 + ["n2"] * 3


def test_a_report_taken_before_a_send_does_not_hide_it(state: GatewayState) -> None:
    both_ready(state)
    assert node_of(state.route(prompt(state, 1.0), 1.0)) == "n1"
    both_ready(state, at_s=0.9)
    assert state.fleet.arrays.prompts[0, 0] == 1
    assert node_of(state.route(prompt(state, 1.1), 1.1)) == "n2"


def test_a_report_taken_after_a_send_counts_it_once(state: GatewayState) -> None:
    both_ready(state)
    state.route(prompt(state, 1.0), 1.0)
    report(state, "n1", 1.2, ReplicaReport("gpt2", READY, in_flight=1, work_s=1.8))
    assert (state.fleet.arrays.prompts[0, 0], state.fleet.arrays.work_s[0, 0]) == (1, pytest.approx(1.8))
    report(state, "n1", 1.3, ReplicaReport("gpt2", READY))  # the node lost sight of it: the ledger knows better
    assert (state.fleet.arrays.prompts[0, 0], state.fleet.arrays.work_s[0, 0]) == (1, pytest.approx(2.0))


def test_what_ended_since_the_report_is_taken_off(state: GatewayState) -> None:
    both_ready(state)
    verdict = state.route(prompt(state, 1.0), 1.0)
    assert isinstance(verdict, Send)
    state.fleet.close(verdict.sent, 2.0)
    report(state, "n1", 1.9, ReplicaReport("gpt2", READY, in_flight=2, work_s=4.0))
    assert (state.fleet.arrays.prompts[0, 0], state.fleet.arrays.work_s[0, 0]) == (1, 2.0)
    report(state, "n1", 2.1, ReplicaReport("gpt2", READY, in_flight=2, work_s=4.0))
    assert (state.fleet.arrays.prompts[0, 0], state.fleet.arrays.work_s[0, 0]) == (2, 4.0)


def test_held_fifo_until_ready(state: GatewayState) -> None:
    first, second = prompt(state, 0.0), prompt(state, 0.1)
    assert isinstance(state.route(first, 0.0), Hold)
    assert isinstance(state.route(second, 0.1), Hold)
    assert state.review(1.0) == []
    both_ready(state, 2.0)
    assert [p for p, _ in state.review(2.0)] == [first, second]
    assert not state.held[0]
    assert int(state.fleet.open_count.sum()) == 2


def test_held_for_a_loading_replica_counts_as_its_work(state: GatewayState) -> None:
    report(state, "n1", 0.0, ReplicaReport("gpt2", READY, in_flight=5, work_s=9.0))
    report(state, "n2", 0.0, ReplicaReport("gpt2", LOADING, ready_in_s=3.0))
    verdicts = [state.route(prompt(state), 0.0) for _ in range(5)]
    assert [v.node if isinstance(v, Hold) else "sent" for v in verdicts] == [1, 1, 1, "sent", 1]
    assert state.fleet.arrays.prompts[1, 0] == 4
    report(state, "n2", 2.0, ReplicaReport("gpt2", READY))
    assert [node_of(v) for _, v in state.review(2.0)] == ["n2"] * 4
    assert state.fleet.reserved_count.sum() == 0
    assert state.fleet.arrays.prompts[1, 0] == 4


def test_an_overdue_load_is_not_believed_for_ever(state: GatewayState) -> None:
    report(state, "n1", 100.0, ReplicaReport("gpt2", READY, in_flight=1, work_s=4.0))
    report(state, "n2", 100.0, ReplicaReport("gpt2", LOADING, since_s=0.0, ready_in_s=0.0))
    assert node_of(state.route(prompt(state, 100.0), 100.0)) == "n1"


def test_shed_when_time_has_run_out(state: GatewayState) -> None:
    held = prompt(state, 0.0, model=1)
    assert isinstance(state.route(held, 0.0), Hold)
    assert state.review(8.9) == []
    ((shed, verdict),) = state.review(9.1)
    assert shed is held
    assert verdict == Shed(4.0, "no replica of the model was ready in time"), "nothing loads: a slot from now"


def test_retry_after_is_the_load_estimate(state: GatewayState) -> None:
    report(state, "n1", 0.0, ReplicaReport("blip", LOADING, ready_in_s=17.0))
    state.route(prompt(state, 0.0, model=1), 0.0)
    ((_, verdict),) = state.review(9.1)
    assert isinstance(verdict, Shed)
    assert verdict.retry_after_s == 17.0


def test_shed_under_overload_says_when_the_backlog_is_gone(state: GatewayState) -> None:
    for node in ("n1", "n2"):
        report(state, node, 0.0, ReplicaReport("blip", READY, queued=20, work_s=20.0))
    verdict = state.route(prompt(state, 0.0, model=1), 0.0)
    assert isinstance(verdict, Shed)
    assert verdict.retry_after_s == pytest.approx(11.0), "21 s of work, 10 s of deadline"
    patient = GatewayState(WORLD, replace(state.limits, shedding=False))
    patient.set_nodes((NodeAddress("n1", "http://h:1"),))
    report(patient, "n1", 0.0, ReplicaReport("blip", READY, queued=20, work_s=20.0))
    assert node_of(patient.route(prompt(patient, 0.0, model=1), 0.0)) == "n1"


def test_each_attempt_goes_to_another_node_where_there_is_one(state: GatewayState) -> None:
    both_ready(state)
    asked = prompt(state)
    nodes = []
    for _ in range(5):
        verdict = state.route(asked, 0.0)
        assert isinstance(verdict, Send)
        nodes.append(node_of(verdict))
        state.fleet.close(verdict.sent, 0.0)
    assert nodes == ["n1", "n2", "n1", "n1", "n1"]
    assert state.route(asked, 0.0) == Exhausted(5)


def test_a_handed_back_prompt_distrusts_older_reports(state: GatewayState) -> None:
    both_ready(state)
    state.fleet.hand_back(0, 0, 1.0)
    report(state, "n1", 0.9, ReplicaReport("gpt2", READY))
    assert node_of(state.route(prompt(state, 1.0), 1.0)) == "n2"
    report(state, "n1", 1.1, ReplicaReport("gpt2", READY))
    assert node_of(state.route(prompt(state, 1.2), 1.2)) == "n1"


def test_a_failed_connection_counts_until_a_later_poll(state: GatewayState) -> None:
    both_ready(state)
    state.fail(0, 1.0)
    late = NodeReport("n1", 0.95, (ReplicaReport("gpt2", READY),))
    assert not state.report(late, asked_s=0.9, now_s=1.1)
    assert node_of(state.route(prompt(state, 1.1), 1.1)) == "n2"
    assert state.report(replace(late, at_s=1.3), asked_s=1.2, now_s=1.3)
    assert node_of(state.route(prompt(state, 1.3), 1.3)) == "n1"


def test_silence_is_death_and_long_silence_loss(state: GatewayState) -> None:
    both_ready(state)
    assert state.watch(2.5) == []
    assert not state.fleet.arrays.alive.any()
    assert state.watch(20.5) == [0, 1]


def test_a_plan_is_obeyed_at_once_and_after_its_lease(state: GatewayState) -> None:
    both_ready(state)
    state.set_plan(routes(n1=0.0, n2=1.0), "d1")
    for now_s in (0.0, 1.0, 40.0):
        asked = prompt(state, now_s)
        assert node_of(state.route(asked, now_s)) == "n2"
        assert asked.decision == "d1"
    assert (state.lease_expired(29.0), state.lease_expired(31.0)) == (False, True)
    state.set_plan(routes(n1=1.0), "d2")
    assert node_of(state.route(prompt(state, 41.0), 41.0)) == "n1"


def test_a_row_of_its_own_overrides_any(state: GatewayState) -> None:
    both_ready(state)
    plan = routes(n1=1.0)
    state.set_plan(replace(plan, routes=(*plan.routes, Route("n2", "gpt2", "n2", 1.0))), "d")
    there = prompt(state)
    there.access = 1
    assert node_of(state.route(there, 0.0)) == "n2"
    assert node_of(state.route(prompt(state), 0.0)) == "n1"


def test_weights_spread_prompts_of_idle_nodes(state: GatewayState) -> None:
    both_ready(state)
    state.set_plan(routes(n1=0.25, n2=0.75), "d")
    sent = []
    for _ in range(40):
        verdict = state.route(prompt(state), 0.0)
        assert isinstance(verdict, Send)
        sent.append(node_of(verdict))
        state.fleet.close(verdict.sent, 0.0)
    assert sent.count("n2") == pytest.approx(30, abs=3)


def test_the_node_list_is_replaced(state: GatewayState) -> None:
    both_ready(state)
    state.set_nodes((NodeAddress("n2", "http://h:2"),))
    assert [node_of(state.route(prompt(state), 0.0)) for _ in range(3)] == ["n2"] * 3
    with pytest.raises(UnknownNode, match="mars"):
        state.set_nodes((NodeAddress("mars", "http://h:3"),))


def test_busy_nodes_divide_the_cores_of_one_machine() -> None:
    state = GatewayState(replace(WORLD, host_cores=1.0), Limits())
    state.set_nodes((NodeAddress("n1", "u"), NodeAddress("n2", "v")))
    for node in ("n1", "n2"):
        report(state, node, 0.0, ReplicaReport("gpt2", READY, in_flight=1, work_s=1.0))
    assert list(state.fleet.arrays.speed) == [0.5, 0.5]
