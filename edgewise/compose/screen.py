"""The demo's terminal: everything on stderr, so that stdout holds one JSON document or the closing table."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live

from edgewise.compose.progress import closing_lines, live_view, summary_table

_PIPE_WIDTH = 110
_LINE_EVERY_S = 10.0  # without a terminal: one line now and then instead of a picture


class Screen:
    """What a person sees. A terminal that was closed is nobody's loss: the run goes on, or ends in its order."""

    def __init__(self, quiet: bool) -> None:
        self._console = _console(sys.stderr)
        self._quiet = quiet
        self._live: Live | None = None
        self._last = ""
        self._next_line_s = 0.0

    def say(self, text: str) -> None:
        self._last = text
        with contextlib.suppress(OSError):
            self._console.print(text, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        with contextlib.suppress(OSError):
            self._live.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def show(
        self,
        state: Mapping[str, Any],
        counts: Mapping[str, Mapping[str, Any]],
        now_s: float,
        window: tuple[float, float],
        answered: int,
        sent: int,
    ) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.update(live_view(state, counts, now_s, window, answered, sent, self._last), refresh=True)
        elif now_s >= self._next_line_s:
            self._next_line_s = now_s + _LINE_EVERY_S
            fairness = state.get("fairness", {}).get("jain_normalized")
            words = f"J {fairness:.2f}" if fairness is not None else "J –"
            elapsed = max(0.0, now_s - window[0])
            with contextlib.suppress(OSError):
                self._console.print(
                    f"{elapsed:5.0f} s  slot {state.get('slot', '–')}  answered {answered}/{sent}  {words}"
                )

    def conclude(self, summary: Mapping[str, Any], run: str) -> None:
        console = self._console if self._quiet else _console(sys.stdout)
        with contextlib.suppress(OSError):
            console.print(summary_table(summary))
            for line in closing_lines(summary, run):
                console.print(line, markup=False, soft_wrap=True)


def _console(file: TextIO) -> Console:
    """In a file or a pipe there is no width to keep to, and a figure that is cut is none."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    return console
