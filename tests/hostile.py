"""The corpus of bad data: one folder a case, made on the spot, each with the code of what must happen.

`python tests/hostile.py FOLDER` writes it, with `expected.json` beside; `test_faults_data.py` runs over it.
Codes: R refused before training; Q one item is bad and goes where `--max-bad` allows it; W goes, with a warning in the
report; F goes, mended or left out, and the report says so; S a file that could run code, 6; X this machine lacks
something, 4; O goes without a word.
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import models
import numpy as np
from PIL import Image

EXITS = {"R": 3, "Q": 3, "W": 0, "F": 0, "S": 6, "X": 4, "O": 0}


@dataclass(frozen=True)
class Case:
    """`make` writes into an empty folder and returns what to give to graft; `says` stands in the message or the note.

    `row` is that of the list of faults, `options` are of `graft fit`, `item` is the bad item's id, `exit` the code
    where it is not that of `code`. `lacks` is an extra that is not installed when this happens. What `doctor` cannot
    see, since a split or a model has to come first, is `late`.
    """

    name: str
    row: int
    code: str
    make: Callable[[Path], Path]
    says: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    item: str = ""
    exit: int = -1
    modality: str = "picture"
    lacks: str = ""
    late: bool = False

    @property
    def exits(self) -> int:
        """The exit code of `graft fit` as a person first types it."""
        return EXITS[self.code] if self.exit < 0 else self.exit


# ------------------------------------------------------------------------------------ pictures


def good(folder: Path, n: int = 24) -> Path:
    """Class folders with nothing wrong."""
    return models.picture_folder(folder, n)


def fresh(i: int, label: str = "disc") -> Image.Image:
    """A picture that is not in `good`."""
    picture: Image.Image = models.picture(label, 500 + i)
    return picture


def packed(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file's bytes."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def beside(name: str, content: Callable[[], bytes], *more: str) -> Callable[[Path], Path]:
    """Good class folders and one file (or copies of it) among the discs."""

    def make(folder: Path) -> Path:
        good(folder)
        for file in (name, *more):
            (folder / "disc" / file).write_bytes(content())
        return folder

    return make


def flipped(whole: bytes, at: float = 0.5) -> bytes:
    """One byte changed."""
    damaged = bytearray(whole)
    damaged[int(len(whole) * at)] ^= 0x41
    return bytes(damaged)


def cut(whole: bytes, share: float = 0.6) -> bytes:
    """The end is missing."""
    return whole[: int(len(whole) * share)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def deep(seed: int = 0) -> Image.Image:
    """Twelve bits in a 16-bit picture."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 4096, (32, 32), dtype=np.uint16))


def floats() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).random((32, 32)).astype(np.float32))


def see_through() -> Image.Image:
    return Image.merge("RGBA", (*fresh(0).split(), Image.new("L", (32, 32), 90)))


def pages(kind: str = "GIF") -> bytes:
    return packed(fresh(0), kind, save_all=True, append_images=[fresh(1), fresh(2)])


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return packed(fresh(0), "JPEG", exif=exif)


def display_p3() -> bytes:
    return packed(fresh(0), icc_profile=bytes(16) + b"RGB " + b"Display P3".ljust(120))


def parts(folder: Path) -> Path:
    """train and test, with nothing wrong."""
    good(folder / "train")
    models.picture_folder(folder / "test", 12, seed=3)
    return folder


def exact_copies(folder: Path) -> Path:
    parts(folder)
    shutil.copy(folder / "test" / "disc" / "000.png", folder / "train" / "disc" / "copy.png")
    return folder


def near_copies(folder: Path) -> Path:
    parts(folder)
    large = noise(12, 9).resize((200, 150), Image.Resampling.BICUBIC)
    large.save(folder / "train" / "disc" / "large.png")
    large.resize((120, 90)).save(folder / "test" / "disc" / "small.jpg", quality=70)
    return folder


def blank_pages(folder: Path) -> Path:
    """Pictures without content share a hash and are no copies of each other."""
    parts(folder)
    for part, grey in (("train", 200), ("test", 210)):
        Image.new("L", (40, 40), grey).save(folder / part / "disc" / "blank.png")
    return folder


def patients(folder: Path, parted: bool = True) -> Path:
    for i in range(32):
        label, part = ("disc", "square")[i % 2], ("train", "test")[i // 16]
        to = folder / part / label if parted else folder / label
        to.mkdir(parents=True, exist_ok=True)
        models.picture(label, i).save(to / f"patient{i % 16}_{i}.png")
    return folder


def junk(folder: Path) -> Path:
    good(folder)
    for hidden in (".ipynb_checkpoints", "__MACOSX"):
        shutil.copytree(folder / "disc", folder / hidden)
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "disc" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    return folder


def loop(folder: Path) -> Path:
    good(folder)
    (folder / "disc" / "again").symlink_to(folder, target_is_directory=True)
    return folder


def two_depths(folder: Path) -> Path:
    good(folder)
    fresh(0).save(folder / "stray.png")
    return folder


def flat(folder: Path) -> Path:
    for i in range(6):
        fresh(i).save(folder / f"{i}.png")
    return folder


def modes(folder: Path) -> Path:
    good(folder)
    for i, mode in enumerate(("1", "L", "LA", "P", "RGB", "YCbCr", "HSV")):
        picture = fresh(i).resize((40 + 7 * i, 90 - 5 * i)).convert(mode)
        picture = picture if mode not in ("YCbCr", "HSV") else picture.convert("RGB")
        picture.save(folder / "disc" / f"mode{i}.png")
    return folder


def five_bands(folder: Path) -> Path:
    good(folder)
    (folder / "disc" / "five.tif").write_bytes(_tiff_of_five())
    return folder


def _tiff_of_five() -> bytes:
    """A 32 x 32 TIFF of five eight-bit samples a pixel, one strip (TIFF 6.0, section 2)."""
    side, samples = 32, 5
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, samples), dtype=np.uint8).tobytes()
    entries = [
        (256, 3, 1, side), (257, 3, 1, side), (258, 3, samples, 0), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0),
        (277, 3, 1, samples), (278, 3, 1, side), (279, 4, 1, len(pixels)), (284, 3, 1, 1), (338, 3, samples - 1, 0),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(entries) + 4
    bits, extra = start, start + 2 * samples
    strip = extra + 2 * (samples - 1)
    body = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    for tag, kind, count, value in entries:
        value = {258: bits, 338: extra, 273: strip}.get(tag, value)
        body += b"".join(v.to_bytes(n, "little") for v, n in ((tag, 2), (kind, 2), (count, 4), (value, 4)))
    body += bytes(4) + (8).to_bytes(2, "little") * samples + bytes(2 * (samples - 1))
    return body + pixels


def one_class(folder: Path) -> Path:
    return models.picture_folder(folder, 8, labels=("disc",))


def lone(folder: Path) -> Path:
    good(folder)
    (folder / "alone").mkdir()
    fresh(9).save(folder / "alone" / "x.png")
    return folder


def only_in_test(folder: Path) -> Path:
    parts(folder)
    (folder / "test" / "triangle").mkdir()
    fresh(9).save(folder / "test" / "triangle" / "x.png")
    return folder


def empty_class(folder: Path) -> Path:
    good(folder)
    (folder / "nothing").mkdir()
    return folder


def class_names(folder: Path) -> Path:
    """Folders whose names differ by blanks, by Unicode's composition, and by case."""
    names = (" cat", "cat", "Café", unicodedata.normalize("NFD", "Café"), "Cat")
    for i in range(40):
        (folder / names[i % 5]).mkdir(exist_ok=True)
        models.picture(("disc", "square")[i % 2], i).save(folder / names[i % 5] / f"{i}.png")
    return folder


def out_of_range(folder: Path) -> Path:
    """An npz with the names of two classes and a third index."""
    x = np.stack([np.asarray(models.picture("disc", i)) for i in range(30)])
    y = np.array([i % 2 for i in range(29)] + [2])
    np.savez(folder / "data.npz", x_train=x, y_train=y, class_names=np.array(["disc", "square"]))
    return folder / "data.npz"


def few(folder: Path) -> Path:
    return models.picture_folder(folder, 4)


def manifest_with(text: str) -> Callable[[Path], Path]:
    """A list of pictures beside their folder, with lines of its own behind the good ones."""

    def make(folder: Path) -> Path:
        good(folder / "pics")
        files = sorted((folder / "pics").rglob("*.png"))
        rows = [f"{p.relative_to(folder)},{p.parent.name}" for p in files]
        (folder / "list.csv").write_text("\n".join(["file,label", *rows, text]) + "\n", "utf-8")
        return folder / "list.csv"

    return make


PICTURES: tuple[Case, ...] = (
    Case("cut_jpeg", 1, "Q", beside("x.jpg", lambda: cut(packed(fresh(0), "JPEG"))), ("truncated",), item="disc/x.jpg"),
    Case("cut_png", 1, "Q", beside("x.png", lambda: cut(packed(fresh(0)))), ("truncated",), item="disc/x.png"),
    Case("flipped_png", 2, "Q", beside("x.png", lambda: flipped(packed(fresh(0)))), ("damaged",), item="disc/x.png"),
    Case("empty_file", 3, "Q", beside("x.jpg", lambda: b""), ("empty file",), item="disc/x.jpg"),
    Case("html", 3, "Q", beside("x.jpg", lambda: b"<!DOCTYPE html><html>404"), ("HTML: download failed?",),
         item="disc/x.jpg"),
    Case("json", 3, "Q", beside("x.jpg", lambda: b'{"error": 404}'), ("JSON",), item="disc/x.jpg"),
    Case("png_named_jpg", 4, "W", beside("x.jpg", lambda: packed(fresh(0))), ("another picture format", "is PNG")),
    Case("eps", 4, "S", beside("x.jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n"), ("x.jpg", "PostScript")),
    Case("pdf", 4, "S", beside("x.jpg", lambda: b"%PDF-1.7\n"), ("x.jpg", "PDF")),
    Case("psd", 4, "S", beside("x.png", lambda: b"8BPS\0\1" + bytes(99)), ("x.png", "PSD")),
    Case("fits", 4, "S", beside("x.jpg", lambda: b"SIMPLE  =                    T"), ("x.jpg", "FITS")),
    Case("pickle", 4, "S", beside("x.jpg", lambda: pickle.dumps(print)), ("x.jpg", "pickle")),
    Case("bomb", 5, "Q", beside("x.png", lambda: packed(Image.new("1", (20_000, 20_000)), compress_level=1)),
         ("20000x20000", "400 Mpx"), item="disc/x.png"),
    Case("cmyk", 6, "W", beside("x.jpg", lambda: packed(fresh(0).convert("CMYK"), "JPEG")), ("CMYK", "over 1%")),
    Case("sixteen_bits", 7, "W", beside("x.png", lambda: packed(deep())), ("16 bits", "4095")),
    Case("float", 8, "R", beside("x.tif", lambda: packed(floats(), "TIFF")), ("x.tif", "float pixels", "scale them")),
    Case("see_through", 9, "F", beside("x.png", lambda: packed(see_through())), ("laid on white", "disc/x.png")),
    Case("one_bit", 9, "O", beside("x.png", lambda: packed(fresh(0).convert("1")))),
    Case("pages", 10, "W", beside("x.gif", pages), ("the first was read", "--frames all", "first of 3 frames")),
    Case("pages_tiff", 10, "W", beside("x.tif", lambda: pages("TIFF")), ("the first was read", "first of 3 frames")),
    Case("all_pages", 10, "F", beside("x.gif", pages), ("every frame", "x.gif: 3 frames"), ("--frames", "all"),
         late=True),
    Case("turned", 11, "F", beside("x.jpg", turned), ("turned upright", "disc/x.jpg")),
    Case("one_pixel", 12, "Q", beside("x.png", lambda: packed(noise(1, 1))), ("a side is under 2",), item="disc/x.png"),
    Case("one_row", 12, "Q", beside("x.png", lambda: packed(noise(4000, 1))), ("a side is under 2",),
         item="disc/x.png"),
    Case("long", 12, "W", beside("x.png", lambda: packed(noise(800, 33))), ("10 times as long", "disc/x.png")),
    Case("constant", 13, "W", beside("x.png", lambda: packed(Image.new("RGB", (40, 40)))), ("of one colour",)),
    Case("copies_inside", 13, "W", beside("x.png", lambda: packed(fresh(0)), "y.png"), ("1 exact copies of another",)),
    Case("copies_across", 14, "W", exact_copies, ("left out of train", "train/disc/copy.png = test/disc/000.png"),
         late=True),
    Case("near_copies", 14, "W", near_copies, ("look nearly the same", "train/disc/large.png ~ test/disc/small.jpg")),
    Case("patients", 15, "W", patients, ("share their start across parts", "--group prefix", "patient3_3.png")),
    Case("patients_unparted", 15, "W", lambda folder: patients(folder, False), ("share their start", "--group prefix")),
    Case("junk", 16, "F", junk, ("4 files and folders that are no pictures", ".ipynb_checkpoints/", "Thumbs.db")),
    Case("loop", 17, "W", loop, ("links lead to folders met before", "disc/again/")),
    Case("two_depths", 18, "R", two_depths, ("several depths", "(itself) 1 pictures", "disc/ 12 pictures")),
    Case("flat", 18, "R", flat, ("lie in one folder", "CLASS/picture")),
    Case("modes", 19, "O", modes),
    Case("five_bands", 19, "R", five_bands, ("disc/000.png has 3 channels", "disc/five.tif has 5")),
    Case("display_p3", 20, "W", beside("x.png", display_p3), ("colour profile", "disc/x.png")),
    Case("heic", 20, "R", beside("x.heic", lambda: bytes(4) + b"ftypheic" + bytes(99)),
         ("x.heic", "graft-learn[heic]"), lacks="heic"),
    Case("dicom", 20, "X", beside("x.dcm", lambda: bytes(128) + b"DICM" + bytes(99)), ("graft-learn[dicom]",),
         lacks="dicom"),
    Case("one_class", 21, "R", one_class, ("at least two classes", "only 'disc'")),
    Case("lone", 22, "W", lone, ("1 classes have one sample, which stays in train", "alone")),
    Case("test_only", 23, "R", only_in_test, ("test", "triangle", "--unknown drop")),
    Case("test_only_dropped", 23, "F", only_in_test, ("triangle", "were dropped", "test/triangle/x.png"),
         ("--unknown", "drop"), late=True),
    Case("empty_class", 24, "W", empty_class, ("hold no picture and are no class", "nothing")),
    Case("no_label", 25, "R", manifest_with("pics/disc/000.png,"), ("no label", "pics/disc/000.png")),
    Case("blanks", 27, "W", class_names, ("folder names lost blanks", "' cat' is 'cat'")),
    Case("case", 27, "W", class_names, ("differ in case alone and stay apart", "Cat / cat")),
    Case("out_of_range", 28, "R", out_of_range, ("y_train[29] is 2", "only 0 to 1 have a name")),
    Case("few", 34, "R", few, ("too few samples",)),
)  # fmt: skip


# --------------------------------------------------------------------------------------- texts


def table(*more: Sequence[str], header: Sequence[str] = ("text", "label"), n: int = 40) -> Callable[[Path], Path]:
    """A csv of good rows and some more."""

    def make(folder: Path) -> Path:
        return models.write_csv(folder / "t.csv", [*models.texts(n), *more], header)

    return make


def written(change: Callable[[str], bytes], name: str = "t.csv") -> Callable[[Path], Path]:
    """A csv of good rows whose whole text is turned into bytes."""

    def make(folder: Path) -> Path:
        lines = ["text,label", *(f"{text},{label}" for text, label in models.texts(40))]
        (folder / name).write_bytes(change("\n".join(lines) + "\n"))
        return folder / name

    return make


def with_column(name: str, value: Callable[[int, str], str]) -> Callable[[Path], Path]:
    """80 good rows with a third column of what the row number and the label say."""

    def make(folder: Path) -> Path:
        rows = [(text, label, value(i, label)) for i, (text, label) in enumerate(models.texts(80))]
        return models.write_csv(folder / "t.csv", rows, ("text", "label", name))

    return make


def labelled(value: Callable[[int, str], str], n: int = 80) -> Callable[[Path], Path]:
    """Good texts with labels made of the row number and the true label."""

    def make(folder: Path) -> Path:
        rows = [(f"{text} {i}", value(i, label)) for i, (text, label) in enumerate(models.texts(n))]
        return models.write_csv(folder / "t.csv", rows)

    return make


def lines(*more: str) -> Callable[[Path], Path]:
    """A jsonl of good rows and lines of its own."""

    def make(folder: Path) -> Path:
        rows = [json.dumps({"text": text, "label": label}) for text, label in models.texts(40)]
        (folder / "t.jsonl").write_text("\n".join([*rows, *more]) + "\n", "utf-8")
        return folder / "t.jsonl"

    return make


LABELS = (" cat", "cat", "Café", unicodedata.normalize("NFD", "Café"))

TEXTS: tuple[Case, ...] = (
    Case("one_class_of_texts", 21, "R", labelled(lambda i, y: "same"), ("at least two classes", "only 'same'")),
    Case("lone_text", 22, "W", table(("a lone text", "lone")), ("1 classes have one sample", "lone")),
    Case("no_label_text", 25, "R", table(("no label here", ""), ("nor here", "  ")), ("2 rows", "t.csv:42, t.csv:43")),
    Case("no_label_dropped", 25, "F", table(("no label here", "")), ("without a label left out", "t.csv:42"),
         ("--drop-unlabelled",), late=True),
    Case("words_for_nothing", 26, "O", labelled(lambda i, y: ("NA", "None", "null", "nan")[i % 4], 48)),
    Case("blanks_text", 27, "W", labelled(lambda i, y: LABELS[i % 4], 48),
         ("24 labels lost blanks", "t.csv:2 (' cat')")),
    Case("case_text", 27, "W", labelled(lambda i, y: ("Cat", "cat", "dog")[i % 3], 48), ("in case alone", "Cat / cat")),
    Case("imbalance", 29, "W", lambda folder: models.write_csv(
        folder / "t.csv", [r for i, r in enumerate(models.texts(400)) if r[1] == "good" or i % 40 == 1]),
         ("very different size", "balanced_accuracy")),
    Case("leak_id", 31, "W", with_column("id", lambda i, y: str(i + 1000 * (y == "bad"))), ("tell the label", "id (")),
    Case("leak_date", 31, "W", with_column(
        "seen", lambda i, y: f"{2011 if y == 'bad' else 2016}-{1 + i // 28:02}-{1 + i % 28:02}"),
         ("tell the label", "seen (")),
    Case("leak_file", 31, "W", with_column("file", lambda i, y: f"{y}_{i:04}.txt"), ("tell the label", "file (")),
    Case("two_readings", 32, "R", labelled(lambda i, y: str(i % 20 * 3), 120),
         ("--task text_classification", "--task text_regression"), exit=2),
    Case("two_readings_of_lists", 32, "R", labelled(lambda i, y: f"{y};only{i}"),
         ("--task text_multilabel", "--task text_classification"), exit=2),
    Case("several_labels", 32, "F", labelled(lambda i, y: f"{y};odd" if i % 3 else y), ("labels", "on average")),
    Case("few_texts", 34, "R", table(n=4), ("too few samples",)),
    Case("more_classes_than_rows", 34, "R", labelled(lambda i, y: f"c{i // 2}", 24), ("too few samples",)),
    Case("empty_text", 44, "Q", table(("", "good")), ("empty text",), item="t.csv:42"),
    Case("blank_text", 44, "Q", table(("  \t ", "good")), ("empty text",), item="t.csv:42"),
    Case("unseen_text", 44, "Q", table(("\u200b\u200d \ufeff\u2060", "good")), ("empty",), item="t.csv:42"),
    Case("controls_only", 44, "Q", table(("\x01\x02\x7f", "good")), ("empty",), item="t.csv:42"),
    Case("long_text", 45, "W", table(*[("lovely " * 100_000 + str(i), "good") for i in range(3)]),
         ("tokens", "--long-texts head_tail"), late=True),
    Case("utf16", 46, "R", written(lambda t: t.encode("utf-16")), ("t.csv:1", "offset 0", "UTF-16", "iconv")),
    Case("utf16_bare", 46, "R", written(lambda t: t.encode("utf-16-le")), ("UTF-16LE", "iconv")),
    Case("latin", 46, "R", written(lambda t: (t + "café,good\n").encode("latin-1")),
         ("t.csv:42", "0xE9", "ISO-8859-1", "iconv")),
    Case("cp1252", 46, "R", written(lambda t: (t + "“café”,good\n").encode("cp1252")), ("t.csv:42", "WINDOWS-1252")),
    Case("mixed", 46, "R", written(lambda t: (t + "naïve über café,good\n").encode() + "café,bad\n".encode("latin-1")),
         ("t.csv:43", "mend that line")),
    Case("byte_order_mark", 46, "O", written(lambda t: t.encode("utf-8-sig"))),
    Case("nul", 47, "W", table(("a film\0of wonder", "good")), ("NUL", "t.csv:42")),
    Case("controls", 47, "W", table(("a bell \x07 awful", "bad")), ("read with a change", "t.csv:42")),
    Case("half_surrogate", 47, "W", lines('{"text": "half \\ud800 awful", "label": "bad"}'), ("half of a character",)),
    Case("no_space", 47, "W", table(("x" * 1_000_005, "good")), ("cut to 1,000,000 characters", "t.csv:42")),
    Case("ragged", 48, "R", written(lambda t: f"{t}one,two,three\n".encode()), ("t.csv:42", "3 fields")),
    Case("open_quote", 48, "R", written(lambda t: f'{t}"open,good\n'.encode()), ("t.csv:42", "quote")),
    Case("line_break", 48, "O", written(lambda t: f'{t}"two\nlines",good\n'.encode())),
    Case("tabs", 48, "O", written(lambda t: t.replace(",", "\t").encode())),
    Case("same_column_twice", 48, "R", written(lambda t: t.replace("text,label", "text,text").encode()),
         ("'text'", "more than once")),
    Case("double_key", 48, "R", lines('{"text": "a", "text": "b", "label": "bad"}'), ("t.jsonl:41", "twice")),
    Case("other_scripts", 49, "W", table(*[("привет " * (i + 9), "good") for i in range(30)]),
         ("Cyrillic", "know little"), late=True),
    Case("unknown_words", 49, "W", table(*[("😀 <p>שלום</p> " * (i + 1), "good") for i in range(30)]),
         ("of the tokens are unknown",), late=True),
)  # fmt: skip

CASES: tuple[Case, ...] = (*PICTURES, *(replace(c, modality="text") for c in TEXTS))


def write(case: Case, root: Path) -> Path:
    """Make a case below `root`; returns what to give to graft."""
    folder = root / case.name
    folder.mkdir(parents=True)
    return case.make(folder)


def main(root: Path) -> None:
    """Write every case, and expected.json: a line a case with its row, its code and what must be said."""
    listed = []
    for case in CASES:
        plain = {k: v for k, v in asdict(case).items() if k != "make"}
        listed.append({"data": str(write(case, root).relative_to(root)), **plain, "exit": case.exits})
    (root / "expected.json").write_text(json.dumps(listed, indent=1, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
