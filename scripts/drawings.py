"""Draw the graphs into docs/reference/replay.md; `--check` only says whether the drawings are current."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from graphs.offline import epoch_graph, slot_graph

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "replay.md"
DRAWN = {"slot": slot_graph, "epoch": epoch_graph}


def drawn(text: str) -> str:
    """The page with each drawing as the code has it."""
    for name, graph in DRAWN.items():
        block = f"<!-- {name} graph -->\n```mermaid\n{graph().get_graph().draw_mermaid().rstrip()}\n```\n<!-- end -->"
        pattern = rf"<!-- {name} graph -->.*?<!-- end -->"
        text, found = re.subn(pattern, lambda _, block=block: block, text, flags=re.DOTALL)  # type: ignore[misc]
        if found != 1:
            raise SystemExit(f"{PAGE}: {found} places for the {name} graph")
    return text


def main() -> int:
    before = PAGE.read_text(encoding="utf-8")
    after = drawn(before)
    if "--check" in sys.argv:
        if after != before:
            sys.stdout.write(f"{PAGE} is stale; run scripts/drawings.py\n")
        return int(after != before)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
