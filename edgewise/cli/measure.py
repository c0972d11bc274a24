"""Commands that measure in the twin and on this machine: simulate, eval, bench, fidelity."""

from __future__ import annotations

from pathlib import Path

import click

from edgewise.cli.frame import PATH, cli, command, emit


@click.argument("scenario")
@click.option("--policy", required=True, help="Name of a policy, as edgewise, lew-lru or marginal.")
@click.option("--seed", type=int, help="Default: the scenario's.")
@click.option("--out", type=PATH, help="Write a run directory. Default: none.")
def simulate(scenario: str, policy: str, seed: int | None, out: Path | None, json: bool) -> int:
    """Run one policy on a scenario in the digital twin."""
    from edgewise.compose.simulate import print_summary, run_simulation

    made = run_simulation(scenario, policy, seed, out)
    emit(made.summary) if json else print_summary(made)
    return 0


command(cli, "simulate", "edgewise simulate paper7 --policy edgewise --json")(simulate)


@click.argument("scenario", required=False)
@click.option("--policies", help="Which, with commas between. Default: all that need no language model.")
@click.option("--alphas", help="The product at these weights of fairness as well, with commas between.")
@click.option("--seeds", type=int, help="Seeds, the scenario's first. Default: 5.")
@click.option("--out", type=PATH, help="Folder of reports and runs. Default: runs/eval-SCENARIO.")
@click.option("--jobs", type=int, help="Runs at a time. Default: the cores this process may use.")
@click.option("--ci", is_flag=True, help="The short run that guards against regressions.")
@click.option("--forecast", is_flag=True, help="Only the demand forecast, against plain ones, on the same prompts.")
@click.option("--hindsight/--no-hindsight", default=True, help="Whether the product keeps its hindsight ledger.")
def evaluate(
    scenario: str | None,
    policies: str | None,
    alphas: str | None,
    seeds: int | None,
    out: Path | None,
    jobs: int | None,
    ci: bool,
    forecast: bool,
    hindsight: bool,
    json: bool,
) -> int:
    """Compare policies on the same prompts in the digital twin. SCENARIO: a name or file, or several with commas
    between."""
    from edgewise.compose.evaluate import EvalOptions, passed
    from edgewise.compose.evaluate import evaluate as run

    if forecast:
        from edgewise.compose.backtest import print_backtest, run_backtest

        found = run_backtest(scenario, seeds, out)
        emit(found) if json else print_backtest(found)
        return 0
    options = EvalOptions(
        scenario, policies=policies, seeds=seeds, alphas=alphas, out=out, jobs=jobs, ci=ci, hindsight=hindsight
    )
    document = run(options)
    if json:
        emit(document)
    return 0 if passed(document) else 1


command(cli, "eval", "edgewise eval paper7 --seeds 5 --out runs/paper7")(evaluate)


@click.argument("kind", type=click.Choice(["twin", "planner", "graph", "memory"]))
@click.option("--cases", type=int, help="Of bench memory: cases held. Default: 10000.")
def bench(kind: str, cases: int | None, json: bool) -> int:
    """Measure how fast a part is on this machine."""
    from edgewise.compose.bench import print_rows, run_bench

    rows = run_bench(kind, cases)
    emit(rows) if json else print_rows(rows)
    return 0


command(cli, "bench", "edgewise bench twin --json")(bench)


@click.option("--nodes", default=2, show_default=True, help="Real nodes: 2 or 3.")
@click.option("--duration", default=70.0, show_default=True, help="Seconds per load band.")
@click.option("--bands", default="0.3,0.6,0.8", show_default=True, help="Loads, parts of what the nodes can do.")
@click.option("--seed", default=1, show_default=True, help="Where in the traces to start, and all else drawn.")
@click.option("--out", type=PATH, help="Folder of the results. Default: the user's data folder.")
def fidelity(nodes: int, duration: float, bands: str, seed: int, out: Path | None, json: bool) -> int:
    """Compare the digital twin with a real cluster on this machine, on the same prompts."""
    from edgewise.compose.fidelity import FidelityOptions, parse_bands, run_fidelity
    from edgewise.domain.codec import to_plain
    from evals.fidelity.report import table

    options = FidelityOptions(nodes, duration, parse_bands(bands), out, seed)
    found = run_fidelity(options, lambda words: click.echo(words, err=True))
    if json:
        emit(to_plain(found))
    else:
        click.echo(table(found))
    return 0


command(cli, "fidelity", "edgewise fidelity --nodes 2 --duration 70")(fidelity)
