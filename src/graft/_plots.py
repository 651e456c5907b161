"""Small drawings as inline SVG: no library, no script, sharp at every width, coloured by the page's CSS.

Positions are percentages of the drawing, so that it stretches with the page while dots stay round and letters
keep their size. All text is escaped here: the page takes these strings as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

Point = tuple[float, float]

MOST_POINTS = 200  # points of a line; longer series are averaged
MOST_DOTS = 1500  # of a scatter plot; of more, every so many-th
BARS = 36  # of a histogram, at most
TAIL = 0.02  # share of the furthest values that a histogram may leave out


def round_number(value: float) -> str:
    """A number on an axis: `0.25`, `12,000`, `\u22123`."""
    return f"{value:,.10g}".replace("-", "\u2212")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, at most about `most` of them."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    # 2.5 would print as equal labels where only one decimal is shown.
    step = next(m * power for m in (1, 2, 5, 10, 20) if span / (m * power) <= most - 1)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _at(value: float, marks: Sequence[float]) -> str:
    share = (value - marks[0]) / (marks[-1] - marks[0])
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _svg(body: str, label: str, kind: str) -> str:
    return f'<svg class="{kind}" role="img" aria-label="{escape(label)}">{body}</svg>'


def whisker(value: float, low: float | None, high: float | None, marks: Sequence[float], label: str) -> str:
    """One row of a dot-and-whisker plot: a dot at `value`, a line over [low, high]; `marks` are the ticks."""
    parts = [f'<line class="grid" x1="{_at(m, marks)}" x2="{_at(m, marks)}" y1="0" y2="100%"/>' for m in marks]
    if low is not None and high is not None:
        a, b = _at(low, marks), _at(high, marks)
        parts.append(f'<line class="reach" x1="{a}" x2="{b}" y1="50%" y2="50%"/>')
        parts += [f'<line class="reach" x1="{x}" x2="{x}" y1="34%" y2="66%"/>' for x in (a, b)]
    parts.append(f'<circle class="dot" cx="{_at(value, marks)}" cy="50%" r="5.5"/>')
    return _svg("".join(parts), label, "whisker")


def scale(marks: Sequence[float], word: Callable[[float], str]) -> str:
    """The labels under an axis."""
    texts = (f'<text x="{_at(m, marks)}" y="14" text-anchor="middle">{escape(word(m))}</text>' for m in marks)
    return f'<svg class="scale" aria-hidden="true">{"".join(texts)}</svg>'


def reliability(bins: Sequence[tuple[float, float, int]]) -> str:
    """What was claimed against what came true: (confidence 0..1, accuracy 0..1, items) for each bin."""
    marks, most = [0.0, 1.0], max((n for _, _, n in bins), default=1) or 1
    parts = []
    for m in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _at(m, marks), _at(1 - m, marks)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="100%"/>')
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
    parts.append('<line class="ideal" x1="0" x2="100%" y1="100%" y2="0"/>')
    for claimed, true, _ in bins:
        x, ideal, real = _at(claimed, marks), _at(1 - claimed, marks), _at(1 - true, marks)
        parts.append(f'<line class="gap" x1="{x}" x2="{x}" y1="{ideal}" y2="{real}"/>')
    for claimed, true, n in bins:
        said = f"says {100 * claimed:.0f}%, right {100 * true:.0f}%, {n} items"
        radius = 3 + 9 * math.sqrt(n / most)
        where = f'cx="{_at(claimed, marks)}" cy="{_at(1 - true, marks)}"'
        parts.append(f'<circle class="bubble" {where} r="{radius:.1f}"><title>{said}</title></circle>')
    return _svg("".join(parts), f"Reliability over {len(bins)} bins of probability", "square")


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Average a series over equal runs until at most `most` points are left."""
    size = math.ceil(len(points) / most) or 1
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in r) / len(r), sum(y for _, y in r) / len(r)) for r in runs]


def line(points: Sequence[Point], word: Callable[[float], str], label: str, reach: Point, dots: bool = False) -> str:
    """A line over steps: `points` (step, value), at least one; `reach`: the axis's first and last step."""
    marks = ticks(min(y for _, y in points), max(y for _, y in points), most=5)
    across = reach if reach[1] > reach[0] else (reach[0] - 1, reach[0] + 1)
    parts = []
    for m in marks:
        y = _at(marks[-1] - (m - marks[0]), marks)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="0" y="{y}" dx="-8" dy="4" text-anchor="end">{escape(word(m))}</text>')
    placed = [(_at(x, across), _at(marks[-1] - (y - marks[0]), marks)) for x, y in (points if dots else thin(points))]
    for (x1, y1), (x2, y2) in pairwise(placed):
        parts.append(f'<line class="curve" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    if dots or len(placed) == 1:
        parts += [f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"/>' for x, y in placed]
    return _svg("".join(parts), label, "lines")


def answered(points: Sequence[tuple[float, float, float | None, float | None]]) -> str:
    """Share right (up) by share answered (across, none to all): (answered, right, low, high), all 0..1, at least one.

    A dashed line stands where everything is answered.
    """
    least = min(y if low is None else low for _, y, low, _ in points)
    marks, across = [m for m in ticks(min(least, 0.9), 1.0, most=5) if m <= 1.0], (0.0, 1.0)
    parts = []
    for m in marks:
        y = _at(marks[-1] - (m - marks[0]), marks)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="0" y="{y}" dx="-8" dy="4" text-anchor="end">{100 * m:g}%</text>')
    whole = _at(marks[-1] - (max(points)[1] - marks[0]), marks)
    parts.append(f'<line class="ideal" x1="0" x2="100%" y1="{whole}" y2="{whole}"/>')
    placed = [(_at(x, across), _at(marks[-1] - (y - marks[0]), marks)) for x, y, _, _ in points]
    for (x, _, low, high), (at, _) in zip(points, placed, strict=True):
        if low is not None and high is not None:
            a, b = (_at(marks[-1] - (v - marks[0]), marks) for v in (low, high))
            said = f"{100 * x:.0f}% answered: {100 * low:.1f} to {100 * high:.1f}% right"
            parts.append(f'<line class="reach" x1="{at}" x2="{at}" y1="{a}" y2="{b}"><title>{said}</title></line>')
    for (x1, y1), (x2, y2) in pairwise(placed):
        parts.append(f'<line class="curve" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    parts += [f'<circle class="dot" cx="{x}" cy="{y}" r="3"/>' for x, y in placed]
    return _svg("".join(parts), f"Share right by share answered, {len(points)} points", "lines answered")


def profile(
    lines: Sequence[tuple[str, Sequence[float | None]]],
    word: Callable[[float], str],
    label: str,
    reach: Sequence[Point | None] = (),
) -> str:
    """Lines over the stages of a network, from input (left) to output: (class of the line, a value a stage or None).

    `reach` are the ends of an interval about each value of the first line. At least one value is not None.
    """
    ends = [y for r in reach if r is not None for y in r]
    every = [y for _, values in lines for y in values if y is not None] + ends
    marks, n = ticks(min(every), max(every), most=5), max(len(values) for _, values in lines)
    parts = []
    for m in marks:
        y = _at(marks[-1] - (m - marks[0]), marks)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="0" y="{y}" dx="-8" dy="4" text-anchor="end">{escape(word(m))}</text>')

    def place(i: int, value: float) -> Point:
        return (100 * (i + 0.5) / n, 100 * (marks[-1] - value) / (marks[-1] - marks[0]))

    for i, r in enumerate(reach):
        if r is not None:
            (x, low), (_, high) = place(i, r[0]), place(i, r[1])
            parts.append(f'<line class="reach" x1="{x:.2f}%" x2="{x:.2f}%" y1="{low:.2f}%" y2="{high:.2f}%"/>')
    for kind, values in lines:
        placed = [place(i, v) for i, v in enumerate(values) if v is not None]
        parts += [
            f'<line class="curve {kind}" x1="{a:.2f}%" y1="{b:.2f}%" x2="{c:.2f}%" y2="{d:.2f}%"/>'
            for (a, b), (c, d) in pairwise(placed)
        ]
        parts += [f'<circle class="dot {kind}" cx="{x:.2f}%" cy="{y:.2f}%" r="3.5"/>' for x, y in placed]
    return _svg("".join(parts), label, "lines")


def scatter(points: Sequence[Point], marks: Sequence[float], word: Callable[[float], str]) -> str:
    """Predicted (up) against true numbers (across), both on the axis `marks`, with the line of equality."""
    parts = []
    for m in marks:
        x, y = _at(m, marks), _at(marks[-1] - (m - marks[0]), marks)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="100%"/>')
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{x}" y="100%" dy="18" text-anchor="middle">{escape(word(m))}</text>')
        parts.append(f'<text x="0" y="{y}" dx="-8" dy="4" text-anchor="end">{escape(word(m))}</text>')
    parts.append('<line class="ideal" x1="0" x2="100%" y1="100%" y2="0"/>')
    shown = points[:: math.ceil(len(points) / MOST_DOTS) or 1]
    for true, said in shown:
        y = _at(marks[-1] - (said - marks[0]), marks)
        parts.append(f'<circle class="item" cx="{_at(true, marks)}" cy="{y}" r="{3.5 if len(shown) < 400 else 2.2}"/>')
    return _svg("".join(parts), f"Predicted against true numbers of {len(shown)} items", "square scatter")


def bins(errors: Sequence[float]) -> tuple[list[tuple[float, float, int]], int]:
    """Counts (from, to, items) in equal bins of round width about zero, and how many lie further out than the bins.

    At most 2 percent do: a few far errors would press all others into one bar.
    """
    sizes = sorted(map(abs, errors))
    reach = sizes[math.ceil((1 - TAIL) * len(sizes)) - 1] or sizes[-1] or 1.0
    edges = ticks(-reach, reach, most=BARS)
    most = max(-edges[0], edges[-1])
    step = edges[1] - edges[0]
    n = max(round(2 * most / step), 2)
    counts = [0] * n
    for e in errors:
        place = math.floor((e + most) / step + 1e-9)
        counts[min(place, n - 1)] += 1 if -most <= e <= most else 0
    found = [(round(-most + i * step, 12), round(-most + (i + 1) * step, 12), c) for i, c in enumerate(counts)]
    return found, len(errors) - sum(counts)


def histogram(bars: Sequence[tuple[float, float, int]], word: Callable[[float], str]) -> str:
    """Bars (from, to, items) of equal width, with a line at zero."""
    most, share = max(n for _, _, n in bars) or 1, 100 / len(bars)
    parts = [f'<line class="grid" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>' for y in (0, 50, 100)]
    for i, (low, high, n) in enumerate(bars):
        tall = 100 * n / most
        said = escape(f"{word(low)} to {word(high)}: {n} items")
        where = (
            f'x="{i * share + 0.1 * share:.2f}%" width="{0.8 * share:.2f}%" y="{100 - tall:.2f}%" height="{tall:.2f}%"'
        )
        parts.append(f'<rect class="bar" {where}><title>{said}</title></rect>')
    zero = _at(0.0, (bars[0][0], bars[-1][1]))
    parts.append(f'<line class="ideal" x1="{zero}" x2="{zero}" y1="0" y2="100%"/>')
    parts += [f'<text x="0" y="{y}%" dx="-8" dy="4" text-anchor="end">{escape(word(n))}</text>'
              for y, n in ((0, most), (100, 0))]  # fmt: skip
    return _svg("".join(parts), f"How far off the predicted numbers are, in {len(bars)} bars", "lines bars-up")
