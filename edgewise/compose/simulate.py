"""`edgewise simulate`: one run of a policy on a scenario in the twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from edgewise.domain.codec import to_plain
from edgewise.domain.errors import BadInput
from edgewise.domain.measures import STATUSES
from edgewise.domain.records import PromptRow, ReplicaRow
from evals.arrivals import arrivals
from evals.card import Card, card, card_json, card_lines
from evals.policies import policy_of
from evals.scenario_file import load_scenario, to_yaml
from evals.simulate import Simulated, simulate

KINDS = ("load", "ready", "drain", "unload", "failed", "node-down", "node-up")


class Simulation(NamedTuple):
    """summary: the one JSON document, the card in it; card: for people."""

    summary: dict[str, Any]
    card: Card


def run_simulation(scenario: str, policy: str, seed: int | None, out: Path | None) -> Simulation:
    """One run. A run directory is written when `out` is given.

    Raises BadInput for a scenario, trace or policy that is not one, or a directory that is there already.
    """
    policy_of(policy)  # before the traces are read
    if out is not None and out.exists() and any(out.iterdir()):
        raise BadInput("the directory is not empty", where=str(out), hint="name a new one")
    world = load_scenario(scenario)
    found = simulate(world, policy, seed)
    made = card(world, arrivals(world, found.seed))
    summary = found.figures | {
        "scenario": world.name,
        "policy": policy,
        "seed": found.seed,
        "end_s": found.end_s,
        "knob": found.knob,
        "card": card_json(made),
        "notes": list(found.notes),
    }
    if out is not None:
        _write(out, found, summary)
    return Simulation(summary, made)


def print_summary(made: Simulation) -> None:
    """For a person: what was run, and what came of it."""
    console, summary = Console(highlight=False), made.summary
    for line in card_lines(made.card):
        console.print(line, markup=False, soft_wrap=True)
    table = Table(box=None, title=f"{summary['policy']} on {summary['scenario']}, seed {summary['seed']}")
    for heading in ("", "prompts", "mean s", "p50", "p95", "p99", "slowdown", "in time"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, row in (*summary["per_model"].items(), ("all", summary)):
        figures = (row["mean_latency_s"], row["p50_latency_s"], row["p95_latency_s"], row["p99_latency_s"])
        cells = [f"{x:.2f}" if x is not None else "–" for x in (*figures, row["mean_slowdown"])]
        table.add_row(name, str(row["prompts_accepted"]), *cells, f"{row['service_ratio']:.1%}")
    console.print(table)
    console.print(
        f"fairness between kinds: J {summary['jain']:.3f}, normalised {summary['jain_normalized']:.3f}; "
        f"lost {summary['prompts_lost']}, shed {summary['prompts_shed']}; churn {summary['churn']:.1f} per node-hour",
        soft_wrap=True,
    )


def _write(out: Path, found: Simulated, summary: dict[str, Any]) -> None:
    """The run directory's files that a simulation has: summary.json, events.jsonl, scenario.yaml."""
    world = found.scenario
    nodes, models = [n.id for n in world.nodes], world.models
    p = found.prompts
    lines: list[bytes] = []
    for i in range(len(p.arrived_s)):
        m = models[int(p.model[i])]
        done = p.finished_s[i] != float("inf")
        lines.append(
            orjson.dumps(
                to_plain(
                    PromptRow(
                        id=f"p-{i + 1:06d}",
                        model=m.id,
                        access_node=nodes[int(p.access[i])],
                        node=nodes[int(p.node[i])] if p.node[i] >= 0 else None,
                        arrived_s=float(p.arrived_s[i]),
                        started_s=float(p.started_s[i]) if p.started_s[i] != float("inf") else None,
                        finished_s=float(p.finished_s[i]) if done else None,
                        status=STATUSES[int(p.status[i])],
                        decision=None,
                        attempts=int(p.attempts[i]),
                        deadline_s=m.deadline_s,
                        ideal_s=float(p.ideal_s[i]),
                    )
                )
            )
        )
    r = found.replicas
    for at_s, kind, node, model in zip(*(c.tolist() for c in r), strict=True):
        name = models[model].id if model >= 0 else ""
        lines.append(orjson.dumps(to_plain(ReplicaRow(KINDS[kind], at_s, nodes[node], name))))
    out.mkdir(parents=True, exist_ok=True)
    (out / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (out / "scenario.yaml").write_bytes(to_yaml(world).encode())
    (out / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
