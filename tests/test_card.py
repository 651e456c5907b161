"""The model card is what the hub reads; the terminal's table fits it; both say the page's numbers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import reports
from pages import rendered
from report_parts import sample, score

from graft import _page, _wording, report


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


FRONT = {
    "classes": {"pipeline_tag": ["image-classification"],
                "tags": ["graft", "transfer-learning", "image-classification"],
                "metrics": ["recall", "accuracy", "f1", "roc_auc", "log_loss", "cost"]},
    "labels": {"pipeline_tag": ["text-classification"],
               "tags": ["graft", "transfer-learning", "text-multilabel", "multi-label-classification"],
               "metrics": ["map", "f1", "exact_match", "hamming_loss", "roc_auc"]},
    "numbers": {"tags": ["graft", "transfer-learning", "image-regression", "regression"],
                "metrics": ["mae", "rmse", "r_squared"]},
}  # fmt: skip
SAID = {
    "classes": [
        "answers: one of 2 classes (healthy, sick)", "decision: It says “sick” from a probability of 23.1% on",
        "It answers with one of its 2 classes", "The class it misses most is sick: it finds 81.3% of it",
        "| Cost | Mean cost of an answer. Less is better. No value here: no cost matrix was given | n/a |  |",
        'print(answers[["id", "label", "probability"]])',
        "| finetune | yes | better: +13.1 points \\[+3.0, +24.0\\], p 0.008 |",
        "| 2 min 01 s |",
    ],
    "labels": [
        "answers: any number of 7 labels (politics, economy,", "It knows its 7 labels alone, and may say none of them",
        "The label it misses most is", 'print(answers[["id", "labels"]])', "labels holds every label that is said",
        "| AUROC | Mean over labels of the area under the ROC curve.",
        "No value here: no test item holds the label weather | n/a |  |",
    ],
    "numbers": [
        "answers: a number (between 8.00 and 216 on the test part)", "(less MAE is better)",
        "It answers with a number, whatever it is shown",
        "Half of its test answers are off by at most 7.05, nine in ten by 15.8",
        'print(answers[["id", "value"]])', "| MAE | Mean distance between",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", reports.KINDS)
def test_card_of_each_kind(kind: str) -> None:
    card = report.model_card(reports.KINDS[kind]())
    head, _, body = card.removeprefix("---\n").partition("\n---\n")
    read: dict[str, list[str]] = {}
    key = ""
    for line in head.splitlines():
        if line.startswith("- "):
            read[key].append(line[2:])
        else:
            key, _, value = line.partition(":")
            read[key] = [value.strip()] if value.strip() else []
    assert {k: read[k] for k in ("pipeline_tag", "tags", "metrics") if k in read} == FRONT[kind]
    assert not [x for x in SAID[kind] if x not in body]
    titles = re.findall(r"^## (.*)", body, flags=re.MULTILINE)
    assert titles == ["What it is", "Score", "Measures", "Data", "How it was chosen", "Limits", "Use"]
    if kind == "numbers":
        assert not [
            x for x in ("class", "probab", "label", "classification") if x in card.replace("linear classifier", "")
        ]


@pytest.mark.parametrize("kind", reports.KINDS)
def test_usage_of_each_kind_is_five_lines_that_compile(kind: str) -> None:
    shown = _page.usage(reports.KINDS[kind]())
    assert shown is not None
    compile(shown["python"], "usage", "exec")
    assert len(shown["python"].splitlines()) == 5


@pytest.mark.parametrize("kind", reports.KINDS)
def test_terminal_of_each_kind_fits_80_columns(kind: str) -> None:
    r = reports.KINDS[kind]()
    lines = rendered(r).splitlines()
    assert max(map(len, lines)) <= 80
    out = "\n".join(lines)
    assert ("less is better" in out) is (kind == "numbers")
    assert ("points" in out.partition("Fine-tuning")[0]) is (kind != "numbers")
    for name, s in r["controls"].items():  # a model keeps its line: nothing is folded
        row = next(x for x in lines if _wording.spoken(name) in x)
        assert re.search(r"\([+-][\d.]+ to [+-][\d.]+\)", row), row
        assert f"{100 * s['value']:.1f}" in row or f"{s['value']:.3g}" in row


def test_large_numbers_are_not_cut_on_the_terminal() -> None:
    r = reports.of_numbers()
    r["headline"] = score(123456.7, 113456.7, 133456.7, n=640)
    r["controls"] = {"constant": score(1234567.8, 1134567.8, 1334567.8)}
    r["against"] = {"constant": {"difference": -1111111.1, "low": -1222222.2, "high": -999999.0}}
    out = rendered(r)
    assert max(map(len, out.splitlines())) <= 80
    for said in ("finetune", "constant", "123,457", "1,134,568 to 1,334,568", "-1,111,111", "-1,222,222", "-999,999"):
        assert said in out, said
    assert "…" not in out
