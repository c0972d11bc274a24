"""A stored run served by the control API: finished, still being written, cut off, damaged, empty."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Mode
from edgewise.domain.errors import BadInput, Refused
from serving.control_api.app import create_app
from serving.control_api.run_view import RunView, open_run
from serving.control_api.schema import RunState
from serving.control_api.view import ControlView, Cursor
from tests.support.make_run import WORLD, goals, make_run


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


async def test_figures_are_those_of_the_summary(stored: Path) -> None:
    view = open_run(stored)
    assert isinstance(view, ControlView)
    state = await view.state()
    summary = json.loads((stored / "summary.json").read_text())
    assert {m.model for m in state.models} == set(summary["per_model"])
    for model in state.models:
        figures = summary["per_model"][model.model]
        assert model.arrivals == figures["prompts_accepted"]
        assert model.completed == figures["prompts_completed"]
        if figures["prompts_lost"] == 0:  # an unanswered prompt is aged to another end than the newest row's
            assert model.p95_latency_s == pytest.approx(figures["p95_latency_s"])
            assert model.slowdown == pytest.approx(figures["mean_slowdown"])
    assert state.finished
    assert (state.source, state.read_only, state.window_s) == ("stored", True, None)
    assert state.fairness.x == {m.model: pytest.approx(1 / m.slowdown) for m in state.models if m.slowdown}
    unanswered = sum(m.waiting + m.queued + m.in_flight for m in state.models)
    assert unanswered == summary["prompts_lost"]
    assert sum(r.queued + r.in_flight for n in state.nodes for r in n.replicas) <= unanswered


async def test_replicas_stand_where_the_rows_left_them(stored: Path) -> None:
    state = await open_run(stored).state()
    standing = {(n.node, r.model): r.state for n in state.nodes for r in n.replicas}
    wanted = {(g.node, g.model): ReplicaState.READY for g in goals(3)}
    assert standing == wanted | {("edge-2", "stable-diffusion"): ReplicaState.FAILED}
    assert [n.node for n in state.nodes] == [n.id for n in WORLD.nodes]
    edge1 = state.nodes[0]
    assert (edge1.memory_gib, edge1.memory_used_gib) == (6.0, 3.0)
    assert state.nodes[1].memory_used_gib == 0.0  # what failed holds no memory
    assert all(n.alive for n in state.nodes)


async def test_a_dead_node_is_dead_and_empty_until_it_returns(stored: Path, tmp_path: Path) -> None:
    rows = lines(stored / "events.jsonl")
    down = next(i for i, row in enumerate(rows) if '"node-down"' in row)
    (tmp_path / "events.jsonl").write_text("\n".join(rows[: down + 1]) + "\n")
    node = {n.node: n for n in (await open_run(tmp_path).state()).nodes}["edge-6"]
    assert not node.alive
    assert node.replicas == []


async def test_history_pages(stored: Path) -> None:
    view = open_run(stored)
    newest = await view.decisions(3)
    assert [d.id for d in newest] == ["d-0019", "d-0018", "d-0017"]
    assert [d.id for d in await view.decisions(100, before="d-0002")] == ["d-0001", "d-0000"]
    plans = await view.plans(1000)
    assert len({p.id for p in plans}) == len(plans)
    assert plans[0].made_at_s > plans[-1].made_at_s
    detail = await view.decision("d-0010")
    assert detail.incumbent_plan is not None
    assert detail.incumbent_plan.id == detail.decision.incumbent
    assert [c.source for c in detail.decision.candidates] == ["optimiser", "llm", "incumbent"]
    count = len(lines(stored / "events.jsonl"))
    assert [e.seq for e in await view.events(2)] == [count - 1, count]
    assert [e.seq for e in await view.events(2, after=5)] == [6, 7]
    assert await view.events(2, after=count + 9) == []


async def test_mode_is_the_last_decisions_and_cannot_be_set(stored: Path) -> None:
    view = open_run(stored)
    assert await view.mode() is Mode.ACTIVE
    with pytest.raises(Refused) as refused:
        await view.set_mode(Mode.OFF)
    assert refused.value.hint


async def test_a_row_comes_when_its_line_is_whole(stored: Path, tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1, finished=False)
    view = open_run(tmp_path)
    before = await view.state()
    assert not before.finished
    more = lines(stored / "decisions.jsonl")[5].encode()
    with (tmp_path / "decisions.jsonl").open("ab", buffering=0) as file:
        file.write(more[:40])
        assert (await view.state()).slot == before.slot == 4
        file.write(more[40:] + b"\n" + more[:7])
        assert (await view.state()).slot == 5
        assert (await view.decisions(1))[0].id == "d-0005"


async def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1)
    for name in ("events.jsonl", "decisions.jsonl"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-30])
    assert [d.id for d in await open_run(tmp_path).decisions(1)] == ["d-0003"]


@pytest.mark.parametrize("bad", ["{not json", "[1]", '{"kind": "load"}', '{"arrived_s": "soon"}'])
def test_a_broken_line_is_named(tmp_path: Path, bad: str) -> None:
    make_run(tmp_path, epochs=1)
    rows = lines(tmp_path / "events.jsonl")
    rows[6] = bad
    (tmp_path / "events.jsonl").write_text("\n".join(rows) + "\n")
    with pytest.raises(BadInput) as caught:
        open_run(tmp_path)
    assert caught.value.where.endswith("events.jsonl:7")


async def test_a_line_broken_later_is_an_answer_with_its_place(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1, finished=False)
    view = open_run(tmp_path)
    count = len(lines(tmp_path / "decisions.jsonl"))
    with (tmp_path / "decisions.jsonl").open("a") as file:
        file.write("garbage\n")
    transport = httpx.ASGITransport(create_app(view, read_only=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://run") as api:
        for _ in range(2):  # it is not skipped the second time
            answer = await api.get("/control/v1/state")
            assert answer.status_code == 400
            assert answer.json()["error"]["where"].endswith(f"decisions.jsonl:{count + 1}")


async def test_an_empty_run_is_a_state_without_figures(tmp_path: Path) -> None:
    state = await RunView(tmp_path).state()
    assert (state.models, state.nodes, state.plan, state.mode) == ([], [], None, Mode.OFF)
    assert state.fairness.jain is None
    assert await RunView(tmp_path).decisions(5) == []
    assert RunState.model_validate_json(state.model_dump_json()) == state


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such run directory"):
        open_run(tmp_path / "none")
    with pytest.raises(BadInput, match="not a run directory"):
        open_run(tmp_path)
    (tmp_path / "scenario.yaml").write_text("a: [1\nb: 2\n")
    with pytest.raises(BadInput) as caught:
        open_run(tmp_path)
    assert "scenario.yaml:" in caught.value.where


async def test_subscribe_tells_what_is_written(stored: Path, tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1, finished=False)
    view = RunView(tmp_path, poll_s=0.02)
    source = view.subscribe()
    coming = asyncio.ensure_future(anext(source))
    await asyncio.sleep(0.1)
    assert not coming.done()
    with (tmp_path / "decisions.jsonl").open("a") as file:
        file.write(lines(stored / "decisions.jsonl")[5] + "\n")
    item = await asyncio.wait_for(coming, 10)
    assert item.event.type == "decision"
    assert item.cursor.decisions == 6
    await source.aclose()  # type: ignore[attr-defined]


async def test_subscribe_catches_up_across_batches(stored: Path) -> None:
    count = len(lines(stored / "events.jsonl"))
    assert count > 500
    seen = []
    async for item in RunView(stored).subscribe(Cursor(0, 19)):
        seen.append(item)
        if item.cursor == Cursor(count, 20):
            break
    assert [i.event.seq for i in seen] == [20, *range(1, count + 1)]
