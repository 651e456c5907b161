"""The pre-flight: each fault of a picture data set (rows 1 to 20 of the list of faults) is found, fixed or said."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft import pictures
from graft.data import Note
from graft.errors import DataError, SecurityError, SetupError, UsageError
from graft.pictures import BadPicture, PictureFile, open_picture
from graft.readers import Row
from graft.readers.checks import Checked, check
from graft.recipe import Recipe
from graft.views import opened

ALL = Recipe(frames="all")


def noise(seed: int = 0, width: int = 48, height: int = 40) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def cloud(seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """Soft shapes, as a photograph out of focus."""
    return noise(seed, 12, 9).resize((width, height), Image.Resampling.BICUBIC)


def packed(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def checked(*xs: Any, asked: Recipe | None = None, schema: dict[str, Any] | None = None, y: str = "a") -> Checked:
    """The pre-flight over pictures of one class, called 0, 1, ... or by their file names."""
    rows = [Row(x, y, x.name if isinstance(x, Path) else str(i)) for i, x in enumerate(xs)]
    return check({"all": rows}, asked or Recipe(), schema or {}, None)


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def said(found: Checked, words: str) -> Note:
    (one,) = [n for n in found.notes if words in n.text]
    return one


def ids(found: Checked) -> list[str]:
    return [s.id for part in found.samples.values() for s in part]


# --- rows 1 to 5: what is no whole picture


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_row_01_cut_pictures_are_bad(tmp_path: Path, kind: str) -> None:
    whole = packed(noise(), kind)
    found = checked(noise(1), saved(tmp_path / "cut", whole[: len(whole) * 2 // 3]))
    assert ids(found) == ["0"]
    (bad,) = found.bad
    assert bad.startswith("cut (truncated: ")


def test_row_02_a_png_with_one_flipped_byte_is_bad_and_crashes_nothing(tmp_path: Path) -> None:
    """Every byte in turn, in a process of its own, since the fault is known to end it in another decoder."""
    code = """if True:
        import io, numpy as np
        from pathlib import Path
        from PIL import Image
        from graft.readers import Row
        from graft.readers.checks import check
        from graft.recipe import Recipe
        out = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(out, "PNG")
        whole = out.getvalue()
        rows = [Row(whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1:], "a", str(i)) for i in range(8, len(whole))]
        found = check({"all": rows}, Recipe(), {}, None)
        print(len(rows), len(found.bad), len(found.samples["all"]), len({s.digest for s in found.samples["all"]}))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows, bad, good, different = map(int, done.stdout.split())
    assert rows == bad + good > 400
    assert good < 12  # where the end mark is flipped, behind the last pixel
    assert different == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty file"), (b"<!DOCTYPE html><html>", "is HTML: download failed?"), (b'{"a": 1}', "is JSON")],
)
def test_row_03_files_that_are_no_pictures(tmp_path: Path, content: bytes, says: str) -> None:
    found = checked(noise(), saved(tmp_path / "a.jpg", content))
    assert len(found.bad) == 1 and found.bad[0].startswith(f"a.jpg ({says}")


def test_row_04_content_decides_the_format(tmp_path: Path) -> None:
    found = checked(saved(tmp_path / "a.jpg", packed(noise())), saved(tmp_path / "b.png", packed(noise(1))))
    note = said(found, "another picture format than their names say")
    assert (note.kind, note.items) == ("warning", ("a.jpg: is PNG, named .jpg",))
    assert (np.asarray(opened(found.samples["all"][0].x)) == np.asarray(noise())).all()
    for start in (b"%!PS-Adobe", b"%PDF-1.7", b"8BPS\0\1", b"SIMPLE  =  T", b"\x80\4\x95"):
        with pytest.raises(SecurityError, match=r"c\.jpg"):
            checked(noise(), saved(tmp_path / "c.jpg", start + bytes(200)))


def test_row_05_bombs(tmp_path: Path) -> None:
    bomb = packed(Image.new("1", (20_000, 20_000)), compress_level=1)
    assert len(bomb) < 1_000_000
    assert checked(bomb).bad == ["0 (20000x20000 is 400 Mpx, over the cap of 50)"]


def test_row_05_huge_jpegs_come_at_half_size(tmp_path: Path) -> None:
    Image.new("L", (10_001, 6_000), 200).save(tmp_path / "huge.jpg")
    found = checked(tmp_path / "huge.jpg")
    assert said(found, "decoded at half size").items == ("huge.jpg: decoded at half of 10001x6000",)


# --- row 6: print colours


def test_row_06_cmyk_is_converted_and_a_class_full_of_it_is_said(tmp_path: Path) -> None:
    red = saved(tmp_path / "red.jpg", packed(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95))
    others = [Row(packed(noise(i, 33, 33)), "a", str(i)) for i in range(150)]
    few = check({"all": [*others, Row(red, "a", "red")]}, Recipe(), {}, None)
    assert said(few, "CMYK").kind == "found"
    assert np.abs(np.asarray(opened(few.samples["all"][-1].x))[9, 9].astype(int) - [255, 0, 0]).max() < 6
    many = check({"all": [*others, Row(red, "b", "red")]}, Recipe(), {}, None)
    assert (said(many, "CMYK").kind, said(many, "CMYK").items) == ("warning", ("red",))
    assert "over 1% of 1 classes" in said(many, "CMYK").text


# --- row 7: sixteen bits


def deep(path: Path, highest: int, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(0, highest + 1, (40, 50), dtype=np.uint16)
    values[0, 0] = highest
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("highest", "white"), [(200, 255), (256, 1023), (1023, 1023), (4095, 4095), (4096, 16383), (16384, 65535)]
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_row_07_sixteen_bits_are_scaled_by_the_depth_of_the_data_set(
    tmp_path: Path, highest: int, white: int, suffix: str
) -> None:
    dark = deep(tmp_path / f"dark.{suffix}", highest // 8, 1)
    found = checked(dark, deep(tmp_path / f"light.{suffix}", highest, 2))
    assert found.schema["white"] == white
    assert said(found, "of 16 bits").text.endswith(f"no value is over {white}, which is taken for white and kept")
    for sample in found.samples["all"]:
        stored = np.asarray(Image.open(tmp_path / sample.id)).astype(int)
        assert np.abs(np.asarray(opened(sample.x))[..., 1] - stored * 255 / white).max() <= 0.5


def test_row_07_a_run_keeps_its_white(tmp_path: Path) -> None:
    trained = checked(deep(tmp_path / "a.png", 4000)).schema
    assert json.loads(json.dumps(trained)) == trained == {"channels": 3, "white": 4095, "frames": "first"}
    later = checked(deep(tmp_path / "dark.png", 500), deep(tmp_path / "light.png", 9000), schema=trained)
    assert later.schema == trained
    assert said(later, "over the run's white").items == ("light.png",)
    dark, light = (np.asarray(opened(s.x)) for s in later.samples["all"])
    assert dark.max() == round(500 * 255 / 4095)
    assert light.max() == 255
    eight = checked(packed(noise())).schema
    assert eight["white"] is None
    never = checked(deep(tmp_path / "a.png", 4000), schema=eight)
    assert "65535 is taken for white" in said(never, "of 16 bits").text
    assert np.asarray(opened(never.samples["all"][0].x)).max() == round(4000 / 257)


def test_row_07_digests_are_of_what_a_model_sees(tmp_path: Path) -> None:
    """Twelve bits scaled as sixteen leave 16 grey levels, in which different pictures become equal."""
    values = np.random.default_rng(0).integers(0, 4096, (40, 50), dtype=np.uint16)
    Image.fromarray(values // 256 * 256).save(tmp_path / "a.png")
    Image.fromarray(values // 256 * 256 + 100).save(tmp_path / "b.png")
    Image.fromarray(values // 256 * 256).save(tmp_path / "c.tif")
    alone = checked(*(tmp_path / n for n in ("a.png", "b.png", "c.tif")))
    a, b, c = (s.digest for s in alone.samples["all"])
    assert a != b and a == c
    other = checked(tmp_path / "a.png", deep(tmp_path / "light.png", 60000))
    assert other.samples["all"][0].digest != a  # scaled otherwise, so no cache may take one for the other


def test_row_07_arrays_of_sixteen_bits() -> None:
    values = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    found = checked(values, np.zeros((40, 40, 3), np.uint8))
    assert found.schema["white"] == 4095
    assert np.asarray(opened(found.samples["all"][0].x)).max() == round(1599 * 255 / 4095)
    assert np.asarray(opened(found.samples["all"][1].x)).max() == 0


# --- rows 8 to 11


def test_row_08_float_pictures_ask_to_be_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.ones((40, 40), np.float32)).save(tmp_path / "a.tif")
    found = checked(tmp_path / "a.tif", np.ones((40, 40), np.float32))
    assert found.bad[0] == "a.tif (has float pixels: scale them from their range to 0..255 and save as 8-bit)"
    assert found.bad[1].startswith("1 (is float32 [40, 40]: give uint8 or uint16")


def test_row_09_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    found = checked(packed(clear), packed(palette), packed(palette, transparency=1), packed(clear.convert("LA")))
    assert said(found, "laid on white").items == ("0", "2", "3")
    corners = [opened(s.x).getpixel((0, 0)) for s in found.samples["all"]]
    assert corners == [(255,) * 3, (10, 20, 30), (255,) * 3, (255,) * 3]


def pages(path: Path, n: int = 3) -> Path:
    frames = [noise(i) for i in range(n)]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif"])
def test_row_10_the_first_of_several_pages(tmp_path: Path, name: str) -> None:
    found = checked(pages(tmp_path / name))
    assert ids(found) == [name]
    assert found.samples["all"][0].x == tmp_path / name
    note = said(found, "several pages")
    assert (note.kind, note.items) == ("warning", (f"{name}: first of 3 frames",))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif"])
def test_row_10_all_pages_on_request_and_never_on_two_sides(tmp_path: Path, name: str) -> None:
    rows = [Row(pages(tmp_path / name), "a", name, domain="d", time=3.0), Row(packed(noise(7)), "b", "single")]
    found = check({"all": rows}, ALL, {}, None)
    assert ids(found) == [f"{name}#1", f"{name}#2", f"{name}#3", "single"]
    assert [s.group for s in found.samples["all"]] == [name] * 3 + [""]
    assert {(s.y, s.domain, s.time) for s in found.samples["all"][:3]} == {("a", "d", 3.0)}
    assert not [n for n in found.notes if "pages" in n.text]
    seen = [np.asarray(opened(s.x)).astype(int) for s in found.samples["all"][:3]]
    close = 60 if name.endswith("gif") else 0
    assert all(np.abs(got - np.asarray(noise(i))).mean() <= close for i, got in enumerate(seen))
    assert len({s.digest for s in found.samples["all"]}) == 4
    grouped = check({"all": [replace(rows[0], group="patient")]}, ALL, {}, None)
    assert {s.group for s in grouped.samples["all"]} == {"patient"}
    again = checked(tmp_path / name, schema=found.schema)  # the run's rule, though this recipe says first
    assert len(ids(again)) == 3


def test_row_10_a_damaged_page_is_named(tmp_path: Path) -> None:
    whole = bytearray(pages(tmp_path / "a.gif").read_bytes())
    saved(tmp_path / "b.gif", bytes(whole[: len(whole) - 300]))  # inside the third page
    found = checked(tmp_path / "b.gif", asked=ALL)
    assert ids(found) == ["b.gif#1", "b.gif#2"]
    assert len(found.bad) == 1 and found.bad[0].startswith("b.gif#3 (truncated: ")


def test_frames_is_first_or_all() -> None:
    with pytest.raises(UsageError, match="possible are first and all"):
        checked(packed(noise()), asked=Recipe(frames="some"))


def test_row_11_exif_turns_are_applied_and_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    cloud(0).transpose(Image.Transpose.ROTATE_180).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = checked(tmp_path / "a.jpg")
    assert np.abs(np.asarray(opened(found.samples["all"][0].x)).astype(int) - np.asarray(cloud(0))).mean() < 4
    assert (said(found, "turned upright").kind, said(found, "turned upright").items) == ("found", ("a.jpg",))


# --- rows 12 and 13


def test_row_12_small_and_long_pictures() -> None:
    found = checked(
        noise(0, 31, 60), noise(0, 32, 32), noise(0, 400, 39), noise(0, 400, 40), noise(0, 1, 1), noise(0, 1, 4000)
    )
    assert said(found, "side under 32 pixels").items == ("0", "2")
    assert found.bad == ["4 (1x1: a side is under 2 pixels)", "5 (1x4000: a side is under 2 pixels)"]


def test_row_13_constant_pictures_are_counted() -> None:
    almost = np.full((40, 40, 3), 90, np.uint8)
    almost[::2] += 3
    dot = np.full((40, 40, 3), 255, np.uint8)
    dot[20:24, 20:24] = 0
    found = checked(np.zeros((40, 40), np.uint8), almost, dot, noise())
    assert said(found, "of one colour").items == ("0", "1")
    assert said(found, "of one colour").text.startswith("2 ")
    assert [found.small[i] is None for i in "0123"] == [True, True, True, False]


def test_row_13_exact_copies_inside_a_class_and_under_two_labels(tmp_path: Path) -> None:
    rows = [
        Row(packed(noise()), "a", "1"), Row(packed(noise(), "BMP"), "a", "2"), Row(noise(), "a", "3"),
        Row(np.asarray(noise()), "b", "4"), Row(packed(noise(1)), "b", "5"),
    ]  # fmt: skip
    found = check({"train": rows, "test": [Row(noise(1), "b", "6")]}, Recipe(), {}, None)
    copies = said(found, "copies of another picture of their class")
    assert (copies.text[:2], copies.items) == ("2 ", ("1 = 2", "1 = 3"))
    assert said(found, "another label").items == ("1 (a) = 4 (b)",)
    assert found.samples["train"][4].digest == found.samples["test"][0].digest  # across parts: told elsewhere


# --- rows 19 and 20, and sources that need more


def test_row_19_channels_must_agree_and_two_files_are_named(tmp_path: Path) -> None:
    five = np.random.default_rng(0).integers(0, 256, (40, 40, 5), dtype=np.uint8)
    grey = np.zeros((40, 40), np.uint8)
    with pytest.raises(DataError, match=r"^0 has 3 channels, 2 has 5: pictures of one data set"):
        checked(noise(), grey, five)
    found = checked(five, five[::-1])
    assert found.schema["channels"] == 5
    assert (opened(found.samples["all"][1].x) == five[::-1]).all()
    later = checked(noise(), five, schema=found.schema)
    assert (ids(later), later.bad) == (["1"], ["0 (has 3 channels, 5 are expected)"])
    assert checked(five, noise(), schema={"channels": 3}).bad == ["0 (has 5 channels, 3 are expected)"]


def test_row_19_modes_and_sizes_become_one(tmp_path: Path) -> None:
    kinds = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"]
    found = checked(*(cloud(i, 40 + i, 50).convert(mode) for i, mode in enumerate(kinds)))
    assert not found.bad
    assert {opened(s.x).mode for s in found.samples["all"]} == {"RGB"}


def test_row_20_colour_profiles_are_said() -> None:
    wide = bytes(16) + b"RGB " + b"Display P3".ljust(120)
    found = checked(packed(noise(), icc_profile=wide), packed(noise(1), icc_profile=wide + b"sRGB"))
    assert (said(found, "colour profile").kind, said(found, "colour profile").items) == ("warning", ("0",))


@pytest.mark.parametrize("name", ["a.heic", "a.avif"])
def test_row_20_heic_and_avif_are_read_with_the_extra_or_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    if name == "a.heic":
        heif.from_pillow(cloud(0)).save(tmp_path / name, quality=90)
    else:
        cloud(0).save(tmp_path / name, quality=90)
    found = checked(tmp_path / name)
    assert not found.bad and not found.notes
    assert np.abs(np.asarray(opened(found.samples["all"][0].x)).astype(int) - np.asarray(cloud(0))).mean() < 5
    whole = (tmp_path / name).read_bytes()
    assert len(checked(saved(tmp_path / f"cut{name}", whole[: len(whole) * 2 // 3])).bad) == 1
    monkeypatch.setattr("graft._formats.readable", lambda kind: kind not in ("HEIC", "AVIF"))
    (bad,) = checked(tmp_path / name).bad
    assert "pip install 'graft-learn[heic]'" in bad


# --- DICOM


def dicom(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """A DICOM file of 12 stored bits; `pixels` [height, width] or [frames, height, width], or [.., .., 3] bytes."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    colour = pixels.shape[-1] == 3
    frames = pixels.shape[0] if pixels.ndim == 3 and not colour else None
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    data.BitsAllocated, data.BitsStored, data.HighBit = (8, 8, 7) if colour else (16, 12, 11)
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if colour:
        data.PlanarConfiguration = 0
    if frames:
        data.NumberOfFrames = frames
    data.PatientName, data.PatientID = "Mustermann^Erika", "SECRET-4711"
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


RAMP = np.linspace(0, 4095, 48 * 40).astype(np.uint16).reshape(40, 48)
SHADES = RAMP * (255 / 4095)  # what it looks like in eight bits


def grey_of(path: Path, **how: Any) -> np.ndarray:
    image = np.asarray(open_picture(PictureFile(path, **how))).astype(int)
    assert (image[..., :1] == image).all()
    return image[..., 0]


def test_dicom_without_a_window_is_scaled_by_its_stored_bits(tmp_path: Path) -> None:
    found = checked(dicom(tmp_path / "a.dcm", RAMP), dicom(tmp_path / "b.dcm", RAMP // 2))
    assert np.abs(grey_of(tmp_path / "a.dcm") - SHADES).max() <= 0.5
    assert grey_of(tmp_path / "b.dcm").max() == 127  # not stretched: one grey level means one value in all files
    assert said(found, "name no window").items == ("a.dcm", "b.dcm")
    assert found.samples["all"][0].x == tmp_path / "a.dcm"
    assert found.schema["white"] is None


def test_dicom_window_applies_to_rescaled_values(tmp_path: Path) -> None:
    """Hounsfield units: stored value - 1024; a window of 400 around 40 shows -160 to 240 (PS3.3 C.11.2.1.2)."""
    window = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    path = dicom(tmp_path / "a.dcm", RAMP, **window)
    units = RAMP.astype(float) - 1024
    want = np.clip((units - 39.5) / 399 + 0.5, 0, 1) * 255
    assert np.abs(grey_of(path) - want).max() <= 0.5
    several = dicom(tmp_path / "b.dcm", RAMP, **{**window, "WindowCenter": [40, 500], "WindowWidth": [400, 2000]})
    assert (grey_of(several) == grey_of(path)).all()
    assert not checked(path).notes
    signed = dicom(tmp_path / "c.dcm", RAMP.astype(np.int16) - 2048, WindowCenter=0, WindowWidth=4096)
    assert np.abs(grey_of(signed) - SHADES).max() <= 1


def test_dicom_monochrome1_is_inverted_and_colour_stays(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(grey_of(path) - (255 - SHADES)).max() <= 0.5
    colours = np.asarray(noise())
    assert (np.asarray(open_picture(dicom(tmp_path / "b.dcm", colours))) == colours).all()


def test_dicom_frames_follow_the_rule_for_pages(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]]))
    first = checked(path)
    assert said(first, "several pages").items == ("a.dcm: first of 3 frames",)
    found = checked(path, asked=ALL)
    assert ids(found) == ["a.dcm#1", "a.dcm#2", "a.dcm#3"]
    assert (np.asarray(opened(found.samples["all"][1].x))[..., 0] == grey_of(path)[::-1]).all()
    with pytest.raises(BadPicture, match="has 3 frames, no number 4"):
        open_picture(PictureFile(path, frame=3))


def test_dicom_is_known_by_its_content(tmp_path: Path) -> None:
    path = dicom(tmp_path / "IM0001", RAMP)
    assert checked(path).bad == []
    named = saved(tmp_path / "a.png", path.read_bytes())
    assert said(checked(named), "another picture format").items == ("a.png: is DICOM, named .png",)
    assert "is none of" in checked(saved(tmp_path / "b.dcm", bytes(400))).bad[0]


def test_dicom_messages_say_nothing_of_the_patient(tmp_path: Path) -> None:
    whole = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=0, WindowWidth=0).read_bytes()
    patient = (b"Mustermann", b"SECRET", b"4711", b"Erika")
    assert all(word in whole for word in patient)
    broken = [whole, whole.replace(b"MONOCHROME2 ", b"MONOCHROME9 "), *(whole[:n] for n in range(140, len(whole), 97))]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = checked(*broken)
    assert len(found.bad) > 20
    everything = " ".join([*found.bad, *(n.text for n in found.notes), *(str(w.message) for w in heard)])
    assert not [word for word in patient if word.decode() in everything]


def test_dicom_that_needs_a_plugin_names_it(tmp_path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("libjpeg") is not None:
        pytest.skip("pylibjpeg-libjpeg is installed")
    whole = dicom(tmp_path / "a.dcm", RAMP).read_bytes()
    little = b"1.2.840.10008.1.2.1\0"
    assert whole.count(little) == 1
    lossless = whole.replace(b"UI\x14\0" + little, b"UI\x16\0" + b"1.2.840.10008.1.2.4.70")
    at = lossless.index(b"UL\x04\0") + 4
    length = int.from_bytes(lossless[at : at + 4], "little") + 2
    lossless = lossless[:at] + length.to_bytes(4, "little") + lossless[at + 4 :]
    (bad,) = checked(saved(tmp_path / "b.dcm", lossless)).bad
    assert bad.startswith("b.dcm (JPEG Lossless")
    assert "pip install pylibjpeg pylibjpeg-libjpeg" in bad


def test_dicom_without_the_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.dcm", bytes(128) + b"DICM" + bytes(50))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(SetupError, match=r"graft-learn\[dicom\]"):
        checked(path)


@pytest.mark.parametrize("kind", ["bands", "dicom", "heic"])
def test_flipped_bytes_in_formats_of_extras_end_in_a_picture_or_a_reason(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "dicom":
        dicom(path, RAMP[:6, :7], WindowCenter=40, WindowWidth=400)
    elif kind == "bands":
        tifffile = pytest.importorskip("tifffile", reason="needs the extra bands")
        five = np.zeros((6, 7, 5), np.uint8)
        tifffile.imwrite(path, five, planarconfig="contig", photometric="minisblack")
    else:
        heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
        heif.from_pillow(cloud(0, 64, 64)).save(path, format="HEIF")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 700), 1 + i % 3):
            damaged[at] ^= int(rng.integers(1, 256))
        rows.append(Row(bytes(damaged), "a", str(i)))
    for row in rows:
        try:
            found = check({"all": [row]}, Recipe(), {}, None)
        except SecurityError:
            continue
        assert len(found.bad) + len(ids(found)) == 1


# --- the pass itself


def test_every_kind_of_source_gives_one_digest_and_opens_alike(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), packed(noise(), "TIFF"), noise(), np.asarray(noise())]
    found = checked(*kinds)
    assert len({s.digest for s in found.samples["all"]}) == 1
    assert len(set(found.small.values())) == 1
    for sample in found.samples["all"]:
        assert (np.asarray(opened(sample.x)) == np.asarray(noise())).all()
    assert [type(s.x).__name__ for s in found.samples["all"]] == ["PosixPath"] * 2 + ["PictureFile"] * 3


def test_parts_order_labels_and_ticks(tmp_path: Path) -> None:
    rows = {
        part: [Row(packed(noise(100 * k + i, 33, 33)), "ab"[i % 2], f"{part}{i}", "g", "d", i) for i in range(9)]
        for k, part in enumerate(("train", "test"))
    }
    rows["train"][4] = Row(b"", "c", "train4")
    ticks: list[int] = []
    found = check(rows, Recipe(), {"text": "kept"}, ticks.append)
    assert [s.id for s in found.samples["train"]] == [f"train{i}" for i in range(9) if i != 4]
    assert [s.y for s in found.samples["test"]] == ["ab"[i % 2] for i in range(9)]
    assert {(s.group, s.domain) for s in found.samples["test"]} == {("g", "d")}
    assert [s.time for s in found.samples["test"]] == list(range(9))
    assert ticks == [1] * 18
    assert found.schema == {"text": "kept", "channels": 3, "white": None, "frames": "first"}
    assert said(found, "classes in train").items == ("c",)
    assert list(found.small) == [s.id for part in found.samples.values() for s in part]
    numbers = [Row(packed(noise(i)) if i else b"", f"{i}.5", str(i)) for i in range(5)]
    assert not check({"all": numbers}, Recipe(), {}, None).notes  # a number that is gone is no class that is lost


def test_a_file_that_many_rows_name_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.png")
    seen: list[object] = []
    inner = pictures.look

    def counted(source: Any) -> pictures.Look:
        seen.append(source)
        return inner(source)

    monkeypatch.setattr(pictures, "look", counted)
    rows = [Row(tmp_path / "a.png", y, f"row {i}") for i, y in enumerate("abca")]
    found = check({"all": rows}, Recipe(), {}, None)
    assert len(seen) == 1
    assert [(s.id, s.y) for s in found.samples["all"]] == [(f"row {i}", y) for i, y in enumerate("abca")]


def test_a_stop_leaves_no_threads() -> None:
    before = threading.active_count()

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check({"all": [Row(packed(noise(i)), "a", str(i)) for i in range(50)]}, Recipe(), {}, stop)
    assert threading.active_count() == before


@pytest.mark.slow
def test_memory_is_of_the_index_alone(tmp_path: Path) -> None:
    """20,000 pictures of 300 kB of pixels each: 6 GB pass through, and a few kB a picture stay."""
    cloud(0, 320, 320).save(tmp_path / "a.jpg")
    code = f"""if True:
        import resource
        from pathlib import Path
        from graft.readers import Row
        from graft.readers.checks import check
        from graft.recipe import Recipe
        whole = Path({str(tmp_path / "a.jpg")!r}).read_bytes()
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        check({{"all": [Row(whole, "a", str(i)) for i in range(1000)]}}, Recipe(), {{}}, None)
        small = peak()
        check({{"all": [Row(whole, "a", str(i)) for i in range(20000)]}}, Recipe(), {{}}, None)
        print(peak() - small)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100
