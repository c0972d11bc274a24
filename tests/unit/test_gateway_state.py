"""The gateway's decisions, without a socket: time is an argument."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.errors import UnknownNode
from edgewise.domain.model import ModelSpec, PromptSize, Task
from edgewise.domain.plan import ANY, NodeSpeed, Plan, Route, Source
from edgewise.domain.world import World
from edgewise.policy import dispatch
from serving.gateway import state as state_module
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


def test_retry_after_is_kept(state: GatewayState) -> None:
    """Who comes back when told is served; a second sooner it would have been refused again."""
    for node in ("n1", "n2"):
        report(state, node, 0.0, ReplicaReport("blip", READY, queued=20, work_s=20.0))
    verdict = state.route(prompt(state, 0.0, model=1), 0.0)
    assert isinstance(verdict, Shed)
    for early_s, outcome in ((1.0, Shed), (0.0, Send)):
        now_s = verdict.retry_after_s - early_s
        for node in ("n1", "n2"):
            left = round(20.0 - now_s)
            report(state, node, now_s, ReplicaReport("blip", READY, queued=left, work_s=20.0 - now_s))
        assert isinstance(state.route(prompt(state, now_s, model=1), now_s), outcome)


def test_the_refused_do_not_all_come_back_at_once(state: GatewayState) -> None:
    for node in ("n1", "n2"):
        report(state, node, 0.0, ReplicaReport("blip", READY, queued=20, work_s=20.0))
    told = [state.route(prompt(state, 0.0, model=1), 0.0) for _ in range(100)]
    after_s = [v.retry_after_s for v in told if isinstance(v, Shed)]
    assert after_s == sorted(after_s)
    # A second of work each, two nodes that have nothing else: half a second apart.
    assert after_s[-1] - after_s[0] == pytest.approx(99 * 0.5)
    later = state.route(prompt(state, 49.0, model=1), 49.0)  # half of it is done by then
    assert isinstance(later, Shed)
    assert later.retry_after_s < after_s[10]


def test_retry_after_counts_those_that_wait_for_the_load(state: GatewayState) -> None:
    report(state, "n1", 0.0, ReplicaReport("blip", LOADING, ready_in_s=17.0))
    for _ in range(30):
        state.route(prompt(state, 0.0, model=1), 0.0)
    shed = [v for _, v in state.review(9.1) if isinstance(v, Shed)]
    assert max(v.retry_after_s for v in shed) > 17.0


def test_a_slow_node_by_the_plans_word(state: GatewayState) -> None:
    both_ready(state)
    slow = replace(routes(n1=0.5, n2=0.5), slower=(NodeSpeed("n1", 4.0), NodeSpeed("gone", 2.0)))
    state.set_plan(slow, "d")
    assert node_of(state.route(prompt(state), 0.0)) == "n2"
    assert state.fleet.arrays.speed.tolist() == [0.25, 1.0]
    state.set_plan(routes(n1=0.5, n2=0.5), "d")
    assert state.fleet.arrays.speed.tolist() == [1.0, 1.0]


def test_old_figures_give_way_to_the_weights(state: GatewayState) -> None:
    state.set_plan(routes(n1=0.9, n2=0.1), "d")
    for node, work_s in (("n1", 30.0), ("n2", 0.0)):
        report(state, node, 0.0, ReplicaReport("gpt2", READY, queued=int(work_s / 2), work_s=work_s))
    patient = replace(state.limits, shedding=False)
    state.limits = patient
    assert node_of(state.route(prompt(state, 0.5), 0.5)) == "n2"
    sent = [node_of(state.route(prompt(state, 500.0), 500.0)) for _ in range(20)]
    assert 16 <= sent.count("n1") <= 20


def test_a_session_stays_where_that_saves_enough(state: GatewayState) -> None:
    state.limits = replace(state.limits, sticky_part=0.5)
    both_ready(state)
    report(state, "n1", 0.0, ReplicaReport("gpt2", READY, queued=1, work_s=2.0))
    first = replace_session(prompt(state), "s1")
    assert node_of(state.route(first, 0.0)) == "n2"
    both_ready(state, 1.0)
    # Idle both, n1 is the lower index; what was sent to n2 is done.
    state.fleet.open_count[:] = 0
    state.fleet.open[1].clear()
    both_ready(state, 2.0)
    assert node_of(state.route(prompt(state, 2.0), 2.0)) == "n1"
    both_ready(state, 3.0)
    assert node_of(state.route(replace_session(prompt(state, 3.0), "s1"), 3.0)) == "n2"
    report(state, "n2", 4.0, ReplicaReport("gpt2", READY, queued=9, work_s=18.0))
    assert node_of(state.route(replace_session(prompt(state, 4.0), "s1"), 4.0)) == "n1", "not at any price"


def replace_session(made: Prompt, session: str) -> Prompt:
    made.session = session
    return made


def test_sessions_are_forgotten_in_the_end(state: GatewayState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "MOST_SESSIONS", 3)
    state.limits = replace(state.limits, sticky_part=0.5)
    both_ready(state)
    for i in range(5):
        state.route(replace_session(prompt(state, float(i)), f"s{i}"), float(i))
    assert [session for session, _ in state.sessions] == ["s2", "s3", "s4"]


def test_held_prompts_of_tenants_take_turns(state: GatewayState) -> None:
    made = [prompt(state, 0.01 * i) for i in range(6)]
    for i, p in enumerate(made):
        p.tenant = "greedy" if i < 5 else "small"
        assert isinstance(state.route(p, 0.1), Hold)
    report(state, "n1", 1.0, ReplicaReport("gpt2", READY))
    order = [p.tenant for p, _ in state.review(1.0)]
    assert order.index("small") <= 1


def test_hints_go_by_what_prompts_took(state: GatewayState) -> None:
    for _ in range(60):
        served = prompt(state)
        served.size, served.took_s = PromptSize(100, 50), 6.0
        state.learn(served, 0)
    assert state.hints[0].hint(PromptSize(100, 50)).service_s == pytest.approx(6.0, rel=0.15)


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
