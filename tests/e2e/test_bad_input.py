"""Bad input: exit 2, one clear line (what, where, what to do), nothing half-started."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HEADER = "timestamp_s,model_class,source,input_tokens,output_tokens,images,extra_json\n"


def edgewise(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgewise.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=60,
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def test_a_malformed_trace_row(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text(HEADER + "0.0,text-small,x,10,10,0,{}\n1.0,text-small,x,ten,10,0,{}\n")
    done = edgewise("demo", "--trace", str(trace), "--out", "run", cwd=tmp_path)
    assert_refused(done, f"{trace}:3", "input_tokens", "ten")
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_in_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text(HEADER.strip() + ",model\n0.0,text-small,x,10,10,0,{},gpt3\n")
    done = edgewise("demo", "--trace", str(trace), "--out", "run", cwd=tmp_path)
    assert_refused(done, f"{trace}:2", "gpt3", "gpt2")
    assert not (tmp_path / "run").exists()


def test_a_busy_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = edgewise("demo", "--port", str(port), "--out", "run", cwd=tmp_path)
    assert_refused(done, str(port), "in use", "--port")
    assert not (tmp_path / "run").exists()


def test_a_missing_checkpoint_folder(tmp_path: Path) -> None:
    done = edgewise("demo", "--models", str(tmp_path / "none"), "--out", "run", cwd=tmp_path)
    assert_refused(done, str(tmp_path / "none"), "edgewise models tiny")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_broken_checkpoint_found_when_it_is_loaded(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the serving extra")
    from serving.checkpoints import tiny_folder

    models = tmp_path / "models"
    shutil.copytree(tiny_folder(), models)
    weights = models / "gpt2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = edgewise("demo", "--nodes", "1", "--models", str(models), "--out", "run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert str(models / "gpt2") in last
    assert "--models" in last
    assert not (tmp_path / "run").exists()


def test_hub_models_that_were_never_fetched(tmp_path: Path) -> None:
    done = edgewise("demo", "--models", "hub", "--out", "run", cwd=tmp_path, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert_refused(done, "hub cache")
    assert not (tmp_path / "run").exists()


def test_a_run_directory_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("{}")
    assert_refused(edgewise("demo", "--out", "run", cwd=tmp_path), "run", "not empty", "--out")


def test_no_disk_space_for_the_store(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        assert_refused(edgewise("demo", "--out", str(small / "run"), cwd=tmp_path), "no disk space", "MiB", "--out")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--nodes", "0"), "--nodes"),
        (("--duration", "-1"), "--duration"),
        (("--duration", "nan"), "--duration"),
        (("--nodes", "seven"), "--nodes"),
        (("--wat",), "--wat"),
        (("--duration", "1e9"), "10,000,000"),
        (("--llm", "localhost"), "http://"),
        (("--llm", "http://"), "http://"),
        (("--llm", "http://[::1"), "http://"),
        (("--trace", "nowhere.csv"), "nowhere.csv"),
        (("--port", "70000"), "--port"),
        (("--speedup", "0"), "--speedup"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    assert_refused(edgewise("demo", *arguments, "--out", "run", cwd=tmp_path), word)
    assert not (tmp_path / "run").exists()


def test_errors_are_json_too(tmp_path: Path) -> None:
    done = edgewise("demo", "--nodes", "0", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "bad_input"


def test_wrong_usage_is_json_too(tmp_path: Path) -> None:
    done = edgewise("demo", "--nodes", "seven", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "--nodes" in json.loads(done.stdout)["error"]["message"]


def test_a_name_no_file_system_takes(tmp_path: Path) -> None:
    assert_refused(edgewise("demo", "--out", "a" * 300, cwd=tmp_path), "too long")


@pytest.mark.parametrize("command", ["serve", "gateway", "control"])
def test_a_configuration_that_is_no_text(tmp_path: Path, command: str) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    assert_refused(edgewise(command, "--config", "c.yaml", cwd=tmp_path), "c.yaml", "UTF-8")


def test_only_the_next_port_is_busy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = edgewise("demo", "--port", str(port - 1), "--out", "run", cwd=tmp_path)
    assert_refused(done, str(port), "in use", "--port")
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_none(tmp_path: Path) -> None:
    assert_refused(edgewise("ui", "--run", str(tmp_path / "nope"), cwd=tmp_path), "nope")
    assert_refused(edgewise("control", "--run", str(tmp_path / "nope"), "--read-only", cwd=tmp_path), "nope")


def test_an_observation_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text('{"at_s": 1}')
    assert_refused(edgewise("plan", "o.json", cwd=tmp_path), "o.json")
    assert_refused(edgewise("plan", "nope.json", cwd=tmp_path), "nope.json")


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    hub = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = edgewise("models", "pull", "gpt2", cwd=tmp_path, **hub)
    assert done.returncode == 1
    assert "openai-community/gpt2 could not be fetched" in done.stderr
    assert_refused(edgewise("models", "pull", "gpt9", cwd=tmp_path, **hub), "gpt9", "gpt2-large")
