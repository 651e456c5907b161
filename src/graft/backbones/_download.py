"""Bytes of an address into a file: going on where an earlier attempt was cut, checked, and whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.errors import DataError, SetupError
from graft.files import sha256

PROBE_SECONDS = 3.0  # for a first answer
WAIT_SECONDS = 20.0  # without a byte, before an attempt counts as failed
ATTEMPTS = 4  # in a row that bring nothing new
PAUSE_SECONDS = 0.5  # between attempts, growing
HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)
_CHUNK = 1 << 20
_NONE: Mapping[str, str] = {}


def probe(address: str) -> str:
    """Why nothing can be had from an address, or "" where it answers; three seconds at most."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "HF_HUB_OFFLINE is set"
    try:
        # An answer is waited for: a connection alone also comes about with a server that never says a word.
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return ""
    except urllib.error.HTTPError as e:
        e.close()
        return ""  # an answer, whatever it is
    except (OSError, ValueError, http.client.HTTPException) as e:  # ValueError: no address at all
        reason = getattr(e, "reason", e)
        return "" if isinstance(reason, ssl.SSLError) else f"{address} cannot be reached ({reason})"


def megabytes(size: int) -> str:
    """A size in bytes as MB, or kB below one."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def matches(path: Path, digest: str) -> bool:
    """Whether a file has this SHA-256 (64 digits, or the first of them), or this git object name (40)."""
    if len(digest) == 40:
        h = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        h.update(path.read_bytes())
        return h.hexdigest() == digest
    return bool(digest) and sha256(path).startswith(digest)


def download(
    address: str, target: Path, digest: str, size: int | None, what: str, headers: Mapping[str, str] = _NONE
) -> None:
    """Fetch an address into a file, checked by `digest` as `matches` reads it; `what` names it in messages.

    Raises DataError (and deletes what came) where the bytes are others, SetupError where a page came instead;
    OSError and http.client.HTTPException where the network fails: what came is then kept for the next time.
    """
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{digest[:16]}.part")
    with FileLock(f"{partial}.lock"):
        if target.is_file() and matches(target, digest):  # another process was quicker
            return
        _collect(address, partial, size, headers)
        if matches(partial, digest):
            os.replace(partial, target)
            return
        with partial.open("rb") as file:
            head, got = file.read(200), partial.stat().st_size
        partial.unlink()
    if HTML.match(head):
        raise SetupError(f"{what}: a page came instead of the file: a proxy or a login stands between; nothing is kept")
    raise DataError(
        f"{what}: {got} bytes came that are not the file (its hash begins {digest[:12]}); nothing of it was kept or "
        "read. Run the command again; if it stays so, the server or something before it changes files"
    )


def announced(address: str, what: str, headers: Mapping[str, str] = _NONE) -> tuple[int | None, str]:
    """(size, hash) that a hub's HEAD tells of a file (X-Linked-Size, X-Linked-Etag); raises SetupError without."""
    request = urllib.request.Request(address, headers={"User-Agent": "graft", **headers}, method="HEAD")
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=WAIT_SECONDS) as answer:
            said = answer.headers
    except urllib.error.HTTPError as e:
        e.close()
        said = e.headers if e.code in (301, 302, 303, 307, 308) else {}
    tag = str(said.get("X-Linked-Etag") or said.get("ETag") or "").removeprefix("W/").strip('"')
    size = said.get("X-Linked-Size") or said.get("Content-Length")
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", tag):
        raise SetupError(f"{what}: the server tells no hash of it, so it is not fetched")
    return (int(size) if size and str(size).isdigit() else None), tag


def copy_whole(source: Path, target: Path) -> None:
    """A copy that is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.with_name(f".{target.name}.{os.getpid()}.copy")
    try:
        shutil.copyfile(source, temp)
        os.replace(temp, target)
    finally:
        temp.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _collect(address: str, partial: Path, size: int | None, headers: Mapping[str, str]) -> None:
    """Append to `partial` until the server has no more, over several connections where they break."""
    failed = 0
    while True:
        before = _size(partial)
        try:
            if _append(address, partial, size, headers):
                return
            raise ConnectionError(f"cut after {_size(partial)} bytes" + (f" of {size}" if size else ""))
        except urllib.error.HTTPError as e:
            if e.code == 416 and before:  # there is nothing after what we have
                e.close()
                return
            raise
        except (OSError, http.client.HTTPException):
            failed = 0 if _size(partial) > before else failed + 1
            if failed >= ATTEMPTS:
                raise
            time.sleep(PAUSE_SECONDS * failed)


def _append(address: str, partial: Path, size: int | None, headers: Mapping[str, str]) -> bool:
    """The bytes of one connection from where `partial` ends; whether the answer ended as it announced."""
    start = _size(partial)
    with connect(address, {**headers, **({"Range": f"bytes={start}-"} if start else {})}) as answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        with partial.open("ab" if start and goes_on else "wb") as file:
            while chunk := answer.read1(_CHUNK):
                file.write(chunk)
                if size is not None and file.tell() > size:  # not the file, and perhaps without end
                    return True
        announced: int | None = answer.length  # what is still to come; None where the server did not say
        return announced == 0 or (announced is None and (size is None or _size(partial) >= size))


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts, as hubs do, without the token."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
        return new


class _Stay(urllib.request.HTTPRedirectHandler):
    """Does not follow: the hash stands in the hub's own answer, not in that of the store behind it."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


def connect(address: str, headers: Mapping[str, str] = _NONE) -> Any:
    """An open answer to a GET; raises OSError (urllib's errors among them) where there is none."""
    request = urllib.request.Request(address, headers={"User-Agent": "graft", **headers})
    return urllib.request.build_opener(_Redirect).open(request, timeout=WAIT_SECONDS)
