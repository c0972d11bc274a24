"""`edgewise plan`: one decision from an observation file; nothing is carried out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agents.deployer import arrange
from edgewise.control.carry import incumbent_of
from edgewise.control.decide import decide
from edgewise.control.forecast import Track
from edgewise.control.intake import take
from edgewise.control.planning import epoch_plans
from edgewise.control.state import Ticket
from edgewise.domain.codec import from_json
from edgewise.domain.decision import Decision, Mode
from edgewise.domain.errors import BadInput
from edgewise.domain.observation import Observation
from edgewise.settings import Settings, load_settings
from tools.rundir import decision_row


def plan_once(path: Path, config: Path | None = None) -> dict[str, Any]:
    """The decision an observation leads to, as a row of decisions.jsonl. What stands counts as the incumbent; with
    nothing standing it is the first fill. Raises BadInput for a file that holds no observation."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read the observation: {error.strerror}", where=str(path)) from error
    observation = from_json(Observation, text, str(path))
    if not observation.node_specs or not observation.model_specs:
        raise BadInput("an observation names at least one node and one model", where=str(path))
    return decision_row(decision_for(observation, load_settings(config)))


def decision_for(observation: Observation, settings: Settings) -> Decision:
    """Search and gate on one observation, in one go."""
    o = observation
    incumbent = incumbent_of(o, Mode.ADVISORY, settings)
    start = Ticket("d-000000", slot=o.slot, incumbent=incumbent, track=Track(), mode=Mode.ADVISORY, observation=o)
    job = take(start, o)
    result = epoch_plans(job, (), settings, "e-000000")
    return decide(replace(job, result=result, result_new=True), settings, arrange)


def print_decision(row: dict[str, Any]) -> None:
    """For a person: the word, why, what was compared, what would change."""
    console = Console(highlight=False)
    console.print(f"[bold]{row['chosen']}[/]  {row['reason']}", soft_wrap=True)
    if row["candidates"]:
        table = Table(box=None)
        for heading in ("from", "plan", "predicted objective", "95 %", "note"):
            table.add_column(heading, overflow="fold")
        for c in row["candidates"]:
            low, high = c["interval"]
            table.add_row(c["from"], c["plan"], f"{c['score']:.3f}", f"{low:.3f} … {high:.3f}", c["note"])
        console.print(table)
    moves = [c for c in row["changes"] if c["kind"] in ("load", "drain", "unload")]
    for change in moves:
        console.print(f"  {change['kind']:6} {change['model']} on {change['node']}  {change['detail']}", markup=False)
    if not moves:
        console.print("  no replica moves")
    for note in row["notes"]:
        console.print(f"  note: {note}", markup=False)
