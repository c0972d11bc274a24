"""One run of a policy on a scenario in the twin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from edgewise.control.regret import Ledger, entries
from edgewise.domain.measures import CODES, Floats, Ints, PromptColumns, counted_latencies, figures
from edgewise.domain.records import PromptStatus
from edgewise.twin.arrays import COMPLETED, DRAIN, EVENTS, LOAD, LOG_ROWS, READY_ROW, SHED, UNLOAD
from edgewise.twin.run import Ended, Twin, run
from evals.hindsight import Books
from evals.policies import TABLE, Prepared, policy_of
from evals.scenario import Scenario
from evals.setting import Setting, setting
from evals.tuning import knob_for
from evals.twin_world import ideal_s

# A run that has not emptied by then is given up, and what is open counts as lost: a policy left a model without a
# replica. Multiples of the duration, so that an overload of any kind can drain.
GIVE_UP = 50.0
STATUS = np.array([CODES[PromptStatus.PENDING], CODES[PromptStatus.COMPLETED], CODES[PromptStatus.SHED]])
POLICIES: tuple[str, ...] = tuple(TABLE)


class PromptTable(NamedTuple):
    """P prompts. finished_s: inf without an answer; latency_s: as counted in every mean; status: index into
    domain.measures.STATUSES; node: -1 when never sent."""

    arrived_s: Floats
    started_s: Floats
    finished_s: Floats
    latency_s: Floats
    service_s: Floats
    ideal_s: Floats
    model: Ints
    access: Ints
    node: Ints
    status: Ints
    attempts: Ints


class ReplicaTable(NamedTuple):
    """Changes of replicas and nodes, ascending. kind: 0 load, 1 ready, 2 drain, 3 unload, 4 failed, 5 node-down,
    6 node-up (model -1)."""

    at_s: Floats
    kind: Ints
    node: Ints
    model: Ints


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run gave. end_s: when the last answer was back, run seconds; knob: the value a tuned policy ran with;
    events: of the twin; notes: what a reader must know of where the prompts came from. hindsight: the product's
    ledger, where it kept one."""

    scenario: Scenario
    policy: str
    seed: int
    figures: dict[str, Any]
    prompts: PromptTable
    replicas: ReplicaTable
    end_s: float
    knob: float
    events: int
    notes: tuple[str, ...]
    hindsight: Ledger = ()


def simulate(scenario: Scenario, policy: str, seed: int | None = None) -> Simulated:
    """Runs `policy` on `scenario`. Raises BadInput for an unknown policy, or a trace that cannot be read."""
    chosen = policy_of(policy)
    where = setting(scenario, scenario.seed if seed is None else seed)
    runs = [run_policy(where, policy, knob_for(chosen, scenario))]
    for other in chosen.alternatives:
        runs.append(run_policy(where, other, knob_for(policy_of(other), scenario)))
    best = min(runs, key=lambda run: run.figures["mean_latency_s"])
    return replace(best, policy=policy)


def run_policy(where: Setting, policy: str, knob: float) -> Simulated:
    """Runs a policy with its knob in a setting."""
    return run_prepared(where, policy, policy_of(policy).prepare(where, knob), knob)


def run_prepared(where: Setting, policy: str, prepared: Prepared, knob: float = 1.0) -> Simulated:
    """Runs what a policy is in a setting; `policy` is its name in the result."""
    twin = where.twin(prepared.rules)
    scenario = where.scenario
    ended = run(twin, prepared.controller, scenario.slot_s, GIVE_UP * scenario.duration_s)
    made = _result(where, policy, knob, twin, ended, len(getattr(prepared.controller, "decisions", ())))
    books = getattr(prepared.controller, "books", None)
    return made if books is None else replace(made, hindsight=ledger_of(books))


def ledger_of(books: Books) -> Ledger:
    """All lines of a run; the controller itself forgets old ones."""
    return tuple(line for decision, seen in books.found for line in entries(decision, seen))


def _result(where: Setting, policy: str, knob: float, twin: Twin, ended: Ended, decisions: int) -> Simulated:
    s, scenario, d = twin.state, where.scenario, where.arrivals.demand
    models = scenario.models
    fastest = max(n.speed for n in scenario.nodes)
    columns = PromptColumns(
        models=tuple(m.id for m in models),
        model=d.model,
        status=STATUS[s.status],
        arrived_s=d.at_s,
        finished_s=s.finished_s,
        deadline_s=np.array([m.deadline_s for m in models])[d.model],
        ideal_s=d.service_s / fastest + ideal_s(scenario, where.world)[d.model],
    )
    end_s = max(ended.at_s, scenario.duration_s)
    rows = int(s.tally[LOG_ROWS])
    log = ReplicaTable(s.log_s[:rows], s.log_kind[:rows], s.log_node[:rows], s.log_model[:rows])
    found = figures(columns, end_s)
    found["per_model"] = dict(sorted(found["per_model"].items()))
    found |= _cluster_figures(where, twin, log, end_s)
    found |= {"slots": ended.slots, "decisions": decisions}
    table = PromptTable(
        d.at_s, s.started_s, s.finished_s, counted_latencies(columns, end_s), d.service_s, columns.ideal_s,
        d.model, d.access, s.node,
        columns.status, s.attempts,
    )  # fmt: skip
    return Simulated(
        scenario, policy, where.seed, found, table, log, end_s, knob, int(s.tally[EVENTS]), where.arrivals.notes
    )


def _cluster_figures(where: Setting, twin: Twin, log: ReplicaTable, end_s: float) -> dict[str, Any]:
    """Churn, activations, drains, energy: DESIGN's measures over the run, its draining included."""
    scenario, s = where.scenario, twin.state
    nodes = where.world.nodes
    moves = int(((log.kind == LOAD) | (log.kind == UNLOAD)).sum())
    later = log.at_s >= scenario.slot_s
    idle_w, extra_w = np.array([n.idle_w for n in nodes]), np.array([n.busy_w - n.idle_w for n in nodes])
    joules = float((idle_w * end_s + extra_w * s.busy_s).sum())
    done = int((s.status == COMPLETED).sum() + (s.status == SHED).sum())
    return {
        "churn": moves / (len(nodes) * end_s / 3600),
        "activations": int(((log.kind == READY_ROW) & later).sum()),
        "drains": int(((log.kind == DRAIN) & later).sum()),
        "energy_j_per_prompt": joules / done if done else None,
    }
