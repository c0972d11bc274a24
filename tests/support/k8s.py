"""A real cluster for tests: $KUBECONFIG, a namespace of the session's own, least-rights accounts, the echo image."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NODE = "edgewise.io/node"


@dataclass(frozen=True)
class Bed:
    """What a test needs of the cluster, whose pods must be reachable from here. `account`: a kubeconfig with the
    rights of rbac.yaml; `stranger`: one with none; `admin`: the one given."""

    admin: Path
    account: Path
    stranger: Path
    namespace: str
    image: str
    nodes: tuple[str, ...]
    client: Any

    def empty(self) -> None:
        """Removes every replica and waits until their pods are gone."""
        from kubernetes import client

        apps, core = client.AppsV1Api(self.client), client.CoreV1Api(self.client)
        apps.delete_collection_namespaced_deployment(self.namespace, propagation_policy="Background")
        end = time.monotonic() + 60
        while apps.list_namespaced_deployment(self.namespace).items or core.list_namespaced_pod(self.namespace).items:
            core.delete_collection_namespaced_pod(self.namespace, grace_period_seconds=1)
            assert time.monotonic() < end, "the replicas of the last test do not go away"
            time.sleep(0.3)


def cluster_tool() -> Path | None:
    """The program that started this cluster and can write and load images, where there is one."""
    given = os.environ.get("EDGEWISE_CLUSTER_TOOL")
    path = Path(given) if given else ROOT.parent / "shared" / "kubernetes" / "cluster"
    return path if path.is_file() else None


def tool_command(kubeconfig: Path, *words: str) -> list[str]:
    """A command line of the cluster tool for the cluster of this kubeconfig; skips where it is not that tool's."""
    tool = cluster_tool()
    if tool is None or not (kubeconfig.parent / "cluster.json").exists():
        pytest.skip("this cluster was not started by the cluster tool, which alone can do this")
    return [str(tool), words[0], "--state", str(kubeconfig.parent), *words[1:]]


def kubeconfig() -> Path:
    """$KUBECONFIG, or skips the test with the reason."""
    given = os.environ.get("KUBECONFIG", "")
    if not given:
        pytest.skip("needs a Kubernetes cluster: set KUBECONFIG")
    return Path(given)


@contextlib.contextmanager
def open_bed(folder: Path) -> Iterator[Bed]:
    """Makes the namespace and accounts, and removes them. `folder` keeps the kubeconfigs."""
    from kubernetes import client, config

    admin = kubeconfig()
    with config.new_client_from_config(config_file=str(admin)) as api:
        found = client.CoreV1Api(api).list_node(label_selector=NODE).items
        nodes = tuple(sorted(n.metadata.labels[NODE] for n in found))
        assert nodes, f"no node of the cluster carries the label {NODE}"
        image = _image(admin, found)
        namespace = f"edgewise-test-{uuid.uuid4().hex[:8]}"
        try:
            _make(api, namespace)
            account, stranger = (
                _kubeconfig(api, admin, namespace, name, folder) for name in ("edgewise-control", "stranger")
            )
            yield Bed(admin, account, stranger, namespace, image, nodes, api)
        finally:
            _remove(api, namespace)


def _image(admin: Path, nodes: list[Any]) -> str:
    """The echo image: one the cluster can pull, or one built here and loaded where it is not there yet."""
    if given := os.environ.get("EDGEWISE_REPLICA_IMAGE"):
        return given
    tool = cluster_tool()
    if tool is None or not (admin.parent / "cluster.json").exists():
        pytest.skip("set EDGEWISE_REPLICA_IMAGE to an image of deploy/replica that this cluster can pull")
    built = _run([str(ROOT / "deploy/replica/build.sh"), str(tool)], 400)
    name, tar = built.split()[-2:]
    there = [any(name in (i.names or []) for i in n.status.images or []) for n in nodes]
    if not all(there):
        _run(tool_command(admin, "load", tar), 300)
    return name


def _run(command: list[str], timeout_s: float) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-500:]}"
    return done.stdout


def _make(api: Any, namespace: str) -> None:
    from kubernetes import client, utils

    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": namespace, "labels": {"edgewise.io/test": "true"}}})
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "stranger"}})
    utils.create_from_yaml(api, yaml_objects=list(_rbac(namespace)), namespace=namespace)
    end = time.monotonic() + 30
    while not any(a.metadata.name == "default" for a in core.list_namespaced_service_account(namespace).items):
        assert time.monotonic() < end, "the namespace got no default service account"
        time.sleep(0.2)


def _rbac(namespace: str) -> Iterator[dict[str, Any]]:
    """deploy/replica/rbac.yaml for this namespace, and a binding for the pod proxy."""
    for item in yaml.safe_load_all((ROOT / "deploy/replica/rbac.yaml").read_text(encoding="utf-8")):
        if item["kind"].startswith("Cluster"):
            item["metadata"]["name"] += f"-{namespace}"
        else:
            item["metadata"]["namespace"] = namespace
        if item["kind"] == "ClusterRoleBinding":
            item["roleRef"]["name"] += f"-{namespace}"
        for subject in item.get("subjects", []):
            subject["namespace"] = namespace
        yield item
        if item["kind"] == "RoleBinding":
            role = {**item["roleRef"], "name": "edgewise-pod-proxy"}
            yield {**item, "metadata": {"name": "edgewise-pod-proxy", "namespace": namespace}, "roleRef": role}


def _kubeconfig(api: Any, admin: Path, namespace: str, account: str, folder: Path) -> Path:
    """A kubeconfig that signs in as a service account, with a token of an hour."""
    from kubernetes import client

    request = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    issued = client.CoreV1Api(api).create_namespaced_service_account_token(account, namespace, request)
    config = yaml.safe_load(admin.read_text(encoding="utf-8"))
    current = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
    cluster = next(c for c in config["clusters"] if c["name"] == current["cluster"])
    path = folder / f"{account}.kubeconfig"
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster["cluster"]}],
        "users": [{"name": "test", "user": {"token": issued.status.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


def _remove(api: Any, namespace: str) -> None:
    from kubernetes import client
    from kubernetes.client.exceptions import NotFoundException

    rbac = client.RbacAuthorizationV1Api(api)
    for remove, name in (
        (rbac.delete_cluster_role_binding, f"edgewise-node-reader-{namespace}"),
        (rbac.delete_cluster_role, f"edgewise-node-reader-{namespace}"),
        (client.CoreV1Api(api).delete_namespace, namespace),
    ):
        with contextlib.suppress(NotFoundException):
            remove(name)
