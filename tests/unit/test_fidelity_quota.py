"""Where CPU groups can be made, and what is written into them; on folders that only look like cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.domain.errors import SetupError
from evals.fidelity import quota
from evals.fidelity.quota import Hierarchy, Quotas, find_hierarchy, quota_us


@pytest.mark.parametrize("cores", [0.05, 0.25, 1 / 3, 0.5, 0.85, 1.0])
def test_a_quota_is_the_part_asked_for_and_one_the_kernel_takes(cores: float) -> None:
    part, period = quota_us(cores)
    assert part / period == pytest.approx(cores, rel=1e-2)
    assert part >= 1000
    assert period >= 1000


def machine(tmp_path: Path, mounts: str, own: str) -> tuple[Path, Path]:
    (tmp_path / "mounts").write_text(mounts.replace("@", str(tmp_path)))
    (tmp_path / "own").write_text(own)
    return tmp_path / "mounts", tmp_path / "own"


def test_version_2_comes_first_and_nearer_groups_before_the_root(tmp_path: Path) -> None:
    mounts = "cgroup @/v1 cgroup rw,cpu 0 0\ncgroup2 @/v2 cgroup2 rw 0 0\n"
    found = list(quota._candidates(mounts.replace("@", str(tmp_path)), "4:cpu,cpuacct:/a\n0::/user/me\n"))
    assert found == [
        (tmp_path / "v2/user/me", 2),
        (tmp_path / "v2/user", 2),
        (tmp_path / "v2", 2),
        (tmp_path / "v1/a", 1),
        (tmp_path / "v1", 1),
    ]


def test_a_machine_without_says_why(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no CPU controller is mounted"):
        find_hierarchy(*machine(tmp_path, "proc /proc proc rw 0 0\n", "0::/\n"))
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2/cgroup.subtree_control").write_text("memory pids\n")
    with pytest.raises(SetupError, match="not given to groups below"):
        find_hierarchy(*machine(tmp_path, "cgroup2 @/v2 cgroup2 rw 0 0\n", "0::/\n"))
    (tmp_path / "v2/cgroup.subtree_control").write_text("cpu memory\n")
    with pytest.raises(SetupError, match="knows no CPU quota"):  # a folder, but no cgroup file system
        find_hierarchy(*machine(tmp_path, "cgroup2 @/v2 cgroup2 rw 0 0\n", "0::/\n"))
    assert not list((tmp_path / "v2").glob("edgewise-*"))


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (2, {"cpu.max": "5000 10000", "cpu.weight": "10000", "cgroup.procs": "42"}),
        (1, {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "5000", "cpu.shares": "262144", "cgroup.procs": "42"}),
    ],
)
def test_a_process_is_moved_into_a_group_with_its_quota(tmp_path: Path, version: int, files: dict[str, str]) -> None:
    quotas = Quotas(Hierarchy(tmp_path, version))
    quotas.hold("edge-1", 42, 0.5)
    (group,) = tmp_path.iterdir()
    assert {f.name: f.read_text() for f in group.iterdir()} == files
    assert quotas.close() == ["edge-1"]  # not empty yet
    for file in group.iterdir():
        file.unlink()
    assert quotas.close() == []
    assert not group.exists()


def test_what_the_kernel_refuses_is_a_set_up_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no CPU quota could be set"):
        Quotas(Hierarchy(tmp_path / "absent", 2)).hold("edge-1", 42, 0.5)
