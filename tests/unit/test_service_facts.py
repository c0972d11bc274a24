"""From what a node counts of its service to the observation's service facts."""

from __future__ import annotations

import math

import pytest

from edgewise.domain.cluster import NodeSpec
from serving.node.metrics import MOST_LOG, NodeMetrics
from tools.metrics_text import parse_page
from tools.telemetry import Scrape, facts_of


def scrape(metrics: NodeMetrics, at_s: float) -> Scrape:
    return Scrape(at_s, parse_page(metrics.text().decode()).values)


def node() -> NodeMetrics:
    return NodeMetrics(NodeSpec("edge-3", 4.0), lambda: (), lambda: 0.0)


def test_a_window_of_service_is_told_with_its_spread() -> None:
    metrics = node()
    metrics.served("gpt2", 9.0, 1.0)  # before the window
    first = scrape(metrics, 10.0)
    for seen_s, expected_s in ((8.0, 1.0), (4.0, 2.0), (0.5, 1.0)):
        metrics.served("gpt2", seen_s, expected_s)
    facts = facts_of({"edge-3": [first, scrape(metrics, 40.0)]}, 41.0, 30.0)
    (fact,) = facts.services
    logs = [math.log(8.0), math.log(2.0), math.log(0.5)]
    mean = sum(logs) / 3
    assert (fact.node, fact.model, fact.count) == ("edge-3", "gpt2", 3)
    assert (fact.seen_s, fact.expected_s) == pytest.approx((12.5, 4.0))
    assert fact.mean_log == pytest.approx(mean)
    assert fact.sd_log == pytest.approx(math.sqrt(sum((x - mean) ** 2 for x in logs) / 3))
    assert (fact.window_s, fact.age_s) == (30.0, 1.0)


def test_nothing_served_is_no_fact_and_one_odd_prompt_says_little() -> None:
    metrics = node()
    metrics.served("gpt2", 1.0, 1.0)
    first = scrape(metrics, 0.0)
    assert facts_of({"edge-3": [first, scrape(metrics, 30.0)]}, 30.0, 30.0).services == ()
    metrics.served("gpt2", 1e9, 1.0)
    (fact,) = facts_of({"edge-3": [first, scrape(metrics, 30.0)]}, 30.0, 30.0).services
    assert fact.mean_log == pytest.approx(MOST_LOG)
