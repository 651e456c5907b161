"""The Hugging Face hub: one short probe, then downloads pinned to a commit or nothing; never a hang, never a pickle.

What is fetched is said before it starts, goes on where it was cut, and is checked against the hub's own hashes
(SHA-256 for weights, the git object name for small files) before it takes its name. The hub's client library drops
a partial file when its process ends, so the bytes are fetched here; its cache is read, and its token used.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from graft.backbones._download import HTML, announced, connect, copy_whole, download, matches, megabytes, probe
from graft.errors import DataError, GraftError, SecurityError, SetupError, UsageError, some
from graft.files import free_space, read_json, sha256, write_json

WEIGHTS = "model.safetensors"
PICKLED = re.compile(r"(pytorch_model.*\.bin|.*\.(pt|pth|ckpt|pkl|pickle|h5|msgpack))$")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


say: Callable[[str], None] = _print
"""Hears of every download before it starts: what, from where, how large. Replace it to send this elsewhere."""


@dataclass(frozen=True)
class Fetched:
    """Checked files of one commit of a repository; `sha256` by file name, `license` and `datasets` as its card says."""

    folder: Path
    repo: str
    commit: str
    sha256: dict[str, str] = field(default_factory=dict)
    license: str = "unknown"
    datasets: tuple[str, ...] = ()

    def origin(self) -> dict[str, str]:
        """Where the weights came from, for a description: repo, commit, sha256."""
        return {"repo": self.repo, "commit": self.commit, "sha256": self.sha256.get(WEIGHTS, "")}


@dataclass(frozen=True)
class _File:
    name: str
    size: int | None
    digest: str  # SHA-256, or the git object name of a small file (40 digits)


def endpoint() -> str:
    """Where the hub is: `HF_ENDPOINT`, else the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


@cache
def reachable() -> str:
    """Why the hub cannot be reached, or "" where it can; asked once a process, in three seconds at most."""
    return probe(endpoint())


def split(name: str) -> tuple[str, str | None]:
    """`OWNER/NAME@REVISION` -> (repository, revision or None). Raises UsageError."""
    repo, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo) or ".." in repo or (revision and not _clean(revision)):
        raise UsageError(f"{name!r}: write OWNER/NAME or OWNER/NAME@REVISION, as the hub's address has it")
    return repo, revision or None


def _clean(revision: str) -> bool:
    return re.fullmatch(r"[\w./-]+", revision) is not None and ".." not in revision


# ------------------------------------------------------------------------------- what is here already


def _home(repo: str) -> Path:
    from graft.features import cache_folder

    try:
        return cache_folder() / "hub" / repo.replace("/", "--")
    except OSError as e:
        raise SetupError(f"{repo}: the cache cannot be made ({e}); set GRAFT_CACHE to a folder to write in") from e


def cached(repo: str, file: str, revision: str | None = None) -> Path | None:
    """A file of a repository that an earlier download, of graft or the hub's own client, left on this machine."""
    from huggingface_hub import try_to_load_from_cache

    try:
        commit = revision if revision and _COMMIT.fullmatch(revision) else _noted(repo, revision)
        own = _home(repo) / commit / file if commit else None
    except SetupError:
        own = None
    if own is not None and own.is_file():
        return own
    found = try_to_load_from_cache(repo, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def cached_models() -> list[str]:
    """Repositories with safetensors on this machine, by name, sorted."""
    from huggingface_hub import constants

    found = set()
    folders = [(Path(constants.HF_HUB_CACHE), "models--*", f"snapshots/*/{WEIGHTS}")]
    with contextlib.suppress(SetupError):
        folders.append((_home("x").parent, "*", f"*/{WEIGHTS}"))
    for root, names, weights in folders:
        for folder in root.glob(names):
            if any(folder.glob(weights)):
                found.add(folder.name.removeprefix("models--").replace("--", "/", 1))
    return sorted(found)


def _noted(repo: str, revision: str | None) -> str | None:
    """The commit a branch or tag stood at when it was last fetched."""
    try:
        refs = read_json(_home(repo) / "refs.json")
        commit = refs.get(revision or "main")
    except (GraftError, AttributeError):
        return None
    return commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else None


def _here(
    repo: str, revision: str | None, files: Sequence[str], optional: Sequence[str], strict: bool
) -> Fetched | None:
    """What is on this machine; `strict` asks that of each optional file too it is known whether there is one."""
    commit = revision if revision and _COMMIT.fullmatch(revision) else _noted(repo, revision)
    own = _own(repo, commit, files, optional if strict else ()) if commit else None
    return own or _others(repo, revision, files, optional if strict else ())


def _own(repo: str, commit: str, files: Sequence[str], optional: Sequence[str]) -> Fetched | None:
    """An earlier download of graft's own, if it is whole and unchanged."""
    folder = _home(repo) / commit
    note = _note(folder)
    digests = note["sha256"]
    if not all(n in digests for n in files) or not all(n in digests or n in note["absent"] for n in optional):
        return None
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file() or sha256(file) != digest:
            file.unlink(missing_ok=True)
            say(f"{file}: changed since it was downloaded, so it is not used")
            return None
    return Fetched(folder, repo, commit, digests, note["license"], tuple(note["datasets"]))


def _note(folder: Path) -> dict[str, Any]:
    """What is written beside a download: hashes, files the repository has not, licence, source data."""
    empty: dict[str, Any] = {"sha256": {}, "absent": [], "license": "unknown", "datasets": []}
    try:
        raw = read_json(folder / "fetched.json")
    except GraftError:
        return empty
    fits = isinstance(raw, dict) and all(isinstance(raw.get(k), type(v)) for k, v in empty.items())
    return raw if fits else empty


def _others(repo: str, revision: str | None, files: Sequence[str], optional: Sequence[str]) -> Fetched | None:
    """What the hub's own client left in its cache, where the weights still have the hash they are filed under."""
    from huggingface_hub import try_to_load_from_cache

    found = {n: try_to_load_from_cache(repo, n, revision=revision) for n in (*files, *optional)}
    if not all(isinstance(found[n], str) for n in files) or any(found[n] is None for n in optional):
        return None
    paths = {n: Path(p) for n, p in found.items() if isinstance(p, str)}
    digests = {n: sha256(p) for n, p in paths.items()}
    for name, path in paths.items():
        filed = path.resolve().name
        if re.fullmatch(r"[0-9a-f]{64}", filed) and filed != digests[name]:
            say(f"{path}: not what it was when it was downloaded (SHA-256), so it is not used")
            return None
    folder = paths[files[0]].parent
    return Fetched(folder, repo, folder.name, digests)


# --------------------------------------------------------------------------------------------- fetching


def fetch(
    repo: str,
    files: Sequence[str],
    optional: Sequence[str] = (),
    revision: str | None = None,
    check: Callable[[Path], object] | None = None,
) -> Fetched:
    """Files of a hub repository at one commit, from this machine or downloaded; small ones first.

    `check` sees the first of the files before the rest is fetched, and may raise. A branch (or none: main) that
    was fetched before means the commit it stood at then. Raises SetupError without network, access or room,
    DataError where the repository or a file is not there or is not what the hub says it is, UsageError for an
    unknown revision, SecurityError where the repository has code, or weights as pickles alone.
    """
    found = _here(repo, revision, files, optional, strict=True)
    if found is not None:
        return found
    why = reachable()
    if why:
        found = _here(repo, revision, files, optional, strict=False)
        if found is None:
            raise SetupError(_offline(repo, revision, why))
        return found
    info = _info(repo, revision)
    commit, listed = str(info["sha"]), _listing(repo, info)
    _refuse(repo, listed, files)
    names = (*files[:1], *[o for o in optional if o in listed], *files[1:])
    wanted = [_told(repo, commit, listed[n]) for n in names]
    folder = _home(repo) / commit
    here = {w.name: _at_hand(repo, commit, w, folder) for w in wanted}
    _announce(repo, commit, [w for w in wanted if here[w.name] is None], folder)
    for i, file in enumerate(wanted):
        _one(repo, commit, file, folder / file.name, here[file.name])
        if i == 0 and check is not None:
            check(folder / file.name)
    note = _noting(folder, info, [w.name for w in wanted], [o for o in optional if o not in listed])
    if not (revision and _COMMIT.fullmatch(revision)):
        _note_ref(repo, revision or "main", commit)
    return Fetched(folder, repo, commit, note["sha256"], note["license"], tuple(note["datasets"]))


def _noting(folder: Path, info: dict[str, Any], names: Sequence[str], absent: Sequence[str]) -> dict[str, Any]:
    before = _note(folder)
    card = info.get("cardData")
    about = card if isinstance(card, dict) else {}
    data = about.get("datasets") or []
    note: dict[str, Any] = {
        "sha256": {**before["sha256"], **{n: sha256(folder / n) for n in names}},
        "absent": sorted({*before["absent"], *absent}),
        "license": str(about.get("license") or "unknown"),
        "datasets": [str(d) for d in (data if isinstance(data, list) else [data])],
    }
    write_json(folder / "fetched.json", note)
    return note


def _note_ref(repo: str, revision: str, commit: str) -> None:
    file = _home(repo) / "refs.json"
    refs = read_json(file) if file.is_file() else {}
    write_json(file, {**(refs if isinstance(refs, dict) else {}), revision: commit})


def _offline(repo: str, revision: str | None, why: str) -> str:
    at = f" --revision {revision}" if revision else ""
    here = cached_models()
    have = f" On this machine: {some(here, 8)}." if here else " No hub model is on this machine."
    return (
        f"{repo}: not on this machine, and no network: {why}.{have} Elsewhere run: hf download {repo}{at} "
        "--include '*.json' --include '*.safetensors' --local-dir FOLDER, then copy the folder and use "
        "--backbone local:FOLDER"
    )


def _info(repo: str, revision: str | None) -> dict[str, Any]:
    """What the hub says of a repository: commit (`sha`), files with sizes and hashes (`siblings`), card."""
    path = f"/api/models/{repo}/revision/{urllib.parse.quote(revision or 'main', safe='')}?blobs=true"
    try:
        with connect(endpoint() + path, _token()) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as e:
        raise _failed(repo, revision, e) from e
    try:
        info = json.loads(content)
        if not _COMMIT.fullmatch(info["sha"]) or not isinstance(info["siblings"], list):
            raise ValueError("no commit")
    except (ValueError, KeyError, TypeError) as e:
        page = " but with a page: a proxy or a login stands between" if HTML.match(content) else ""
        raise SetupError(f"{repo}: {endpoint()} does not answer as a hub does{page}; check HF_ENDPOINT") from e
    return dict(info)


def _listing(repo: str, info: dict[str, Any]) -> dict[str, _File]:
    found = {}
    for entry in info["siblings"]:
        name, lfs = str(entry["rfilename"]), entry.get("lfs") or {}
        size = lfs.get("size", entry.get("size"))
        found[name] = _File(name, size, str(lfs.get("sha256") or lfs.get("oid") or entry.get("blobId") or ""))
    return found


def _refuse(repo: str, listed: dict[str, _File], files: Sequence[str]) -> None:
    scripts = sorted(n for n in listed if n.endswith(".py"))
    if scripts:
        raise SecurityError(
            f"{repo}: brings Python files ({some(scripts)}), so its weights may need code of its own; graft runs none. "
            "If they are not needed, copy the other files into a folder and use --backbone local:FOLDER"
        )
    missing = [n for n in files if n not in listed]
    pickles = sorted(n for n in listed if PICKLED.match(n))
    if WEIGHTS in missing and pickles:
        raise SecurityError(
            f"{repo}: has its weights as {some(pickles)} alone, which may run code when read, and is refused; "
            f"a {WEIGHTS} is needed. Often another revision has one: see {endpoint()}/{repo}/discussions"
        )
    if f"{WEIGHTS}.index.json" in listed and WEIGHTS in missing:
        raise DataError(f"{repo}: its weights are split into several files; graft takes models of one {WEIGHTS}")
    if missing:
        raise DataError(f"{repo}: has no {some(missing)}; graft takes timm's and transformers' folder formats")


def _announce(repo: str, commit: str, files: Sequence[_File], folder: Path) -> None:
    total = sum(f.size or 0 for f in files)
    if files:
        names = some((f.name for f in files), 4)
        say(f"downloading {repo} at commit {commit[:12]} from {endpoint()}: {names}; {megabytes(total)}, into {folder}")
    if free_space(folder) < total:
        raise SetupError(f"{repo}: {megabytes(total)} are needed and {folder} has no room for them; set GRAFT_CACHE")


def _address(repo: str, commit: str, name: str) -> str:
    return f"{endpoint()}/{repo}/resolve/{commit}/{urllib.parse.quote(name)}"


def _told(repo: str, commit: str, file: _File) -> _File:
    """The file with its size and hash, asked for where a mirror's listing has none."""
    if file.digest:
        return file
    return _File(file.name, *announced(_address(repo, commit, file.name), f"{repo}/{file.name}", _token()))


def _at_hand(repo: str, commit: str, file: _File, folder: Path) -> Path | None:
    """A whole copy of the file on this machine, ours or of the hub's own client."""
    from huggingface_hub import try_to_load_from_cache

    other = try_to_load_from_cache(repo, file.name, revision=commit)
    places = [folder / file.name, *([Path(other)] if isinstance(other, str) else [])]
    return next((p for p in places if p.is_file() and matches(p, file.digest)), None)


def _one(repo: str, commit: str, file: _File, target: Path, here: Path | None) -> None:
    """One file at its place, checked."""
    if here is not None:
        if here != target:
            copy_whole(here, target)
        return
    try:
        address = _address(repo, commit, file.name)
        download(address, target, file.digest, file.size, f"{repo}/{file.name}", _token())
    except (OSError, http.client.HTTPException) as e:
        raise _failed(f"{repo}/{file.name}", commit, e) from e


def _token() -> dict[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _failed(what: str, revision: str | None, error: Exception) -> GraftError:
    """What a failed request means, and what to do about it."""
    if not isinstance(error, urllib.error.HTTPError):
        reason = getattr(error, "reason", error)
        return SetupError(
            f"{what}: the download failed ({reason}); what came is kept, and the same command goes on from there"
        )
    error.close()
    code, kind = error.code, error.headers.get("X-Error-Code", "")
    page = f"{endpoint()}/{'/'.join(what.split('/')[:2])}"
    if kind == "GatedRepo":
        return SetupError(f"{what}: gated; accept its terms at {page}, then run: hf auth login (HTTP {code})")
    if kind == "RevisionNotFound":
        return UsageError(f"{what}: has no revision {revision!r}; see {page}/commits/main")
    if code in (401, 403):
        return SetupError(f"{what}: not there, or private; see {page}, and where it is private: hf auth login ({code})")
    if code == 404:
        return DataError(f"{what}: no such repository or file on {endpoint()} (HTTP 404); check the name at {page}")
    if code == 429:
        wait = error.headers.get("Retry-After")
        after = f"in {wait} seconds" if wait else "later"
        return SetupError(f"{what}: too many requests (HTTP 429); run it again {after}, or log in: hf auth login")
    return SetupError(f"{what}: {endpoint()} answers with HTTP {code}; run the command again later to go on")
