"""Write docs/reference/settings.md from edgewise.settings; `--check` only says whether it is current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from edgewise.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"
HEAD = """<!-- Written by scripts/settings_doc.py from edgewise/settings.py; do not edit. -->
# Settings

What an operator may set about the controller, and where. What stands higher rules:

1. an option of the command (`edgewise demo --slot-s 2`), a line under `settings:` in a controller's file, or a line
   of the file given to `edgewise plan --config` (YAML, a mapping of names to values);
2. the environment variable of the last column;
3. the default.

A name in a file that is not in this table is an error; a variable that is not is not noticed. Durations are wall
seconds. `edgewise demo` sets cadence, windows, ages, the drain deadline and the language model's URL and timeout
itself (`settings_overrides` in `edgewise/compose/demo_world.py`), so for those neither default nor variable counts
there. A gateway that is started by hand takes its limits from its own file
([commands](commands.md#the-files-of-serve-gateway-and-control)).

| name | default | range | meaning | variable |
|---|---|---|---|---|
"""
_BOUNDS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


def text() -> str:
    """The page as it must be."""
    return HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def stale() -> bool:
    return not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text()


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{name}`", _shown(field.default), _range(field), field.description or "", f"`EDGEWISE_{name.upper()}`")
    return f"| {' | '.join(cells)} |\n"


def _shown(default: Any) -> str:
    return "(empty)" if default == "" else f"`{default}`"


def _range(field: FieldInfo) -> str:
    found = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in _BOUNDS if hasattr(m, key)]
    return ", ".join(found) or ("text" if field.annotation is str else "any")


def main() -> int:
    if "--check" in sys.argv:
        if stale():
            sys.stdout.write(f"{PAGE} is stale; run scripts/settings_doc.py\n")
        return int(stale())
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
