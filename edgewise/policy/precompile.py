"""Compile every kernel once, so that no prompt waits for a compiler. `python -m edgewise.policy.precompile`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path


def use_kernel_cache() -> None:
    """Keep compiled kernels inside the environment; must run before numba is imported."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(sys.prefix) / "numba-cache"))


def main() -> None:
    use_kernel_cache()
    for name in ("dispatch", "share"):
        importlib.import_module(f"edgewise.policy.{name}").precompile()


if __name__ == "__main__":
    main()
