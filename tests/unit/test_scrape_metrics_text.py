"""Reading /metrics pages: what is taken, what is left, what is bad."""

from __future__ import annotations

import pytest

from tests.support.metrics_exporter import Metrics
from tools.metrics_text import ARRIVED, LATENCY, QUEUED, SERVICE, WORK, parse_page


def test_a_page_of_prometheus_client_is_read_whole() -> None:
    metrics = Metrics()
    metrics.arrived.labels("n1", 'a "quoted" {model} with spaces').inc(3)
    metrics.latency.labels("m", "chat").observe(0.3)
    metrics.service.labels("n1", "m").observe(2.0)
    metrics.work.labels("n1", "m").set(1.5)
    page = parse_page(metrics.page().decode())
    assert page.bad_lines == 0
    series = (ARRIVED, (("access_node", "n1"), ("model", 'a "quoted" {model} with spaces')))
    assert page.values[series] == 3.0
    assert page.values[(WORK, (("model", "m"), ("node", "n1")))] == 1.5
    names = {name for name, _ in page.values}
    assert f"{LATENCY}_bucket" in names
    assert f"{SERVICE}_sum" in names
    assert f"{SERVICE}_bucket" not in names
    assert not any(name.endswith("_created") for name in names)


@pytest.mark.parametrize(
    "line",
    [
        f'{QUEUED}{{node="n",model="m"}} NaN',
        f'{QUEUED}{{node="n",model="m"}} +Inf',
        f'{QUEUED}{{node="n",model="m"}} many',
        f'{QUEUED}{{node="n",model="m"}}',
        f'{QUEUED}{{node="n" 3',
        f"{QUEUED}{{node=n}} 3",
        f'{QUEUED}{{node="a",node="b"}} 3',
        f"{QUEUED}",
    ],
)
def test_a_bad_line_is_counted_and_hides_no_other(line: str) -> None:
    page = parse_page(f'{line}\n{QUEUED}{{node="ok",model="m"}} 3\n')
    assert dict(page.values) == {(QUEUED, (("model", "m"), ("node", "ok"))): 3.0}
    assert page.bad_lines == 1


@pytest.mark.parametrize(
    "text", ["", "\n\n", "<html>not metrics</html>", "# HELP x\n", "python_info{a=\x00} 1\nfoo bar"]
)
def test_lines_of_others_are_none_of_ours(text: str) -> None:
    assert parse_page(text) == ({}, 0)


def test_a_time_stamp_is_no_value() -> None:
    page = parse_page(f'{QUEUED}{{node="n",model="m"}} 3 1700000000000\n{QUEUED} 4 1700000000000')
    assert sorted(page.values.values()) == [3.0, 4.0]
