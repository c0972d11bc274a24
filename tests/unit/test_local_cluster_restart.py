"""When LocalCluster starts a dead node again, on virtual time: its launcher is a fake and no socket is opened."""

from __future__ import annotations

import pytest

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.errors import BadInput, ClusterUnavailable, SetupError, UnknownModel, UnknownNode
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.world import World
from tests.support.fakes import FakeClock
from tools.local import LocalCluster, NodeHandle

WORLD = World((NodeSpec("n1", 4.0), NodeSpec("n2", 4.0)), (ModelSpec("m", Task.TEXT_GENERATION, 1.0, 1.0),))


class DeadLauncher:
    """n1's process is gone and cannot be started; notes when that was tried."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.tried_s: list[float] = []

    async def spawn(self, node_id: str) -> tuple[int, str]:
        assert node_id == "n1"
        self.tried_s.append(self._clock.now_s())
        raise SetupError("out of memory", where=node_id)

    def exited(self, node_id: str) -> bool:
        return node_id == "n1"


def _cluster(clock: FakeClock, launcher: DeadLauncher) -> LocalCluster:
    return LocalCluster({"n1": NodeHandle("http://127.0.0.1:1", WORLD.nodes[0])}, WORLD, clock, launcher)


async def test_restarts_back_off_and_never_cease() -> None:
    clock = FakeClock()
    launcher = DeadLauncher(clock)
    cluster = _cluster(clock, launcher)
    for _ in range(200):
        (node,) = (await cluster.observe()).nodes
        assert not node.alive
        await clock.advance(0.25)
    gaps = [b - a for a, b in zip(launcher.tried_s, launcher.tried_s[1:], strict=False)]
    assert launcher.tried_s[0] == 0.0
    # Each gap is its back-off and what is left until the next observation.
    for gap, back_off in zip(gaps, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0], strict=False):
        assert back_off <= gap <= back_off + 0.5
    assert len(gaps) >= 6
    assert cluster.restart_errors() == {"n1": "out of memory"}
    await cluster.aclose()


async def test_closing_ends_a_restart_that_waits() -> None:
    clock = FakeClock()
    launcher = DeadLauncher(clock)
    cluster = _cluster(clock, launcher)
    for _ in range(8):
        await cluster.observe()
        await clock.advance(0.25)
    tried = len(launcher.tried_s)
    await cluster.observe()
    await cluster.aclose()
    await clock.advance(100.0)
    assert len(launcher.tried_s) == tried


async def test_commands_are_refused_before_any_door_is_opened() -> None:
    clock = FakeClock()
    cluster = _cluster(clock, DeadLauncher(clock))
    with pytest.raises(ClusterUnavailable):
        await cluster.load("n1", "m")
    with pytest.raises(UnknownModel):
        await cluster.load("n1", "x")
    with pytest.raises(UnknownNode):
        await cluster.load("n3", "m")
    with pytest.raises(UnknownNode):
        await cluster.load("n2", "m")  # of the world, but not run by this cluster
    with pytest.raises(UnknownModel):
        await cluster.share("n1", {"x": 1.0})
    cluster = LocalCluster(
        {"n2": NodeHandle("http://127.0.0.1:1", WORLD.nodes[1])}, WORLD, clock, DeadLauncher(clock)
    )
    for share in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInput):
            await cluster.share("n2", {"m": share})
    await cluster.aclose()
