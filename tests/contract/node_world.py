"""Two real node server processes with tiny models, and the Cluster spec's surroundings over them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.world import World
from serving.checkpoints import Source
from tests.contract.local_world import LocalWorld
from tests.support.forked_launcher import ForkedLauncher
from tools.clock import RunClock
from tools.local import LocalCluster, NodeHandle

MODELS = tuple(
    ModelSpec(name, Task.TEXT_GENERATION, gib, 0.1, load_s=0.3)
    for name, gib in (("small", 1.0), ("other", 1.5), ("big", 3.5), ("broken", 1.0))
)
WORLD = World((NodeSpec("n1", 4.0), NodeSpec("n2", 4.0)), MODELS)
TOKENS_PER_S = 600  # about what the tiny GPT-2 makes on one core
LONGEST_TOKENS = 900  # its context is 1024


class RealNodes:
    """All models are the tiny GPT-2, but for `broken`, whose weights are missing. `handles` are kept up to date by
    whoever sees a node restarted."""

    def __init__(self, folder: Path) -> None:
        self.clock = RunClock()
        self.handles: dict[str, NodeHandle] = {}
        self._tiny = folder / "tiny"
        sources = {spec.id: Source(str(self._tiny / "gpt2")) for spec in MODELS}
        sources["broken"] = Source(str(folder / "nothing-here"))
        self.launcher = ForkedLauncher(WORLD, sources, self.clock.origin, folder / "nodes.log")

    def start(self) -> None:
        self.handles = self.launcher.start(self._tiny)

    def close(self) -> None:
        self.launcher.close()

    def cluster(self) -> LocalCluster:
        # Generous bounds: a machine that runs other tests beside this one is slow, not dead.
        return LocalCluster(
            self.handles,
            WORLD,
            self.clock,
            self.launcher,
            dead_after_s=20.0,
            poll_timeout_s=10.0,
            command_timeout_s=20.0,
        )


class NodeWorld(LocalWorld):
    """Prompts to real node servers: as many tokens as take about the seconds asked for."""

    long_s = 1.5

    def send(self, node: str, model: str, seconds: float) -> asyncio.Task[int]:
        return asyncio.create_task(self._send(node, model, seconds))

    async def _send(self, node: str, model: str, seconds: float) -> int:
        body = completion(model, seconds)
        async with self.session.post(f"{self.cluster.urls()[node]}/v1/completions", json=body) as answer:
            if answer.status == 200:
                assert (await answer.json())["usage"]["completion_tokens"] == body["max_tokens"]
            else:
                assert answer.headers["x-edgewise-handed-back"] == "1"
            return answer.status


def completion(model: str, seconds: float) -> dict[str, object]:
    """A request that keeps the tiny GPT-2 busy for about this long."""
    tokens = max(1, min(LONGEST_TOKENS, round(seconds * TOKENS_PER_S)))
    return {"model": model, "prompt": "a word", "max_tokens": tokens, "min_tokens": tokens}
