"""Readers over real sockets: who answers is told apart, what each shows is read, and only by GET of listed paths."""

from __future__ import annotations

import aiohttp
import pytest

from edgewise.domain.errors import BadInput, TelemetryUnavailable
from tests.support.foreign_servers import Fake, Kserve, LlamaCpp, LlamaSwap, Ollama, Vllm, serving
from tools.foreign.attach import Endpoint
from tools.foreign.door import ReadOnlyDoor
from tools.foreign.records import Count, Reading, What
from tools.foreign.systems import PATHS, Kind


async def _found(fake: Fake) -> tuple[Endpoint, Reading]:
    async with serving(fake), aiohttp.ClientSession() as session:
        endpoint = Endpoint.at(session, "it", fake.url, 2.0)
        await endpoint.find()
        reading = (await endpoint.read())["it"]
    assert {method for method, _ in fake.asked} == {"GET"}
    assert {path for _, path in fake.asked} <= PATHS
    return endpoint, reading


def _value(reading: Reading, what: What, le: float = 0.0) -> float:
    return sum(c.value for c in reading.counts if c.what is what and c.le == le)


async def test_vllm() -> None:
    it = Vllm(running=2, waiting=3)
    for took in (0.4, 0.9, 4.0):
        it.ends(took)
    endpoint, reading = await _found(it.fake())
    assert endpoint.kinds == {"it": Kind.VLLM}
    assert _value(reading, What.FINISHED) == 3
    assert _value(reading, What.LATENCY_S) == pytest.approx(5.3)
    assert _value(reading, What.SERVICE_S) == pytest.approx(0.8 * 5.3)
    assert _value(reading, What.LATENCY_BUCKET, 1.0) == 2
    assert (_value(reading, What.INPUT_TOKENS), _value(reading, What.OUTPUT_TOKENS)) == (300, 150)
    assert [(b.model, b.running, b.waiting) for b in reading.busy] == [(it.model, 2, 3)]


async def test_a_vllm_that_has_served_nothing_is_told_by_what_its_page_declares() -> None:
    fake = Fake({"/metrics": lambda: "# TYPE vllm:request_success_total counter\n"})
    assert (await _found(fake))[0].kinds == {"it": Kind.VLLM}


async def test_ollama_shows_what_is_loaded_and_no_counts() -> None:
    endpoint, reading = await _found(Ollama().fake())
    assert endpoint.kinds == {"it": Kind.OLLAMA}
    assert reading.counts == ()
    assert [(r.model, r.memory_gib) for r in reading.resident] == [("llama3.2:3b", 3.0)]
    assert reading.models == ("llama3.2:3b", "moondream:1.8b")


@pytest.mark.parametrize("old", [False, True])
async def test_llama_swap_lists_its_requests(old: bool) -> None:
    it = LlamaSwap(running={"small": "ready", "large": "starting"}, old=old)
    it.ends("small", "2026-01-01T10:00:00.123456789+01:00", 1500)
    fake = it.fake()
    endpoint, reading = await _found(fake)
    assert endpoint.kinds == {"it": Kind.LLAMA_SWAP}
    (served,) = reading.served
    assert (served.model, served.took_s, served.input_tokens, served.output_tokens) == ("small", 1.5, 20, 30)
    assert served.ended_s == pytest.approx(1767258000.123456)
    assert [(r.model, r.state) for r in reading.resident] == [("small", "ready"), ("large", "loading")]
    assert [m.memory_gib for m in reading.memory] == ([] if old else [24.0])
    assert "/unload" not in {path for _, path in fake.asked}, "a GET that acts"


async def test_llama_cpp_counts_seconds_and_tasks() -> None:
    it = LlamaCpp(tasks=[(7, True), (5, False)], seconds=(1.5, 6.5), tokens=(400, 90), deferred=1)
    endpoint, reading = await _found(it.fake())
    assert endpoint.kinds == {"it": Kind.LLAMA_CPP}
    assert Count("", "qwen2.5-1.5b-q4.gguf", What.SERVICE_S, 8.0) in reading.counts
    assert reading.tasks == ("5", "7")
    assert [(b.running, b.waiting) for b in reading.busy] == [(1, 1)]


async def test_llama_cpp_without_metrics_is_told_by_its_slots() -> None:
    endpoint, reading = await _found(LlamaCpp(metrics=False, tasks=[(3, True)]).fake())
    assert endpoint.kinds == {"it": Kind.LLAMA_CPP}
    assert reading.tasks == ("3",)


async def test_kserve_latency_is_the_queue_proxys_and_service_the_model_servers() -> None:
    endpoint, reading = await _found(Kserve(took_s=[1.0, 2.0]).fake())
    assert endpoint.kinds == {"it": Kind.KSERVE}
    assert {c.model for c in reading.counts} == {"sklearn-iris"}
    assert _value(reading, What.FINISHED) == 2
    assert _value(reading, What.LATENCY_S) == pytest.approx(3.0)
    assert _value(reading, What.LATENCY_BUCKET, 1.5) == 1
    assert _value(reading, What.SERVICE_S) == pytest.approx(1.5)


async def test_kserve_without_a_queue_proxy_has_its_model_servers_times() -> None:
    _, reading = await _found(Kserve(took_s=[1.0, 2.0], proxy=False).fake())
    assert (_value(reading, What.FINISHED), _value(reading, What.LATENCY_S)) == (2, pytest.approx(1.5))


async def test_what_is_none_of_them_is_said_in_one_line() -> None:
    async with serving(Fake({"/v1/models": lambda: '{"data": []}'})) as fake, aiohttp.ClientSession() as session:
        with pytest.raises(BadInput, match=r"none of .*vllm.*tried GET /metrics") as caught:
            await Endpoint.at(session, "it", fake.url + "/v1", 2.0).find()
    assert "counts nothing" in caught.value.hint
    assert caught.value.exit_code == 2


async def test_nothing_there_is_said() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(BadInput, match="nothing answers"):
            await Endpoint.at(session, "it", "http://127.0.0.1:9", 2.0).find()


async def test_a_server_that_breaks_later_is_a_failed_look() -> None:
    async with serving(Vllm().fake()) as fake, aiohttp.ClientSession() as session:
        endpoint = Endpoint.at(session, "it", fake.url, 2.0)
        await endpoint.find()
        fake.broken = True
        with pytest.raises(TelemetryUnavailable):
            await endpoint.read()
        fake.broken = False
        assert (await endpoint.read())["it"].busy


async def test_other_paths_cannot_be_asked() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="may be looked at"):
            await ReadOnlyDoor(session, "http://127.0.0.1:9", 1.0).answers(["/unload"], metrics=False)
