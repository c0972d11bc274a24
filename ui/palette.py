"""Fixed colours and symbols. Colours are Okabe and Ito's, which colour-blind readers can tell apart; every state
has a symbol as well, so that no meaning hangs on colour alone."""

from __future__ import annotations

from typing import NamedTuple

from edgewise.domain.cluster import ReplicaState


class Mark(NamedTuple):
    """How a state looks: fill, text on it, symbol."""

    fill: str
    ink: str
    symbol: str


STATES: dict[ReplicaState, Mark] = {
    ReplicaState.READY: Mark("#009E73", "#ffffff", "●"),
    ReplicaState.LOADING: Mark("#E69F00", "#1a1a1a", "◔"),
    ReplicaState.DRAINING: Mark("#56B4E9", "#1a1a1a", "◒"),
    ReplicaState.FAILED: Mark("#B3261E", "#ffffff", "✕"),
    ReplicaState.ABSENT: Mark("transparent", "inherit", "·"),
}

MODELS = ("#2180C4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F")
_PALE = {"#CC79A7", "#E69F00", "#56B4E9"}  # white text is hard to read on these

RUNGS = {
    "optimiser": "#2180C4",
    "llm": "#CC79A7",
    "llm-repaired": "#D55E00",
    "llm-reasked": "#E69F00",
    "last-good": "#7F7F7F",
}
OTHER = "#7F7F7F"
GRID = "rgba(128,128,128,0.22)"


def ink(fill: str) -> str:
    """The text colour that reads well on one of MODELS."""
    return "#1a1a1a" if fill in _PALE else "#ffffff"


def model_colours(models: list[str]) -> dict[str, str]:
    """A colour for each model by its place in the catalogue, the same on every page of a run."""
    return {m: MODELS[i % len(MODELS)] for i, m in enumerate(models)}
