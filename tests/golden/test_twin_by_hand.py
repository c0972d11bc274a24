"""Worlds of two nodes and a few prompts, solved by hand: every time is what pen and paper give.

All loads take their mean, all sizes are known. A trip is one way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from edgewise.policy.dispatch import LEAST_WORK, ROUND_ROBIN
from edgewise.twin.arrays import (
    DRAIN,
    EVENTS,
    LOAD,
    LOCAL,
    LOG_ROWS,
    NODE_DOWN_ROW,
    NODE_UP_ROW,
    ON_DEMAND,
    READY_ROW,
    UNLOAD,
)
from edgewise.twin.demand import NODE_DOWN, NODE_SLOW, NODE_UP, TELEMETRY_STALE
from edgewise.twin.run import Twin
from tests.support.twin_world import Kind, demand_of, happenings, physics_for, rules_for, to_the_end, twin_of

A, B = 0, 1
BOTH, ONLY_A, ONLY_B = [[True], [True]], [[True], [False]], [[False], [True]]


@dataclass
class At:
    """Does something at one slot."""

    number: int
    act: Callable[[Twin], None]

    def slot(self, twin: Twin, number: int) -> None:
        if number == self.number:
            self.act(twin)


def starts(twin: Twin) -> list[float]:
    return [round(t, 9) for t in twin.state.started_s.tolist()]


def ends(twin: Twin) -> list[float]:
    return [round(t, 9) for t in twin.state.finished_s.tolist()]


def rows(twin: Twin) -> list[tuple[float, int, int, int]]:
    s = twin.state
    many = int(s.tally[LOG_ROWS])
    columns = (s.log_s, s.log_kind, s.log_node, s.log_model)
    return [
        (round(float(t), 9), int(k), int(n), int(m)) for t, k, n, m in zip(*(c[:many] for c in columns), strict=True)
    ]


def test_trip_and_load_wait() -> None:
    # B (speed 2) loads from 0 to 3. Latency 0.5 s one way, 0.25 s per KiB, 2 KiB there, 4 back: 1.0 s there, 1.5 s
    # back.
    #   p0 enters at A at 1.0, is at B at 2.0
    #   p1 enters at B at 1.5: physically before p0, but the queue is in order of arrival at the access node
    #   p2 enters at B at 2.5
    # At 3: p0 3…5 (4 s at speed 2), p1 5…5.5, p2 5.5…6.5. p0 is back at 6.5.
    kind = Kind(load_s=3.0, request_kib=2.0, response_kib=4.0)
    d = demand_of([1.0, 1.5, 2.5], [4.0, 1.0, 2.0], access=[A, B, B])
    twin = twin_of(physics_for([1.0, 2.0], [kind]), d, standing=False, latency_s=1.0, s_per_kib=0.25)
    twin.want(np.array(ONLY_B))
    ended = to_the_end(twin)
    assert starts(twin) == [3.0, 5.0, 5.5]
    assert ends(twin) == [6.5, 5.5, 6.5]
    assert ended.at_s == 6.5
    assert twin.state.busy_s.tolist() == [0.0, 3.5]
    assert twin.state.cold.tolist() == [True, True, True]
    assert rows(twin) == [(0.0, LOAD, B, 0), (3.0, READY_ROW, B, 0)]


def test_prompts_wait_at_their_access_node_while_nobody_has_the_model() -> None:
    # Held until something can be sent to: the load that a goal starts at slot 1 (t = 10).
    kind = Kind(load_s=2.0)
    d = demand_of([1.0, 2.0], [1.0, 1.0], access=[B, A])
    twin = twin_of(physics_for([1.0, 1.0], [kind]), d, standing=False, latency_s=1.0)
    to_the_end(twin, At(1, lambda t: t.want(np.array(ONLY_A))), slot_s=10.0)
    # Sent at 10: p0 is at A at 10.5, p1 at once; ready at 12; p0 came first and is back at 13.5.
    assert starts(twin) == [12.0, 13.0]
    assert ends(twin) == [13.5, 14.0]


def test_drain_hands_back_what_waits() -> None:
    # Trips of 0.5 s; everybody enters at A.
    #   p0 (5 s) at 0: nobody has work, the tie goes to A: 0…5
    #   p1 (10 s) at 0.1: A has 4.9 s, B none: to B, there at 0.6: 0.6…10.6, back at 11.1
    #   p2 (2 s) at 1: A has 4 s, B 9.6: waits at A
    # Slot 1 (t = 2) wants B alone: A drains, p2 is handed back and sent to B, there at 2.5: 10.6…12.6, back at 13.1.
    # p0 runs to its end at 5, and A is unloaded then.
    d = demand_of([0.0, 0.1, 1.0], [5.0, 10.0, 2.0])
    twin = twin_of(physics_for([1.0, 1.0], [Kind()], memory=[1.0, 1.0]), d, latency_s=1.0)
    to_the_end(twin, At(1, lambda t: t.want(np.array(ONLY_B))), slot_s=2.0)
    assert starts(twin) == [0.0, 0.6, 10.6]
    assert ends(twin) == [5.0, 11.1, 13.1]
    assert twin.state.node.tolist() == [A, B, B]
    assert twin.state.attempts.tolist() == [1, 1, 2]
    assert rows(twin) == [(2.0, DRAIN, A, 0), (5.0, UNLOAD, A, 0)]
    assert twin.state.free.tolist() == [1.0, 0.0]


def test_a_prompt_on_its_way_to_a_replica_that_goes_is_sent_on() -> None:
    # p0 (3 s) at 0 for A, which is where it enters. p1 enters at B at 0.9; A has 2.1 s, B 9.5 s of p_b: to A, there
    # at 1.4. At slot 1 (t = 1) A drains. p1 comes to A at 1.4, and is sent from B, where it entered, to B: waits for
    # p_b (0.4…10.4), then 10.4…11.4.
    d = demand_of([0.0, 0.4, 0.9], [3.0, 10.0, 1.0], access=[A, B, B])
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, latency_s=1.0)
    to_the_end(twin, At(1, lambda t: t.want(np.array(ONLY_B))), slot_s=1.0)
    assert starts(twin) == [0.0, 0.4, 10.4]
    assert ends(twin) == [3.0, 10.4, 11.4]
    assert twin.state.attempts.tolist() == [1, 1, 2]


def test_make_before_break() -> None:
    # The model moves from A to B at slot 1 (t = 1), loading takes 4 s: A serves until B is ready at 5.
    d = demand_of([2.0, 4.5, 6.0], [1.0, 1.0, 1.0])
    twin = twin_of(physics_for([1.0, 1.0], [Kind(load_s=4.0)]), d, standing=ONLY_A)
    to_the_end(twin, At(1, lambda t: t.want(np.array(ONLY_B))), slot_s=1.0)
    assert twin.state.node.tolist() == [A, A, B]
    assert ends(twin) == [3.0, 5.5, 7.0]
    assert rows(twin) == [(1.0, LOAD, B, 0), (5.0, READY_ROW, B, 0), (5.0, DRAIN, A, 0), (5.5, UNLOAD, A, 0)]


def test_swap_of_two_models_in_full_nodes() -> None:
    # Each node has room for one. They change places at slot 1 (t = 1): nothing can be made before it is broken.
    d = demand_of([0.0, 2.0, 2.0], [1.5, 1.0, 1.0], model=[0, 0, 1])
    twin = twin_of(
        physics_for([1.0, 1.0], [Kind(load_s=3.0)] * 2, memory=[1.0, 1.0]), d, standing=np.eye(2, dtype=bool)
    )
    to_the_end(twin, At(1, lambda t: t.want(~np.eye(2, dtype=bool))), slot_s=1.0)
    # B unloads at once and loads model 0 from 1 to 4; A's prompt ends at 1.5, then model 1 loads there until 4.5.
    assert ends(twin) == [1.5, 5.0, 5.5]
    assert twin.state.node.tolist() == [A, B, A]


def test_node_down_starts_its_work_again() -> None:
    # p0 (4 s) runs at A from 0, p1 (2 s, at 1) waits there; B is 0.5 s away and has 9 s of p_b from 0.5 on.
    # A goes at 3. Both start again from A, where they entered: at B at 3.5, after p_b (0.5…9.5): 9.5…13.5, 13.5…15.5,
    # back 0.5 later. A returns at 5, empty, and loads from 5 to 8. p3 (1 s) enters at 6: 2 s of load left and its own
    # second at A, 9.5 at B: waits for the load, 8…9.
    d = demand_of([0.0, 0.5, 1.0, 6.0], [4.0, 9.0, 2.0, 1.0], access=[A, B, A, A])
    events = happenings((3.0, NODE_DOWN, A, 0.0), (5.0, NODE_UP, A, 0.0))
    twin = twin_of(physics_for([1.0, 1.0], [Kind(load_s=3.0)]), d, events=events, latency_s=1.0)
    to_the_end(twin)
    assert starts(twin) == [9.5, 0.5, 13.5, 8.0]
    assert ends(twin) == [14.0, 9.5, 16.0, 9.0]
    assert twin.state.attempts.tolist() == [2, 1, 2, 1]
    assert twin.state.busy_s.tolist() == [4.0, 15.0]  # three of A's seconds were lost
    assert rows(twin) == [
        (3.0, NODE_DOWN_ROW, A, -1), (5.0, NODE_UP_ROW, A, -1), (5.0, LOAD, A, 0), (8.0, READY_ROW, A, 0),
    ]  # fmt: skip


def test_prompts_enter_at_a_node_that_is_down() -> None:
    # The access node forwards, its replica is gone.
    d = demand_of([2.0], [1.0])
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, events=happenings((1.0, NODE_DOWN, A, 0.0)), latency_s=1.0)
    to_the_end(twin)
    assert (starts(twin), ends(twin)) == ([2.5], [4.0])


def test_a_prompt_on_its_way_to_a_node_that_goes_is_sent_on_when_it_gets_there() -> None:
    d = demand_of([0.0], [1.0], access=[B])
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, events=happenings((0.3, NODE_DOWN, A, 0.0)), latency_s=1.0)
    to_the_end(twin)  # to A by the tie; there at 0.5, then at once at B, where it entered
    assert (starts(twin), ends(twin), twin.state.attempts.tolist()) == ([0.5], [1.5], [2])


def test_stale_telemetry() -> None:
    # p0 (4 s) runs at A from 0, p1 (3 s) at B from 0.5; figures stand still from 1 to 11: A 3.0 s, B 2.5 s.
    #   p2 (1 s) at 5: both idle by now, but B is believed to be done sooner: 5…6, and B is believed to have 3.5
    #   p3 (1 s) at 5.5: A: 5.5…6.5 (4.0 believed)
    #   p4 (1 s) at 5.6: B waits for p2: 6…7
    #   p5 (1 s) at 11: figures are fresh at once, nobody has work, the tie goes to A
    d = demand_of([0.0, 0.5, 5.0, 5.5, 5.6, 11.0], [4.0, 3.0, 1.0, 1.0, 1.0, 1.0])
    events = happenings((1.0, TELEMETRY_STALE, -1, 10.0))
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, events=events)
    to_the_end(twin)
    assert twin.state.node.tolist() == [A, B, B, A, B, A]
    assert starts(twin) == [0.0, 0.5, 5.0, 5.5, 6.0, 11.0]
    assert ends(twin) == [4.0, 3.5, 6.0, 6.5, 7.0, 12.0]


def test_two_models_divide_a_node_by_their_shares() -> None:
    # Shares 3 : 1 on speed 2. p0 (model 0, 3 s) from 0, p1 (model 1, 2 s) from 1.
    # Until 1 p0 alone is given 2, has 1 left; then 1.5 and 0.5 per second: p0 ends at 1 + 2/3; p1 was given 1/3, and
    # has 5/3 left at speed 2: ends at 1 + 2/3 + 5/6 = 2.5.
    d = demand_of([0.0, 1.0], [3.0, 2.0], model=[0, 1])
    twin = twin_of(physics_for([2.0], [Kind(), Kind()]), d, share=[3.0, 1.0])
    to_the_end(twin)
    assert ends(twin) == pytest.approx([5 / 3, 2.5])


def test_a_replica_that_waits_takes_no_speed() -> None:
    # Model 1 is loading until 4 with p1 waiting: p0 has the whole node meanwhile.
    d = demand_of([0.0, 0.0], [4.5, 1.0], model=[0, 1])
    twin = twin_of(physics_for([1.0], [Kind(), Kind(load_s=4.0)]), d, standing=[[True, False]])
    twin.want(np.array([[True, True]]))
    to_the_end(twin)
    assert starts(twin) == [0.0, 4.0]
    assert ends(twin) == [5.0, 5.5]  # half each from 4: p0's 0.5 s end at 5, p1 has 0.5 s left then


def test_processor_sharing_by_hand() -> None:
    # 3 s from 0 and 1 s from 1: half each, p1 ends at 3, p0 has 1 s left alone: 4.
    twin = twin_of(physics_for([1.0], [Kind(slots=0)]), demand_of([0.0, 1.0], [3.0, 1.0]))
    to_the_end(twin)
    assert (starts(twin), ends(twin)) == ([0.0, 1.0], [4.0, 3.0])


def test_two_at_a_time_by_hand() -> None:
    # Two run at half speed each, the third waits. p1 (1 s) ends at 2; p2 (2 s) starts: p0 has 3 − 1 = 2 s left, they
    # end together at 6.
    twin = twin_of(physics_for([1.0], [Kind(slots=2)]), demand_of([0.0, 0.0, 0.0], [3.0, 1.0, 2.0]))
    to_the_end(twin)
    assert starts(twin) == [0.0, 0.0, 2.0]
    assert ends(twin) == [6.0, 2.0, 6.0]


def test_batch_curve_by_hand() -> None:
    # Two together run at 1.5, 0.75 each: p1 (1.5 s) ends at 2, p0 has 3 − 1.5 left alone: 3.5.
    twin = twin_of(physics_for([1.0], [Kind(slots=2, curve=(1.0, 1.5))]), demand_of([0.0, 0.0], [3.0, 1.5]))
    to_the_end(twin)
    assert ends(twin) == [3.5, 2.0]


def test_a_node_slows_down_and_recovers_in_mid_service() -> None:
    # 6 s from 0: 2 given at 2, then a quarter: 3 at 6, then 3 more: 9. Slowness is of the first
    # speed, not of the last.
    events = happenings((2.0, NODE_SLOW, A, 2.0), (2.0, NODE_SLOW, A, 4.0), (6.0, NODE_SLOW, A, 1.0))
    twin = twin_of(physics_for([1.0], [Kind()]), demand_of([0.0], [6.0]), events=events)
    to_the_end(twin)
    assert ends(twin) == [9.0]


def test_host_cores_by_hand() -> None:
    # Speeds 2 and 1 on 1.5 cores. p0 (6 s) at A from 0 gets 1.5; from 2 on A and B ask for 3 and get half: 1 and 0.5.
    # p0 has 3 left at 2, ends at 5; p1 (2 s) was given 1.5 by then, B alone gets its whole 1: 5.5.
    d = demand_of([0.0, 2.0], [6.0, 2.0], access=[A, B])
    rules = rules_for(LEAST_WORK, LOCAL)
    twin = twin_of(physics_for([2.0, 1.0], [Kind()], cores=1.5), d, rules)
    to_the_end(twin)
    assert ends(twin) == [5.0, 5.5]


def test_transfers_wait_for_each_other_on_a_busy_link() -> None:
    # 2 s per request, 1 s per answer, latency 0.5 one way. p0 and p1 enter at A at 0 for B: the link carries p0 until
    # 2, p1 until 4: at B at 2.5 and 4.5. p0 runs 2.5…5, p1 5…5.25. Answers: 5…6 and 6…7, back at 6.5 and 7.5.
    kind = Kind(request_kib=2.0, response_kib=1.0)
    d = demand_of([0.0, 0.0], [2.5, 0.25])
    for contention, expected in ((True, [6.5, 7.5]), (False, [6.5, 6.75])):
        physics = physics_for([1.0, 1.0], [kind], contention=contention)
        twin = twin_of(physics, d, standing=ONLY_B, latency_s=1.0, s_per_kib=1.0)
        to_the_end(twin)
        assert ends(twin) == expected, "without contention both are at B at 2.5, and p1 runs from 5 to 5.25"


def test_a_load_on_demand_evicts_the_least_recently_used() -> None:
    # A has room for two. Model 0 was used until 1, model 1 until 3; model 2 is asked for at 4: 0 goes, 2 loads to 6.
    d = demand_of([0.0, 2.0, 4.0], [1.0, 1.0, 1.0], model=[0, 1, 2])
    kinds = [Kind(load_s=2.0)] * 3
    rules = rules_for(LEAST_WORK, ON_DEMAND)
    twin = twin_of(physics_for([1.0], kinds, memory=[2.0]), d, rules, standing=[[True, True, False]])
    to_the_end(twin)
    assert ends(twin) == [1.0, 3.0, 7.0]
    assert rows(twin) == [(4.0, DRAIN, A, 0), (4.0, UNLOAD, A, 0), (4.0, LOAD, A, 2), (6.0, READY_ROW, A, 2)]


def test_a_load_on_demand_where_that_is_sooner() -> None:
    # A has 10 s of p0. p1 (1 s) at 1: 10 s at A, or 3 s of load and 1 s at B: B, 4…5.
    d = demand_of([0.0, 1.0], [10.0, 1.0])
    rules = rules_for(LEAST_WORK, ON_DEMAND)
    twin = twin_of(physics_for([1.0, 1.0], [Kind(load_s=3.0)]), d, rules, standing=ONLY_A)
    to_the_end(twin)
    assert (starts(twin), ends(twin)) == ([0.0, 4.0], [10.0, 5.0])


# One instant: nodes, happenings, the network, arrivals.


def test_an_end_comes_before_a_node_down() -> None:
    twin = twin_of(
        physics_for([1.0, 1.0], [Kind()]), demand_of([0.0], [2.0]), events=happenings((2.0, NODE_DOWN, A, 0.0))
    )
    to_the_end(twin)
    assert (ends(twin), twin.state.attempts.tolist()) == ([2.0], [1])


def test_an_end_comes_before_an_arrival() -> None:
    # Both nodes end a prompt at 2: the arrival finds both idle and goes to the first.
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), demand_of([0.0, 0.0, 2.0], [2.0, 2.0, 1.0]))
    to_the_end(twin)
    assert (twin.state.node.tolist(), starts(twin)[2]) == ([A, B, A], 2.0)


def test_a_node_down_comes_before_an_arrival_and_before_the_network() -> None:
    events = happenings((1.0, NODE_DOWN, A, 0.0))
    arriving = twin_of(physics_for([1.0, 1.0], [Kind()]), demand_of([1.0], [2.0]), events=events)
    on_its_way = twin_of(
        physics_for([1.0, 1.0], [Kind()]), demand_of([0.5], [2.0], access=[B]), events=events, latency_s=1.0
    )
    for twin, attempts in ((arriving, 1), (on_its_way, 2)):
        to_the_end(twin)
        assert twin.state.node.tolist() == [B]
        assert twin.state.attempts.tolist() == [attempts]
        assert twin.state.tally[EVENTS] == 4, "arrival, node-down, one start, one end: nothing starts at A"


def test_the_network_comes_before_an_arrival() -> None:
    # p0 enters at A and is at B at 1, when p1 enters there; both fit one at a time: p0 first.
    d = demand_of([0.5, 1.0], [2.0, 1.0], access=[A, B])
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), d, rules_for(ROUND_ROBIN), standing=ONLY_B, latency_s=1.0)
    to_the_end(twin)
    assert starts(twin) == [1.0, 3.0]


def test_a_slot_comes_before_the_events_of_its_instant() -> None:
    # At slot 1 (t = 1) B becomes the only one wanted; p0 arrives at 1 and goes to B.
    twin = twin_of(physics_for([1.0, 1.0], [Kind()]), demand_of([1.0], [1.0]))
    to_the_end(twin, At(1, lambda t: t.want(np.array(ONLY_B))), slot_s=1.0)
    assert twin.state.node.tolist() == [B]


def test_equal_ends_are_taken_in_order_of_nodes() -> None:
    # Room for one model each. Both are busy until 2, so a prompt of a third model is held; A ends first and
    # makes room.
    d = demand_of([0.0, 0.0, 1.0], [2.0, 2.0, 1.0], model=[0, 1, 2])
    physics = physics_for([1.0, 1.0], [Kind()] * 3, memory=[1.0, 1.0])
    twin = twin_of(physics, d, rules_for(LEAST_WORK, ON_DEMAND), standing=np.eye(2, 3, dtype=bool))
    to_the_end(twin)
    assert (twin.state.node.tolist(), starts(twin)[2]) == ([A, B, A], 3.0)


def test_equal_ends_on_a_node_are_taken_in_order_of_models() -> None:
    # Each has half of the node until 4; the held prompt of the third model takes the place of the first.
    d = demand_of([0.0, 0.0, 1.0], [2.0, 2.0, 1.0], model=[0, 1, 2])
    physics = physics_for([1.0], [Kind()] * 3, memory=[2.0])
    twin = twin_of(physics, d, rules_for(LEAST_WORK, ON_DEMAND), standing=[[True, True, False]])
    to_the_end(twin)
    assert ends(twin) == [4.0, 4.0, 6.0]
    assert rows(twin)[0] == (4.0, DRAIN, A, 0)
