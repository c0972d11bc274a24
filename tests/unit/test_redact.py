"""What a capsule does not say."""

from __future__ import annotations

import platform

import pytest

from edgewise.compose.redact import redacted, scrubber


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("cluster: http://10.1.2.3:8801/state did not answer", "cluster: [url] did not answer"),
        ("no answer from 192.168.7.12:8801", "no answer from [address]"),
        ("bound to fe80::1ff:fe23:4567:890a", "bound to [address]"),
        ("cannot read /var/lib/edge wise/x.sqlite", "cannot read [path] wise/x.sqlite"),
        ("~/runs/first is full", "[path] is full"),
        ("key sk-abcdefgh12345678 refused", "key [key] refused"),
        ("localhost:9000 closed", "[host] closed"),
        ("0.30 → 0.45, e-000001, 1/2 and/or 12:30:05", "0.30 → 0.45, e-000001, 1/2 and/or 12:30:05"),
        ("edge-1 lost; edge-10 slow", "edge-1 lost; edge-10 slow"),
    ],
)  # fmt: skip
def test_texts(text: str, left: str) -> None:
    assert scrubber()(text) == left


def test_the_name_of_this_machine_goes_and_so_do_nodes_when_asked() -> None:
    names = [f"edge-{i}" for i in range(1, 12)]
    scrub = scrubber(names)
    assert scrub("edge-1, edge-10 and edge-2") == "node-01, node-02 and node-04"  # in the order of their names
    assert [scrub(n) for n in sorted(names)] == sorted(scrub(n) for n in names)
    assert scrub("pre-edge-1x") == "pre-edge-1x"
    if len(platform.node()) > 2:
        assert scrubber()(f"on {platform.node()}") == "on [host]"


def test_structures() -> None:
    plain = {"url": "http://a", "edge-1": ["edge-1", 3, None, {"llm_url": "x", "error": "see https://x.y/z"}]}
    assert redacted(plain, scrubber(["edge-1"])) == {
        "url": "",
        "node-1": ["node-1", 3, None, {"llm_url": "", "error": "see [url]"}],
    }
