"""The command line. Imports lazily: `edgewise --help` must not wait for a framework."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from edgewise.domain.errors import BadInput, EdgewiseError

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


def command(group: click.Group, name: str, example: str) -> Callable[[F], click.Command]:
    """A command with `--json`, an example in its help, and our errors as one line and an exit code."""

    def wrap(function: F) -> click.Command:
        @wraps(function)
        def run(*args: Any, json: bool, **kwargs: Any) -> None:
            sys.exit(guarded(lambda: function(*args, json=json, **kwargs), json))

        option = click.option("--json", is_flag=True, help="Print exactly one JSON document on stdout.")
        return group.command(name, epilog=f"Example: {example}")(option(run))

    return wrap


def guarded(work: Callable[[], int | None], json: bool) -> int:
    """Run a command; translate how it ended into an exit code: 0, 1 failed while running, 2 bad input or set-up."""
    leave_on_signals()
    try:
        return work() or 0
    except EdgewiseError as error:
        if json:
            emit(error.as_dict())
        click.echo(f"edgewise: {error.line()}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, Interrupted):
        if json:
            emit({"error": {"code": "interrupted", "message": "interrupted", "where": "", "hint": ""}})
        click.echo("edgewise: interrupted", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("EDGEWISE_DEBUG"):
            raise
        if json:
            emit({"error": {"code": "internal", "message": str(error), "where": "", "hint": ""}})
        click.echo(f"edgewise: internal error: {error!r} (EDGEWISE_DEBUG=1 shows where)", err=True)
        return 1


class Interrupted(BaseException):
    """A signal told the command to end. (A KeyboardInterrupt that passes through an import on its way may end Python
    by the signal, whatever exit code was asked for.)"""


def leave_on_signals() -> None:
    """Ctrl-C, SIGTERM and a closed terminal end a command that has no handlers of its own yet."""

    def leave(*_: object) -> None:
        raise Interrupted

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup a closed terminal is to be ignored
            signal.signal(number, leave)


def emit(document: Any) -> None:
    """The one JSON document of a command."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="edgewise")
def cli() -> None:
    """Every kind of prompt gets its turn on a crowded edge, and fast."""
    logging.basicConfig(level=os.environ.get("EDGEWISE_LOG", "WARNING"), format="edgewise: %(name)s: %(message)s")


@click.option("--nodes", default=7, show_default=True, help="Edge nodes, one process each.")
@click.option("--trace", type=_PATH, help="Recorded prompts (CSV or CSV.GZ). Default: the public slices if present.")
@click.option("--duration", default=90.0, show_default=True, help="Replay window, wall seconds.")
@click.option("--speedup", type=float, help="Compress the trace's clock. Default: what this machine carries.")
@click.option("--slot-s", default=4.0, show_default=True, help="Seconds between scheduling decisions.")
@click.option("--epoch-slots", default=5, show_default=True, help="Slots between placement decisions.")
@click.option("--models", default="tiny", show_default=True, help="tiny, hub, or a folder with one per model.")
@click.option("--mode", type=click.Choice(["active", "advisory", "off"]), default="active", show_default=True)
@click.option("--approve", is_flag=True, help="Ask a person (dashboard, control API) before replicas are moved.")
@click.option("--intents", type=_PATH, help="The operator's intents (YAML); see edgewise intents check.")
@click.option("--llm", default="", help="OpenAI-compatible endpoint for the agents, ends in /v1.")
@click.option("--llm-timeout", default=10.0, show_default=True, help="Deadline of one planner decision, s.")
@click.option("--port", type=int, help="Gateway port; the control API takes the next. Default: free ones.")
@click.option("--ui", is_flag=True, help="Open the dashboard beside it.")
@click.option("--out", type=_PATH, help="Run directory. Default: runs/<utc>-<id>.")
@click.option("--seed", default=1, show_default=True, help="Where in the traces to start, and all else drawn.")
def demo(**asked: Any) -> int:
    """Run the whole system on this machine, on recorded prompts."""
    from edgewise.compose.options import DemoOptions, check
    from edgewise.domain.decision import Mode

    options = DemoOptions(
        nodes=asked["nodes"],
        trace=asked["trace"],
        duration_s=asked["duration"],
        speedup=asked["speedup"],
        slot_s=asked["slot_s"],
        epoch_slots=asked["epoch_slots"],
        models=asked["models"],
        mode=Mode(asked["mode"]),
        llm_url=asked["llm"],
        llm_timeout_s=asked["llm_timeout"],
        approve=asked["approve"],
        port=asked["port"],
        ui=asked["ui"],
        out=asked["out"],
        seed=asked["seed"],
        json=asked["json"],
        intents=asked["intents"],
    )
    check(options)  # before the imports that take seconds
    from edgewise.compose.demo import run_demo

    summary = run_demo(options)
    if options.json:
        emit(summary)
    if summary["failure"]:
        click.echo(f"edgewise: {summary['failure']}", err=True)
    return 1 if summary["failure"] else 0


command(cli, "demo", "edgewise demo --duration 60 --out runs/first")(demo)


@click.argument("observation", type=_PATH)
@click.option("--config", type=_PATH, help="Settings (YAML).")
def plan(observation: Path, config: Path | None, json: bool) -> int:
    """Make one decision from an observation file and print it with its reasons."""
    from edgewise.compose.plan import plan_once, print_decision

    decision = plan_once(observation, config)
    emit(decision) if json else print_decision(decision)
    return 0


command(cli, "plan", "edgewise plan observation.json --json")(plan)


@click.argument("scenario")
@click.option("--policy", required=True, help="Name of a policy, as edgewise, lew-lru or marginal.")
@click.option("--seed", type=int, help="Default: the scenario's.")
@click.option("--out", type=_PATH, help="Write a run directory. Default: none.")
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
@click.option("--out", type=_PATH, help="Folder of reports and runs. Default: runs/eval-SCENARIO.")
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


@cli.group()
def traces() -> None:
    """Traces: from public recordings, from runs."""


@click.argument("file", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="The trace to write: .csv or .csv.gz.")
@click.option(
    "--format",
    "format_name",
    help="azure2023, azure2024, burstgpt, mooncake or alibaba-genai. Default: by the file.",
)
@click.option("--model-class", help="Class of all rows. Default: the reader's choice.")
@click.option("--start-s", default=0.0, show_default=True, help="Leave out what came earlier, s after the first.")
@click.option("--until-s", type=float, help="Leave out what came from then on, s after the first.")
def convert(
    file: Path,
    out: Path,
    format_name: str | None,
    model_class: str | None,
    start_s: float,
    until_s: float | None,
    json: bool,
) -> int:
    """Turn a public trace in its original format into ours."""
    from edgewise.compose.traces import convert_trace, print_made

    made = convert_trace(file, out, format_name, model_class, start_s, until_s)
    emit(made) if json else print_made(made)
    return 0


command(traces, "convert", "edgewise traces convert AzureLLMInferenceTrace_conv.csv --out conv.csv.gz")(convert)


@click.argument("run", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="The trace to write: .csv or .csv.gz.")
def record(run: Path, out: Path, json: bool) -> int:
    """Turn what a run's gateway saw into a trace."""
    from edgewise.compose.traces import print_made, record_trace

    made = record_trace(run, out)
    emit(made) if json else print_made(made)
    return 0


command(traces, "record", "edgewise traces record runs/first --out first.csv.gz")(record)


@cli.group()
def models() -> None:
    """Checkpoints of the catalogue's models."""


@click.option("--out", type=_PATH, help="Folder. Default: the user's cache.")
def tiny(out: Path | None, json: bool) -> int:
    """Make tiny random-weight checkpoints of the four architectures."""
    from edgewise.compose.models import make_tiny_models

    made = make_tiny_models(out)
    if json:
        emit(made)
    else:
        for model, folder in made.items():
            click.echo(f"{model:18} {folder}")
    return 0


command(models, "tiny", "edgewise models tiny")(tiny)


@click.argument("names", nargs=-1)
@click.option("--cache", type=_PATH, help="Hub cache folder. Default: the hub library's own.")
def pull(names: tuple[str, ...], cache: Path | None, json: bool) -> int:
    """Fetch the published weights into the hub cache, for `--models hub`."""
    from edgewise.compose.models import pull_models

    found = pull_models(names, cache)
    if json:
        emit(found)
    else:
        for model, folder in found.items():
            click.echo(f"{model:18} {folder}")
    return 0


command(models, "pull", "edgewise models pull gpt2 blip")(pull)


@click.option(
    "--models", "which", default="tiny", show_default=True, help="tiny, hub, or a folder with one per model."
)
@click.option("--out", type=_PATH, help="Write the profile (JSON) here as well.")
def profile(which: str, out: Path | None, json: bool) -> int:
    """Measure what models cost on this machine: loads, service by size, several at once, memory."""
    from edgewise.compose.profile import run_profile

    found = run_profile(which, out, lambda words: click.echo(words, err=True))
    if json or out is None:
        emit(found)
    return 0


command(models, "profile", "edgewise models profile --out profile.json")(profile)


@click.option("--nodes", default=2, show_default=True, help="Real nodes: 2 or 3.")
@click.option("--duration", default=70.0, show_default=True, help="Seconds per load band.")
@click.option("--bands", default="0.3,0.6,0.8", show_default=True, help="Loads, parts of what the nodes can do.")
@click.option("--seed", default=1, show_default=True, help="Where in the traces to start, and all else drawn.")
@click.option("--out", type=_PATH, help="Folder of the results. Default: the user's data folder.")
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


@click.option("--config", "config", type=_PATH, required=True, help="Node configuration (YAML or JSON).")
@click.option("--host", help="Address to listen on; overrides the file.")
@click.option("--port", type=int, help="Port to listen on; overrides the file.")
def serve(config: Path, host: str | None, port: int | None, json: bool) -> int:
    """Serve models on this node until stopped."""
    from edgewise.compose.parts import serve_node_forever

    return serve_node_forever(config, host, port, json)


command(cli, "serve", "edgewise serve --config node.yaml --port 8801")(serve)


@click.option("--config", "config", type=_PATH, required=True, help="Gateway configuration (YAML or JSON).")
@click.option("--host", help="Address to listen on; overrides the file.")
@click.option("--port", type=int, help="Port to listen on; overrides the file.")
def gateway(config: Path, host: str | None, port: int | None, json: bool) -> int:
    """Route prompts to nodes until stopped."""
    from edgewise.compose.parts import gateway_forever

    return gateway_forever(config, host, port, json)


command(cli, "gateway", "edgewise gateway --config gateway.yaml --port 8800")(gateway)


@click.option("--config", "config", type=_PATH, help="Controller configuration (YAML or JSON).")
@click.option("--run", "run", type=_PATH, help="Serve a stored run directory instead of controlling.")
@click.option("--read-only", is_flag=True, help="With --run: the only mode there is, said aloud.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
def control(
    config: Path | None, run: Path | None, read_only: bool, host: str | None, port: int | None, json: bool
) -> int:
    """Control a cluster and serve the control API, or serve a stored run's."""
    from edgewise.compose.parts import control_forever, stored_run_forever
    from edgewise.domain.errors import BadInput

    if (config is None) == (run is None):
        raise BadInput("give either --config FILE (control) or --run DIR --read-only (look)")
    if run is not None:
        if not read_only:
            raise BadInput("a stored run can only be looked at", hint="add --read-only")
        return stored_run_forever(run, host, port, json)
    assert config is not None
    return control_forever(config, host, port, json)


command(cli, "control", "edgewise control --run runs/first --read-only --port 8900")(control)


@click.option("--run", "run", type=_PATH, help="A stored run directory.")
@click.option("--api", help="Base URL of a control API, for example http://127.0.0.1:8801.")
@click.option("--port", type=int, help="Port of the dashboard. Default: a free one.")
def ui(run: Path | None, api: str | None, port: int | None, json: bool) -> int:
    """Open the dashboard on a live system or a stored run."""
    from edgewise.compose.parts import dashboard_forever

    return dashboard_forever(run, api, port, json)


command(cli, "ui", "edgewise ui --run runs/first --port 8501")(ui)


@click.argument("run", type=_PATH)
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


@click.argument("file", type=_PATH)
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


@click.argument("urls", nargs=-1, metavar="URL...")
@click.option("--duration", default=300.0, show_default=True, help="Seconds to look.")
@click.option("--interval", default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--nodes", help="Nodes behind the URLs: a number, or a file. Default: each endpoint is one.")
@click.option("--models", "models_file", type=_PATH, help="What the systems do not say of models (YAML).")
@click.option("--out", type=_PATH, help="Folder of the results. Default: runs/shadow-<utc>.")
@click.option("--from", "again", type=_PATH, help="Judge an earlier recording again, instead of looking.")
@click.option("--seeds", default=8, show_default=True, help="Pairs of runs behind the interval.")
@click.option("--seed", default=1, show_default=True, help="Of all that is drawn.")
@click.option("--slot-s", type=float, help="Seconds between decisions of edgewise. Default: by the duration.")
@click.option("--link-ms", default=1.0, show_default=True, help="Latency between nodes, one way.")
def shadow(urls: tuple[str, ...], models_file: Path | None, json: bool, **asked: Any) -> int:
    """Look at serving that exists, read-only, and say what edgewise would have done there."""
    from edgewise.compose.shadow import ShadowOptions, print_shadow, run_shadow

    options = ShadowOptions(
        urls=urls,
        duration_s=asked["duration"],
        interval_s=asked["interval"],
        nodes=asked["nodes"],
        models=models_file,
        out=asked["out"],
        seeds=asked["seeds"],
        seed=asked["seed"],
        slot_s=asked["slot_s"],
        link_ms=asked["link_ms"],
        again=asked["again"],
    )
    document = run_shadow(options, lambda words: click.echo(words, err=True))
    emit(document) if json else print_shadow(document)
    return 0


command(cli, "shadow", "edgewise shadow http://edge-1:8000 http://edge-2:8000 --duration 600")(shadow)


@click.argument("run", type=_PATH)
@click.option("--slot", type=int, required=True, help="The slot whose decision is packed.")
@click.option("--out", type=_PATH, help="The file; .gz compresses it. Default: capsule-slot-N.json.gz.")
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


def doctor(json: bool) -> int:
    """Say what is missing on this machine and how to get it."""
    from edgewise.compose.doctor import examine, report

    findings = examine()
    if json:
        emit([f.as_dict() for f in findings])
    else:
        report(findings)
    return 2 if any(f.needed and not f.found for f in findings) else 0


command(cli, "doctor", "edgewise doctor")(doctor)


def main() -> None:
    from edgewise.policy.kernel import use_kernel_cache

    use_kernel_cache()
    try:
        cli(prog_name="edgewise", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        wrong = BadInput(error.format_message(), hint=_help_hint(error))
        sys.exit(guarded(lambda: _raise(wrong), "--json" in sys.argv))
    except click.Abort:
        sys.exit(1)


def _help_hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see {context.command_path} --help" if context else ""


def _raise(error: Exception) -> int:
    raise error


if __name__ == "__main__":
    main()
