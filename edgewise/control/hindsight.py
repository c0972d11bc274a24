"""Hindsight: what the plans of a decision would have given on the prompts that really came.

The twin starts from the cluster as it was observed at the decision, and every plan meets the same prompts. So what is
compared with the prediction is the choice, not luck with demand; what the twin itself is off by shows in neither (see
twin_error for that).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgewise.control.announced import turns
from edgewise.control.gate import gain, score
from edgewise.control.outlook import outlook
from edgewise.control.rolling import Scene, product_rules, rolling, scene, sizes_around
from edgewise.control.seeds import generator
from edgewise.control.state import Job
from edgewise.domain.decision import Candidate, Decision, Hindsight, Replayed
from edgewise.domain.model import ModelSpec, PromptSize
from edgewise.domain.observation import Observation
from edgewise.domain.records import PromptRow
from edgewise.optimise.problem import Floats
from edgewise.settings import Settings
from edgewise.twin.demand import Demand
from edgewise.twin.rollout import Draw

# Draws of what is not known even afterwards: how much service prompts needed that stood at a node, and, live, each
# prompt's own (a row has its size and when it ended, not what it took alone).
DRAWS = 4


def weighed(decision: Decision) -> bool:
    """Whether there is something to look back on: a plan with other replicas than the incumbent's was compared."""
    base = _incumbent(decision)
    return base is not None and any(set(c.plan.replicas) != set(base.plan.replicas) for c in decision.candidates)


def instructive(job: Job, decision: Decision) -> bool:
    """Whether looking back teaches something: there was a choice, and it was not made for announced demand. Whether
    that came is no matter of how well the twin predicts, nor of who proposed the plan."""
    return weighed(decision) and not turns(job.intents, job.track, job.observation)


def horizon_s(job: Job, settings: Settings) -> float:
    """Seconds of demand the gate predicted for: an epoch, or longer where prompts take long. Hindsight looks at as
    many: a shorter look would count the price of a move and not what it brought."""
    return outlook(job.observation, job.track, settings, intents=job.intents).rollout_horizon


def candidates_of(decision: Decision) -> tuple[Candidate, ...]:
    """Those that are re-run, the incumbent first: what was chosen, the runner-up, and the best of each source."""
    base = _incumbent(decision)
    if base is None:
        return ()
    kept = {decision.chosen, decision.runner_up}
    for source in {c.source for c in decision.candidates}:
        mine = [c for c in decision.candidates if c.source == source]
        kept.add(min(mine, key=lambda c: (c.score.mean, c.plan.id)).plan.id)
    return (base, *(c for c in decision.candidates if c is not base and c.plan.id in kept))


def look_back(job: Job, decision: Decision, came: Demand, span_s: float, settings: Settings) -> Hindsight | None:
    """The decision's candidates on the prompts that came; None when nothing was weighed.

    came: prompts of the `span_s` seconds after the decision, at_s counted from it; indices as in the observation.
    service_s NaN: not known, drawn around hint_s.
    """
    candidates = candidates_of(decision)
    if len(candidates) < 2:
        return None
    stage = scene(job.observation)
    draws = demand_as_it_came(stage, job.observation, came, decision.id)
    problem = outlook(job.observation, job.track, settings, intents=job.intents).problem
    found = rolling(stage, problem, draws, product_rules(settings), span_s)([c.plan for c in candidates])
    return Hindsight(span_s, len(came.at_s), _replayed(candidates, np.asarray(found)))


def prompts_of(rows: Iterable[PromptRow], o: Observation, span_s: float) -> Demand:
    """Prompt rows as demand after an observation: those that arrived within `span_s` of it. What each took alone is
    not known; its size is. Rows of models or access nodes that the observation does not know are left out."""
    at_node = {n.id: i for i, n in enumerate(o.node_specs)}
    at_model = {m.id: (j, m) for j, m in enumerate(o.model_specs)}
    found = sorted(
        (r.arrived_s - o.at_s, *_of_model(at_model[r.model], r), at_node[r.access_node])
        for r in rows
        if r.model in at_model and r.access_node in at_node and 0 <= r.arrived_s - o.at_s < span_s
    )
    at_s = np.array([x[0] for x in found], np.float64)
    model = np.array([x[1] for x in found], np.int64)
    hint = np.array([x[2] for x in found], np.float64)
    return Demand(at_s, model, np.array([x[3] for x in found], np.int64), np.full(at_s.size, np.nan), hint)


def _of_model(known: tuple[int, ModelSpec], row: PromptRow) -> tuple[int, float]:
    index, spec = known
    tokens = row.output_tokens if row.output_tokens is not None else row.asked_output_tokens
    if row.input_tokens is None and tokens is None and row.images is None:
        return index, spec.mean_service_s
    size = PromptSize(row.input_tokens or 0, tokens or 0, row.images or 0, row.steps or 0)
    return index, max(1e-6, spec.expected_service_s(size))


def _incumbent(decision: Decision) -> Candidate | None:
    return next((c for c in decision.candidates if c.source == "incumbent"), None)


def demand_as_it_came(stage: Scene, o: Observation, came: Demand, name: str, count: int = DRAWS) -> list[Draw]:
    """`count` draws of the same arrivals; what differs is what is not known of them: the service each needed."""
    draws = []
    known = np.isfinite(came.service_s)
    for k in range(count):
        rng = generator(name, "hindsight", str(k))
        resident = sizes_around(o.model_specs, stage.resident_model, stage.resident_s, rng)
        drawn = sizes_around(o.model_specs, came.model, came.hint_s, rng)
        demand = Demand(
            np.concatenate([np.zeros(len(resident)), came.at_s]),
            np.concatenate([stage.resident_model, came.model]),
            np.concatenate([np.maximum(stage.resident_node, 0), came.access]),
            np.concatenate([resident, np.where(known, came.service_s, drawn)]),
            np.concatenate([stage.resident_s, came.hint_s]),
        )
        draws.append(Draw(demand, stage.resident_node))
    return draws


def _replayed(candidates: Sequence[Candidate], rows: Floats) -> tuple[Replayed, ...]:
    means = [score(row).mean for row in rows]
    first = np.array([candidates[0].score.mean])
    out = []
    for c, mean in zip(candidates, means, strict=True):
        predicted_gain, _ = gain(first, np.array([c.score.mean]))
        seen_gain, _ = gain(np.array([means[0]]), np.array([mean]))
        out.append(Replayed(c.source, c.plan.id, c.score.mean, mean, predicted_gain, seen_gain))
    return tuple(out)
