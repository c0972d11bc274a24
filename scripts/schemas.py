"""Write the published JSON Schemas to docs/reference/schemas; `--check` only says whether they are current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgewise.control.fork import ForkEdit
from edgewise.domain.codec import adapter
from edgewise.domain.decision import Decision
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan
from edgewise.domain.records import PromptRow, ReplicaRow
from edgewise.domain.world import World

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference" / "schemas"
PUBLISHED = {
    "observation": Observation,
    "plan": Plan,
    "decision": Decision,
    "intent": Intent,
    "prompt-row": PromptRow,
    "replica-row": ReplicaRow,
    "world": World,
    "fork": ForkEdit,
}


def texts() -> dict[Path, str]:
    """File → the schema it must hold."""
    found = {}
    for name, kind in PUBLISHED.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **adapter(kind).json_schema()}
        found[FOLDER / f"{name}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return found


def stale() -> list[Path]:
    """Files that differ from what the code says."""
    return [p for p, text in texts().items() if not p.exists() or p.read_text() != text]


def main() -> int:
    if "--check" in sys.argv:
        old = stale()
        sys.stdout.writelines(f"{p} is stale; run scripts/schemas.py\n" for p in old)
        return int(bool(old))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in texts().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
