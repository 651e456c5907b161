"""Tables become rows: which column is what, which file is meant, and what is refused with its reason."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]
import pytest
from PIL import Image

from graft.errors import DataError, SecurityError, UsageError
from graft.readers import Opened, Row
from graft.readers._times import seconds
from graft.readers.tabled import open_tables
from graft.recipe import Recipe

SHARED = Path(__file__).parents[2] / "shared" / "data"
TEXTS = ["a fine film", "a dull one", "so so", "never again", "one more time", "not for me"]
SIDES = ["good", "bad", "good", "bad", "good", "bad"]


def opened(source: Any, known: dict[str, str] | None = None, labels: bool = True, **asked: Any) -> Opened:
    found = open_tables(source, Recipe(**asked), known or {}, labels)
    assert found is not None
    return found


def rows(found: Opened, part: str = "all") -> list[Row]:
    assert set(found.rows) == {part}
    return found.rows[part]


def said(found: Opened) -> str:
    return "\n".join(f"{n.kind}: {n.text}" for n in found.notes)


def refusal(source: Any, kind: type[Exception] = DataError, **asked: Any) -> str:
    with pytest.raises(kind) as caught:
        opened(source, **asked)
    assert type(caught.value) is kind
    return str(caught.value)


def put(folder: Path, name: str, columns: dict[str, Sequence[object]]) -> Path:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = out.getvalue().encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def picture(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    return path


def png(shade: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(out, "PNG")
    return out.getvalue()


# --- texts


def test_a_csv_of_texts(tmp_path: Path) -> None:
    path = put(tmp_path, "reviews.csv.gz", {"text": ["  a ", *TEXTS[1:]], "label": ["1 ", *SIDES[1:]]})
    found = opened(path)
    assert found.modality == "text"
    assert found.columns == {"text": "text", "label": "label"}
    assert rows(found)[0] == Row("  a ", "1 ", "reviews.csv.gz:2")  # as written: cleaning is for the tasks
    assert "text is 'text' (by its name); label is 'label' (by its name)" in said(found)
    assert found.notes[0].kind == "found"


def test_empty_texts_are_bad_items_and_no_rows() -> None:
    found = opened([("a b", "x"), (" \t", "y"), (None, "x"), ("c d", "y")])
    assert found.bad == ["<records>:2 (empty text)", "<records>:3 (empty text)"]
    assert [r.id for r in rows(found)] == ["<records>:1", "<records>:4"]


@pytest.mark.parametrize("gone", ["", "  ", None, float("nan")])
def test_rows_without_a_label_are_refused_by_name_or_dropped_and_said(gone: object) -> None:
    # faults.md, row 25
    frame = pd.DataFrame({"text": TEXTS, "label": [*SIDES[:4], gone, gone]}, dtype=object)
    message = refusal(frame)
    assert "2 rows have no label in 'label': <frame>:5, <frame>:6" in message
    assert "--drop-unlabelled" in message
    found = opened(frame, drop_unlabelled=True)
    assert len(rows(found)) == 4
    note = next(n for n in found.notes if n.kind == "skipped")
    assert note.items == ("<frame>:5", "<frame>:6")
    assert len(rows(opened(frame, labels=False))) == 6  # to predict, none is needed


def test_words_that_pandas_takes_for_nothing_are_labels(tmp_path: Path) -> None:
    # faults.md, row 26
    words = ["NA", "None", "null", "nan", "NaN", "#N/A"]
    found = opened(put(tmp_path, "a.csv", {"text": TEXTS, "label": words}))
    assert [r.y for r in rows(found)] == words
    texts = opened(put(tmp_path, "b.csv", {"text": words, "label": SIDES}), text="text")
    assert [r.x for r in rows(texts)] == words
    assert not texts.bad


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,label\ncafé,a\n".encode("latin-1"), r"t\.csv:2: byte 0xE9 at offset 14 is not utf-8.*ISO-8859-1"),
        ("text,label\ncafé,a\n".encode("utf-16"), "UTF-16"),
        ("text,label\né ü,a\nö ä,b\n".encode() + b"caf\xe9,c\n", r"t\.csv:4: .*mend that line"),
    ],
)
def test_other_encodings_are_refused_with_place_and_name(tmp_path: Path, content: bytes, says: str) -> None:
    # faults.md, row 46; a byte order mark alone is dropped
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=says):
        opened(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + b"text;label\r\na b;x\r\nc d;y\r\ne f;x\r\n")
    assert [r.y for r in rows(opened(tmp_path / "t.csv"))] == ["x", "y", "x"]


def test_nul_and_half_surrogates_are_replaced_and_other_oddities_kept(tmp_path: Path) -> None:
    # faults.md, row 47
    lines = "".join(f"a b {i},x\n" for i in range(40))
    (tmp_path / "n.csv").write_bytes(f"text,label\n{lines}c\0d,y\ne f,y\n".encode())
    found = opened(tmp_path / "n.csv")
    assert rows(found)[40].x == "c d"
    assert any(n.kind == "warning" and n.items == (f"{tmp_path / 'n.csv'}:42 (text)",) for n in found.notes)
    pairs = [{"text": "a b", "label": "x"}, {"text": "c \ud800 \ud83d\ude00", "label": "y"}] * 2
    (tmp_path / "s.jsonl").write_text("\n".join(json.dumps(row) for row in pairs))
    assert rows(opened(tmp_path / "s.jsonl"))[1].x == "c \ufffd \U0001f600"
    odd = ["bell \x07 and \x1b[31m", "x" * 1_000_000, "عربي 👩‍👩‍👧", "zero\u200bwidth", "a b", "c d"]
    found = opened(put(tmp_path, "odd.csv", {"text": odd, "label": SIDES}))
    assert [r.x for r in rows(found)] == odd


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,label\na,b,c\n", r"t\.csv:2 has 3 fields, the header has 2"),
        ('text,label\n"a\nb",x\n"open,y\n', r"t\.csv:4: .*close every quote"),
        ("text,label,text\na,b,c\n", "'text' stands more than once"),
        ("text\tlabel\na b\tx\tz\n", r"split by '\\t'"),
    ],
)
def test_ragged_badly_quoted_and_double_columns_are_refused_with_the_line(
    tmp_path: Path, content: str, says: str
) -> None:
    # faults.md, row 48
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        opened(tmp_path / "t.csv")


def test_line_breaks_and_delimiters_within_quotes_are_text(tmp_path: Path) -> None:
    texts = ['one,\n"two"', "tab\there", *TEXTS[2:]]
    found = opened(put(tmp_path, "t.csv", {"text": texts, "label": SIDES}))
    assert [r.x for r in rows(found)] == texts
    assert [r.id for r in rows(found)][:2] == ["t.csv:2", "t.csv:4"]


def test_numbers_are_kept_as_they_are_written(tmp_path: Path) -> None:
    # faults.md, row 61: nothing is parsed here, so nothing is lost; `targets.guess` says what are no numbers
    values = ["inf", "1,5", "€1.200", "3", "1e-3", "9007199254740993"]
    found = opened(put(tmp_path, "t.csv", {"text": TEXTS, "score": values}))
    assert [r.y for r in rows(found)] == values


# --- columns


def test_asked_columns_are_taken_and_missing_ones_refused_with_the_nearest(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv", {"body": TEXTS, "remark": TEXTS[::-1], "kind": SIDES, "who": list("abcabc")})
    found = opened(path, text="remark", label="kind", group="who", domain="who")
    assert found.columns == {"text": "remark", "label": "kind", "group": "who", "domain": "who"}
    assert (rows(found)[0].x, rows(found)[1].group, rows(found)[2].domain) == ("not for me", "b", "c")
    for role in ("text", "image", "label", "group", "domain", "time", "split"):
        message = refusal(path, UsageError, **{role: "kinds"})
        assert f"--{role}" in message
        assert "Did you mean 'kind'" in message
    assert "cannot be two things" in refusal(path, UsageError, text="body", label="body")
    assert "cannot be two things" in refusal(path, UsageError, label="kind", group="kind")


def test_what_was_trained_on_is_tried_first_and_only_where_it_is_there(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv", {"text": TEXTS, "note": TEXTS[::-1], "label": SIDES, "kind": SIDES[::-1]})
    found = opened(path, {"text": "note", "label": "kind", "group": "gone"})
    assert found.columns == {"text": "note", "label": "kind"}
    assert "as in training" in said(found)
    assert opened(path, {"text": "gone", "label": "gone"}).columns == {"text": "text", "label": "label"}
    assert opened(path, {"text": "note"}, text="text").columns["text"] == "text"


def test_groups_and_domains_are_guessed_by_unambiguous_names_alone() -> None:
    frame = pd.DataFrame(
        {"text": TEXTS, "label": SIDES, "PatientID": list("112233"), "domain": list("ababab"), "site": list("aabbcc")}
    )
    found = opened(frame)
    assert found.columns == {"text": "text", "label": "label", "group": "PatientID", "domain": "domain"}
    assert rows(found)[3].group == "2"
    assert "assumed: equal values of 'PatientID' stay on one side of a split" in said(found)
    subject = pd.DataFrame({"text": TEXTS, "label": SIDES, "subject": list("112233")})
    assert "group" not in opened(subject).columns  # what a text is about
    one = pd.DataFrame({"text": TEXTS, "label": SIDES, "user_id": list("111111"), "domain": [""] * 6})
    assert set(opened(one).columns) == {"text", "label"}


def test_times_are_taken_when_asked_for_and_else_pointed_at() -> None:
    days = [f"2024-01-0{i}" for i in range(1, 7)]
    frame = pd.DataFrame({"text": TEXTS, "label": SIDES, "posted": days})
    assert "'posted' looks like times: --time NAME" in said(opened(frame))
    assert rows(opened(frame))[0].time is None
    found = rows(opened(frame, time="posted"))
    assert [r.time for r in found][:2] == [1704067200.0, 1704153600.0]
    frame.loc[[1, 4], "posted"] = ["soon", None]
    message = refusal(frame, time="posted")
    assert "2 rows of column 'posted' (--time) hold no time: <frame>:2, <frame>:5 (the first is 'soon')" in message


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1970-01-02", "1970-01-01T00:00:01Z", "1970-01-01 01:00:00+01:00"], [86400.0, 1.0, 0.0]),
        (["0", "1.5", "-3"], [0.0, 1.5, -3.0]),
        (["1700000000000", "1"], [1.7e9, 0.001]),
        (["1971", "1970"], [31536000.0, 0.0]),
        (["19700102"], [86400.0]),
        (["nan", "inf", "31/12/2024", "2024-13-01", None], [None] * 5),
    ],
)
def test_seconds(cells: list[str | None], expected: list[float | None]) -> None:
    assert seconds(cells) == expected


def test_a_split_column_counts_by_name_and_values(tmp_path: Path) -> None:
    parts = ["train", "Train", "dev", "validation", "test", "training"]
    found = opened(put(tmp_path, "t.csv", {"text": TEXTS, "label": SIDES, "fold": parts}))
    assert {p: len(r) for p, r in found.rows.items()} == {"train": 3, "valid": 2, "test": 1}
    assert "parts by column 'fold': 3 train, 2 valid, 1 test" in said(found)
    folds = put(tmp_path, "f.csv", {"text": TEXTS, "label": SIDES, "fold": list("123123")})
    assert set(opened(folds).rows) == {"all"}
    message = refusal(folds, split="fold")
    assert "6 rows of column 'fold' (--split) name no part: f.csv:2" in message.replace(str(tmp_path) + "/", "")
    assert "'1', '2', '3'" in message


def test_labels_in_several_columns(tmp_path: Path) -> None:
    table = {"text": TEXTS, "toxic": list("101010"), "rude": list("110000"), "n": list("345678")}
    found = opened(put(tmp_path, "t.csv", table))
    assert found.columns["label"] == "toxic,rude"
    assert [r.y for r in rows(found)] == [("toxic", "rude"), ("rude",), ("toxic",), (), ("toxic",), ()]
    assert "2 columns of only 0 and 1, each a label of its own" in said(found)
    again = opened(put(tmp_path, "u.csv", {**table, "label": SIDES}), found.columns)
    assert rows(again)[0].y == ("toxic", "rude")
    assert rows(opened(put(tmp_path, "v.csv", {**table, "label": SIDES})))[0].y == "good"
    wrong = put(tmp_path, "w.csv", {**table, "rude": ["1", "2", "", "0", "yes", "0"]})
    message = refusal(wrong, label="toxic,rude")
    assert "'rude' is one of several labels and must hold 0 or 1" in message
    assert "w.csv:3" in message and "w.csv:6" in message
    gap = put(tmp_path, "g.csv", {**table, "rude": ["1", "0", "", "0", "1", "0"]})
    assert "1 rows have no label in 'toxic,rude': g.csv:4" in refusal(gap, label="toxic, rude").replace(
        str(tmp_path) + "/", ""
    )


def test_lists_in_a_cell_are_tuples(tmp_path: Path) -> None:
    lists = [["a", "b"], [], ["b"], ["a"], ["c", "a"], ["b", "c"]]
    expected = [tuple(v) for v in lists]
    csv_file = put(tmp_path, "t.csv", {"text": TEXTS, "tags": [json.dumps(v) for v in lists]})
    assert [r.y for r in rows(opened(csv_file, label="tags"))] == expected
    pq.write_table(pa.table({"text": TEXTS, "label": lists}), tmp_path / "t.parquet")
    assert [r.y for r in rows(opened(tmp_path / "t.parquet"))] == expected
    frame = pd.DataFrame({"text": TEXTS, "label": lists})
    assert [r.y for r in rows(opened(frame))] == expected
    frame["label"] = [["a"], "b", ["c"], "a", "b", "c"]
    assert rows(opened(frame))[0].y == '["a"]'  # not all are lists: texts, as they are


def test_one_column_of_numbers_is_what_to_predict() -> None:
    prices = [1.25, 2.5, 3.75, 4.0, 5.5, 6.125]
    frame = pd.DataFrame({"id": range(6), "nr": range(1, 7), "description": TEXTS, "price": prices})
    found = opened(frame)
    assert found.columns == {"text": "description", "label": "price"}
    assert "the only other column of numbers" in said(found)
    frame["weight"] = prices[::-1]
    assert "no column of labels was found among id, nr, description, price, weight" in refusal(frame)
    assert opened(frame, labels=False).columns == {"text": "description"}
    assert opened(frame, label="weight").columns["label"] == "weight"


def test_by_name_and_the_alternative_is_said() -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": SIDES, "stars": list("121212")})
    assert "label is 'label' (by its name; 'stars' would do too: --label NAME)" in said(opened(frame))


# --- frames and the like


def test_records_arrow_and_polars_are_read_as_pandas_is() -> None:
    columns: dict[str, list[Any]] = {"text": TEXTS, "label": [1, 0, 1, 0, 1, 0]}
    expected = [Row(t, str(y), f"<frame>:{i}") for i, (t, y) in enumerate(zip(TEXTS, columns["label"]), 1)]
    assert rows(opened(pd.DataFrame(columns))) == expected
    assert [(r.x, r.y) for r in rows(opened(pa.table(columns)))] == [(r.x, r.y) for r in expected]
    dicts = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    assert [(r.x, r.y) for r in rows(opened(dicts))] == [(r.x, r.y) for r in expected]
    assert [(r.x, r.y) for r in rows(opened(list(zip(TEXTS, columns["label"]))))] == [(r.x, r.y) for r in expected]


def test_polars_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"text": [*TEXTS[:5], None], "label": polars.Series(SIDES).cast(polars.Categorical), "n": [1, None, 3, 4, 5, 6]}
    )
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)  # an import of it fails
    found = opened(frame)
    assert [r.y for r in rows(found)] == SIDES[:5]
    assert found.bad == ["<frame>:6 (empty text)"]
    lists = polars.DataFrame({"text": TEXTS, "label": [["a"], ["a", "b"], [], ["b"], ["a"], ["b"]]})
    assert rows(opened(lists))[1].y == ("a", "b")
    blobs = polars.DataFrame({"image": [png(i) for i in range(4)], "label": list("abab")})
    assert rows(opened(blobs))[0].x == png(0)
    with pytest.raises(DataError, match="collect"):
        opened(frame.lazy())


@pytest.mark.parametrize("source", [[], ["a", "b"], "text.csv", 3, {"a": np.zeros(3)}, [("a", "b", "c")]])
def test_what_is_no_table_is_left_to_others(source: Any) -> None:
    assert open_tables(source, Recipe(), {}) is None


def test_files_and_folders_that_are_no_tables_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert open_tables(tmp_path / "a.txt", Recipe(), {}) is None
    assert open_tables(tmp_path, Recipe(), {}) is None
    assert open_tables(tmp_path / "none", Recipe(), {}) is None


# --- folders of tables


def test_a_folder_of_parts(tmp_path: Path) -> None:
    for name in ("train.csv", "DEV.tsv.csv", "testing.csv.gz"):
        put(tmp_path, name, {"text": TEXTS, "label": SIDES})
    (tmp_path / "meta.json").write_text('{"labels": ["good", "bad"], "source": "here"}')
    found = opened(tmp_path)
    assert {p: len(r) for p, r in found.rows.items()} == {"train": 6, "valid": 6, "test": 6}
    assert found.rows["test"][0].id == "testing.csv.gz:2"
    assert "parts as given: train, valid, test" in said(found)
    assert "leave --split label out" in refusal(tmp_path, UsageError, split="label")
    put(tmp_path, "valid.csv", {"text": TEXTS, "label": SIDES})
    assert "which of these tables is what?" in refusal(tmp_path)


def test_shards_of_a_part_are_one_part(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        pq.write_table(pa.table({"text": TEXTS, "label": SIDES}), tmp_path / f"{name}.parquet")
    found = opened(tmp_path)
    assert {p: len(r) for p, r in found.rows.items()} == {"train": 12, "valid": 6}
    assert len({r.id for r in found.rows["train"]}) == 12


def test_a_part_without_the_column_is_named(tmp_path: Path) -> None:
    put(tmp_path, "train.csv", {"text": TEXTS, "label": SIDES})
    put(tmp_path, "test.csv", {"text": TEXTS, "id": SIDES})
    message = refusal(tmp_path)
    assert "test.csv has no column 'label', which the first table has; it has text, id" in message
    assert {p: len(r) for p, r in opened(tmp_path, labels=False).rows.items()} == {"train": 6, "test": 6}


# --- pictures


def manifest(folder: Path, base: str = "", name: str = "labels.csv") -> Path:
    for i in range(6):
        picture(folder / base / f"{i}.png", i)
    return put(folder, name, {"file": [f"{i}.png" for i in range(6)], "label": SIDES, "caption": TEXTS})


@pytest.mark.parametrize("base", ["", "labels", "photos"])
def test_paths_are_relative_to_the_table_its_stem_or_a_folder_beside_it(tmp_path: Path, base: str) -> None:
    path = manifest(tmp_path, base)
    for source in (path, tmp_path):
        found = opened(source)
        assert (found.modality, found.columns) == ("picture", {"image": "file", "label": "label"})
        assert rows(found)[2] == Row(tmp_path / base / "2.png", "good", "2.png")
        assert "'caption' looks like text: --text NAME" in said(found)
    assert opened(path, text="caption").modality == "text"
    assert opened(path, text="caption", image="file").modality == "picture"
    assert opened(path, task="text_classification").columns["text"] == "caption"


def test_missing_pictures_are_bad_items(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    for i in (1, 4):
        (tmp_path / f"{i}.png").unlink()
    assert opened(path).bad == ["1.png (no such file)", "4.png (no such file)"]
    for i in (0, 2, 3):
        (tmp_path / f"{i}.png").unlink()
    assert opened(path).modality == "text"  # fewer than half are there: the caption it is
    assert len(opened(path, image="file").bad) == 5
    (tmp_path / "5.png").unlink()
    message = refusal(path, image="file")
    assert "none of the first 6 pictures of column 'file' is there (such as '0.png')" in message
    del_text = put(tmp_path, "p.csv", {"file": [f"{i}.png" for i in range(6)], "label": SIDES})
    assert "none of the first 6 pictures of column 'file'" in refusal(del_text)


def test_absolute_paths_dots_and_back_slashes(tmp_path: Path) -> None:
    there = [picture(tmp_path / "far" / f"{i}.png", i) for i in range(3)]
    cells = [str(there[0]), "../far/1.png", "..\\far\\2.png"]
    found = opened(put(tmp_path / "lists", "m.csv", {"path": cells, "label": list("aba")}))
    assert [r.x.resolve() for r in rows(found)] == there
    assert [r.id for r in rows(found)] == cells


def test_paths_that_are_none(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    cells = [f"{i}.png" for i in range(4)] + ["x" * 300 + ".png", "y/" * 3000 + ".png", "https://a.b/c.png", " "]
    path = put(tmp_path, "m.csv", {"file": cells, "label": list("abababab")})
    reasons = [b.rsplit("(")[-1] for b in opened(path).bad]
    assert reasons == [
        "no such file)", "no path: it holds a NUL or is too long)", "a web address: download it first)", "no picture)"
    ]  # fmt: skip


def test_web_addresses_are_refused_with_the_reason(tmp_path: Path) -> None:
    links = [f"https://example.org/{i}.jpg" for i in range(6)]
    path = put(tmp_path, "t.csv", {"image": links, "label": SIDES})
    assert "holds web addresses (such as https://example.org/0.jpg)" in refusal(path, image="image")
    with_text = put(tmp_path, "u.csv", {"image": links, "text": TEXTS, "label": SIDES})
    assert opened(with_text).modality == "text"


def test_names_without_an_ending(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / "train" / f"a{i}.jpg", i)
    path = put(tmp_path, "labels.csv", {"id": [f"a{i}" for i in range(6)], "breed": SIDES})
    found = opened(path)
    assert found.columns == {"image": "id", "label": "breed"}
    assert rows(found)[0].x == tmp_path / "train" / "a0.jpg"


def test_masks_are_not_the_pictures(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    names = [f"{i}.png" for i in range(6)]
    path = put(tmp_path, "m.csv", {"mask": names, "photo": names, "label": SIDES})
    found = opened(path)
    assert found.columns["image"] == "photo"
    assert "'mask' would do too: --image NAME" in said(found)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("form", ["bare", "with the folder"])
def test_a_list_beside_a_folder_of_its_name(tmp_path: Path, suffix: str, form: str) -> None:
    names = [("" if form == "bare" else "pets/") + f"{i}.png" for i in range(6)]
    for i in range(6):
        picture(tmp_path / "pets" / f"{i}.png", i)
    table: dict[str, list[Any]] = {"file": names, "label": SIDES}
    path = put(tmp_path, f"pets{suffix}", table)
    records = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    if suffix == ".parquet":
        pq.write_table(pa.table(table), path)
    elif suffix != ".csv":
        path.write_text(json.dumps(records) if suffix == ".json" else "\n".join(map(json.dumps, records)))
    for source in (tmp_path / "pets", path):
        found = opened(source)
        assert rows(found)[1] == Row(tmp_path / "pets" / "1.png", "bad", names[1])
    assert "the list pets" in said(opened(tmp_path / "pets"))


@pytest.mark.parametrize(
    "content",
    [
        {f"{i}.png": SIDES[i] for i in range(6)},
        {f"{i}.png": {"label": SIDES[i], "w": 3} for i in range(6)},
        {str(i): {"file": f"{i}.png", "label": SIDES[i]} for i in range(6)},
    ],
)
@pytest.mark.parametrize("place", ["pets.json", "pets/labels.json"])
def test_json_by_file_name(tmp_path: Path, content: object, place: str) -> None:
    for i in range(6):
        picture(tmp_path / "pets" / f"{i}.png", i)
    (tmp_path / place).write_text(json.dumps(content))
    found = opened(tmp_path / "pets")
    assert [(r.x.name, r.y) for r in rows(found)] == [(f"{i}.png", SIDES[i]) for i in range(6)]
    assert rows(opened(tmp_path / place))[0].y == "good"


def test_json_of_others_is_left_to_them(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / "pets" / f"{i}.png", i)
    coco = {"images": [{"file_name": "0.png", "id": 0}], "annotations": [], "categories": []}
    (tmp_path / "pets.json").write_text(json.dumps(coco))
    (tmp_path / "pets" / "meta.json").write_text('{"source": "here", "labels": ["a"]}')
    assert open_tables(tmp_path / "pets", Recipe(), {}) is None
    assert open_tables(tmp_path / "pets.json", Recipe(), {}) is None
    assert open_tables(tmp_path / "pets" / "meta.json", Recipe(), {}) is None
    (tmp_path / "pets.json").write_text('{"0.png": "a", "0.png": "b"}')
    assert "a key stands twice" in refusal(tmp_path / "pets")


def test_class_folders_win_over_a_table_that_names_no_pictures_of_theirs(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / SIDES[i] / f"{i}.png", i)
    put(tmp_path, "notes.csv", {"remark": TEXTS, "who": SIDES})
    assert open_tables(tmp_path, Recipe(), {}) is None
    assert opened(tmp_path, text="remark", label="who").modality == "text"
    (tmp_path / "notes.csv").unlink()
    put(tmp_path, "metadata.csv", {"file_name": [f"{SIDES[i]}/{i}.png" for i in range(6)], "label": list("xyxyxy")})
    assert [r.y for r in rows(opened(tmp_path))] == list("xyxyxy")


def test_parts_in_folders_with_a_list_each(tmp_path: Path) -> None:
    for part in ("train", "val"):
        manifest(tmp_path / part, name="metadata.csv")
    found = opened(tmp_path)
    assert {p: len(r) for p, r in found.rows.items()} == {"train": 6, "valid": 6}
    assert found.rows["valid"][0] == Row(tmp_path / "val" / "0.png", "good", "val/0.png")
    ids = [r.id for part in found.rows.values() for r in part]
    assert len(set(ids)) == len(ids)


def test_bytes_structs_arrays_and_pillow_pictures(tmp_path: Path) -> None:
    raw = [png(i) for i in range(4)]
    structs = [{"bytes": b, "path": None} for b in raw]
    for name, column in (("a", pa.array(raw)), ("b", pa.array(structs))):
        pq.write_table(pa.table({"picture": column, "label": list("abab")}), tmp_path / f"{name}.parquet")
        found = opened(tmp_path / f"{name}.parquet")
        assert found.modality == "picture"
        assert rows(found)[1] == Row(raw[1], "b", f"{name}.parquet:2")
    arrays = [np.full((8, 8, 3), i, np.uint8) for i in range(4)]
    for x in (arrays, [Image.fromarray(a) for a in arrays], [memoryview(b) for b in raw]):
        found = opened(list(zip(x, "abab", strict=True)))
        assert (found.modality, found.columns["image"]) == ("picture", "image")
        assert rows(found)[3].x is x[3] or rows(found)[3].x == raw[3]
        framed = opened(pd.DataFrame({"x": pd.Series(list(x), dtype=object), "label": list("abab")}))
        assert rows(framed)[3].id == "<frame>:4"
    where = [{"bytes": None, "path": str(picture(tmp_path / "p.png"))}, *structs[1:3], {"bytes": None, "path": None}]
    found = opened(pd.DataFrame({"x": pd.Series(where, dtype=object), "label": list("abab")}))
    assert rows(found)[0].x == tmp_path / "p.png"
    assert found.bad == ["<frame>:4 (no picture)"]


def test_paths_in_records(tmp_path: Path) -> None:
    there = [picture(tmp_path / f"{i}.png", i) for i in range(4)]
    for pairs in ([(p, "a") for p in there], [(str(p), "a") for p in there]):
        found = opened(pairs)
        assert [r.x for r in rows(found)] == there
        assert rows(found)[0].id == str(there[0])


def test_bytes_that_are_no_pictures_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"raw": [b"abc"] * 6, "text": TEXTS, "label": SIDES}), tmp_path / "t.parquet")
    assert "column 'raw' holds bytes that are no pictures" in refusal(tmp_path / "t.parquet")
    assert opened(tmp_path / "t.parquet", text="text").columns == {"text": "text", "label": "label"}
    assert "holds bytes or pictures, not text" in refusal(tmp_path / "t.parquet", UsageError, text="raw")
    assert "holds bytes or pictures, and no label" in refusal(tmp_path / "t.parquet", UsageError, label="raw")


def test_pickles_are_refused_whatever_they_are_called(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "t.json").write_bytes(pickle.dumps({"a": 1}))
    assert "pickle" in refusal(tmp_path / "t.json", SecurityError)


# --- real sets


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    ["ag_news_7600", "amazon_reviews5", "banking77", "clinc150", "cr", "imdb_subset", "sst2", "sst5", "subj", "trec",
     "tweeteval_emotion", "tweeteval_irony", "xlmt_sentiment8"],
)  # fmt: skip
def test_every_set_of_texts_opens_without_options(name: str) -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    from graft.readers.targets import guess

    found = opened(SHARED / "text" / name)
    assert (found.modality, found.columns["text"], found.columns["label"]) == ("text", "text", "label")
    assert {"train", "test"} <= set(found.rows)
    assert ("domain" in found.columns) == (name in ("amazon_reviews5", "clinc150", "xlmt_sentiment8"))
    assert len(found.bad) <= 4
    assert guess([r.y for part in found.rows.values() for r in part]).kind == "classes"


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["ratings", "tables"])
def test_tables_without_texts_are_refused_clearly(kind: str) -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    small = [p for p in (SHARED / kind).glob("*/*.csv.gz") if p.stat().st_size < 100_000]
    folders = [p for p in (SHARED / kind).iterdir() if p.name not in ("acs_income20", "diabetes130_20k")]  # seconds
    sources = sorted([*folders, *small])
    assert len(sources) > 7
    for source in sources:
        message = refusal(source)
        assert any(s in message for s in ("looks like text", "which of these tables", "no column of labels")), message


@pytest.mark.shared
def test_folders_of_pictures_are_left_to_others() -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    for source in sorted((SHARED / "vision").iterdir()):
        assert open_tables(source, Recipe(), {}) is None
