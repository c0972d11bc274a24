"""The state of a simulated cluster as flat arrays; the kernels change it in place.

Units: s, GiB, KiB. Indices: n node, m model, p prompt. -1 stands for "none". Work counts at speed 1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from edgewise.policy.dispatch import FleetArrays
from edgewise.twin.demand import Bools, Floats, Ints

# Status of a prompt, in the order of domain.records.PromptStatus as far as the twin has them.
PENDING: Final = 0
COMPLETED: Final = 1
SHED: Final = 2

# Kinds of log rows.
LOAD: Final = 0
READY_ROW: Final = 1
DRAIN: Final = 2
UNLOAD: Final = 3
FAILED_ROW: Final = 4
NODE_DOWN_ROW: Final = 5
NODE_UP_ROW: Final = 6

# Places in State.tally.
NEXT_ARRIVAL: Final = 0
NEXT_HAPPENING: Final = 1
IN_TRANSIT: Final = 2
OPEN: Final = 3  # prompts that arrived and have no answer yet
HELD: Final = 4  # of these, held at their access node as nobody could take them
EVENTS: Final = 5  # arrivals + starts + completions + replica changes
LOG_ROWS: Final = 6
COUNTS: Final = 7

# How models come to nodes (Rules.placing).
FIXED: Final = 0  # as the goal says, which somebody else may change
ON_DEMAND: Final = (
    1  # a prompt may have its model loaded where that promises less delay; the least recently used goes
)
LOCAL: Final = 2  # prompts stay at their access node, which loads what they ask for


class Physics(NamedTuple):
    """What does not change in a run. K: longest batch curve."""

    memory: Floats  # [N]
    need: Floats  # [M]
    first_speed: Floats  # [N] before any slow-down
    slots: Ints  # [M] prompts that run at a time; 0: all
    curve: Floats  # [M, K] total speed with 1…K prompts running, relative to one
    load_mean: Floats  # [M]
    load_mu: Floats  # [M] of the log-normal load time
    load_sigma: Floats  # [M]
    left_scv: Floats  # [M] how uncertain a prompt's need is, see policy.work
    request_kib: Floats  # [M]
    response_kib: Floats  # [M]
    deadline_s: Floats  # [M]
    local_node: Ints  # [N, M] where LOCAL serves a prompt: its access node, or the nearest node that model fits on
    cores: float  # that all nodes share; inf: each has its own
    contention: bool  # transfers on a link wait for each other
    seed: int  # of load times and random choices


class Rules(NamedTuple):
    """The policy's part that is decided per prompt. knob: see dispatch.DRIFT (LOCAL: load times that somebody waits
    before a busy replica drains). eager: ON_DEMAND loads a replica when that promises less than this part of the
    delay to expect without. yielding: seconds by which a prompt lets later ones pass per second of its expected
    service (0: first come, first served). sample: most replicas a dispatch looks at."""

    dispatch: int
    placing: int
    knob: float
    eager: float
    yielding: float
    shedding: bool
    sample: int


class State(NamedTuple):
    """Everything that changes."""

    fleet: FleetArrays  # as the dispatcher sees it
    # nodes [N]
    speed: Floats  # true speed now
    free: Floats  # memory
    synced_s: Floats  # service is booked up to here
    busy_s: Floats  # with work, so far
    active_count: Ints
    active: Ints  # [N, M] models with running prompts, the first active_count of a row
    loading: Ints  # replicas being loaded
    next_model: Ints  # model of the node's next event; M + m: its load is ready
    stale_until_s: Floats
    seen_s: Floats  # since when its figures are stale
    tree: Floats  # [2·L] tournament of the nodes' next event times, see twin.queues
    # replicas [N, M]
    running: Ints
    waiting: Ints  # at the node
    transit: Ints  # on their way there
    run_root: Ints  # heap of running prompts by the service at which they end
    wait_root: Ints  # heap of waiting prompts in their order
    given_s: Floats  # service a prompt running since the replica last became busy was given
    rate: Floats  # service per second of each running prompt
    run_hint_s: Floats  # sum over running prompts of what they were expected to need
    run_given_s: Floats  # and of what they were given
    wait_hint_s: Floats  # waiting or on their way
    ready_at_s: Floats  # of a load under way; inf: none
    since_s: Floats  # the replica is in its state
    used_s: Floats  # a prompt last came or ended
    load_count: Ints  # loads so far: each draws its own time
    goal: Bools  # replicas wanted (FIXED)
    # models
    holders: Ints  # [M, N] nodes that hold the model (loading or ready), ascending
    holder_count: Ints  # [M]
    held_first: Ints  # [M] list of held prompts
    held_last: Ints  # [M]
    held_count: Ints  # [M]
    turn: Ints  # [M] prompts dispatched so far
    # prompts [P]
    node: Ints
    started_s: Floats
    finished_s: Floats  # the answer is back at the access node; inf: not yet
    status: Ints
    attempts: Ints
    cold: Bools  # waited for a load
    left: Ints  # heap links
    right: Ints
    key: Floats  # heap order
    next_held: Ints
    # prompts on the network, a binary heap
    transit_s: Floats  # [P]
    transit_prompt: Ints  # [P]
    link_free_s: Floats  # [N, N] with contention: when a transfer may begin; else [1, 1]
    # log of replica changes
    log_s: Floats  # [R]
    log_kind: Ints
    log_node: Ints
    log_model: Ints
    # scratch
    nobody: Bools  # [N] false
    ranks: Ints  # [N]
    picked: Ints  # [N]
    tally: Ints  # [COUNTS] see the constants above
    clock: (
        Floats  # [3] now; when the last prompt was answered; part of its speed a busy node gets of the shared cores
    )


def new_state(physics: Physics, fleet: FleetArrays, prompts: int, log_rows: int) -> State:
    """An empty cluster: nodes up, no replicas. `fleet` must be too; its arrays become part of the state."""
    nodes, models = fleet.work_s.shape
    leaves = 1 << max(0, (nodes - 1).bit_length())
    pair = (nodes, models)
    links = (nodes, nodes) if physics.contention else (1, 1)

    def ints(*shape: int, fill: int = 0) -> Ints:
        return np.full(shape, fill, np.int64)

    return State(
        fleet=fleet, speed=physics.first_speed.copy(), free=physics.memory.copy(), synced_s=np.zeros(nodes),
        busy_s=np.zeros(nodes), active_count=ints(nodes), active=ints(*pair), loading=ints(nodes),
        next_model=ints(nodes, fill=-1), stale_until_s=np.full(nodes, -np.inf),
        seen_s=np.zeros(nodes), tree=np.full(2 * leaves, np.inf),
        running=ints(*pair), waiting=ints(*pair), transit=ints(*pair), run_root=ints(*pair, fill=-1),
        wait_root=ints(*pair, fill=-1), given_s=np.zeros(pair), rate=np.zeros(pair), run_hint_s=np.zeros(pair),
        run_given_s=np.zeros(pair), wait_hint_s=np.zeros(pair), ready_at_s=np.full(pair, np.inf),
        since_s=np.zeros(pair), used_s=np.full(pair, -np.inf), load_count=ints(*pair), goal=np.zeros(pair, np.bool_),
        holders=ints(models, nodes), holder_count=ints(models), held_first=ints(models, fill=-1),
        held_last=ints(models, fill=-1), held_count=ints(models), turn=ints(models),
        node=ints(prompts, fill=-1), started_s=np.full(prompts, np.inf), finished_s=np.full(prompts, np.inf),
        status=ints(prompts), attempts=ints(prompts), cold=np.zeros(prompts, np.bool_), left=ints(prompts, fill=-1),
        right=ints(prompts, fill=-1), key=np.zeros(prompts), next_held=ints(prompts, fill=-1),
        transit_s=np.zeros(prompts), transit_prompt=ints(prompts), link_free_s=np.zeros(links),
        log_s=np.zeros(log_rows), log_kind=ints(log_rows), log_node=ints(log_rows), log_model=ints(log_rows),
        nobody=np.zeros(nodes, np.bool_), ranks=ints(nodes), picked=ints(nodes), tally=ints(COUNTS),
        clock=np.array([0.0, 0.0, 1.0]),
    )  # fmt: skip
