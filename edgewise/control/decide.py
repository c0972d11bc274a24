"""One control decision as plain functions, in the order in which the slot graph calls them.

propose → schedule → briefs → (one deployer per node) → rule. `decide` runs them all; graph and tests must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from edgewise.control.diff import diff, moves
from edgewise.control.floors import floored
from edgewise.control.gate import Ruling, judge
from edgewise.control.grouping import by_node
from edgewise.control.guard import project, violations
from edgewise.control.intake import URGENT, stale_cluster, stale_telemetry
from edgewise.control.intents import aims, pins_of
from edgewise.control.outlook import Outlook, lease, outlook
from edgewise.control.planning import first_fill, from_case, optimise, rehearse, schedule, worth
from edgewise.control.reweigh import SOURCE as SCHEDULER
from edgewise.control.reweigh import with_reweighting
from edgewise.control.state import Future, Job, NodeBrief, NodeOrder, Proposed
from edgewise.control.twin_error import from_settings, margin_for
from edgewise.control.vetoes import obey
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Candidate, ChangeOutcome, Decision, LlmUse, Mode, Rung, Verdict
from edgewise.domain.plan import Change, NodeSpeed, Plan, Source
from edgewise.settings import Settings

Arrange = Callable[[NodeBrief], NodeOrder]


@dataclass(frozen=True, slots=True)
class Same:
    """A proposal with the replicas of the challenger whose plan id is `of`."""

    proposed: Proposed
    of: str


@dataclass(frozen=True, slots=True)
class Pool:
    """What may become the plan. incumbent: mended where a node or a kind's last replica was lost (`restored` says
    so in words). hold: why nothing may be changed now, empty when it may. same: a language model's plans that are not
    weighed again, as another has their replicas: they get its score, so that their worth is on record."""

    incumbent: Proposed
    challengers: tuple[Proposed, ...] = ()
    restored: str = ""
    hold: str = ""
    same: tuple[Same, ...] = ()


def decide(job: Job, settings: Settings, arrange: Arrange, future: Future | None = None) -> Decision:
    """The whole decision; `arrange` is the deployment agent. Nothing is carried out. future: see state.Future."""
    pool = schedule_pool(job, propose(job, settings, future), settings)
    orders = [arrange(b) for b in briefs(job, pool, settings)]
    return rule(job, pool, orders, settings, future)


def propose(job: Job, settings: Settings, future: Future | None = None) -> Pool:
    """The incumbent, and as challengers the same replicas with fresh weights and each plan of the epoch result."""
    o = job.observation
    if job.incumbent is None:
        return _first(job, settings)
    if hold := stale_cluster(o, settings.stale_after_s):
        return Pool(_renewed(job.incumbent, job, settings), hold=hold)
    pins = pins_of(job.incumbent, job.intents, o)
    mended = project(job.incumbent, o, job.incumbent, settings, job.asked, pins=pins)
    restored = _restored(job, mended.plan)
    plan = _with_floors(mended.plan, job)
    if restored or plan.replicas != job.incumbent.replicas or plan.shares != mended.plan.shares:
        plan = replace(plan, id=_plan_id(job, "m"), source=Source.INCUMBENT, reason=restored or plan.reason)
    incumbent = replace(_renewed(plan, job, settings), note="; ".join(mended.notes))
    hold = stale_telemetry(o, settings.stale_after_s)
    if hold:
        return Pool(incumbent, (), restored, hold)
    same = Proposed("optimiser", replace(plan, id=_plan_id(job, "w")), note="same replicas, new weights and shares")
    offered = [same, *(job.result.plans if job.result else ()), *job.offers]
    # The planner in the background answers a slot later, which is long when demand has turned: the optimiser's part
    # of its answer, and a case that went well, are given at once.
    if o.trigger in URGENT and o.trigger != "epoch":
        found = optimise(o, job.track, plan, settings, _plan_id(job, "u"), job.asked, future, job.intents)
        offered.append(Proposed("optimiser", replace(found, reason=f"placement search after {o.trigger}")))
        if (case := worth(job.cases)) is not None:
            offered.append(from_case(case, o, settings))
    numbered = [
        replace(p, plan=replace(p.plan, id=_plan_id(job, f"{p.source[0]}{i}"))) if i else p
        for i, p in enumerate(offered)
    ]
    return Pool(incumbent, tuple(numbered), restored)


def schedule_pool(job: Job, pool: Pool, settings: Settings) -> Pool:
    """The pool with every challenger projected to the feasible set and given weights and shares. A challenger with
    the replicas of one before it adds nothing and is left out; a language model's is kept for the record."""
    if not pool.challengers:
        return pool
    ahead = outlook(job.observation, job.track, settings, intents=job.intents)
    pins, floors = pins_of(job.incumbent, job.intents, job.observation), aims(job.intents, job.observation).floors
    seen: dict[frozenset[object], Proposed] = {}
    ready: list[Proposed] = []
    same: list[Same] = []
    for p in pool.challengers:
        # The optimiser's weights are sound, and `schedule` makes new ones; others' may be worth a note.
        own = p.source == "optimiser"
        kept = (*pins, *p.plan.pins)
        feasible = project(p.plan, job.observation, job.incumbent, settings, job.asked, replicas_only=own, pins=kept)
        key = frozenset(feasible.plan.replicas)
        note = "; ".join(filter(None, (p.note, *feasible.notes)))
        if key in seen:
            if p.source == "llm":
                first = seen[key]
                words = "; ".join(filter(None, (note, f"same replicas as {first.plan.id} ({first.source})")))
                same.append(Same(replace(p, note=words), first.plan.id))
            continue
        seen[key] = p
        plan = schedule(feasible.plan, ahead, job.observation, settings, job.decision_id)
        plan = floored(plan, settings.floor_share, (*floors, *plan.floors))
        ready.append(replace(p, plan=plan, note=note))
    offered = with_reweighting(job, ready, _plan_id(job, "s"), settings)
    return replace(pool, challengers=offered, same=tuple(same))


def briefs(job: Job, pool: Pool, settings: Settings) -> tuple[NodeBrief, ...]:
    """One brief for each node and plan with replicas to change there, sorted."""
    o = job.observation
    alive = {n.id for n in o.alive}
    ready = {r.model for r in o.cluster.replicas if r.state is ReplicaState.READY and r.node in alive}
    facts = {n.node: n for n in reversed(o.cluster.nodes)}
    replicas, loads = by_node(o.cluster.replicas), by_node(o.telemetry.loads)
    need = tuple((m.id, m.memory_gib) for m in o.model_specs)
    load_s = tuple((m.id, m.load_s) for m in o.model_specs)
    alone = tuple(m.id for m in o.model_specs if m.id not in ready)
    out: list[NodeBrief] = []
    for p in (pool.incumbent, *pool.challengers):
        changes = by_node(moves(p.plan, o.cluster))
        for node in sorted(changes):
            fact = facts[node]
            out.append(
                NodeBrief(
                    plan_id=p.plan.id,
                    node=node,
                    changes=changes[node],
                    replicas=replicas.get(node, ()),
                    loads=loads.get(node, ()),
                    budget_gib=fact.memory_gib,
                    need_gib=need,
                    load_s=load_s,
                    alone=alone,
                    at_s=o.at_s,
                    age_s=max(0.0, o.at_s - o.cluster.at_s) + fact.age_s,
                    stale_after_s=settings.stale_after_s,
                )
            )
    return tuple(out)


def rule(
    job: Job, pool: Pool, orders: Sequence[NodeOrder], settings: Settings, future: Future | None = None
) -> Decision:
    """The gate's word: vetoes obeyed, plans compared on fresh draws, the decision put together."""
    if pool.hold and not pool.restored:
        return hold(job, pool.hold, settings, pool.incumbent.plan)
    if pool.hold or job.incumbent is None:
        return _only(job, pool, orders)
    ahead = outlook(job.observation, job.track, settings, future=future, intents=job.intents)
    challengers = tuple(obey(p, orders, job, ahead, settings) for p in pool.challengers)
    ruling = judge(
        pool.incumbent,
        challengers,
        rehearse(ahead, job.observation, settings, settings.gate_draws, job.decision_id, "gate"),
        required_gain(ahead, settings),
        lambda plan: violations(plan, job.observation, settings),
        pool.restored,
        job.trust,
    )
    return _decision(job, replace(ruling, candidates=(*ruling.candidates, *recorded(pool.same, ruling))), orders)


def recorded(same: Sequence[Same], ruling: Ruling) -> tuple[Candidate, ...]:
    """Candidates for plans that were not weighed on their own: another's plan and score under their own id."""
    by_id = {c.plan.id: c for c in ruling.candidates}
    return tuple(
        Candidate(s.proposed.source, replace(by_id[s.of].plan, id=s.proposed.plan.id), by_id[s.of].score,
                  s.proposed.note)
        for s in same
        if s.of in by_id
    )  # fmt: skip


def required_gain(ahead: Outlook, settings: Settings) -> float:
    """The relative gain the gate asks for beyond a standard error: what the twin was measured to be off by at the
    load that is expected, where that is more than gate_margin."""
    measured = from_settings(settings.twin_error)
    if measured is None:
        return settings.gate_margin
    p = ahead.problem
    load = float((ahead.rates * p.service).sum()) / max(p.capacity, 1e-9)
    return max(settings.gate_margin, margin_for(load, measured))


def hold(job: Job, reason: str, settings: Settings, plan: Plan | None = None) -> Decision:
    """The decision to go on by the last safe plan (an empty one when there is none), with its lease renewed."""
    made = lease(job.observation, settings)
    kept = plan or job.incumbent or Plan(_plan_id(job, "x"), Source.INCUMBENT, *made, replicas=())
    kept = replace(kept, made_at_s=made[0], expires_s=made[1])
    verdict = Verdict(kept.id, "", 0.0, settings.gate_margin, False, f"held: {reason}")
    return replace(_bare(job, kept, verdict, ()), rung=Rung.LAST_GOOD)


def asked(job: Job, decision: Decision) -> int:
    """Loads and drops the decision asks for beyond its incumbent, as the thrash budget counts them: replicas on lost
    nodes and the first fill do not count."""
    if job.incumbent is None:
        return 0
    alive = {n.id for n in job.observation.alive}
    before = {r for r in job.incumbent.replicas if r.node in alive}
    return len(before ^ set(decision.plan.replicas))


def order_of(decision: Decision, orders: Iterable[NodeOrder]) -> tuple[Change, ...]:
    """The deployers' order for the chosen plan, node after node."""
    mine = sorted((x for x in orders if x.plan_id == decision.plan.id), key=lambda x: x.node)
    return tuple(c for x in mine for c in x.order)


def _first(job: Job, settings: Settings) -> Pool:
    o = job.observation
    plan_id = _plan_id(job, "f")
    if hold := stale_cluster(o, settings.stale_after_s):
        empty = Plan(plan_id, Source.OPTIMISER, *lease(o, settings), replicas=())
        return Pool(Proposed("optimiser", empty), hold=hold)
    filled = project(first_fill(o, job.track, settings, plan_id, job.intents), o, None, settings,
                     pins=pins_of(None, job.intents, o))  # fmt: skip
    ahead = outlook(o, job.track, settings, free=True, intents=job.intents)
    plan = schedule(filled.plan, ahead, o, settings, job.decision_id)
    plan = floored(plan, settings.floor_share, aims(job.intents, o).floors)
    return Pool(Proposed("optimiser", replace(plan, reason="first fill"), note="; ".join(filled.notes)))


def _renewed(plan: Plan, job: Job, settings: Settings) -> Proposed:
    made = lease(job.observation, settings)
    return Proposed("incumbent", replace(plan, made_at_s=made[0], expires_s=made[1]))


def _with_floors(plan: Plan, job: Job) -> Plan:
    """The plan with the floors of intents and its own: what an operator or a plan is sure of waits for no gate."""
    return floored(plan, 0.0, (*aims(job.intents, job.observation).floors, *plan.floors))


def _restored(job: Job, mended: Plan) -> str:
    assert job.incumbent is not None
    alive = {n.id for n in job.observation.alive}
    lost = sorted({r.node for r in job.incumbent.replicas if r.node not in alive})
    stood = {r.model for r in job.incumbent.replicas if r.node in alive}
    added = sorted({f"{r.model} on {r.node}" for r in mended.replicas if r.model not in stood})
    words = [f"{', '.join(lost)} lost"] if lost else []
    words += [f"{', '.join(added)} added"] if added else []
    return "; ".join(words)


def _plan_id(job: Job, suffix: str) -> str:
    return f"p-{job.decision_id.removeprefix('d-')}-{suffix}"


def _only(job: Job, pool: Pool, orders: Sequence[NodeOrder]) -> Decision:
    """One plan and nothing to compare it with: the first fill, or a restored incumbent on stale telemetry."""
    plan = pool.incumbent.plan
    reason = f"restores service: {pool.restored}; {pool.hold}" if pool.restored else "first plan"
    verdict = Verdict(plan.id, "", 0.0, 0.0, True, reason)
    if pool.hold and not pool.restored:
        verdict = replace(verdict, accepted=False, reason=f"held: {pool.hold}")
    return _with_changes(_bare(job, plan, verdict, ()), job, orders)


def _decision(job: Job, ruling: Ruling, orders: Sequence[NodeOrder]) -> Decision:
    bare = _bare(job, ruling.chosen.plan, ruling.verdict, ruling.candidates)
    if ruling.chosen.source in ("llm", SCHEDULER):
        bare = replace(bare, rung=ruling.chosen.rung)
    return _with_changes(bare, job, orders)


def _bare(job: Job, plan: Plan, verdict: Verdict, candidates: tuple[Candidate, ...]) -> Decision:
    o, result = job.observation, job.result
    plan = replace(plan, slower=tuple(NodeSpeed(x.node, x.times) for x in o.corrections if x.node))
    return Decision(
        id=job.decision_id,
        slot=o.slot,
        epoch=o.epoch,
        at_s=o.at_s,
        rung=Rung.OPTIMISER,
        mode=job.mode,
        incumbent=job.incumbent.id if job.incumbent else "",
        chosen=plan.id,
        runner_up=verdict.runner_up,
        plan=plan,
        verdict=verdict,
        candidates=candidates,
        recalled=tuple(dict.fromkeys([*(c.case.id for c in job.cases), *(result.recalled if result else ())])),
        llm=(result.llm if result and job.result_new else LlmUse()) + job.beside,
        epoch_result=result.id if result else "",
        trigger=o.trigger,
        notes=(
            *o.notes,
            *job.notes,
            *(result.notes if result and job.result_new else ()),
            *_unweighed(job, candidates),
        ),
        llm_rests=job.llm_rests,
    )


def _unweighed(job: Job, candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    """A word on a language model's new plan that nothing was compared with."""
    if candidates or job.result is None or not job.result_new:
        return ()
    theirs = [p.plan.id for p in job.result.plans if p.source == "llm"]
    return (f"not weighed now: the language model's plan {theirs[0]}",) if theirs else ()


def _with_changes(decision: Decision, job: Job, orders: Sequence[NodeOrder]) -> Decision:
    status = "pending" if job.mode is Mode.ACTIVE else "skipped"
    why = "" if job.mode is Mode.ACTIVE else f"mode {job.mode.value}"
    changes = diff(decision.plan, job.observation.cluster, job.incumbent)
    refused = [
        ChangeOutcome(v.change, "refused", v.reason)
        for x in orders
        if x.plan_id == decision.plan.id
        for v in x.vetoes
        if v.change not in changes
    ]
    failed = tuple(x.note for x in orders if x.plan_id == decision.plan.id and x.note)
    outcomes = tuple(ChangeOutcome(c, status, why) for c in changes)
    return replace(decision, changes=(*outcomes, *refused), notes=(*decision.notes, *failed))
