"""Readers of public traces: every kind of bad row is named by line and column; what is odd is counted and said."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from edgewise.compose.traces import convert_trace, formats_help, print_made
from edgewise.domain.errors import BadInput
from evals.readers.convert import Survey, convert, iter_public, survey
from evals.readers.registry import FORMATS, NAMES, detect, format_named
from evals.traces import COLUMNS, ModelClass, TraceRow, read_trace

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
BURST3 = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
ALIBABA = (
    "gmt_create,predict_type,predict_status,exec_time_seconds,groupId,prompt_length,negative_prompt_length,"
    "num_images_per_prompt,num_inference_steps,checkpoint_model_version_id,num_lora"
)
GOOD = {
    "azure_conv.csv": (AZURE, "2023-11-16 18:00:00.1234567,100,20"),
    "azure_conv_1week.csv": (AZURE, "2024-05-12 00:00:00.001163+00:00,100,20"),
    "BurstGPT_1.csv": (BURST, "5,ChatGPT,100,20,120,Conversation log"),
    "conversation_trace.jsonl": ('{"timestamp": 0, "input_length": 7, "output_length": 5, "hash_ids": [0]}',),
    "lora_request_trace.csv": (ALIBABA, "2024-11-15 10:00:00,TXT_2_IMG,SUCCEED,32.0,G1,63.0,,1.0,30.0,M1,0"),
}


def ask(**changes: object) -> str:
    """A line of Mooncake's."""
    return json.dumps({"timestamp": 1, "input_length": 7, "output_length": 5} | changes)


def write(folder: Path, name: str, *lines: str, end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes((end.join(lines) + end).encode())
    return path


def rows_of(path: Path) -> list[TraceRow]:
    return list(iter_public(survey(path)))


def refusal(path: Path, format_name: str | None = None, kind: ModelClass | None = None) -> BadInput:
    with pytest.raises(BadInput) as caught:
        survey(path, format_name, kind)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(("name", "expected"), list(zip(GOOD, NAMES, strict=True)))
def test_each_format_is_known_by_its_first_lines(tmp_path: Path, name: str, expected: str) -> None:
    path = write(tmp_path, name, *GOOD[name])
    assert detect(path).name == expected
    assert survey(path, expected).requests == 1
    assert format_named(expected) in FORMATS


@pytest.mark.parametrize("name", list(GOOD))
def test_gzip_byte_order_marks_and_line_ends_change_nothing(tmp_path: Path, name: str) -> None:
    lines = [*GOOD[name], GOOD[name][-1]]
    plain = rows_of(write(tmp_path, name, *lines))
    assert len(plain) == 2
    other = write(tmp_path, f"bom_{name}", "\ufeff" + lines[0], *lines[1:], end="\r\n")
    assert rows_of(other) == plain
    packed = tmp_path / f"packed_{name}"  # gzip by content: some sites serve it without the ending
    packed.write_bytes(gzip.compress(other.read_bytes()))
    assert rows_of(packed) == plain


@pytest.mark.parametrize(
    ("name", "row", "column", "says"),
    [
        ("azure_conv.csv", ",100,20", "TIMESTAMP", "not a date and time"),
        ("azure_conv.csv", "2023-02-30 00:00:00.0,100,20", "TIMESTAMP", "not a date and time"),
        ("azure_conv.csv", "16/11/2023 18:00,100,20", "TIMESTAMP", "not a date and time"),
        ("azure_conv.csv", "2023-11-16 18:00:01+00:00,1,2", "TIMESTAMP", "has an offset"),
        ("azure_conv.csv", "2023-11-16 18:00:01,-3,20", "ContextTokens", "'-3' is not a whole number"),
        ("azure_conv.csv", "2023-11-16 18:00:01,nan,20", "ContextTokens", "'nan' is not a whole number"),
        ("azure_conv.csv", "2023-11-16 18:00:01,1,2.5", "GeneratedTokens", "'2.5' is not a whole number"),
        ("azure_conv.csv", "2023-11-16 18:00:01,1,999999999999", "GeneratedTokens", "larger than"),
        ("azure_conv.csv", "2023-11-16 18:00:01,1", "row", "2 cells"),
        ("azure_conv_1week.csv", "2024-05-12 00:00:01,1,2", "TIMESTAMP", "has no offset"),
        ("azure_conv_1week.csv", "2024-05-12 00:00:01+00:99,1,2", "TIMESTAMP", "not a date and time"),
        ("BurstGPT_1.csv", ",ChatGPT,1,2,3,API log", "Timestamp", "is empty"),
        ("BurstGPT_1.csv", "-5,ChatGPT,1,2,3,API log", "Timestamp", "not a number of seconds"),
        ("BurstGPT_1.csv", "inf,ChatGPT,1,2,3,API log", "Timestamp", "not a number of seconds"),
        ("BurstGPT_1.csv", "5,ChatGTP,1,2,3,API log", "Model", "unknown model 'ChatGTP'"),
        ("BurstGPT_1.csv", "5,GPT-4,1,x,3,API log", "Response tokens", "'x' is not a whole number"),
        ("conversation_trace.jsonl", '{"timestamp": 1, "input_length": 7}', "output_length", "is missing"),
        ("conversation_trace.jsonl", ask(timestamp=-1), "timestamp", "not a time"),
        ("conversation_trace.jsonl", ask(timestamp="1"), "timestamp", "not a number"),
        ("conversation_trace.jsonl", ask(timestamp=True), "timestamp", "not a number"),
        ("conversation_trace.jsonl", ask(input_length=7.5), "input_length", "not a whole number"),
        ("conversation_trace.jsonl", ask(hash_ids=["a"]), "hash_ids", "not a list"),
        (
            "lora_request_trace.csv",
            "2024-11-15 10:00:00,TXT_2_IMG,SUCEED,1.0,G1,1.0,,1.0,1.0,M1,0",
            "predict_status",
            "unknown value 'SUCEED'",
        ),
        (
            "lora_request_trace.csv",
            "2024-11-15 10:00:00,TXT_2_IMG,SUCCEED,1.0,G1,1.0,,many,1.0,M1,0",
            "num_images_per_prompt",
            "'many'",
        ),
        ("lora_request_trace.csv", "10:00:00,TXT_2_IMG,PENDING,0.0,G1,,,,,,0", "gmt_create", "not a date and time"),
    ],
)  # fmt: skip
def test_a_broken_row_is_named_by_file_line_and_column(
    tmp_path: Path, name: str, row: str, column: str, says: str
) -> None:
    path = write(tmp_path, name, *GOOD[name], row, GOOD[name][-1])
    error = refusal(path)
    assert error.where == f"{path}:{len(GOOD[name]) + 1}"
    assert error.message.startswith(f"{column}: ")
    assert says in error.message


def test_a_misspelt_model_gets_the_nearest_one(tmp_path: Path) -> None:
    assert "'ChatGPT'" in refusal(write(tmp_path, "b.csv", BURST, "5,ChatGTP,1,2,3,API log")).hint


def test_a_bad_row_leaves_no_trace_behind(tmp_path: Path) -> None:
    path = write(tmp_path, "azure_conv.csv", *GOOD["azure_conv.csv"], "2023-11-16 18:00:01,1,x")
    with pytest.raises(BadInput):
        convert(path, tmp_path / "out.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["azure_conv.csv"]


def test_files_that_cannot_be_read_say_where(tmp_path: Path) -> None:
    gone = tmp_path / "gone_conv.csv"
    assert (refusal(gone).where, refusal(gone).message) == (str(gone), "no such file")
    assert refusal(tmp_path).message == "not a file"
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    assert refusal(empty).where == f"{empty}:1"
    header_only = write(tmp_path, "azure_code.csv", AZURE)
    assert "no requests" in refusal(header_only).message

    latin = tmp_path / "latin_conv.csv"
    latin.write_bytes(f"{AZURE}\n2023-11-16 18:00:00.1,1,1\n2023-11-16 18:00:00.1,\xe9,1\n".encode("latin-1"))
    assert refusal(latin).where == f"{latin}:3"

    whole = gzip.compress("\n".join([AZURE, *["2023-11-16 18:00:00.1,1,1"] * 5000]).encode())
    cut = tmp_path / "cut_conv.csv.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "gzip" in refusal(cut).message

    quotes = write(tmp_path, "quotes_conv.csv", AZURE, "2023-11-16 18:00:00.1,1,1", '2023-11-16 18:00:00.1,"1" x,1')
    assert refusal(quotes).where == f"{quotes}:3"
    half = write(tmp_path, "half.jsonl", GOOD["conversation_trace.jsonl"][0], '{"timestamp": 1, "inp')
    assert refusal(half).where == f"{half}:2"
    lists = write(tmp_path, "lists.jsonl", GOOD["conversation_trace.jsonl"][0], "[1]")
    assert refusal(lists).where == f"{lists}:2"


def test_an_archive_is_to_be_unpacked_first(tmp_path: Path) -> None:
    path = tmp_path / "lora_request_trace.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("lora_request_trace.csv")
        data = "\n".join(GOOD["lora_request_trace.csv"]).encode()
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    assert "unpack" in refusal(path).hint


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("TIMESTAMP,ContextToken,GeneratedTokens", "nearest is azure2023"),
        ("Timestamp,Model,Prompt tokens,Response tokens,Total tokens,Log Type", "which also needs 'Request tokens'"),
        ('{"timestamp": 0, "input_len": 7, "output_len": 5}', "nearest is mooncake"),
        ("gmt_created,predict_type,predict_status,exec_time,groupId,prompt_length", "nearest is alibaba-genai"),
        ("a,b,c", f"known formats: {', '.join(NAMES)}"),
        (",".join(COLUMNS), "use it as it is"),
    ],
)
def test_an_unknown_format_names_the_nearest(tmp_path: Path, head: str, says: str) -> None:
    path = write(tmp_path, "conv.csv", head, "1,2,3")
    error = refusal(path)
    assert error.where == f"{path}:1"
    assert says in error.hint


def test_a_format_that_is_stated_must_fit(tmp_path: Path) -> None:
    path = write(tmp_path, "azure_conv.csv", *GOOD["azure_conv.csv"])
    assert "'Timestamp' is missing" in refusal(path, "burstgpt").message
    assert "did you mean 'burstgpt'?" in refusal(path, "burstgtp").hint
    assert "--format azure2023" in refusal(path, "azure2024").hint


def test_columns_are_found_by_name_and_must_be_there_once(tmp_path: Path) -> None:
    moved = write(
        tmp_path, "a_conv.csv", " GeneratedTokens,extra,TIMESTAMP ,ContextTokens", "20,?,2023-11-16 18:00:00,9"
    )
    (row,) = rows_of(moved)
    assert (row.input_tokens, row.output_tokens) == (9, 20)
    twice = write(tmp_path, "b_conv.csv", f"{AZURE},ContextTokens", "2023-11-16 18:00:00.1,1,1,1")
    assert "twice" in refusal(twice).message
    assert refusal(twice).where == f"{twice}:1"


def test_a_header_in_the_middle_is_counted_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, "azure_conv.csv", *GOOD["azure_conv.csv"], "\ufeff" + AZURE, GOOD["azure_conv.csv"][1])
    found = survey(path)
    assert (found.requests, found.dropped) == (2, {"a repeated header line": 1})


def test_azure_keeps_seven_digits_and_turns_offsets_into_utc(tmp_path: Path) -> None:
    old = write(tmp_path, "x_code.csv", AZURE, "2023-11-16 18:00:00.0000001,1,2", "2023-11-16 18:00:00.1234568,3,0")
    first, second = rows_of(old)
    assert (second.timestamp_s, second.output_tokens) == (0.1234567, 0)
    assert (first.source, first.model_class) == ("azure-llm-2023-code", ModelClass.TEXT_SMALL)
    assert survey(old).remarks == {"zero output tokens": 1}

    # A night in which European clocks go back: two o'clock comes twice, the offset tells which is meant.
    new = write(
        tmp_path, "x_conv_1week.csv", AZURE,
        "2024-10-27 02:30:00+02:00,1,1", "2024-10-27 02:30:00.5+01:00,2,2", "2024-10-27T02:00:00Z,3,3",
    )  # fmt: skip
    assert [r.timestamp_s for r in rows_of(new)] == [0.0, 3600.5, 5400.0]
    assert survey(new).out_of_order == 0
    assert survey(new).format.moment(survey(new).first_ns) == "2024-10-27 00:30:00"


def test_azure_must_say_which_service_it_is(tmp_path: Path) -> None:
    for name in ("azure.csv", "conv_and_code.csv", "encoded.csv"):
        path = write(tmp_path, name, *GOOD["azure_conv.csv"])
        assert "--model-class" in refusal(path).hint
        found = survey(path, model_class=ModelClass.TEXT_SMALL)
        (row,) = iter_public(found)
        assert (row.model_class, row.source) == (ModelClass.TEXT_SMALL, "azure-llm-2023")


def test_burstgpt_failures_stay_with_an_unknown_answer(tmp_path: Path) -> None:
    path = write(
        tmp_path, "BurstGPT_3.csv", BURST3,
        "19440110.0,1722-ab,43,GPT-4,906,446,1352,Conversation log",
        "19440111.5,,2,ChatGPT,36,0,36,API log",
        "19440111.5,,,ChatGPT,0,0,7,API log",
    )  # fmt: skip
    found = survey(path)
    first, failed, nothing = iter_public(found)
    assert (first.timestamp_s, failed.timestamp_s) == (0.0, 1.5)
    assert (first.model_class, failed.model_class) == (ModelClass.TEXT_LARGE, ModelClass.TEXT_SMALL)
    assert first.extra == {"log": "conversation", "client": "1722-ab", "elapsed_s": 43.0}
    assert first.sticky_key == "client=1722-ab"
    assert (failed.input_tokens, failed.output_tokens) == (36, None)
    assert failed.extra == {"log": "api", "elapsed_s": 2.0, "failed": True}
    assert (nothing.input_tokens, nothing.output_tokens) == (None, None)
    assert found.remarks == {
        "failed (zero response tokens)": 2,
        "zero request tokens": 1,
        "total is not the sum": 1,
    }
    assert found.unknown == {"input_tokens": 1, "output_tokens": 2}


def test_mooncake_counts_milliseconds_and_keeps_a_prefix_key(tmp_path: Path) -> None:
    path = write(
        tmp_path, "toolagent_trace.jsonl",
        '{"timestamp": 3000, "input_length": 1200, "output_length": 5, "hash_ids": [0, 7, 8]}',
        "",
        '{"timestamp": 6001, "input_length": 12, "output_length": null, "hash_ids": [0]}',
        '{"timestamp": 6001.5, "input_length": 12, "output_length": 1}',
    )  # fmt: skip
    rows = rows_of(path)
    assert [r.timestamp_s for r in rows] == [0.0, 3.001, 3.0015]
    assert [r.extra for r in rows] == [{"prefix_blocks512": 3, "first_block": 7}, {"prefix_blocks512": 1}, {}]
    assert [r.line for r in rows] == [1, 3, 4]
    assert (rows[0].source, rows[1].output_tokens) == ("mooncake-fast25-toolagent", None)


def test_alibaba_leaves_out_and_counts_what_nobody_asked_anything_of(tmp_path: Path) -> None:
    path = write(
        tmp_path, "lora_request_trace.csv", ALIBABA,
        "2024-11-15 10:00:00,TXT_2_IMG,PENDING,0.0,G1,,,,,,0",
        "2024-11-15 10:00:05,IMG_2_IMG,FAILED,7.0,G2,63.0,26.0,8.0,40.0,M1,1",
        "2024-11-15 10:00:06,TXT_2_IMG,SUCCEED,7.0,G2,,,,,,0",
        "2024-11-15 10:00:07,TXT_2_IMG,PROCESSING,7.0,G2,1.0,,1.0,1.0,M1,0",
        "2024-11-15 10:00:08,INPAINTING,SUCCEED,,NULL,,,2.0,,,0",
    )  # fmt: skip
    found = survey(path)
    failed, bare = iter_public(found)
    assert found.dropped == {"not ended when the file was made (PENDING, PROCESSING)": 2, "without parameters": 1}
    assert (failed.timestamp_s, bare.timestamp_s) == (0.0, 3.0)  # counted from the first row that is kept
    assert (failed.images, failed.input_tokens, failed.extra["steps"], failed.extra["status"]) == (
        8,
        None,
        40,
        "FAILED",
    )
    assert failed.sticky_key == "group=G2"
    assert bare.extra == {"type": "INPAINTING", "status": "SUCCEED", "loras": 0}


def test_rows_out_of_order_are_counted_and_sorted_keeping_ties(tmp_path: Path) -> None:
    times = (10, 12, 11, 12, 8, 12, 12)
    path = write(tmp_path, "b.csv", BURST, *(f"{t},GPT-4,{i + 1},1,2,API log" for i, t in enumerate(times)))
    found = survey(path)
    assert (found.out_of_order, found.late_ns) == (2, 4 * 10**9)
    assert [(r.timestamp_s, r.input_tokens) for r in iter_public(found)] == [
        (0.0, 5), (2.0, 1), (3.0, 3), (4.0, 2), (4.0, 4), (4.0, 6), (4.0, 7),
    ]  # fmt: skip


def test_a_window_counts_from_its_own_start(tmp_path: Path) -> None:
    path = write(tmp_path, "b.csv", BURST, *(f"{t},GPT-4,{t},1,2,API log" for t in (100, 110, 109, 120, 130)))
    out = tmp_path / "out.csv.gz"
    made = convert(path, out, start_s=9.0, until_s=30.0)
    assert (made.rows, made.starts_at) == (3, "109 s on the file's own clock")
    assert [(r.timestamp_s, r.input_tokens) for r in read_trace(out)] == [(0.0, 109), (1.0, 110), (11.0, 120)]
    for window in ((40.0, 50.0), (5.0, 5.0), (float("nan"), 5.0)):
        with pytest.raises(BadInput, match=r"no requests from|no time between"):
            convert(path, out, start_s=window[0], until_s=window[1])


def test_where_a_trace_may_be_written(tmp_path: Path) -> None:
    path = write(tmp_path, "azure_conv.csv", *GOOD["azure_conv.csv"])
    before = path.read_bytes()
    for out in (path, tmp_path / "out.json", tmp_path / "none" / "out.csv"):
        with pytest.raises(BadInput) as caught:
            convert(path, out)
        assert caught.value.hint
    assert path.read_bytes() == before


def test_the_command_says_all_that_is_not_as_the_original_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [BURST, "7,ChatGPT,5,0,5,API log", BURST, "5,GPT-4,5,9,14,API log"]
    made = convert_trace(write(tmp_path, "b.csv", *lines), tmp_path / "out.csv")
    assert (made["format"], made["prompts"], made["out_of_order"], made["span_s"]) == ("burstgpt", 2, 1, 2.0)
    print_made(made)
    said = capsys.readouterr().out
    for part in (
        "2 prompts",
        "out of order in the file: 1",
        "left out: 1 a repeated",
        "counted: 1 failed",
        "unknown: 1",
    ):
        assert part in said
    with pytest.raises(BadInput) as caught:
        convert_trace(tmp_path / "b.csv", tmp_path / "out.csv", model_class="text-smal")
    assert "'text-small'" in caught.value.hint
    assert all(f.name in formats_help() and f.home in formats_help() for f in FORMATS)


def test_a_survey_is_of_the_whole_file(tmp_path: Path) -> None:
    found = survey(write(tmp_path, "BurstGPT_1.csv", *GOOD["BurstGPT_1.csv"]))
    assert isinstance(found, Survey)
    assert (found.requests, found.first_ns, found.last_ns, found.dropped) == (1, 5 * 10**9, 5 * 10**9, {})
