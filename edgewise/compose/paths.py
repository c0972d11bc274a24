"""Where what belongs to this machine and user is kept."""

from __future__ import annotations

import os
from pathlib import Path

FIDELITY = "fidelity.json"


def default_folder() -> Path:
    """XDG's data folder of the user."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "edgewise"
