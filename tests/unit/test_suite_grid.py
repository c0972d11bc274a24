"""What is run, under which key it is kept, and how a wrong name is told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.domain.errors import BadInput
from edgewise.settings import load_settings
from evals.scenario_file import load_scenario
from evals.suite import ci
from evals.suite.grid import BOUND, Grid, code_digest, known_policies
from evals.suite.store import Store
from evals.suite.variants import alpha_of, alphas, at_its_alpha
from tests.support.tiny_worlds import tiny_scenario

TRACED = """
name: traced
duration_s: 60
nodes: [{id: n, memory_gib: 8}]
models:
  - {id: gpt2, task: text-generation, memory_gib: 1, load_s: {mean: 1}, service_s: {mean: 1}}
workload:
  traces: [{file: a.csv, model_class: text-small, share: 1}]
  target_load: 0.5
"""


def keys(grid: Grid, code: str = "c") -> dict[tuple[str, int], str]:
    return {(c.policy, c.seed): c.key for c in grid.cells(code)}


def test_every_policy_meets_every_seed_and_each_seed_has_a_bound() -> None:
    scenario = replace(tiny_scenario(), seed=7)
    cells = Grid.of(scenario, ["marginal", "dpp", "marginal"], 2).cells("c")
    assert [(c.policy, c.seed) for c in cells] == [
        (BOUND, 7), ("marginal", 7), ("dpp", 7), (BOUND, 8), ("marginal", 8), ("dpp", 8)
    ]  # fmt: skip
    assert len({c.key for c in cells}) == len(cells)


def test_a_key_changes_with_what_the_result_depends_on() -> None:
    grid = Grid.of(tiny_scenario(), ["marginal"], 1)
    first = keys(grid)
    assert keys(grid) == first
    assert not set(first.values()) & set(keys(grid, "other code").values())
    changed = Grid.of(tiny_scenario(rate_per_s=0.4), ["marginal"], 1)
    assert not set(first.values()) & set(keys(changed).values())
    # More policies and seeds leave the keys of those that were there.
    assert first.items() <= keys(Grid.of(tiny_scenario(), ["dpp", "marginal"], 3)).items()


def test_a_key_changes_with_the_trace_file(tmp_path: Path) -> None:
    trace, file = tmp_path / "a.csv", tmp_path / "traced.yaml"
    head = "timestamp_s,model_class,source,input_tokens,output_tokens,images,extra_json\n"
    trace.write_text(head + "0,text-small,x,1,1,,{}\n")
    file.write_text(TRACED)
    first = keys(Grid.of(load_scenario(file), ["dpp"], 1))
    os.utime(trace, ns=(1, 1))
    touched = keys(Grid.of(load_scenario(file), ["dpp"], 1))
    assert not set(first.values()) & set(touched.values())


def test_the_code_digest_is_of_this_checkout_and_stays() -> None:
    assert code_digest() == code_digest()
    assert len(code_digest()) == 12


@pytest.mark.parametrize(
    ("asked", "hint"), [("margnal", "did you mean 'marginal'?"), ("marginal,lew_lru", "lew-lru")]
)
def test_a_misspelt_policy_is_told_with_the_nearest_name(asked: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        known_policies(asked, ["marginal", "lew-lru"], [])
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_policies_keep_their_order_and_default() -> None:
    assert known_policies("b, a,b", ["a", "b", "c"], ["c"]) == ("b", "a")
    assert known_policies(None, ["a", "b", "c"], ["c"]) == ("c",)
    with pytest.raises(BadInput, match="names none"):
        known_policies(" , ", ["a"], ["a"])


def test_variants_of_the_product_are_named_by_their_weight_of_fairness() -> None:
    assert alphas("0, 0.5,2,0.50") == ("edgewise@0", "edgewise@0.5", "edgewise@2")
    assert alphas(None) == ()
    assert [alpha_of(p) for p in ("edgewise@0.5", "edgewise")] == [0.5, None]
    for wrong in ("x", "-1", "nan", "inf"):
        with pytest.raises(BadInput, match="no weight of fairness"):
            alphas(wrong)


@pytest.mark.parametrize("before", [None, "3"])
def test_a_variant_runs_at_its_weight_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("EDGEWISE_ALPHA", raising=False)
    if before:
        monkeypatch.setenv("EDGEWISE_ALPHA", before)
    with at_its_alpha("edgewise@0.5") as name:
        assert name == "edgewise"
        assert load_settings().alpha == 0.5
    with at_its_alpha("marginal") as name:
        assert name == "marginal"
        assert os.environ.get("EDGEWISE_ALPHA") == before
    assert os.environ.get("EDGEWISE_ALPHA") == before


def test_a_key_changes_with_the_settings_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    code_digest.cache_clear()
    first = code_digest()
    code_digest.cache_clear()
    monkeypatch.setenv("EDGEWISE_BETA", "0.5")
    assert code_digest() != first
    code_digest.cache_clear()


def test_guards_hold_at_their_ratio_and_fail_above_it_or_without_one() -> None:
    guard = ci.Guard("a", "b", "mean_latency_s", 0.9, "")
    for ratio, ok in ((0.9, True), (0.91, False), (None, False)):
        report = {"paired": {"a/b": {"mean_latency_s": {"ratio": ratio}}}}
        assert [h.ok for h in ci.check(report, [guard])] == [ok]
    assert [h.ok for h in ci.check({"paired": {}}, [guard])] == [False]


def test_the_scenario_of_continuous_integration_needs_no_file() -> None:
    scenario = load_scenario(ci.SCENARIO)
    assert not scenario.workload.traces
    assert scenario.events


def test_no_seeds_is_refused() -> None:
    with pytest.raises(BadInput, match="at least 1"):
        Grid.of(tiny_scenario(), ["a"], 0)


def test_a_torn_or_foreign_run_file_counts_as_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.prepare()
    store.put("k1", {"figures": {"p99_latency_s": float("inf")}})
    assert store.get("k1") == {"key": "k1", "figures": {"p99_latency_s": None}}
    (store.folder / "k2.json").write_bytes((store.folder / "k1.json").read_bytes()[:-9])
    (store.folder / "k3.json").write_bytes((store.folder / "k1.json").read_bytes())
    assert store.get("k2") is None
    assert store.get("k3") is None
    assert store.get("k4") is None
    assert sorted(p.name for p in store.folder.iterdir()) == ["k1.json", "k2.json", "k3.json"]
