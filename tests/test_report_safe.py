"""Whatever a report holds, its page, card and table stay text, finite, small and the same."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
from pages import Page, rendered
from report_parts import picture, sample, score

from graft import _wording, report

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


def hostile_kind(kind: str) -> dict[str, Any]:
    """A report of a kind of answer whose every text is hostile, names of measures and models too."""
    r = {**hostile(), **{k: v for k, v in reports.KINDS[kind]().items() if k in ("residuals",)}}
    r["task"] = {"name": HOSTILE[0], "labels": HOSTILE, "answers": kind}
    r["measures"] = {h: {"says": h, "lower": i % 2 == 0, "undefined": h * (i % 3)} for i, h in enumerate(HOSTILE)}
    r["measure"] = HOSTILE[0]
    r["chosen"] = HOSTILE[1]
    r["scores"] = {h: {"test": {x: {"value": None if i % 2 else 0.5} for x in HOSTILE}} for i, h in enumerate(HOSTILE)}
    r["thresholds"] = {HOSTILE[1]: [0.3 * i for i in range(len(HOSTILE))]}
    r["rank"]["measure"] = HOSTILE[0]
    r["left_out"] = [{"name": h, "why": h} for h in HOSTILE]
    return r


@pytest.mark.parametrize("kind", reports.KINDS)
def test_hostile_text_of_each_kind_stays_text(kind: str) -> None:
    r = hostile_kind(kind)
    page = report.to_html(r)
    read = Page(page)
    assert set(re.findall(r'<section id="(\w+)">', page)) >= {"controls", "measures", "rungs", "mistakes", "data"}
    assert ("thresholds" in read.attributes_of("id")) is (kind != "numbers")
    assert not {"script", "iframe", "object", "a", "form", "base", "img"} & set(read.tags)
    assert not [k for k, _ in read.attributes if k.startswith("on")]
    assert read.words.count("<script>alert(1)</script>") > 12
    assert "49{" not in read.words
    assert not _wording.ODD.search(page)
    card = report.model_card(r)
    prose = re.sub(r"```.*?```", "", card.partition("\n---\n")[2], flags=re.DOTALL)
    assert "<" not in prose
    assert not re.search(r"(?<!\\)\]\(", prose)
    assert not re.search(r"^license: mit", card, flags=re.MULTILINE)
    out = rendered(r)
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


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
        for make in (sample, *reports.KINDS.values()):
            r = poisoned(make(), bad)
            check(r)


def check(r: dict[str, Any]) -> None:
    page = report.to_html(r)
    assert not re.search(r"\b(nan|inf)\b", Page(page).words, flags=re.IGNORECASE)
    assert not re.search(r"\b(nan|inf)\b|nan%|inf%", re.sub(r"base64,\S+", "", page))
    assert not re.search(r"\b(nan|inf)\b", report.model_card(r) + rendered(r), flags=re.IGNORECASE)
    json.dumps(report.finite(r), allow_nan=False)
    json.dumps(report.explained(r), allow_nan=False)


def test_a_null_has_its_reason() -> None:
    r = reports.of_classes()
    nan, before = float("nan"), copy.deepcopy(r)
    assert report.explained(r) == before  # nothing is missing: no key more
    r["scores"]["probe"]["test"]["cost"]["value"] = nan
    r["headline"]["low"] = np.float32("inf")
    r["seconds"], r["data"]["a/b~c"], r["residuals"] = -float("inf"), nan, {"truth": [1.0, nan]}
    r["measures"][r["measure"]]["undefined"] = "one class only"
    said = report.explained(r)
    assert said["nulls"] == {
        "/headline/low": "one class only",
        "/scores/probe/test/cost/value": "no cost matrix was given",
        "/seconds": "infinite", "/data/a~1b~0c": "not a number", "/residuals/truth/1": "not a number",
        "/scores/finetune/test/sensitivity:specificity=0.95/low": "one class only",
    }  # fmt: skip
    for place in said["nulls"]:
        at: Any = said
        for part in place.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            at = at[int(key)] if isinstance(at, list) else at[key]
        assert at is None
    json.dumps(said, allow_nan=False)


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
