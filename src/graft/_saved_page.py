"""A study of labels as a picture, a page and a table on the terminal."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft._savings import times
from graft._wording import clean, duration, is_percent, number, plain, short, spoken
from graft.curves import TAIL, Family

if TYPE_CHECKING:
    from rich.console import Group

NAMES = {"with": "pretrained weights", "without": "from scratch"}
COLOURS = {"with": "#0b6b66", "without": "#a63d1e"}
INK, RULE = "#1c2127", "#c9ccc6"


def draw(said: Mapping[str, Any], fits: Mapping[str, tuple[Family, Family]]) -> bytes:
    """The learning curves as a PNG: seeds as dots, fitted curves with 95 % bands, and the line the ratio is read on."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    figure = Figure(figsize=(8, 4.8), dpi=160, facecolor="white")
    axes = figure.add_subplot()
    sign = (lambda e: e) if said["lower"] else (lambda e: 1 - e)
    for arm, (one, many) in fits.items():
        _curve(axes, arm, one, many, sign)
        for row in said["labels_saved"]["curves"][arm]["sizes"]:
            axes.plot([row["labels"]] * len(row["seeds"]), row["seeds"], "o", ms=4.5, mec="white", mew=0.6,
                      color=COLOURS[arm], zorder=4)  # fmt: skip
    _ratio_line(axes, said)
    axes.axhline(said["labels_saved"]["baseline"], color=RULE, lw=1.2, ls=":", zorder=1, label="no knowledge at all")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(said["sizes"]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    if is_percent(said["measure"]):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f}%"))
    axes.set_xlabel("labels", color=INK)
    axes.set_ylabel(f"{spoken(said['measure'])} on the test part", color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=RULE, lw=0.5, alpha=0.7)
    axes.legend(frameon=False, loc="best")
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _curve(axes: Any, arm: str, one: Family, many: Family, sign: Any) -> None:
    inside = one.grid <= one.largest * 1.0001
    low, high = np.percentile(sign(many.values), [TAIL, 100 - TAIL], axis=0)
    colour = COLOURS[arm]
    axes.fill_between(one.grid[inside], low[inside], high[inside], color=colour, alpha=0.14, lw=0, zorder=2)
    axes.plot(one.grid[inside], sign(one.values[0])[inside], color=colour, lw=2, zorder=3, label=NAMES[arm])


def _ratio_line(axes: Any, said: Mapping[str, Any]) -> None:
    """The score at which the labels are compared, from one arm's count to the other's."""
    found = said["labels_saved"]
    if found["ratio"] is None:
        return
    ends, score = sorted((found["labels_with"], found["labels_without"])), found["score"]
    axes.hlines(score, *ends, color=INK, lw=1.2, ls="--", zorder=5)
    axes.plot(ends, [score, score], "|", color=INK, ms=11, zorder=5)
    middle = float(np.sqrt(ends[0] * ends[1]))
    axes.annotate(times(found), (middle, score), xytext=(0, 6), textcoords="offset points", ha="center", color=INK)


# -------------------------------------------------------------------------------------------- page


def page(said: Mapping[str, Any], picture: bytes) -> str:
    """One self-contained page: the sentences, the picture, the tables. What came from data is escaped."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    r = clean(dict(said))
    drawn = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return env.get_template("evidence.html").render(
        r=r, picture=drawn, rows=rows(r), needs=_needs(r), left=_left(r), names=NAMES, measure=plain(r["measure"]),
        backbone=short(r["backbone"]), arm=spoken(r["arm"]),
    )  # fmt: skip


def rows(said: Mapping[str, Any]) -> list[list[str]]:
    """A row a size: labels, and for each arm the mean score over seeds with its interval, and seconds of training."""
    found = []
    for n in said["sizes"]:
        cells = [f"{n:,}"]
        for arm in NAMES:
            sizes = (said["labels_saved"]["curves"].get(arm) or {"sizes": []})["sizes"]
            row = next((x for x in sizes if x["labels"] == n), None)
            took = [p["seconds"] for p in said["points"] if p["arm"] == arm and p["n"] == n]
            cells += _cells(said["measure"], row, took)
        found.append(cells)
    return found


def _cells(measure: str, row: Mapping[str, Any] | None, took: list[float]) -> list[str]:
    if row is None:
        return ["not measured", "", ""]
    score = number(row["value"], measure)
    ends = " to ".join(number(row[k], measure, unit=False) for k in ("low", "high"))
    return [score, ends, duration(float(np.median(took)))]


def _needs(said: Mapping[str, Any]) -> list[list[str]]:
    found = []
    for x in said["labels_saved"]["needs"]:
        high = f"{'> ' * x['open_high']}{x['high']:,}"
        ends = high if x["low"] == x["high"] else f"{x['low']:,} to {high}"
        needed = f"{x['bound']} {x['labels_without']:,}".strip()
        factor = f"{x['bound']} {x['ratio']:.1f}x".strip()
        score = number(x["score"], said["measure"])
        found.append([f"{x['labels']:,}", score, needed, ends, factor])
    return found


def _left(said: Mapping[str, Any]) -> list[str]:
    return [f"{NAMES[x['arm']]}, {x['n']:,} labels, seed {x['seed']}: {x['why']}" for x in said["left_out"]]


def terminal(said: Mapping[str, Any]) -> Group:
    """The sizes as a table of 80 columns, then what was saved, and what was left out."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    r = clean(dict(said))
    title = Text(f"{r['title']}: {spoken(r['measure'])} on {r['test']:,} test items")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="")
    for head in ("labels", "pretrained", "95%", "time", "scratch", "95%", "time"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows(r):
        table.add_row(*(Text(cell) for cell in row))
    left = len(r["left_out"])
    note = [Text(f"{left} trainings did not fit into the budget; --resume measures them")] if left else []
    said_so = [Text(r[k]["sentence"], style="bold") for k in ("labels_saved", "time_saved")]
    return Group(table, *said_so, *note)
