"""Case memory in the twin: training seeds apart from those judged, the same cases each time, nothing without it."""

from __future__ import annotations

import pytest

from edgewise.control.rolling import product_rules
from edgewise.domain.errors import BadInput
from edgewise.twin.run import run
from evals import trained
from evals.setting import setting
from evals.simulate import simulate
from evals.trained import TRAIN_SEEDS, remembering_product
from memory.book import CaseBook
from tests.unit.test_policies import small


def test_a_seed_it_learned_from_is_not_judged() -> None:
    with pytest.raises(BadInput, match="made of runs on seed 101"):
        simulate(small(), "edgewise-memory", TRAIN_SEEDS[0])


def test_cases_of_training_are_whole_and_a_run_does_not_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "TRAIN_SEEDS", TRAIN_SEEDS[:1])
    scenario = small(duration_s=240.0)
    simulate(scenario, "edgewise-memory", 3)
    left = trained.trained(scenario, 3).cases
    assert left
    assert {c.id.split("-d-")[0] for c in left} <= {f"train-{s}" for s in TRAIN_SEEDS}
    scored = [c for c in left if c.outcome is not None]
    assert scored
    assert all(c.placement and c.roles and c.source for c in scored)
    assert trained.trained(scenario, 3).cases == left


def test_an_empty_memory_that_is_not_asked_changes_nothing() -> None:
    scenario = small(duration_s=240.0)
    where = setting(scenario, 3)
    product = remembering_product(where, CaseBook(), "x")
    product.settings = product.settings.model_copy(update={"recall_cases": 0})
    assert product.memory is not None
    product.memory.settings = product.settings
    twin = where.twin(product_rules(product.settings, False))
    run(twin, product, where.scenario.slot_s, 1e5)
    plain = simulate(scenario, "edgewise", 3)
    assert (twin.state.finished_s == plain.prompts.finished_s).all()
    assert len(product.memory.book) > 0
