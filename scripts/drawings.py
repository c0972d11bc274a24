"""Draw the graphs into the pages that show them; `--check` only says whether the drawings are current."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from graphs.offline import epoch_graph, ladder_graph, slot_graph

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
DRAWN = {
    PAGES / "replay.md": {"slot": slot_graph, "epoch": epoch_graph},
    PAGES / "agents.md": {"ladder": ladder_graph},
}


def drawn(page: Path) -> str:
    """The page with each drawing as the code has it."""
    text = page.read_text(encoding="utf-8")
    for name, graph in DRAWN[page].items():
        block = f"<!-- {name} graph -->\n```mermaid\n{graph().get_graph().draw_mermaid().rstrip()}\n```\n<!-- end -->"
        pattern = rf"<!-- {name} graph -->.*?<!-- end -->"
        text, found = re.subn(pattern, lambda _, block=block: block, text, flags=re.DOTALL)  # type: ignore[misc]
        if found != 1:
            raise SystemExit(f"{page}: {found} places for the {name} graph")
    return text


def stale() -> list[Path]:
    """Pages that differ from what the code draws."""
    return [page for page in DRAWN if drawn(page) != page.read_text(encoding="utf-8")]


def main() -> int:
    old = stale()
    if "--check" in sys.argv:
        sys.stdout.writelines(f"{page} is stale; run scripts/drawings.py\n" for page in old)
        return int(bool(old))
    for page in old:
        page.write_text(drawn(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
