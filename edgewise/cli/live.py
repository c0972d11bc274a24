"""Commands that run the system: demo, serve, gateway, control, ui, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgewise.cli.frame import PATH, cli, command, emit


@click.option("--nodes", default=7, show_default=True, help="Edge nodes, one process each.")
@click.option("--trace", type=PATH, help="Recorded prompts (CSV or CSV.GZ). Default: the public slices if present.")
@click.option("--duration", default=90.0, show_default=True, help="Replay window, wall seconds.")
@click.option("--speedup", type=float, help="Compress the trace's clock. Default: what this machine carries.")
@click.option("--slot-s", default=4.0, show_default=True, help="Seconds between scheduling decisions.")
@click.option("--epoch-slots", default=5, show_default=True, help="Slots between placement decisions.")
@click.option("--models", default="tiny", show_default=True, help="tiny, hub, or a folder with one per model.")
@click.option("--mode", type=click.Choice(["active", "advisory", "off"]), default="active", show_default=True)
@click.option("--approve", is_flag=True, help="Ask a person (dashboard, control API) before replicas are moved.")
@click.option("--intents", type=PATH, help="The operator's intents (YAML); see edgewise intents check.")
@click.option("--llm", default="", help="OpenAI-compatible endpoint for the agents, ends in /v1.")
@click.option("--llm-timeout", default=10.0, show_default=True, help="Deadline of one planner decision, s.")
@click.option("--port", type=int, help="Gateway port; the control API takes the next. Default: free ones.")
@click.option("--ui", is_flag=True, help="Open the dashboard beside it.")
@click.option("--out", type=PATH, help="Run directory. Default: runs/<utc>-<id>.")
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


@click.option("--config", "config", type=PATH, required=True, help="Node configuration (YAML or JSON).")
@click.option("--host", help="Address to listen on; overrides the file.")
@click.option("--port", type=int, help="Port to listen on; overrides the file.")
def serve(config: Path, host: str | None, port: int | None, json: bool) -> int:
    """Serve models on this node until stopped."""
    from edgewise.compose.parts import serve_node_forever

    return serve_node_forever(config, host, port, json)


command(cli, "serve", "edgewise serve --config node.yaml --port 8801")(serve)


@click.option("--config", "config", type=PATH, required=True, help="Gateway configuration (YAML or JSON).")
@click.option("--host", help="Address to listen on; overrides the file.")
@click.option("--port", type=int, help="Port to listen on; overrides the file.")
def gateway(config: Path, host: str | None, port: int | None, json: bool) -> int:
    """Route prompts to nodes until stopped."""
    from edgewise.compose.parts import gateway_forever

    return gateway_forever(config, host, port, json)


command(cli, "gateway", "edgewise gateway --config gateway.yaml --port 8800")(gateway)


@click.option("--config", "config", type=PATH, help="Controller configuration (YAML or JSON).")
@click.option("--run", "run", type=PATH, help="Serve a stored run directory instead of controlling.")
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


@click.option("--run", "run", type=PATH, help="A stored run directory.")
@click.option("--api", help="Base URL of a control API, for example http://127.0.0.1:8801.")
@click.option("--port", type=int, help="Port of the dashboard. Default: a free one.")
def ui(run: Path | None, api: str | None, port: int | None, json: bool) -> int:
    """Open the dashboard on a live system or a stored run."""
    from edgewise.compose.parts import dashboard_forever

    return dashboard_forever(run, api, port, json)


command(cli, "ui", "edgewise ui --run runs/first --port 8501")(ui)


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
