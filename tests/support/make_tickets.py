"""Makes the recorded decisions' inputs in tests/contract/observations: `python -m tests.support.make_tickets`.

Each file is a Ticket with its observation, taken from a controller that ran on a virtual clock with bursty demand.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import orjson

from edgewise.control.carry import take_result, ticket
from edgewise.control.state import Ticket
from edgewise.domain.codec import to_plain
from edgewise.domain.decision import Mode
from tests.support.control_world import LARGE_HEAVY, SD_HEAVY, Loop, rates, seven

FOLDER = Path(__file__).parents[1] / "contract" / "observations"
BUDGETS = (6.0, 4.0, 6.0, 4.0, 5.0, 4.0, 4.0)


async def make() -> dict[str, Ticket]:
    """Tickets by name: a first slot, a shift of demand with an epoch result at hand, the loss of a node, telemetry
    that has gone stale."""
    world = seven()
    nodes = tuple(replace(n, memory_gib=b) for n, b in zip(world.nodes, BUDGETS, strict=True))
    out: dict[str, Ticket] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with Loop(Path(folder), replace(world, nodes=nodes)) as loop:
            loop.batch = 2.0
            first = loop.controller.latest.observation
            assert first is not None
            out["first"] = Ticket("d-000000", 0, observation=replace(first, trigger="slot"))
            loop.rate = rates(loop.world, SD_HEAVY, 0.5)
            await loop.slots(7)
            loop.rate = rates(loop.world, LARGE_HEAVY, 0.6)
            await loop.slots(5)
            out["shift"] = await _now(loop)
            loop.cluster.kill("edge-1")
            await loop.clock.advance(0.5)
            out["node-loss"] = await _now(loop)
            loop.telemetry.stalled = True
            loop.cluster.revive("edge-1")
            await loop.clock.advance(20.0)
            out["stale"] = await _now(loop)
    return out


async def _now(loop: Loop) -> Ticket:
    """The ticket that a slot decided at this instant would get."""
    controller = loop.controller
    slot = controller.latest.slot + 1
    carry = take_result(controller._carry, slot, loop.settings)
    start = ticket(carry, slot, Mode.ACTIVE)
    return replace(start, observation=await controller._doors.observe(start))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, made in asyncio.run(make()).items():
        (FOLDER / f"{name}.json").write_bytes(orjson.dumps(to_plain(made), option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
