"""Refuses an environment in which another distribution owns one of our flat import names."""

from __future__ import annotations

import os
from importlib.metadata import packages_distributions

import pytest

from edgewise.policy.kernel import use_kernel_cache

use_kernel_cache()  # before any test imports numba

os.environ.setdefault("EDGEWISE_MEMORY_DIR", "run")  # no test's cases in the user's own memory

OURS = ("edgewise", "agents", "tools", "memory", "serving", "graphs", "ui", "evals")


def pytest_configure(config: pytest.Config) -> None:
    owners = packages_distributions()
    for name in OURS:
        foreign = sorted(set(owners.get(name, [])) - {"edgewise"})
        if foreign:
            raise pytest.UsageError(
                f"the package name {name!r} is also owned by {', '.join(foreign)}; uninstall it from this environment"
            )
