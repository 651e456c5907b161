"""Numbers and names of a report as a person reads them: percent, points, odd characters made visible."""

from __future__ import annotations

import math
import re
import shlex
from datetime import datetime
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from graft.errors import UsageError

Report = dict[str, Any]

NONE, MINUS, NA = "\u2013", "\u2212", "n/a"  # a dash, a minus sign, a measure without a value
NAME, TEXT = 100, 400  # characters shown of a name, of a text
PERCENT = {
    "accuracy", "f1", "precision", "recall", "auc", "auroc", "map", "iou", "wer", "cer", "ndcg", "error",
    "sensitivity", "match", "hamming",
}  # fmt: skip
LOWER = {  # is better
    "loss", "rmse", "mae", "mse", "brier", "wer", "cer", "perplexity", "ece", "error", "cost",
}  # fmt: skip
SPOKEN = {  # our measures' words stand with the measures
    "f1": "F1",
    "mse": "MSE",
    "base_rates": "the labels' shares",
}
CONTROLS = {
    "majority": "always the commonest class: what no knowledge at all gets",
    "base_rates": "always each label's share of the training part: what no knowledge at all gets",
    "constant": "always the same number: what no knowledge at all gets",
    "nearest_neighbour": "the vote of the most alike training items, as the frozen backbone sees them",
    "probe": "a linear classifier on the frozen backbone",
    "random_probe": "a linear classifier on the same network with random weights",
    "scratch": "the same network, trained from random weights",
}
CONTROLS_OF_NUMBERS = {
    "nearest_neighbour": "the mean of the most alike training items, as the frozen backbone sees them",
    "probe": "a linear regression on the frozen backbone",
    "random_probe": "a linear regression on the same network with random weights",
}
FIXED = {"r2": 3, "spearman": 3}  # decimals of a share that may fall below zero
ANSWERS = ("classes", "labels", "numbers")  # what a task may answer with
UNEXPLAINED = "it came out as no finite number"
OPTIONS = re.compile(r"(sensitivity|cost):(.+)", re.DOTALL)  # of a measure
# Control characters, marks that reorder text, halves of a character: shown as escapes, never obeyed.
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


def finite(value: Any) -> Any:
    """Return the value with each NaN and infinity at any depth as None; tuples as lists, numbers Python's."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, bool | str) or not isinstance(value, Real):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if math.isfinite(value) else None


def clean(value: Any) -> Any:
    """Return it finite, and with odd characters of keys and texts as visible escapes: `\\x1b`, `\\u202e`."""
    if isinstance(value, dict):
        return {clean(str(k)): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if not isinstance(value, str):
        return finite(value)
    return ODD.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), value.replace("\r\n", "\n"))


def is_percent(measure: str) -> bool:
    """Whether a measure is a share, to be read as percent; one that is not graft's own is judged by its words."""
    from graft import measures  # numpy; the words alone do without

    try:
        return measures.is_share(measure)
    except UsageError:
        pass
    return bool(PERCENT & set(measure.partition(":")[0].lower().split("_")))


def is_lower_better(measure: str) -> bool:
    """Whether less of a measure is better; one that is not graft's own is judged by its words."""
    from graft import measures

    try:
        return measures.is_lower(measure)
    except UsageError:
        pass
    return bool(LOWER & set(measure.partition(":")[0].lower().split("_")))


def number(value: float | None, measure: str = "accuracy", signed: bool = False, unit: bool = True) -> str:
    """`93.0%`, signed `+39.0` (points); no share: three digits that mean something; None: a dash."""
    if value is None:
        return NONE
    if measure in FIXED:
        text = f"{round(value, FIXED[measure]) + 0.0:{'+' * signed}.{FIXED[measure]}f}"
    elif not is_percent(measure):
        text = _three(value, "+" * signed)
    elif signed:
        text = f"{round(100 * value, 1) + 0.0:+.1f}"  # no "-0.0"
    else:
        text = f"{100 * value:.1f}" + "%" * unit
    return text.replace("-", MINUS)


def gap(pair: Report, measure: str) -> str:
    """A paired difference with its interval: `+2.6 points [−1.3 to +7.2]`; without a unit where it is no share."""
    unit = " points" if is_percent(measure) else ""
    return f"{number(pair['difference'], measure, signed=True)}{unit} [{interval(pair, measure, signed=True)}]"


def _three(value: float, sign: str) -> str:
    """Three significant digits: `0.0123`, `1.50`, `12.3`, `123`, `12,346`; powers of ten only far from one."""
    size = abs(value)
    if size == 0:
        return "0"
    if not 1e-4 <= size < 1e9:
        return f"{value:{sign}.2e}"
    decimals = max(2 - math.floor(math.log10(float(f"{size:.2e}"))), 0)
    return f"{value:{sign},.{decimals}f}"


def value(score: Report | None, measure: str) -> str:
    """A score's value; `n/a` where the measure has none."""
    found = (score or {}).get("value")
    return NA if found is None else number(found, measure)


def interval(score: Report, measure: str, signed: bool = False) -> str:
    """`89.0 to 97.0%`, signed `+30.0 to +47.0`; empty where either end is missing."""
    low, high = score.get("low"), score.get("high")
    if low is None or high is None:
        return ""
    return f"{number(low, measure, signed, unit=False)} to {number(high, measure, signed)}"


def duration(seconds: float | None) -> str:
    """`20.1 s`, `1 min 32 s`, `2 h 05 min`."""
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(n: float | None) -> str:
    """`1,234`, `3.5 M`; a dash for None."""
    if n is None:
        return NONE
    return f"{n / 1e6:,.1f} M" if n >= 1e6 else f"{n:,.0f}"


def clip(text: Any, most: int = NAME) -> str:
    """At most so many characters of anything; None is empty."""
    whole = "" if text is None else str(text)
    return whole if len(whole) <= most else whole[: most - 1] + "…"


def spoken(name: Any) -> str:
    """A name of ours - a measure, method or task - in words."""
    from graft import measures

    try:
        return clip(measures.spoken(str(name)))
    except UsageError:  # a method, a task, another's measure, or options that ours has not
        pass
    optional = OPTIONS.fullmatch(str(name))
    if optional:
        return clip(f"{optional[1]} ({optional[2]})")
    return SPOKEN.get(str(name), clip(name).replace("_", " "))


def plain(name: Any) -> str:
    """Spoken, and with a capital, save where the word has its own, as mAP: for the head of a column."""
    words = spoken(name)
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]


def sentences(*parts: str) -> str:
    """Parts that are not empty as sentences, each with a capital; the last without its full stop."""
    return ". ".join(x[:1].upper() + x[1:].rstrip(".") for x in parts if x)


def when(created: Any) -> str:
    """An ISO time as `2026-11-24 08:00 UTC`; anything else as it is."""
    try:
        t = datetime.fromisoformat(str(created))
    except ValueError:
        return clip(created)
    return f"{t:%Y-%m-%d %H:%M} {t.tzname() or ''}".strip()


# -- what several parts of a report ask of it


def title(r: Report) -> str:
    """The report's title, else its folder's name."""
    return clip(r.get("title") or Path(r.get("run") or "").name or "a run")


def measure(r: Report) -> str:
    """The name of the measure that decides."""
    return str(r.get("measure") or "accuracy")


def level(r: Report) -> str:
    """What the intervals are: "95% interval" where the report names its `level` (0..1), else "interval"."""
    return f"{100 * r['level']:g}% interval" if r.get("level") else "interval"


def tested(r: Report) -> Report:
    """The chosen model's measures on the test part: {measure: score}."""
    return ((r.get("scores") or {}).get(r.get("chosen") or "") or {}).get("test") or {}


def best(r: Report) -> Report:
    """The chosen model's score on the test part, `value` None where the measure has none; empty without a score."""
    return r.get("headline") or tested(r).get(measure(r)) or {}


def kind(r: Report) -> str:
    """What the task answers with: "classes", "labels" (several at once) or "numbers"."""
    said = (r.get("task") or {}).get("answers")
    if said in ANSWERS:
        return str(said)
    return "numbers" if r.get("residuals") else "classes"


def definition(r: Report, name: str) -> Report:
    """What the report says of a measure - `says`, `lower`, `undefined` - by its full name, else without its options."""
    every = r.get("measures") or {}
    return every.get(name) or every.get(name.partition(":")[0]) or {}


def lower(r: Report, name: str) -> bool:
    """Whether less of the measure is better: as the report says, else as its name says."""
    said = definition(r, name).get("lower")
    return said if isinstance(said, bool) else is_lower_better(name)


def why(r: Report, name: str) -> str:
    """Why a measure has no value in this report."""
    return clip(definition(r, name).get("undefined") or UNEXPLAINED, TEXT)


def measured(r: Report) -> list[str]:
    """Every measure of the test part, the deciding one first; empty where the report defines none."""
    if not r.get("measures"):
        return []
    scored = dict.fromkeys([measure(r), *tested(r)])
    bare = {x.partition(":")[0] for x in scored}
    return [*scored, *(x for x in r["measures"] if x.partition(":")[0] not in bare)]


def missing(r: Report) -> str:
    """Why the deciding measure has no value; empty where it has one, or where there is no score at all."""
    score = best(r)
    return why(r, measure(r)) if score and score.get("value") is None else ""


def verdict(r: Report) -> str:
    """The report's verdict, or what can be said without one."""
    return str(r.get("verdict") or f"The chosen model is {spoken(r.get('chosen') or 'not named')}.")


def compared(r: Report) -> list[Report]:
    """The chosen model, then its controls, on the test part: {name, score, chosen, gap (chosen minus it)}.

    A control that is the chosen model itself is not repeated.
    """
    chosen, score = r.get("chosen") or "chosen model", best(r)
    rows = [{"name": chosen, "score": score, "chosen": True, "gap": {}}] if score else []
    for name, s in (r.get("controls") or {}).items():
        itself = bool(rows) and name == chosen and (s or {}).get("value") == score.get("value")
        if s and not itself:
            gap = (r.get("against") or {}).get(name) or {}
            rows.append({"name": name, "score": s, "chosen": False, "gap": gap})
    return rows


def control(r: Report, name: str) -> str:
    """What a control is; empty for one that is not known."""
    special = CONTROLS_OF_NUMBERS if kind(r) == "numbers" else {}
    return special.get(name) or CONTROLS.get(name, "")


def reading(gap: Report, less: bool) -> tuple[str, str]:
    """How the chosen model stands to a control, as far as the paired interval can tell: (words, tone).

    `less`: less of the measure is better.
    """
    low, high = gap.get("low"), gap.get("high")
    if low is None or high is None:
        return "not compared", "dim"
    if less:
        low, high = -high, -low
    if low > 0:
        return "chosen is better", "good"
    return ("chosen is worse", "bad") if high < 0 else ("no clear difference", "dim")


def quoted(text: str) -> str:
    """A word of a shell's command line, on one line."""
    return shlex.quote(" ".join(text.splitlines()))


def short(name: str) -> str:
    """A backbone's name as sentences and tables show it: a folder by its last part."""
    source, _, rest = name.partition(":")
    return f"{source}:{rest.rstrip('/').rpartition('/')[2]}" if source in ("local", "run") else name


SCORES = {
    "hscore": "H", "regularised_hscore": "H reg.", "transrate": "TrRate", "gbc_diagonal": "GBC d.",
    "neighbours": "kNN", "logme": "LogME", "leep": "LEEP", "nce": "NCE", "nleep": "NLEEP", "gbc": "GBC", "sfda": "SFDA",
    "lda": "LDA", "energy": "energy", "parc": "PARC", "rsa": "RSA", "cka": "CKA", "ridge": "ridge",
}  # fmt: skip
"""Scores as a heading has them."""
