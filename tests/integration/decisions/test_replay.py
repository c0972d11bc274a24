"""Recorded runs made again: every decision of a controller's run, with sockets forbidden, touching nothing."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from edgewise.compose.recorded import open_recorded, opened
from edgewise.compose.replay import lines_of, replay, replayed
from edgewise.domain.errors import BadInput
from tests.integration.test_approvals import asked, loop_of
from tests.support.control_world import LARGE_HEAVY, SD_HEAVY, Loop, rates, until
from tests.support.moody import Moody
from tests.support.recorded_run import recorded_run, write_decisions


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket but the pair an event loop wakes itself with."""
    real = socket.socket.__init__

    def refuse(self: Any, family: int = -1, *rest: Any, **more: Any) -> None:
        if family != socket.AF_UNIX:
            raise AssertionError(f"a socket was opened: family {family}")
        real(self, family, *rest, **more)

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    for name in ("connect", "connect_ex", "bind", "listen"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_run(tmp_path_factory.mktemp("runs") / "run")


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_decision_is_made_again_the_same_and_nothing_is_touched(run: Path, no_sockets: None) -> None:
    before = fingerprint(run)
    recorded = open_recorded(run)
    found = replay(recorded)
    assert found.different == ()
    assert found.slots == found.identical == len({t.slot for t in recorded.threads})
    assert found.slots >= 16
    assert {t.id[:2] for t in recorded.threads} == {"d-", "e-"}
    assert found.as_dict() == {"slots": found.slots, "identical": found.slots, "different": []}
    assert fingerprint(run) == before


def test_one_slot_alone(run: Path) -> None:
    found = replay(open_recorded(run), 5)
    assert (found.slots, found.different) == (1, ())
    with pytest.raises(BadInput, match="no decision of slot 999 is kept"):
        replay(open_recorded(run), 999)


def test_a_record_that_was_changed_is_seen_and_named(run: Path, tmp_path: Path) -> None:
    recorded = open_recorded(run)
    rows = {name: dict(row) for name, row in recorded.rows.items()}
    rows["d-000004"]["reason"] = "because"
    threads = [_bent(t) if t.id == "d-000006" else t for t in recorded.threads]
    found = replay(replace(recorded, threads=tuple(threads), rows=rows))
    assert found.slots - found.identical == 2
    assert [(d.slot, d.node) for d in found.different] == [(4, ""), (6, "gate")]
    assert "recorded 'because', replayed" in found.different[0].diff
    assert "decision.plan.replicas: only replayed: node=edge-" in found.different[1].diff
    text = "\n".join(lines_of(found, "run"))
    assert "2 different" in text
    assert "slot 6, gate:" in text


def _bent(thread: Any) -> Any:
    decision = {**thread.values["decision"]}
    decision["plan"] = {**decision["plan"], "replicas": decision["plan"]["replicas"][1:]}
    return replace(thread, values={**thread.values, "decision": decision}, decided=decision)


def test_other_settings_make_another_decision(run: Path) -> None:
    recorded = open_recorded(run)
    bent = [_set(t, gate_margin=0.5, alpha=5.0) for t in recorded.threads]
    found = replay(replace(recorded, threads=tuple(bent)))
    assert len({d.slot for d in found.different}) > 3


def _set(thread: Any, **changes: Any) -> Any:
    return replace(thread, values={**thread.values, "settings": {**thread.values["settings"], **changes}})


async def test_a_run_that_goes_on_is_replayed_as_far_as_it_is(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await loop.slots(3)
        found = await replayed(await opened(tmp_path))
        assert (found.slots, found.different) == (4, ())
        await loop.slots(1)


async def test_a_second_controller_writes_no_thread_again(tmp_path: Path) -> None:
    async with Loop(tmp_path) as loop:
        loop.rate = rates(loop.world, LARGE_HEAVY, 0.4)
        await loop.slots(6)
        known = loop.journal
    again = Loop(tmp_path)
    again.journal.decisions.extend(known.decisions)
    again.clock, again.controller._ports = loop.clock, replace(again.controller._ports, clock=loop.clock)
    async with again:
        await again.decided(7)
    threads = (await opened(tmp_path)).threads
    assert len({t.id for t in threads}) == len(threads)
    assert {"e-000001", "e-000002", "e-000003"} <= {t.id for t in threads}
    assert (await replayed(await opened(tmp_path))).different == ()


def test_what_was_not_kept_is_said(run: Path) -> None:
    recorded = open_recorded(run)
    kept = tuple(t for t in recorded.threads if t.slot >= 5)
    found = replay(replace(recorded, threads=kept))
    assert found.older == 5
    assert "5 older slots are not kept" in lines_of(found, "run")


@pytest.mark.parametrize("make", [lambda p: p / "nowhere", lambda p: p])
def test_what_is_no_run_is_one_line_and_exit_2(tmp_path: Path, make: Any) -> None:
    with pytest.raises(BadInput, match=r"no such run|no run directory"):
        open_recorded(make(tmp_path))


def test_the_command_prints_one_document(run: Path, tmp_path: Path) -> None:
    done = _edgewise("replay", str(run), "--json", "--slot", "3")
    assert (done.returncode, orjson.loads(done.stdout)) == (0, {"slots": 1, "identical": 1, "different": []})
    missing = _edgewise("replay", str(tmp_path))
    assert missing.returncode == 2
    assert len(missing.stderr.strip().splitlines()) == 1


def _edgewise(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgewise.cli", *arguments], capture_output=True, text=True, timeout=100
    )


def test_what_a_language_model_said_is_said_again(tmp_path: Path, no_sockets: None) -> None:
    chat = Moody()
    run = recorded_run(tmp_path / "run", slots=16, chat=chat, llm_deployers=True)
    asked = chat.asked
    recorded = open_recorded(run)
    found = replay(recorded)
    assert found.different == ()
    assert chat.asked == asked >= 4
    plans = [p for t in recorded.threads if not t.is_slot for p in t.values["result"]["plans"]]
    assert {"llm", "llm-repaired"} <= {p["rung"] for p in plans}
    assert any(t.values.get("uses") for t in recorded.threads if t.is_slot)
    assert sum(t.values["result"]["llm"]["tool_calls"] for t in recorded.threads if not t.is_slot) >= 2
    for path in (run / "recordings").iterdir():
        path.unlink()
    # Deployers that were asked show in what became of their node's order, the planner in its proposal.
    nodes = {d.node for d in replay(recorded).different}
    assert "propose" in nodes
    assert nodes <= {"propose", "deploy", "gate"}


class Slow:
    """A language model that thinks for longer than the run lasts."""

    asked = 0

    async def ask(self, request: Any, timeout_s: float) -> Any:
        self.asked += 1
        await asyncio.sleep(60)

    async def aclose(self) -> None:
        return None


async def test_an_epoch_that_was_cut_off_is_replayed_as_far_as_it_came(tmp_path: Path) -> None:
    chat = Slow()
    loop = Loop(tmp_path, chat=chat, llm_timeout_s=60.0)
    async with loop:
        loop.rate = rates(loop.world, SD_HEAVY, 0.4)
        await until(lambda: chat.asked == 1)
        await loop.clock.advance(loop.settings.slot_s)
        await loop.decided(1)
    recorded = await opened(tmp_path)
    found = await replayed(recorded)
    assert found.different == ()
    assert found.slots == 2
    assert [t.pending for t in recorded.threads if not t.is_slot] in ([], [("propose",)])


@pytest.mark.parametrize("yes", [True, False, None])
async def test_what_a_person_made_of_it_is_no_difference(tmp_path: Path, yes: bool | None) -> None:
    """Approved, rejected, and waiting still when the run ended."""
    async with loop_of(tmp_path) as loop:
        request = await asked(loop)
        if yes is not None:
            await loop.controller.asking.answer(request.id, yes, request.hash, "ada")
            await loop.slots(1)
    write_decisions(tmp_path, loop)
    recorded = await opened(tmp_path)
    mine = next(t for t in recorded.threads if t.id == request.decision)
    assert mine.decided is not None
    assert mine.decided["plan"]["id"] == request.plan
    assert (await replayed(recorded)).different == ()
