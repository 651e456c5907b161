"""A report's page is one safe, still file; its card and its table say the same numbers."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from graft import _page, _plots, _wording, report

VOID = {"meta", "link", "img", "br", "input"}
SHAPES = {"circle", "line"}  # closed by themselves
ORDER = [
    "controls", "rungs", "mistakes", "confusion", "classes", "calibration", "curves", "rank", "data", "usage",
    "recipe", "machine",
]  # fmt: skip


def score(value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, **more}


def picture(kilobytes: int = 8) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(bytes(range(256)) * 4 * kilobytes).decode()


def sample() -> dict[str, Any]:
    curve = {"step": [0, 10, 20], "loss": [0.7, 0.3, 0.2], "valid": [{"step": 10, "value": 0.9}]}
    candidate = {"name": "local:/zoo/a", "predicted": 0.92, "low": 0.88, "high": 0.95, "probe": 0.91, "mb": 7.2}
    failed = {"name": "timm:b", "error": "the hub cannot be reached"}
    note = {"kind": "skipped", "text": "files that are no pictures", "items": [f"odd_{i}.gif" for i in range(70)]}
    return {
        "format": 1, "run": "runs/photos", "title": "photos", "graft": "0.1.0",
        "created": "2026-11-24T08:00:00+00:00", "task": {"name": "image_classification", "labels": ["ants", "bees"]},
        "measure": "accuracy", "chosen": "finetune", "headline": score(0.93, 0.89, 0.97, n=153), "level": 0.95,
        "verdict": "Carrying knowledge over helped.",
        "backbone": {"name": "local:/zoo/mobilenetv2_100_tv", "parameters": 3504872, "mb": 7.2,
                     "license": "Apache-2.0", "trained_on": "ImageNet-1k"},
        "controls": {"majority": score(0.54, 0.46, 0.62), "probe": score(0.92, 0.88, 0.96)},
        "against": {"majority": {"difference": 0.39, "low": 0.30, "high": 0.47},
                    "probe": {"difference": 0.01, "low": -0.02, "high": 0.04}},
        "rungs": [{"name": "probe", **score(0.91, 0.85, 0.96), "seconds": 4.0, "kept": True, "why": "first"},
                  {"name": "finetune", **score(0.94, 0.9, 0.98), "seconds": 62.0, "kept": True, "why": "better",
                   "recipe": "probe > finetune:depth=2"}],
        "scores": {"finetune": {"test": {"accuracy": score(0.93, 0.89, 0.97, n=153),
                                         "log_loss": score(0.213, 0.1, 0.3, n=153)}}},
        "confusion": [[65, 5], [6, 77]],
        "per_class": {"ants": {"precision": 0.915, "recall": 0.929, "f1": 0.922, "n": 70},
                      "bees": {"precision": 0.939, "recall": 0.928, "f1": 0.933, "n": 83}},
        "calibration": {"ece": 0.04, "bins": [
            {"low": 0.5, "high": 0.9, "confidence": 0.7, "accuracy": 0.6, "n": 41},
            {"low": 0.9, "high": 1.0, "confidence": 0.98, "accuracy": 0.96, "n": 112}]},
        "mistakes": [{"id": f"val/{i}.jpg", "truth": "ants", "predicted": "bees", "probability": 0.5 + i / 50,
                      "text": None, "picture": picture()} for i in range(20)],
        "curves": {"finetune": curve},
        "rank": {"candidates": [candidate, failed], "choice": "local:/zoo/a", "tied": []},
        "data": {"source": "photos/", "train": 196, "valid": 48, "test": 153, "notes": [note], "fingerprint": "9f" * 32,
                 "classes": {"ants": {"train": 99, "valid": 24, "test": 70}}},
        "recipe": "seed = 0\n", "seconds": 92.1, "timeline": [{"what": "rank", "seconds": 20.1}],
        "environment": {"python": "3.11.7", "device": "cpu"},
    }  # fmt: skip


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order; keeps tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def sections(html: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', html)


def rendered(r: dict[str, Any], width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(report.terminal(r))
    out = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(out, str)
    return out


def test_sections_are_all_there_in_order() -> None:
    page = report.to_html(sample())
    assert sections(page) == ORDER
    words = Page(page).words
    for said in (
        "Carrying knowledge over helped.", "93.0%", "95% interval 89.0 to 97.0%, 153 test items",
        "397 items, 2 classes", "3.5 M parameters", "log loss 0.213", "+39.0", "+30.0 to +47.0", "chosen is better",
        "no clear difference", "1 min 02 s", "20 mistakes on the test part", "off by 4.0 points", "a little too sure",
        "the hub cannot be reached", "2026-11-24 08:00 UTC",
    ):  # fmt: skip
        assert said in words, said


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("controls", "controls"), ("rungs", "rungs"), ("mistakes", "mistakes"), ("confusion", "confusion"),
        ("per_class", "classes"), ("calibration", "calibration"), ("curves", "curves"), ("rank", "rank"),
        ("data", "data"), ("run", "usage"), ("recipe", "recipe"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["gone", "none", "empty"])
def test_a_section_without_data_is_left_out(key: str, section: str, how: str) -> None:
    r = sample()
    if how == "gone":
        del r[key]
    else:
        r[key] = None if how == "none" else type(r[key])()
    page = report.to_html(r)
    Page(page)
    assert sections(page) == [s for s in ORDER if s != section]
    report.model_card(r)
    rendered(r)


@pytest.mark.parametrize("r", [{}, {"format": 1, "run": "runs/x", "headline": None, "controls": {"majority": None}}])
def test_almost_nothing_is_still_a_report(r: dict[str, Any]) -> None:
    page = Page(report.to_html(r))
    assert "The chosen model is not named." in page.words
    assert report.model_card(r).startswith("---\n")
    assert "not named" in rendered(r)


def test_each_value_may_be_none() -> None:
    def hollow(value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {k: hollow(v, depth - 1) if depth else None for k, v in value.items()}
        return [hollow(v, depth - 1) for v in value] if isinstance(value, list) and depth else None

    for depth in range(1, 6):
        r = hollow(sample(), depth)
        r["task"] = {"name": None, "labels": None}
        Page(report.to_html(r))
        report.model_card(r)
        rendered(r)


HOSTILE = [
    "<script>alert(1)</script>", "{{ 7*7 }}{% raw %}", "W" * 5000, "\N{ANT}\N{HONEYBEE}", "נמלים",
    "\" onmouseover='x' style=\"", "](javascript:x) | **b** `c`", "\x1b[31mred\x00", "\udc80odd", "\u202eevil\u2066",
    "---\nlicense: mit", "</style></title><img src=x>", "[bold]x[/nope]", "https://example.org/x", "items", "nan",
]  # fmt: skip


def hostile() -> dict[str, Any]:
    r, n = sample(), len(HOSTILE)
    r["task"]["labels"] = HOSTILE
    r["confusion"] = [[(i * j) % 4 for j in range(n)] for i in range(n)]
    r["per_class"] = {h: {"precision": 0.9, "recall": float("nan"), "f1": 0.5, "n": 4} for h in HOSTILE}
    r["data"]["classes"] = {h: {"train": 1, "valid": None} for h in HOSTILE}
    r["data"]["notes"] = [{"kind": h, "text": h, "items": HOSTILE} for h in HOSTILE]
    r["mistakes"] = [
        {"id": h, "truth": h, "predicted": h, "probability": 0.9, "text": h, "picture": h} for h in HOSTILE
    ]
    r["rungs"] = [{"name": h, **score(0.9, 0.8, 1.0), "kept": False, "why": h, "recipe": h} for h in HOSTILE]
    r["rank"]["candidates"] = [{"name": h, "license": h} for h in HOSTILE] + [
        {"name": "a", "error": h} for h in HOSTILE
    ]
    r["controls"] = {h: score(0.5, 0.4, 0.6) for h in HOSTILE}
    r["curves"] = dict.fromkeys(HOSTILE, r["curves"]["finetune"])
    r["environment"] = dict(zip(HOSTILE, HOSTILE, strict=True))
    r["timeline"] = [{"what": h, "seconds": 1.0} for h in HOSTILE]
    r["backbone"] = dict.fromkeys(("name", "license", "trained_on"), "\n".join(HOSTILE))
    for key in ("run", "title", "verdict", "recipe", "chosen", "created", "graft", "measure"):
        r[key] = "\n".join(HOSTILE)
    return r


def test_hostile_text_stays_text() -> None:
    page = report.to_html(hostile())
    read = Page(page)  # nothing opened an element
    assert not {"script", "iframe", "object", "a", "form", "base"} & set(read.tags)
    assert "img" not in read.tags
    assert not [k for k, _ in read.attributes if k.startswith("on")]
    assert page.count("<style>") == page.count("</style>") == page.count("<title>", 0, page.index("</head>")) == 1
    assert "<script>alert(1)</script>" in read.words
    assert "{{ 7*7 }}{% raw %}" in read.words
    assert "49{" not in read.words
    assert "\\x1b[31mred\\x00" in read.words
    assert "\\udc80odd" in read.words
    assert "\\u202eevil" in read.words
    assert not _wording.ODD.search(page)
    page.encode("utf-8")
    assert len(re.findall("W{401,}", page)) == 4  # only the verdict, the usage and the recipe are whole


def test_hostile_text_in_the_card() -> None:
    card = report.model_card(hostile())
    head, _, body = card.removeprefix("---\n").partition("\n---\n")
    for line in head.splitlines():
        assert re.fullmatch(r'[a-z_]+:( ([\w.\-/]+|".*"))?|- ([\w.\-/]+|".*")', line), line
    prose = re.sub(r"```.*?```", "", body, flags=re.DOTALL)
    assert "<" not in prose
    assert "://" not in prose
    assert not re.search(r"(?<!\\)\]\(", prose)
    assert not re.search(r"^license: mit", card, flags=re.MULTILINE)
    fences = [line for line in card.splitlines() if line.startswith("```")]
    assert fences == ["```python", "```", "```sh", "```"]
    card.encode("utf-8")


def test_hostile_text_in_the_terminal() -> None:
    out = rendered(hostile())
    assert "[bold]x[/nope]" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("data:image/png;base64,AAAA", True), ("data:image/svg+xml;base64,AAAA", False), ("javascript:alert(1)", False),
        ('data:image/png;base64,AAAA" onload="x', False), ("data:text/html;base64,AAAA", False),
        ("https://example.org/a.png", False), ("data:image/png;base64,AAAA\n", False),
    ],
)  # fmt: skip
def test_only_pictures_are_pictures(given: str, shown: bool) -> None:
    r = sample()
    r["mistakes"] = [{"id": "a", "truth": "x", "predicted": "y", "probability": 0.9, "picture": given}]
    assert ("<img" in report.to_html(r)) is shown


def test_nothing_is_fetched() -> None:
    page = report.to_html(sample())
    links = [v for k, v in Page(page).attributes if k in ("src", "href", "srcset", "action", "data", "xlink:href")]
    assert links
    assert all(v.startswith("data:") for v in links)
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r"url\(|@import|<script", page)
    assert "default-src 'none'" in page


def test_no_number_is_nan() -> None:
    def poisoned(value: Any, with_: float) -> Any:
        if isinstance(value, dict):
            return {k: poisoned(v, with_) for k, v in value.items()}
        if isinstance(value, list):
            return [poisoned(v, with_) for v in value]
        return with_ if isinstance(value, float) else value

    for bad in (float("nan"), float("inf"), -float("inf")):
        r = poisoned(sample(), bad)
        assert not re.search(r"\b(nan|inf)\b", Page(report.to_html(r)).words, flags=re.IGNORECASE)
        assert not re.search(r"\b(nan|inf)\b|nan%|inf%", re.sub(r"base64,\S+", "", report.to_html(r)))
        assert not re.search(r"\b(nan|inf)\b", report.model_card(r) + rendered(r), flags=re.IGNORECASE)
        json.dumps(report.finite(r), allow_nan=False)


def test_finite() -> None:
    given = {"a": float("nan"), "b": [1, (float("inf"), 2.5)], "c": {"nan": "nan", "d": True, "e": None}}
    kept = copy.deepcopy(given)
    assert report.finite(given) == {"a": None, "b": [1, [None, 2.5]], "c": {"nan": "nan", "d": True, "e": None}}
    assert str(given) == str(kept)
    assert report.finite(True) is True
    for value in (np.float32("nan"), np.float64("inf")):
        assert report.finite(value) is None
    assert type(report.finite(np.float32(0.5))) is float
    assert type(report.finite(np.int64(3))) is int


def test_size_is_bounded() -> None:
    assert len(report.to_html(sample()).encode()) < 1_500_000
    r = sample()
    r["mistakes"] = [{**x, "picture": picture(kilobytes=200)} for x in r["mistakes"] * 10]
    r["task"]["labels"] = [f"class_{i}" for i in range(3000)]
    r["per_class"] = {k: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 3} for k in r["task"]["labels"]}
    r["data"]["classes"] = {k: {"train": 1, "valid": 1, "test": 1} for k in r["task"]["labels"]}
    r["curves"] = {"x": {"step": list(range(50_000)), "loss": [1.0 / (i + 1) for i in range(50_000)]}}
    page = report.to_html(r)
    assert len(page.encode()) < 2_000_000
    assert "2,000 more rows are in report.json." in page
    assert 0 < page.count("<img") < 20


def test_pages_are_the_same_each_time(tmp_path: Path) -> None:
    first = report.to_html(sample())
    assert first == report.to_html(sample())
    (tmp_path / "r.json").write_text(json.dumps(sample()))
    code = "import json,sys; from graft import report as r; d=json.load(open(sys.argv[1]))\n"
    code += "sys.stdout.reconfigure(encoding='utf-8'); print(r.to_html(d) + r.model_card(d), end='')"
    run = [sys.executable, "-c", code, str(tmp_path / "r.json")]
    source = str(Path(report.__file__).parents[1])
    for seed in "12":
        env = {"PYTHONPATH": source, "PYTHONHASHSEED": seed}
        out = subprocess.run(run, env=env, capture_output=True, check=True).stdout.decode()
        assert out == first + report.model_card(sample())


def test_the_report_is_not_changed() -> None:
    r = sample()
    report.to_html(r)
    report.model_card(r)
    report.terminal(r)
    assert r == sample()


def test_import_is_light() -> None:
    code = "import sys; import graft.report\n"
    code += "print([m for m in ('jinja2', 'matplotlib', 'rich', 'numpy', 'torch') if m in sys.modules])"
    env = {"PYTHONPATH": str(Path(report.__file__).parents[1])}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_confusion_of_many_classes_lists_pairs() -> None:
    r, n = sample(), 40
    r["task"]["labels"] = [f"class_{i}" for i in range(n)]
    r["confusion"] = [[50 if i == j else i if j == 0 else 0 for j in range(n)] for i in range(n)]
    shown = _page.confusion(r)
    assert shown is not None
    assert shown["heat"] is None
    assert len(shown["table"]["seen"]) == 15
    assert shown["table"]["seen"][0] == ["class_39", "class_0", "39", "43.8%"]
    assert "The most confused pairs of 40 classes." in report.to_html(r)


def test_mistakes_come_worst_first_and_say_how_many_there_are() -> None:
    r = sample()
    r["confusion"] = [[10, 90], [0, 10]]
    page = report.to_html(r)
    assert "20 of 90 mistakes" in Page(page).words
    assert page.index("val/19.jpg") < page.index("val/0.jpg")


def test_items_of_a_note_are_capped() -> None:
    page = report.to_html(sample())
    assert "70 items" in page
    assert "and 20 more" in page
    assert "odd_49.gif" in page
    assert "odd_50.gif" not in page


def test_a_control_that_is_the_chosen_is_not_repeated() -> None:
    r = sample()
    r["chosen"], r["controls"]["probe"] = "probe", r["headline"]
    assert [x["name"] for x in _wording.compared(r)] == ["probe", "majority"]
    assert "The control probe is the chosen model itself." in Page(report.to_html(r)).words


def test_where_less_is_better_the_reading_turns() -> None:
    gap = {"difference": -0.2, "low": -0.3, "high": -0.1}
    assert _wording.reading(gap, "log_loss") == ("chosen is better", "good")
    assert _wording.reading(gap, "accuracy") == ("chosen is worse", "bad")
    assert _wording.reading({**gap, "high": 0.1}, "rmse") == ("no clear difference", "dim")
    assert _wording.reading({}, "rmse") == ("not compared", "dim")


def test_a_measure_that_is_no_share_is_no_percent() -> None:
    r = sample()
    r["measure"], r["headline"] = "rmse", score(12.345, 11.0, 13.9, n=153)
    r["controls"], r["against"] = (
        {"mean": score(20.0, 18.0, 22.0)},
        {"mean": {"difference": -7.6, "low": -9, "high": -6}},
    )
    words = Page(report.to_html(r)).words
    assert "RMSE on unseen data 12.3" in words
    assert "11 to 13.9" in words
    assert "−7.6" in words
    assert "chosen is better" in words
    assert "12.3" in rendered(r)
    assert "points" not in rendered(r)


@pytest.mark.parametrize(
    ("value", "measure", "signed", "words"),
    [
        (0.93, "accuracy", False, "93.0%"), (1.0, "macro_f1", False, "100.0%"), (0.39, "accuracy", True, "+39.0"),
        (-0.0131, "accuracy", True, "−1.3"), (-0.0001, "accuracy", True, "+0.0"), (0.21345, "log_loss", False, "0.213"),
        (None, "accuracy", False, "–"), (-2.5, "rmse", True, "−2.5"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, measure: str, signed: bool, words: str) -> None:
    assert _wording.number(value, measure, signed) == words.replace("\N{EN DASH}", _wording.NONE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (92.1, "1 min 32 s"), (7500, "2 h 05 min"), (None, "–")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert _wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("low", "high"), [(0.46, 0.97), (0.0, 1.0), (0.93, 0.93), (0.0, 0.0), (-3.0, 400.0), (0.9301, 0.9302), (1e-9, 1e9)]
)
def test_ticks_hold_the_range(low: float, high: float) -> None:
    marks = _plots.ticks(low, high)
    assert marks[0] <= low + 1e-12
    assert marks[-1] >= high - 1e-12
    assert 2 <= len(marks) <= 8
    assert marks == sorted(set(marks))


def test_long_lines_are_averaged() -> None:
    points = [(float(i), float(i % 2)) for i in range(10_001)]
    thinned = _plots.thin(points)
    assert len(thinned) <= _plots.MOST_POINTS
    assert sum(y for _, y in thinned) / len(thinned) == pytest.approx(0.5, abs=0.01)
    assert _plots.thin(points[:3]) == points[:3]
    assert _plots.thin([]) == []


def test_card_front_matter_is_plain_yaml() -> None:
    card = report.model_card(sample())
    head, _, body = card.removeprefix("---\n").partition("\n---\n")
    read: dict[str, Any] = {}
    key = ""
    for line in head.splitlines():
        if line.startswith("- "):
            read[key].append(line[2:])
        else:
            key, _, value = line.partition(":")
            read[key] = value.strip() or []
    assert read == {
        "license": "apache-2.0", "library_name": "graft", "pipeline_tag": "image-classification",
        "base_model": "mobilenetv2_100_tv", "tags": ["graft", "transfer-learning", "image-classification"],
        "metrics": ["accuracy", "log_loss"],
    }  # fmt: skip
    titles = re.findall(r"^## (.*)", body, flags=re.MULTILINE)
    assert titles == ["What it is", "Score", "Data", "How it was chosen", "Limits", "Use"]
    assert "| finetune (chosen) | 93.0% | 89.0 to 97.0% |  |" in body
    assert "| majority | 54.0% | 46.0 to 62.0% | +39.0 (+30.0 to +47.0) |" in body
    assert 'run = graft.load("runs/photos")' in body
    assert "graft predict runs/photos INPUT" in body


@pytest.mark.parametrize(
    ("licence", "lines"),
    [
        ("MIT", ["license: mit"]), ("CC-BY-NC-4.0", ["license: cc-by-nc-4.0"]), (None, []), ("", []),
        ("FAIR: non-commercial", ["license: other", 'license_name: "FAIR: non-commercial"']),
    ],
)  # fmt: skip
def test_card_licence(licence: str | None, lines: list[str]) -> None:
    r = sample()
    r["backbone"]["license"] = licence
    assert [x for x in report.model_card(r).splitlines() if x.startswith("license")] == lines


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("timm:resnet18.a1_in1k", "timm/resnet18.a1_in1k"), ("transformers:org/name", "org/name"), ("plain", "plain"),
        ("local:/zoo/vit/", "vit"), ("local:C:\\zoo\\vit", "vit"), ("bundled:minilm", "minilm"), ("local:no", '"no"'),
    ],
)  # fmt: skip
def test_card_base_model(name: str, base: str) -> None:
    r = sample()
    r["backbone"]["name"] = name
    assert f"base_model: {base}" in report.model_card(r).splitlines()


def test_python_of_the_usage_compiles() -> None:
    for run in ("runs/photos", "runs/a b'; rm -rf ~", 'C:\\runs\\"x"', "läuft/\N{ANT}"):
        shown = _page.usage({"run": run, "task": {"name": "text_classification"}})
        assert shown is not None
        compile(shown["python"], "usage", "exec")
        assert len(shown["python"].splitlines()) == 5


def test_terminal_fits_80_columns() -> None:
    out = rendered(sample())
    assert max(map(len, out.splitlines())) <= 80
    for said in ("finetune", "93.0", "89.0 to 97.0", "+39.0 (+30.0 to +47.0)", "+1.0 (-2.0 to +4.0)", "153 items"):
        assert said in out
    assert out.rstrip().endswith("Carrying knowledge over helped.")
