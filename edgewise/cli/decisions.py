"""Commands about decisions: plan, replay, capsule, intents."""

from __future__ import annotations

from pathlib import Path

import click

from edgewise.cli.frame import PATH, cli, command, emit
from edgewise.domain.errors import BadInput


@click.argument("observation", type=PATH)
@click.option("--config", type=PATH, help="Settings (YAML).")
def plan(observation: Path, config: Path | None, json: bool) -> int:
    """Make one decision from an observation file and print it with its reasons."""
    from edgewise.compose.plan import plan_once, print_decision

    decision = plan_once(observation, config)
    emit(decision) if json else print_decision(decision)
    return 0


command(cli, "plan", "edgewise plan observation.json --json")(plan)


@click.argument("run", type=PATH)
@click.option("--slot", type=int, help="Only this slot.")
@click.option("--newest", type=click.IntRange(1), help="Only so many of the newest slots.")
@click.option("--fork", multiple=True, help="key=value (repeatable), or a YAML file: take the slot's decision anew.")
@click.option("--llm", default="", help="With --fork: a live OpenAI-compatible endpoint for the planner.")
def replay(run: Path, slot: int | None, newest: int | None, fork: tuple[str, ...], llm: str, json: bool) -> int:
    """Make the recorded decisions of a run (or a capsule) again and compare; nothing is touched."""
    if fork or llm:
        return _fork(run, slot, newest, fork, llm, json)
    from edgewise.compose.recorded import open_recorded
    from edgewise.compose.replay import lines_of, remarks
    from edgewise.compose.replay import replay as make_again

    found = make_again(open_recorded(run), slot, newest=newest)
    if json:
        for line in remarks(found):
            click.echo(line, err=True)
        emit(found.as_dict())
    else:
        click.echo("\n".join(lines_of(found, str(run))))
    return 1 if found.different else 0


def _fork(run: Path, slot: int | None, newest: int | None, words: tuple[str, ...], llm: str, json: bool) -> int:
    if slot is None and newest != 1:
        raise BadInput("a fork is of one slot", where="--fork", hint="add --slot N, or --newest 1")
    from edgewise.compose.fork import fork_slot, print_fork, read_edit
    from edgewise.compose.recorded import open_recorded

    edit = read_edit(words)
    recorded = open_recorded(run, with_prompts=True)
    found = fork_slot(recorded, recorded.newest() if slot is None else slot, edit, llm)
    if json:
        emit(found.as_dict())
    else:
        print_fork(found)
    return 0


command(cli, "replay", "edgewise replay runs/first --json")(replay)


@cli.group()
def intents() -> None:
    """What the operator wants and expects."""


@click.argument("file", type=PATH)
@click.option("--scenario", help="Whose nodes and models it may name: a name or file. Default: the demo's.")
def check_intents(file: Path, scenario: str | None, json: bool) -> int:
    """Read a YAML file of intents and say back what it means, as if a run began now."""
    from edgewise.compose import intents as files

    found, moment = files.check_intents(file, scenario)
    if json:
        emit(files.as_documents(found, moment))
    else:
        files.print_intents(found, moment)
    return 0


command(intents, "check", "edgewise intents check examples/intents.yaml")(check_intents)


@click.argument("run", type=PATH)
@click.option("--slot", type=int, required=True, help="The slot whose decision is packed.")
@click.option("--out", type=PATH, help="The file; .gz compresses it. Default: capsule-slot-N.json.gz.")
@click.option("--anonymise", is_flag=True, help="Replace node names, too.")
def capsule(run: Path, slot: int, out: Path | None, anonymise: bool, json: bool) -> int:
    """Pack one decision into one redacted file that replays and forks it on any machine."""
    from edgewise.compose.capsule import make_capsule, write_capsule
    from edgewise.compose.recorded import open_recorded

    made, found = make_capsule(open_recorded(run, with_prompts=True), slot, anonymise)
    path = out or Path(f"capsule-slot-{slot}.json.gz")
    size = write_capsule(made, path)
    lines = [d.diff for d in found.different]
    if json:
        emit({"file": str(path), "bytes": size, "slot": slot, "identical": not lines, "different": lines})
    else:
        click.echo(
            f"{path}: slot {slot}, {size / 1024:.1f} KiB, replays {'identically' if not lines else 'DIFFERENTLY'}"
        )
        click.echo("\n".join(lines), nl=bool(lines))
    return 0


command(cli, "capsule", "edgewise capsule runs/first --slot 12 --out slot-12.json.gz")(capsule)
