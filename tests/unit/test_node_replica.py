"""The node with an engine whose steps the test counts: queues, hand-back, cancelling, failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from edgewise.domain.cluster import NodeSpec, ReplicaState
from edgewise.domain.errors import (
    AdmissionRefused,
    BadInput,
    LoadFailed,
    NotReady,
    ReplicaBusy,
    Unavailable,
    UnknownModel,
)
from edgewise.domain.model import ModelSpec, Task
from serving.checkpoints import Source
from serving.engines.base import OnStep, OnText, Output, Request, TextRequest
from serving.node.config import NodeConfig, Order
from serving.node.job import Done, Failed, Job, Started
from serving.node.node import Node

LONG_S = 20.0
HOLD = TextRequest("hold", max_tokens=1)  # steps until it is cancelled or `release`d
QUICK = TextRequest("quick", max_tokens=3)


class SteppingEngine:
    """One word per step; a prompt "hold" goes on stepping until released, "break" breaks."""

    def __init__(self) -> None:
        self.released = False
        self.loaded = False

    def load(self, source: Source, device: str, dtype: str) -> None:
        if source.location == "broken":
            raise LoadFailed("the weights are torn", where=source.location)
        self.loaded = True

    def warm_up(self) -> None: ...

    def run(self, request: Request, on_step: OnStep, on_text: OnText | None = None) -> Output:
        assert isinstance(request, TextRequest)
        if request.prompt == "break":
            raise RuntimeError("boom")
        if request.prompt == "bad":
            raise BadInput("not like this")
        while request.prompt == "hold" and not self.released:
            on_step()
            time.sleep(0.001)
        for _ in range(request.max_tokens):
            on_step()
        return Output(text=request.prompt, completion_tokens=request.max_tokens)

    def unload(self) -> None:
        self.loaded = False


class World:
    def __init__(self, node: Node, engines: dict[str, SteppingEngine]) -> None:
        self.node = node
        self.engines = engines

    async def ready(self, model: str) -> None:
        self.node.load(model)
        await self.until(lambda: self.node.life(model).state is not ReplicaState.LOADING)
        assert self.node.life(model).state is ReplicaState.READY

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(LONG_S):
            while not holds():  # noqa: ASYNC110  # figures of worker threads; nothing tells of their change
                await asyncio.sleep(0.002)

    def in_flight(self, model: str) -> int:
        return next(v.in_flight for v in self.node.states() if v.model == model)

    def queued(self, model: str) -> int:
        return next(v.queued for v in self.node.states() if v.model == model)


@asynccontextmanager
async def world(budget_gib: float = 4.0, broken: str = "", max_queued: int = 100) -> AsyncIterator[World]:
    specs = tuple(ModelSpec(m, Task.TEXT_GENERATION, 2.0, 0.5, load_s=1.0) for m in ("a", "b", "c"))
    sources = {m.id: Source("broken" if m.id == broken else "fine") for m in specs}
    engines: dict[str, SteppingEngine] = {}

    def make(spec: ModelSpec) -> SteppingEngine:
        engines[spec.id] = SteppingEngine()
        return engines[spec.id]

    config = NodeConfig(NodeSpec("n", budget_gib), specs, sources, time.monotonic(), max_queued=max_queued)
    node = Node(config, make)
    try:
        yield World(node, engines)
    finally:
        for engine in engines.values():
            engine.released = True
        await node.aclose()


async def end_of(job: Job) -> Done | Failed:
    async with asyncio.timeout(LONG_S):
        while True:
            event = await job.next_event()
            if isinstance(event, Done | Failed):
                return event


async def test_a_prompt_is_answered_and_only_the_first_is_cold() -> None:
    async with world() as w:
        await w.ready("a")
        first, second = (w.node.submit("a", QUICK, hint_s=0.1) for _ in range(2))
        begun = await first.next_event()
        assert isinstance(begun, Started)
        assert begun.cold
        done = await end_of(first)
        assert isinstance(done, Done)
        assert done.output.text == "quick"
        later = await second.next_event()
        assert isinstance(later, Started)
        assert not later.cold
        await end_of(second)
        view = w.node.states()[0]
        assert (view.served, view.queued, view.in_flight, view.work_s) == (2, 0, 0, 0.0)
        assert view.mean_service_s is not None


async def test_work_counts_queue_and_flight_less_time_served() -> None:
    async with world() as w:
        await w.ready("a")
        held = w.node.submit("a", HOLD, hint_s=100.0)
        waiting = w.node.submit("a", QUICK, hint_s=7.0)
        unknown = w.node.submit("a", QUICK, hint_s=None)
        await w.until(lambda: w.in_flight("a") == 1)
        await w.until(lambda: 80.0 < w.node.states()[0].work_s < 107.5)  # the mean service, 0.5 s, for the third
        w.engines["a"].released = True
        for job in (held, waiting, unknown):
            assert isinstance(await end_of(job), Done)


async def test_draining_hands_queued_prompts_back_and_finishes_those_in_flight() -> None:
    async with world() as w:
        await w.ready("a")
        held = w.node.submit("a", HOLD, 1.0)
        await w.until(lambda: w.in_flight("a") == 1)
        queued = [w.node.submit("a", QUICK, 1.0) for _ in range(3)]
        assert w.node.drain("a") == 3
        for job in queued:
            end = await end_of(job)
            assert isinstance(end, Failed)
            assert isinstance(end.error, NotReady)
        with pytest.raises(NotReady):
            w.node.submit("a", QUICK, 1.0)
        with pytest.raises(ReplicaBusy, match="in flight"):
            await w.node.unload("a")
        w.engines["a"].released = True
        assert isinstance(await end_of(held), Done)
        await w.node.unload("a")  # whoever hears the answer may unload at once
        assert w.node.life("a").state is ReplicaState.ABSENT
        assert not w.engines["a"].loaded
        await w.node.unload("a")
        assert w.node.memory_used_gib() == 0.0


async def test_cancelling_frees_the_capacity() -> None:
    async with world() as w:
        await w.ready("a")
        held, queued = w.node.submit("a", HOLD, 1.0), w.node.submit("a", HOLD, 1.0)
        await w.until(lambda: w.in_flight("a") == 1)
        w.node.cancel("a", queued)
        assert w.queued("a") == 0
        w.node.cancel("a", held)
        await w.until(lambda: w.in_flight("a") == 0)
        assert isinstance(await end_of(w.node.submit("a", QUICK, 1.0)), Done)


async def test_a_late_cancel_does_not_hit_the_next_prompt() -> None:
    async with world() as w:
        await w.ready("a")
        for _ in range(30):
            early, late = w.node.submit("a", QUICK, 1.0), w.node.submit("a", QUICK, 1.0)
            await end_of(early)
            w.node.cancel("a", early)
            assert isinstance(await end_of(late), Done)


async def test_models_run_side_by_side() -> None:
    async with world() as w:
        await w.ready("a")
        await w.ready("b")
        held = w.node.submit("a", HOLD, 1.0)
        await w.until(lambda: w.in_flight("a") == 1)
        assert isinstance(await end_of(w.node.submit("b", QUICK, 1.0)), Done)
        w.engines["a"].released = True
        await end_of(held)


async def test_what_breaks_fails_its_prompt_only() -> None:
    async with world() as w:
        await w.ready("a")
        broken = await end_of(w.node.submit("a", TextRequest("break"), 1.0))
        assert isinstance(broken, Failed)
        assert "boom" not in broken.error.message  # what a library says may quote the prompt
        bad = await end_of(w.node.submit("a", TextRequest("bad"), 1.0))
        assert isinstance(bad, Failed)
        assert bad.error.http_status == 400
        assert isinstance(await end_of(w.node.submit("a", QUICK, 1.0)), Done)


async def test_admission_counts_loading_replicas_and_says_the_numbers() -> None:
    async with world(budget_gib=4.0) as w:
        assert w.node.load("a")
        assert w.node.load("b")
        assert not w.node.load("b")
        with pytest.raises(AdmissionRefused, match="c needs 2 GiB; 0 GiB of the node's 4 GiB are free"):
            w.node.load("c")


async def test_a_failed_load_says_why_and_can_be_forgotten() -> None:
    async with world(broken="a") as w:
        w.node.load("a")
        await w.until(lambda: w.node.life("a").state is ReplicaState.FAILED)
        assert "torn" in w.node.life("a").error
        assert w.node.memory_used_gib() == 0.0
        await w.node.unload("a")
        assert w.node.life("a").state is ReplicaState.ABSENT


async def test_unknown_models_bad_shares_and_full_queues_are_refused() -> None:
    async with world(max_queued=1) as w:
        for call in (w.node.load, w.node.drain):
            with pytest.raises(UnknownModel, match="not in the catalogue"):
                call("nope")
        for share in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(BadInput):
                w.node.share({"a": share})
        await w.ready("a")
        held = w.node.submit("a", HOLD, 1.0)
        await w.until(lambda: w.in_flight("a") == 1)
        w.node.submit("a", QUICK, 1.0)
        with pytest.raises(Unavailable):
            w.node.submit("a", QUICK, 1.0)
        w.engines["a"].released = True
        await end_of(held)


async def test_stopping_hands_everything_back() -> None:
    async with world() as w:
        await w.ready("a")
        held, queued = w.node.submit("a", HOLD, 1.0), w.node.submit("a", QUICK, 1.0)
        await w.until(lambda: w.in_flight("a") == 1)
        await w.node.aclose()
        for job in (held, queued):
            end = await end_of(job)
            assert isinstance(end, Failed)
            assert isinstance(end.error, NotReady)


async def test_metrics_show_every_state() -> None:
    async with world() as w:
        await w.ready("a")
        await end_of(w.node.submit("a", QUICK, 1.0))
        text = w.node.metrics.text().decode()
        assert 'edgewise_replica_state{model="a",node="n",state="ready"} 1.0' in text
        assert 'edgewise_replica_state{model="a",node="n",state="absent"} 0.0' in text
        assert 'edgewise_replica_state{model="c",node="n",state="absent"} 1.0' in text
        assert 'edgewise_replica_served_total{model="a",node="n"} 1.0' in text
        assert 'edgewise_service_seconds_count{model="a",node="n"} 1.0' in text
        assert 'edgewise_service_expected_seconds_total{model="a",node="n"} 0.5' in text
        # A prompt that should take 0.5 s took next to nothing.
        assert 'edgewise_service_slower_log_total{model="a",node="n"} 0.0' in text
        faster = next(x for x in text.splitlines() if x.startswith("edgewise_service_faster_log_total"))
        assert float(faster.split()[-1]) > 1.0
        assert 'edgewise_node_memory_used_gib{node="n"} 2.0' in text
        assert 'edgewise_node_memory_budget_gib{node="n"} 4.0' in text


async def test_a_long_prompt_yields_and_tenants_take_turns() -> None:
    async with world() as w:
        await w.ready("a")
        blocker = w.node.submit("a", HOLD, 1.0)
        await w.until(lambda: w.in_flight("a") == 1)
        now_s = w.node.now_s()
        asked = [
            ("long", 10.0, "", now_s),
            ("short", 0.1, "", now_s + 0.001),
            ("aged", 10.0, "", now_s - 500.0),  # it was sent here again by the gateway
            ("theirs", 10.0, "them", now_s),
        ]
        order: list[str] = []
        jobs = {n: w.node.submit("a", QUICK, hint, tenant=t, entered_s=at) for n, hint, t, at in asked}

        async def note(name: str, job: Job) -> None:
            assert isinstance(await job.next_event(), Started)
            order.append(name)

        async with asyncio.timeout(LONG_S):
            notes = [asyncio.create_task(note(name, job)) for name, job in jobs.items()]
            w.engines["a"].released = True
            await asyncio.gather(*notes)
        await end_of(blocker)
        assert order.index("aged") < order.index("short") < order.index("long")
        assert order.index("theirs") <= 1


async def test_the_order_can_be_changed() -> None:
    async with world() as w:
        w.node.set_order(Order(0.0, {"gold": 2.0}))
        for wrong in (Order(-1.0), Order(float("nan")), Order(1.0, {"a": 0.0})):
            with pytest.raises(BadInput):
                w.node.set_order(wrong)
        assert w.node.order == Order(0.0, {"gold": 2.0})


async def test_a_replica_loaded_later_has_the_order_of_its_node() -> None:
    async with world() as w:
        w.node.set_order(Order(0.0))  # first come, first served
        await w.ready("a")
        blocker = w.node.submit("a", HOLD, 1.0)
        await w.until(lambda: w.in_flight("a") == 1)
        now_s = w.node.now_s()
        long = w.node.submit("a", QUICK, 10.0, entered_s=now_s)
        short = w.node.submit("a", QUICK, 0.1, entered_s=now_s + 0.001)
        order: list[str] = []

        async def note(name: str, job: Job) -> None:
            assert isinstance(await job.next_event(), Started)
            order.append(name)

        async with asyncio.timeout(LONG_S):
            notes = [asyncio.create_task(note(name, job)) for name, job in (("long", long), ("short", short))]
            w.engines["a"].released = True
            await asyncio.gather(*notes)
        await end_of(blocker)
        assert order == ["long", "short"]
