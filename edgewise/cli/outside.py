"""Commands about serving that is not ours: shadow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgewise.cli.frame import PATH, cli, command, emit


@click.argument("urls", nargs=-1, metavar="URL...")
@click.option("--duration", default=300.0, show_default=True, help="Seconds to look.")
@click.option("--interval", default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--nodes", help="Nodes behind the URLs: a number, or a file. Default: each endpoint is one.")
@click.option("--models", "models_file", type=PATH, help="What the systems do not say of models (YAML).")
@click.option("--out", type=PATH, help="Folder of the results. Default: runs/shadow-<utc>.")
@click.option("--from", "again", type=PATH, help="Judge an earlier recording again, instead of looking.")
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
