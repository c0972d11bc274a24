"""A replica's Deployment: pinned, told what it is, with room to finish."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.domain import codec
from edgewise.domain.model import ModelSpec, Task
from tools.kubernetes.manifest import deployment, grace_s, memory_request
from tools.kubernetes.names import deployment_name, label_value
from tools.kubernetes.settings import KubernetesSettings

AT = datetime(2026, 5, 4, tzinfo=UTC)
SPEC = ModelSpec("org/gpt 2", Task.TEXT_GENERATION, 1.5, 2.0, service_cv=0.5, max_concurrency=2)
SETTINGS = KubernetesSettings(image="echo:1", images={"other": "other:1"}, memory_scale=0.1, port=9000)


def made(**changes: Any) -> dict[str, Any]:
    return deployment("edge-1", SPEC, changes.pop("attempt", 1), AT, SETTINGS, **changes)


def test_it_runs_on_its_node_and_nowhere_else() -> None:
    spec = made()["spec"]
    assert spec["template"]["spec"]["nodeSelector"] == {"edgewise.io/node": "edge-1"}
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_selector_does_not_change_with_the_attempt() -> None:
    first, second = made(attempt=1), made(attempt=2)
    assert first["spec"]["selector"] == second["spec"]["selector"]
    labels = second["spec"]["template"]["metadata"]["labels"]
    assert labels["edgewise.io/attempt"] == "2"
    assert second["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_replica_is_told_its_catalogue_entry() -> None:
    container = made(share="2.5")["spec"]["template"]["spec"]["containers"][0]
    told = json.loads(container["env"][0]["value"])
    assert codec.from_plain(ModelSpec, told["model"]) == SPEC
    assert (told["node"], told["port"], told["share"]) == ("edge-1", 9000, 2.5)
    assert container["ports"][0]["containerPort"] == 9000


def test_the_memory_asked_for_is_the_catalogues_scaled() -> None:
    container = made()["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"] == {"memory": "154Mi"}
    assert memory_request(SPEC, 1.0) == "1536Mi"
    assert made()["metadata"]["annotations"]["edgewise.io/memory-gib"] == "1.5"


def test_the_grace_covers_what_may_be_in_flight() -> None:
    assert grace_s(SPEC) == 10 + 2 * 5
    pod = made()["spec"]["template"]["spec"]
    told = json.loads(pod["containers"][0]["env"][0]["value"])
    assert told["grace_s"] < pod["terminationGracePeriodSeconds"] == grace_s(SPEC)


def test_an_image_per_model_goes_before_the_common_one() -> None:
    assert (SETTINGS.image_of("other"), SETTINGS.image_of("small")) == ("other:1", "echo:1")


@pytest.mark.parametrize(("identifier", "value"), [("gpt2", "gpt2"), ("edge-1", "edge-1"), ("v1.5_x", "v1.5_x")])
def test_ids_that_are_labels_stay_readable(identifier: str, value: str) -> None:
    assert label_value(identifier) == value


@given(st.text(min_size=1, max_size=120), st.text(min_size=1, max_size=120))
def test_every_id_makes_a_valid_label_and_name(node: str, model: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", label_value(model))
    name = deployment_name(node, model)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 45


@given(st.text(max_size=60), st.text(max_size=60))
def test_different_ids_get_different_labels(one: str, two: str) -> None:
    assert (one == two) == (label_value(one) == label_value(two))
