"""Memory of a run: proportional set size, which counts a page shared by n processes as 1/n in each."""

from __future__ import annotations

from contextlib import suppress

import psutil


def tree_pss_mib(root_pid: int) -> float:
    """PSS of a process and all below it, MiB. Processes that end meanwhile or may not be read count 0."""
    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(root_pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error, AttributeError):
                total += process.memory_full_info().pss
    return total / 2**20
