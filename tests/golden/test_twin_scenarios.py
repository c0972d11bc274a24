"""Queues with known answers as scenario files, read, simulated and measured the way `edgewise simulate` does.

How far a run may be off by chance: latencies of successive prompts are alike, most of all at high load. Relative
standard error of the mean of 10⁶ prompts at load 0.8, measured over 40 seeds (theory for M/M/1: 0.89 %), and how
often one seed thus misses 3 % (M/M/1) or 3.5 % (the others) though nothing is wrong:

    M/M/1 0.92 %, 1 in 900                      PS exponential 0.93 %, 1 in 6000
    M/D/1 0.57 %, never                         PS log-normal cv 0.5: 0.76 %, never
    PS log-normal cv 2: 1.43 %, 1 in 70         PS log-normal cv 4: 2.34 %, 1 in 7

For n prompts the error is √(10⁶/n) times as large; at load 0.5 it is about a third.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.scenario_file import load_scenario
from evals.simulate import Simulated, simulate

SINGLE = """
name: single
seed: {seed}
duration_s: {duration_s}
{service}
nodes:
  - {{id: box, memory_gib: 2, speed: {speed}}}
models:
  - id: chat
    task: text-generation
    memory_gib: 1
    load_s: {{mean: 4}}
    service_s: {spread}
initial: {initial}
workload:
  synthetic: [{{model: chat, process: poisson, rate_per_s: {rate}}}]
"""


def measured(
    folder: Path, load: float, prompts: float, spread: str, *, service: str = "", speed: float = 1.0,
    mean_s: float = 1.0, seed: int = 1, initial: str = "{box: [chat]}",
) -> Simulated:  # fmt: skip
    """A run of about so many prompts. spread: the rest of service_s after its mean."""
    rate = load * speed / mean_s
    file = folder / "single.yaml"
    file.write_text(
        SINGLE.format(
            seed=seed, duration_s=prompts / rate, service=service, speed=speed, rate=rate, initial=initial,
            spread=f"{{mean: {mean_s}, {spread}}}",
        )
    )  # fmt: skip
    return simulate(load_scenario(file), "round-robin")


def mean_s(found: Simulated) -> float:
    assert found.figures["prompts_completed"] == found.figures["prompts_accepted"]
    return float(found.figures["mean_latency_s"])


@pytest.mark.parametrize("load", [0.2, 0.5, 0.65])
def test_exponential_is_mm1(tmp_path: Path, load: float) -> None:
    found = measured(tmp_path, load, 3e5, "distribution: exponential")
    assert mean_s(found) == pytest.approx(1 / (1 - load), rel=0.03)
    assert found.figures["p95_latency_s"] == pytest.approx(np.log(20) / (1 - load), rel=0.04)


def test_a_fast_node_with_short_prompts(tmp_path: Path) -> None:
    # μ = 50 per second.
    found = measured(tmp_path, 0.5, 3e5, "distribution: exponential", speed=2.5, mean_s=0.05)
    assert mean_s(found) == pytest.approx(1 / (50 - 25), rel=0.03)


def test_deterministic_is_md1(tmp_path: Path) -> None:
    found = measured(tmp_path, 0.7, 3e5, "distribution: deterministic")
    assert mean_s(found) == pytest.approx(1 + 0.7 / (2 * 0.3), rel=0.035)


@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_ps_knows_only_the_mean(tmp_path: Path, cv: float) -> None:
    found = measured(tmp_path, 0.5, 3e5, f"cv: {cv}", service="service: ps")
    assert mean_s(found) == pytest.approx(2.0, rel=0.035)


def test_lognormal_is_the_default_and_fifo(tmp_path: Path) -> None:
    # Pollaczek–Khinchine with the default cv of 0.5.
    found = measured(tmp_path, 0.6, 3e5, "cv: 0.5")
    assert mean_s(found) == pytest.approx(1 + 0.6 * 1.25 / (2 * 0.4), rel=0.03)


def test_the_first_load_is_paid_for_and_forgotten(tmp_path: Path) -> None:
    # Nothing stands: prompts wait for the load, L ≈ 4 s. Its work is worked off at 1 − ρ, and delays prompts by
    # λL²/(2(1 − ρ)) s in all: nothing to 2·10⁵ of them. Where L is hundreds of services it would show.
    load = 0.5
    cold = measured(tmp_path, load, 2e5, "distribution: exponential", initial="{}")
    warm = measured(tmp_path, load, 2e5, "distribution: exponential")
    assert cold.prompts.started_s.min() == pytest.approx(4.0, rel=0.8)
    ready_s = cold.replicas.at_s[1]
    extra_s = cold.prompts.latency_s.sum() - warm.prompts.latency_s.sum()
    assert 0 <= extra_s < 10 * load * ready_s**2 / (2 * (1 - load)) + 10
    assert mean_s(cold) == pytest.approx(mean_s(warm), rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("spread", "service", "expected_s", "deviation"),
    [
        ("distribution: exponential", "", 5.0, 0.0092),
        ("distribution: deterministic", "", 3.0, 0.0057),
        ("distribution: exponential", "service: ps", 5.0, 0.0093),
        ("cv: 0.5", "service: ps", 5.0, 0.0076),
        ("cv: 2", "service: ps", 5.0, 0.0143),
    ],
)
def test_a_million_prompts_at_load_0_8(
    tmp_path: Path, spread: str, service: str, expected_s: float, deviation: float
) -> None:
    seeds = range(11, 19)
    means = np.array([mean_s(measured(tmp_path, 0.8, 1e6, spread, service=service, seed=s)) for s in seeds])
    # The mean of eight within 3.5 standard errors, each within five.
    assert means.mean() == pytest.approx(expected_s, rel=3.5 * deviation / np.sqrt(len(seeds)))
    assert np.abs(means / expected_s - 1).max() < 5 * deviation
