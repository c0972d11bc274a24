"""Intake, triggers, situation, summaries, reflection, carry and lift: the small pure steps of the controller."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from edgewise.control.carry import Carry, after, incumbent_of, take_result, ticket
from edgewise.control.decide import hold
from edgewise.control.forecast import Track, follow, shift
from edgewise.control.intake import stale_cluster, stale_telemetry, stranded_models, take, trigger
from edgewise.control.lift import JUDGED, demoted, lift
from edgewise.control.reflect import due, outcome, realise
from edgewise.control.seeds import generator
from edgewise.control.situation import describe, situation
from edgewise.control.state import EpochResult, Ticket
from edgewise.control.summaries import ideals, summarise
from edgewise.control.transitions import settle
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Candidate, ChangeOutcome, Decision, Mode, Rung, Score, Verdict
from edgewise.domain.observation import DemandFact, Observation, ReplicaLoad
from edgewise.domain.plan import Change, ChangeKind
from edgewise.domain.records import ReplicaRow, SlotModel, SlotSummary
from tests.support.control_world import (
    LARGE_HEAVY,
    SD_HEAVY,
    demand,
    job,
    observe,
    plan_of,
    rates,
    seven,
    short_settings,
)

WORLD = seven()
SETTINGS = short_settings()
READY = ReplicaState.READY
ALL = tuple(n.id for n in WORLD.nodes)


def seen(mix: dict[str, float], at_s: float = 4.0, slot: int = 1, load: float = 0.5, **more: object) -> Observation:
    rows = demand(WORLD, rates(WORLD, mix, load), SETTINGS.window_s)
    return observe(WORLD, at_s=at_s, slot=slot, demand_rows=rows, **more)  # type: ignore[arg-type]


def followed(mix: dict[str, float], slots: int = 6) -> Track:
    track = Track()
    for i in range(1, slots + 1):
        track = follow(track, seen(mix, at_s=4.0 * i, slot=i))
    return track


class TestTriggers:
    held: ClassVar = {("edge-1", "gpt2"): READY}
    plan = plan_of(held)

    def why(self, o: Observation, track: Track | None = None, alive: tuple[str, ...] = ALL) -> str:
        return trigger(o, track or Track(), self.plan, alive)[0]

    def test_without_a_plan_it_is_the_first(self) -> None:
        assert trigger(seen(SD_HEAVY), Track(), None, ALL)[0] == "first"

    def test_a_node_that_was_there_and_is_not(self) -> None:
        assert self.why(seen(SD_HEAVY, dead=["edge-3"])) == "node-loss"
        assert self.why(seen(SD_HEAVY), alive=ALL[:-1]) == "node-return"

    def test_prompts_that_wait_for_a_model_nobody_has(self) -> None:
        o = seen(SD_HEAVY, states=self.held, waiting={"blip": 3, "gpt2": 2})
        assert stranded_models(o) == ("blip",)
        assert self.why(o) == "waiting-without-replica"

    def test_a_shift_of_demand_is_told_from_noise(self) -> None:
        track = followed(SD_HEAVY)
        assert shift(track, seen(SD_HEAVY, at_s=100.0)) == ""
        words = shift(track, seen(LARGE_HEAVY, at_s=100.0))
        assert "gpt2-large" in words
        assert self.why(seen(LARGE_HEAVY, at_s=100.0), track) == "demand-shift"

    def test_epochs_come_at_their_cadence(self) -> None:
        assert self.why(seen(SD_HEAVY, slot=5)) == "epoch"
        assert self.why(seen(SD_HEAVY, slot=6)) == "slot"

    def test_a_job_carries_trigger_and_the_followed_demand(self) -> None:
        start = Ticket("d-000001", 1, incumbent=self.plan, alive_before=ALL)
        made = take(start, seen(SD_HEAVY, dead=["edge-7"]))
        assert made.observation.trigger == "node-loss"
        assert made.notes == ("node-loss: lost edge-7",)
        assert {x.model for x in made.track.levels} == set(SD_HEAVY)


class TestForecastTrack:
    def test_the_level_reaches_a_new_rate_within_an_epoch(self) -> None:
        track = followed(SD_HEAVY)
        for i in range(7, 13):
            track = follow(track, seen(LARGE_HEAVY, at_s=4.0 * i, slot=i))
        rate = sum(x.rate for x in track.levels if x.model == "gpt2-large")
        assert rate == pytest.approx(rates(WORLD, LARGE_HEAVY, 0.5)["gpt2-large"], rel=0.2)

    def test_one_outlier_moves_it_little(self) -> None:
        track = follow(Track(), observe(WORLD, at_s=4.0, demand_rows=[DemandFact("edge-1", "gpt2", 60, 12.0)]))
        after_one = follow(track, observe(WORLD, at_s=8.0, demand_rows=[DemandFact("edge-1", "gpt2", 90, 12.0)]))
        assert sum(x.rate for x in after_one.levels) < 5.0 + 0.25 * 2.5

    def test_the_same_figures_again_change_nothing(self) -> None:
        track = followed(SD_HEAVY)
        assert follow(track, seen(LARGE_HEAVY, at_s=track.at_s)) is track

    def test_silence_is_forgotten_slowly_not_at_once(self) -> None:
        track = followed(SD_HEAVY)
        silent = observe(WORLD, at_s=28.0, demand_rows=[DemandFact("edge-1", "blip", 0, 12.0)])
        assert 0 < sum(x.rate for x in follow(track, silent).levels) < sum(x.rate for x in track.levels)


class TestStaleness:
    def test_fresh_figures_are_not_stale(self) -> None:
        assert stale_cluster(seen(SD_HEAVY), 15) == ""
        assert stale_telemetry(seen(SD_HEAVY), 15) == ""

    def test_nothing_seen_is_not_acted_on(self) -> None:
        o = seen(SD_HEAVY)
        assert "no nodes" in stale_cluster(replace(o, cluster=replace(o.cluster, nodes=())), 15)
        assert "alive" in stale_cluster(seen(SD_HEAVY, dead=ALL), 15)

    def test_age_counts_from_the_facts_and_from_the_figures(self) -> None:
        o = seen(SD_HEAVY, at_s=100.0)
        assert "20.0 s old" in stale_cluster(replace(o, cluster=replace(o.cluster, at_s=80.0)), 15)
        old = tuple(replace(d, age_s=16.0) for d in o.telemetry.demand)
        models = tuple(replace(m, age_s=17.0) for m in o.telemetry.models)
        assert "16.0 s old" in stale_telemetry(
            replace(o, telemetry=replace(o.telemetry, demand=old, models=models)), 15
        )
        young = (replace(old[0], age_s=1.0), *old[1:])
        assert stale_telemetry(replace(o, telemetry=replace(o.telemetry, demand=young, models=models)), 15) == ""


class TestSituation:
    def test_features_are_bounded_and_tell_mixes_apart(self) -> None:
        a = dict(situation(seen(SD_HEAVY), followed(SD_HEAVY)).features)
        b = dict(situation(seen(LARGE_HEAVY), followed(LARGE_HEAVY)).features)
        assert a.keys() == b.keys()
        assert all(0 <= x <= 1 for x in [*a.values(), *b.values()])
        assert a["mix:stable-diffusion"] > 0.6 > b["mix:stable-diffusion"]

    def test_backlog_and_dead_nodes_show(self) -> None:
        loads = [ReplicaLoad("edge-1", "blip", 40, 1, 8.0)]
        o = seen(SD_HEAVY, loads=loads, dead=["edge-7"], states={("edge-1", "blip"): READY})
        features = dict(situation(o, followed(SD_HEAVY)).features)
        assert features["waits:blip"] > 0.5
        assert features["alive"] == pytest.approx(6 / 7, abs=1e-5)

    def test_words_say_what_stood(self) -> None:
        words = describe(seen(SD_HEAVY), followed(SD_HEAVY), plan_of([("edge-1", "gpt2"), ("edge-2", "gpt2")]))
        assert "2×gpt2" in words
        assert "stable-diffusion 7" in words


def slot_row(model: str, completed: int, latency_s: float | None, waiting: int = 0) -> SlotModel:
    return SlotModel(model, completed, completed, waiting, 0, 0, 1, latency_s, None)


class TestReflection:
    ideal: ClassVar = {"a": 1.0, "b": 2.0}

    def slots(self, *rows: SlotModel) -> list[SlotSummary]:
        return [SlotSummary(1, 0, 4.0, "d-1", rows, 7, None)]

    def test_the_objective_is_that_of_the_design(self) -> None:
        got = outcome(self.slots(slot_row("a", 30, 2.0), slot_row("b", 10, 8.0)), self.ideal, 1.0, 4.0)
        assert got is not None
        # mean 3.5 over ideal 1.25; x = 1/2 and 1/4: J = 0.9, normalised 0.8
        assert got.mean_latency_s == pytest.approx(3.5)
        assert got.jain_normalized == pytest.approx(0.8)
        assert got.objective == pytest.approx(3.5 / 1.25 * 1.2)

    def test_who_waits_is_not_left_out(self) -> None:
        calm = outcome(self.slots(slot_row("a", 30, 2.0)), self.ideal, 1.0, 4.0)
        starved = outcome(self.slots(slot_row("a", 30, 2.0), slot_row("b", 0, None, 20)), self.ideal, 1.0, 4.0)
        assert calm is not None
        assert starved is not None
        assert starved.mean_latency_s >= calm.mean_latency_s
        assert starved.jain_normalized < 1.0 or starved.objective > 0

    def test_nothing_seen_is_no_outcome(self) -> None:
        assert outcome([], self.ideal, 1.0, 4.0) is None
        assert outcome(self.slots(slot_row("a", 0, None)), self.ideal, 1.0, 4.0) is None
        assert realise([], None).objective is None

    def test_due_when_its_slots_have_passed_and_once(self) -> None:
        d = decision(slot=3)
        assert due([d], 4, 2) == ()
        assert due([d], 5, 2) == (d,)
        assert due([replace(d, realised=realise([], None))], 9, 2) == ()

    def test_a_summary_is_the_window_in_numbers(self) -> None:
        o = seen(SD_HEAVY, states={("edge-1", "gpt2"): READY}, waiting={"blip": 2})
        got = summarise(o, "d-1")
        gpt2 = next(m for m in got.models if m.model == "gpt2")
        assert (gpt2.replicas, gpt2.completed) == (1, 10)
        assert gpt2.slowdown == pytest.approx(2 * 0.12 / ideals(o)["gpt2"])
        assert got.jain_normalized is not None
        assert next(m for m in got.models if m.model == "blip").waiting == 2


def decision(slot: int = 1, plan_id: str = "p-1", mode: Mode = Mode.ACTIVE, **more: object) -> Decision:
    plan = plan_of([("edge-1", "gpt2")], plan_id)
    verdict = Verdict(plan_id, "", 0.0, 0.0, True, "")
    base = Decision("d-000001", slot, 0, 4.0, Rung.OPTIMISER, mode, "", plan_id, "", plan, verdict, ())
    return replace(base, **more)  # type: ignore[arg-type]


class TestSettling:
    load = ChangeOutcome(Change("edge-1", "gpt2", ChangeKind.LOAD), "pending")
    drain = ChangeOutcome(Change("edge-1", "blip", ChangeKind.DRAIN), "pending")

    def test_done_when_seen_later(self) -> None:
        d = decision(changes=(self.load, self.drain))
        seen_rows = [ReplicaRow("ready", 5.0, "edge-1", "gpt2"), ReplicaRow("drain", 3.0, "edge-1", "blip")]
        assert [o.status for o in settle(d, seen_rows)] == ["done", "pending"]  # the drain was before the decision

    def test_a_failed_load_is_refused_with_the_reason(self) -> None:
        got = settle(decision(changes=(self.load,)), [ReplicaRow("failed", 6.0, "edge-1", "gpt2", detail="no file")])
        assert (got[0].status, got[0].detail) == ("refused", "no file")


class TestCarry:
    o = seen(SD_HEAVY)

    def test_only_active_decisions_change_the_plan_in_effect(self) -> None:
        this = job(self.o, None)
        assert after(Carry(), this, decision(mode=Mode.ADVISORY)).plan is None
        assert after(Carry(), this, decision()).plan == decision().plan
        assert after(Carry(), this, None).decisions == 0

    def test_changes_asked_for_add_up_within_an_epoch(self) -> None:
        incumbent = plan_of([("edge-1", "gpt2"), ("edge-2", "gpt2")], "p-0")
        carry = after(Carry(plan=incumbent), job(self.o, incumbent), decision())
        assert carry.asked == 1
        assert take_result(replace(carry, asked_epoch=0), 4, SETTINGS).asked == 1
        assert take_result(replace(carry, asked_epoch=0), 5, SETTINGS).asked == 0

    def test_a_result_is_new_once_and_expires(self) -> None:
        result = EpochResult("e-000001", 0, 0.0, ())
        carry = take_result(Carry(finished=result), 2, SETTINGS)
        assert ticket(carry, 2, Mode.ACTIVE).result_new
        carry = after(carry, job(self.o, None), decision(epoch_result="e-000001"))
        assert not ticket(take_result(carry, 3, SETTINGS), 3, Mode.ACTIVE).result_new
        assert take_result(carry, 9, SETTINGS).result == result
        assert take_result(carry, 10, SETTINGS).result is None

    def test_without_acting_the_incumbent_is_what_stands(self) -> None:
        o = observe(WORLD, states={("edge-1", "gpt2"): READY})
        found = incumbent_of(o, Mode.ADVISORY, SETTINGS)
        assert found is not None
        assert [(r.node, r.model) for r in found.replicas] == [("edge-1", "gpt2")]
        assert incumbent_of(o, Mode.ACTIVE, SETTINGS) is None

    def test_a_hold_without_any_plan_is_an_empty_plan(self) -> None:
        got = hold(job(self.o, None), "nothing seen", SETTINGS)
        assert got.plan.replicas == ()
        assert got.rung is Rung.LAST_GOOD
        assert got.verdict.reason == "held: nothing seen"


class TestLift:
    def scored(self, **scores: float) -> Decision:
        candidates = tuple(Candidate(s, plan_of([]), Score(x, x, x)) for s, x in scores.items())
        return decision(candidates=candidates)

    def test_lift_is_the_gain_over_the_optimiser(self) -> None:
        assert lift(self.scored(optimiser=2.0, llm=1.5)) == pytest.approx(0.25)
        assert lift(self.scored(optimiser=2.0, llm=2.2)) == pytest.approx(-0.1)
        assert lift(self.scored(optimiser=2.0)) is None

    def test_demoted_after_enough_losses_and_asked_again_later(self) -> None:
        assert not demoted([-0.5] * (JUDGED - 1))
        assert demoted([-0.5] * JUDGED)
        assert not demoted([-0.5] * JUDGED + [0.5] * JUDGED)
        carry = Carry(lifts=(-0.5,) * (JUDGED - 1))
        o = seen(SD_HEAVY)
        result = EpochResult("e-000001", 0, 0.0, ())
        mine, lost = job(o, None, result=result, result_new=True), self.scored(optimiser=1.0, llm=2.0)
        bad = after(carry, mine, lost, hindsight=False)
        assert not after(carry, mine, lost).demoted(1)  # where somebody looks back, hindsight has the word
        assert bad.demoted(1)
        assert not bad.demoted(50)


def test_generators_depend_on_names_alone() -> None:
    assert generator("a", "b").random() == generator("a", "b").random()
    assert generator("a", "b").random() != generator("ab").random()
