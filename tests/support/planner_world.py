"""A small cluster, its plans and cases, for the tests of the planner."""

from __future__ import annotations

from edgewise.domain.cluster import Network, NodeSpec, ReplicaState
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import (
    ClusterFacts,
    DemandFact,
    ModelFact,
    NodeFact,
    Observation,
    ReplicaFact,
    ReplicaLoad,
    TelemetryFacts,
)
from edgewise.domain.plan import Plan, ReplicaGoal, Source
from edgewise.domain.records import Case, CaseOutcome, RecalledCase, Situation

MODELS = (
    ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 2.0),
    ModelSpec("gpt2-large", Task.TEXT_GENERATION, 3.5, 6.0),
    ModelSpec("blip", Task.IMAGE_TO_TEXT, 1.5, 3.0),
    ModelSpec("stable-diffusion", Task.TEXT_TO_IMAGE, 4.5, 20.0),
)


def observed(names: tuple[str, ...] = ("edge-1", "edge-2", "edge-3"), dead: tuple[str, ...] = ()) -> Observation:
    """Nodes of 6 GiB, gpt2 ready on each, some demand of every kind at the first node."""
    nodes = tuple(NodeSpec(n, 6.0) for n in names)
    return Observation(
        at_s=120.0,
        slot=4,
        epoch=0,
        slot_s=30.0,
        epoch_slots=10,
        node_specs=nodes,
        model_specs=MODELS,
        network=Network(),
        cluster=ClusterFacts(
            119.5,
            tuple(NodeFact(n.id, n.id not in dead, n.memory_gib, 1.0, age_s=0.5) for n in nodes),
            tuple(ReplicaFact(n.id, "gpt2", ReplicaState.READY, age_s=0.5) for n in nodes),
        ),
        telemetry=TelemetryFacts(
            119.5,
            tuple(ReplicaLoad(n.id, "gpt2", 2, 1, 5.0, 0.5) for n in nodes),
            tuple(DemandFact(names[0], m.id, 10, 20.0, 0.5) for m in MODELS),
            tuple(ModelFact(m.id, 8, 20.0, 3.25, float("nan"), None, 0, age_s=0.5) for m in MODELS),
        ),
    )


def plan_of(observation: Observation, plan_id: str = "p-opt", source: Source = Source.OPTIMISER) -> Plan:
    goals = tuple(ReplicaGoal(n.id, "gpt2") for n in observation.node_specs)
    return Plan(plan_id, source, observation.at_s, observation.at_s + 120.0, goals)


def case_of(name: str, value: float, objective: float | None = None, at_s: float = 0.0) -> Case:
    outcome = None if objective is None else CaseOutcome(objective, 4.0, 0.9, 2)
    situation = Situation((("load", value), ("pressure", 0.5)))
    return Case(name, f"d-{name}", at_s, situation, (ReplicaGoal("edge-1", "gpt2"),), 1.0, f"case {name}", outcome)


def recalled(name: str, objective: float) -> RecalledCase:
    return RecalledCase(case_of(name, 0.5, objective), 0.125)
