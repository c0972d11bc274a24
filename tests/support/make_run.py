"""Writes a generated run directory from the real record types: a small queueing world, not a recording.

Prompts arrive at random, wait first come first served at the least busy ready replica, and take their service
time; plans change at each epoch, one node dies and returns, one load fails. So every figure is consistent with
the rows, as in a real run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.codec import to_plain
from edgewise.domain.decision import (
    Candidate,
    ChangeOutcome,
    Decision,
    LlmUse,
    Mode,
    Realised,
    Rung,
    Score,
    Verdict,
)
from edgewise.domain.measures import prompt_figures
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.plan import ANY, Change, ChangeKind, Plan, ReplicaGoal, Role, Route, Share, Source
from edgewise.domain.records import PromptRow, PromptStatus, ReplicaRow
from edgewise.domain.world import World
from tools.rundir import DECISIONS, EVENTS, SCENARIO, SUMMARY, LineWriter, decision_row, write_json

SLOT_S, EPOCH_SLOTS = 4.0, 5
DEAD_NODE, DOWN_S, UP_S = "edge-6", 38.0, 52.0

WORLD = World(
    nodes=tuple(NodeSpec(f"edge-{i + 1}", gib) for i, gib in enumerate((6, 6, 8, 6, 6, 6, 5))),
    models=(
        ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.25, load_s=1.5, deadline_s=10),
        ModelSpec("gpt2-large", Task.TEXT_GENERATION, 3.5, 0.8, load_s=3.0, deadline_s=20),
        ModelSpec("blip", Task.IMAGE_TO_TEXT, 2.0, 0.5, load_s=2.0, deadline_s=15),
        ModelSpec("stable-diffusion", Task.TEXT_TO_IMAGE, 5.0, 1.6, load_s=4.0, deadline_s=40),
    ),
)

# The goal of each epoch: what stands on edge-1 … edge-7. Popularity shifts from text to images in epoch 2.
PLACEMENTS = (
    (("gpt2",), ("gpt2-large",), ("stable-diffusion",), ("gpt2",), ("blip",), ("gpt2-large",), ("gpt2",)),
    (("gpt2", "blip"), ("gpt2-large",), ("stable-diffusion",), ("gpt2",), ("blip",), ("gpt2-large",), ("gpt2",)),
    (("gpt2", "blip"), ("gpt2-large",), ("stable-diffusion",), ("stable-diffusion",), ("blip",), (), ("gpt2",)),
    (
        ("gpt2", "blip"),
        ("stable-diffusion",),
        ("stable-diffusion",),
        ("stable-diffusion",),
        ("blip",),
        ("gpt2-large",),
        ("gpt2",),
    ),
)
RATES_PER_S = ((4.5, 1.3, 1.2, 0.35), (4.5, 1.3, 1.5, 0.4), (2.2, 0.8, 2.2, 0.75), (2.2, 0.8, 2.2, 0.9))


@dataclass
class Up:
    """A time in which a replica takes prompts, and until when it is busy."""

    node: str
    model: str
    from_s: float
    until_s: float = float("inf")
    busy_until_s: float = 0.0


@dataclass
class Script:
    rows: list[tuple[float, dict[str, object]]] = field(default_factory=list)  # events.jsonl by time of writing
    ups: list[Up] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def step(self, kind: str, at_s: float, node: str, model: str = "", decision: str = "", detail: str = "") -> None:
        row = ReplicaRow(kind, round(at_s, 3), node, model, decision or None, detail)
        self.rows.append((at_s, to_plain(row)))


def make_run(run: Path, epochs: int = 4, seed: int = 1, finished: bool = True) -> Path:
    """A run of `epochs` (1..4) epochs of five 4 s slots; finished: with its summary.json."""
    rng = random.Random(seed)
    script = Script()
    for epoch in range(epochs):
        _place(script, epoch, rng)
    end_s = epochs * EPOCH_SLOTS * SLOT_S
    prompts = [row for epoch in range(epochs) for row in _prompts(script, epoch, end_s, rng)]
    for row in prompts:
        script.rows.append((end_s if row.finished_s is None else row.finished_s, to_plain(row)))
    _decide(script, epochs, prompts, rng)
    _write(run, script, prompts, end_s, finished)
    return run


def _place(script: Script, epoch: int, rng: random.Random) -> None:
    """Replica rows and times up that carry out the epoch's placement, 0.3 s after its first slot began."""
    at_s = epoch * EPOCH_SLOTS * SLOT_S + 0.3
    decision = _decision_id(epoch * EPOCH_SLOTS)
    standing = {(u.node, u.model): u for u in script.ups if u.until_s > at_s}
    wanted = {(g.node, g.model) for g in goals(epoch)}
    for node, model in sorted(standing.keys() - wanted):
        standing[node, model].until_s = at_s
        script.step("drain", at_s, node, model, decision)
        script.step("unload", at_s + 1.2, node, model, decision)
    for node, model in sorted(wanted - standing.keys()):
        begin_s = at_s + 1.5 if epoch else at_s
        script.step("load", begin_s, node, model, decision)
        took_s = WORLD.model(model).load_s * rng.uniform(0.8, 1.3)
        if (epoch, node) == (3, "edge-2"):
            script.step("failed", begin_s + took_s, node, model, decision, "warm-up ended with an error")
            continue
        script.step("ready", begin_s + took_s, node, model, decision)
        script.ups.append(Up(node, model, begin_s + took_s))
    if epoch * EPOCH_SLOTS * SLOT_S <= DOWN_S < (epoch + 1) * EPOCH_SLOTS * SLOT_S:
        script.step("node-down", DOWN_S, DEAD_NODE, detail="no answer for 2 s")
        script.step("node-up", UP_S, DEAD_NODE)
        for up in script.ups:
            if up.node == DEAD_NODE:
                up.until_s = min(up.until_s, DOWN_S)


def goals(epoch: int) -> tuple[ReplicaGoal, ...]:
    return tuple(
        ReplicaGoal(n.id, m) for n, models in zip(WORLD.nodes, PLACEMENTS[epoch], strict=True) for m in models
    )


def _prompts(script: Script, epoch: int, end_s: float, rng: random.Random) -> list[PromptRow]:
    begin_s = epoch * EPOCH_SLOTS * SLOT_S
    arrivals = []
    for spec, rate in zip(WORLD.models, RATES_PER_S[epoch], strict=True):
        t = begin_s + rng.expovariate(rate)
        while t < begin_s + EPOCH_SLOTS * SLOT_S:
            arrivals.append((t, spec))
            t += rng.expovariate(rate)
    return [_serve(script, t, spec, i, epoch, end_s, rng) for i, (t, spec) in enumerate(sorted(arrivals, key=_first))]


def _first(pair: tuple[float, ModelSpec]) -> float:
    return pair[0]


def _serve(
    script: Script, at_s: float, spec: ModelSpec, index: int, epoch: int, end_s: float, rng: random.Random
) -> PromptRow:
    ups = [u for u in script.ups if u.model == spec.id and u.until_s > max(at_s, u.busy_until_s)]
    best = min(ups, key=lambda u: max(at_s, u.from_s, u.busy_until_s), default=None)
    service_s = spec.mean_service_s * rng.lognormvariate(-0.1, 0.45)
    started_s = None if best is None else max(at_s, best.from_s, best.busy_until_s) + 0.004
    finished_s = None if started_s is None else started_s + service_s
    status = PromptStatus.COMPLETED
    if best is not None and finished_s is not None:
        best.busy_until_s = finished_s
    if finished_s is None or finished_s > end_s:
        status, finished_s = PromptStatus.PENDING, None
        started_s = started_s if started_s is not None and started_s < end_s else None
    return PromptRow(
        id=f"p-{epoch}-{index:04d}",
        model=spec.id,
        access_node=rng.choice(WORLD.nodes).id,
        node=best.node if best else None,
        arrived_s=round(at_s, 4),
        started_s=started_s,
        finished_s=finished_s,
        status=status,
        decision=_decision_id(int(at_s // SLOT_S)),
        attempts=int(best is not None),
        deadline_s=spec.deadline_s,
        ideal_s=WORLD.ideal_s(spec, spec.mean_service_s),
        cold_start=best is not None and best.from_s > at_s,
    )


def _decision_id(slot: int) -> str:
    return f"d-{slot:04d}"


def _plan(slot: int, epoch: int, rng: random.Random) -> Plan:
    made_s = slot * SLOT_S
    wanted = goals(epoch)
    routes = []
    for spec in WORLD.models:
        nodes = [g.node for g in wanted if g.model == spec.id]
        raw = [rng.uniform(0.5, 1.5) for _ in nodes]
        routes += [Route(ANY, spec.id, n, round(w / sum(raw), 3)) for n, w in zip(nodes, raw, strict=True)]
    return Plan(
        id=f"plan-{slot:04d}",
        source=Source.OPTIMISER,
        made_at_s=made_s,
        expires_s=made_s + 4 * SLOT_S,
        replicas=wanted,
        routes=tuple(routes),
        shares=tuple(Share(g.node, g.model, round(rng.uniform(0.3, 0.7), 2)) for g in wanted if g.node == "edge-1"),
        roles=(Role("edge-3", "image"), Role("edge-1", "mixed")),
        reason="images gained popularity" if epoch >= 2 else "text prevails",
    )


def _decide(script: Script, epochs: int, prompts: list[PromptRow], rng: random.Random) -> None:
    plan: Plan | None = None
    for slot in range(epochs * EPOCH_SLOTS):
        epoch = slot // EPOCH_SLOTS
        fresh = _plan(slot, epoch, rng)
        decision = _decision(slot, epoch, fresh, plan, prompts, script, rng)
        script.decisions.append(decision)
        plan = decision.plan


def _decision(
    slot: int,
    epoch: int,
    fresh: Plan,
    incumbent: Plan | None,
    prompts: list[PromptRow],
    script: Script,
    rng: random.Random,
) -> Decision:
    turn = slot % EPOCH_SLOTS == 0
    gain = rng.uniform(0.06, 0.22) if turn else rng.uniform(-0.04, 0.1)
    accepted = incumbent is None or gain > 0.03
    base = 1.9 + 0.3 * rng.random()
    old = incumbent or fresh
    pool = [_candidate("optimiser", fresh, base * (1 - gain)), _candidate("incumbent", old, base)]
    if slot == 10:
        pool.insert(
            1,
            _candidate(
                "llm",
                replace(fresh, id=f"{fresh.id}-llm", source=Source.LLM),
                base * (1 - gain) * 1.04,
                "2 replicas dropped: edge-5 has no room",
            ),
        )
    chosen, other = (pool[0], pool[1]) if accepted else (pool[-1], pool[0])
    seen = [p for p in prompts if slot * SLOT_S <= p.arrived_s < (slot + 2) * SLOT_S and p.finished_s is not None]
    waits = [(p.finished_s or 0.0) - p.arrived_s for p in seen]
    says = "it wins by more than the margin" if accepted else "the gain is below the margin, the plan in force stays"
    return Decision(
        id=_decision_id(slot),
        slot=slot,
        epoch=epoch,
        at_s=slot * SLOT_S,
        rung=Rung.OPTIMISER,
        mode=Mode.ACTIVE,
        incumbent=old.id if incumbent else "",
        chosen=chosen.plan.id,
        runner_up=other.plan.id,
        plan=chosen.plan,
        verdict=Verdict(
            chosen.source,
            other.source,
            abs(gain),
            0.03,
            accepted,
            f"{chosen.source} {chosen.score.mean:.2f} against {other.source} {other.score.mean:.2f}: {says}",
        ),
        candidates=tuple(pool),
        recalled=("case-0003", "case-0007") if slot > 9 else (),
        changes=_changes(script, slot, accepted),
        llm=LlmUse(calls=1, tokens=612, seconds=2.4, repairs=1) if slot == 10 else LlmUse(),
        trigger="demand-shift" if slot == 10 else "epoch" if turn else "slot",
        notes=("figures of edge-6 are 17 s old",) if slot == 10 else (),
        realised=Realised(2, len(seen), sum(waits) / len(waits), 1.8 + rng.random() / 3) if waits else None,
    )


def _candidate(source: str, plan: Plan, mean: float, note: str = "") -> Candidate:
    return Candidate(source, plan, Score(mean, mean * 0.95, mean * 1.05), note)


def _changes(script: Script, slot: int, accepted: bool) -> tuple[ChangeOutcome, ...]:
    """What the script carries out in this decision's name, and its new weights."""
    steps = [r for _, r in script.rows if r.get("decision") == _decision_id(slot) and "arrived_s" not in r]
    failed = {(r["node"], r["model"]) for r in steps if r["kind"] == "failed"}
    changes = []
    for row in steps:
        if row["kind"] in ("load", "drain", "unload"):
            change = Change(str(row["node"]), str(row["model"]), ChangeKind(str(row["kind"])))
            bad = row["kind"] == "load" and (row["node"], row["model"]) in failed
            changes.append(ChangeOutcome(change, "refused" if bad else "done", "warm-up failed" if bad else ""))
    if accepted:
        changes.append(ChangeOutcome(Change("edge-1", "gpt2", ChangeKind.WEIGHT, "0.31 → 0.42"), "done"))
        changes.append(ChangeOutcome(Change("edge-1", "gpt2", ChangeKind.SHARE, "0.50 → 0.62"), "done"))
    return tuple(changes)


def _write(run: Path, script: Script, prompts: list[PromptRow], end_s: float, finished: bool) -> None:
    run.mkdir(parents=True, exist_ok=True)
    scenario = {
        "name": "generated",
        "slot_s": SLOT_S,
        "epoch_slots": EPOCH_SLOTS,
        "duration_s": end_s,
        "nodes": [{"id": n.id, "memory_gib": n.memory_gib, "speed": n.speed} for n in WORLD.nodes],
        "models": [
            {"id": m.id, "task": m.task.value, "memory_gib": m.memory_gib, "deadline_s": m.deadline_s}
            for m in WORLD.models
        ],
    }
    (run / SCENARIO).write_text(yaml.safe_dump(scenario, sort_keys=False), encoding="utf-8")
    events, decisions = LineWriter(run / EVENTS), LineWriter(run / DECISIONS)
    for _, row in sorted(script.rows, key=lambda pair: pair[0]):
        events.append(row)
    for decision in script.decisions:
        decisions.append(decision_row(decision))
    events.close()
    decisions.close()
    if finished:
        figures = prompt_figures(prompts, end_s)
        write_json(run / SUMMARY, {**figures, "slots": len(script.decisions), "decisions": len(script.decisions)})
