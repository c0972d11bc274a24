"""Configuration files of the parts that are started by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.compose.config import ControlConfig
from edgewise.compose.parts import SHARED_ORIGIN, read_config
from edgewise.domain.errors import BadInput
from serving.gateway.config import GatewayConfig
from serving.node.config import NodeConfig

BY_HAND = Path(__file__).resolve().parents[2] / "examples" / "by-hand"


def test_the_parts_of_the_example_agree_on_world_clock_and_run_directory() -> None:
    gateway = read_config(BY_HAND / "gateway.yaml", GatewayConfig, SHARED_ORIGIN)
    control = read_config(BY_HAND / "control.yaml", ControlConfig, SHARED_ORIGIN)
    nodes = [
        read_config(BY_HAND / f"node-{i}.yaml", NodeConfig, {"models": [], "sources": {}, **SHARED_ORIGIN})
        for i in (1, 2)
    ]
    assert gateway.world == control.world
    assert gateway.run_dir == control.run_dir
    assert tuple(n.node for n in nodes) == gateway.world.nodes
    assert (
        {n.url for n in gateway.nodes}
        == {n.url for n in control.nodes}
        == {f"http://127.0.0.1:{n.port}" for n in nodes}
    )
    assert control.gateways == (f"http://127.0.0.1:{gateway.port}",)
    assert {gateway.origin, control.origin, *(n.origin for n in nodes)} == {0.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("node: {id: a, memory_gib: 1}\nmodles: []\n", "unknown key 'modles' (did you mean 'models'?)"),
        ("node: {id: a}\nmodels: []\nsources: {}\n", "node.memory_gib"),
        ("- a list\n", "a mapping of names to values"),
        ("node: {id: [\n", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_config(path, NodeConfig, SHARED_ORIGIN)
    assert says in caught.value.line()
    assert caught.value.line().startswith(str(path))
    assert "\n" not in caught.value.line()


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the configuration: No such file"):
        read_config(tmp_path / "none.yaml", ControlConfig)
