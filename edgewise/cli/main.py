"""The entry point: usage errors end like all others."""

from __future__ import annotations

import sys

import click

from edgewise.cli import decisions, live, material, measure, outside  # noqa: F401  (their commands)
from edgewise.cli.frame import cli, guarded
from edgewise.domain.errors import BadInput


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
