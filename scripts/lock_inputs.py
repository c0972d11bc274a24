"""Helper of lock.sh: write the requirement inputs, or split the resolved sets into what each lock adds."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETS = ("core", "serving", "dev")
BUILD = ("hatchling==1.27.0", "editables")  # installed from the lock, so that `pip install -e .` fetches nothing
HEADER = "# Exact versions with hashes; made by `make lock`. Do not edit by hand.\n"


def write_inputs(work: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"core": [*project["dependencies"], *BUILD], **project["optional-dependencies"]}
    for name in SETS:
        (work / f"{name}.in").write_text("\n".join(groups[name]) + "\n")


def blocks(path: Path) -> dict[str, str]:
    """Package name → its lines (the pin and its hashes)."""
    found: dict[str, str] = {}
    name = ""
    for line in path.read_text().splitlines(keepends=True):
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            name = re.split(r"[=\s]", line, maxsplit=1)[0]
            found[name] = ""
        found[name] += line
    return found


def split(work: Path) -> None:
    known: set[str] = set()
    for name in SETS:
        resolved = blocks(work / f"{name}.txt")
        added = "".join(text for package, text in resolved.items() if package not in known)
        (ROOT / "requirements" / f"{name}.lock").write_text(HEADER + added)
        known |= set(resolved)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    split(folder) if "--split" in sys.argv else write_inputs(folder)
