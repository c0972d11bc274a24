"""Compile every kernel once, so that no prompt waits for a compiler. `python -m edgewise.policy.precompile`."""

from __future__ import annotations

import importlib

from edgewise.policy.kernel import use_kernel_cache

MODULES = (
    "edgewise.policy.dispatch",
    "edgewise.policy.sample",
    "edgewise.policy.share",
    "edgewise.twin.precompile",
    "edgewise.optimise.precompile",
)


def main() -> None:
    use_kernel_cache()
    for name in MODULES:
        importlib.import_module(name).precompile()


if __name__ == "__main__":
    main()
