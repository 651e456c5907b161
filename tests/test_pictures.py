"""Pictures: upright eight-bit RGB, or a reason; never something else in silence."""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from graft.errors import DataError, SecurityError, SetupError
from graft.pictures import BadPicture, PictureFile, look, look_each, open_picture, walk
from graft.views import opened

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]


def noise(width: int = 24, height: int = 16) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def smooth(width: int = 32, height: int = 16) -> Image.Image:
    """Red grows to the right, green downwards: every turn and flip shows, and JPEG keeps it."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 7, y * 15, np.full_like(x, 90)], -1).astype(np.uint8))


def packed(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def pixels(source: object) -> np.ndarray:
    picture = open_picture(source)  # type: ignore[arg-type]
    assert (picture.mode, picture.info) == ("RGB", {})
    return np.asarray(picture).astype(int)


def reason(source: object) -> str:
    with pytest.raises(BadPicture) as caught:
        open_picture(source)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture
def no_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra `heic` is not installed."""
    absent = lambda kind: kind not in ("HEIC", "AVIF")
    monkeypatch.setattr("graft._formats.readable", absent)
    monkeypatch.setattr("graft._walk.readable", absent)


# --- what is accepted


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_and_every_kind_of_source(tmp_path: Path, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = packed(smooth(), kind, **options)
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    close = {"JPEG": 12, "GIF": 40}.get(kind, 0)
    with Image.open(path) as lazy:
        for source in (path, str(path), data, lazy):
            assert np.abs(pixels(source) - np.asarray(smooth())).max() <= close
    assert look(path).format == kind


def test_arrays() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    grey.flags.writeable = False
    assert (pixels(grey) == grey[..., None]).all()
    colour = np.asarray(noise())[:, ::-1]  # read-only and not contiguous
    assert (pixels(colour) == colour).all()
    assert "give uint8" in reason(grey.astype(np.float32))
    assert "give uint8" in reason(np.zeros((4, 4, 2), np.uint8))
    assert "give uint8" in reason(np.zeros((4, 4, 4, 3), np.uint8))
    assert (pixels(grey[..., None]) == grey[..., None]).all()
    assert (pixels(grey.astype(np.uint16) * 5957)[..., 0] == np.round(grey.astype(int) * 5957 / 257)).all()
    four = np.stack([grey, grey + 50, grey + 100, grey + 150], axis=-1)
    assert (pixels(four) == four[..., :3]).all()
    assert "is a list" in reason([1])
    assert "side is under 2" in reason(np.zeros((1, 9), np.uint8))


def test_a_given_picture_is_not_changed() -> None:
    given_one = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    before = given_one.copy()
    opened = open_picture(given_one)
    opened.putpixel((0, 0), (1, 2, 3))
    assert given_one == before
    plain = noise()
    opened = open_picture(plain)
    opened.putpixel((0, 0), (1, 2, 3))
    assert plain == noise()


def test_mpo_is_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    noise().save(path, "MPO", save_all=True, append_images=[smooth()])
    found = look(path)
    assert (found.format, found.width, found.note) == ("JPEG", 24, "")
    with Image.open(path) as lazy:
        assert lazy.format == "MPO"
        assert (pixels(lazy) == pixels(path)).all()


# --- truncated, damaged, not a picture


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_pictures_are_bad(kind: str) -> None:
    data = packed(noise(), kind)
    for length in range(1, len(data) - 20, max(1, len(data) // 25)):
        assert reason(data[:length])
    assert reason(data[: len(data) // 2]).startswith("truncated: ")


def test_pillows_switch_for_cut_pictures_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(SetupError, match="half grey"):
        open_picture(packed(noise(), "JPEG")[:-300])


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(FORMATS))
def test_flipped_bytes_never_crash_and_never_pass_in_a_png(data: st.DataObject, kind: str) -> None:
    whole = bytearray(packed(noise(), kind))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        got = pixels(bytes(whole))
    except (BadPicture, SecurityError):
        return
    if kind == "PNG":
        assert (got == np.asarray(noise())).all()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"GIF89a", b"BM"]),
    st.binary(max_size=80),
)
def test_any_bytes_are_opened_or_refused(start: bytes, rest: bytes) -> None:
    try:
        pixels(start + rest)
    except (BadPicture, SecurityError):
        return


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty file"),
        (b"\n <!DOCTYPE html><html>404</html>", "is HTML: download failed?"),
        (b"\xef\xbb\xbf<html>", "is HTML: download failed?"),
        (b'{"error": "quota"}', "is JSON: download failed?"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "is SVG: export it as PNG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0", "is HEIC: pip install 'graft-learn[heic]'"),
        (b"\0\0\0\x18ftypavif\0\0", "is AVIF: pip install 'graft-learn[heic]'"),
        (b"\0\0\0\x18ftypisom\0\0", "is a video"),
        (b"P6 2 2 255\n" + bytes(12), "is none of JPEG, PNG"),
        (bytes(100), "is none of JPEG, PNG"),
    ],
)
def test_what_is_no_picture_says_what_it_is(tmp_path: Path, no_heic: None, content: bytes, says: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert says in reason(path)


@pytest.mark.parametrize(
    "content",
    [b"%!PS-Adobe-3.0 EPSF", b"\xc5\xd0\xd3\xc6", b"%PDF-1.7", b"8BPS\0\1", b"SIMPLE  =  T", b"\x80\4\x95"],
)
def test_dangerous_formats_are_refused_by_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content + bytes(100))
    with pytest.raises(SecurityError, match=r"holiday\.jpg is .*not parsed"):
        open_picture(path)
    with pytest.raises(SecurityError):
        list(look_each([path]))


def test_a_lazily_opened_eps_is_refused(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.eps")
    with Image.open(tmp_path / "a.eps") as eps, pytest.raises(SecurityError, match="EPS"):
        open_picture(eps)
    noise().save(tmp_path / "a.ppm")
    with Image.open(tmp_path / "a.ppm") as ppm:
        assert "is PPM" in reason(ppm)


def test_missing_files_folders_and_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in reason(tmp_path / "pipe.jpg")
    assert "not a regular file" in reason(tmp_path)
    assert "No such file" in reason(tmp_path / "none.jpg")
    assert "cannot be read" in reason("nul\0.jpg")


# --- size


def test_bombs_are_refused_from_the_header() -> None:
    bomb = packed(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    assert reason(bomb) == "20000x20000 is 400 Mpx, over the cap of 50"
    assert "side is under 2" in reason(packed(Image.new("L", (1, 4000)), "PNG"))


def test_huge_jpegs_come_at_half_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("L", (10_001, 6_000), 200).save(path)
    found = look(path)
    assert (found.width, found.height, found.note) == (5_001, 3_000, "decoded at half of 10001x6000")
    assert "over the cap" in reason(packed(Image.new("L", (15_000, 15_000)), "JPEG"))
    # All coefficients of a progressive one are kept in memory, whatever comes out.
    small = bytearray(packed(noise(), "JPEG", progressive=True))
    at = small.index(b"\xff\xc2") + 5
    small[at : at + 4] = (9_000).to_bytes(2, "big") * 2
    assert "9000x9000 is 81 Mpx" in reason(bytes(small))


# --- depth, palette, transparency, colour


def test_sixteen_bits_are_scaled_not_saturated(tmp_path: Path) -> None:
    deep = (np.arange(16, dtype=np.uint16) * 4369).reshape(4, 4)
    want = np.arange(16).reshape(4, 4) * 17
    for kind in ("PNG", "TIFF"):
        path = tmp_path / f"a.{kind.lower()}"
        Image.fromarray(deep).save(path)
        assert (pixels(path)[..., 0] == want).all()
        assert look(path).note == "16-bit scaled"
    assert (pixels(Image.fromarray(deep.astype(">u2")))[..., 1] == want).all()
    Image.fromarray(deep // 16).save(tmp_path / "twelve.png")
    found = look(tmp_path / "twelve.png")
    assert (found.note, found.depth) == ("16-bit scaled", 4095)
    see_through = packed(Image.fromarray(deep), "PNG", transparency=0)
    assert pixels(see_through)[0, 0].tolist() == [255, 255, 255]


def test_thirty_two_bits_and_floats() -> None:
    grid = np.array([[0, 100], [200, 255]], np.int32)
    assert (pixels(Image.fromarray(grid))[..., 0] == grid).all()
    assert (pixels(Image.fromarray(grid * 257))[..., 0] == grid).all()
    assert "pixels from -1 to 255" in reason(Image.fromarray(np.array([[-1, 0], [0, 255]], np.int32)))
    assert "to 70000" in reason(packed(Image.fromarray(np.array([[0, 0], [0, 70000]], np.int32)), "TIFF"))
    assert "float pixels" in reason(packed(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    clear.putpixel((0, 0), (200, 0, 0, 255))
    clear.putpixel((1, 0), (200, 0, 0, 128))
    for kind in ("PNG", "TIFF", "WEBP"):
        got = pixels(packed(clear, kind, **({"lossless": True} if kind == "WEBP" else {})))
        assert got[0, 0].tolist() == [200, 0, 0]
        assert np.abs(got[0, 1] - [227, 127, 127]).max() <= 1
        assert got[3, 3].tolist() == [255, 255, 255]
    clear.save(tmp_path / "a.png")
    assert look(tmp_path / "a.png").note == "transparency on white"
    for mode in ("LA", "PA", "RGBa"):
        assert pixels(clear.convert("RGBA" if mode == "PA" else mode).convert(mode))[3, 3].tolist() == [255] * 3
    assert pixels(clear.convert("LA").convert("La"))[3, 3].tolist() == [255] * 3
    assert pixels(packed(Image.new("L", (4, 4), 7), "PNG", transparency=7))[0, 0].tolist() == [255] * 3
    assert pixels(packed(Image.new("RGB", (4, 4), 7), "PNG", transparency=(7, 0, 0)))[0, 0].tolist() == [255] * 3


def test_palettes_and_one_bit() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert pixels(packed(palette, "PNG"))[0, 0].tolist() == [10, 20, 30]
    assert pixels(packed(palette, "PNG", transparency=1))[0, 0].tolist() == [255, 255, 255]
    assert pixels(packed(palette, "GIF", transparency=1))[0, 0].tolist() == [255, 255, 255]
    assert pixels(packed(palette, "PNG", transparency=bytes([255, 0])))[0, 0].tolist() == [255, 255, 255]
    assert pixels(packed(Image.new("1", (4, 4), 1), "PNG"))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_with_and_without_adobes_marker() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    adobe = packed(red, "JPEG", quality=95)
    assert adobe.count(b"Adobe") == 1
    at = adobe.index(b"\xff\xee")
    bare = adobe[:at] + adobe[at + 2 + int.from_bytes(adobe[at + 2 : at + 4], "big") :]
    assert np.abs(pixels(adobe)[8, 8] - [255, 0, 0]).max() < 6
    # Adobe's files are stored inverted; the same numbers without the marker are not, and mean the inverse.
    assert np.abs(pixels(bare)[8, 8] - [0, 0, 0]).max() < 6
    assert pixels(packed(red, "TIFF"))[8, 8].tolist() == [255, 0, 0]


def test_foreign_colour_profiles_are_said(tmp_path: Path) -> None:
    wide = bytes(16) + b"RGB " + b"Display P3".ljust(120)
    noise().save(tmp_path / "p3.png", icc_profile=wide)
    noise().save(tmp_path / "srgb.png", icc_profile=wide + b"sRGB")
    assert look(tmp_path / "p3.png").note == "colour profile is not sRGB, not converted"
    assert look(tmp_path / "srgb.png").note == ""


# --- frames and orientation


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_frame(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    frames = [Image.new("RGB", (8, 8), (200, 80 * i, 0)) for i in range(3)]
    frames[0].save(
        path, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert look(path).note == "first of 3 frames"
    assert pixels(path)[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    turns = [
        None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ]  # fmt: skip
    turn = turns[orientation - 1]
    stored = smooth() if turn is None else smooth().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / ("a.jpg" if kind == "JPEG" else f"a.{kind.lower()}")
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    stored.save(path, kind, exif=exif, **options)
    assert np.abs(pixels(path) - np.asarray(smooth())).max() <= 12
    with Image.open(path) as lazy:
        assert np.abs(pixels(lazy) - np.asarray(smooth())).max() <= 12
    found = look(path)
    assert (found.width, found.height) == (32, 16)
    assert found.note == ("" if orientation == 1 else "rotated by EXIF")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    smooth().save(path, exif=b"Exif\0\0MM\0\x2a\0\0\xff\xff")
    assert look(path).width == 32


# --- looking at many


def test_digest_is_of_the_upright_pixels(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    noise().save(tmp_path / "b.bmp")
    exif = Image.Exif()
    exif[0x0112] = 3
    noise().transpose(Image.Transpose.ROTATE_180).save(tmp_path / "c.webp", lossless=True, exif=exif)
    (tmp_path / "d.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    Image.fromarray(np.asarray(noise()).reshape(24, 16, 3)).save(tmp_path / "e.png")
    looks = [look(tmp_path / n) for n in ("a.png", "b.bmp", "c.webp", "d.jpg", "e.png")]
    assert len({found.digest for found in looks[:4]}) == 1
    assert looks[4].digest != looks[0].digest  # the same bytes in another shape
    assert looks[3].note == "is PNG, named .jpg"


def test_many_looks_are_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i:03}.png" for i in range(600)]
    data = [packed(noise(4 + i % 5, 4), "PNG") for i in range(5)]
    for i, path in enumerate(paths):
        path.write_bytes(b"" if i % 100 == 7 else data[i % 5])
    threads = threading.active_count()
    found = list(look_each(paths, workers=3))
    assert [i for i, (one,) in enumerate(found) if one == "empty file"] == list(range(7, 600, 100))
    widths = [one.width for (one,) in found if not isinstance(one, str)]
    assert widths == [4 + i % 5 for i in range(600) if i % 100 != 7]
    assert found == list(look_each(paths, workers=1))
    assert threading.active_count() == threads
    assert list(look_each([])) == []


# --- walking


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_walk_sorts_and_leaves_out(tmp_path: Path, no_heic: None) -> None:
    touch(tmp_path, "b/2.JPG", "b/1.jpeg", "a/x y.png", "a/中文.webp", "a.bmp", "a/n.gif", "a/t.tif", "a/u.TIFF")
    touch(tmp_path, ".ipynb_checkpoints/1.jpg", "a/.hidden.png", "__MACOSX/1.jpg", "b/Thumbs.db", "@eaDir/1.jpg")
    touch(tmp_path, "desktop.ini", "notes.txt", "b/3.HEIC", "b/4.heif", "b/5.avif")
    found = walk(tmp_path)
    names = ["a.bmp", "a/n.gif", "a/t.tif", "a/u.TIFF", "a/x y.png", "a/中文.webp", "b/1.jpeg", "b/2.JPG"]
    assert found.pictures == [tmp_path / n for n in names]
    assert found.unsupported == [tmp_path / n for n in ("b/3.HEIC", "b/4.heif", "b/5.avif")]
    assert found.skipped == [
        ".ipynb_checkpoints/", "@eaDir/", "__MACOSX/", "a/.hidden.png", "b/Thumbs.db", "desktop.ini", "notes.txt",
    ]  # fmt: skip
    assert found.loops == []


def test_walk_follows_links_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root, "cat/1.jpg", "zoo/2.jpg")
    touch(tmp_path, "outside/3.jpg")
    (root / "cat" / "again").symlink_to(root)
    (root / "a_link").symlink_to(root / "zoo")  # sorts before the real folder, which must stay
    (root / "more").symlink_to(tmp_path / "outside")
    (root / "more2").symlink_to(tmp_path / "outside")
    (root / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (root / "self").symlink_to("self")
    found = walk(root)
    assert found.pictures == [root / n for n in ("cat/1.jpg", "gone.jpg", "more/3.jpg", "zoo/2.jpg")]
    assert found.loops == ["a_link/", "cat/again/", "more2/"]
    assert found.skipped == ["self"]
    assert list(look_each([root / "gone.jpg"])) == [["cannot be read: No such file or directory"]]


def test_walk_survives_names_that_are_not_utf8_and_deep_folders(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"caf\xe9.txt"), os.fsdecode(b"caf\xe9.jpg"), "/".join(["d"] * 300) + "/1.png")
    found = walk(tmp_path)
    assert found.skipped == ["caf\\xe9.txt"]
    assert len(found.pictures) == 2
    with pytest.raises(DataError, match="cannot be listed"):
        walk(tmp_path / "none")


def test_walk_finds_dicom_by_content_and_leaves_runs_out(tmp_path: Path) -> None:
    touch(tmp_path, "scans/a.dcm", "scans/b.DICOM", "scans/README", "scans/12", "run/model.json", "run/plot.png")
    touch(tmp_path, "run/weights.safetensors", "scans/DICOMDIR")
    for name in ("IM0001", "1.2.840.7", "notes.txt2"):
        (tmp_path / "scans" / name).write_bytes(bytes(128) + b"DICM" + bytes(20))
    os.mkfifo(tmp_path / "scans" / "pipe")
    found = walk(tmp_path)
    assert [p.name for p in found.pictures] == ["1.2.840.7", "IM0001", "a.dcm", "b.DICOM"]
    assert found.runs == ["run/"]
    assert found.skipped == [f"scans/{n}" for n in ("12", "DICOMDIR", "README", "notes.txt2", "pipe")]


# --- scaled decoding


def photo(width: int, height: int) -> Image.Image:
    """Detail at every scale, as photographs have it: octaves of noise, each half as strong as the one before."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(8):
        grid = rng.normal(size=(3, 2 ** (octave + 2), 2 ** (octave + 2))).astype(np.float32)
        layers = [Image.fromarray(g).resize((width, height), Image.Resampling.BICUBIC) for g in grid]
        total += np.stack([np.asarray(layer) for layer in layers], -1) / 2**octave
    return Image.fromarray(np.clip(128 + 45 * total, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 1600 x 1200 pixels, turned by EXIF to stand upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path_factory.mktemp("large") / "a.jpg"
    photo(1600, 1200).save(path, quality=92, exif=exif)
    return path


@pytest.mark.parametrize(("want", "size"), [(None, 1200), (301, 1200), (300, 600), (150, 300), (75, 150), (9, 150)])
def test_scaled_decoding_leaves_twice_what_is_wanted(large: Path, want: int | None, size: int) -> None:
    assert open_picture(large, want).size == (size, size * 4 // 3)


@pytest.mark.parametrize("want", [96, 128, 224, 256, 288])
@pytest.mark.parametrize("filter", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_scaled_decoding_is_not_seen_after_the_resize(large: Path, want: int, filter: Image.Resampling) -> None:
    size = (want, want * 4 // 3)
    whole, scaled = (
        np.asarray(open_picture(large, w).resize(size, filter, reducing_gap=3.0)).astype(int) for w in (None, want)
    )
    off = np.abs(whole - scaled)
    assert off.max() > 0  # the scaled one was another decode
    assert off.mean() < 1.0
    assert off.max() < 16


def test_want_is_for_jpegs_alone_and_decides_nothing(tmp_path: Path, large: Path) -> None:
    noise(400, 300).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png", 16).size == (400, 300)
    wide = tmp_path / "wide.jpg"
    noise(4000, 2).save(wide)
    assert open_picture(wide, 1).size == (4000, 2)  # a side never falls below what is wanted
    Image.new("L", (10_001, 6_000), 200).save(tmp_path / "huge.jpg")
    assert open_picture(tmp_path / "huge.jpg", 224).size == (1251, 750)
    assert open_picture(tmp_path / "huge.jpg", 2000).size == (5001, 3000)
    assert look(large) == look(PictureFile(large))


def test_large_jpegs_are_looked_at_small_and_measured_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = photo(80, 60).resize((3001, 2255))
    picture.save(tmp_path / "a.jpg", exif=exif)
    picture.save(tmp_path / "b.jpg")
    shapes = [(look(tmp_path / n).width, look(tmp_path / n).height) for n in ("a.jpg", "b.jpg")]
    assert shapes == [(2255, 3001), (3001, 2255)]
    whole = (tmp_path / "b.jpg").read_bytes()
    assert look(whole) == replace(look(tmp_path / "b.jpg"), notes=())
    small = look(whole).digest
    monkeypatch.setattr("graft.pictures._LOOKED_AT", None)
    assert look(whole).digest != small  # so it was looked at small
    monkeypatch.undo()
    for missing in (3, 2000, len(whole) // 2):
        assert reason_of_look(whole[:-missing]).startswith("truncated")


def reason_of_look(source: bytes) -> str:
    with pytest.raises(BadPicture) as caught:
        look(source)
    return str(caught.value)


def test_many_threads_scale_alike(large: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda want: open_picture(large, want).tobytes(), [96, 300, 96, 300] * 4))
    assert len(set(got[::2])) == 1
    assert len(set(got[1::2])) == 1


# --- pages, white and bands


def test_a_picture_file_says_page_and_white(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pages = [Image.fromarray(np.full((4, 5), v, np.uint16)) for v in (1000, 2000)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert pixels(PictureFile(path, white=4095, frame=1))[0, 0].tolist() == [round(2000 * 255 / 4095)] * 3
    assert pixels(PictureFile(path, white=1023, frame=1))[0, 0].tolist() == [255] * 3  # clipped
    assert "outside sequence" in reason(PictureFile(path, frame=2))
    assert opened(PictureFile(path, white=4095)).getpixel((0, 0)) == (62, 62, 62)


def test_sixteen_bit_colours_are_stretched_by_their_high_bytes() -> None:
    """Pillow keeps the high byte alone, so twelve bits come out in 16 steps; but not black."""
    head = bytes.fromhex("89504e470d0a1a0a")
    values = np.array([[[0, 2048, 4095], [1024, 512, 256]]] * 2, ">u2")
    deep = head + b"".join(
        chunk(kind, data)
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))),
            (b"IEND", b""),
        )
    )
    assert look(deep).depth == 4095
    assert np.abs(pixels(deep)[0] - values[0].astype(int) * 255 / 4095).max() <= 16
    assert pixels(PictureFile(deep, white=65535))[0].max() == 15


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


BANDS = np.random.default_rng(1).integers(0, 256, (6, 7, 5), dtype=np.uint8)


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("bands", [4, 5])
def test_tiff_of_many_bands(tmp_path: Path, layout: str, bands: int) -> None:
    tifffile = pytest.importorskip("tifffile", reason="needs the extra bands")
    path = tmp_path / "a.tif"
    array = BANDS[..., :bands]
    stored = array if layout == "contig" else np.moveaxis(array, -1, 0)
    tifffile.imwrite(path, stored, planarconfig=layout, photometric="minisblack")
    assert look(path).channels == bands
    assert (pixels(path) == array[..., :3]).all()
    found = opened(PictureFile(path, channels=bands))
    assert found.dtype == np.uint8 and (found == array).all()
    with pytest.raises(BadPicture, match=rf"has {bands} channels, 3 are expected"):
        opened(PictureFile(path))


def test_tiff_bands_of_sixteen_bits_and_of_floats(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="needs the extra bands")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, BANDS.astype(np.uint16) * 16, planarconfig="contig", photometric="minisblack")
    assert (look(path).depth, look(path).channels, look(path).note) == (4095, 5, "16-bit scaled")
    got = opened(PictureFile(path, white=4095, channels=5)).astype(int)
    assert np.abs(got - BANDS.astype(int) * 16 * 255 / 4095).max() <= 0.5
    tifffile.imwrite(path, BANDS.astype(np.float32), planarconfig="contig", photometric="minisblack")
    assert "float pixels" in reason(path)
    tifffile.imwrite(path, BANDS, planarconfig="contig", photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-60])
    assert reason(path)


def test_near_infrared_beside_rgb_is_a_band_and_transparency_is_not(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="needs the extra bands")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, BANDS[..., :4], photometric="rgb", extrasamples=["unspecified"])
    assert look(path).channels == 4
    tifffile.imwrite(path, BANDS[..., :4], photometric="rgb", extrasamples=["unassalpha"])
    assert (look(path).channels, look(path).note) == (3, "transparency on white")


def test_bands_without_the_package_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile", reason="needs the extra bands to make the file")
    tifffile.imwrite(tmp_path / "a.tif", BANDS, planarconfig="contig", photometric="minisblack")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(SetupError, match=r"graft-learn\[bands\]"):
        open_picture(tmp_path / "a.tif")
