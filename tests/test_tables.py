"""Tables: what is written is what is read, or the file and the line are named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft._columns import Choice, found_label, named_label, say, text_column
from graft._intake import load, unpack
from graft.errors import DataError, SecurityError
from graft.tables import (
    Table,
    clean_label,
    from_arrow,
    from_frame,
    from_records,
    read_json,
    read_table,
)


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        read_table(path)
    assert type(caught.value) is kind
    assert path.name.split(".")[0] in str(caught.value)
    return str(caught.value)


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


# --- csv and tsv


def test_csv_cells_are_exactly_as_written(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", 'id,label,text\n007,NA, "x\n1.0,null,"a ""b"",\nc"\r\n\n,nan,é\n')
    table = read_table(path)
    assert table.columns == {
        "id": ["007", "1.0", ""],
        "label": ["NA", "null", "nan"],
        "text": [' "x', 'a "b",\nc', "é"],
    }
    assert table.lines == [2, 3, 6]
    assert (len(table), table.row_id(2), table.name) == (3, f"{path}:6", str(path))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".tsv.gz", ".CSV"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_is_found_by_the_header(tmp_path: Path, suffix: str, delimiter: str) -> None:
    content = delimiter.join(['"a,b;c"', "d", "e"]) + "\n" + delimiter.join(["1", "2", '"3,;\t"']) + "\n"
    packed = gzip.compress(content.encode()) if suffix.endswith(".gz") else content.encode()
    table = read_table(put(tmp_path, "t" + suffix, packed))
    assert table.columns == {"a,b;c": ["1"], "d": ["2"], "e": ["3,;\t"]}


def test_tsv_prefers_tabs(tmp_path: Path) -> None:
    assert list(read_table(put(tmp_path, "a.tsv", "a,b,c\td\n1\t2\n")).columns) == ["a,b,c", "d"]
    assert list(read_table(put(tmp_path, "b.csv", "a,b,c\td\n1,2,3\n")).columns) == ["a", "b", "c\td"]


def test_bom_old_line_ends_and_blank_lines(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "a.csv", b"\xef\xbb\xbf a ,b\r\r   \r1,2\r"))
    assert (table.columns, table.lines) == ({"a": ["1"], "b": ["2"]}, [4])


def test_a_very_long_cell(tmp_path: Path) -> None:
    long = "x" * 300_000
    assert read_table(put(tmp_path, "a.csv", f"a,b\n{long},1\n")).columns["a"] == [long]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("a,b\n1,2\n1,2,3\n", 3, "3 fields, the header has 2"),
        ('a,b\n"x\ny",2\n1\n', 4, "1 fields, the header has 2"),
        ('a,b\n1,2\n"open,3\n4,5\n', 3, "unexpected end of data"),
        ('a,b\n1,"x"y\n', 2, "expected after"),
    ],
)
def test_ragged_and_badly_quoted_rows_name_their_line(tmp_path: Path, content: str, line: int, says: str) -> None:
    path = put(tmp_path, "bad.csv", content)
    message = refusal(path)
    assert f"{path}:{line}" in message
    assert says in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("\ufeff", "0 rows"),
        ("a,b\n", "0 rows"),
        ("a,b, a\n1,2,3\n", "'a' stands more than once"),
        (",a,b\n0,1,2\n", "column 1 of line 1 has no name"),
        ("a,b\n1,2\n1,x\0\0\0y\n", "bad.csv:3 holds NUL characters"),
    ],
)
def test_csv_without_rows_names_or_with_nul_is_refused(tmp_path: Path, content: str, says: str) -> None:
    assert says in refusal(put(tmp_path, "bad.csv", content))


_cell = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_names = st.lists(_cell.map(clean_label).filter(bool), min_size=2, max_size=4, unique=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), names=_names, delimiter=st.sampled_from(",;\t"), packed=st.booleans())
def test_csv_round_trip(tmp_path: Path, data: st.DataObject, names: list[str], delimiter: str, packed: bool) -> None:
    # Names without the other delimiters: the header is what tells them apart.
    names = [f"n{i}" + "".join(c for c in name if c not in ",;\t") for i, name in enumerate(names)]
    names = [clean_label(name) for name in names]
    rows = data.draw(st.lists(st.lists(_cell, min_size=len(names), max_size=len(names)), min_size=1, max_size=4))
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([names, *rows])
    content = out.getvalue().encode()
    path = put(tmp_path, "r.csv.gz" if packed else "r.csv", gzip.compress(content, 1) if packed else content)
    table = read_table(path)
    assert table.columns == {name: [row[i] for row in rows] for i, name in enumerate(names)}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60),
    name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz"]),
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    try:
        table = read_table(put(tmp_path, name, content))
    except (DataError, SecurityError):
        return
    assert {len(cells) for cells in table.columns.values()} == {len(table)}


# --- encodings


@pytest.mark.parametrize(
    ("encoding", "likely"),
    [
        ("latin-1", "ISO-8859-1"),
        ("cp1252", "WINDOWS-1252"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
    ],
)
def test_other_encodings_are_named_with_the_command_that_mends(tmp_path: Path, encoding: str, likely: str) -> None:
    text = "text,label\nplain,a\ncafé" + ("“x”" if encoding == "cp1252" else "") + ",b\n"
    path = put(tmp_path, "my data.csv", text.encode(encoding))
    message = refusal(path)
    assert f"iconv -f {likely} -t utf-8 '{path}' > mended.csv" in message
    assert "it looks like" in message
    if encoding in ("latin-1", "cp1252"):
        assert f"{path}:3: byte 0xE9 at offset 22 is not utf-8" in message


def test_offset_counts_the_byte_order_mark_and_gz_is_unpacked_first(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl.gz", gzip.compress(b'\xef\xbb\xbf{"a": "\xe9"}\n'))
    message = refusal(path)
    assert "byte 0xE9 at offset 10" in message
    assert f"gunzip -c {path} | iconv -f ISO-8859-1 -t utf-8 > mended.jsonl" in message


def test_one_bad_line_in_a_utf8_file_is_not_called_latin(tmp_path: Path) -> None:
    content = "text,label\nçé,a\nüö,b\n".encode() + b"caf\xe9,c\n"
    assert "mend that line" in refusal(put(tmp_path, "a.csv", content))


# --- jsonl


def test_jsonl_values_become_text(tmp_path: Path) -> None:
    rows = [
        '{"text": "NA", "n": 007}'.replace("007", "7"),
        "",
        '{"n": 1.50, "big": 9007199254740993, "flag": true, "gone": null}',
        '{"text": "a\\nb \u2028 c", "n": 1E5, "deep": {"k": [1, "é"]}}',
    ]
    table = read_table(put(tmp_path, "a.jsonl", "\r\n".join(rows)))
    assert table.columns == {
        "text": ["NA", None, "a\nb \u2028 c"],
        "n": ["7", "1.50", "1E5"],
        "big": [None, "9007199254740993", None],
        "flag": [None, "true", None],
        "gone": [None, None, None],
        "deep": [None, None, '{"k": [1, "é"]}'],
    }
    assert table.lines == [1, 3, 4]
    assert read_table(put(tmp_path, "b.ndjson.gz", gzip.compress(b'{"a": ' + b"9" * 5000 + b"}"))).lines == [1]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"a": 1', "not valid JSON"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ('{"a": 1, " a": 2}', "more than once"),
        ('{"": 1}', "has no name"),
        ('[{"a": 1}]', "jq -c"),
        ("3", "not an object"),
        ("null", "JSON null"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_jsonl_names_its_line(tmp_path: Path, line: str, says: str) -> None:
    message = refusal(put(tmp_path, "bad.jsonl", f'{{"a": "ok"}}\n{line}\n'))
    assert "bad.jsonl:2" in message
    assert says in message


def test_jsonl_of_empty_objects_has_no_columns(tmp_path: Path) -> None:
    assert "0 columns" in refusal(put(tmp_path, "bad.jsonl", "{}\n{}\n"))


# --- parquet


@pytest.mark.parametrize("suffix", [".parquet", ".parquet.gz"])
def test_parquet_values_become_text(tmp_path: Path, suffix: str) -> None:
    table = pa.table(
        {
            "text": pa.array(["NA", None, "é"]),
            "big": pa.array([9007199254740993, None, 7], pa.int64()),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "flag": pa.array([True, False, None]),
            "price": pa.array([1.0, 2.5, float("nan")]),
            "was_int": pa.array([1.0, None, 3.0]),
            "list": pa.array([[1, 2], None, []]),
        }
    )
    data = parquet_bytes(table)
    read = read_table(put(tmp_path, "a" + suffix, gzip.compress(data) if suffix.endswith("gz") else data))
    assert read.columns == {
        "text": ["NA", None, "é"],
        "big": ["9007199254740993", None, "7"],
        "kind": ["x", "y", "x"],
        "flag": ["true", "false", None],
        "price": ["1.0", "2.5", None],
        "was_int": ["1", None, "3"],
        "list": ["[1, 2]", None, "[]"],
    }
    assert read.lines == [1, 2, 3]


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary(2), pa.struct({"bytes": pa.binary()}), pa.list_(pa.binary())],
)
def test_parquet_bytes_columns_are_named(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"ok": ["a"], "raw": pa.array([None], kind)})
    assert "column 'raw' holds bytes" in refusal(put(tmp_path, "a.parquet", parquet_bytes(table)))


def test_parquet_damage_duplicates_and_no_rows(tmp_path: Path) -> None:
    whole = parquet_bytes(pa.table({"a": [str(i) for i in range(500)]}))
    assert "no readable parquet" in refusal(put(tmp_path, "cut.parquet", whole[:-20]))
    assert "no readable parquet" in refusal(put(tmp_path, "text.parquet", "a,b\n1,2\n"))
    assert "0 rows" in refusal(put(tmp_path, "none.parquet", parquet_bytes(pa.table({"a": pa.array([], pa.string())}))))
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
    assert "more than once" in refusal(put(tmp_path, "twice.parquet", parquet_bytes(twice)))
    wrong = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xe9"))
    assert "no readable" in refusal(put(tmp_path, "latin.parquet", parquet_bytes(pa.table({"a": wrong}))))


def test_pictures_in_columns_are_kept_where_they_are_wanted(tmp_path: Path) -> None:
    structs = [{"bytes": b"x", "path": None}, None]
    whole = pa.table({"a": ["t", "u"], "raw": pa.array([b"x", None]), "struct": pa.array(structs)})
    path = put(tmp_path, "a.parquet", parquet_bytes(whole))
    for table in (read_table(path, blobs=True), from_arrow(whole, blobs=True)):
        assert table.columns == {"a": ["t", "u"]}
        assert table.blobs == {"raw": [b"x", None], "struct": structs}
    assert from_frame(whole.to_pandas(), blobs=True).blobs["raw"] == [b"x", None]
    with pytest.raises(DataError, match="column 'raw' holds bytes"):
        from_arrow(whole)
    inner = pa.table({"a": ["t"], "deep": pa.array([[b"x"]], pa.list_(pa.binary()))})
    with pytest.raises(DataError, match="column 'deep' holds bytes"):
        from_arrow(inner, blobs=True)


def test_read_json_is_strict(tmp_path: Path) -> None:
    assert read_json(put(tmp_path, "a.json", '\ufeff{"a": [007.5, 1]}'.replace("007.5", "7.50"))) == {
        "a": ["7.50", "1"]
    }
    for content, says in (
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ('{"a": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "not valid JSON"),
        (b'{"a": "\xe9"}', "is not utf-8"),
    ):
        with pytest.raises(DataError, match=says):
            read_json(put(tmp_path, "bad.json", content))


# --- what could run code


class Poison:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.proof), "w")


NAMES = [
    "a.csv",
    "a.csv.gz",
    "a.jsonl",
    "a.parquet",
    "a.xyz",
    "a.pkl",
    "a.joblib",
    "a.pt",
    "a.bin.gz",
    "noname",
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_poisoned_pickles_are_refused_and_nothing_runs(tmp_path: Path, name: str, protocol: int) -> None:
    proof = tmp_path / "it ran"
    content = pickle.dumps(Poison(proof), protocol)
    path = put(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)
    message = refusal(path, SecurityError)
    assert "io.open" in message  # the object it would have imported
    assert not proof.exists()
    pickle.loads(content).close()  # noqa: S301  the poison works where someone does load it
    assert proof.exists()


@pytest.mark.parametrize("name", ["weights.csv", "weights.parquet.gz", "weights.xyz", "weights.pth"])
def test_torch_zips_are_refused_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    proof = tmp_path / "it ran"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Poison(proof), 2))
    content = gzip.compress(out.getvalue()) if name.endswith(".gz") else out.getvalue()
    message = refusal(put(tmp_path, name, content), SecurityError)
    assert "archive/data.pkl" in message
    assert "io.open" in message
    assert not proof.exists()
    cut = out.getvalue()[:-30]
    assert "data.pkl" in refusal(put(tmp_path, "cut.csv", cut), SecurityError)


@pytest.mark.parametrize(
    "suffix",
    [
        ".pkl",
        ".pickle",
        ".joblib",
        ".pt",
        ".pth",
        ".ckpt",
        ".bin",
        ".npy",
        ".npz",
        ".dill",
        ".PKL",
        ".pkl.gz",
    ],
)
def test_suffixes_of_pickles_are_refused_whatever_is_inside(tmp_path: Path, suffix: str) -> None:
    content = gzip.compress(b"a,b\n1,2\n") if suffix.endswith(".gz") else b"a,b\n1,2\n"
    assert "may run code" in refusal(put(tmp_path, "a" + suffix, content), SecurityError)


def test_numpy_files_named_csv_are_refused(tmp_path: Path) -> None:
    out, zipped = io.BytesIO(), io.BytesIO()
    np.save(out, np.array([{}], dtype=object), allow_pickle=True)
    np.savez(zipped, a=np.zeros(2))
    assert "numpy" in refusal(put(tmp_path, "a.csv", out.getvalue()), SecurityError)
    assert "a.npy" in refusal(put(tmp_path, "a.csv", zipped.getvalue()), SecurityError)


# --- files


def test_gz_cut_damaged_misnamed_or_too_large(tmp_path: Path) -> None:
    content = "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(500))
    packed = gzip.compress(content.encode())
    assert "damaged or cut gzip" in refusal(put(tmp_path, "cut.csv.gz", packed[:-30]))
    flipped = packed[:60] + bytes([packed[60] ^ 0xFF]) + packed[61:]
    assert "damaged or cut gzip" in refusal(put(tmp_path, "flipped.csv.gz", flipped))
    assert "is not gzip although" in refusal(put(tmp_path, "plain.csv.gz", content))
    assert "rename it to packed.csv.gz" in refusal(put(tmp_path, "packed.csv", packed))
    assert "compressed file" in refusal(put(tmp_path, "twice.csv.gz", gzip.compress(packed)))
    with pytest.raises(DataError, match="unpacks to more than 1000 bytes"):
        unpack(gzip.compress(bytes(1_000_000)), "bomb.csv.gz", cap=1000)
    with pytest.raises(DataError, match="over the cap of 100"):
        load(put(tmp_path, "large.csv", content), cap=100)


def test_zips_and_unknown_suffixes_say_what_is_possible(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    assert "unpack it first" in refusal(put(tmp_path, "a.csv", out.getvalue()))
    assert ".csv, .tsv, .jsonl, .ndjson, .parquet" in refusal(put(tmp_path, "a.txt", "a,b\n1,2\n"))


def test_missing_files_folders_and_pipes(tmp_path: Path) -> None:
    put(tmp_path, "reviews.csv", "a\n1\n")
    assert "Did you mean 'reviews.csv'?" in refusal(tmp_path / "review.csv")
    assert "not a regular file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    assert "not a regular file" in refusal(tmp_path / "pipe.csv")


@pytest.mark.parametrize("name", ["with space.csv", "中文 🎉.csv", "two\nlines.csv", os.fsdecode(b"caf\xe9.csv")])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    table = read_table(put(tmp_path, name, "a\n1\n"))
    table.row_id(0).encode()  # storable, also where the name is not utf-8
    assert table.columns == {"a": ["1"]}


# --- from memory


def test_from_frame_leaves_the_frame_alone() -> None:
    frame = pd.DataFrame(
        {
            "text": ["NA", None, "x"],
            "n": [7, 8, 9],
            "gaps": [1, None, 3],
            "f": [1.0, 2.5, 3.0],
            "flag": [True, False, True],
            "cat": pd.Categorical([3, 4, 3]),
            "big": pd.array([2**53 + 1, None, 1], dtype="Int64"),
            "day": pd.Series(["2024-01-02", None, "2024-01-03"], dtype="datetime64[ns]"),
            "mixed": [np.int64(5), np.bool_(True), np.array([1, 2])],
        }
    )
    before = frame.copy(deep=True)
    table = from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert table.columns == {
        "text": ["NA", None, "x"],
        "n": ["7", "8", "9"],
        "gaps": ["1", None, "3"],
        "f": ["1.0", "2.5", "3.0"],
        "flag": ["true", "false", "true"],
        "cat": ["3", "4", "3"],
        "big": ["9007199254740993", None, "1"],
        "day": ["2024-01-02 00:00:00", None, "2024-01-03 00:00:00"],
        "mixed": ["5", "true", "[1, 2]"],
    }
    assert table.row_id(0) == "<frame>:1"


def test_from_frame_refuses() -> None:
    with pytest.raises(DataError, match="more than once"):
        from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="column 'a' holds bytes"):
        from_frame(pd.DataFrame({"a": [b"x"]}))
    with pytest.raises(DataError, match="0 rows"):
        from_frame(pd.DataFrame({"a": []}))


def test_from_records() -> None:
    table = from_records([("good", 1), ("bad", float("nan"))])
    assert table.columns == {"text": ["good", "bad"], "label": ["1", None]}
    assert from_records([{"a": "x"}, {"b": pd.NA, "a": 2}]).columns == {"a": ["x", "2"], "b": [None, None]}
    assert from_records([{"a": "x"}]).row_id(0) == "<records>:1"
    with pytest.raises(DataError, match="<records>:2 is a str"):
        from_records([("a", "b"), "ab"])  # type: ignore[list-item]
    with pytest.raises(DataError, match="0 rows"):
        from_records([])


# --- columns


def of(**columns: list[str | None]) -> Table:
    return Table("t.csv", columns, list(range(2, 2 + len(next(iter(columns.values()))))))


WORDS: list[str | None] = ["a fine film", "a dull one", "so so", "never again", "one more time", "no"]
SIDES: list[str | None] = ["1", "0", "1", "0", "1", "1"]
IDS: list[str | None] = ["u1", "u2", "u3", "u4", "u5", "u6"]


def label_of(table: Table) -> str | None:
    """The label column that a name, or else the values, tell."""
    found = named_label(table.columns) or found_label(table.columns)
    return found.name if found is not None else None


def test_names_decide_first() -> None:
    table = of(id=IDS, Sentiment=SIDES, Review=WORDS)
    assert text_column("t.csv", table.columns) == Choice("Review", "by its name")
    assert label_of(table) == "Sentiment"
    table = of(review_text=WORDS, trueLabel=SIDES, pos_y=IDS)
    assert (text_column("t.csv", table.columns).name, label_of(table)) == ("review_text", "trueLabel")
    table = of(title=WORDS, body=WORDS, label=SIDES, category=SIDES)
    text, label = text_column("t.csv", table.columns), named_label(table.columns)
    assert label is not None
    assert say("text", text) == "text is 'body' (by its name; 'title' would do too: --text NAME)"
    assert say("label", label) == "label is 'label' (by its name; 'category' would do too: --label NAME)"


def test_a_text_name_on_numbers_does_not_count() -> None:
    assert text_column("t.csv", of(review=SIDES, comment=WORDS).columns).name == "comment"
    assert text_column("t.csv", of(comment=WORDS, label_text=["a b", "c d"] * 3).columns).name == "comment"


def test_content_decides_where_names_do_not() -> None:
    links: list[str | None] = [f"https://example.org/a/long/path/{i}" for i in range(6)]
    days: list[str | None] = [f"2024-01-0{i} 10:00:00.000000" for i in range(1, 7)]
    table = of(uid=IDS, url=links, day=days, split=["train", "test"] * 3, stars=["1", "2", "3"] * 2, s=WORDS)
    text, label = text_column("t.csv", table.columns), found_label(table.columns)
    assert text.name == "s" and text.why.startswith("longest and mostly unique")
    assert label == Choice("stars", "fewest distinct values, 3")
    chinese: list[str | None] = ["这部电影很好看", "不好看", "还可以吧", "很无聊", "再看一次", "喜欢"]
    table = of(uid=IDS, url=links, s=chinese)
    assert (text_column("t.csv", table.columns).name, label_of(table)) == ("s", None)


def test_equals_are_said_and_no_label_is_none() -> None:
    table = of(a=WORDS, b=WORDS, c=SIDES, d=SIDES)
    text, label = text_column("t.csv", table.columns), found_label(table.columns)
    assert (text.name, text.others) == ("a", ("b",))
    assert label is not None and (label.name, label.others) == ("c", ("d",))
    assert label_of(of(a=WORDS, id=IDS)) is None


def test_no_text_lists_the_columns() -> None:
    with pytest.raises(DataError) as caught:
        text_column("t.csv", of(id=IDS, n=SIDES, empty=[None] * 6).columns)
    assert "'id' (such as 'u1'); 'n' (such as '1'); 'empty' (such as '')" in str(caught.value)
    assert "--text NAME --label NAME" in str(caught.value)


def test_clean_label() -> None:
    assert clean_label(" 007\n") == "007"
    assert clean_label("Cafe\u0301") == "Café"
    assert clean_label("Cat") != clean_label("cat")


@given(st.text())
def test_clean_label_is_idempotent(value: str) -> None:
    assert clean_label(clean_label(value)) == clean_label(value)


def test_json_and_csv_agree(tmp_path: Path) -> None:
    rows = [{"text": 'a, "b"\n', "label": "NA"}, {"text": "é", "label": ""}]
    lines = put(tmp_path, "a.jsonl", "\n".join(json.dumps(r) for r in rows))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["text", "label"])
    writer.writeheader()
    writer.writerows(rows)
    comma = put(tmp_path, "a.csv", out.getvalue())
    assert read_table(lines).columns == read_table(comma).columns == from_records(rows).columns
