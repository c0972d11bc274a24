"""The published schemas are those of the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def test_schemas_are_current() -> None:
    path = Path(__file__).parents[2] / "scripts" / "schemas.py"
    spec = importlib.util.spec_from_file_location("schemas_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.stale() == []
