"""The trace reader: good rows come out as they went in; every kind of bad row is named by line and column."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.domain.errors import BadInput
from evals.generate import generate
from evals.traces import (
    COLUMNS,
    DEFAULT_MODELS,
    GENERATED,
    ModelClass,
    TraceRow,
    iter_trace,
    read_trace,
    trace_folder,
    write_trace,
)

HEAD = ",".join(COLUMNS)
GOOD = "1.0,text-small,s,10,5,0,{}"


def trace(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read_trace(path)
    assert caught.value.hint
    return caught.value


def test_cells_become_typed_fields_and_empty_ones_are_unknown(tmp_path: Path) -> None:
    extra = '"{""group"":""G1"",""steps"":30}"'
    path = trace(tmp_path, HEAD, GOOD, f'2.5,image-generation,"a, b",,,2,{extra}', "2.5,text-large,s,,,,")
    first, second, third = read_trace(path)
    assert first == TraceRow(1.0, ModelClass.TEXT_SMALL, "s", 10, 5, 0, line=2)
    assert (second.source, second.input_tokens, second.images, second.line) == ("a, b", None, 2, 3)
    assert second.extra == {"group": "G1", "steps": 30}
    assert second.sticky_key == "group=G1"
    assert (third.images, third.extra, third.sticky_key) == (None, {}, None)


def test_optional_columns_and_any_order(tmp_path: Path) -> None:
    path = trace(tmp_path, "access_node,model," + HEAD, "edge-2,gpt2," + GOOD, ",," + GOOD)
    first, second = read_trace(path)
    assert (first.model, first.access_node) == ("gpt2", "edge-2")
    assert (second.model, second.access_node) == (None, None)


@pytest.mark.parametrize(
    ("row", "column", "says"),
    [
        ("x,text-small,s,1,1,0,{}", "timestamp_s", "not a number"),
        (",text-small,s,1,1,0,{}", "timestamp_s", "not a number"),
        ("-1,text-small,s,1,1,0,{}", "timestamp_s", "not a time"),
        ("nan,text-small,s,1,1,0,{}", "timestamp_s", "not a time"),
        ("inf,text-small,s,1,1,0,{}", "timestamp_s", "not a time"),
        ("0.5,text-small,s,1,1,0,{}", "timestamp_s", "comes after"),
        ("2,text-smal,s,1,1,0,{}", "model_class", "text-smal"),
        ("2,text-small,s,1.5,1,0,{}", "input_tokens", "whole number"),
        ("2,text-small,s,1,-1,0,{}", "output_tokens", "whole number"),
        ("2,text-small,s,1,1,many,{}", "images", "whole number"),
        ("2,text-small,s,99999999999999999999,1,0,{}", "input_tokens", "larger"),
        ("2,text-small,s,1,1,0,{bad", "extra_json", "not valid JSON"),
        ("2,text-small,s,1,1,0,[]", "extra_json", "not a JSON object"),
        ("2,text-small,s,1,1,0", "row", "6 cells"),
        ("2,text-small,s,1,1,0,{},9", "row", "8 cells"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_column(tmp_path: Path, row: str, column: str, says: str) -> None:
    path = trace(tmp_path, HEAD, GOOD, row)
    error = refusal(path)
    assert error.where == f"{path}:3"
    assert error.message.startswith(f"{column}: ")
    assert says in error.message


def test_the_nearest_class_is_suggested(tmp_path: Path) -> None:
    assert "'text-small'" in refusal(trace(tmp_path, HEAD, "1,text-smal,s,1,1,0,{}")).hint


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (HEAD.replace("images,", ""), "'images' is missing"),
        (HEAD + ",acess_node", "'acess_node'"),
        (HEAD + ",source", "there twice"),
    ],
)
def test_a_bad_header_is_line_one(tmp_path: Path, head: str, says: str) -> None:
    path = trace(tmp_path, head, GOOD)
    error = refusal(path)
    assert error.where == f"{path}:1"
    assert says in error.message


def test_files_that_are_no_trace(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    assert refusal(empty).where == f"{empty}:1"
    assert "no rows" in refusal(trace(tmp_path, HEAD)).message

    quotes = trace(tmp_path, HEAD, GOOD, '2.0,text-small,"s" x,1,1,0,{}')
    assert refusal(quotes).where == f"{quotes}:3"

    latin = tmp_path / "latin.csv"
    latin.write_bytes(f"{HEAD}\n{GOOD}\n2.0,text-small,caf\xe9,1,1,0,{{}}\n".encode("latin-1"))
    assert refusal(latin).where == f"{latin}:3"
    assert "UTF-8" in refusal(latin).message

    plain = tmp_path / "plain.csv.gz"
    plain.write_text(HEAD)
    assert "gzip" in refusal(plain).message

    gone = tmp_path / "gone.csv"
    assert refusal(gone).where == str(gone)
    assert refusal(tmp_path).where == str(tmp_path)


def test_a_truncated_gzip_file_gives_its_rows_and_then_says_where_it_ends(tmp_path: Path) -> None:
    whole = gzip.compress(
        "\n".join([HEAD, *(f"{i},text-small,s{i * 7919 % 1009},1,1,0,{{}}" for i in range(5000))]).encode()
    )
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    assert len(read_trace(cut, limit=10)) == 10
    error = refusal(cut)
    line = int(error.where.rpartition(":")[2])
    assert 10 < line < 5001
    assert "gzip" in error.message


def test_no_more_is_read_than_needed(tmp_path: Path) -> None:
    path = trace(tmp_path, HEAD, GOOD, "2,text-large,s,1,1,0,{}", "3,text-small,s,1,1,0,{}", "broken")
    assert [r.timestamp_s for r in read_trace(path, model_class=ModelClass.TEXT_SMALL, limit=2)] == [1.0, 3.0]
    assert [r.timestamp_s for r in read_trace(path, start_s=2.0, limit=1)] == [2.0]
    assert next(iter_trace(path)).line == 2


rows = st.builds(
    TraceRow,
    st.floats(0, 1e7).map(lambda t: round(t, 3)),
    st.sampled_from(list(ModelClass)),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=8),
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(0, 9),
    st.sampled_from(["{}", '{"client":7}', '{"a":"x,\\"y"}']),
    st.none() | st.sampled_from(["gpt2", "org/name"]),
    st.none() | st.just("edge-1"),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=12), st.sampled_from(["w.csv", "w.csv.gz"]))
def test_what_is_written_is_read_back(tmp_path: Path, some: list[TraceRow], name: str) -> None:
    ordered = sorted(some, key=lambda r: r.timestamp_s)
    path = tmp_path / name
    assert write_trace(path, ordered) == len(ordered)
    back = read_trace(path)
    assert [_without_line(r) for r in back] == [_without_line(r) for r in ordered]


def _without_line(row: TraceRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in TraceRow.__slots__ if name != "line")


def test_unsorted_rows_are_not_written(tmp_path: Path) -> None:
    late, early = (TraceRow(t, ModelClass.TEXT_SMALL, "s") for t in (2.0, 1.0))
    with pytest.raises(BadInput):
        write_trace(tmp_path / "t.csv", [late, early])


def test_the_shipped_trace_is_what_the_generator_makes_and_says_so(tmp_path: Path) -> None:
    again = tmp_path / "again.csv.gz"
    write_trace(again, generate())
    shipped = read_trace(GENERATED)
    assert shipped == read_trace(again)
    assert {r.source for r in shipped} == {"generated"}
    assert {r.model_class for r in shipped} == set(ModelClass) == set(DEFAULT_MODELS)
    assert GENERATED.stat().st_size <= 60 * 1024


def test_the_folder_of_traces_is_the_one_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_TRACES", str(tmp_path))
    assert trace_folder() == tmp_path
    monkeypatch.setenv("EDGEWISE_TRACES", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="EDGEWISE_TRACES"):
        trace_folder()


def test_without_a_setting_it_lies_beside_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEWISE_TRACES", raising=False)
    monkeypatch.setattr("evals.traces.__file__", str(tmp_path / "installed" / "evals" / "traces.py"))
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    assert trace_folder() is None
    (tmp_path / "shared" / "traces").mkdir(parents=True)
    assert trace_folder() == tmp_path / "shared" / "traces"
