"""Files are whole or absent, JSON is strict, and no name leads out of its folder."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft import files
from graft.errors import DataError, SecurityError, SetupError

SOURCE = str(Path(files.__file__).parents[1])
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fault is made with Linux means")


def child(code: str, *args: object) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    ).stdout


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


# Whole files


def test_write_whole_writes_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)  # as long as a name can be
    files.write_whole(path, "Grüße\r\n")
    assert path.read_bytes() == "Grüße\r\n".encode()
    files.write_whole(path, b"\0new")
    assert path.read_bytes() == b"\0new"
    assert names(tmp_path) == {path.name}


@linux
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")
    out = child(
        """
        import resource, signal, sys
        from pathlib import Path
        from graft import errors, files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            files.write_whole(Path(sys.argv[1]), b"x" * 5000)
        except errors.SetupError as e:
            print(e)
        """,
        tmp_path / "a.bin",
    )
    assert f"could not write {tmp_path / 'a.bin'}: File too large" in out
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert names(tmp_path) == {"a.bin"}


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS", "EACCES", "EIO"])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_every_refusal_of_the_system_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, call: str
) -> None:
    path, code = tmp_path / "a.txt", getattr(errno, number)
    path.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(SetupError) as e:
        files.write_whole(path, "new")
    monkeypatch.undo()
    assert str(path) in str(e.value) and os.strerror(code) in str(e.value)
    assert path.read_text() == "old" and names(tmp_path) == {"a.txt"}


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(tmp_path / "a", "new")
    assert names(tmp_path) == set()


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"z": [1, 2.5, None, True], "a": "猫 \ud800 \\ud800 <&>", "big": 2**70}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert list(files.read_json(tmp_path / "a.json")) == ["z", "a", "big"]
    assert "猫" in (tmp_path / "a.json").read_text("utf-8")
    for bad in (float("nan"), float("inf"), {"x": [-float("inf")]}):
        with pytest.raises(ValueError):
            files.write_json(tmp_path / "a.json", bad)
    assert files.read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}', "[NaN]", "[Infinity]", "[1e999]", "[" * 100_000],
)
def test_malformed_json_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match=r"bad\.json is not valid JSON"):
        files.read_json(tmp_path / "bad.json")


def test_unreadable_json_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match=r"bad\.json"):
        files.read_json(tmp_path / "bad.json")
    with pytest.raises(DataError, match=r"gone\.json is missing"):
        files.read_json(tmp_path / "gone.json")
    with pytest.raises(SetupError, match=tmp_path.name):
        files.read_json(tmp_path)
    with pytest.raises(SetupError, match="gone"):
        files.sha256(tmp_path / "gone")


# Manifests


def test_manifest_finds_every_change(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.bin", "sub/ü b.bin", "manifest.json", "sub/manifest.json", "e"):
        (tmp_path / name).write_bytes(b"" if name == "e" else b"0123456789")
    listed = files.manifest(tmp_path)
    assert list(listed) == ["a.bin", "e", "sub/manifest.json", "sub/ü b.bin"]
    assert listed["a.bin"]["bytes"] == 10 and files.verify(tmp_path, listed) == []
    assert files.manifest(tmp_path, ["e"]) == {"e": listed["e"]}

    (tmp_path / "a.bin").write_bytes(b"0123456780")
    assert files.verify(tmp_path, listed) == ["a.bin: changed"]
    (tmp_path / "a.bin").write_bytes(b"012345678")
    (tmp_path / "e").write_bytes(b"1")
    (tmp_path / "sub/ü b.bin").unlink()
    assert files.verify(tmp_path, listed) == ["a.bin: too short", "e: too long", "sub/ü b.bin: missing"]
    (tmp_path / "e").unlink()
    os.mkfifo(tmp_path / "e") if hasattr(os, "mkfifo") else (tmp_path / "e").mkdir()
    assert files.verify(tmp_path, {"e": listed["e"]}) == ["e: not a file"]
    with pytest.raises(SetupError, match="not a file"):
        files.manifest(tmp_path)
    assert files.verify(tmp_path, {"a.bin": {"sha": 1}}) == ["a.bin: not described in the manifest"]
    with pytest.raises(SecurityError):
        files.verify(tmp_path, {"../a.bin": listed["a.bin"]})


def test_manifest_refuses_links_that_lead_out(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(SecurityError, match="link"):
        files.manifest(tmp_path / "run")


# Names


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "./",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "/etc/passwd",
        "\\x",
        "..\\..\\x",
        "a\0b",
        "out",
        "out/x",
        "loop",
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(SecurityError, match="refused"):
        files.inside(root, name)


def test_names_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "rel").symlink_to("a")
    assert files.inside(tmp_path, "a/b..c") == tmp_path / "a" / "b..c"
    assert files.inside(tmp_path, "link/x") == tmp_path / "a" / "x"
    assert files.inside(tmp_path / "rel", "x") == tmp_path / "a" / "x"


HOSTILE = [
    *(
        "../../x",
        "..",
        ".",
        "",
        " ",
        "con",
        "CON.txt",
        "nul",
        "com1",
        "LPT9.tar.gz",
        "com¹",
        "a/b",
        "a\\b",
        "a b",
    ),
    *(
        "a_b",
        "x" * 300,
        "猫" * 300,
        "👍",
        "👍👍",
        "a\0b",
        "\ud800",
        "-rf",
        ".hidden",
        "trailing.",
        "cafe\u0301",
    ),
    *("a_b-0123abcd", "con.", "..con", "_", "___", "con" + "." * 90 + "x", "a\n", "a:b", "=cmd()"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_slugs_of_hostile_names_are_files_right_here(tmp_path: Path, name: str) -> None:
    slug = files.slug(name)
    assert slug != name or name in ("a_b", "_", "___")
    files.write_whole(tmp_path / f"{slug}.safetensors", "")
    assert names(tmp_path) == {f"{slug}.safetensors"}


def test_slugs_differ_and_plain_names_stay() -> None:
    assert len({files.slug(n) for n in HOSTILE}) == len(HOSTILE)
    for plain in ("model", "optim", "a-b_c.d", "Café", "猫", "007", "x" * 80):
        assert files.slug(plain) == plain
    assert files.slug("cafe\u0301").startswith("café-")
    assert files.slug("../../x").endswith(hashlib.sha256(b"../../x").hexdigest()[:8])


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(st.characters()))
def test_any_slug_is_a_safe_name(name: str) -> None:
    slug = files.slug(name)
    assert 0 < len(slug) <= 80 and len(slug.encode()) <= 160
    assert slug[0] not in ".-" and slug[-1] != "." and not files.RESERVED.fullmatch(slug)
    assert all(c.isalnum() or c in "._-" for c in slug)
    assert slug == name or files.SUFFIXED.fullmatch(slug)


def test_free_space_of_a_folder_to_come(tmp_path: Path) -> None:
    assert files.free_space(tmp_path / "not" / "yet") > 0
