"""A report as one self-contained HTML page, and a model card.

Whatever a report says of people's data - class names, file names, texts - is taken as hostile: the page's
template, the card's Markdown and the terminal's table each escape it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from graft import _page, _wording
from graft._wording import Report, clip, count, finite, interval, number, plain, spoken

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

__all__ = ["finite", "model_card", "terminal", "to_html"]

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
METRICS = {"macro_f1": "f1", "balanced_accuracy": "accuracy"}  # the hub's names of ours
ASCII = str.maketrans({_wording.NONE: "-", _wording.MINUS: "-"})  # for terminals of any encoding
WIDEST = 24  # columns of a name in the terminal


def to_html(report: Report) -> str:
    """Return the whole page: one string without scripts, links or anything to fetch."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    cleaned = _wording.clean(report)
    shown = {name: section(cleaned) for name, section in _page.SECTIONS.items()}
    return env.get_template("report.html").render(shown)


# -- the terminal


def terminal(report: Report) -> Group:
    """Return the chosen model and its controls on the test part as a table of 80 columns, and the verdict."""
    from rich.console import Group
    from rich.text import Text

    r = _wording.clean(report)
    verdict = Text(_wording.verdict(r), style="bold")
    return Group(_terminal_table(r), verdict) if _wording.compared(r) else Group(verdict)


def _terminal_table(r: Report) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    m, n = _wording.measure(r), _wording.best(r).get("n")
    unit = (" %", " (points)") if _wording.is_percent(m) else ("", "")
    words = Text(f"{_wording.title(r)}, test part" + (f", {count(n)} items" if n else ""))
    table = Table(box=box.SIMPLE_HEAD, title=words, title_justify="left", title_style="", pad_edge=False)
    table.add_column("model", overflow="fold", max_width=WIDEST)
    table.add_column(spoken(m) + unit[0], justify="right")
    table.add_column(_wording.level(r), justify="right")
    table.add_column("chosen minus this" + unit[1], justify="right")
    for x in _wording.compared(r):
        gap, s = x["gap"], x["score"]
        reach = interval(gap, m, signed=True)
        minus = number(gap.get("difference"), m, signed=True) + (f" ({reach})" if reach else "")
        cells = [
            clip(spoken(x["name"]), 2 * WIDEST),
            number(s["value"], m, unit=False),
            interval(s, m).rstrip("%"),
        ]
        cells.append("chosen" if x["chosen"] else minus)
        table.add_row(*(Text(c.translate(ASCII)) for c in cells), style="bold" if x["chosen"] else "")
    return table


# -- the model card


def model_card(report: Report) -> str:
    """Return README.md as the Hugging Face hub reads it: front matter in YAML, then Markdown."""
    r = _wording.clean(report)
    parts = [
        _front_matter(r),
        f"# {_md(_wording.title(r))}",
        _md(_wording.verdict(r)),
        _what(r),
        _score(r),
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
    lines += [f"pipeline_tag: {task.replace('_', '-')}"] if task in PIPELINES else []
    if backbone.get("name"):
        lines.append(f"base_model: {_yaml(_hub_name(str(backbone['name'])))}")
    tags = ["graft", "transfer-learning", *([task.replace("_", "-")] if task else [])]
    measures = [_wording.measure(r), *_wording.tested(r)]
    metrics = dict.fromkeys(METRICS.get(k, k) for k in measures)
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
    labels = [_md(clip(x)) for x in task.get("labels") or []]
    facts = [f"- task: {_md(spoken(task['name']))}"] if task.get("name") else []
    if labels:
        shown = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
        facts.append(f"- answers: one of {len(labels)} classes ({shown})")
    if b.get("name"):
        about = [f"{count(b['parameters'])} parameters"] if b.get("parameters") else []
        about += [f"trained on {_md(b['trained_on'])}"] if b.get("trained_on") else []
        about += [f"licence {_md(b['license'])}"] if b.get("license") else []
        facts.append(f"- backbone: {_md(b['name'])}" + (f" ({', '.join(about)})" if about else ""))
    facts += [f"- method: {_md(spoken(r['chosen']))}"] if r.get("chosen") else []
    made = " ".join(
        x
        for x in (
            _md(r.get("graft") or ""),
            f"on {_md(_wording.when(r['created']))}" if r.get("created") else "",
        )
        if x
    )
    return "## What it is\n\n" + "\n".join([*facts, f"- made by graft {made}".rstrip()])


def _score(r: Report) -> str:
    m, rows = _wording.measure(r), []
    for x in _wording.compared(r):
        gap, reach = x["gap"], interval(x["gap"], m, signed=True)
        minus = number(gap.get("difference"), m, signed=True) + (f" ({reach})" if reach else "")
        name = f"{spoken(x['name'])} (chosen)" if x["chosen"] else spoken(x["name"])
        rows.append([name, number(x["score"]["value"], m), interval(x["score"], m), "" if x["chosen"] else minus])
    if not rows:
        return ""
    n = _wording.best(r).get("n")
    unit = ", points (paired interval)" if _wording.is_percent(m) else " (paired interval)"
    head = ["Model", _md(plain(m)), _md(plain(_wording.level(r))), f"Chosen minus this{unit}"]
    about = f"On the test part{f' of {count(n)} items' if n else ''}, kept out of every choice:"
    return f"## Score\n\n{about}\n\n{_grid(head, rows)}"


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
         number(x.get("value"), m), interval(x, m)] for x in r.get("rungs") or []
    ]  # fmt: skip
    head = ["Rung", "Kept", "Why", _md(plain(m)), _md(plain(_wording.level(r)))]
    about = "Methods were tried in this order, each compared with the best before it on the validation part:"
    return f"## How it was chosen\n\n{about}\n\n{_grid(head, rows, words=3)}" if rows else ""


def _limits(r: Report) -> str:
    m, score, labels = _wording.measure(r), _wording.best(r), (r.get("task") or {}).get("labels") or []
    lines = []
    if score:
        items = f"{count(score['n'])} test items" if score.get("n") else "the test items"
        reach = f"; the {_wording.level(r)} is {interval(score, m)}" if interval(score, m) else ""
        lines.append(f"The score rests on {items}{_md(reach)}. Data unlike these may fare worse.")
    if labels:
        lines.append(f"It answers with one of its {count(len(labels))} classes, whatever it is shown.")
    recalls = {k: s["recall"] for k, s in (r.get("per_class") or {}).items() if s and s.get("recall") is not None}
    if len(recalls) > 1:
        name, recall = min(recalls.items(), key=lambda x: x[1])
        lines.append(f"The class it misses most is {_md(clip(name))}: it finds {number(recall)} of it.")
    ece = (r.get("calibration") or {}).get("ece")
    lines += [f"Its probabilities are off by {100 * ece:.1f} points on average."] if ece is not None else []
    if (r.get("backbone") or {}).get("trained_on"):
        lines.append(f"What {_md(r['backbone']['trained_on'])} holds of bias, the backbone may have carried over.")
    return "## Limits\n\n" + "\n".join(f"- {x}" for x in lines) if lines else ""


def _use(r: Report) -> str:
    code = _page.usage(r)
    return f"## Use\n\n```python\n{code['python']}\n```\n\n```sh\n{code['shell']}\n```" if code else ""
