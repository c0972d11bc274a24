"""A real node process with tiny models, profiled; short."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.compose.fidelity_cluster import TURNSTILE, Cluster
from edgewise.compose.models import make_tiny_models
from edgewise.compose.profile import run_profile
from edgewise.domain.cluster import NodeSpec
from edgewise.domain.world import World
from evals.profiles.measure import Effort
from evals.profiles.record import entry_of, read_profile
from serving.checkpoints import catalogue, resolve
from tools.rundir import create_run_dir

SHORT = Effort(loads=2, rounds=2, together_rounds=1, budget_s=2.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_models(folder)
    return folder


def test_a_profile_of_a_real_node(tiny: Path, tmp_path: Path) -> None:
    said: list[str] = []
    content = run_profile(str(tiny), tmp_path / "p.json", said.append, only=("gpt2",), effort=SHORT)
    assert said == ["profiling gpt2"]
    profile = read_profile(tmp_path / "p.json")
    (model,) = profile.models
    assert content["models"][0]["id"] == "gpt2"
    assert model.loads == 2
    assert 0.0 < model.load_s.mean < 60.0
    assert 1e-4 < model.mean_service_s < 10.0
    assert model.service_s.per_output_token > 0.0  # a longer answer takes longer
    assert model.http_s > 0.0
    assert [t.prompts for t in model.together] == [1, 2, 4]
    assert 0.2 < model.together[-1].throughput < 4.0
    assert model.memory_mib.peak_rss >= model.memory_mib.loaded_rss > 50.0
    assert entry_of(model, catalogue()[0]).service_s == model.service_s
    assert profile.machine.packages["torch"]


async def test_a_cluster_that_is_held_by_the_node_server(tiny: Path, tmp_path: Path) -> None:
    specs = catalogue()[:1]
    world = World((NodeSpec("edge-1", 1.0, speed=0.5),), specs)
    said: list[str] = []
    cluster = Cluster(create_run_dir(tmp_path / "run"), world, resolve(str(tiny), specs), said.append)
    try:
        await cluster.start(gateway=False)
        await cluster.place({"edge-1": ("gpt2",)})
        held = await cluster.hold(0.5, by=TURNSTILE)
        assert (held.by, held.quota, held.why) == (TURNSTILE, 0.5, "asked for")
        await cluster.share({"edge-1": {"gpt2": 2.0}})
        assert cluster.cpu_s()["edge-1"] > 0.0
        assert cluster.pids["edge-1"] in cluster.all_pids()
    finally:
        await cluster.stop()
    assert not said  # nobody died unasked
