"""A reader of report pages that is stricter than any browser."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

from rich.console import Console

from graft import report

VOID = {"meta", "link", "img", "br", "input", "wbr"}


SHAPES = {"circle", "line"}  # closed by themselves


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

    def attributes_of(self, name: str) -> list[str]:
        """Every value that an attribute has on the page."""
        return [v for k, v in self.attributes if k == name]

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


def shown(r: dict[str, Any], section: str) -> str:
    """The words of one section of the page."""
    html = report.to_html(r)
    return Page(html[html.index(f'<section id="{section}">') :].partition("</section>")[0] + "</section>").words
