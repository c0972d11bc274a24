"""docs/reference/settings.md is what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from edgewise.settings import Settings


def _script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "settings_doc.py"
    spec = importlib.util.spec_from_file_location("settings_doc_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_page_is_current() -> None:
    assert not _script().stale()


def test_every_setting_has_its_row_with_default_and_meaning() -> None:
    rows = _script().text().splitlines()
    for name, field in Settings.model_fields.items():
        row = next(r for r in rows if r.startswith(f"| `{name}` |"))
        assert field.description
        assert field.description in row
        assert f"EDGEWISE_{name.upper()}" in row
    assert "| `slot_s` | `30.0` | > 0 |" in "\n".join(rows)
