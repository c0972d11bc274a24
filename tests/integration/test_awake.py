"""Cores are kept awake by processes that anybody may push aside, and that end with what started them."""

from __future__ import annotations

import asyncio
import os

import psutil
import pytest

from edgewise.compose.awake import Awake


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="this system has no SCHED_IDLE")
async def test_one_process_per_core_below_everybody() -> None:
    awake = Awake()
    before = {p.pid for p in psutil.Process().children()}
    try:
        assert await awake.start() == len(os.sched_getaffinity(0))
        ours = [p for p in psutil.Process().children() if p.pid not in before]
        for _ in range(1000):
            if all(os.sched_getscheduler(p.pid) == os.SCHED_IDLE for p in ours):
                break
            await asyncio.sleep(0.02)
        assert [os.sched_getscheduler(p.pid) for p in ours] == [os.SCHED_IDLE] * len(ours)
        assert sorted(core for p in ours for core in p.cpu_affinity()) == sorted(os.sched_getaffinity(0))
    finally:
        await awake.stop()
    assert not any(p.is_running() for p in ours)
    await awake.stop()  # again
