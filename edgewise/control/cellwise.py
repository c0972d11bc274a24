"""Large clusters in cells: views of one cell each, the search in those that need it, rollouts of those that change.

A cell is an observation of its own nodes with its part of the demand, split as water-filled routing splits it over
the placement; so everything that works on a small cluster works on a cell. A plan's objective is the mean over cells
by their part of the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.control.forecast import Forecast
from edgewise.control.outlook import Outlook
from edgewise.control.seeds import generator
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.optimise.cells import cell_of, cells_for, parts
from edgewise.optimise.estimate import Evaluate
from edgewise.optimise.placement import Limits, search
from edgewise.optimise.problem import Bools, Floats, Ints, problem
from edgewise.optimise.weights import levelled
from edgewise.settings import Settings

# Cells searched in a decision, with so many steps each; draws the estimate uses there.
SEARCHED, STEPS, DRAWS = 3, 8, 4
# Cells rolled out to compare plans; events all rollouts of a comparison of PLANS plans may have.
ROLLED, PLANS, EVENTS = 3, 3, 1.0e6
LEAST_ROLLOUTS = 4


@dataclass(frozen=True)
class Cell:
    """rows: the cell's live nodes among those of the whole problem. weight: its part of all prompts."""

    index: int
    rows: Ints
    observation: Observation
    ahead: Outlook
    weight: float


def is_large(observation: Observation) -> bool:
    return cells_for(len(observation.node_specs)) > 1


def cells(observation: Observation, ahead: Outlook, here: Bools) -> list[Cell]:
    """The cells of a cluster, demand split for the placement `here` [N, M] of live nodes."""
    p = ahead.problem
    many = cells_for(len(observation.node_specs))
    named = dict(zip([n.id for n in observation.node_specs], cell_of(observation.node_specs).tolist(), strict=True))
    cell = np.array([named[n] for n in p.nodes], np.int64)
    access = np.array([named.get(a, 0) for a in p.access], np.int64)
    put, _ = levelled(p, here, ahead.rates, 3)
    part = parts(put, cell, many)
    total = max(float(ahead.rates.sum()), 1e-12)
    out = []
    for c, seen in enumerate(_observations(observation, named, part)):
        rows = np.nonzero(cell == c)[0]
        if rows.size:
            sub = _outlook(seen, ahead, part[c], np.nonzero(access == c)[0])
            out.append(Cell(c, rows, seen, sub, float((ahead.rates * part[c]).sum()) / total))
    return out


def improve(
    found: Sequence[Cell], here: Bools, base: Bools, fixed: Bools, most: int, settings: Settings, name: str
) -> Bools:
    """The placement after local search in the cells that need it most: those predicted to do worst by their weight.
    most: loads and drops from `base` that all may use together."""
    out, left = here.copy(), most - int((here != base).sum())
    scores = [c.ahead.score(DRAWS, name, "select", str(c.index)) for c in found]
    need = [-c.weight * (float(s([here[c.rows]])[0]) - 1) for c, s in zip(found, scores, strict=True)]
    for i in np.argsort(need, kind="stable")[:SEARCHED]:
        c = found[i]
        limits = Limits(here[c.rows], (fixed & here)[c.rows], min(left, settings.max_changes_per_epoch))
        steps, rng = min(STEPS, settings.search_iterations), generator(name, "steps", str(c.index))
        best = search(c.ahead.problem, here[c.rows], limits, scores[i], steps, rng)
        left -= int((best.placement != here[c.rows]).sum())
        out[c.rows] = best.placement
    return out


def rehearse(found: Sequence[Cell], settings: Settings, count: int, *names: str) -> Evaluate:
    """Objectives[plan, draw] of plans for the whole cluster: rollouts in the cells in which they differ most from the
    first of them, the estimate in the others."""
    events = max(1.0, max(c.ahead.rollout_events for c in found))
    rolled = min(ROLLED, len(found))
    draws = int(min(count, max(LEAST_ROLLOUTS, EVENTS / (events * rolled * PLANS))))

    def evaluate(plans: Sequence[Plan]) -> Floats:
        total = np.zeros((len(plans), draws))
        pieces = [_pieces(plan, found) for plan in plans]
        differ = [len(_union(pieces, i)) for i in range(len(found))]
        chosen = set(np.argsort([-d - c.weight for d, c in zip(differ, found, strict=True)], kind="stable")[:rolled])
        for i, c in enumerate(found):
            mine = [piece[i] for piece in pieces]
            seed = (*names, str(c.index))
            if i in chosen:
                judge = c.ahead.rehearse(c.observation, settings, draws, *seed)
            else:
                judge = c.ahead.evaluate(settings, *seed, count=draws)
                mine = mine if differ[i] else mine[:1]
            scores = judge(mine)
            total += c.weight * (scores if scores.shape[1] == draws else scores[:, :draws])
        return total

    return evaluate


def _union(pieces: Sequence[Sequence[Plan]], i: int) -> frozenset[object]:
    first = frozenset(pieces[0][i].replicas)
    return frozenset().union(*(first ^ frozenset(p[i].replicas) for p in pieces[1:]))


def _pieces(plan: Plan, found: Sequence[Cell]) -> list[Plan]:
    """The plan's part in each cell."""
    at = {n.id: i for i, c in enumerate(found) for n in c.observation.node_specs}
    replicas: list[list[object]] = [[] for _ in found]
    routes: list[list[object]] = [[] for _ in found]
    shares: list[list[object]] = [[] for _ in found]
    for items, groups in ((plan.replicas, replicas), (plan.routes, routes), (plan.shares, shares)):
        for item in items:
            if (i := at.get(item.node)) is not None:
                groups[i].append(item)
    return [
        replace(plan, replicas=tuple(a), routes=tuple(b), shares=tuple(c), roles=())  # type: ignore[arg-type]
        for a, b, c in zip(replicas, routes, shares, strict=True)
    ]


def _observations(o: Observation, named: dict[str, int], part: Floats) -> list[Observation]:
    """What would be seen of each cell alone. What waits at the gateway is split like demand."""
    many = len(part)
    specs, nodes, replicas, loads = ([[] for _ in range(many)] for _ in range(4))  # type: ignore[var-annotated]
    for spec in o.node_specs:
        specs[named[spec.id]].append(spec)
    for items, groups in ((o.cluster.nodes, nodes), (o.cluster.replicas, replicas), (o.telemetry.loads, loads)):
        for item in items:
            if item.node in named:
                groups[named[item.node]].append(item)
    column = {m.id: j for j, m in enumerate(o.model_specs)}
    out = []
    for c in range(many):
        facts = tuple(
            replace(f, waiting=int(f.waiting * part[c, column[f.model]])) if f.waiting else f
            for f in o.telemetry.models
            if f.model in column
        )
        out.append(
            replace(
                o,
                node_specs=tuple(specs[c]),
                cluster=replace(o.cluster, nodes=tuple(nodes[c]), replicas=tuple(replicas[c])),
                telemetry=replace(o.telemetry, loads=tuple(loads[c]), demand=(), models=facts),
            )
        )
    return out


def _outlook(seen: Observation, whole: Outlook, part: Floats, access: Ints) -> Outlook:
    """The cell's outlook: its part of each kind's demand, entering at its own nodes as it does there."""
    f = whole.forecast
    p = replace(
        problem(seen, whole.problem.prices),
        burst=whole.problem.burst,
        ideal=whole.problem.ideal,
        weight=whole.problem.weight,
        longest=whole.problem.longest,
    )
    coming = tuple(replace(c, times=c.times[access]) for c in f.coming)
    mean = f.mean[access]
    sums = mean.sum(axis=0)
    now = np.asarray(f.mean.sum(axis=0))
    mean = np.where(sums > 0, mean / np.where(sums > 0, sums, 1.0), 1 / max(1, len(access))) * now * part
    trust = f.counts.sum(axis=0) / np.maximum(now, 1e-12)
    return Outlook(p, Forecast(mean, f.shape, mean * trust, f.bursts, coming))
