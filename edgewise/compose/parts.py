"""The long-running parts as commands: node server, gateway, controller, stored run, dashboard."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import orjson
import yaml

from edgewise.domain.codec import from_plain
from edgewise.domain.errors import BadInput
from edgewise.domain.world import World
from edgewise.settings import unknown_key

T = TypeVar("T")
# The run clock's zero where a file names none: that of the machine's monotonic clock (its boot). Parts that are
# started one by one, at different times, then still share one clock.
SHARED_ORIGIN = {"origin": 0.0}


def read_config(path: Path, kind: type[T], defaults: dict[str, Any] | None = None) -> T:
    """A configuration (`kind` is a dataclass) from YAML or JSON (which is YAML). Raises BadInput naming the file and
    the first bad field, or a name that is no field with the nearest one that is."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read the configuration: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise BadInput("the configuration is not UTF-8 text", where=str(path)) from error
    except yaml.YAMLError as error:
        raise BadInput(f"not YAML: {' '.join(str(error).split())[:200]}", where=str(path)) from error
    if not isinstance(value, dict):
        raise BadInput("a configuration is a mapping of names to values", where=str(path))
    known = [f.name for f in fields(cast(Any, kind))]
    for key in value:
        if key not in known:
            raise unknown_key(str(key), known, str(path))
    return from_plain(kind, {**(defaults or {}), **value}, str(path))


def say(json: bool, what: str, url: str) -> None:
    """One line (or JSON document) that the part is up, flushed: whoever started it waits for this."""
    if json:
        sys.stdout.buffer.write(orjson.dumps({"part": what, "url": url}) + b"\n")
        sys.stdout.buffer.flush()
    else:
        click.echo(f"edgewise: {what} on {url}", err=True)


def serve_node_forever(path: Path, host: str | None, port: int | None, json: bool) -> int:
    """`edgewise serve`: the file holds a node's `serving.node.config.NodeConfig`; `models` may be left out (the
    default catalogue), and so may `sources` (the tiny checkpoints)."""
    from edgewise.compose.models import sources_for
    from edgewise.domain.codec import to_plain
    from serving.checkpoints import TINY, catalogue
    from serving.engines.runtime import set_environment
    from serving.node.config import NodeConfig
    from serving.node.server import bind, run_node

    set_environment()
    defaults = {"models": to_plain(World((), catalogue()))["models"], "sources": {}, **SHARED_ORIGIN}
    config = read_config(path, NodeConfig, defaults)
    if not config.sources:
        config = replace(config, sources=sources_for(TINY, config.models))
    sock = bind(host or config.host, config.port if port is None else port)
    address, bound = sock.getsockname()[:2]
    say(json, f"node {config.node.id}", f"http://{address}:{bound}")
    return run_node(replace(config, host=address, port=bound), sock)


def gateway_forever(path: Path, host: str | None, port: int | None, json: bool) -> int:
    """`edgewise gateway`: the file holds a `serving.gateway.config.GatewayConfig`."""
    from serving.gateway.config import GatewayConfig
    from serving.gateway.server import run_gateway

    config = read_config(path, GatewayConfig, SHARED_ORIGIN)
    config = replace(config, host=host or config.host, port=config.port if port is None else port)
    Path(config.run_dir).mkdir(parents=True, exist_ok=True)
    run_gateway(config, lambda bound: say(json, "gateway", f"http://{config.host}:{bound}"))
    return 0


def control_forever(path: Path, host: str | None, port: int | None, json: bool) -> int:
    """`edgewise control --config`: the file holds an `edgewise.compose.config.ControlConfig`."""
    from edgewise.compose.config import ControlConfig
    from edgewise.compose.control import run_control

    config = read_config(path, ControlConfig, SHARED_ORIGIN)
    config = replace(config, host=host or config.host, port=config.port if port is None else port)
    Path(config.run_dir).mkdir(parents=True, exist_ok=True)
    run_control(config, lambda ready: say(json, "control", f"http://{config.host}:{ready['port']}"))
    return 0


def stored_run_forever(run: Path, host: str | None, port: int | None, json: bool) -> int:
    """`edgewise control --run DIR --read-only`."""
    from edgewise.compose.replays import RunReplays
    from serving.control_api.server import run_read_only

    run_read_only(
        run, host or "127.0.0.1", port or 0, lambda url: say(json, "control (read-only)", url), RunReplays(run)
    )
    return 0


def dashboard_forever(run: Path | None, api: str | None, port: int | None, json: bool) -> int:
    """`edgewise ui`: on a stored run, or over a control API."""
    from ui.launch import ui_for_run, ui_forever

    def ready(url: str) -> None:
        say(json, "dashboard", url)

    if (run is None) == (api is None):
        raise BadInput("give either --run DIR (a stored run) or --api URL (a control API)")
    if run is not None:
        ui_for_run(run, port or 0, on_ready=ready)
    else:
        assert api is not None
        ui_forever(api, port or 0, on_ready=ready)
    return 0
