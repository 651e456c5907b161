"""What the readers noticed, as findings: which notes are about something wrong, what it does, and what mends it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from graft.data import Note
from graft.errors import some
from graft.findings import Finding, Item
from graft.readers import PARTS

# The kind of a finding: (how it biases the result, what mends it; {fix} is the command that leaves items out).
MEANS: dict[str, tuple[str, str]] = {
    "unreadable": ("these items teach nothing, and where a class loses more of them its share changes", "{fix}"),
    "label_missing": (
        "rows without a label can be neither learned from nor scored",
        "fill them, or leave them out: {fix}",
    ),
    "label_case": ("one class counted as two is confused with itself", "write both alike, if they are one class"),
    "class_single": ("a class of one sample is never tested", "add samples of it, or leave the class out"),
    "class_imbalance": (
        "accuracy hides how small classes fare",
        "--measure balanced_accuracy or macro_f1, or more samples of the small ones",
    ),
    "class_always": ("a label that always holds says nothing", "leave the label out"),
    "class_rare": (
        "a label that hardly ever holds is neither learned nor tested",
        "add samples of it, or leave it out",
    ),
    "class_empty": ("a class without samples is never learned", "add samples of it, or remove the folder"),
    "class_unreadable": ("a class without samples is never learned", "mend its pictures, or leave the class out"),
    "leak_group": (
        "the score is that of groups seen in training, and flatters for new ones",
        "give no split (--group keeps them on one side), or move each group to one part",
    ),
    "leak_names": (
        "one patient, scene or user on both sides flatters the score",
        "--group prefix, or a table with --group COLUMN",
    ),
    "leak_column": (
        "the label can be told without the content: rows of a class were gathered apart, which may be what is learned",
        "find out why, and gather the classes alike; the model is not shown the column",
    ),
    "leak_seen": (
        "the backbone has learned from test samples: the score flatters",
        "another --backbone, or another test part",
    ),
    "shortcut_cmyk": ("colours may tell where a class's pictures come from", "save all pictures as RGB"),
    "outlier_size": ("little is left of such pictures once they are resized", "crop or remove them"),
    "outlier_blank": ("a picture of one colour teaches a class nothing", "remove them"),
}
REASONED = ("unreadable", "leak_column")
"""What notes are about whose items say why, in parentheses: the sentence repeats some of them."""
TOLD_ELSEWHERE = ("duplicate",)
"""What notes are about that findings of their own tell completely."""


def fix_command(data: str) -> str:
    """The command that writes a mended copy."""
    return f"graft doctor {shlex.quote(data)} --fix out/"


def findings(
    notes: Sequence[Note], places: Mapping[str, str], total: int, max_bad: float | None, data: str
) -> list[Finding]:
    """Findings of the notes that are about something wrong; `places` has the part of every item by id.

    Unreadable items above the share `max_bad` of `total`, and rows without a label, are what `fit` refuses; with None
    for `max_bad` it has taken the data already.
    """
    found = []
    for n in notes:
        if n.about not in MEANS:
            continue
        effect, fix = MEANS[n.about]
        text, severity = n.text, "warning"
        if max_bad is not None and n.about == "unreadable":
            share = len(n.items) / max(1, total + len(n.items))
            text, severity = f"{text} ({share:.1%} of all)", "error" if share > max_bad else "warning"
        if n.about in REASONED:
            text = f"{text}: {some(n.items, 3)}"
        if max_bad is not None and n.about == "label_missing":
            text, severity = f"{len(n.items)} rows have no label", "error"
        fix = fix.format(fix=fix_command(data))
        found.append(Finding(n.about, severity, text, tuple(_item(i, places) for i in n.items), effect, fix))
    return found


def plain_notes(notes: Sequence[Note]) -> list[Note]:
    """The notes that are no findings: what was read and assumed; and why each unreadable item is one."""
    findings = MEANS.keys() - {"unreadable"}
    return [n for n in notes if n.about not in findings and n.about not in TOLD_ELSEWHERE]


def _item(written: str, places: Mapping[str, str]) -> Item:
    """`NAME (reason)`, `A = B` or a bare name as an item; a name may hold parentheses itself."""
    if written in places:
        return Item(written, split=places[written])
    name, _, other = written.partition(" and ")
    if other and name in places:
        return Item(name, other, places[name])
    cuts = [i for i in range(len(written)) if written.startswith(" (", i)]
    known = [written[:i] for i in cuts if written[:i] in places]
    name = known[-1] if known else written[: cuts[0]] if cuts else written
    return Item(name, split=places.get(name) or _part_of(name))


def _part_of(name: str) -> str:
    """The part that a file's name or its first folder says: train.csv:12, test/cat/3.png; else ""."""
    first = PurePosixPath(name).parts[0] if name else ""
    return PARTS.get(first.partition(".")[0].partition(":")[0].lower(), "")
