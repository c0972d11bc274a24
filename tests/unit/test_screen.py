"""A terminal that is gone ends nobody's run."""

from __future__ import annotations

import io
import sys

import pytest

from edgewise.compose.screen import Screen


class Gone(io.StringIO):
    """A terminal whose window was closed."""

    def isatty(self) -> bool:
        return True

    def write(self, _: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_closed_terminal_is_nobodys_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(quiet=True)
    screen.say("one")
    with screen.live():
        screen.show({}, {}, 1.0, (0.0, 2.0), 0, 0)
        screen.say("two")


def test_figures_in_a_file_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    screen = Screen(quiet=True)
    per_model = {"stable-diffusion": FIGURES}
    screen.conclude({**FIGURES, "per_model": per_model, **CLOSING}, "runs/x")
    assert "…" not in file.getvalue()
    assert "stable-diffusion" in file.getvalue()


FIGURES = {
    **{f"prompts_{k}": 10_000 for k in ("accepted", "completed", "shed", "failed", "lost")},
    **{f"{k}_latency_s": 1234.5 for k in ("mean", "p50", "p95")},
    "mean_slowdown": 1234.5,
    "service_ratio": 1.0,
}
CLOSING = {
    "jain": 1.0,
    "jain_normalized": 1.0,
    "decisions": 3,
    "slots": 3,
    "activations": 1,
    "drains": 1,
    "churn": 2.0,
    "peak_pss_mib": 1000.0,
    "llm": {"calls": 0, "lift": None},
}
