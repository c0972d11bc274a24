from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from serving.engines.stopping import StopScanner


def test_text_ends_before_the_stop_string_even_when_it_comes_in_pieces() -> None:
    scanner = StopScanner(("END",))
    assert scanner.feed("one E") == "one "
    assert scanner.feed("N") == ""
    assert scanner.feed("D two") == ""
    assert scanner.stopped
    assert scanner.feed("more") == ""
    assert scanner.rest() == ""


def test_what_only_looked_like_a_stop_string_is_given_out() -> None:
    scanner = StopScanner(("END",))
    assert scanner.feed("E") == ""
    assert scanner.feed("x") == "Ex"
    assert scanner.feed("EN") == ""
    assert scanner.rest() == "EN"
    assert not scanner.stopped


@given(st.text("ab", max_size=30), st.text("ab", min_size=1, max_size=3), st.lists(st.integers(0, 30), max_size=6))
def test_pieces_do_not_matter(text: str, stop: str, cuts: list[int]) -> None:
    scanner = StopScanner((stop,))
    edges = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    out = "".join(scanner.feed(text[a:b]) for a, b in pairwise(edges)) + scanner.rest()
    assert out == text.split(stop)[0]
    assert scanner.stopped == (stop in text)
