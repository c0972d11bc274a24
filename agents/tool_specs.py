"""What the planner's model is told of its tools."""

from __future__ import annotations

from typing import Any

from edgewise.control.ports import ToolSpec

# Of a slot's summary, by model; and what is known of the present only.
BY_SLOT = ("arrivals", "completed", "waiting", "queued", "in_flight", "replicas", "mean_latency_s", "slowdown")
NOW = ("demand", "work", "service")
FAIRNESS = "fairness"


def _spec(name: str, description: str, required: tuple[str, ...] = (), **properties: Any) -> ToolSpec:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return ToolSpec(name, description, schema)


_MODEL = {"type": "string", "description": "a model's name; left out: all"}
_NODE = {"type": "string", "description": "a node's name; left out: all"}

SPECS = (
    _spec(
        "query_telemetry",
        "Series of the last slots, oldest first. Of each model: arrivals (in the telemetry window), completed, "
        "waiting (at the gateway), queued, in_flight, replicas (ready), mean_latency_s, slowdown (latency over the "
        "ideal). fairness: Jain, normalised. Of the present only: demand (prompts/s by access node), work (s left at "
        "each replica), service (how much longer than the catalogue says each node took).",
        ("series",),
        series={"type": "array", "items": {"type": "string", "enum": [*BY_SLOT, FAIRNESS, *NOW]}},
        model=_MODEL,
        slots={"type": "integer", "description": "how many of the last slots; left out: all that are kept"},
    ),
    _spec(
        "list_replicas",
        "Replicas with state, queue, work left and age, and each node's free memory.",
        node=_NODE,
        model=_MODEL,
    ),
    _spec("recall_cases", "Past decisions in similar situations and what came of them."),
    _spec("propose_by_optimiser", "The optimiser's placement and what the simulator predicts of it."),
    _spec(
        "simulate_plan",
        "Tries a placement in the simulator, made feasible first (it says what was changed), beside the incumbent "
        "and the optimiser's. Lower score is better; gain is over the incumbent.",
        ("replicas",),
        replicas={
            "type": "array",
            "description": "the whole placement",
            "items": {
                "type": "object",
                "properties": {
                    "node": {"type": "string"},
                    "models": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["node", "models"],
                "additionalProperties": False,
            },
        },
        alpha={"type": ["number", "null"], "description": "weight of fairness in this trial; left out: the usual"},
    ),
    _spec("forecast", "Demand expected over the next slots, by model, with its uncertainty.", model=_MODEL),
)

PROMQL = _spec(
    "query_prometheus",
    "An instant PromQL query to the Prometheus server, as of now: the newest value of each series.",
    ("promql",),
    promql={"type": "string"},
)
