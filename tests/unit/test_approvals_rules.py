"""What is asked of a person, what the slot goes on by, and when a yes has lapsed: as plain functions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.control.approvals import Word as Answer
from edgewise.control.approvals import allowed, ask, digest, ended, in_words, lapsed, stand_in, wanted
from edgewise.control.state import Declined, Job
from edgewise.domain.codec import from_plain, to_plain
from edgewise.domain.decision import ApprovalState, Candidate, Decision, Mode, Rung, Score, Verdict
from edgewise.domain.observation import Observation
from edgewise.domain.plan import ANY, Plan, ReplicaGoal, Route, Share
from edgewise.settings import Settings
from tests.support.control_world import job, observe, plan_of, ready, seven, short_settings
from tools.rundir import decision_of, decision_row

WORLD = seven()
OLD = plan_of([("edge-1", "gpt2"), ("edge-2", "blip")], "p-old")
NEW = plan_of([("edge-1", "gpt2"), ("edge-3", "blip")], "p-new")
PLACEMENT, ALL = short_settings(approval="placement"), short_settings(approval="all")


def seen(plan: Plan = OLD, **changes: object) -> Observation:
    return observe(WORLD, states=ready(plan), slot=7, at_s=28.0, **changes)  # type: ignore[arg-type]


def decided(plan: Plan = NEW, base: Plan | None = OLD) -> Decision:
    pool = [(("incumbent", base, 2.0),)] if base is not None else []
    named = [*(p for x in pool for p in x), ("optimiser", plan, 1.5)]
    candidates = tuple(Candidate(s, p, Score(x, x - 0.1, x + 0.1)) for s, p, x in named) if base else ()
    old = base.id if base else ""
    verdict = Verdict(plan.id, old, 0.5, 0.03, True, "predicted better")
    return Decision("d-000007", 7, 1, 28.0, Rung.OPTIMISER, Mode.ACTIVE, old, plan.id, old, plan, verdict, candidates)


def asked_job(incumbent: Plan | None = OLD, mode: Mode = Mode.ACTIVE, **changes: object) -> Job:
    return job(seen(), incumbent, mode=mode, **changes)


@pytest.mark.parametrize(
    ("settings", "mode", "plan", "expected"),
    [
        (short_settings(), Mode.ACTIVE, NEW, False),
        (PLACEMENT, Mode.ACTIVE, NEW, True),
        (PLACEMENT, Mode.ADVISORY, NEW, False),
        (PLACEMENT, Mode.ACTIVE, replace(OLD, id="p-w", shares=(Share("edge-1", "gpt2", 0.5),)), False),
        (ALL, Mode.ACTIVE, replace(OLD, id="p-w", shares=(Share("edge-1", "gpt2", 0.5),)), True),
        (ALL, Mode.ACTIVE, replace(OLD, id="p-w", made_at_s=9.0, expires_s=99.0, reason="again"), False),
    ],
)
def test_who_has_to_be_asked(settings: Settings, mode: Mode, plan: Plan, expected: bool) -> None:
    assert wanted(asked_job(mode=mode), decided(plan), settings) is expected


def test_a_first_placement_is_asked_for_only_where_everything_is() -> None:
    first = decided(NEW, None)
    assert not wanted(asked_job(None), first, PLACEMENT)
    assert wanted(asked_job(None), first, ALL)
    kept = stand_in(asked_job(None), first, ALL)
    assert kept.plan.replicas == ()
    assert kept.rung is Rung.LAST_GOOD


def test_what_was_mended_is_not_asked_for_but_what_goes_beyond_it_is() -> None:
    mended = plan_of([("edge-1", "gpt2"), ("edge-4", "blip")], "p-mended")
    assert not wanted(asked_job(), decided(mended, mended), PLACEMENT)
    assert wanted(asked_job(), decided(NEW, mended), PLACEMENT)
    assert stand_in(asked_job(), decided(NEW, mended), PLACEMENT).plan.replicas == mended.replicas
    assert stand_in(asked_job(), decided(NEW, mended), ALL).plan.replicas == OLD.replicas


def test_the_slot_goes_on_by_the_incumbent_with_its_lease_renewed() -> None:
    kept = stand_in(asked_job(), decided(), PLACEMENT)
    assert (kept.chosen, kept.runner_up, kept.plan.replicas) == ("p-old", "p-new", OLD.replicas)
    assert (kept.plan.made_at_s, kept.plan.expires_s) == (28.0, 28.0 + 4 * 4.0)
    assert not kept.verdict.accepted
    assert kept.verdict.margin < 0  # what goes on is predicted to be the worse one
    assert {c.change.kind.value for c in kept.changes} <= {"weight", "share"}


def test_the_request_says_in_words_what_why_and_until_when() -> None:
    got = ask(asked_job(), decided(), PLACEMENT)
    assert got.changes == ("load blip on edge-3", "stop blip on edge-2")
    assert (got.id, got.state, got.reason) == ("a-000007", ApprovalState.WAITING, "predicted better")
    assert (got.asked_s, got.expires_s) == (28.0, 36.0)
    assert got.runner_up == "incumbent (p-old), predicted 50.0% behind"
    assert [(s, x.mean) for s, _, x in got.scores] == [("incumbent", 2.0), ("optimiser", 1.5)]


def test_weights_and_shares_are_told_by_whose_they_are() -> None:
    moved = replace(OLD, routes=(Route(ANY, "gpt2", "edge-1", 1.0),), shares=(Share("edge-2", "blip", 1.0),))
    assert in_words(moved, OLD) == ("new route weights for gpt2", "new shares on edge-2")
    assert in_words(OLD, OLD) == ("nothing but the lease",)


def test_the_hash_is_of_both_and_survives_the_checkpoint() -> None:
    o = from_plain(Observation, to_plain(seen()))
    plan = from_plain(Plan, to_plain(NEW))
    got = digest(plan, o)
    assert len(got) == 64
    assert got == digest(from_plain(Plan, to_plain(plan)), from_plain(Observation, to_plain(o)))
    assert got != digest(replace(plan, alpha=1.0), o)
    assert got != digest(plan, replace(o, at_s=o.at_s + 1))


def test_a_placement_somebody_does_not_want_is_not_asked_for_until_it_is_forgotten() -> None:
    no = Declined("a-000003", NEW.replicas, until=9, by="ada")
    kept = allowed(asked_job(declined=(no,)), decided(), PLACEMENT)
    assert kept.plan.replicas == OLD.replicas
    assert kept.notes == ("p-new is not asked for up to slot 9: ada rejected its placement in a-000003",)
    assert not wanted(asked_job(declined=(no,)), kept, PLACEMENT)
    past = replace(no, until=6)
    assert allowed(asked_job(declined=(past,)), decided(), PLACEMENT) == decided()
    other = replace(no, replicas=(ReplicaGoal("edge-1", "gpt2"),))
    assert allowed(asked_job(declined=(other,)), decided(), PLACEMENT) == decided()


def test_only_a_yes_makes_the_plan_the_decisions() -> None:
    wants = replace(decided(), approval=ask(asked_job(), decided(), PLACEMENT))
    kept = stand_in(asked_job(), wants, PLACEMENT)
    yes = ended(wants, kept, Answer(ApprovalState.APPROVED, 30.0, "ada", "", 30.0, 46.0))
    assert (yes.plan.id, yes.plan.made_at_s, yes.plan.expires_s) == ("p-new", 30.0, 46.0)
    assert yes.notes[-1] == "a-000007 approved by ada"
    for state in (ApprovalState.REJECTED, ApprovalState.EXPIRED, ApprovalState.SUPERSEDED, ApprovalState.LAPSED):
        no = ended(wants, kept, Answer(state, 30.0, "", "so"))
        assert (no.plan.id, no.chosen, no.verdict.accepted) == ("p-old", "p-old", False)
        assert no.approval is not None
        assert (no.approval.state, no.approval.answered_s) == (state, 30.0)
        assert no.notes[-1] == f"a-000007 {state.value}: so"


def test_a_line_of_the_run_directory_keeps_the_approval() -> None:
    wants = replace(decided(), approval=ask(asked_job(), decided(), PLACEMENT))
    row = decision_row(wants)
    assert row["approval"]["changes"] == ["load blip on edge-3", "stop blip on edge-2"]
    assert decision_row(decision_of(row)) == row
    assert "approval" not in decision_row(decided())


class TestLapsed:
    def why(self, now: Observation, in_force: Plan | None = OLD, plan: Plan = NEW, asked: int = 0) -> str:
        return lapsed(plan, OLD.replicas, in_force, now, asked, PLACEMENT)

    def covering(self) -> tuple[Plan, Plan]:
        """Two placements in which every model stands."""
        base = [("edge-1", "gpt2"), ("edge-2", "blip"), ("edge-5", "gpt2-large"), ("edge-6", "stable-diffusion")]
        more = [*base, ("edge-3", "blip")]
        return plan_of(base, "p-old"), plan_of(more, "p-new")

    def test_nothing_has_changed(self) -> None:
        old, new = self.covering()
        assert lapsed(new, old.replicas, old, seen(old), 0, PLACEMENT) == ""

    def test_other_replicas_are_in_force(self) -> None:
        assert "replicas in force" in self.why(seen(), plan_of([("edge-1", "gpt2")]))

    def test_a_node_is_gone(self) -> None:
        assert "no such node alive" in self.why(seen(dead=["edge-3"]))

    def test_the_thrash_budget_is_spent(self) -> None:
        old, new = self.covering()
        assert lapsed(new, old.replicas, old, seen(old), 99, PLACEMENT)

    def test_the_cluster_has_not_been_seen_for_long(self) -> None:
        assert self.why(replace(seen(), at_s=500.0))
