"""docs/reliability.md names tests that exist, for rows that are graft's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"\| (\d+) \| (.+?) \| (.+?) \| (.+) \|")
SPINE = {*range(1, 35), *range(44, 51), *range(68, 84), 86, 87, 88, 91, 92, 94, 95, 96}


def rows() -> list[tuple[int, str]]:
    """(row, cell of tests) of each line of the table."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    found = [ROW.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    return [(int(m[1]), m[4]) for m in found if m]


@cache
def names_in(file: str) -> set[str]:
    """Names of the test functions of a file."""
    path = ROOT / file
    assert path.is_file(), f"{file} is not there"
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_each_row_stands_once_in_order() -> None:
    numbers = [n for n, _ in rows()]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= SPINE
    assert len(numbers) > 50


@pytest.mark.parametrize(("row", "cell"), rows(), ids=lambda v: str(v) if isinstance(v, int) else "")
def test_each_row_names_tests_that_exist(row: int, cell: str) -> None:
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", cell)
    assert named, cell
    assert ", ".join(f"`{file}::{name}`" for file, name in named) == cell, "nothing else stands in this column"
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(file)]
    assert not missing
