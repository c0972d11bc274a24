"""Commands about traces and models."""

from __future__ import annotations

from pathlib import Path

import click

from edgewise.cli.frame import PATH, cli, command, emit


@cli.group()
def traces() -> None:
    """Traces: from public recordings, from runs."""


@click.argument("file", type=PATH)
@click.option("--out", type=PATH, required=True, help="The trace to write: .csv or .csv.gz.")
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


@click.argument("run", type=PATH)
@click.option("--out", type=PATH, required=True, help="The trace to write: .csv or .csv.gz.")
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


@click.option("--out", type=PATH, help="Folder. Default: the user's cache.")
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
@click.option("--cache", type=PATH, help="Hub cache folder. Default: the hub library's own.")
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
@click.option("--out", type=PATH, help="Write the profile (JSON) here as well.")
def profile(which: str, out: Path | None, json: bool) -> int:
    """Measure what models cost on this machine: loads, service by size, several at once, memory."""
    from edgewise.compose.profile import run_profile

    found = run_profile(which, out, lambda words: click.echo(words, err=True))
    if json or out is None:
        emit(found)
    return 0


command(models, "profile", "edgewise models profile --out profile.json")(profile)
