"""What shadow says of a cluster whose truth is known: services, latency today, the gain; and when it says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.settings import Settings, load_settings
from evals.scenario import Scenario
from evals.shadow import judge, report
from evals.shadow.calibrate import Calibration
from evals.shadow.given import Given, ModelGiven
from evals.shadow.judge import Windows
from evals.shadow.recorder import Poll
from evals.shadow.stage import Dispatch, Stage, stage
from evals.shadow.stretches import stretches
from evals.shadow.traffic import Traffic, traffic
from evals.shadow.twin import first_scenario
from evals.simulate import run_policy
from tests.support.foreign_cluster import ForeignCluster, Home, foreign_cluster

DURATION_S, SLOT_S = 600.0, 15.0
CROWDED = (Home("a", "n-0", 0.85, 1.0), Home("b", "n-1", 0.1, 0.5), Home("c", "n-2", 0.1, 2.0))
# The truth serves one prompt at a time; engines of this make usually batch.
SAID = Given(models={m: ModelGiven(batching=0.0, max_concurrency=1, load_s=5.0) for m in "abc"})


class Judged:
    def __init__(self, cluster: ForeignCluster, polls: list[Poll], given: Given = SAID) -> None:
        found = stretches(polls)
        self.seen: Traffic = traffic(found, cluster.kinds)
        self.stage: Stage = stage(polls, found, self.seen, cluster.kinds, given)
        self.settings: Settings = load_settings(slot_s=SLOT_S, epoch_slots=5)
        self.base: Scenario = first_scenario(self.stage, "/nowhere.csv", DURATION_S, SLOT_S, 5, 1.0, 1)
        self.windows = Windows.of(self.seen.duration_s)
        self.calibration: Calibration = judge.calibrate(
            self.seen, self.stage, self.base, self.settings, self.windows, 1
        )
        self.check = judge.check(self.seen, self.stage, self.calibration, self.base, self.settings, self.windows, 1)


@pytest.fixture(scope="module")
def crowded() -> ForeignCluster:
    return foreign_cluster(CROWDED, DURATION_S)


@pytest.fixture(scope="module")
def judged(crowded: ForeignCluster) -> Judged:
    return Judged(crowded, crowded.polls(2.0, missed=(40, 41, 90)))


def test_every_prompt_is_recorded_though_looks_were_missed(crowded: ForeignCluster, judged: Judged) -> None:
    came = crowded.ran.prompts.arrived_s
    assert judged.seen.prompts == pytest.approx((came <= DURATION_S).sum(), abs=1)
    assert judged.stage.dispatch is Dispatch.OWN


def test_services_are_what_they_are(judged: Judged) -> None:
    for home in CROWDED:
        # Latency of the crowded one is three times its service. A few dozen prompts at cv 0.7 say no more.
        assert judged.calibration.service_s[judged.stage.model_of[home.model]] == pytest.approx(
            home.service_s, rel=0.35
        )


def test_the_twin_shows_todays_latency_where_it_was_not_calibrated(crowded: ForeignCluster, judged: Judged) -> None:
    assert judged.check is not None
    assert judged.check.measured_s == pytest.approx(crowded.mean_s(*judged.windows.check), rel=0.02)
    assert abs(judged.check.error) < 0.35


def test_the_gain_covers_what_edgewise_would_truly_have_done(crowded: ForeignCluster, judged: Judged) -> None:
    assert judged.check is not None
    pairs = judge.pairs(
        judged.seen, judged.stage, judged.calibration, judged.base, judged.settings, judged.windows, range(1, 4)
    )
    gain = judge.gain_of(pairs, judged.check.error)
    where = replace(crowded.where, scenario=replace(crowded.where.scenario, slot_s=SLOT_S))
    true = run_policy(where, "edgewise", 1.0).figures["mean_latency_s"]
    truth = 1.0 - true / crowded.ran.figures["mean_latency_s"]
    assert truth > 0.3
    assert abs(gain.gain - truth) < gain.half
    assert gain.jain[1] > gain.jain[0]
    assert judge.refusals(judged.seen, judged.check, gain, ()) == []


def test_little_traffic_promises_nothing() -> None:
    idle = foreign_cluster((Home("a", "n-0", 0.05, 1.0), Home("b", "n-1", 0.05, 1.0)), DURATION_S)
    judged = Judged(idle, idle.polls(2.0))
    why = judge.refusals(judged.seen, judged.check, None, ())
    assert any("too little traffic" in reason for reason in why)
    assert report.verdict(None, why)[0] == report.REFUSED


def test_a_twin_that_is_further_off_than_the_gain_promises_nothing(judged: Judged) -> None:
    assert judged.check is not None
    off = replace(judged.check, twin_s=1.5 * judged.check.measured_s)
    small = judge.Gain(0.2, 0.05, 0.5, (0.8, 0.9), (0.7, 0.8), (1.0, 1.0), (2.0, 1.6))
    (why,) = judge.refusals(judged.seen, off, small, ())
    assert "+50%" in why
    assert "20%" in why
    assert report.verdict(small, [why])[0] == report.REFUSED
    assert report.verdict(replace(small, half=0.1), ())[0] == report.PROMISE
    assert "−20% ± 10%" in report.verdict(replace(small, half=0.1), ())[1]
    assert report.verdict(small, ())[0] == report.NO_GAIN
