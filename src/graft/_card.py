"""The model card of a report: front matter in YAML as the Hugging Face hub reads it, then Markdown."""

from __future__ import annotations

import json
import re

from graft import _facts, _page, _wording
from graft._wording import Report, clip, count, duration, interval, number, plain, spoken

LICENSES = {  # the hub's identifiers
    "afl-3.0", "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "isc", "lgpl-3.0", "mit", "mpl-2.0", "openrail",
    "unlicense",
}  # fmt: skip
PIPELINES = {  # the hub's tasks, in our spelling
    "audio_classification", "image_classification", "image_segmentation", "object_detection",
    "tabular_classification", "tabular_regression", "text_classification", "text_generation",
    "time_series_forecasting", "token_classification",
}  # fmt: skip
SEVERAL = "multi-label-classification"  # the hub's tag; its tasks have no name of their own for several labels
METRICS = {  # the hub's names of ours
    "macro_f1": "f1", "micro_f1": "f1", "balanced_accuracy": "accuracy", "auroc": "roc_auc", "r2": "r_squared",
    "sensitivity": "recall",
}  # fmt: skip


def model_card(report: Report) -> str:
    """Return README.md as the Hugging Face hub reads it: front matter in YAML, then Markdown."""
    r = _wording.clean(report)
    parts = [
        _front_matter(r),
        f"# {_md(_wording.title(r))}",
        _md(_wording.verdict(r)),
        _what(r),
        _score(r),
        _measures(r),
        _data(r),
    ]
    return "\n\n".join(p for p in [*parts, _how(r), _limits(r), _use(r)] if p) + "\n"


def _front_matter(r: Report) -> str:
    backbone, task = r.get("backbone") or {}, str((r.get("task") or {}).get("name") or "")
    lines, licence = ["---"], str(backbone.get("license") or "")
    plain = licence.lower().partition(" (")[0]  # "Apache-2.0 (repo LICENSE; ...)"
    if plain in LICENSES:
        lines.append(f"license: {plain}")
    elif licence:
        lines += ["license: other", f"license_name: {_yaml(licence)}"]
    lines.append("library_name: graft")
    pipeline = task.replace("_multilabel", "_classification")
    lines += [f"pipeline_tag: {pipeline.replace('_', '-')}"] if pipeline in PIPELINES else []
    if backbone.get("name"):
        lines.append(f"base_model: {_yaml(_hub_name(str(backbone['name'])))}")
    tags = ["graft", "transfer-learning", *([task.replace("_", "-")] if task else [])]
    tags += [SEVERAL] if _wording.kind(r) == "labels" else ["regression"] if _wording.kind(r) == "numbers" else []
    names = [k.partition(":")[0] for k in (_wording.measure(r), *_wording.tested(r))]
    metrics = dict.fromkeys(METRICS.get(k, k) for k in names)
    lines += [
        "tags:",
        *(f"- {_yaml(t)}" for t in tags),
        "metrics:",
        *(f"- {_yaml(k)}" for k in metrics),
        "---",
    ]
    return "\n".join(lines)


def _hub_name(name: str) -> str:
    """`timm:resnet18.a1_in1k` as the hub's `timm/resnet18.a1_in1k`; of a folder, its last name alone."""
    source, colon, rest = name.partition(":")
    if not colon:
        return name
    if source == "bundled":
        return f"sentence-transformers/{rest}" if rest == "all-MiniLM-L6-v2" else rest
    if source == "timm":
        return rest if "/" in rest else f"timm/{rest}"
    return rest if source == "transformers" else re.split(r"[/\\]", rest.rstrip("/\\"))[-1]


def _yaml(text: str) -> str:
    """A plain word as it is, anything else quoted (a JSON string is a YAML one)."""
    is_plain = re.fullmatch(r"[A-Za-z][\w.\-/]*", text, re.ASCII) and text.lower() not in (
        "true", "false", "yes", "no", "on", "off", "null", "y", "n")  # fmt: skip
    return text if is_plain else json.dumps(text)


def _md(text: object) -> str:
    """Text as Markdown that means just that text, on one line."""
    line = " ".join(clip(text, 4 * _wording.TEXT).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*{}\[\]|~#$!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", line)
    line = line.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")  # no link that nobody meant
    # A line that starts as a list or a rule does is none.
    return re.sub(r"^(\d*)([-+=.)])(?=\s|\2|$)", r"\1\\\2", line)


def _grid(head: list[str], rows: list[list[str]], words: int = 1) -> str:
    """A Markdown table; all but the first `words` columns are numbers."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *([_md(c) for c in row] for row in rows)])


def _what(r: Report) -> str:
    b, task = r.get("backbone") or {}, r.get("task") or {}
    facts = [f"- task: {_md(spoken(task['name']))}"] if task.get("name") else []
    facts += [f"- answers: {_answers(r)}"] if _answers(r) else []
    facts += [f"- decision: {_md(_facts.decides(r))} Chosen on the validation part."] if _facts.decides(r) else []
    if b.get("name"):
        about = [f"{count(b['parameters'])} parameters"] if b.get("parameters") else []
        about += [f"trained on {_md(b['trained_on'])}"] if b.get("trained_on") else []
        about += [f"licence {_md(b['license'])}"] if b.get("license") else []
        facts.append(f"- backbone: {_md(b['name'])}" + (f" ({', '.join(about)})" if about else ""))
    facts += [f"- method: {_md(spoken(r['chosen']))}"] if r.get("chosen") else []
    carried = (r.get("layers") or {}).get("sentence")
    facts += [f"- what carried over: {_md(carried)}"] if carried else []
    made = [_md(r.get("graft") or ""), f"on {_md(_wording.when(r['created']))}" if r.get("created") else ""]
    return "## What it is\n\n" + "\n".join([*facts, f"- made by graft {' '.join(x for x in made if x)}".rstrip()])


def _answers(r: Report) -> str:
    """What the model may answer with."""
    kind, points = _wording.kind(r), _facts.pairs(r)
    if kind == "numbers":
        span = [number(f(t for t, _ in points), "number") for f in (min, max)] if points else []
        return "a number" + (f" (between {_md(span[0])} and {_md(span[1])} on the test part)" if span else "")
    labels = [_md(clip(x)) for x in (r.get("task") or {}).get("labels") or []]
    if not labels:
        return ""
    shown = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
    what = f"any number of {len(labels)} labels" if kind == "labels" else f"one of {len(labels)} classes"
    return f"{what} ({shown})"


def _score(r: Report) -> str:
    m, rows = _wording.measure(r), []
    for x in _wording.compared(r):
        gap, reach = x["gap"], interval(x["gap"], m, signed=True)
        minus = number(gap.get("difference"), m, signed=True) + (f" ({reach})" if reach else "")
        name = f"{spoken(x['name'])} (chosen)" if x["chosen"] else spoken(x["name"])
        rows.append([name, _wording.value(x["score"], m), interval(x["score"], m), "" if x["chosen"] else minus])
    if not rows:
        return ""
    n = _wording.best(r).get("n")
    unit = ", points (paired interval)" if _wording.is_percent(m) else " (paired interval)"
    head = ["Model", _md(plain(m)), _md(plain(_wording.level(r))), f"Chosen minus this{unit}"]
    less = f" (less {_md(spoken(m))} is better)" if _wording.lower(r, m) else ""
    about = f"On the test part{f' of {count(n)} items' if n else ''}, kept out of every choice{less}:"
    return f"## Score\n\n{about}\n\n{_grid(head, rows)}"


def _measures(r: Report) -> str:
    """Every measure of the chosen model with its definition."""
    rows, scores = [], _wording.tested(r)
    for name in _wording.measured(r):
        score = scores.get(name) or {}
        said = [
            clip(_wording.definition(r, name).get("says"), _wording.TEXT),
            "less is better" if _wording.lower(r, name) else "",
        ]
        missing = f"no value here: {_wording.why(r, name)}" if score.get("value") is None else ""
        about = _wording.sentences(*said, missing)
        rows.append([plain(name), about, _wording.value(score, name), interval(score, name)])
    head = ["Measure", "What it is", "Value", _md(plain(_wording.level(r)))]
    return f"## Measures\n\n{_grid(head, rows, words=2)}" if rows and scores else ""


def _data(r: Report) -> str:
    d = r.get("data") or {}
    parts = [f"{count(d[k])} {k}" for k in _page.PARTS if d.get(k) is not None]
    lines = [f"- items: {', '.join(parts)}"] if parts else []
    lines += [f"- source: {_md(d['source'])}"] if d.get("source") else []
    lines += [f"- fingerprint: {_md(d['fingerprint'])}"] if d.get("fingerprint") else []
    for note in d.get("notes") or []:
        items = f" ({count(len(note['items']))} items)" if note.get("items") else ""
        lines.append(f"- {_md(note.get('kind') or 'found')}: {_md(note.get('text'))}{items}")
    return "## Data\n\n" + "\n".join(lines) if lines else ""


def _how(r: Report) -> str:
    m = _wording.measure(r)
    rows = [
        [spoken(x.get("name")), "yes" if x.get("kept") else "no", clip(x.get("why"), _wording.TEXT),
         _wording.value(x, m), interval(x, m), duration(x.get("seconds"))] for x in r.get("rungs") or [] if x
    ]  # fmt: skip
    head = ["Rung", "Kept", "Why", _md(plain(m)), _md(plain(_wording.level(r))), "Time"]
    about = "Methods were tried in this order, each compared with the best before it on the validation part:"
    return f"## How it was chosen\n\n{about}\n\n{_grid(head, rows, words=3)}" if rows else ""


def _limits(r: Report) -> str:
    m, score = _wording.measure(r), _wording.best(r)
    lines = []
    if score:
        items = f"{count(score['n'])} test items" if score.get("n") else "the test items"
        reach = f"; the {_wording.level(r)} is {interval(score, m)}" if interval(score, m) else ""
        lines.append(f"The score rests on {items}{_md(reach)}. Data unlike these may fare worse.")
    lines += [f"The {_md(spoken(m))} has no value here: {_md(_wording.missing(r))}."] if _wording.missing(r) else []
    lines += _weak(r)
    lost = r.get("forgetting") or {}
    lines += [_md(lost["sentence"])] if lost.get("sentence") else []
    lines += _sure(r)
    if (r.get("backbone") or {}).get("trained_on"):
        lines.append(f"What {_md(r['backbone']['trained_on'])} holds of bias, the backbone may have carried over.")
    return "## Limits\n\n" + "\n".join(f"- {x}" for x in lines) if lines else ""


def _sure(r: Report) -> list[str]:
    """What its probabilities are worth, and its sets or intervals of nine in ten."""
    c, lines = r.get("calibration") or {}, []
    ece, before, t = c.get("ece"), c.get("ece_before"), c.get("temperature")
    if ece is not None:
        why = ""
        if t is not None and before is not None and t != 1:
            why = f" ({100 * before:.1f} without the temperature of {t:.3g}, fitted on validation)"
        lines.append(f"Its probabilities are off by {100 * ece:.1f} points on average{why}.")
    levels = (r.get("conformal") or {}).get("levels") or []
    nine = next((x for x in levels if x and x.get("coverage") == 0.9 and (x.get("measured") or {}).get("value")), None)
    if nine is None or not nine.get("supported"):
        return lines
    held = f"held {number(nine['measured']['value'])} ({interval(nine['measured'], 'accuracy')}) of the test part's"
    if _wording.kind(r) == "numbers":
        reach = number((nine.get("width") or 0) / 2, "number")
        return [*lines, f"Intervals of \u00b1 {reach}, made to hold nine true numbers in ten, {held}."]
    one, many = {"labels": ("label", "labels")}.get(_wording.kind(r), ("class", "classes"))
    size = number(nine.get("size"), "number")
    return [*lines, f"Sets made to hold a true {one} nine times in ten {held}, with {size} {many} each."]


def _weak(r: Report) -> list[str]:
    """What the answers leave out, by kind: what it always says, what it misses most, how far off it is."""
    kind, n, points = _wording.kind(r), len((r.get("task") or {}).get("labels") or []), _facts.pairs(r)
    if kind == "numbers":
        lines = ["It answers with a number, whatever it is shown."]
        if points:
            found = {k: _md(number(v, "number")) for k, v in _facts.spread(points).items()}
            lines.append(
                f"Half of its test answers are off by at most {found['half']}, nine in ten by {found['most']}."
            )
        return lines
    one = "label" if kind == "labels" else "class"
    always = {"labels": f"It knows its {count(n)} labels alone, and may say none of them.",
              "classes": f"It answers with one of its {count(n)} classes, whatever it is shown."}  # fmt: skip
    lines = [always[kind]] if n else []
    recalls = {k: s["recall"] for k, s in (r.get("per_class") or {}).items() if s and s.get("recall") is not None}
    if len(recalls) > 1:
        name, recall = min(recalls.items(), key=lambda x: x[1])
        lines.append(f"The {one} it misses most is {_md(clip(name))}: it finds {number(recall)} of it.")
    return lines


def _use(r: Report) -> str:
    code = _page.usage(r)
    if not code:
        return ""
    return f"## Use\n\n```python\n{code['python']}\n```\n\n{_md(code['gives'])}\n\n```sh\n{code['shell']}\n```"
