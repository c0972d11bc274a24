"""What all commands share: the group, `--json`, errors as one line and an exit code, signals."""

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

from edgewise.domain.errors import EdgewiseError

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


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
